"""What works through the API in ``p8s server``: the controllers, the scheduler, and what keeps the server's own
objects, routes and node ports true.

A module of its own, since all this takes longer to load than the API server; `pybernetes.cli.server` loads it when that
one answers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import structlog

from pybernetes.api.resources import NODES, SERVICES
from pybernetes.api.user import AUTHENTICATED, User
from pybernetes.apiserver.authenticators.legacy_tokens import LegacyTokenSigner
from pybernetes.apiserver.bootstrap import APISERVER_USER, BootstrapConfig, KubernetesService
from pybernetes.apiserver.flowcontrol.keeper import PolicyKeeper
from pybernetes.apiserver.pki import ClusterPKI
from pybernetes.apiserver.server import APIServer
from pybernetes.cli.sharing import Sharing
from pybernetes.cli.supervision import part
from pybernetes.client.events import EventRecorder
from pybernetes.client.informer import Informers
from pybernetes.client.interface import Client
from pybernetes.cluster.netns import Namespace
from pybernetes.cluster.nodeports import NodePortPublisher
from pybernetes.cluster.processes import notify_ready
from pybernetes.cluster.routes import NodeRoutes
from pybernetes.controllers.manager import ControllerConfig, ControllerManager
from pybernetes.lib.clock import SystemClock
from pybernetes.scheduler.scheduler import Scheduler

if TYPE_CHECKING:
    from pybernetes.cli.server import ServerOptions

SCHEDULER_USER = User("system:kube-scheduler", groups=(AUTHENTICATED,))

log = structlog.get_logger(__name__)


async def work(
    options: ServerOptions,
    namespace: Namespace | None,
    config: BootstrapConfig,
    pki: ClusterPKI,
    api: APIServer,
    sharing: Sharing | None,
) -> None:
    """Everything that works through the API, until cancelled or one of them ends."""
    client = api.client_for(APISERVER_USER)
    certificate, key = pki.paths("ca")
    controller_config = ControllerConfig(
        root_ca_pem=pki.ca_pem.decode(),
        cluster_signing_cert_pem=certificate.read_text(),
        cluster_signing_key_pem=key.read_text(),
        sign_legacy_token=LegacyTokenSigner(pki.service_account_key_pem()).sign,
        cluster_cidr=options.cluster_cidr,
    )
    servers = sharing.servers if sharing is not None else None
    informers = Informers(client)
    try:
        async with asyncio.TaskGroup() as group:

            def start(name: str, work: Any) -> None:
                group.create_task(part(name, work), name=name)

            controllers: ControllerManager | None = None
            if sharing is None:
                controllers = ControllerManager(api.client_for, config=controller_config)
                start("controllers", _working(api, "controller-manager", controllers.run))
                start("scheduler", _working(api, "scheduler", Scheduler(api.client_for(SCHEDULER_USER)).run))
            else:
                start("servers", sharing.servers.run)
                for name, component, work in (
                    ("controllers", "controller-manager", lambda c: _controllers(c, controller_config)),
                    ("scheduler", "scheduler", lambda c: Scheduler(c(SCHEDULER_USER)).run()),
                ):
                    elected = sharing.elected(client, f"kube-{component}", api.client_for, work)
                    start(name, _working(api, component, elected))
            start("kubernetes-service", KubernetesService(client, api.reader, config, SystemClock(), servers).run)
            start("flow-control", PolicyKeeper(client, api.reader, SystemClock()).run)
            if namespace is not None:
                start("routes", NodeRoutes(informers.for_(NODES), namespace=namespace).run)
                if options.publish_node_ports:
                    recorder = EventRecorder(client, "node-ports")
                    publisher = NodePortPublisher(
                        informers.for_(SERVICES), informers.for_(NODES), namespace, recorder, host=options.bind_address
                    )
                    start("events", recorder.run)
                    start("node-ports", publisher.run)
            informers.start()
            # Where servers share the work, who does it is not known yet, and need not be.
            if controllers is not None:
                await controllers.synced()
            notify_ready()
            log.info("ready", address=f"https://{options.bind_address}:{options.port}")
    finally:
        await informers.stop()


def _working(api: APIServer, component: str, work: Callable[[], Awaitable[Any]]) -> Callable[[], Awaitable[Any]]:
    """The work, with the component's status as healthy as long as it lasts."""

    async def working() -> None:
        with api.components.working(component):
            await work()

    return working


async def _controllers(client_for: Callable[[User], Client], config: ControllerConfig) -> None:
    await ControllerManager(client_for, config=config).run()
