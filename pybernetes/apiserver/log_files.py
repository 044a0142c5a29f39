"""``/logs/``: the files of the server's log directory, for whoever may read that path.

Nothing is kept between requests. A symbolic link that leads out of the directory leads nowhere.

Source: upstream's ``--enable-logs-handler``, on by default, whose directory is /var/log.
"""

from __future__ import annotations

import asyncio
import html
from pathlib import Path
from urllib.parse import quote, unquote

from aiohttp import web

from pybernetes.apiserver.endpoints import Endpoints
from pybernetes.apiserver.interfaces import RequestInfo
from pybernetes.apiserver.replies import Reply, text_reply
from pybernetes.apiserver.requests import Request

_NAME_LENGTH_MAX = 255
_ENTRIES_MAX = 10_000
_SNIFFED_BYTES = 512


class LogFiles:
    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def install(self, endpoints: Endpoints) -> None:
        endpoints.add_prefix("logs", self.serve)

    async def serve(self, info: RequestInfo, request: Request) -> web.StreamResponse | None:
        relative = unquote(info.path.removeprefix("/logs"))
        if ".." in relative.split("/"):
            return text_reply("invalid URL path\n", 400)
        if "\0" in relative or any(len(part.encode()) > _NAME_LENGTH_MAX for part in relative.split("/")):
            return text_reply("file not found\n", 404)
        return await asyncio.to_thread(self._answer, relative)

    def _answer(self, relative: str) -> web.StreamResponse:
        root = self._directory.resolve()
        try:
            found = (root / relative.lstrip("/")).resolve()
            if not found.is_relative_to(root):
                return text_reply("404 page not found\n", 404)
            if found.is_dir():
                if not relative.endswith("/"):
                    moved = found.name if relative else "logs"
                    return Reply(b"", status=301, headers=(("Location", quote(moved) + "/"),))
                return Reply(_listing(found), content_type=b"text/html; charset=utf-8")
            with found.open("rb") as file:
                content_type = _type_of(file.read(_SNIFFED_BYTES))
        except (FileNotFoundError, NotADirectoryError, RuntimeError):
            # A RuntimeError is a loop of links.
            return text_reply("404 page not found\n", 404)
        except PermissionError:
            return text_reply("403 Forbidden\n", 403)
        if not found.is_file():
            return text_reply("404 page not found\n", 404)
        return web.FileResponse(found, headers={"Content-Type": content_type})


def _listing(directory: Path) -> bytes:
    """The names in a directory as Go's file server lists them; directories end in a slash."""
    names = sorted(entry.name + ("/" if entry.is_dir() else "") for entry in directory.iterdir())[:_ENTRIES_MAX]
    lines = [f'<a href="{quote(name)}">{html.escape(name)}</a>\n' for name in names]
    head = '<!doctype html>\n<meta name="viewport" content="width=device-width">\n<pre>\n'
    return (head + "".join(lines) + "</pre>\n").encode("utf-8", "surrogateescape")


def _type_of(start: bytes) -> str:
    return "application/octet-stream" if b"\0" in start else "text/plain; charset=utf-8"
