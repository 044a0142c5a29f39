"""What the cluster's DNS zone says: indexes of Services, EndpointSlices and Namespaces, and answers from them. Pure.

The schema is the Kubernetes DNS specification's, version 1.1.0; where that leaves a choice, it is as CoreDNS has it
with the configuration of kubeadm: records of pods by address without looking at pods (``pods insecure``), names of
endpoints by their hostname or else by their address with dashes, positive answers for 30 s, negative ones for 5 s.

The indexes are changed by `set_service`, `set_endpoints` and `set_namespace`, each in proportion to what changed;
`lookup` reads nothing else.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from pybernetes.api.meta import Object, key_of, labels_of, namespace_of, split_key

DNS_SCHEMA_VERSION = "1.1.0"
TTL_SECONDS = 30
NEGATIVE_TTL_SECONDS = 5
SERVICE_NAME_LABEL = "kubernetes.io/service-name"

Kind = Literal["A", "AAAA", "SRV", "PTR", "CNAME", "TXT", "NS", "SOA"]


class Record(NamedTuple):
    """A resource record. `data` is an address, a name, a text, or (priority, weight, port, name) for SRV. Names are
    absolute, without the dot at their end."""

    name: str
    kind: Kind
    data: str | tuple[int, int, int, str]
    ttl: int = TTL_SECONDS


@dataclass(frozen=True, slots=True)
class Answer:
    """What to answer. Without records it is "no such name" (`exists` false) or "no such data". `alias` is the name
    that a CNAME among the records points at, for the server to follow. `depends_on` is the key of the Service on
    which the answer depends, empty where it depends on more than one."""

    exists: bool = True
    records: tuple[Record, ...] = ()
    additional: tuple[Record, ...] = ()
    alias: str = ""
    depends_on: str = ""


NO_SUCH_NAME = Answer(exists=False)
NO_DATA = Answer()


@dataclass(frozen=True, slots=True)
class _Port:
    name: str
    protocol: str
    number: int


@dataclass(frozen=True, slots=True)
class _Service:
    addresses: tuple[str, ...] = ()
    headless: bool = False
    external_name: str = ""
    ports: tuple[_Port, ...] = ()


@dataclass(frozen=True, slots=True)
class _Endpoint:
    label: str
    address: str
    ports: tuple[_Port, ...]


@dataclass(slots=True)
class _Endpoints:
    all: tuple[_Endpoint, ...] = ()
    by_label: dict[str, list[_Endpoint]] = field(default_factory=dict)


def slice_service_key(endpoint_slice: Object) -> str:
    name = labels_of(endpoint_slice).get(SERVICE_NAME_LABEL, "")
    return f"{namespace_of(endpoint_slice)}/{name}" if name else ""


def _address_kind(address: str) -> Kind:
    return "AAAA" if ":" in address else "A"


def _dashed(address: str) -> str:
    return address.replace(".", "-").replace(":", "-")


def reverse_name(address: str) -> str:
    return ipaddress.ip_address(address).reverse_pointer


def _address_of_reverse(labels: Sequence[str]) -> str | None:
    """The address whose reverse name this is, None where it is none."""
    try:
        if labels[-2:] == ["in-addr", "arpa"] and len(labels) == 6:
            return str(ipaddress.IPv4Address(".".join(reversed(labels[:4]))))
        if labels[-2:] == ["ip6", "arpa"] and len(labels) == 34:
            digits = "".join(reversed(labels[:32]))
            return str(ipaddress.IPv6Address(int(digits, 16)))
    except ValueError:
        return None
    return None


def _address_of_dashed(label: str) -> str | None:
    """``10-0-0-1`` or ``fd00--1`` as an address, None where it is none."""
    for separator in (".", ":"):
        try:
            return str(ipaddress.ip_address(label.replace("-", separator)))
        except ValueError:
            continue
    return None


class Records:
    """The zone of one cluster, with what its objects contribute."""

    def __init__(self, cluster_domain: str = "cluster.local") -> None:
        self.zone = cluster_domain.strip(".").lower()
        self._zone_labels = self.zone.split(".")
        self._services: dict[str, _Service] = {}
        self._endpoints: dict[str, _Endpoints] = {}
        self._namespaces: set[str] = set()
        # Address -> the keys of Services that have it as a virtual IP, and endpoints' whole names.
        self._virtual_ips: dict[str, set[str]] = {}
        self._endpoint_names: dict[str, dict[tuple[str, str], None]] = {}

    # --- what there is

    def set_namespace(self, name: str, exists: bool) -> None:
        if exists:
            self._namespaces.add(name)
        else:
            self._namespaces.discard(name)

    def set_service(self, key: str, service: Object | None) -> None:
        for address in self._services.pop(key, _Service()).addresses:
            owners = self._virtual_ips.get(address, set())
            owners.discard(key)
            if not owners:
                self._virtual_ips.pop(address, None)
        if service is None:
            return
        assert key_of(service) == key
        spec = service.get("spec") or {}
        if spec.get("type") == "ExternalName":
            made = _Service(external_name=str(spec.get("externalName") or "").strip(".").lower())
        else:
            ips = spec.get("clusterIPs") or [spec.get("clusterIP") or ""]
            headless = "None" in ips
            made = _Service(
                addresses=() if headless else tuple(str(ipaddress.ip_address(ip)) for ip in ips if ip),
                headless=headless,
                ports=_ports(spec.get("ports") or ()),
            )
        self._services[key] = made
        for address in made.addresses:
            self._virtual_ips.setdefault(address, set()).add(key)

    def set_endpoints(self, key: str, slices: Iterable[Object]) -> None:
        """Replaces the endpoints of the Service `key` by those of its slices."""
        for endpoint in self._endpoints.pop(key, _Endpoints()).all:
            names = self._endpoint_names.get(endpoint.address, {})
            names.pop((endpoint.label, key), None)
            if not names:
                self._endpoint_names.pop(endpoint.address, None)
        found = _Endpoints(tuple(_endpoints(slices)))
        if not found.all:
            return
        for endpoint in found.all:
            found.by_label.setdefault(endpoint.label, []).append(endpoint)
            self._endpoint_names.setdefault(endpoint.address, {})[endpoint.label, key] = None
        self._endpoints[key] = found

    # --- what to answer

    def is_ours(self, name: str) -> bool:
        """Whether this zone, and nobody else, answers for the (lower-case, undotted) name."""
        return name == self.zone or name.endswith(f".{self.zone}")

    def soa(self, serial: int) -> tuple[str, str, str, tuple[int, int, int, int, int]]:
        """The zone's start of authority: owner, primary server, mailbox and the five times."""
        return (
            self.zone,
            f"ns.dns.{self.zone}",
            f"hostmaster.{self.zone}",
            (serial, 7200, 1800, 86400, NEGATIVE_TTL_SECONDS),
        )

    def lookup(self, name: str, kind: str) -> Answer | None:
        """The answer for a (lower-case, undotted) name and a type; None where the name is not this zone's to
        answer."""
        if self.is_ours(name):
            labels = name.split(".")[: -len(self._zone_labels)]
            return self._lookup_in_zone(name, labels, kind)
        if name.endswith(".arpa"):
            return self._lookup_reverse(name, kind)
        return None

    def _lookup_reverse(self, name: str, kind: str) -> Answer | None:
        address = _address_of_reverse(name.split("."))
        if address is None:
            return None
        owners = self._virtual_ips.get(address)
        targets = [self._service_name(key) for key in sorted(owners)] if owners else []
        if not targets:
            endpoint_names = self._endpoint_names.get(address, {})
            targets = [f"{label}.{self._service_name(key)}" for label, key in sorted(endpoint_names)]
        if not targets:
            return None
        if kind != "PTR":
            return NO_DATA
        return Answer(records=tuple(Record(name, "PTR", target) for target in targets))

    def _service_name(self, key: str) -> str:
        namespace, name = split_key(key)
        return f"{name}.{namespace}.svc.{self.zone}"

    def _lookup_in_zone(self, name: str, labels: list[str], kind: str) -> Answer:
        match labels:
            case [] if kind == "NS":
                return Answer(records=(Record(name, "NS", f"ns.dns.{self.zone}"),))
            case [] | ["svc"] | ["pod"] | ["dns"] | ["ns", "dns"]:
                return NO_DATA
            case ["dns-version"]:
                if kind != "TXT":
                    return NO_DATA
                return Answer(records=(Record(name, "TXT", DNS_SCHEMA_VERSION),))
            case [*_, namespace, "svc" | "pod"] if namespace not in self._namespaces:
                return NO_SUCH_NAME
            case [_, "svc" | "pod"]:
                return NO_DATA
            case [label, _, "pod"]:
                address = _address_of_dashed(label)
                if address is None:
                    return NO_SUCH_NAME
                return Answer(records=_of_kind([Record(name, _address_kind(address), address)], kind))
            case [service, namespace, "svc"]:
                return self._lookup_service(name, f"{namespace}/{service}", kind)
            case [endpoint, service, namespace, "svc"]:
                return self._lookup_endpoint(name, f"{namespace}/{service}", endpoint, kind)
            case [port, protocol, service, namespace, "svc"] if port[0] == "_" and protocol[0] == "_":
                return self._lookup_service(name, f"{namespace}/{service}", kind, port[1:], protocol[1:])
        return NO_SUCH_NAME

    def _lookup_service(self, name: str, key: str, kind: str, port: str = "", protocol: str = "") -> Answer:
        service = self._services.get(key)
        if service is None:
            return Answer(exists=False, depends_on=key)
        if service.external_name:
            if port:
                return Answer(exists=False, depends_on=key)
            record = Record(name, "CNAME", service.external_name)
            return Answer(records=(record,), alias="" if kind == "CNAME" else service.external_name, depends_on=key)
        if service.headless:
            return self._endpoint_answer(name, key, self._endpoints.get(key, _Endpoints()).all, kind, port, protocol)
        ports = [p for p in service.ports if _matches(p, port, protocol)]
        if port and not ports:
            return Answer(exists=False, depends_on=key)
        if kind == "SRV":
            target = self._service_name(key)
            weight = _weight(len(ports))
            return Answer(
                records=tuple(Record(name, "SRV", (0, weight, p.number, target)) for p in ports),
                additional=tuple(Record(target, _address_kind(a), a) for a in service.addresses) if ports else (),
                depends_on=key,
            )
        records = [Record(name, _address_kind(a), a) for a in service.addresses]
        return Answer(records=_of_kind(records, kind), depends_on=key)

    def _lookup_endpoint(self, name: str, key: str, label: str, kind: str) -> Answer:
        found = self._endpoints.get(key)
        if found is None or key not in self._services:
            return Answer(exists=False, depends_on=key)
        return self._endpoint_answer(name, key, found.by_label.get(label, ()), kind)

    def _endpoint_answer(
        self, name: str, key: str, endpoints: Sequence[_Endpoint], kind: str, port: str = "", protocol: str = ""
    ) -> Answer:
        """The endpoints' own addresses, or their SRV records; no endpoint at all is no such name."""
        if port:
            endpoints = [e for e in endpoints if any(_matches(p, port, protocol) for p in e.ports)]
        if not endpoints:
            return Answer(exists=False, depends_on=key)
        if kind == "SRV":
            service_name = self._service_name(key)
            places = dict.fromkeys(
                (p.number, f"{e.label}.{service_name}")
                for e in endpoints
                for p in e.ports
                if _matches(p, port, protocol)
            )
            weight = _weight(len(places))
            return Answer(
                records=tuple(Record(name, "SRV", (0, weight, number, target)) for number, target in places),
                additional=tuple(
                    dict.fromkeys(
                        Record(f"{e.label}.{service_name}", _address_kind(e.address), e.address) for e in endpoints
                    )
                ),
                depends_on=key,
            )
        records = dict.fromkeys(Record(name, _address_kind(e.address), e.address) for e in endpoints)
        return Answer(records=_of_kind(records, kind), depends_on=key)


def _weight(count: int) -> int:
    """SRV weights share a hundred."""
    return max(1, 100 // count) if count else 0


def _of_kind(records: Iterable[Record], kind: str) -> tuple[Record, ...]:
    return tuple(r for r in records if r.kind == kind)


def _matches(port: _Port, name: str, protocol: str) -> bool:
    return not name or (port.name == name and port.protocol == protocol)


def _ports(ports: Iterable[Object]) -> tuple[_Port, ...]:
    return tuple(
        _Port((p.get("name") or "").lower(), (p.get("protocol") or "TCP").lower(), int(p.get("port") or 0))
        for p in ports
    )


def _endpoints(slices: Iterable[Object]) -> Iterable[_Endpoint]:
    """Ready endpoints, in a stable order; each address and label once a set of ports."""
    found: dict[_Endpoint, None] = {}
    for endpoint_slice in slices:
        if endpoint_slice.get("addressType") not in ("IPv4", "IPv6"):
            continue
        ports = _ports(endpoint_slice.get("ports") or ())
        for endpoint in endpoint_slice.get("endpoints") or ():
            if (endpoint.get("conditions") or {}).get("ready") is False:
                continue
            for address in endpoint.get("addresses") or ():
                address = str(ipaddress.ip_address(address))
                label = (endpoint.get("hostname") or "").lower() or _dashed(address)
                found[_Endpoint(label, address, ports)] = None
    return sorted(found, key=lambda e: (ipaddress.ip_address(e.address).packed, e.label))
