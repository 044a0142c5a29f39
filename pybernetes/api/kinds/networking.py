"""Ingresses and their classes, network policies, IP addresses and service CIDRs.

Source of defaults, rules and texts: ``pkg/apis/networking``.
"""

from __future__ import annotations

from typing import ClassVar

from pybernetes.api import names
from pybernetes.api.field import FieldError
from pybernetes.api.kinds.equality import semantic_equal
from pybernetes.api.kinds.faults import Faults
from pybernetes.api.kinds.labels import label_selector
from pybernetes.api.kinds.podspec.containers import PROTOCOLS
from pybernetes.api.kinds.strategy import Strategy
from pybernetes.api.meta import Object, annotations_of, name_of

PATH_TYPES = ("Exact", "ImplementationSpecific", "Prefix")
INGRESS_CLASS_ANNOTATION = "kubernetes.io/ingress.class"
_BAD_IN_PATH = ("//", "/./", "/../", "%2f", "%2F")
_BAD_SUFFIXES = ("/..", "/.")


class IngressStrategy(Strategy):
    has_generation = True
    initial_status: ClassVar[Object | None] = {"loadBalancer": {}}

    def default(self, obj: Object) -> None:
        obj.setdefault("spec", {})

    def validate_create(self, obj: Object) -> list[FieldError]:
        faults = Faults()
        spec = obj.get("spec") or {}
        rules, backend = spec.get("rules") or [], spec.get("defaultBackend")
        annotation, class_ = annotations_of(obj).get(INGRESS_CLASS_ANNOTATION), spec.get("ingressClassName")
        if annotation is not None and class_ is not None and annotation != class_:
            faults.invalid(
                f"metadata.annotations.{INGRESS_CLASS_ANNOTATION}",
                annotation,
                "must match `ingressClassName` when both are specified",
            )
        if not rules and backend is None:
            faults.invalid("spec", [], "either `defaultBackend` or `rules` must be specified")
        if backend is not None:
            _backend(faults, "spec.defaultBackend", backend)
        for i, rule in enumerate(rules):
            _rule(faults, f"spec.rules[{i}]", rule)
        for i, tls in enumerate(spec.get("tls") or ()):
            for j, host in enumerate(tls.get("hosts") or ()):
                _host(faults, f"spec.tls[{i}].hosts[{j}]", host)
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
                faults.each(f"{at}.ip", ip, names.is_ip(ip))
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


def _host(faults: Faults, path: str, host: str) -> None:
    if names.parse_ip(host) is not None:
        faults.invalid(path, host, "must be a DNS name, not an IP address")
        return
    check = names.wildcard_dns_subdomain if "*" in host else names.dns_subdomain
    faults.each(path, host, check(host))


def _rule(faults: Faults, path: str, rule: Object) -> None:
    if rule.get("host"):
        _host(faults, f"{path}.host", rule["host"])
    http = rule.get("http")
    if http is None:
        return
    paths = http.get("paths") or ()
    if not paths:
        faults.required(f"{path}.http.paths")
    for i, item in enumerate(paths):
        at = f"{path}.http.paths[{i}]"
        _path(faults, at, item)
        _backend(faults, f"{at}.backend", item.get("backend") or {})


def _path(faults: Faults, path: str, item: Object) -> None:
    kind, value = item.get("pathType"), item.get("path") or ""
    if kind is None:
        faults.required(f"{path}.pathType", "pathType must be specified")
    elif kind in ("Exact", "Prefix"):
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
        for name in ("kind", "name"):
            if not resource.get(name):
                faults.required(f"{path}.resource.{name}")
    elif service is None:
        faults.required(path, "resource or service backend is required")
    else:
        name = service.get("name") or ""
        if not name:
            faults.required(f"{path}.service.name")
        else:
            faults.each(f"{path}.service.name", name, names.dns1035_label(name))
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
        if not controller:
            faults.required("spec.controller")
        else:
            if len(controller) > 250:
                faults.too_long("spec.controller", 250)
            if "/" not in controller:
                faults.invalid("spec.controller", controller, 'must be a domain-prefixed path (such as "acme.io/foo")')
        parameters = spec.get("parameters")
        if parameters is not None:
            at = "spec.parameters"
            for name in ("kind", "name"):
                if not parameters.get(name):
                    faults.required(f"{at}.{name}", f"{name} is required")
            scope, namespace = parameters.get("scope"), parameters.get("namespace")
            if scope not in ("Cluster", "Namespace"):
                faults.one_of(f"{at}.scope", scope, ("Cluster", "Namespace"))
            if scope == "Namespace" and not namespace:
                faults.required(f"{at}.namespace", "`parameters.scope` is set to 'Namespace'")
            if scope == "Cluster" and namespace is not None:
                faults.forbidden(f"{at}.namespace", "`parameters.scope` is set to 'Cluster'")
        return faults

    def validate_update(self, obj: Object, old: Object) -> list[FieldError]:
        faults = Faults(self.validate_create(obj))
        new, before = ((o.get("spec") or {}).get("controller") for o in (obj, old))
        faults.immutable("spec.controller", new, before)
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
        faults = Faults()
        spec = obj.get("spec") or {}
        label_selector(faults, "spec.podSelector", spec.get("podSelector"))
        for direction, side in (("ingress", "from"), ("egress", "to")):
            for i, rule in enumerate(spec.get(direction) or ()):
                at = f"spec.{direction}[{i}]"
                for j, port in enumerate(rule.get("ports") or ()):
                    _policy_port(faults, f"{at}.ports[{j}]", port)
                for j, peer in enumerate(rule.get(side) or ()):
                    _peer(faults, f"{at}.{side}[{j}]", peer)
        types = spec.get("policyTypes") or []
        if len(types) > 2:
            faults.invalid("spec.policyTypes", types, "may not specify more than two policyTypes")
            return faults
        for i, kind in enumerate(types):
            if kind not in ("Egress", "Ingress"):
                faults.not_supported(f"spec.policyTypes[{i}]", kind, ("Egress", "Ingress"))
        return faults


def _policy_port(faults: Faults, path: str, port: Object) -> None:
    protocol, number, end = port.get("protocol"), port.get("port"), port.get("endPort")
    if protocol is not None and protocol not in PROTOCOLS:
        faults.not_supported(f"{path}.protocol", protocol, PROTOCOLS)
    if isinstance(number, str):
        if end is not None:
            faults.invalid(f"{path}.endPort", end, "may not be specified when `port` is non-numeric")
        faults.each(f"{path}.port", number, names.iana_svc_name(number))
    elif number is not None:
        faults.each(f"{path}.port", number, names.port_number(number))
        if end is not None:
            if end < number:
                faults.invalid(f"{path}.endPort", number, "must be greater than or equal to `port`")
            faults.each(f"{path}.endPort", end, names.port_number(end))
    elif end is not None:
        faults.invalid(f"{path}.endPort", end, "may not be specified when `port` is not specified")


def _peer(faults: Faults, path: str, peer: Object) -> None:
    pods, namespaces, block = peer.get("podSelector"), peer.get("namespaceSelector"), peer.get("ipBlock")
    label_selector(faults, f"{path}.podSelector", pods)
    label_selector(faults, f"{path}.namespaceSelector", namespaces)
    if block is not None:
        _ip_block(faults, f"{path}.ipBlock", block)
    if block is not None and (pods is not None or namespaces is not None):
        faults.forbidden(path, "may not specify both ipBlock and another peer")
    elif block is None and pods is None and namespaces is None:
        faults.required(path, "must specify a peer")


def _ip_block(faults: Faults, path: str, block: Object) -> None:
    cidr = block.get("cidr") or ""
    if not cidr:
        faults.required(f"{path}.cidr")
        return
    network = names.parse_cidr(cidr)
    faults.each(f"{path}.cidr", cidr, names.cidr(cidr))
    for i, value in enumerate(block.get("except") or ()):
        at = f"{path}.except[{i}]"
        inner = names.parse_cidr(value)
        if inner is None:
            faults.each(at, value, names.cidr(value))
        elif network is not None and (
            inner.version != network.version
            or inner.prefixlen <= network.prefixlen
            or inner.network_address not in network
        ):
            faults.invalid(at, value, f"must be a strict subset of `cidr` {cidr}")


class IPAddressStrategy(Strategy):
    def validate_name(self, name: str, *, prefix: bool) -> list[str]:
        address = names.parse_ip(name)
        if address is None:
            return [names.IP_ADDRESS]
        return [] if str(address) == name else [f'must be in canonical form ("{address}")']

    def validate_create(self, obj: Object) -> list[FieldError]:
        faults = Faults()
        parent = (obj.get("spec") or {}).get("parentRef")
        if parent is None:
            faults.required("spec.parentRef")
            return faults
        for name in ("resource", "name"):
            if not parent.get(name):
                faults.required(f"spec.parentRef.{name}")
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
        versions = []
        for i, cidr in enumerate(cidrs):
            network = names.parse_cidr(cidr)
            faults.each(f"spec.cidrs[{i}]", cidr, names.cidr(cidr))
            if network is not None:
                versions.append(network.version)
        if len(versions) == 2 and versions[0] == versions[1]:
            faults.invalid(
                "spec.cidrs",
                cidrs,
                "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/96",
            )
        return faults

    def validate_update(self, obj: Object, old: Object) -> list[FieldError]:
        faults = Faults(self.validate_create(obj))
        new, before = ((o.get("spec") or {}).get("cidrs") or [] for o in (obj, old))
        if not semantic_equal(new[: len(before)], before):
            faults.invalid("spec.cidrs", new, "field is immutable")
        return faults
