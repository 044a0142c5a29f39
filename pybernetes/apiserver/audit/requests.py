"""How the HTTP walk and the audit trail meet: a request's head as the trail wants it, an answer's end as it is told.

`HTTPAudit` is asked at four points of the walk; see `pybernetes.apiserver.http`. One event loop owns it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping

from aiohttp import web

from pybernetes.api import protobuf
from pybernetes.api.user import User
from pybernetes.apiserver.audit.trail import Asked, AuditTrail, Body, Record, shown_agent
from pybernetes.apiserver.interfaces import RequestInfo
from pybernetes.apiserver.paths import NOT_A_RESOURCE, Target
from pybernetes.apiserver.replies import Reply
from pybernetes.apiserver.requests import Request

_NOBODY = User("")
_FORWARDED_MAX = 32


class HTTPAudit:
    def __init__(self, trail: AuditTrail) -> None:
        self._trail = trail

    def begin(self, info: RequestInfo, request: Request, target: Target, audit_id: str) -> Record | None:
        """Once the request's head is understood and its user known; before anybody is impersonated. Asked again for a
        request that is walked again, it goes on with the record that there is."""
        if isinstance(request.audit, Record):
            info.annotations = request.audit.annotations
            return request.audit
        record = self._trail.begin(self._asked(info, request, target, audit_id))
        if record is not None:
            request.audit = record
            info.annotations = record.annotations
        return record

    def refused(self, request: Request, audit_id: str, code: int) -> None:
        """A request whose credentials do not hold."""
        path, _, _ = request.raw_path.partition("?")
        info = RequestInfo(request.method.lower(), path, _NOBODY, user_agent=request.headers.get("User-Agent", ""))
        tried = "bearer" if "Authorization" in request.headers else "x509"
        text = f"Authentication failed, attempted: {tried}"
        self._trail.refused(self._asked(info, request, NOT_A_RESOURCE, audit_id), code, text)

    def completed(self, record: Record, request: Request, response: web.StreamResponse) -> None:
        """The answer is made, or a long one has ended."""
        body = request.body_read
        if body:
            record.request = Body(body, request.content_type)
        told = Body(response.body, response.media_type) if isinstance(response, Reply) else None
        record.completed(response.status, told)

    def _asked(self, info: RequestInfo, request: Request, target: Target, audit_id: str) -> Asked:
        resource = target.resource
        peer = request.transport.get_extra_info("peername") if request.transport is not None else None
        common = (
            audit_id, verb_of(request.method, target, info.query), request.raw_path, info.path, info.user,
            source_ips(request.headers, peer[0] if peer else ""), shown_agent(info.user_agent), self._trail.now(),
        )  # fmt: skip
        if resource is None:
            return Asked(*common)
        namespace = target.name if resource.plural == "namespaces" and not resource.group else target.namespace
        kind, api_version = resource.kind, resource.api_version
        if target.subresource and (subresource := resource.subresource(target.subresource)) is not None:
            kind = subresource.kind
            if subresource.version:
                group = subresource.group
                api_version = f"{group}/{subresource.version}" if group else subresource.version
        return Asked(
            *common, resource.group, resource.version, resource.plural, target.subresource, namespace, target.name,
            kind if request.headers.get("Content-Type") == protobuf.CONTENT_TYPE else "", api_version,
        )  # fmt: skip


def verb_of(method: str, target: Target, query: Mapping[str, str]) -> str:
    """The verb of a request, whether it will be served or not, as upstream's RequestInfo tells it."""
    if target.resource is None:
        return method.lower()
    if method in ("GET", "HEAD"):
        if target.watch or (not target.subresource and query.get("watch", "0") not in ("0", "false", "")):
            return "watch"
        return "get" if target.name else "list"
    if method == "DELETE" and not target.name:
        return "deletecollection"
    return {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}.get(method, method.lower())


def source_ips(headers: Mapping[str, str], peer: str) -> tuple[str, ...]:
    """Where a request came from: through which proxies, as they say, and the peer itself last."""
    found: list[str] = []
    forwarded = headers.get("X-Forwarded-For", "")
    for part in [*forwarded.split(",")[:_FORWARDED_MAX], headers.get("X-Real-Ip", "")]:
        try:
            found.append(str(ipaddress.ip_address(part.strip())))
        except ValueError:
            continue
    if peer and (not found or found[-1] != peer):
        found.append(peer)
    return tuple(dict.fromkeys(found))
