"""Builds a small web image from Debian packages: ``python examples/web/build_image.py [FILE] [NAME]``.

It needs busybox-static and catatonit installed and no registry. The page names the pod that answers, so that one can
count answers per pod; ``/healthz`` says ok. Prints the archive's path.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from pybernetes.lib.oci import ImageConfig, Layer, write_archive

BUSYBOX = Path("/bin/busybox")
INIT = Path("/usr/bin/catatonit")
PORT = 8080

_PAGE = """\
#!/bin/sh
printf 'Content-Type: text/plain\\r\\n\\r\\n'
printf 'Hello from %s\\n' "$(hostname)"
"""


def busybox_layer() -> Layer:
    """busybox with every command it has, and the directories and users that programs expect."""
    layer = Layer()
    layer.add_file("/bin/busybox", BUSYBOX, mode=0o755)
    applets = subprocess.run([BUSYBOX, "--list"], capture_output=True, text=True, check=True, timeout=30).stdout
    for applet in applets.split():
        if applet != "busybox":
            layer.add_symlink(f"/bin/{applet}", "busybox")
    layer.add_directory("/tmp", mode=0o1777)
    layer.add_directory("/root", mode=0o700)
    layer.add_bytes("/etc/passwd", b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n")
    layer.add_bytes("/etc/group", b"root:x:0:\nnogroup:x:65534:\n")
    return layer


def build(path: Path, name: str = "web:1") -> Path:
    """Writes the image's archive to `path`."""
    layer = busybox_layer()
    # An init: it passes signals on, so that the pod ends at once, and reaps what the page's script leaves.
    layer.add_file("/sbin/init", INIT, mode=0o755)
    # busybox's httpd runs this for a directory that has no index.html.
    layer.add_bytes("/www/cgi-bin/index.cgi", _PAGE.encode(), mode=0o755)
    layer.add_bytes("/www/healthz", b"ok\n")
    config = ImageConfig(
        entrypoint=["/sbin/init", "--"],
        cmd=["httpd", "-f", "-p", str(PORT), "-h", "/www"],
        env={"PATH": "/bin:/sbin"},
        exposed_ports=[f"{PORT}/tcp"],
        user="65534:65534",
        working_dir="/www",
    )
    write_archive(path, [name], config, [layer])
    return path


if __name__ == "__main__":
    archive = Path(sys.argv[1] if len(sys.argv) > 1 else "web.tar")
    sys.stdout.write(f"{build(archive, *sys.argv[2:3])}\n")
