"""``p8s server``: the API server, the scheduler and the controllers in one process, over one store.

The pieces come up in the order of their dependence: store, API server, what a cluster holds from the start, then
everything that works through the API. The process is ready, and says so as sd_notify(3) has it, when the controllers
have seen the cluster. It stops in the opposite order.

With a datastore in etcd several servers serve one cluster: see `pybernetes.cli.sharing` for what that takes.

With ``--namespace`` the API server also listens inside that network namespace, at the advertised address, and reaches
kubelets and pods from there; routes to pods are kept in it, and node ports are published from it to the loopback.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import structlog

from pybernetes.apiserver.bootstrap import (
    APISERVER_USER,
    START_HOOKS,
    BootstrapConfig,
    bootstrap,
    reachable_addresses,
)
from pybernetes.apiserver.claim import claim
from pybernetes.apiserver.pki import ClusterPKI
from pybernetes.apiserver.security import Security, SecurityConfig, build_security
from pybernetes.apiserver.server import APIServer, APIServerConfig
from pybernetes.cli.datastore import datastore_options, take_datastore_options
from pybernetes.cli.server_overload import Overload, overload_options, take_overload_options
from pybernetes.cli.server_security import LoadedSecurity, SecurityFlags, security_options
from pybernetes.cli.sharing import Sharing
from pybernetes.cli.supervision import run
from pybernetes.client.leases import LeaseTimings
from pybernetes.cluster import backup
from pybernetes.cluster.netns import Namespace
from pybernetes.lib import logs
from pybernetes.lib.clock import SystemClock
from pybernetes.store.etcd.config import EtcdConfig
from pybernetes.store.interface import Store
from pybernetes.store.memory import MemoryStore
from pybernetes.store.sqlite import SQLiteStore
from pybernetes.store.transfer import check_whole

_DRAIN_SECONDS = 2.0

if TYPE_CHECKING:
    from pybernetes.apiserver.audit.trail import AuditTrail

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """The command's options."""

    data_dir: Path
    datastore: str
    compaction_interval: float
    etcd: EtcdConfig | None
    election: LeaseTimings
    bind_address: str
    port: int
    namespace: str
    advertise_address: str
    advertise_port: int
    cluster_cidr: str
    service_cidr: str
    cluster_domain: str
    publish_node_ports: bool
    log_dir: Path
    security: LoadedSecurity
    overload: Overload


@click.command("server")
@click.option("--log-level", type=click.Choice(logs.LEVELS), default="info", show_default=True, help="How much to log.")
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="Keeps the certificates and the store.",
)
@datastore_options
@click.option(
    "--compaction-interval",
    type=click.FloatRange(0),
    default=300.0,
    show_default=True,
    metavar="SECONDS",
    help="How often history that is at least this old is forgotten; 0 keeps it all.",
)
@click.option("--bind-address", default="127.0.0.1", show_default=True, help="Where to listen.")
@click.option("--port", type=click.IntRange(1, 65535), default=6443, show_default=True, help="Where to listen.")
@click.option("--namespace", default="", help="The cluster's network namespace, by its name in /run/netns.")
@click.option(
    "--advertise-address", default="", help="Where nodes and pods reach the API server.  [default: the bind address]"
)
@click.option(
    "--advertise-port",
    type=click.IntRange(1, 65535),
    default=None,
    help="Where nodes and pods reach the API server.  [default: the port]",
)
@click.option("--cluster-cidr", default="10.244.0.0/16", show_default=True, help="The range of pods' addresses.")
@click.option("--service-cidr", default="10.96.0.0/16", show_default=True, help="The range of Services' addresses.")
@click.option("--cluster-domain", default="cluster.local", show_default=True, help="The cluster's DNS domain.")
@click.option(
    "--log-dir",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("/var/log"),
    show_default=True,
    help="Whose files the API server shows below /logs/.",
)
@click.option(
    "--publish-node-ports/--no-publish-node-ports",
    default=False,
    show_default=True,
    help="Listen on the bind address for each NodePort Service; needs --namespace.",
)
@overload_options
@security_options
def server_command(
    security: SecurityFlags, log_level: str, advertise_address: str, advertise_port: int | None, **rest: Any
) -> int:
    """Run the API server, the scheduler and the controllers, until SIGTERM."""
    etcd, election = take_datastore_options(rest)
    overload = take_overload_options(rest)
    options = ServerOptions(
        etcd=etcd,
        election=election,
        advertise_address=advertise_address or rest["bind_address"],
        advertise_port=advertise_port or rest["port"],
        security=security.load(),
        overload=overload,
        **rest,
    )
    logs.configure(log_level)
    return run("server", lambda: serve(options))


async def serve(options: ServerOptions) -> None:
    """Works until cancelled; then nothing of it is left but the data directory."""
    async with contextlib.AsyncExitStack() as stack:
        namespace: Namespace | None = None
        if options.namespace:
            namespace = Namespace(options.namespace)
            stack.callback(namespace.close)
        sockets = _sockets(options, namespace)
        # The API server closes them too; this is for a start that fails before it has them.
        for sock in sockets:
            stack.callback(sock.close)
        config = BootstrapConfig(
            [options.advertise_address], options.advertise_port, options.service_cidr, options.cluster_domain
        )
        await asyncio.to_thread(backup.finish, options.data_dir)
        pki = await asyncio.to_thread(_pki, options, config)
        front_proxy = options.security.front_proxy
        config = dataclasses.replace(config, client_ca_pem=pki.ca_pem, front_proxy=front_proxy)
        store = await _open_store(options)
        stack.push_async_callback(store.close)
        await check_whole(store)
        sharing = None
        if options.etcd is not None:
            await claim(store, pki)
            sharing = Sharing(store, reachable_addresses(config), _settings(options), options.election)
        api = APIServer(
            APIServerConfig(
                sockets,
                pki.server_context(front_proxy_ca_pem=front_proxy.ca_pem if front_proxy is not None else b""),
                service_cidr=options.service_cidr,
                server_address=f"{options.advertise_address}:{options.advertise_port}",
                drain_seconds=_DRAIN_SECONDS,
                seats=options.overload.seats,
                request_seconds=options.overload.request_seconds,
                shutdown_delay_seconds=options.overload.shutdown_delay_seconds,
                audit=_audit(options.security, stack),
                logs_directory=options.log_dir,
                compaction_seconds=options.compaction_interval,
                shared_store=sharing is not None,
            ),
            store,
            lambda reader, client_for: _security(options.security, pki, namespace, reader, client_for),
        )
        bootstrapped = [api.start_hook(name) for name in START_HOOKS]
        stack.push_async_callback(api.stop)
        await api.start()
        if sharing is not None:
            await sharing.enter()
            stack.push_async_callback(sharing.leave)
        await bootstrap(api.client_for(APISERVER_USER), config, sharing.servers.addresses() if sharing else None)
        for done in bootstrapped:
            done()
        # Only now, and beside the answering of requests: who asks the API server need not wait for the rest to load.
        await asyncio.to_thread(import_module, "pybernetes.cli.control_plane")
        from pybernetes.cli.control_plane import work

        await work(options, namespace, config, pki, api, sharing)


def _settings(options: ServerOptions) -> dict[str, str]:
    """What all servers of a cluster must have the same, by the names of the options."""
    return {
        "--advertise-port": str(options.advertise_port),
        "--cluster-cidr": options.cluster_cidr,
        "--cluster-domain": options.cluster_domain,
        "--service-cidr": options.service_cidr,
    }


def _sockets(options: ServerOptions, namespace: Namespace | None) -> list[socket.socket]:
    """Listening already, so that a connection that comes early waits and is not refused. Raises OSError."""
    listening = [_listen(options.bind_address, options.port)]
    if namespace is not None:
        listening.append(namespace.listen(options.advertise_address, options.advertise_port))
        listening[-1].setblocking(False)
    return listening


def _listen(host: str, port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
        sock.listen(1024)
    except OSError as error:
        sock.close()
        raise OSError(error.errno, f"cannot listen on {host}:{port}: {error.strerror}") from error
    sock.setblocking(False)
    return sock


def _pki(options: ServerOptions, config: BootstrapConfig) -> ClusterPKI:
    options.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    extra: Sequence[str] = () if options.bind_address in ("127.0.0.1", "::1") else (options.bind_address,)
    return ClusterPKI.ensure(
        options.data_dir / "pki",
        advertise_addresses=config.advertise_addresses,
        service_ip=config.service_ip,
        cluster_domain=options.cluster_domain,
        extra_hosts=extra,
    )


async def _open_store(options: ServerOptions) -> Store:
    store: Store
    if options.etcd is not None:
        from pybernetes.store.etcd.store import EtcdStore

        store = await EtcdStore.open(options.etcd)
    elif options.datastore == "memory":
        store = MemoryStore()
    else:
        store = await SQLiteStore.open(options.data_dir / "store")
    encryption = options.security.encryption
    if encryption is None:
        return store
    from pybernetes.apiserver.encryption.store import EncryptedStore

    return EncryptedStore(store, encryption)


def _security(
    options: LoadedSecurity, pki: ClusterPKI, namespace: Namespace | None, reader: Any, client_for: Any
) -> Security:
    config = SecurityConfig(
        pki,
        namespace.socket_factory if namespace is not None else None,
        anonymous=options.anonymous,
        bootstrap_tokens=options.bootstrap_tokens,
        static_tokens=options.static_tokens,
        jwt_issuers=options.jwt_issuers,
        token_webhook=options.token_webhook,
        front_proxy=options.front_proxy,
        authorizers=options.authorizers,
        issuer=options.issuer,
        jwks_uri=options.jwks_uri,
        audiences=options.audiences,
        disabled_plugins=options.disabled_plugins,
    )
    return build_security(config, reader, client_for)


def _audit(options: LoadedSecurity, stack: contextlib.AsyncExitStack) -> AuditTrail | None:
    """The audit trail, whose sinks end after everything that tells it something."""
    return options.audit.open(SystemClock(), stack) if options.audit is not None else None
