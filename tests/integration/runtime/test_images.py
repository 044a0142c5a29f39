"""The images that tests and the example run really serve."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from pybernetes.kubelet import runtime as rt
from pybernetes.kubelet.containerd import ContainerdSupervisor
from pybernetes.kubelet.cri import CRIRuntime
from tests.integration.runtime.conftest import Pods
from tests.support.image_set import ETCD_IMAGE, FRONTEND_IMAGE, PUBLIC_NGINX_IMAGE, REDIS_IMAGE, SOCAT_IMAGE
from tests.support.images import NGINX_IMAGE, WEB_IMAGE


def until(command: str) -> str:
    """The command, again until it succeeds."""
    return f"until {command}; do usleep 20000; done"


def page(port: int, path: str = "/") -> str:
    return until(f"wget -qO- http://127.0.0.1:{port}{path}")


NGINX_PAGES = {page(80, "/hostname"): "shop-0\n", page(80): "<h1>Welcome to nginx!</h1>\n"}


@pytest.mark.parametrize(
    ("archive", "image", "command", "answers"),
    [
        ("web.tar", WEB_IMAGE, [], {page(8080): "Hello from shop-0\n", page(8080, "/healthz"): "ok\n"}),
        ("nginx.tar", NGINX_IMAGE, [], NGINX_PAGES),
        ("nginx-public.tar", PUBLIC_NGINX_IMAGE, [], NGINX_PAGES),
        (
            "redis.tar", REDIS_IMAGE, [],
            {until("printf 'PING\\r\\nQUIT\\r\\n' | nc 127.0.0.1 6379"): "+PONG\r\n+OK\r\n"},
        ),
        ("etcd.tar", ETCD_IMAGE, [], {page(2379, "/health") + " | cut -c 1-16": '{"health":"true"\n'}),
        (
            "socat.tar", SOCAT_IMAGE, ["socat", "TCP-LISTEN:7001,fork", "EXEC:cat"],
            {until("echo hello | nc 127.0.0.1 7001"): "hello\n"},
        ),
    ],
)  # fmt: skip
async def test_an_image_serves(
    archive: str, image: str, command: list[str], answers: dict[str, str], images: list[Path],
    supervisor: ContainerdSupervisor, runtime: CRIRuntime, pods: Pods,
) -> None:  # fmt: skip
    await supervisor.import_image(next(path for path in images if path.name == archive))
    sandbox = await pods.sandbox("shop-0")
    server = await pods.container(sandbox, command, image=image, image_name=image)
    await runtime.start_container(server)
    for asked, expected in answers.items():
        answer = await runtime.exec_sync(server, ["sh", "-c", asked], 20)
        assert answer.stdout.decode() == expected
    # It ends at once when asked to, not when its grace period is over.
    started = time.monotonic()
    await runtime.stop_container(server, 30)
    assert time.monotonic() - started < 10
    assert (await runtime.container_status(server)).state is rt.ContainerState.EXITED


async def test_the_guestbook_page_answers_without_its_database(
    images: list[Path], supervisor: ContainerdSupervisor, runtime: CRIRuntime, pods: Pods
) -> None:
    await supervisor.import_image(next(path for path in images if path.name == "frontend.tar"))
    sandbox = await pods.sandbox("shop-0")
    server = await pods.container(sandbox, [], image=FRONTEND_IMAGE, image_name=FRONTEND_IMAGE)
    await runtime.start_container(server)
    answer = await runtime.exec_sync(server, ["sh", "-c", page(80)], 20)
    assert answer.stdout.decode() == "<title>Guestbook</title>\n"
