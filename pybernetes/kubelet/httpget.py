"""HTTP GETs of probes and lifecycle hooks, with errors worded as Go's ``net/http`` words them: people and programs know
those texts from events."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from pybernetes.api.meta import Object
from pybernetes.kubelet import spec

_BODY_LIMIT = 10 * 1024
_REDIRECTS = 10


class HTTPFailure(Exception):
    """No answer; the text is Go's."""


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: str
    redirected_away: bool = False
    """Whether the answer is a redirect to another host, which is not followed."""


def join_host_port(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def dial_error(error: BaseException, host: str, port: int) -> str:
    """How Go tells of a connection that could not be made."""
    target = f"dial tcp {join_host_port(host, port)}"
    if isinstance(error, TimeoutError):
        return f"{target}: i/o timeout"
    code = getattr(error, "errno", None)
    if code is None and isinstance(error, OSError) and error.args and isinstance(error.args[0], int):
        code = error.args[0]
    words = {
        errno.ECONNREFUSED: "connect: connection refused",
        errno.EHOSTUNREACH: "connect: no route to host",
        errno.ENETUNREACH: "connect: network is unreachable",
        errno.ECONNRESET: "connect: connection reset by peer",
        errno.ETIMEDOUT: "connect: connection timed out",
    }
    if code in words:
        return f"{target}: {words[code]}"
    return f"{target}: connect: {os.strerror(code).lower()}" if code else f"{target}: {error}"


def action_url(action: Object, container: Object, pod_ip: str) -> str:
    """The URL of an ``httpGet`` action. Raises ValueError where its port is not known."""
    scheme = (action.get("scheme") or "HTTP").lower()
    host = action.get("host") or pod_ip
    port = spec.resolve_port(action.get("port"), container)
    path = action.get("path") or "/"
    return f"{scheme}://{join_host_port(host, port)}{path if path.startswith('/') else '/' + path}"


def action_headers(headers: Sequence[Object], user_agent: str) -> CIMultiDict[str]:
    made: CIMultiDict[str] = CIMultiDict()
    for header in headers:
        made.add(header["name"], header.get("value") or "")
    made.setdefault("User-Agent", user_agent)
    if not made.setdefault("Accept", "*/*"):
        del made["Accept"]
    return made


class HTTPGetter:
    """One session for all of a kubelet's GETs; every request has a connection of its own, as upstream's probes do.
    Certificates are not checked: the target is a pod the node itself runs."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(limit=0, force_close=True, ssl=False)
            self._session = aiohttp.ClientSession(
                connector=connector, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False
            )
        return self._session

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def get(self, url: str, headers: CIMultiDict[str], timeout_seconds: float) -> Answer:
        """GETs, following redirects on the same host. Raises `HTTPFailure`."""
        host = urlsplit(url).hostname
        at = url
        try:
            async with asyncio.timeout(timeout_seconds):
                for _ in range(_REDIRECTS):
                    answer, location = await self._once(at, headers)
                    if location is None:
                        return answer
                    at = urljoin(at, location)
                    if urlsplit(at).hostname != host:
                        return Answer(answer.status, answer.body, redirected_away=True)
        except TimeoutError:
            raise HTTPFailure(
                f'Get "{at}": context deadline exceeded (Client.Timeout exceeded while awaiting headers)'
            ) from None
        except aiohttp.ClientConnectorError as error:
            parts = urlsplit(at)
            port = parts.port or (443 if parts.scheme == "https" else 80)
            raise HTTPFailure(f'Get "{at}": {dial_error(error.os_error, parts.hostname or "", port)}') from error
        except aiohttp.ServerDisconnectedError as error:
            raise HTTPFailure(f'Get "{at}": EOF') from error
        except aiohttp.ClientOSError as error:
            what = "read: connection reset by peer" if error.errno == errno.ECONNRESET else str(error)
            raise HTTPFailure(f'Get "{at}": {what}') from error
        except (aiohttp.ClientError, ValueError) as error:
            raise HTTPFailure(f'Get "{at}": {error}') from error
        raise HTTPFailure(f'Get "{at}": stopped after {_REDIRECTS} redirects')

    async def _once(self, url: str, headers: CIMultiDict[str]) -> tuple[Answer, str | None]:
        async with self._open().get(
            URL(url, encoded=True), headers=headers, allow_redirects=False, skip_auto_headers=("Accept-Encoding",)
        ) as response:
            body = (await response.content.read(_BODY_LIMIT)).decode("utf-8", "replace")
            location = response.headers.get("Location") if 300 <= response.status < 400 else None
            return Answer(response.status, body), location
