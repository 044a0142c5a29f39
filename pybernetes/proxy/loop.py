"""The service proxy of one node: keeps the kernel's rules true to Services and EndpointSlices.

Lifecycle: `run` waits for the informers, takes over the rules that an earlier run left (changing only what differs,
so that no connection is dropped and no counter starts anew), then applies changes until it is cancelled; the rules
stay then, for a later run. `stop` removes them. Events only note which Services changed; whatever was noted while one
transaction was on its way goes into the next, so a burst costs few transactions and a single change waits for nobody.
When the kernel's state turns out not to be what was expected, it is read and put right, or replaced whole.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import structlog

from pybernetes.api.meta import Object, key_of
from pybernetes.api.resources import ENDPOINTSLICES, SERVICES
from pybernetes.client.informer import Informers
from pybernetes.proxy import kernel
from pybernetes.proxy.healthcheck import HealthChecks
from pybernetes.proxy.layout import TABLE, Family, LayoutConfig, family_of
from pybernetes.proxy.nft import Nft, NftError
from pybernetes.proxy.plan import (
    NO_PLAN,
    HealthCheck,
    Node,
    ServicePlan,
    StaleFlows,
    plan_service,
    service_key,
    stale_flows,
)
from pybernetes.proxy.rules import Rules
from pybernetes.proxy.tablewatch import TableWatch

_BY_SERVICE = "service"
_RETRY_MIN_SECONDS = 0.1
_RETRY_MAX_SECONDS = 30.0

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class ProxyStatistics:
    services: int = 0
    transactions: int = 0
    resyncs: int = 0
    failures: int = 0
    last_transaction_seconds: float = 0.0


class _FamilyProxy:
    """The rules of one address family."""

    def __init__(self, node: Node, config: LayoutConfig, namespace: str) -> None:
        self.node = node
        self.config = config
        self.nft = Nft(config, namespace=namespace)
        self.namespace = namespace
        self.rules = Rules()
        self.plans: dict[str, ServicePlan] = {}
        self.health_checks: dict[str, HealthCheck | None] = {}
        """Those that changed and are not served yet."""
        self.lost = False
        """Whether the kernel told that the table is gone."""
        self.in_step = False
        """Whether the kernel is believed to hold what `rules` last told."""
        self.stale: list[StaleFlows] = []

    def plan(self, key: str, service: Object | None, slices: Sequence[Object]) -> None:
        old = self.plans.get(key, NO_PLAN)
        new = NO_PLAN if service is None else plan_service(service, slices, self.node)
        if new is NO_PLAN:
            self.plans.pop(key, None)
            self.rules.set_part(key, None)
        else:
            self.plans[key] = new
            self.rules.set_part(key, new.part)
        self.stale += stale_flows(old, new)
        if old.health_check != new.health_check:
            self.health_checks[key] = new.health_check

    async def apply(self, statistics: ProxyStatistics) -> None:
        """Brings the kernel to what is planned. Raises `NftError` or `OSError`; the next call then starts from the
        kernel's actual state."""
        if self.lost:
            self.lost = self.in_step = False
        if self.in_step:
            commands = self.rules.commands()
            if commands:
                self.in_step = False
                await self.nft.apply(commands)
                statistics.transactions += 1
                self.in_step = True
        else:
            await self._resync(statistics)
        if self.stale:
            stale = self.stale
            forgotten = await asyncio.to_thread(
                kernel.forget_flows, stale, self.config.node_ips, namespace=self.namespace
            )
            self.stale = self.stale[len(stale) :]
            log.debug("forgot datagram flows", flows=forgotten)

    async def _resync(self, statistics: ProxyStatistics) -> None:
        statistics.resyncs += 1
        try:
            found = await self.nft.read()
        except (NftError, ValueError, KeyError, TypeError) as error:
            # What cannot be read cannot be taken over.
            log.warning("cannot read the rules", error=str(error))
            found = None
        if found is not None:
            try:
                commands = self.rules.adopt(found)
                await self.nft.apply(commands)
                log.info("took over the rules", chains=len(found.chains), changes=len(commands))
                statistics.transactions += 1
                self.in_step = True
                return
            except NftError as error:
                log.warning("cannot take over the rules, replacing them", error=str(error))
        from_nothing = Rules()
        for owner in self.rules.owners:
            from_nothing.set_part(owner, self.rules.part(owner))
        await self.nft.replace(from_nothing.commands())
        self.rules = from_nothing
        statistics.transactions += 1
        self.in_step = True


class ServiceProxy:
    """The service proxy of node `node_name`.

    `node_ips` has one address a family that is served; `service_cidrs` and `pod_cidrs` are the cluster's, of either
    family. `excluded_ips` are virtual IPs that the node answers by other means (the cluster DNS). `namespace` is the
    path of a network namespace to work in instead of the process's own.
    """

    def __init__(
        self,
        informers: Informers,
        *,
        node_name: str,
        node_ips: Sequence[str],
        service_cidrs: Sequence[str],
        pod_cidrs: Sequence[str],
        excluded_ips: Sequence[str] = (),
        zone: str = "",
        namespace: str = "",
    ) -> None:
        self.statistics = ProxyStatistics()
        self._namespace = namespace
        self._families: list[_FamilyProxy] = []
        for family in sorted({family_of(ip) for ip in node_ips}, key=lambda f: f.version):
            config = LayoutConfig(
                family=family,
                node_ips=tuple(_only(node_ips, family)),
                service_cidr=next(iter(_only(service_cidrs, family)), ""),
                pod_cidrs=tuple(_only(pod_cidrs, family)),
                excluded_ips=tuple(sorted(_only(excluded_ips, family))),
            )
            if config.service_cidr and config.pod_cidrs:
                node = Node(node_name, family, config.pod_cidrs, zone, frozenset(config.excluded_ips))
                self._families.append(_FamilyProxy(node, config, namespace))
        self._services = informers.for_(SERVICES)
        self._slices = informers.for_(ENDPOINTSLICES)
        self._slices.cache.add_index(_BY_SERVICE, lambda s: (service_key(s),))
        # Bounded by the number of Services.
        self._changed: set[str] = set()
        self._wakeup = asyncio.Event()
        self._ready = asyncio.Event()
        self._health_checks = HealthChecks(namespace)
        self._watch = TableWatch(TABLE, self._on_lost, namespace=namespace)
        self._services.add_handler(self._on_service)
        self._slices.add_handler(self._on_slice)

    async def ready(self) -> None:
        """Waits until the rules have been true once."""
        await self._ready.wait()

    def _note(self, key: str) -> None:
        if key:
            self._changed.add(key)
            self._wakeup.set()

    def _on_service(self, old: Object | None, new: Object | None) -> None:
        changed = new or old
        assert changed is not None
        # Of a Service only its spec and status matter here.
        if old is not None and new is not None and _relevant(old) == _relevant(new):
            return
        self._note(key_of(changed))

    def _on_slice(self, old: Object | None, new: Object | None) -> None:
        for endpoint_slice in (old, new):
            if endpoint_slice is not None:
                self._note(service_key(endpoint_slice))

    def _on_lost(self, family_keyword: str) -> None:
        for family in self._families:
            if family.config.family.keyword == family_keyword:
                # Even while a transaction is on its way: whether it came before or after this is not known.
                log.warning("the rules may be gone, looking at them", family=family_keyword)
                family.lost = True
                self._wakeup.set()

    async def run(self) -> None:
        """Keeps the rules true until cancelled."""
        self._watch.open()
        try:
            await self._run()
        finally:
            self._watch.close()
            await self._health_checks.close()

    async def _run(self) -> None:
        for family in self._families:
            await asyncio.to_thread(
                kernel.install_route,
                family.config.service_cidr,
                family.config.node_ips[0],
                namespace=self._namespace,
            )
        await self._services.synced()
        await self._slices.synced()
        retry = 0.0
        while True:
            self._wakeup.clear()
            self._plan_changes()
            try:
                started = time.monotonic()
                for family in self._families:
                    await family.apply(self.statistics)
                    while family.health_checks:
                        await self._health_checks.set(*family.health_checks.popitem())
                self.statistics.last_transaction_seconds = time.monotonic() - started
                retry = 0.0
                self._ready.set()
            except (NftError, OSError) as error:
                self.statistics.failures += 1
                retry = min(max(_RETRY_MIN_SECONDS, retry * 2), _RETRY_MAX_SECONDS)
                log.error("rules not applied", error=str(error), retry_s=retry)
                await asyncio.sleep(retry * random.uniform(0.5, 1.0))
                continue
            await self._wakeup.wait()

    def _plan_changes(self) -> None:
        changed, self._changed = self._changed, set()
        for key in changed:
            service = self._services.cache.get(key)
            slices = self._slices.cache.by_index(_BY_SERVICE, key)
            for family in self._families:
                family.plan(key, service, slices)
        self.statistics.services = len(self._services.cache)

    async def stop(self) -> None:
        """Removes the rules and the route; connections end. After `run` was cancelled. Raises `NftError` or
        `OSError`."""
        for family in self._families:
            await family.nft.delete()
            await asyncio.to_thread(kernel.remove_route, family.config.service_cidr, namespace=self._namespace)


def _only(addresses: Iterable[str], family: Family) -> list[str]:
    return [address for address in addresses if address and family_of(address) == family]


def _relevant(service: Object) -> tuple[object, object, object]:
    return service.get("spec"), service.get("status"), (service.get("metadata") or {}).get("labels")
