"""From a Service and its EndpointSlices to the rules that one node needs for it. Pure.

Each port of a Service has up to three chains: ``svc-`` picks one of all its endpoints, ``svl-`` one of those on this
node, ``ext-`` is where traffic from outside the cluster enters. Picking counts: a counter of the chain's own, modulo
the number of endpoints, so that connections are spread exactly evenly. Sessions with ClientIP affinity pass through a
chain an endpoint (``ep-``) that remembers the client's address in a set of its own (``aff-``).

Semantics: the Service and EndpointSlice API reference; KEP-1669 (terminating endpoints), KEP-2086 (internal traffic
policy), KEP-1860 (ipMode), KEP-2433 and KEP-4444 (topology hints).
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from pybernetes.api.meta import Object, labels_of, metadata, name_of, namespace_of
from pybernetes.proxy.layout import MASQUERADE, REJECT, Family, affinity_definition
from pybernetes.proxy.rules import NO_PART, Part

SERVICE_NAME_LABEL = "kubernetes.io/service-name"
PROXY_NAME_LABEL = "service.kubernetes.io/service-proxy-name"
"""A Service with this label is another proxy's."""

_DEFAULT_AFFINITY_SECONDS = 10800
_NAME_LIMIT = 100

Protocol = Literal["tcp", "udp", "sctp"]
_PROTOCOLS: dict[str, Protocol] = {"TCP": "tcp", "UDP": "udp", "SCTP": "sctp"}


@dataclass(frozen=True, slots=True)
class Node:
    """What the plan needs to know of its node, for one address family."""

    name: str
    family: Family
    pod_cidrs: tuple[str, ...]
    """The whole cluster's pod ranges: traffic from there is the cluster's own."""
    zone: str = ""
    excluded_ips: frozenset[str] = frozenset()
    """Virtual IPs that something else on the node answers."""


@dataclass(frozen=True, slots=True, order=True)
class Endpoint:
    ip: str
    port: int
    local: bool = field(compare=False)
    ready: bool = field(compare=False)
    serving: bool = field(compare=False)
    terminating: bool = field(compare=False)
    zones: tuple[str, ...] = field(compare=False, default=())
    nodes: tuple[str, ...] = field(compare=False, default=())
    """Hints: where the endpoint wants to be used; empty for everywhere."""


@dataclass(frozen=True, slots=True)
class Frontend:
    """An address that connections are made to; `ip` is empty for a node port."""

    ip: str
    protocol: Protocol
    port: int


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """What a Service's health check says: `port` is the node's, `endpoints` the number of ready ones here."""

    port: int
    endpoints: int


@dataclass(frozen=True, slots=True)
class ServicePlan:
    part: Part = NO_PART
    datagram_backends: Mapping[Frontend, frozenset[str]] = field(default_factory=dict)
    """UDP: the endpoints' IPs behind each frontend. The kernel remembers flows without end of connections, so what
    it remembers of an endpoint that is gone has to be forgotten explicitly."""
    health_check: HealthCheck | None = None


NO_PLAN = ServicePlan()


@dataclass(frozen=True, slots=True)
class StaleFlows:
    """Flows to a frontend to forget: those that were sent to `backend_ip`, or, where that is empty, those that were
    sent nowhere."""

    frontend: Frontend
    backend_ip: str


def stale_flows(old: ServicePlan, new: ServicePlan) -> list[StaleFlows]:
    stale = []
    for frontend, backends in old.datagram_backends.items():
        for ip in sorted(backends - new.datagram_backends.get(frontend, frozenset())):
            stale.append(StaleFlows(frontend, ip))
    for frontend, backends in new.datagram_backends.items():
        if backends and not old.datagram_backends.get(frontend):
            stale.append(StaleFlows(frontend, ""))
    return stale


def service_key(endpoint_slice: Object) -> str:
    """The key of the Service a slice belongs to; empty where it belongs to none."""
    name = labels_of(endpoint_slice).get(SERVICE_NAME_LABEL, "")
    return f"{namespace_of(endpoint_slice)}/{name}" if name else ""


def is_proxied(service: Object) -> bool:
    """Whether a Service has virtual IPs that are this proxy's to serve."""
    spec = service.get("spec") or {}
    return (
        spec.get("type", "ClusterIP") != "ExternalName"
        and spec.get("clusterIP", "") not in ("", "None")
        and PROXY_NAME_LABEL not in labels_of(service)
    )


def _of_family(addresses: Iterable[str], family: Family) -> list[str]:
    """Those of the family, in the one form that the kernel prints too."""
    found = []
    for address in addresses:
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            continue
        if parsed.version == family.version:
            found.append(str(parsed))
    return found


def endpoints_of(slices: Iterable[Object], port_name: str, protocol: str, node: Node) -> list[Endpoint]:
    """The endpoints of one Service port, each address once, in order of address. Where two slices carry one address,
    which happens while one replaces the other, the ready one counts."""
    found: dict[tuple[str, int], Endpoint] = {}
    for endpoint_slice in slices:
        if endpoint_slice.get("addressType") != node.family.address_type:
            continue
        numbers = [
            int(port["port"])
            for port in endpoint_slice.get("ports") or ()
            if (port.get("name") or "") == port_name
            and (port.get("protocol") or "TCP") == protocol
            and port.get("port")
        ]
        for item in endpoint_slice.get("endpoints") or ():
            addresses = _of_family(item.get("addresses") or (), node.family)
            if not addresses:
                continue
            conditions = item.get("conditions") or {}
            ready = conditions.get("ready")
            serving = conditions.get("serving")
            hints = item.get("hints") or {}
            for number in numbers:
                endpoint = Endpoint(
                    ip=addresses[0],
                    port=number,
                    local=item.get("nodeName") == node.name,
                    ready=ready is None or bool(ready),
                    serving=(ready is None or bool(ready)) if serving is None else bool(serving),
                    terminating=bool(conditions.get("terminating")),
                    zones=tuple(z.get("name", "") for z in hints.get("forZones") or ()),
                    nodes=tuple(n.get("name", "") for n in hints.get("forNodes") or ()),
                )
                known = found.get((endpoint.ip, number))
                if known is None or (endpoint.ready and not known.ready):
                    found[endpoint.ip, number] = endpoint
    return sorted(found.values(), key=lambda e: (int(ipaddress.ip_address(e.ip)), e.port))


def usable(endpoints: Sequence[Endpoint]) -> list[Endpoint]:
    """The ready ones; where there are none, those that still serve while they terminate."""
    return [e for e in endpoints if e.ready] or [e for e in endpoints if e.serving and e.terminating]


def preferred(endpoints: Sequence[Endpoint], node: Node) -> list[Endpoint]:
    """Those whose hints name this node, or its zone, where every endpoint has such hints and some do."""
    ready = [e for e in endpoints if e.ready]
    if ready and all(e.nodes for e in ready):
        hinted = [e for e in endpoints if node.name in e.nodes]
        if any(e.ready for e in hinted):
            return hinted
    if ready and node.zone and all(e.zones for e in ready):
        hinted = [e for e in endpoints if node.zone in e.zones]
        if any(e.ready for e in hinted):
            return hinted
    return list(endpoints)


class _PortNames:
    """Names of the objects of one Service port: a hash, so that a shortened one is still unique, and what a person
    who lists the rules wants to read."""

    def __init__(self, service: Object, port: Object, protocol: Protocol) -> None:
        readable = f"{namespace_of(service)}/{name_of(service)}/{protocol}/{port.get('name') or port.get('port')}"
        self._digest = hashlib.blake2b(readable.encode(), digest_size=4).hexdigest()
        self._readable = readable

    def chain(self, kind: str) -> str:
        return f"{kind}-{self._digest}-{self._readable}"[:_NAME_LIMIT]

    def endpoint_chain(self, endpoint: Endpoint) -> str:
        return f"ep-{self._digest}-{_in_name(endpoint)}-{self._readable}"[:_NAME_LIMIT]

    def affinity_set(self, endpoint: Endpoint, timeout_seconds: int) -> str:
        return f"aff-{self._digest}-{timeout_seconds}-{_in_name(endpoint)}"


def _in_name(endpoint: Endpoint) -> str:
    return f"{endpoint.ip.replace(':', '_')}_{endpoint.port}"


class _Builder:
    """Collects the part of one Service."""

    def __init__(self, service: Object, node: Node) -> None:
        self.service = service
        self.node = node
        self.chains: dict[str, tuple[str, ...]] = {}
        self.sets: dict[str, str] = {}
        self.elements: dict[str, dict[str, str]] = {}
        self.datagram_backends: dict[Frontend, frozenset[str]] = {}
        self.health_check: HealthCheck | None = None
        spec = service.get("spec") or {}
        self.affinity_seconds = 0
        if spec.get("sessionAffinity") == "ClientIP":
            config = (spec.get("sessionAffinityConfig") or {}).get("clientIP") or {}
            self.affinity_seconds = int(config.get("timeoutSeconds") or _DEFAULT_AFFINITY_SECONDS)

    def element(self, map_name: str, key: str, verdict: str) -> None:
        self.elements.setdefault(map_name, {})[key] = verdict

    def frontend(self, frontend: Frontend, verdict: str, backends: Sequence[Endpoint], refusal: str) -> None:
        """An address and what becomes of its traffic: `verdict`, where not empty, picks an endpoint; `refusal`, where
        not empty, meets what was not picked for."""
        if frontend.ip:
            key = f"{frontend.ip} . {frontend.protocol} . {frontend.port}"
            maps = ("service_ips", "no_endpoint_ips")
        else:
            key = f"{frontend.protocol} . {frontend.port}"
            maps = ("node_ports", "no_endpoint_node_ports")
        if verdict:
            self.element(maps[0], key, verdict)
        if refusal:
            self.element(maps[1], key, refusal)
        if frontend.protocol == "udp":
            self.datagram_backends[frontend] = frozenset(e.ip for e in backends)

    def picking_chain(self, name: str, names: _PortNames, protocol: Protocol, endpoints: Sequence[Endpoint]) -> None:
        """A chain that sends a connection to one of the endpoints, in turn."""
        if self.affinity_seconds:
            self.chains[name] = self._remembering(names, protocol, endpoints)
        else:
            self.chains[name] = (self._translation(protocol, endpoints),)

    def _translation(self, protocol: Protocol, endpoints: Sequence[Endpoint]) -> str:
        family = self.node.family
        if len(endpoints) == 1:
            (only,) = endpoints
            target = f"{only.ip}:{only.port}" if family.version == 4 else f"[{only.ip}]:{only.port}"
        else:
            targets = ", ".join(f"{i} : {e.ip} . {e.port}" for i, e in enumerate(endpoints))
            target = f"numgen inc mod {len(endpoints)} map {{ {targets} }}"
        return f"meta l4proto {protocol} dnat {family.keyword} to {target}"

    def _remembering(self, names: _PortNames, protocol: Protocol, endpoints: Sequence[Endpoint]) -> tuple[str, ...]:
        family = self.node.family
        known, chains = [], []
        for endpoint in endpoints:
            chain = names.endpoint_chain(endpoint)
            remembered = names.affinity_set(endpoint, self.affinity_seconds)
            self.sets[remembered] = affinity_definition(family, self.affinity_seconds)
            self.chains[chain] = (
                f"update @{remembered} {{ {family.keyword} saddr }}",
                self._translation(protocol, [endpoint]),
            )
            known.append(f"{family.keyword} saddr @{remembered} goto {chain}")
            chains.append(chain)
        if len(chains) == 1:
            return (f"goto {chains[0]}",)
        choices = ", ".join(f"{i} : goto {chain}" for i, chain in enumerate(chains))
        return (*known, f"numgen inc mod {len(chains)} vmap {{ {choices} }}")

    def plan(self) -> ServicePlan:
        meta = metadata(self.service)
        part = Part(
            # Of two Services that claim one address the older one has it.
            rank=(str(meta.get("creationTimestamp") or ""), f"{namespace_of(self.service)}/{name_of(self.service)}"),
            chains=self.chains,
            sets=self.sets,
            elements=self.elements,
        )
        return ServicePlan(part, self.datagram_backends, self.health_check)


def plan_service(service: Object, slices: Sequence[Object], node: Node) -> ServicePlan:
    """The rules for one Service on one node; empty for one that has no virtual IP of the family."""
    if not is_proxied(service):
        return NO_PLAN
    spec = service["spec"]
    cluster_ips = [
        ip
        for ip in _of_family(spec.get("clusterIPs") or [spec.get("clusterIP", "")], node.family)
        if ip not in node.excluded_ips
    ]
    if not cluster_ips:
        return NO_PLAN
    builder = _Builder(service, node)
    for port in spec.get("ports") or ():
        _plan_port(builder, port, slices, cluster_ips)
    if spec.get("type") == "LoadBalancer" and spec.get("externalTrafficPolicy") == "Local":
        number = int(spec.get("healthCheckNodePort") or 0)
        if number:
            builder.health_check = HealthCheck(number, _ready_here(slices, node))
    return builder.plan()


def _ready_here(slices: Sequence[Object], node: Node) -> int:
    """How many addresses of ready endpoints are on this node, whatever their ports."""
    return len(
        {
            address
            for endpoint_slice in slices
            if endpoint_slice.get("addressType") == node.family.address_type
            for item in endpoint_slice.get("endpoints") or ()
            if item.get("nodeName") == node.name and (item.get("conditions") or {}).get("ready") is not False
            for address in _of_family(item.get("addresses") or (), node.family)[:1]
        }
    )


def _plan_port(builder: _Builder, port: Object, slices: Sequence[Object], cluster_ips: Sequence[str]) -> None:
    service, node = builder.service, builder.node
    spec = service["spec"]
    protocol = _PROTOCOLS[port.get("protocol") or "TCP"]
    number = int(port["port"])
    names = _PortNames(service, port, protocol)

    endpoints = endpoints_of(slices, port.get("name") or "", protocol.upper(), node)
    anywhere = usable(preferred(endpoints, node))
    here = usable([e for e in endpoints if e.local])
    internal_local = spec.get("internalTrafficPolicy") == "Local"
    external_local = spec.get("externalTrafficPolicy") == "Local"
    external = _external_ips(service, node)
    node_port = int(port.get("nodePort") or 0) if spec.get("type") in ("NodePort", "LoadBalancer") else 0
    has_external = bool(external or node_port)

    svc, svl, ext = names.chain("svc"), names.chain("svl"), names.chain("ext")
    if anywhere and (not internal_local or has_external):
        builder.picking_chain(svc, names, protocol, anywhere)
    if here and (internal_local or (external_local and has_external)):
        builder.picking_chain(svl, names, protocol, here)
    for endpoint in {e.ip for e in (*anywhere, *here) if e.local}:
        builder.element("hairpin", f"{endpoint} . {endpoint}", "")

    # No endpoint at all is an error to tell; one that is only not here is not (another node has it).
    nowhere = "" if anywhere else f"goto {REJECT}"
    backends = here if internal_local else anywhere
    internal = (svl if internal_local else svc) if backends else ""
    for ip in cluster_ips:
        builder.frontend(
            Frontend(ip, protocol, number),
            f"goto {internal}" if internal else "",
            backends,
            nowhere or ("" if internal else "drop"),
        )
    if not has_external:
        return
    if anywhere:
        builder.chains[ext] = _entering(node, external_local, svc, svl if here else "")
    refusal = nowhere or ("drop" if external_local and not here else "")
    verdict = "" if nowhere else f"goto {ext}"
    for ip, sources in external.items():
        target = verdict
        if sources is not None and verdict:
            guarded = f"{names.chain('fw')}-{_digest(sources)}"
            builder.chains[guarded] = (
                f"{node.family.keyword} saddr != {{ {', '.join(sources)} }} drop" if sources else "drop",
                verdict,
            )
            target = f"goto {guarded}"
        builder.frontend(Frontend(ip, protocol, number), target, anywhere, refusal)
    if node_port:
        builder.frontend(Frontend("", protocol, node_port), verdict, anywhere, refusal)


def _entering(node: Node, local_only: bool, svc: str, svl: str) -> tuple[str, ...]:
    """The chain of traffic from outside. With the policy Cluster the source is hidden, so that answers come back by
    this node; with Local it is kept. Pods and the node itself use every endpoint either way."""
    if not local_only:
        return (MASQUERADE, f"goto {svc}")
    pods = ", ".join(node.pod_cidrs)
    rules = (
        f"{node.family.keyword} saddr {{ {pods} }} goto {svc}",
        f"fib saddr type local {MASQUERADE}",
        f"fib saddr type local goto {svc}",
    )
    return (*rules, f"goto {svl}") if svl else rules


def _external_ips(service: Object, node: Node) -> dict[str, tuple[str, ...] | None]:
    """Addresses outside the service range, each with the sources it accepts (None for all)."""
    spec = service["spec"]
    found: dict[str, tuple[str, ...] | None] = {}
    for ip in _of_family(spec.get("externalIPs") or (), node.family):
        found[ip] = None
    if spec.get("type") == "LoadBalancer":
        ranges = [r.strip() for r in spec.get("loadBalancerSourceRanges") or ()]
        sources = tuple(sorted(r for r in ranges if _is_range(r, node.family))) if ranges else None
        ingress = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
        # ipMode Proxy: the balancer wants to see the traffic itself.
        addresses = [i.get("ip", "") for i in ingress if i.get("ipMode", "VIP") == "VIP"]
        for ip in _of_family(addresses, node.family):
            found.setdefault(ip, sources)
    return {ip: sources for ip, sources in found.items() if ip not in node.excluded_ips}


def _is_range(text: str, family: Family) -> bool:
    try:
        return ipaddress.ip_network(text, strict=False).version == family.version
    except ValueError:
        return False


def _digest(values: Iterable[str]) -> str:
    return hashlib.blake2b(",".join(values).encode(), digest_size=4).hexdigest()
