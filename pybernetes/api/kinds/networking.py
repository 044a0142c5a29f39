"""Ingresses and their classes, network policies, IP addresses and service CIDRs.

Source of defaults, rules and texts: ``pkg/apis/networking``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import ClassVar

from pybernetes.api import names
from pybernetes.api.field import FieldError
from pybernetes.api.kinds.addresses import (
    address,
    balancer_addresses,
    canonical_cidr,
    cidr,
    cidr_warnings,
    load_balancer_warnings,
)
from pybernetes.api.kinds.faults import Faults
from pybernetes.api.kinds.labels import label_selector
from pybernetes.api.kinds.prefixed import domain_prefixed_path
from pybernetes.api.kinds.strategy import Strategy
from pybernetes.api.meta import Object, annotations_of, name_of

PATH_TYPES = ("Exact", "ImplementationSpecific", "Prefix")
# Neither is sorted: upstream lists them by hand.
POLICY_TYPES = ("Ingress", "Egress")
POLICY_PROTOCOLS = ("TCP", "UDP", "SCTP")
MAX_CONTROLLER = 250
INGRESS_CLASS_ANNOTATION = "kubernetes.io/ingress.class"
_BAD_IN_PATH = ("//", "/./", "/../", "%2f", "%2F")
_BAD_SUFFIXES = ("/..", "/.")


class IngressStrategy(Strategy):
    has_generation = True
    initial_status: ClassVar[Object | None] = {"loadBalancer": {}}

    def default(self, obj: Object) -> None:
        obj.setdefault("spec", {})

    def validate_create(self, obj: Object) -> list[FieldError]:
        faults = Faults(self._validate(obj))
        annotation = annotations_of(obj).get(INGRESS_CLASS_ANNOTATION)
        class_ = (obj.get("spec") or {}).get("ingressClassName")
        # Objects from before the field existed are let be.
        if annotation is not None and class_ is not None and annotation != class_:
            faults.invalid(
                f"annotations.{INGRESS_CLASS_ANNOTATION}",
                annotation,
                "must match `ingressClassName` when both are specified",
            )
        return faults

    def validate_update(self, obj: Object, old: Object) -> list[FieldError]:
        return self._validate(obj)

    @staticmethod
    def _validate(obj: Object) -> Faults:
        faults = Faults()
        spec = obj.get("spec") or {}
        rules, backend, class_ = spec.get("rules") or [], spec.get("defaultBackend"), spec.get("ingressClassName")
        if not rules and backend is None:
            faults.invalid("spec", [], "either `defaultBackend` or `rules` must be specified")
        if backend is not None:
            _backend(faults, "spec.defaultBackend", backend)
        for i, rule in enumerate(rules):
            _rule(faults, f"spec.rules[{i}]", rule)
        for i, tls in enumerate(spec.get("tls") or ()):
            for j, host in enumerate(tls.get("hosts") or ()):
                _dns_host(faults, f"spec.tls[{i}].hosts[{j}]", host)
            if tls.get("secretName"):
                faults.each(f"spec.tls[{i}].secretName", tls["secretName"], names.dns_subdomain(tls["secretName"]))
        if class_ is not None:
            faults.each("spec.ingressClassName", class_, names.dns_subdomain(class_))
        return faults

    def validate_status_update(self, obj: Object, old: Object) -> list[FieldError]:
        faults = Faults()
        for i, ingress in enumerate(((obj.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()):
            at, ip, host = f"status.loadBalancer.ingress[{i}]", ingress.get("ip"), ingress.get("hostname")
            if ip:
                address(faults, f"{at}.ip", ip, balancer_addresses(old))
            if host:
                faults.each(f"{at}.hostname", host, names.dns_subdomain(host))
                if names.parse_ip(host) is not None:
                    faults.invalid(f"{at}.hostname", host, "must be a DNS name, not an IP address")
        return faults

    def warnings(self, obj: Object, old: Object | None) -> list[str]:
        if old is None and INGRESS_CLASS_ANNOTATION in annotations_of(obj):
            return [
                "annotation \"kubernetes.io/ingress.class\" is deprecated, please use 'spec.ingressClassName' instead"
            ]
        return []

    def status_warnings(self, obj: Object) -> list[str]:
        return load_balancer_warnings(obj)


def _dns_host(faults: Faults, path: str, host: str) -> None:
    check = names.wildcard_dns_subdomain if "*" in host else names.dns_subdomain
    faults.each(path, host, check(host))


def _rule(faults: Faults, path: str, rule: Object) -> None:
    if host := rule.get("host"):
        if names.parse_ip(host) is not None:
            faults.invalid(f"{path}.host", host, "must be a DNS name, not an IP address")
        _dns_host(faults, f"{path}.host", host)
    http = rule.get("http")
    if http is None:
        return
    paths = http.get("paths") or ()
    if not paths:
        faults.required(f"{path}.http.paths")
    for i, item in enumerate(paths):
        at = f"{path}.http.paths[{i}]"
        if item.get("pathType") is None:
            faults.required(f"{at}.pathType", "pathType must be specified")
            continue
        _path(faults, at, item)
        _backend(faults, f"{at}.backend", item.get("backend") or {})


def _path(faults: Faults, path: str, item: Object) -> None:
    kind, value = item["pathType"], item.get("path") or ""
    if kind in ("Exact", "Prefix"):
        if not value.startswith("/"):
            faults.invalid(f"{path}.path", value, "must be an absolute path")
        for bad in _BAD_IN_PATH:
            if bad in value:
                faults.invalid(f"{path}.path", value, f"must not contain '{bad}'")
        for bad in _BAD_SUFFIXES:
            if value.endswith(bad):
                faults.invalid(f"{path}.path", value, f"cannot end with '{bad}'")
    elif kind == "ImplementationSpecific":
        if value and not value.startswith("/"):
            faults.invalid(f"{path}.path", value, "must be an absolute path")
    else:
        faults.not_supported(f"{path}.pathType", kind, PATH_TYPES)


def _backend(faults: Faults, path: str, backend: Object) -> None:
    service, resource = backend.get("service"), backend.get("resource")
    if resource is not None and service is not None:
        faults.invalid(path, "", "cannot set both resource and service backends")
    elif resource is not None:
        _typed_reference(faults, f"{path}.resource", resource)
    elif service is None:
        faults.invalid(path, "", "resource or service backend is required")
    else:
        name = service.get("name") or ""
        if not name:
            faults.required(f"{path}.service.name")
        else:
            faults.each(f"{path}.service.name", name, names.dns_label(name))
        port = service.get("port") or {}
        port_name, number = port.get("name"), port.get("number")
        if port_name and number:
            faults.invalid(path, "", "cannot set both port name & port number")
        elif port_name:
            faults.each(f"{path}.service.port.name", port_name, names.iana_svc_name(port_name))
        elif number:
            faults.each(f"{path}.service.port.number", number, names.port_number(number))
        else:
            faults.required(path, "port name or number is required")


def _typed_reference(faults: Faults, path: str, reference: Object) -> None:
    """A reference to something of any kind: upstream's TypedLocalObjectReference."""
    group = reference.get("apiGroup")
    if group is not None:
        faults.each(f"{path}.apiGroup", group, names.dns_subdomain(group))
    for field in ("kind", "name"):
        value = reference.get(field) or ""
        if not value:
            faults.required(f"{path}.{field}")
        else:
            faults.each(f"{path}.{field}", value, names.path_segment_name(value))


class IngressClassStrategy(Strategy):
    has_generation = True

    def default(self, obj: Object) -> None:
        parameters = obj.setdefault("spec", {}).get("parameters")
        if parameters is not None and parameters.get("scope") is None:
            parameters["scope"] = "Cluster"

    def validate_create(self, obj: Object) -> list[FieldError]:
        faults = Faults()
        spec = obj.get("spec") or {}
        controller = spec.get("controller") or ""
        if len(controller) > MAX_CONTROLLER:
            faults.too_long("spec.controller", MAX_CONTROLLER)
        domain_prefixed_path(faults, "spec.controller", controller)
        parameters = spec.get("parameters")
        if parameters is not None:
            at = "spec.parameters"
            _typed_reference(faults, at, parameters)
            scope, namespace = parameters.get("scope"), parameters.get("namespace")
            if scope is None:
                faults.required(f"{at}.scope")
            elif scope == "Namespace":
                if namespace is None:
                    faults.required(f"{at}.namespace", "`parameters.scope` is set to 'Namespace'")
                else:
                    faults.each(f"{at}.namespace", namespace, names.dns_label(namespace))
            elif scope == "Cluster":
                if namespace is not None:
                    faults.forbidden(f"{at}.namespace", "`parameters.scope` is set to 'Cluster'")
            else:
                faults.not_supported(f"{at}.scope", scope, ("Cluster", "Namespace"))
        return faults

    def validate_update(self, obj: Object, old: Object) -> list[FieldError]:
        faults = Faults()
        new, before = ((o.get("spec") or {}).get("controller") for o in (obj, old))
        faults.immutable("spec.controller", new, before)
        faults.extend(self.validate_create(obj))
        return faults


class NetworkPolicyStrategy(Strategy):
    has_generation = True

    def default(self, obj: Object) -> None:
        spec = obj.setdefault("spec", {})
        for rule in [*(spec.get("ingress") or ()), *(spec.get("egress") or ())]:
            for port in rule.get("ports") or ():
                if port.get("protocol") is None:
                    port["protocol"] = "TCP"
        if not spec.get("policyTypes"):
            spec["policyTypes"] = ["Ingress", *(["Egress"] if spec.get("egress") else [])]

    def validate_create(self, obj: Object) -> list[FieldError]:
        return self._validate(obj, frozenset())

    def validate_update(self, obj: Object, old: Object) -> list[FieldError]:
        return self._validate(obj, frozenset(value for _, block in _blocks(old) for _, value in _networks(block)))

    @staticmethod
    def _validate(obj: Object, stored: Collection[str]) -> Faults:
        """Every fault but of networks that were stored before."""
        faults = Faults()
        spec = obj.get("spec") or {}
        label_selector(faults, "spec.podSelector", spec.get("podSelector"))
        for direction, side in (("ingress", "from"), ("egress", "to")):
            for i, rule in enumerate(spec.get(direction) or ()):
                at = f"spec.{direction}[{i}]"
                for j, port in enumerate(rule.get("ports") or ()):
                    _policy_port(faults, f"{at}.ports[{j}]", port)
                for j, peer in enumerate(rule.get(side) or ()):
                    _peer(faults, f"{at}.{side}[{j}]", peer, stored)
        types = spec.get("policyTypes") or []
        if len(types) > 2:
            faults.invalid("spec.policyTypes", types, "may not specify more than two policyTypes")
            return faults
        for i, kind in enumerate(types):
            if kind not in POLICY_TYPES:
                faults.not_supported(f"spec.policyTypes[{i}]", kind, POLICY_TYPES)
        return faults

    def warnings(self, obj: Object, old: Object | None) -> list[str]:
        return [
            text
            for at, block in _blocks(obj)
            for field, value in _networks(block)
            for text in cidr_warnings(f"{at}.{field}", value)
        ]


def _blocks(policy: Object) -> Iterator[tuple[str, Object]]:
    """The path and the value of every ipBlock."""
    spec = policy.get("spec") or {}
    for direction, side in (("ingress", "from"), ("egress", "to")):
        for i, rule in enumerate(spec.get(direction) or ()):
            for j, peer in enumerate(rule.get(side) or ()):
                if peer.get("ipBlock") is not None:
                    yield f"spec.{direction}[{i}].{side}[{j}].ipBlock", peer["ipBlock"]


def _networks(block: Object) -> Iterator[tuple[str, str]]:
    yield "cidr", block.get("cidr") or ""
    for i, value in enumerate(block.get("except") or ()):
        yield f"except[{i}]", value


def _policy_port(faults: Faults, path: str, port: Object) -> None:
    protocol, number, end = port.get("protocol"), port.get("port"), port.get("endPort")
    if protocol is not None and protocol not in POLICY_PROTOCOLS:
        faults.not_supported(f"{path}.protocol", protocol, POLICY_PROTOCOLS)
    if isinstance(number, str):
        if end is not None:
            faults.invalid(f"{path}.endPort", end, "may not be specified when `port` is non-numeric")
        faults.each(f"{path}.port", number, names.iana_svc_name(number))
    elif number is not None:
        faults.each(f"{path}.port", number, names.port_number(number))
        if end is not None:
            if end < number:
                faults.invalid(f"{path}.endPort", end, "must be greater than or equal to `port`")
            faults.each(f"{path}.endPort", end, names.port_number(end))
    elif end is not None:
        faults.invalid(f"{path}.endPort", end, "may not be specified when `port` is not specified")


def _peer(faults: Faults, path: str, peer: Object, stored: Collection[str]) -> None:
    pods, namespaces, block = peer.get("podSelector"), peer.get("namespaceSelector"), peer.get("ipBlock")
    label_selector(faults, f"{path}.podSelector", pods)
    label_selector(faults, f"{path}.namespaceSelector", namespaces)
    if block is not None:
        _ip_block(faults, f"{path}.ipBlock", block, stored)
    if block is not None and (pods is not None or namespaces is not None):
        faults.forbidden(path, "may not specify both ipBlock and another peer")
    elif block is None and pods is None and namespaces is None:
        faults.required(path, "must specify a peer")


def _ip_block(faults: Faults, path: str, block: Object, stored: Collection[str]) -> None:
    whole = block.get("cidr") or ""
    if not whole:
        faults.required(f"{path}.cidr")
        return
    cidr(faults, f"{path}.cidr", whole, stored)
    network = names.parse_cidr(whole)
    if network is None:
        return
    for i, value in enumerate(block.get("except") or ()):
        at = f"{path}.except[{i}]"
        before, inner = len(faults), names.parse_cidr(value)
        cidr(faults, at, value, stored)
        if (
            len(faults) == before
            and inner is not None
            and (
                inner.version != network.version
                or inner.prefixlen <= network.prefixlen
                or inner.network_address not in network
            )
        ):
            faults.invalid(at, value, "must be a strict subset of `cidr`")


class IPAddressStrategy(Strategy):
    def validate_name(self, name: str, *, prefix: bool) -> list[str]:
        wrong, parsed = names.is_ip(name), names.parse_ip(name)
        return wrong or ([] if str(parsed) == name else [f'must be in canonical form ("{parsed}")'])

    def validate_create(self, obj: Object) -> list[FieldError]:
        faults = Faults()
        at, parent = "spec.parentRef", (obj.get("spec") or {}).get("parentRef")
        if parent is None:
            faults.required(at)
            return faults
        if parent.get("group"):
            faults.each(f"{at}.group", parent["group"], names.dns_subdomain(parent["group"]))
        for field in ("resource", "name", "namespace"):
            value = parent.get(field) or ""
            if value:
                faults.each(f"{at}.{field}", value, names.path_segment_name(value))
            elif field != "namespace":
                faults.required(f"{at}.{field}")
        return faults

    def validate_update(self, obj: Object, old: Object) -> list[FieldError]:
        faults = Faults()
        faults.immutable(
            "spec.parentRef", (obj.get("spec") or {}).get("parentRef"), (old.get("spec") or {}).get("parentRef")
        )
        return faults

    def selectable_fields(self, obj: Object) -> dict[str, str]:
        parent = (obj.get("spec") or {}).get("parentRef") or {}
        return {
            "metadata.name": name_of(obj),
            **{f"spec.parentRef.{k}": parent.get(k) or "" for k in ("group", "resource", "namespace", "name")},
        }


class ServiceCIDRStrategy(Strategy):
    has_generation = True
    initial_status: ClassVar[Object | None] = {}

    def default(self, obj: Object) -> None:
        obj.setdefault("spec", {})

    def validate_create(self, obj: Object) -> list[FieldError]:
        faults = Faults()
        cidrs = (obj.get("spec") or {}).get("cidrs") or []
        if not cidrs:
            faults.required("spec.cidrs", "at least one CIDR required")
        elif len(cidrs) > 2:
            faults.invalid("spec.cidrs", cidrs, "may only hold up to 2 values")
        else:
            networks = list(map(names.parse_cidr, cidrs))
            if len(networks) == 2 and all(networks) and len({n.version for n in networks if n is not None}) == 1:
                faults.invalid(
                    "spec.cidrs",
                    cidrs,
                    "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/96",
                )
            for i, value in enumerate(cidrs):
                canonical_cidr(faults, f"spec.cidrs[{i}]", value)
        return faults

    def validate_update(self, obj: Object, old: Object) -> list[FieldError]:
        faults = Faults()
        new, before = ((o.get("spec") or {}).get("cidrs") or [] for o in (obj, old))
        if len(new) == len(before) or (len(before) == 1 and len(new) == 2):
            # A second family may be added; the first stays.
            for i, value in enumerate(before):
                faults.immutable(f"spec.cidrs[{i}]", new[i], value)
            if len(new) > len(before):
                faults.extend(self.validate_create(obj))
        else:
            faults.invalid("spec.cidrs", new, "field is immutable")
        return faults
