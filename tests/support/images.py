"""Test images, made from Debian packages' files on this machine; no registry is involved.

Each function writes an archive and returns its path. Archives are the same byte for byte every time. Which of them
tests find on a cluster, `tests.support.image_set` says.
"""

from __future__ import annotations

import importlib.util
import subprocess
from pathlib import Path
from types import ModuleType

from pybernetes.lib.oci import ImageConfig, Layer, write_archive

_EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "web" / "build_image.py"

BUSYBOX_IMAGE = "busybox:1"
WEB_IMAGE = "web:1"
NGINX_IMAGE = "nginx:1"


def _example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("example_web_image", _EXAMPLE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def busybox_layer() -> Layer:
    """A fresh layer with busybox and a link for each of its commands."""
    layer: Layer = _example().busybox_layer()
    return layer


def build_busybox_image(path: Path, name: str = BUSYBOX_IMAGE) -> Path:
    """busybox with all its commands (sh, httpd, nc, nslookup, wget, …); runs ``sh``. ``/sbin/init`` is an init to
    put before a program that does not mind signals. (This build's wget has no -T and crashes at it.)"""
    layer = busybox_layer()
    layer.add_file("/sbin/init", Path("/usr/bin/catatonit"), mode=0o755)
    write_archive(path, [name], ImageConfig(cmd=["sh"], env={"PATH": "/bin:/sbin"}), [layer])
    return path


def build_web_image(path: Path, name: str = WEB_IMAGE) -> Path:
    """The example's web server on port 8080, whose page names its pod."""
    result: Path = _example().build(path, name)
    return result


_NGINX_CONF = b"""\
user nobody nogroup;
worker_processes 1;
daemon off;
pid /run/nginx.pid;
error_log stderr;
events { worker_connections 256; }
http {
    access_log off;
    default_type text/plain;
    server {
        listen 80;
        location / { root /usr/share/nginx/html; }
        location = /hostname { return 200 "$hostname\\n"; }
        location = /healthz { return 200 "ok\\n"; }
    }
}
"""


def build_nginx_image(path: Path, name: str = NGINX_IMAGE) -> Path:
    """nginx on port 80 over a busybox: ``/`` from /usr/share/nginx/html, ``/hostname``, ``/healthz``."""
    layer = busybox_layer()
    nginx = Path("/usr/sbin/nginx")
    layer.add_file("/usr/sbin/nginx", nginx)
    for library in shared_libraries(nginx):
        layer.add_file(str(library), library.resolve(), mode=0o755)
    layer.add_bytes("/etc/nginx/nginx.conf", _NGINX_CONF)
    layer.add_bytes("/usr/share/nginx/html/index.html", b"<h1>Welcome to nginx!</h1>\n")
    for directory in ("/run", "/var/lib/nginx", "/var/log/nginx"):
        layer.add_directory(directory)
    config = ImageConfig(
        cmd=["/usr/sbin/nginx"], env={"PATH": "/usr/sbin:/bin"}, exposed_ports=["80/tcp"], stop_signal="SIGQUIT"
    )
    write_archive(path, [name], config, [layer])
    return path


def shared_libraries(program: Path) -> list[Path]:
    """The libraries that a program is linked with, the dynamic linker included, by the path it looks for."""
    output = subprocess.run(["ldd", program], capture_output=True, text=True, check=True, timeout=30).stdout
    words = (word for line in output.splitlines() for word in line.split())
    return sorted({Path(word) for word in words if word.startswith("/")})
