"""The set of images that the tests' cluster has on every node."""

from __future__ import annotations

from pathlib import Path

from pybernetes.lib.oci import ImageConfig, Layer, write_archive
from tests.support.images import (
    build_busybox_image,
    build_nginx_image,
    build_web_image,
    busybox_layer,
    shared_libraries,
)

SOCAT_IMAGE = "socat:1"
ETCD_IMAGE = "etcd:1"
REDIS_IMAGE = "docker.io/redis:6.0.5"
REDIS_FOLLOWER_IMAGE = "us-docker.pkg.dev/google-samples/containers/gke/gb-redis-follower:v2"
FRONTEND_IMAGE = "docker.io/corelab/gb-frontend:v5"
PUBLIC_NGINX_IMAGE = "nginx:1.14.2"

# What the public guestbook's page does, as a CGI: set and get one key, through the leader and the followers.
_GUESTBOOK_CGI = b"""\
#!/bin/sh
cmd=$(printf %s "$QUERY_STRING" | sed -n 's/.*cmd=\\([a-z]*\\).*/\\1/p')
key=$(printf %s "$QUERY_STRING" | sed -n 's/.*key=\\([a-z]*\\).*/\\1/p')
value=$(printf %s "$QUERY_STRING" | sed -n 's/.*value=\\([^&]*\\).*/\\1/p')
printf 'Content-Type: application/json\\r\\n\\r\\n'
if [ "$cmd" = set ]; then
    printf 'SET %s %s\\r\\nQUIT\\r\\n' "$key" "$value" | nc -w 5 redis-leader 6379 | grep -q '^+OK' &&
        printf '{"message": "Updated"}\\n'
else
    found=$(printf 'GET %s\\r\\nQUIT\\r\\n' "$key" | nc -w 5 redis-follower 6379 | sed -n 2p | tr -d '\\r')
    printf '{"data": "%s"}\\n' "$found"
fi
"""


def _with_program(program: Path) -> Layer:
    layer = busybox_layer()
    layer.add_file(str(program), program.resolve(), mode=0o755)
    for library in shared_libraries(program):
        layer.add_file(str(library), library.resolve(), mode=0o755)
    return layer


def _build(path: Path, name: str, layer: Layer, *cmd: str, ports: tuple[str, ...] = ()) -> Path:
    config = ImageConfig(cmd=list(cmd), env={"PATH": "/bin:/usr/bin:/sbin"}, exposed_ports=list(ports))
    write_archive(path, [name], config, [layer])
    return path


def build_test_images(directory: Path) -> list[Path]:
    """Writes every archive below the directory and returns their paths."""
    redis = ("/usr/bin/redis-server", "--protected-mode", "no", "--save", "")
    frontend = busybox_layer()
    frontend.add_bytes("/www/cgi-bin/guestbook", _GUESTBOOK_CGI, mode=0o755)
    frontend.add_bytes("/www/index.html", b"<title>Guestbook</title>\n")
    return [
        build_busybox_image(directory / "busybox.tar"),
        build_web_image(directory / "web.tar"),
        build_nginx_image(directory / "nginx.tar"),
        build_nginx_image(directory / "nginx-public.tar", PUBLIC_NGINX_IMAGE),
        _build(directory / "socat.tar", SOCAT_IMAGE, _with_program(Path("/usr/bin/socat")), "socat", "-V"),
        _build(directory / "etcd.tar", ETCD_IMAGE, _with_program(Path("/usr/bin/etcd")), "etcd"),
        _build(directory / "redis.tar", REDIS_IMAGE, _with_program(Path("/usr/bin/redis-server")), *redis),
        _build(
            directory / "follower.tar", REDIS_FOLLOWER_IMAGE, _with_program(Path("/usr/bin/redis-server")),
            *redis, "--replicaof", "redis-leader", "6379",
        ),
        _build(directory / "frontend.tar", FRONTEND_IMAGE, frontend, "httpd", "-f", "-p", "80", "-h", "/www"),
    ]  # fmt: skip
