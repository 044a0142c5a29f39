"""The walk along all stable endpoints of Kubernetes 1.37, against a real API server over TLS.

Each row of the list has a check of its own, which makes what it needs and says what it found wrong. A row holds when
its check ends without a fault. Nothing of a row is taken from another one.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from pybernetes.apiserver.pki import ClusterPKI
from tests.endpoints import connections, documents, subresources, verbs
from tests.endpoints.rows import Row, place, rows
from tests.endpoints.walker import Fault, Kind, Walker
from tests.integration.apiserver.conftest import running

ROW_SECONDS = 30.0
"""Far more than a check takes; one that hangs is a fault of its row alone."""

Check = Callable[[Walker, Kind], Awaitable[None]]

_VERBS: dict[str, Check] = {
    "post": verbs.post, "get": verbs.get, "put": verbs.put, "patch": verbs.patch, "delete": verbs.delete,
    "deletecollection": verbs.deletecollection,
}  # fmt: skip
_SUBRESOURCES: dict[tuple[str, str], Check] = {
    ("status", "get"): subresources.status_get,
    ("status", "put"): subresources.status_put,
    ("status", "patch"): subresources.status_patch,
    ("scale", "get"): subresources.scale_get,
    ("scale", "put"): subresources.scale_put,
    ("scale", "patch"): subresources.scale_patch,
    ("binding", "post"): subresources.pod_binding,
    ("eviction", "post"): subresources.pod_eviction,
    ("ephemeralcontainers", "get"): subresources.ephemeral_get,
    ("ephemeralcontainers", "put"): subresources.ephemeral_put,
    ("ephemeralcontainers", "patch"): subresources.ephemeral_patch,
    ("resize", "get"): subresources.resize_get,
    ("resize", "put"): subresources.resize_put,
    ("resize", "patch"): subresources.resize_patch,
    ("finalize", "put"): subresources.namespace_finalize,
    ("token", "post"): subresources.account_token,
    ("approval", "get"): subresources.approval_get,
    ("approval", "put"): subresources.approval_put,
    ("approval", "patch"): subresources.approval_patch,
    ("log", "get"): connections.log,
}
_UNSTORED: dict[tuple[str, str], Check] = {
    ("bindings", "post"): subresources.pod_binding,
    ("componentstatuses", "list"): subresources.component_list,
    ("componentstatuses", "get"): subresources.component_get,
    ("selfsubjectreviews", "post"): subresources.self_subject_review,
    ("tokenreviews", "post"): subresources.token_review,
    ("selfsubjectaccessreviews", "post"): subresources.self_access_review,
    ("subjectaccessreviews", "post"): subresources.access_review,
    ("localsubjectaccessreviews", "post"): subresources.local_access_review,
    ("selfsubjectrulesreviews", "post"): subresources.rules_review,
}
_STREAMS = ("exec", "attach", "portforward")


@dataclass(frozen=True, slots=True)
class Result:
    row: Row
    fault: str
    """Why the row does not hold; empty where it does."""

    def __str__(self) -> str:
        return f"{self.row}\n    {self.fault}" if self.fault else str(self.row)


async def check(w: Walker, row: Row) -> None:
    """Raises `Fault` and whatever else goes wrong."""
    where = place(row.path)
    if where is None:
        await documents.document(w, row)
        return
    kind = w.kind(where)
    if where.subresource in _STREAMS:
        await connections.stream(w, kind, row)
    elif where.subresource == "proxy":
        await connections.proxy(w, kind, row)
    elif where.subresource:
        await _SUBRESOURCES[where.subresource, row.action](w, kind)
    elif (where.plural, row.action) in _UNSTORED:
        await _UNSTORED[where.plural, row.action](w, kind)
    elif row.action == "list":
        await (verbs.list_here if where.namespaced or not kind.namespace else verbs.list_everywhere)(w, kind)
    else:
        await _VERBS[row.action](w, kind)


async def result(w: Walker, row: Row) -> Result:
    try:
        async with asyncio.timeout(ROW_SECONDS):
            await check(w, row)
    except Exception as error:
        return Result(row, str(error) if isinstance(error, Fault) else f"{type(error).__name__}: {error}")
    return Result(row, "")


@asynccontextmanager
async def walker(directory: Path) -> AsyncIterator[Walker]:
    """A walker on a server of its own, with peers for connections; needs root for their network namespace."""
    if os.geteuid() != 0:
        raise PermissionError("the walk needs root, for a network namespace of its own")
    pki = ClusterPKI.ensure(directory / "pki", advertise_addresses=["127.0.0.1"])
    logs = directory / "logs"
    logs.mkdir()
    (logs / "walked.log").write_text("walked\n")
    (directory / "secret").write_text("secret\n")
    async with (
        AsyncExitStack() as stack,
        connections.peers(pki, directory) as found,
        running(pki, directory, socket_factory=found.namespace.socket_factory, logs_directory=logs) as server,
    ):
        stack.enter_context(server.api.components.working("scheduler"))
        made = Walker(server, "walk")
        await server.post("/api/v1/namespaces", {"metadata": {"name": "walk"}})
        await server.post("/api/v1/namespaces/walk/serviceaccounts", {"metadata": {"name": "default"}})
        await connections.furnish(server, "walk", found)
        yield made


async def walk(directory: Path, matching: str = "") -> list[Result]:
    """The results of all rows, or of those whose operation or path has `matching` in it, in the list's order."""
    async with walker(directory) as w:
        return [await result(w, row) for row in rows() if matching in row.operation or matching in row.path]
