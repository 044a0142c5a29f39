"""Endpoints and EndpointSlices.

Source of defaults, rules and texts: ``pkg/apis/core`` and ``pkg/apis/discovery``.
"""

from __future__ import annotations

from collections.abc import Collection

from pybernetes.api import names
from pybernetes.api.field import FieldError
from pybernetes.api.kinds import addresses
from pybernetes.api.kinds.addresses import ip_warnings
from pybernetes.api.kinds.equality import semantic_equal
from pybernetes.api.kinds.faults import Faults
from pybernetes.api.kinds.labels import label_name
from pybernetes.api.kinds.podspec.containers import PROTOCOLS
from pybernetes.api.kinds.prefixed import fully_qualified_domain_name
from pybernetes.api.kinds.services import non_special_ip
from pybernetes.api.kinds.strategy import Strategy
from pybernetes.api.meta import Object, metadata, name_of, namespace_of

ADDRESS_TYPES = ("FQDN", "IPv4", "IPv6")
MAX_ENDPOINTS = 1000
MAX_PORTS = 20000
MAX_ADDRESSES = 100
MAX_TOPOLOGY_LABELS = 16
MAX_HINTS = 8


class EndpointsStrategy(Strategy):
    allow_create_on_update = True

    def default(self, obj: Object) -> None:
        for subset in obj.get("subsets") or ():
            for port in subset.get("ports") or ():
                if not port.get("protocol"):
                    port["protocol"] = "TCP"

    def validate_create(self, obj: Object) -> list[FieldError]:
        return self._validate(obj, frozenset())

    def validate_update(self, obj: Object, old: Object) -> list[FieldError]:
        return self._validate(
            obj,
            frozenset(
                address.get("ip") or ""
                for subset in old.get("subsets") or ()
                for field in ("addresses", "notReadyAddresses")
                for address in subset.get(field) or ()
            ),
        )

    @staticmethod
    def _validate(obj: Object, stored: Collection[str]) -> Faults:
        """Every fault but of addresses that were stored before."""
        faults = Faults()
        for i, subset in enumerate(obj.get("subsets") or ()):
            at = f"subsets[{i}]"
            if not subset.get("addresses") and not subset.get("notReadyAddresses"):
                faults.required(at, "must specify `addresses` or `notReadyAddresses`")
            for field in ("addresses", "notReadyAddresses"):
                for j, address in enumerate(subset.get(field) or ()):
                    _address(faults, f"{at}.{field}[{j}]", address, stored)
            ports = subset.get("ports") or ()
            for j, port in enumerate(ports):
                _port(faults, f"{at}.ports[{j}]", port, name_required=len(ports) > 1)
        return faults

    def warnings(self, obj: Object, old: Object | None) -> list[str]:
        out = ["v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"]
        for i, subset in enumerate(obj.get("subsets") or ()):
            for field in ("addresses", "notReadyAddresses"):
                for j, address in enumerate(subset.get(field) or ()):
                    out += ip_warnings(f"subsets[{i}].{field}[{j}].ip", address.get("ip") or "")
        return out

    def selectable_fields(self, obj: Object) -> dict[str, str]:
        return {"metadata.name": name_of(obj), "metadata.namespace": namespace_of(obj)}


def _address(faults: Faults, path: str, address: Object, stored: Collection[str]) -> None:
    ip = address.get("ip") or ""
    addresses.address(faults, f"{path}.ip", ip, stored)
    if address.get("hostname"):
        faults.each(f"{path}.hostname", address["hostname"], names.dns_label(address["hostname"]))
    if address.get("nodeName") is not None:
        faults.each(f"{path}.nodeName", address["nodeName"], names.dns_subdomain(address["nodeName"]))
    non_special_ip(faults, f"{path}.ip", ip)


def _port(faults: Faults, path: str, port: Object, *, name_required: bool) -> None:
    name = port.get("name") or ""
    if name:
        faults.each(f"{path}.name", name, names.dns_label(name))
    elif name_required:
        faults.required(f"{path}.name")
    faults.each(f"{path}.port", port.get("port") or 0, names.port_number(port.get("port") or 0))
    if port.get("protocol") not in PROTOCOLS:
        faults.one_of(f"{path}.protocol", port.get("protocol"), PROTOCOLS)
    if port.get("appProtocol") is not None:
        faults.each(f"{path}.appProtocol", port["appProtocol"], names.qualified_name(port["appProtocol"]))


class EndpointSliceStrategy(Strategy):
    has_generation = True

    def default(self, obj: Object) -> None:
        for port in obj.get("ports") or ():
            if port.get("name") is None:
                port["name"] = ""
            if port.get("protocol") is None:
                port["protocol"] = "TCP"
        for endpoint in obj.get("endpoints") or ():
            if endpoint.get("conditions") is None:
                endpoint["conditions"] = {}

    def raises_generation(self, obj: Object, old: Object) -> bool:
        changed = any(not semantic_equal(obj.get(k), old.get(k)) for k in ("endpoints", "ports", "addressType"))
        return changed or not semantic_equal(metadata(obj).get("labels"), metadata(old).get("labels"))

    def validate_create(self, obj: Object) -> list[FieldError]:
        return self._validate(obj, frozenset())

    def _validate(self, obj: Object, stored: Collection[str]) -> Faults:
        """Every fault but of addresses that were stored before."""
        faults = Faults()
        kind, endpoints, ports = obj.get("addressType"), obj.get("endpoints") or [], obj.get("ports") or []
        if kind not in ADDRESS_TYPES:
            faults.one_of("addressType", kind, ADDRESS_TYPES)
        if len(endpoints) > MAX_ENDPOINTS:
            faults.too_many("endpoints", len(endpoints), MAX_ENDPOINTS)
        else:
            for i, endpoint in enumerate(endpoints):
                _endpoint(faults, f"endpoints[{i}]", endpoint, kind or "", stored)
        self._ports(faults, ports)
        return faults

    @staticmethod
    def _ports(faults: Faults, ports: list[Object]) -> None:
        if len(ports) > MAX_PORTS:
            faults.too_many("ports", len(ports), MAX_PORTS)
            return
        seen: set[str] = set()
        for i, port in enumerate(ports):
            at, name = f"ports[{i}]", port.get("name") or ""
            if name:
                faults.each(f"{at}.name", name, names.dns_label(name))
            if name in seen:
                faults.duplicate(f"{at}.name", name)
            seen.add(name)
            if port.get("protocol") not in PROTOCOLS:
                faults.one_of(f"{at}.protocol", port.get("protocol"), PROTOCOLS)
            if port.get("port") is not None:
                faults.each(f"{at}.port", port["port"], names.port_number(port["port"]))
            if port.get("appProtocol") is not None:
                faults.each(f"{at}.appProtocol", port["appProtocol"], names.qualified_name(port["appProtocol"]))

    def validate_update(self, obj: Object, old: Object) -> list[FieldError]:
        stored = frozenset(a for endpoint in old.get("endpoints") or () for a in endpoint.get("addresses") or ())
        faults = self._validate(obj, stored)
        faults.immutable("addressType", obj.get("addressType"), old.get("addressType"))
        return faults

    def warnings(self, obj: Object, old: Object | None) -> list[str]:
        out: list[str] = []
        if obj.get("addressType") != "FQDN":
            for i, endpoint in enumerate(obj.get("endpoints") or ()):
                for j, address in enumerate(endpoint.get("addresses") or ()):
                    out += ip_warnings(f"endpoints[{i}].addresses[{j}]", address)
        return out


def _endpoint(faults: Faults, path: str, endpoint: Object, kind: str, stored: Collection[str]) -> None:
    own = endpoint.get("addresses") or []
    if not own:
        faults.required(f"{path}.addresses", "must contain at least 1 address")
    elif len(own) > MAX_ADDRESSES:
        faults.too_many(f"{path}.addresses", len(own), MAX_ADDRESSES)
    for i, address in enumerate(own):
        at = f"{path}.addresses[{i}]"
        if kind == "FQDN":
            fully_qualified_domain_name(faults, at, address)
        elif kind in ("IPv4", "IPv6"):
            parsed = names.parse_ip(address)
            if parsed is None or f"IPv{parsed.version}" != kind:
                faults.invalid(at, address, f"must be a valid {kind} address")
            else:
                addresses.address(faults, at, address, stored)
            non_special_ip(faults, at, address)
    if endpoint.get("nodeName") is not None:
        faults.each(f"{path}.nodeName", endpoint["nodeName"], names.dns_subdomain(endpoint["nodeName"]))
    topology = endpoint.get("deprecatedTopology") or {}
    if len(topology) > MAX_TOPOLOGY_LABELS:
        faults.too_many(f"{path}.deprecatedTopology", len(topology), MAX_TOPOLOGY_LABELS)
    for key in topology:
        label_name(faults, f"{path}.deprecatedTopology", key)
    if endpoint.get("hostname") is not None:
        faults.each(f"{path}.hostname", endpoint["hostname"], names.dns_label(endpoint["hostname"]))
    hints = endpoint.get("hints")
    if hints is not None:
        for field, check in (("forZones", names.label_value), ("forNodes", names.dns_subdomain)):
            entries = hints.get(field) or []
            if len(entries) > MAX_HINTS:
                faults.too_many(f"{path}.hints.{field}", len(entries), MAX_HINTS)
            seen: set[str] = set()
            for i, entry in enumerate(entries):
                name = entry.get("name") or ""
                if name in seen:
                    faults.duplicate(f"{path}.hints.{field}[{i}].name", name)
                seen.add(name)
                faults.each(f"{path}.hints.{field}[{i}].name", name, check(name))
