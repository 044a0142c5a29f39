"""The images that tests and the example run really serve."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from pybernetes.kubelet import runtime as rt
from pybernetes.kubelet.containerd import ContainerdSupervisor
from pybernetes.kubelet.cri import CRIRuntime
from tests.integration.runtime.conftest import Pods
from tests.support.images import NGINX_IMAGE, WEB_IMAGE, build_nginx_image, build_web_image


@pytest.mark.parametrize(
    ("image", "build", "port", "pages"),
    [
        (WEB_IMAGE, build_web_image, 8080, {"/": "Hello from shop-0\n", "/healthz": "ok\n"}),
        (NGINX_IMAGE, build_nginx_image, 80, {"/hostname": "shop-0\n", "/": "<h1>Welcome to nginx!</h1>\n"}),
    ],
)
async def test_a_web_image_serves(
    image: str, build: object, port: int, pages: dict[str, str], tmp_path: Path,
    supervisor: ContainerdSupervisor, runtime: CRIRuntime, pods: Pods,
) -> None:  # fmt: skip
    await supervisor.import_image(build(tmp_path / "web.tar"))  # type: ignore[operator]
    sandbox = await pods.sandbox("shop-0")
    server = await pods.container(sandbox, [], image=image, image_name=image)
    await runtime.start_container(server)
    for path, body in pages.items():
        command = f"until wget -qO- http://127.0.0.1:{port}{path}; do usleep 20000; done"
        answer = await runtime.exec_sync(server, ["sh", "-c", command], 20)
        assert answer.stdout.decode() == body
    # It ends at once when asked to, not when its grace period is over.
    started = time.monotonic()
    await runtime.stop_container(server, 30)
    assert time.monotonic() - started < 10
    assert (await runtime.container_status(server)).state is rt.ContainerState.EXITED
