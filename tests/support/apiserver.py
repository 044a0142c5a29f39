"""An API server in the test's own process without sockets: for clients that call it directly."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from pybernetes.apiserver.bootstrap import APISERVER_USER, BootstrapConfig, bootstrap
from pybernetes.apiserver.pki import ClusterPKI
from pybernetes.apiserver.security import SecurityConfig, build_security
from pybernetes.apiserver.server import APIServer, APIServerConfig
from pybernetes.store.memory import MemoryStore


@asynccontextmanager
async def api_server(pki: ClusterPKI, **config: Any) -> AsyncIterator[APIServer]:
    """Over a memory store, with what a cluster begins with and the security of a real one; stopped at the end."""
    store = MemoryStore()
    api = APIServer(
        APIServerConfig([], drain_seconds=1.0, **config),
        store,
        lambda reader, client_for: build_security(SecurityConfig(pki), reader, client_for),
    )
    await api.start()
    try:
        await bootstrap(api.client_for(APISERVER_USER), BootstrapConfig(["192.0.2.1"], 6443, "10.96.0.0/16", dns=False))
        yield api
    finally:
        await api.stop()
        await store.close()
