"""``make up``: a two-node cluster, the web example on it, and 300 connections to its Service.

Everything goes through the two commands that anyone would type, p8s and kubectl. Run again, it finds everything there
and only sends the connections. Root is asked for through sudo, and only for p8s.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from build_image import build  # noqa: E402

NAME = os.environ.get("P8S_NAME", "default")
CONTEXT = f"p8s-{NAME}"
IMAGE = "docker.io/library/web:1"
NODES = 2
REPLICAS = 3
CONNECTIONS = 300
AT_ONCE = 20
ROLLOUT_SECONDS = 120
ANSWER_SECONDS = 10

console = Console(highlight=False, soft_wrap=True)


class Failed(Exception):
    """A step failed; its message has been printed by who failed."""


def p8s(*arguments: str) -> list[str]:
    command = [str(Path(sys.executable).parent / "p8s"), *arguments]
    if os.geteuid() == 0:
        return command
    kept = [f"{k}={os.environ[k]}" for k in ("KUBECONFIG", "P8S_ISOLATED", "P8S_NAME", "P8S_ROOT") if k in os.environ]
    return ["sudo", "env", *kept, *command]


def kubectl(*arguments: str) -> list[str]:
    return [shutil.which("kubectl") or "kubectl", "--context", CONTEXT, *arguments]


def run(command: Sequence[str]) -> None:
    """Shows what the command prints."""
    if subprocess.run(command, check=False).returncode != 0:
        raise Failed(" ".join(command))


def output(command: Sequence[str]) -> str:
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        raise Failed(" ".join(command))
    return done.stdout


def load_image() -> None:
    on_nodes = dict(line.split(maxsplit=1) for line in output(p8s("image", "list")).splitlines() if line.strip())
    if len(on_nodes.get(IMAGE, "").split(",")) == NODES:
        return
    with tempfile.TemporaryDirectory(prefix="p8s-web-") as directory:
        archive = build(Path(directory) / "web.tar")
        run(p8s("image", "load", str(archive)))


def wait_for_rollout() -> None:
    """Follows the Deployment until its newest replicas serve and no other is left."""
    bar = Progress(
        SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), console=console,
        transient=True, disable=not console.is_terminal,
    )  # fmt: skip
    watch = kubectl("get", "deployment", "web", "--watch", "-o", "json", f"--request-timeout={ROLLOUT_SECONDS}s")
    if not console.is_terminal:
        console.print("Waiting for the rollout")
    with bar, subprocess.Popen(watch, stdout=subprocess.PIPE, text=True) as following:
        task = bar.add_task("Waiting for the rollout", total=REPLICAS)
        assert following.stdout is not None
        try:
            for deployment in documents(following.stdout):
                status = deployment.get("status", {})
                wanted = deployment["spec"]["replicas"]
                available = status.get("availableReplicas", 0)
                bar.update(task, completed=available, total=wanted)
                if (
                    status.get("observedGeneration", 0) >= deployment["metadata"]["generation"]
                    and status.get("updatedReplicas") == status.get("replicas") == available == wanted
                ):
                    return
        finally:
            following.terminate()
    subprocess.run(kubectl("get", "pods", "-l", "app=web", "-o", "wide"), check=False)
    raise Failed(f"the rollout was not complete after {ROLLOUT_SECONDS} seconds")


def documents(stream):  # type: ignore[no-untyped-def]
    """The JSON documents of a stream, each as soon as it is whole."""
    decoder, text = json.JSONDecoder(), ""
    for line in stream:
        text += line
        # kubectl indents: a line that is one closing brace ends a document.
        if line.rstrip() == "}":
            yield decoder.decode(text)
            text = ""


async def ask(port: int, turn: asyncio.Semaphore) -> str:
    """One connection, one answer; the name of the pod that gave it."""
    async with turn, asyncio.timeout(ANSWER_SECONDS):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(b"GET / HTTP/1.0\r\nHost: web\r\n\r\n")
            head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        finally:
            writer.close()
    status, text = head.split(b"\r\n", 1)[0].decode(), body.decode().strip()
    if " 200 " not in f"{status} " or not text.startswith("Hello from "):
        raise OSError(f"{status}: {text}")
    return text.removeprefix("Hello from ")


async def ask_often(port: int) -> tuple[Counter[str], list[str]]:
    turn = asyncio.Semaphore(AT_ONCE)
    answers = await asyncio.gather(*(ask(port, turn) for _ in range(CONNECTIONS)), return_exceptions=True)
    served = Counter(a for a in answers if isinstance(a, str))
    return served, [f"{type(a).__name__}: {a}" for a in answers if isinstance(a, BaseException)]


def send_connections(port: int) -> None:
    served, failed = asyncio.run(ask_often(port))
    console.print(f"\n{CONNECTIONS} connections to the Service, by pod:")
    widest = max(served.values(), default=1)
    for pod, count in sorted(served.items()):
        console.print(f"  {pod}  {count:>4}  [green]{'█' * round(24 * count / widest)}[/green]")
    if failed:
        raise Failed(f"{len(failed)} connections failed; the first: {failed[0]}")


def print_next_steps(port: int) -> None:
    arguments = "" if NAME == "default" else f" --name {NAME}"
    activate = "" if shutil.which("p8s") else "\n  . .venv/bin/activate                    # puts p8s on the PATH"
    console.print(
        f"""
What next:{activate}
  kubectl get pods -o wide
  kubectl scale deployment web --replicas=5
  kubectl logs -l app=web -f
  kubectl exec -it deployment/web -- sh
  curl http://127.0.0.1:{port}/
  p8s status{arguments}
  make down""",
        markup=False,
    )


def main() -> int:
    try:
        run(p8s("up", "--name", NAME, "--nodes", str(NODES)))
        load_image()
        run(kubectl("apply", "-f", str(HERE)))
        wait_for_rollout()
        port = int(output(kubectl("get", "service", "web", "-o", "jsonpath={.spec.ports[0].nodePort}")))
        send_connections(port)
    except Failed as error:
        console.print(f"failed: {error}", style="red", markup=False)
        return 1
    except KeyboardInterrupt:
        console.print("\ninterrupted; make up goes on where this ended, make down removes everything")
        return 130
    print_next_steps(port)
    return 0


if __name__ == "__main__":
    sys.exit(main())
