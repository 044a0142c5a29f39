"""The API server, put together: store, watch cache, security, registry, HTTP.

`start` loads the cache, builds the rest over it, and listens; `stop` is graceful: readiness fails first, watches end
in order, requests in flight get `drain_seconds`, then connections are closed. One event loop owns the server. The
store is the caller's: it outlives the server.
"""

from __future__ import annotations

import asyncio
import gc
import socket
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import structlog

from pybernetes.api.kinds.registry import strategy_for
from pybernetes.api.meta import Object
from pybernetes.api.resources import Resource
from pybernetes.api.schema import nodes
from pybernetes.api.user import User
from pybernetes.apiserver.cacher import Cacher, CacheReader
from pybernetes.apiserver.compaction import Compactor
from pybernetes.apiserver.components import Components
from pybernetes.apiserver.deletion import Deleter
from pybernetes.apiserver.documents import Documents
from pybernetes.apiserver.endpoints import Endpoints, HealthCheck
from pybernetes.apiserver.flowcontrol import dump
from pybernetes.apiserver.flowcontrol.control import SEATS, FlowControl
from pybernetes.apiserver.http import REQUEST_SECONDS_MAX, HTTPHandler
from pybernetes.apiserver.inprocess import InProcessClient
from pybernetes.apiserver.interfaces import (
    AdmissionPlugin,
    Authenticator,
    Authorizer,
    ConnectHandler,
    HandlerKey,
    ObjectHandler,
    ObservableReader,
)
from pybernetes.apiserver.listing import Lister
from pybernetes.apiserver.log_files import LogFiles
from pybernetes.apiserver.metrics import Metrics
from pybernetes.apiserver.operations import Operations
from pybernetes.apiserver.pods import PodHandlers
from pybernetes.apiserver.registry import Registry
from pybernetes.apiserver.requests import HTTPServer
from pybernetes.apiserver.served import ServedKinds
from pybernetes.apiserver.services import ServiceAllocator
from pybernetes.apiserver.storage import ObjectStorage
from pybernetes.apiserver.watch_stream import WatchStreams
from pybernetes.client.interface import Client
from pybernetes.lib.clock import Clock, SystemClock
from pybernetes.store.interface import Store

if TYPE_CHECKING:
    from pybernetes.apiserver.audit.requests import HTTPAudit
    from pybernetes.apiserver.audit.trail import AuditTrail

log = structlog.get_logger(__name__)


class SecurityParts(Protocol):
    """What the server needs of its guard room; `pybernetes.apiserver.security.Security` is it."""

    @property
    def authenticator(self) -> Authenticator: ...
    @property
    def anonymous(self) -> bool | frozenset[str]: ...
    @property
    def authorizer(self) -> Authorizer: ...
    @property
    def may_ask(self) -> bool: ...
    @property
    def admission(self) -> Sequence[AdmissionPlugin]: ...
    @property
    def object_handlers(self) -> Mapping[HandlerKey, ObjectHandler]: ...
    @property
    def connect_handlers(self) -> Mapping[HandlerKey, ConnectHandler]: ...
    @property
    def openid_configuration(self) -> Object | None: ...
    @property
    def jwks(self) -> Object | None: ...
    async def close(self) -> None: ...


SecurityBuilder = Callable[[ObservableReader, Callable[[User], Client]], SecurityParts]
"""(the loaded watch cache, maker of in-process clients) -> the guard room. The clients work once the server has
started."""


@dataclass(frozen=True, slots=True)
class APIServerConfig:
    sockets: Sequence[socket.socket]
    """Bound and listening already, in whatever namespace. The server closes them."""
    ssl_context: ssl.SSLContext | None = None
    """None for plain HTTP, in tests only."""
    service_cidr: str = "10.96.0.0/16"
    node_ports: tuple[int, int] = (30000, 32767)
    server_address: str = "localhost:6443"
    """``host:port`` as discovery tells it to clients."""
    drain_seconds: float = 10.0
    """How long requests in flight may go on when the server stops."""
    shutdown_delay_seconds: float = 0.0
    """How long the server goes on as before when it is to stop, while ``/readyz`` says so already: for whoever
    balances load over several servers to notice."""
    request_seconds: float = REQUEST_SECONDS_MAX
    """How long a request may take, watches and connections aside."""
    seats: int = SEATS
    """Requests that flow control lets be served at once."""
    compaction_seconds: float = 300.0
    """History that is at least this old is compacted away, as often; 0 for never."""
    tune_garbage_collection: bool = True
    """See `tune_garbage_collection`."""
    logs_directory: Path | None = None
    """Whose files ``/logs/`` shows; None for no such path."""
    clock: Clock = field(default_factory=SystemClock)
    shared_store: bool = False
    """Whether other servers write to the store too."""
    audit: AuditTrail | None = None
    """Told of every request; None for no audit log."""


def _http_audit(trail: AuditTrail | None) -> HTTPAudit | None:
    """Loaded only where there is an audit log."""
    if trail is None:
        return None
    from pybernetes.apiserver.audit.requests import HTTPAudit

    return HTTPAudit(trail)


def tune_garbage_collection() -> None:
    """Makes the cyclic collector rare, for the whole process.

    Cached objects are trees, which reference counting frees; walking tens of thousands of them again and again in
    search of cycles costs a fifth of a server's time, and most of the time of a start with many objects. What is loaded
    so far is never walked again.
    """
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    gc.enable()


class APIServer:
    """One API server over one store."""

    def __init__(self, config: APIServerConfig, store: Store, security: SecurityBuilder) -> None:
        self._config = config
        self._store = store
        self._build_security = security
        self.metrics = Metrics()
        self.cacher = Cacher(store, config.clock)
        self.reader = CacheReader(self.cacher)
        self.kinds = ServedKinds(strategy_for)
        self._storage = ObjectStorage(store, self.cacher, config.clock)
        self._operations: Operations | None = None
        self._services: ServiceAllocator | None = None
        self._security: SecurityParts | None = None
        self._compactor = Compactor(store, config.clock, config.compaction_seconds)
        self._web: HTTPServer | None = None
        self._listeners: list[asyncio.Server] = []
        self._handler: HTTPHandler | None = None
        self._stopping = False
        self.components = Components(self._store_fault)
        self._closed = False
        self._hooks: dict[str, bool] = {}
        """Post-start hooks, and whether each is done."""
        self.flow_control = FlowControl(self.reader, self._sizes, seats=config.seats)
        self.metrics.add_objects(lambda: {k.storage_id: len(k) for k in self.cacher.kinds()})
        self.metrics.add_flow_control(self.flow_control)

    # ---- lifecycle

    async def start(self) -> None:
        """Returns when the server answers. Cancelled or failed, `stop` cleans up."""
        config = self._config
        if config.tune_garbage_collection:
            gc.disable()
        nodes.preload(self.kinds)
        await self.cacher.start()
        security = self._security = self._build_security(self.reader, self.client_for)
        services = self._services = ServiceAllocator(
            self.cacher, config.service_cidr, config.node_ports, config.clock, shared=config.shared_store
        )
        registry = Registry(self._storage, self.kinds, security.admission, config.clock, {"core/services": services})
        lister = Lister(self._storage, self.kinds)
        deleter = Deleter(registry, lister)
        pods = PodHandlers(registry, deleter, self.reader)
        operations = self._operations = Operations(
            registry,
            lister,
            deleter,
            security.authorizer,
            {**pods.handlers(), **security.object_handlers},
            self.components,
        )
        endpoints = Endpoints(
            self.metrics, self._checks, openid_configuration=security.openid_configuration, jwks=security.jwks
        )
        Documents(self.kinds, config.server_address).install(endpoints)
        if config.logs_directory is not None:
            LogFiles(config.logs_directory).install(endpoints)
        self.flow_control.start()
        handler = self._handler = HTTPHandler(
            operations,
            security.authenticator,
            security.connect_handlers,
            endpoints.serve,
            WatchStreams(operations, self.cacher, self.metrics, config.clock),
            self.metrics,
            config.clock,
            flow_control=self.flow_control,
            request_seconds=config.request_seconds,
            anonymous=security.anonymous,
            audit=_http_audit(config.audit),
            may_ask=security.may_ask,
        )
        dump.install(endpoints, self.flow_control, handler.under_way)
        self._web = HTTPServer(handler.handle)
        loop = asyncio.get_running_loop()
        for sock in config.sockets:
            self._listeners.append(await loop.create_server(self._web, sock=sock, ssl=config.ssl_context, backlog=1024))
        self._compactor.start()
        if config.tune_garbage_collection:
            tune_garbage_collection()
        log.info("API server started", revision=self.cacher.revision, sockets=len(self._listeners))

    async def stop(self) -> None:
        """Graceful; safe to call twice, and after a `start` that failed."""
        if self._stopping:
            return
        self._stopping = True
        log.info("API server stopping")
        if self._config.shutdown_delay_seconds and self._handler is not None:
            await self._config.clock.sleep(self._config.shutdown_delay_seconds)
        self._closed = True
        if self._handler is not None:
            self._handler.refuse()
        await self._compactor.stop()
        for listener in self._listeners:
            listener.close()
        self.cacher.end_watches()
        if self._web is not None:
            self._web.pre_shutdown()
            await self._web.shutdown(self._config.drain_seconds)
        if self._handler is not None:
            self._handler.close()
        self.flow_control.stop()
        for listener in self._listeners:
            await listener.wait_closed()
        for sock in self._config.sockets:
            sock.close()
        if self._security is not None:
            await self._security.close()
        if self._services is not None:
            await self._services.close()
        await self.cacher.stop()
        log.info("API server stopped")

    @property
    def stopping(self) -> bool:
        return self._stopping

    # ---- for components in this process

    def client_for(self, user: User) -> Client:
        """A client without HTTP that acts as `user`. It works while the server runs."""
        client = InProcessClient(self._running_operations, self.cacher, user, lambda: self._closed)
        if self._config.audit is None:
            return client
        from pybernetes.apiserver.audit.client import AuditedClient

        return AuditedClient(client, user, self._config.audit)

    def _running_operations(self) -> Operations:
        assert self._operations is not None, "the server has not started"
        return self._operations

    # ---- health

    def start_hook(self, name: str) -> Callable[[], None]:
        """Makes health wait for ``poststarthook/NAME`` until the returned function is called."""
        self._hooks[name] = False

        def done() -> None:
            self._hooks[name] = True

        return done

    def _store_fault(self) -> str:
        return self._store.fault() if self.cacher.following else "the store's watch is broken"

    def _checks(self) -> list[HealthCheck]:
        store = self._store_fault()
        checks = [
            HealthCheck("ping"),
            HealthCheck("log"),
            HealthCheck("etcd", store),
            HealthCheck("etcd-readiness", store, live=False),
            HealthCheck("informer-sync", "" if not store else "not synced", live=False),
        ]
        checks += [HealthCheck(f"poststarthook/{n}", "" if done else "not finished") for n, done in self._hooks.items()]
        checks.append(
            HealthCheck("shutdown", "process is shutting down" if self._stopping else "", live=False),
        )
        return checks

    # ---- for flow control

    def _sizes(self, resource: Resource) -> tuple[int, int]:
        cache = self.cacher.kind(resource)
        return len(cache), cache.average_bytes()
