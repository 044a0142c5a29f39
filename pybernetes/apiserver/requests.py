"""The request object of the server's connections."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from aiohttp import web

BODY_BYTES_MAX = 3 * 1024 * 1024
"""Of a request's body, as upstream; a larger one is answered 413."""


class Request(web.BaseRequest):
    """A request that tells when its client goes away, so that an idle watch ends at once."""

    ATTRS = web.BaseRequest.ATTRS | frozenset(("_on_disconnect",))

    _on_disconnect: Callable[[], None] | None = None

    def _cancel(self, exc: BaseException) -> None:
        # aiohttp calls this when the connection is lost; there is no public hook.
        super()._cancel(exc)
        if self._on_disconnect is not None:
            self._on_disconnect()

    def on_disconnect(self, callback: Callable[[], None]) -> None:
        """At most one: the last one set."""
        self._on_disconnect = callback


def make_request(message: Any, payload: Any, protocol: Any, writer: Any, task: asyncio.Task[None]) -> Request:
    """The request factory for `aiohttp.web.Server`."""
    loop = asyncio.get_running_loop()
    return Request(message, payload, protocol, writer, task, loop, client_max_size=BODY_BYTES_MAX)
