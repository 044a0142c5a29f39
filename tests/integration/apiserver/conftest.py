"""A real API server in the test's own process: TLS on loopback, real security, a memory store."""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from pybernetes.api import shared_specs
from pybernetes.api.user import AUTHENTICATED, SYSTEM_MASTERS, User
from pybernetes.apiserver.bootstrap import APISERVER_USER, BootstrapConfig, bootstrap
from pybernetes.apiserver.pki import ClusterPKI, client_context
from pybernetes.apiserver.security import Security, SecurityConfig, build_security
from pybernetes.apiserver.server import APIServer, APIServerConfig
from pybernetes.client.interface import Client
from pybernetes.store.interface import Store
from pybernetes.store.memory import MemoryStore

ADMIN = User("kubernetes-admin", "", (SYSTEM_MASTERS, AUTHENTICATED))


@pytest.fixture(autouse=True)
def shared_specs_unchanged() -> Iterator[None]:
    """Whatever a test asks of the server, nothing may change a spec that several objects hold."""
    yield
    assert shared_specs.changed() == []


@dataclass
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Server:
    """A running server and an administrator's way in, over HTTP and in the process."""

    api: APIServer
    store: Store
    url: str
    session: aiohttp.ClientSession
    admin: Client
    kubeconfig: Path
    pki: ClusterPKI
    contexts: list[aiohttp.ClientSession] = field(default_factory=list)

    async def request(
        self, method: str, path: str, body: Any = None, *, headers: Mapping[str, str] | None = None, **query: Any
    ) -> Answer:
        sent = dict(headers or {})
        data: bytes | None = None
        if isinstance(body, bytes):
            data = body
        elif body is not None:
            data = json.dumps(body).encode()
            sent.setdefault("Content-Type", "application/json")
        async with self.session.request(
            method, self.url + path, data=data, headers=sent, params={k: str(v) for k, v in query.items()}
        ) as response:
            return Answer(response.status, response.headers, await response.read())

    async def get(self, path: str, **query: Any) -> Answer:
        return await self.request("GET", path, **query)

    async def post(self, path: str, body: Any, **query: Any) -> Answer:
        return await self.request("POST", path, body, **query)

    async def put(self, path: str, body: Any, **query: Any) -> Answer:
        return await self.request("PUT", path, body, **query)

    async def delete(self, path: str, body: Any = None, **query: Any) -> Answer:
        return await self.request("DELETE", path, body, **query)

    async def patch(self, path: str, body: Any, kind: str = "strategic-merge", **query: Any) -> Answer:
        suffix = "yaml" if kind == "apply" else "json"
        headers = {"Content-Type": f"application/{kind}-patch+{suffix}"}
        return await self.request("PATCH", path, json.dumps(body).encode(), headers=headers, **query)


def listening_socket() -> socket.socket:
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("127.0.0.1", 0))
    sock.listen(1024)
    sock.setblocking(False)
    return sock


@asynccontextmanager
async def running(
    pki: ClusterPKI,
    directory: Path,
    store: Store | None = None,
    *,
    socket_factory: Any = None,
    security: Mapping[str, Any] | None = None,
    **config: Any,
) -> AsyncIterator[Server]:
    """A server on a free port of loopback. The store is closed only if it was made here."""
    own_store = store is None
    store = store or MemoryStore()
    sock = listening_socket()
    port = sock.getsockname()[1]

    front_proxy = (security or {}).get("front_proxy")

    def build(reader: Any, client_for: Any) -> Security:
        return build_security(SecurityConfig(pki, socket_factory, **(security or {})), reader, client_for)

    api = APIServer(
        APIServerConfig(
            [sock],
            pki.server_context(front_proxy_ca_pem=front_proxy.ca_pem if front_proxy is not None else b""),
            server_address=f"127.0.0.1:{port}",
            drain_seconds=2.0,
            tune_garbage_collection=False,
            **config,
        ),
        store,
        build,
    )
    try:
        await api.start()
        await bootstrap(api.client_for(APISERVER_USER), BootstrapConfig(["192.0.2.1"], port, "10.96.0.0/16", dns=False))
        context = client_context(pki.ca_path, *pki.paths("admin"))
        kubeconfig = write_kubeconfig(directory, pki, port)
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context, limit=0)) as session:
            yield Server(api, store, f"https://127.0.0.1:{port}", session, api.client_for(ADMIN), kubeconfig, pki)
    finally:
        await api.stop()
        if own_store:
            await store.close()


@pytest.fixture
async def server(pki: ClusterPKI, tmp_path: Path) -> AsyncIterator[Server]:
    async with running(pki, tmp_path) as made:
        yield made


def write_kubeconfig(directory: Path, pki: ClusterPKI, port: int) -> Path:
    certificate, key = pki.paths("admin")
    path = directory / "kubeconfig"
    path.write_text(
        yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [
                    {
                        "name": "t",
                        "cluster": {"server": f"https://127.0.0.1:{port}", "certificate-authority": str(pki.ca_path)},
                    }
                ],
                "users": [{"name": "t", "user": {"client-certificate": str(certificate), "client-key": str(key)}}],
                "contexts": [{"name": "t", "context": {"cluster": "t", "user": "t"}}],
                "current-context": "t",
            }
        )
    )
    return path
