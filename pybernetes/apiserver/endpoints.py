"""Paths that are no resources: health, version, metrics, discovery, OpenAPI, the issuer's documents.

A table from path to handler; what is under a prefix (``/livez/…``, ``/openapi/v3/…``) is looked up by its first parts.
"""

from __future__ import annotations

import platform
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

import orjson
import structlog
from aiohttp import web

from pybernetes import KUBERNETES_VERSION
from pybernetes.api import errors
from pybernetes.api.meta import Object
from pybernetes.apiserver.interfaces import RequestInfo
from pybernetes.apiserver.metrics import Metrics
from pybernetes.apiserver.options import quote
from pybernetes.apiserver.replies import Reply, text_reply
from pybernetes.apiserver.requests import Request

Handler = Callable[[RequestInfo, Request], Awaitable[web.StreamResponse | None]]
"""Answers a path, or None where there is no such path."""

_DISCOVERY = ("api", "apis")
_WITH_HEAD = ("/healthz", "/livez", "/readyz", "/metrics", "/openapi/")
"""What upstream serves without a router, and so answers HEAD too."""

_JSON_KEYS = b"application/jwk-set+json"

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """A check's outcome. `fault` is empty for healthy, else why not: told only to who asks for this one check."""

    name: str
    fault: str = ""
    live: bool = True
    """Whether it counts for ``/livez`` and ``/healthz`` too, and not for ``/readyz`` alone."""


def version_info() -> Object:
    """What ``/version`` answers."""
    major, minor, *_ = KUBERNETES_VERSION.removeprefix("v").split(".")
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    return {
        "major": major,
        "minor": minor,
        "emulationMajor": major,
        "emulationMinor": minor,
        "minCompatibilityMajor": major,
        "minCompatibilityMinor": str(int(minor) - 1),
        "gitVersion": KUBERNETES_VERSION,
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "",
        "compiler": platform.python_implementation().lower(),
        "platform": f"linux/{machine}",
    }


class Endpoints:
    def __init__(
        self,
        metrics: Metrics,
        checks: Callable[[], list[HealthCheck]],
        *,
        openid_configuration: Object | None = None,
        jwks: Object | None = None,
    ) -> None:
        self._metrics = metrics
        self._checks = checks
        self._listed: list[Callable[[], Iterable[str]]] = []
        self._exact: dict[str, Handler] = {"/version": self._version, "/version/": self._version, "/": self._index}
        self._first: dict[str, Handler] = {
            "healthz": self._health,
            "livez": self._health,
            "readyz": self._health,
            "metrics": self._expose,
        }
        if openid_configuration is not None:
            self.add("/.well-known/openid-configuration", _document(openid_configuration))
        if jwks is not None:
            self.add("/openid/v1/jwks", _document(jwks, _JSON_KEYS))
        self._version_body = orjson.dumps(version_info(), option=orjson.OPT_INDENT_2)

    def add(self, path: str, handler: Handler) -> None:
        self._exact[path] = handler

    def add_paths(self, paths: Callable[[], Iterable[str]]) -> None:
        """Paths below a prefix that ``/`` lists."""
        self._listed.append(paths)

    def _checks_of(self, kind: str) -> list[HealthCheck]:
        return [c for c in self._checks() if c.live or kind == "readyz"]

    def add_prefix(self, first: str, handler: Handler) -> None:
        """For everything whose first path segment is `first`."""
        self._first[first] = handler

    async def serve(self, info: RequestInfo, request: Request) -> web.StreamResponse | None:
        handler = self._exact.get(info.path)
        first = ""
        if handler is None:
            first = info.path.split("/", 2)[1] if info.path.startswith("/") else ""
            handler = self._first.get(first)
            if handler is None:
                return None
        if request.method != "GET" and not (request.method == "HEAD" and info.path.startswith(_WITH_HEAD)):
            if first in _DISCOVERY and await handler(info, request) is None:
                # A group or version that nobody serves is not found, whatever is asked of it.
                return None
            raise errors.MethodNotAllowed("the server does not allow this method on the requested resource", details={})
        return await handler(info, request)

    async def _index(self, info: RequestInfo, request: Request) -> Reply:
        checks = (f"/{kind}/{check.name}" for kind in ("healthz", "livez", "readyz") for check in self._checks_of(kind))
        listed = (path for paths in self._listed for path in paths())
        own = {"/" + first for first in self._first if first != "openapi"}
        paths = sorted({*self._exact, *own, *checks, *listed} - {"/", "/version/"})
        return Reply(orjson.dumps({"paths": paths}, option=orjson.OPT_INDENT_2))

    async def _version(self, info: RequestInfo, request: Request) -> Reply:
        return Reply(self._version_body)

    async def _expose(self, info: RequestInfo, request: Request) -> Reply | None:
        if info.path != "/metrics":
            return None
        return Reply(self._metrics.expose(), content_type=b"text/plain; version=0.0.4; charset=utf-8")

    async def _health(self, info: RequestInfo, request: Request) -> Reply | None:
        _, kind, *rest = info.path.split("/")
        checks = self._checks_of(kind)
        if rest and rest != [""]:
            name = "/".join(rest)
            check = next((c for c in checks if c.name == name), None)
            if check is None:
                return None
            return text_reply("ok") if not check.fault else text_reply(f"internal server error: {check.fault}\n", 500)
        excluded = set(info.query_lists.get("exclude", ()))
        lines: list[str] = []
        failed: list[HealthCheck] = []
        for check in checks:
            if check.name in excluded:
                lines.append(f"[+]{check.name} excluded: ok\n")
            elif check.fault:
                failed.append(check)
                lines.append(f"[-]{check.name} failed: reason withheld\n")
            else:
                lines.append(f"[+]{check.name} ok\n")
        unknown = sorted(excluded - {c.name for c in checks})
        if unknown:
            quoted = ",".join(quote(name) for name in unknown)
            lines.append(f"warn: some health checks cannot be excluded: no matches for {quoted}\n")
        if failed:
            log.debug("health check failed", kind=kind, checks={c.name: c.fault for c in failed})
            return text_reply(f"{''.join(lines)}{kind} check failed\n", 500)
        if "verbose" in info.query:
            return text_reply(f"{''.join(lines)}{kind} check passed\n")
        return text_reply("ok")


def _document(value: Object, content_type: bytes = b"application/json") -> Handler:
    body = orjson.dumps(value)

    async def serve(info: RequestInfo, request: Request) -> Reply:
        return Reply(
            body, content_type=content_type, cacheable=True, headers=(("Cache-Control", "public, max-age=3600"),)
        )

    return serve
