"""Cluster IPs and node ports of Services.

What is allocated is what the Services in the cache say: there is no second record that a crash could leave wrong, and
nothing leaks. From the choice until the cache shows it, or until it is known that nothing was written, a value is held
as pending, also where the request that chose it has ended before: its write goes on in a task of its own. Choosing
happens in one step of the event loop, so two requests of one server never get the same.

Where several servers write to the store, an allocation is also guarded in it. The values of a range are divided among
`SHARDS` keys; a write that allocates compares the keys of its values with the revisions that this server knows, and
writes them. A key that is still at a revision which the cache has reached proves that the cache shows all allocations
of its values. One that has moved means to wait for the cache, and to look again.

Source of bands and texts: upstream's ``pkg/registry/core/service`` (ipallocator, portallocator).
"""

from __future__ import annotations

import asyncio
import ipaddress
import random
from collections import Counter
from collections.abc import Coroutine, Iterable, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import structlog

from pybernetes.api import errors
from pybernetes.api.kinds.faults import Faults
from pybernetes.api.kinds.services import HEADLESS, cluster_ips, needs_health_check
from pybernetes.api.meta import Object, clone, name_of, namespace_of
from pybernetes.api.resources import SERVICES
from pybernetes.apiserver.cacher import Cacher
from pybernetes.apiserver.entries import Entry
from pybernetes.apiserver.interfaces import RequestInfo
from pybernetes.apiserver.storage import Guard
from pybernetes.lib.clock import Clock, SystemClock
from pybernetes.lib.tasks import TaskSet

_PROBES = 64
_UNKNOWN = -1
_SETTLE_SECONDS = 1.0
_EXTERNAL_NAME = "ExternalName"
_IPS = "spec.clusterIPs"

SHARDS = 32
"""Guards a range: so that allocations at the same time seldom meet."""
_GUARD_KEYS = "/p8s/allocations/services/"

log = structlog.get_logger(__name__)


class Pool:
    """Whole numbers in [first, last], counted by use. The lower band is left to explicit choices for as long as the
    upper one has room, as upstream."""

    def __init__(self, first: int, last: int, reserved_band: int) -> None:
        self.first = first
        self.last = last
        self._dynamic_first = first + reserved_band if first + reserved_band <= last else first
        self._used: Counter[int] = Counter()
        self._pending: set[int] = set()

    def __contains__(self, value: int) -> bool:
        return self.first <= value <= self.last

    def __len__(self) -> int:
        """Values that are taken."""
        return len(self._used.keys() | self._pending)

    def is_free(self, value: int) -> bool:
        return value not in self._used and value not in self._pending

    def used(self, values: Iterable[int]) -> None:
        self._used.update(values)

    def unused(self, values: Iterable[int]) -> None:
        for value in values:
            self._used[value] -= 1
            if self._used[value] <= 0:
                del self._used[value]

    def hold(self, value: int) -> None:
        self._pending.add(value)

    def let_go(self, value: int) -> None:
        self._pending.discard(value)

    def choose(self) -> int | None:
        """Holds and returns a free value, None where there is none."""
        for _ in range(_PROBES):
            value = random.randint(self._dynamic_first, self.last)
            if self.is_free(value):
                self.hold(value)
                return value
        for low, high in ((self._dynamic_first, self.last), (self.first, self._dynamic_first - 1)):
            for value in range(low, high + 1):
                if self.is_free(value):
                    self.hold(value)
                    return value
        return None


@dataclass(slots=True)
class _Held:
    """What one request holds until the cache shows its write, or until it is known that there is none."""

    allocator: ServiceAllocator
    obj: Object
    before: Object
    spec: Object | None
    """As it was before anything was allocated; kept where other servers may come in between."""
    addresses: list[int] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    write: asyncio.Task[Entry | None] | None = None

    @property
    def guards(self) -> Sequence[Guard]:
        return self.allocator.guards(self.addresses, self.numbers) if self.spec is not None else ()

    async def renew(self, moved: Sequence[Guard]) -> None:
        assert self.spec is not None
        await self.allocator.catch_up(moved)
        self.release()
        self.obj["spec"] = clone(self.spec)
        self.allocator.allocate(self)

    def guarded(self, revision: int) -> None:
        self.allocator.note([Guard(g.key, revision) for g in self.guards])

    def release(self) -> None:
        for address in self.addresses:
            self.allocator.ips.let_go(address)
        for number in self.numbers:
            self.allocator.ports.let_go(number)
        self.addresses.clear()
        self.numbers.clear()

    async def through(self, write: Coroutine[Any, Any, Entry | None]) -> Entry | None:
        if not self.addresses and not self.numbers and self.spec is None:
            return await write
        self.write = asyncio.get_running_loop().create_task(write, name="apiserver/service")
        return await asyncio.shield(self.write)

    def finish(self) -> None:
        if self.write is None:
            self.release()
        elif self.addresses or self.numbers or not self.write.done():
            self.allocator.settle(self)

    def outcome(self) -> int:
        """The revision of the write, which is over; 0 where nothing was written, negative where nobody knows."""
        assert self.write is not None
        if self.write.cancelled():
            return _UNKNOWN
        error = self.write.exception()
        if error is None:
            written = self.write.result()
            return written.revision if written is not None else 0
        refused = isinstance(error, errors.ApiError) and error.code < HTTPStatus.INTERNAL_SERVER_ERROR
        return 0 if refused else _UNKNOWN


class ServiceAllocator:
    """The `WriteHook` of Services."""

    def __init__(
        self,
        cacher: Cacher,
        cidr: str = "10.96.0.0/16",
        node_ports: tuple[int, int] = (30000, 32767),
        clock: Clock | None = None,
        *,
        shared: bool = False,
    ) -> None:
        """`shared`: other servers write to the same store."""
        self.cacher = cacher
        self._shared = shared
        self._clock = clock or SystemClock()
        self._settling = TaskSet("apiserver/services")
        self._guards: dict[str, int] = {}
        self._network = ipaddress.ip_network(cidr)
        self._family = f"IPv{self._network.version}"
        first = int(self._network.network_address) + 1
        last = int(self._network.broadcast_address) - (1 if self._network.version == 4 else 0)
        self.ips = Pool(first, last, _band(last - first + 1, 16, 256))
        low, high = node_ports
        self.ports = Pool(low, high, _band(high - low + 1, 32, 128))
        self._kubernetes = first
        cacher.kind(SERVICES).subscribe(self._changed)

    # ---- following the cache

    def _changed(self, old: Object | None, new: Object | None) -> None:
        if new is not None:
            self.ips.used(self._addresses(new))
            self.ports.used(_node_ports(new))
        if old is not None:
            self.ips.unused(self._addresses(old))
            self.ports.unused(_node_ports(old))

    def _addresses(self, service: Object) -> list[int]:
        spec = service.get("spec") or {}
        if spec.get("type") == _EXTERNAL_NAME:
            return []
        found = []
        for text in spec.get("clusterIPs") or ():
            if text != HEADLESS and (address := ipaddress.ip_address(text)) in self._network:
                found.append(int(address))
        return found

    # ---- allocating

    async def prepare(self) -> None:
        """Other servers may have freed what is asked for by name."""
        if self._shared:
            await self.cacher.fresh()

    def begin(self, info: RequestInfo, obj: Object, old: Object | None) -> _Held:
        """Gives the Service what its type needs. Raises `Invalid` and, where a range is full, `InternalError`."""
        spec = obj.setdefault("spec", {})
        held = _Held(self, obj, (old or {}).get("spec") or {}, clone(spec) if self._shared else None)
        self.allocate(held)
        if info.dry_run:
            held.release()
        return held

    def allocate(self, held: _Held) -> None:
        """Fills the Service of `held`, which holds nothing yet; nothing either where this raises."""
        try:
            faults = Faults()
            obj, before = held.obj, held.before
            spec = obj["spec"]
            if spec.get("type") != _EXTERNAL_NAME:
                self._families(faults, spec)
                if not faults:
                    self._allocate_ip(faults, held, obj, before)
                if not faults:
                    cluster_ips(faults, spec, before.get("clusterIPs") or ())
            self._allocate_ports(faults, held, spec, before)
            if faults:
                raise errors.invalid("", "Service", name_of(obj), faults)
        except errors.ApiError:
            held.release()
            raise

    def settle(self, held: _Held) -> None:
        """Releases what was held for a write as soon as the cache shows it, or as it is known that there is none."""
        assert held.write is not None
        if held.write.done() and 0 <= held.outcome() <= self.cacher.revision:
            held.release()
            return
        self._settling.start(self._settle(held), name=name_of(held.obj))

    async def _settle(self, held: _Held) -> None:
        assert held.write is not None
        await asyncio.wait((held.write,))
        revision = held.outcome()
        while revision:
            try:
                await (self.cacher.reached(revision) if revision > 0 else self.cacher.fresh())
                break
            except errors.ApiError as error:
                log.warning("what a service holds is not released yet", service=name_of(held.obj), error=str(error))
                await self._clock.sleep(_SETTLE_SECONDS)
        held.release()

    async def close(self) -> None:
        await self._settling.cancel()

    def guards(self, addresses: Iterable[int], numbers: Iterable[int]) -> list[Guard]:
        """The guards of some values, as they are known."""
        keys = {f"{_GUARD_KEYS}ip-{a % SHARDS}" for a in addresses} | {
            f"{_GUARD_KEYS}port-{n % SHARDS}" for n in numbers
        }
        return [Guard(key, self._guards.get(key, 0)) for key in sorted(keys)]

    async def catch_up(self, moved: Sequence[Guard]) -> None:
        """Makes the cache show what was allocated under guards that have moved. Raises ApiError."""
        await self.cacher.reached(max(g.revision for g in moved))
        self.note(moved)

    def note(self, guards: Iterable[Guard]) -> None:
        """Remembers the revisions of guards. The cache has reached them."""
        for guard in guards:
            self._guards[guard.key] = max(guard.revision, self._guards.get(guard.key, 0))

    def _families(self, faults: Faults, spec: Object) -> None:
        """ipFamilies and ipFamilyPolicy of a cluster that has one family."""
        other = "IPv6" if self._family == "IPv4" else "IPv4"
        headless = spec.get("clusterIPs") == [HEADLESS]
        families = list(spec.get("ipFamilies") or ())
        policy = spec.get("ipFamilyPolicy")
        if headless and not spec.get("selector"):
            # Whoever writes the endpoints may have addresses of any family.
            policy = policy or "RequireDualStack"
            if not families:
                families = [self._family] if policy == "SingleStack" else [self._family, other]
            elif len(families) == 1 and policy != "SingleStack":
                families.append("IPv6" if families[0] == "IPv4" else "IPv4")
        else:
            for i, family in enumerate(families):
                if family != self._family:
                    faults.invalid(f"spec.ipFamilies[{i}]", family, "not configured on this cluster")
            if policy == "RequireDualStack":
                faults.invalid("spec.ipFamilyPolicy", policy, "this cluster is not configured for dual-stack services")
            policy = policy or "SingleStack"
            families = families or [self._family]
        spec["ipFamilies"], spec["ipFamilyPolicy"] = families, policy

    def _allocate_ip(self, faults: Faults, held: _Held, obj: Object, before: Object) -> None:
        spec = obj["spec"]
        wanted = list(spec.get("clusterIPs") or ())
        if wanted == [HEADLESS]:
            return
        if not wanted:
            address = self.ips.choose()
            if address is None:
                raise errors.InternalError("Internal error occurred: failed to allocate a serviceIP: range is full")
            held.addresses.append(address)
            spec["clusterIP"] = str(type(self._network.network_address)(address))
            spec["clusterIPs"] = [spec["clusterIP"]]
            return
        kept = set(before.get("clusterIPs") or ()) if before.get("type") != _EXTERNAL_NAME else set()
        for text in wanted:
            if text in kept:
                continue
            fault = self._claim(held, text, obj)
            if fault:
                faults.invalid(_IPS, wanted, f"failed to allocate IP {text}: {fault}")

    def _claim(self, held: _Held, text: str, service: Object) -> str:
        """Holds an address that was asked for by name; what is wrong with it, if anything."""
        address = ipaddress.ip_address(text)
        number = int(address)
        if address not in self._network or number not in self.ips:
            return f"provided IP is not in the valid range. The range of valid IPs is {self._network}"
        is_kubernetes = (namespace_of(service), name_of(service)) == ("default", "kubernetes")
        if not self.ips.is_free(number) or (number == self._kubernetes and not is_kubernetes):
            return "provided IP is already allocated"
        self.ips.hold(number)
        held.addresses.append(number)
        return ""

    def _allocate_ports(self, faults: Faults, held: _Held, spec: Object, before: Object) -> None:
        kind = spec.get("type")
        kept = set(_node_ports({"spec": before}))
        if kind == "NodePort" or (kind == "LoadBalancer" and spec.get("allocateLoadBalancerNodePorts") is not False):
            self._port_numbers(faults, held, spec, kept, choose=True)
        elif kind == "LoadBalancer":
            self._port_numbers(faults, held, spec, kept, choose=False)
        if needs_health_check(spec):
            self._health_check_port(faults, held, spec, kept)

    def _port_numbers(self, faults: Faults, held: _Held, spec: Object, kept: set[int], *, choose: bool) -> None:
        ports = spec.get("ports") or ()
        # The same port under two protocols gets one node port.
        by_port: dict[int, int] = {}
        mine: set[int] = set(kept)
        for i, port in enumerate(ports):
            number = port.get("nodePort")
            if not number:
                continue
            by_port.setdefault(port.get("port") or 0, number)
            if number in mine:
                continue
            fault = self._claim_port(held, number)
            if fault:
                faults.invalid(f"spec.ports[{i}].nodePort", number, fault)
            mine.add(number)
        if not choose or faults:
            return
        taken = {(p.get("protocol"), p.get("nodePort")) for p in ports}
        for port in ports:
            if port.get("nodePort"):
                continue
            shared = by_port.get(port.get("port") or 0)
            if shared is not None and (port.get("protocol"), shared) not in taken:
                port["nodePort"] = shared
            else:
                port["nodePort"] = by_port[port.get("port") or 0] = self._choose_port(held)
            taken.add((port.get("protocol"), port["nodePort"]))

    def _health_check_port(self, faults: Faults, held: _Held, spec: Object, kept: set[int]) -> None:
        number = spec.get("healthCheckNodePort")
        if not number:
            spec["healthCheckNodePort"] = self._choose_port(held)
        elif number not in kept and (fault := self._claim_port(held, number)):
            faults.invalid(
                "spec.healthCheckNodePort",
                number,
                f"failed to allocate requested HealthCheck NodePort {number}: {fault}",
            )

    def _choose_port(self, held: _Held) -> int:
        number = self.ports.choose()
        if number is None:
            raise errors.InternalError("Internal error occurred: failed to allocate a nodePort: range is full")
        held.numbers.append(number)
        return number

    def _claim_port(self, held: _Held, number: int) -> str:
        if number not in self.ports:
            return (
                "provided port is not in the valid range. "
                f"The range of valid ports is {self.ports.first}-{self.ports.last}"
            )
        if not self.ports.is_free(number):
            return "provided port is already allocated"
        self.ports.hold(number)
        held.numbers.append(number)
        return ""


def _band(size: int, share: int, most: int) -> int:
    """How many values at the start of a range are left to explicit choices (upstream's calculateRangeOffset)."""
    if size <= 16:
        return 0
    return max(16, min(most, size // share))


def _node_ports(service: Object) -> set[int]:
    spec = service.get("spec") or {}
    numbers = {p["nodePort"] for p in spec.get("ports") or () if p.get("nodePort")}
    if spec.get("healthCheckNodePort"):
        numbers.add(spec["healthCheckNodePort"])
    return numbers
