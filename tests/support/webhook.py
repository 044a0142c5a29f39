"""An admission webhook on a real HTTPS socket of loopback, whose answers a test decides."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

from pybernetes.api.meta import Object
from pybernetes.apiserver.pki import ClusterPKI, server_context, write_private

Answer = Callable[[Object], Object] | Callable[[Object], Awaitable[Object]]
"""From a review's request to the response, to which the uid is added."""


@dataclass
class Webhook:
    """`answers` by path; `seen` are the reviews that came, in order."""

    url: str
    port: int
    ca_bundle: str
    answers: dict[str, Answer] = field(default_factory=dict)
    seen: list[Object] = field(default_factory=list)
    queries: list[str] = field(default_factory=list)
    under_way: int = 0
    most_under_way: int = 0

    def requests(self, path: str = "") -> list[Object]:
        return [r["request"] for r in self.seen if not path or r["path"] == path]

    def client_config(self, path: str) -> Object:
        return {"url": self.url + path, "caBundle": self.ca_bundle}

    async def handle(self, request: web.Request) -> web.Response:
        review = await request.json()
        self.seen.append({**review, "path": request.path})
        self.queries.append(request.query_string)
        answer = self.answers.get(request.path)
        if answer is None:
            return web.Response(status=404, text="no such path")
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            made: Any = answer(review["request"])
            if asyncio.iscoroutine(made):
                made = await made
        finally:
            self.under_way -= 1
        if isinstance(made, web.Response):
            return made
        response = {"uid": review["request"]["uid"], **made}
        return web.json_response({"apiVersion": review["apiVersion"], "kind": review["kind"], "response": response})


def allow(request: Object) -> Object:
    return {"allowed": True}


def patch(*operations: Object) -> Callable[[Object], Object]:
    """An answer that allows and patches."""
    text = base64.b64encode(json.dumps(list(operations)).encode()).decode()
    return lambda request: {"allowed": True, "patchType": "JSONPatch", "patch": text}


@asynccontextmanager
async def webhook_server(
    pki: ClusterPKI,
    directory: Path,
    hosts: tuple[str, ...] = ("127.0.0.1",),
    listening: socket.socket | None = None,
) -> AsyncIterator[Webhook]:
    """On a free port of loopback, or where it is told to listen."""
    pair = pki.issue_serving("webhook", list(hosts))
    certificate, key = directory / "webhook.crt", directory / "webhook.key"
    write_private(certificate, pair.certificate_pem)
    write_private(key, pair.key_pem)
    made = Webhook("", 0, base64.b64encode(pki.ca_pem).decode())
    app = web.Application()
    app.router.add_post("/{tail:.*}", made.handle)
    runner = web.AppRunner(app, shutdown_timeout=1.0)
    await runner.setup()
    tls = server_context(certificate, key, None)
    site: web.BaseSite = (
        web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
        if listening is None
        else web.SockSite(runner, listening, ssl_context=tls)
    )
    await site.start()
    try:
        made.port = runner.addresses[0][1]
        made.url = f"https://127.0.0.1:{made.port}"
        yield made
    finally:
        await runner.cleanup()


def configuration(kind: str, name: str, *webhooks: Object) -> Object:
    """`kind` is ``Mutating`` or ``Validating``."""
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": f"{kind}WebhookConfiguration",
        "metadata": {"name": name},
        "webhooks": list(webhooks),
    }


def hook(
    name: str, client_config: Object, *resources: str, operations: tuple[str, ...] = ("*",), **fields: Any
) -> Object:
    """A webhook for all groups' resources of those names."""
    return {
        "name": name,
        "clientConfig": client_config,
        "rules": [
            {
                "operations": list(operations), "apiGroups": ["*"], "apiVersions": ["*"],
                "resources": list(resources or ("configmaps",)),
            }
        ],
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        **fields,
    }  # fmt: skip
