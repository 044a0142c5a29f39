"""The floor: a bare aiohttp server over TLS that answers every request with bytes made before.

Started as ``python -m bench.bare PORT CERTIFICATE KEY CLIENT_CA DIRECTORY``. ``GET /answer/NAME`` and the same with any
other method (whose body is read) answer with the content of DIRECTORY/NAME; ``GET /stream/NAME/COUNT`` streams that
content COUNT times, one chunk each, as soon as ``POST /go/NAME`` arrives. Nothing else is done: no routing, no
authorization, no JSON.
"""

from __future__ import annotations

import asyncio
import ssl
import sys
from pathlib import Path

import uvloop
from aiohttp import web


class Bare:
    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._files: dict[str, bytes] = {}
        self._go: dict[str, asyncio.Event] = {}

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        _, action, name, *rest = request.path.split("/")
        if action == "answer":
            if request.method != "GET":
                await request.read()
            return web.Response(body=self._content(name), content_type="application/json")
        go = self._go.setdefault(name, asyncio.Event())
        if action == "go":
            go.set()
            return web.Response()
        line, count = self._content(name), int(rest[0])
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        response.enable_chunked_encoding()
        await response.prepare(request)
        await go.wait()
        for _ in range(count):
            await response.write(line)
        await response.write_eof()
        return response

    def _content(self, name: str) -> bytes:
        content = self._files.get(name)
        if content is None:
            content = self._files[name] = (self._directory / name).read_bytes()
        return content


async def main(port: int, certificate: str, key: str, client_ca: str, directory: str) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=client_ca)
    context.verify_mode = ssl.CERT_OPTIONAL
    context.load_cert_chain(certificate, key)
    server = web.Server(Bare(Path(directory)).handle, access_log=None)
    listener = await asyncio.get_running_loop().create_server(server, "127.0.0.1", port, ssl=context, backlog=1024)
    async with listener:
        await listener.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), *sys.argv[2:6]))
