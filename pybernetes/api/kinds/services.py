"""Services. Cluster IPs and node ports are allocated by the API server's registry, after validation.

Source of defaults, rules and texts: ``pkg/apis/core`` and ``pkg/registry/core/service``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, ClassVar

from pybernetes.api import names
from pybernetes.api.field import FieldError
from pybernetes.api.kinds import labels
from pybernetes.api.kinds.addresses import (
    address,
    balancer_addresses,
    cidr,
    cidr_warnings,
    ip_warnings,
    load_balancer_warnings,
)
from pybernetes.api.kinds.equality import drop_zero
from pybernetes.api.kinds.faults import Faults
from pybernetes.api.kinds.podspec.containers import PROTOCOLS, port_number_or_name
from pybernetes.api.kinds.strategy import Strategy
from pybernetes.api.meta import Object, annotations_of, name_of, namespace_of

TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
HEADLESS = "None"
SESSION_TIMEOUT_SECONDS = 10800
SESSION_TIMEOUT_MAX_SECONDS = 86400
_FAMILIES = ("IPv4", "IPv6")
_FAMILY_POLICIES = ("PreferDualStack", "RequireDualStack", "SingleStack")
_TRAFFIC_DISTRIBUTIONS = ("PreferClose", "PreferSameNode", "PreferSameZone")
_SOURCE_RANGES = "service.beta.kubernetes.io/load-balancer-source-ranges"
_TOPOLOGY_HINTS = "service.kubernetes.io/topology-aware-hints"
_TOPOLOGY_MODE = "service.kubernetes.io/topology-mode"
_ONLY_LOAD_BALANCER = "may only be used when `type` is 'LoadBalancer'"


def is_headless(spec: Object) -> bool:
    return bool(spec.get("clusterIPs") == [HEADLESS])


def is_externally_accessible(spec: Object) -> bool:
    return spec.get("type") in ("LoadBalancer", "NodePort") or (
        spec.get("type") == "ClusterIP" and bool(spec.get("externalIPs"))
    )


def needs_health_check(spec: Object) -> bool:
    return spec.get("type") == "LoadBalancer" and spec.get("externalTrafficPolicy") == "Local"


class ServiceStrategy(Strategy):
    allow_create_on_update = True
    initial_status: ClassVar[Object | None] = {"loadBalancer": {}}

    def validate_name(self, name: str, *, prefix: bool) -> list[str]:
        return names.dns_label(name, prefix=prefix)

    def default(self, obj: Object) -> None:
        spec = obj.setdefault("spec", {})
        drop_zero(
            spec, "clusterIP", "clusterIPs", "externalIPs", "externalName", "externalTrafficPolicy", "selector",
            "healthCheckNodePort", "ipFamilies", "loadBalancerIP", "loadBalancerSourceRanges", "ports",
            "publishNotReadyAddresses", "type",
        )  # fmt: skip
        affinity = spec.setdefault("sessionAffinity", "None") or "None"
        spec["sessionAffinity"] = affinity
        if affinity == "None":
            spec.pop("sessionAffinityConfig", None)
        elif affinity == "ClientIP":
            client = (spec.get("sessionAffinityConfig") or {}).get("clientIP") or {}
            if client.get("timeoutSeconds") is None:
                spec["sessionAffinityConfig"] = {"clientIP": {"timeoutSeconds": SESSION_TIMEOUT_SECONDS}}
        kind = spec.setdefault("type", "ClusterIP")
        for port in spec.get("ports") or ():
            if not port.get("protocol"):
                port["protocol"] = "TCP"
            if not port.get("targetPort"):
                port["targetPort"] = port.get("port", 0)
            drop_zero(port, "name", "nodePort")
        if is_externally_accessible(spec) and not spec.get("externalTrafficPolicy"):
            spec["externalTrafficPolicy"] = "Cluster"
        if spec.get("internalTrafficPolicy") is None and kind != "ExternalName":
            spec["internalTrafficPolicy"] = "Cluster"
        if kind == "LoadBalancer":
            if spec.get("allocateLoadBalancerNodePorts") is None:
                spec["allocateLoadBalancerNodePorts"] = True
            for ingress in ((obj.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ():
                if ingress.get("ip") and ingress.get("ipMode") is None:
                    ingress["ipMode"] = "VIP"

    def prepare_for_create(self, obj: Object) -> None:
        super().prepare_for_create(obj)
        spec = obj.get("spec") or {}
        self._normalize_cluster_ips(spec, None)
        _drop_type_dependent(spec, None)

    def prepare_for_update(self, obj: Object, old: Object) -> None:
        super().prepare_for_update(obj, old)
        spec, before = obj.get("spec") or {}, old.get("spec") or {}
        _patch_allocated(spec, before)
        self._normalize_cluster_ips(spec, before)
        _drop_type_dependent(spec, before)

    @staticmethod
    def _normalize_cluster_ips(spec: Object, old: Object | None) -> None:
        """Keeps clusterIP and clusterIPs in step for clients that know the older field alone."""
        ip, ips = spec.get("clusterIP") or "", spec.get("clusterIPs") or []
        if old is None:
            # Not the other way round: who knows clusterIPs gives both.
            if ip and not ips:
                spec["clusterIPs"] = [ip]
            return
        old_ip, old_ips = old.get("clusterIP") or "", old.get("clusterIPs") or []
        if old_ips and not ips and ip == old_ip:
            spec["clusterIPs"] = list(old_ips)
        elif ip != old_ip and ips == old_ips:
            if ip:
                spec["clusterIPs"] = [ip]
            else:
                spec.pop("clusterIPs", None)

    def validate_create(self, obj: Object) -> list[FieldError]:
        return self._validate(obj, frozenset())

    @staticmethod
    def _validate(obj: Object, stored: Collection[str]) -> Faults:
        """Every fault but of addresses and networks that were stored before."""
        faults = Faults()
        spec = obj.get("spec") or {}
        kind, ports, headless = spec.get("type") or "", spec.get("ports") or [], is_headless(spec)
        annotations = annotations_of(obj)
        mode, hints = annotations.get(_TOPOLOGY_MODE), annotations.get(_TOPOLOGY_HINTS)
        if mode is not None and hints is not None and mode != hints:
            faults.invalid(
                f"metadata.annotations[{_TOPOLOGY_MODE}]",
                mode,
                f"must match annotations[{_TOPOLOGY_HINTS}] when both are specified",
            )
        if not ports and not headless and kind != "ExternalName":
            faults.required("spec.ports")
        if headless and kind in ("LoadBalancer", "NodePort"):
            faults.invalid("spec.clusterIPs[0]", HEADLESS, f"may not be set to 'None' for {kind} services")
        if kind == "ExternalName":
            _external_name(faults, spec)
        _ports(faults, ports)
        labels.label_map(faults, "spec.selector", spec.get("selector"))
        _session_affinity(faults, spec)
        if kind != "ExternalName":
            cluster_ips(faults, spec, stored)
        for i, ip in enumerate(spec.get("externalIPs") or ()):
            before = len(faults)
            address(faults, f"spec.externalIPs[{i}]", ip, stored)
            if len(faults) == before:
                non_special_ip(faults, f"spec.externalIPs[{i}]", ip)
        if kind not in TYPES:
            faults.one_of("spec.type", kind, TYPES)
        _port_collisions(faults, ports, kind)
        _load_balancer(faults, obj, spec, kind, stored)
        _traffic(faults, spec, kind)
        return faults

    def validate_update(self, obj: Object, old: Object) -> list[FieldError]:
        spec, before = obj.get("spec") or {}, old.get("spec") or {}
        faults = Faults()
        if spec.get("type") != "ExternalName" and before.get("type") != "ExternalName":
            _cluster_ips_update(faults, spec, before)
            _families_update(faults, spec, before)
        if spec.get("type") == before.get("type") == "LoadBalancer" and spec.get("loadBalancerClass") != before.get(
            "loadBalancerClass"
        ):
            faults.invalid("spec.loadBalancerClass", spec.get("loadBalancerClass"), "may not change once set")
        if needs_health_check(spec) and needs_health_check(before):
            new_port, old_port = spec.get("healthCheckNodePort") or 0, before.get("healthCheckNodePort") or 0
            if new_port != old_port:
                faults.forbidden("spec.healthCheckNodePort", "field is immutable")
        fields = ("externalIPs", "clusterIPs", "loadBalancerSourceRanges")
        faults.extend(self._validate(obj, frozenset(value for name in fields for value in before.get(name) or ())))
        return faults

    def validate_status_update(self, obj: Object, old: Object) -> list[FieldError]:
        faults = Faults()
        at, stored = "status.loadBalancer.ingress", balancer_addresses(old)
        ingresses = ((obj.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
        if ingresses and (old.get("spec") or {}).get("type") != "LoadBalancer":
            faults.forbidden(at, "may only be used when `spec.type` is 'LoadBalancer'")
            return faults
        for i, ingress in enumerate(ingresses):
            ip, mode, host = ingress.get("ip"), ingress.get("ipMode"), ingress.get("hostname")
            if ip:
                address(faults, f"{at}[{i}].ip", ip, stored)
                if mode is None:
                    faults.required(f"{at}[{i}].ipMode", "must be specified when `ip` is set")
            elif mode is not None:
                faults.forbidden(f"{at}[{i}].ipMode", "may not be specified when `ip` is not set")
            if ip and mode is not None and mode not in ("Proxy", "VIP"):
                faults.not_supported(f"{at}[{i}].ipMode", mode, ("Proxy", "VIP"))
            if host:
                faults.each(f"{at}[{i}].hostname", host, names.dns_subdomain(host))
                if names.parse_ip(host) is not None:
                    faults.invalid(f"{at}[{i}].hostname", host, "must be a DNS name, not an IP address")
        return faults

    def status_warnings(self, obj: Object) -> list[str]:
        return load_balancer_warnings(obj)

    def warnings(self, obj: Object, old: Object | None) -> list[str]:
        spec = obj.get("spec") or {}
        out: list[str] = []
        if _TOPOLOGY_HINTS in annotations_of(obj):
            out.append(f"annotation {_TOPOLOGY_HINTS} is deprecated, please use {_TOPOLOGY_MODE} instead")
        if spec.get("clusterIP") not in (None, "", HEADLESS):
            for i, ip in enumerate(spec.get("clusterIPs") or ()):
                out.extend(ip_warnings(f"spec.clusterIPs[{i}]", ip))
        if spec.get("externalIPs"):
            out.append("spec.externalIPs is deprecated")
        for i, ip in enumerate(spec.get("externalIPs") or ()):
            out.extend(ip_warnings(f"spec.externalIPs[{i}]", ip))
        if spec.get("loadBalancerIP"):
            out.extend(ip_warnings("spec.loadBalancerIP", spec["loadBalancerIP"]))
        for i, range_ in enumerate(spec.get("loadBalancerSourceRanges") or ()):
            out.extend(cidr_warnings(f"spec.loadBalancerSourceRanges[{i}]", range_))
        if spec.get("type") == "ExternalName":
            if spec.get("externalIPs"):
                out.append('spec.externalIPs is ignored when spec.type is "ExternalName"')
        elif spec.get("externalName"):
            out.append('spec.externalName is ignored when spec.type is not "ExternalName"')
        if spec.get("sessionAffinity") == "ClientIP" and is_headless(spec):
            out.append("spec.SessionAffinity is ignored for headless services")
        return out

    def selectable_fields(self, obj: Object) -> dict[str, str]:
        spec = obj.get("spec") or {}
        return {
            "metadata.name": name_of(obj),
            "metadata.namespace": namespace_of(obj),
            "spec.clusterIP": spec.get("clusterIP") or "",
            "spec.type": spec.get("type") or "",
        }


def _needs_cluster_ip(spec: Object) -> bool:
    return spec.get("type") in ("ClusterIP", "LoadBalancer", "NodePort")


def _needs_node_port(spec: Object) -> bool:
    return spec.get("type") == "NodePort" or (
        spec.get("type") == "LoadBalancer" and spec.get("allocateLoadBalancerNodePorts") is not False
    )


def _is_load_balancer(spec: Object) -> bool:
    return spec.get("type") == "LoadBalancer"


_TYPE_DEPENDENT: tuple[tuple[Callable[[Object], bool], tuple[tuple[str, ...], ...]], ...] = (
    (_needs_cluster_ip, (("clusterIP", "clusterIPs"), ("ipFamilies",), ("ipFamilyPolicy",))),
    (needs_health_check, (("healthCheckNodePort",),)),
    (_is_load_balancer, (("allocateLoadBalancerNodePorts",), ("loadBalancerClass",))),
    (is_externally_accessible, (("externalTrafficPolicy",),)),
)
"""(which services need the fields, groups of fields that are wiped together)"""


def _drop_type_dependent(spec: Object, old: Object | None) -> None:
    """Drops what the old type needed and the new one does not, where the client did not touch it."""
    if old is None:
        return
    if _needs_node_port(old) and not _needs_node_port(spec):
        ports, old_ports = spec.get("ports") or [], old.get("ports") or []
        if {p.get("nodePort") for p in ports if p.get("nodePort")} <= {p.get("nodePort") for p in old_ports}:
            for port in ports:
                port.pop("nodePort", None)
    for needed, groups in _TYPE_DEPENDENT:
        if not needed(old) or needed(spec):
            continue
        for group in groups:
            if all((spec.get(name) or None) == (old.get(name) or None) for name in group):
                for name in group:
                    spec.pop(name, None)


def _patch_allocated(spec: Object, old: Object) -> None:
    """A client that leaves allocated values out (``kubectl replace``) means to keep them."""
    if _needs_cluster_ip(spec) and _needs_cluster_ip(old):
        for name in ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"):
            if not spec.get(name) and old.get(name):
                spec[name] = list(old[name]) if isinstance(old[name], list) else old[name]
    if _needs_node_port(spec) and _needs_node_port(old):
        had = {p.get("name") or "": p.get("nodePort") for p in old.get("ports") or ()}
        taken = {p.get("nodePort") for p in spec.get("ports") or ()} & set(had.values())
        for port in spec.get("ports") or ():
            before = had.get(port.get("name") or "")
            if not port.get("nodePort") and before and before not in taken:
                port["nodePort"] = before
                taken.add(before)
    if needs_health_check(spec) and needs_health_check(old) and not spec.get("healthCheckNodePort"):
        spec["healthCheckNodePort"] = old.get("healthCheckNodePort") or 0


def _external_name(faults: Faults, spec: Object) -> None:
    for name in ("clusterIPs", "ipFamilies", "ipFamilyPolicy"):
        if spec.get(name):
            faults.forbidden(f"spec.{name}", "may not be set for ExternalName services")
    name = (spec.get("externalName") or "").removesuffix(".")
    if name:
        faults.each("spec.externalName", name, names.dns_subdomain(name))
    else:
        faults.required("spec.externalName")


def _ports(faults: Faults, ports: list[Object]) -> None:
    seen: set[str] = set()
    for i, port in enumerate(ports):
        at, name = f"spec.ports[{i}]", port.get("name") or ""
        if not name:
            if len(ports) > 1:
                faults.required(f"{at}.name")
        else:
            faults.each(f"{at}.name", name, names.dns_label(name))
            if name in seen:
                faults.duplicate(f"{at}.name", name)
            seen.add(name)
        number, protocol = port.get("port") or 0, port.get("protocol")
        faults.each(f"{at}.port", number, names.port_number(number))
        if protocol not in PROTOCOLS:
            faults.one_of(f"{at}.protocol", protocol, PROTOCOLS)
        port_number_or_name(faults, f"{at}.targetPort", port.get("targetPort", 0))
        if port.get("appProtocol") is not None:
            faults.each(f"{at}.appProtocol", port["appProtocol"], names.qualified_name(port["appProtocol"]))


def _port_collisions(faults: Faults, ports: list[Object], kind: str) -> None:
    if kind == "ClusterIP":
        for i, port in enumerate(ports):
            if port.get("nodePort"):
                faults.forbidden(f"spec.ports[{i}].nodePort", "may not be used when `type` is 'ClusterIP'")
    seen: set[tuple[Any, Any]] = set()
    for i, port in enumerate(ports):
        node_port = port.get("nodePort") or 0
        if node_port and (port.get("protocol"), node_port) in seen:
            faults.duplicate(f"spec.ports[{i}].nodePort", node_port)
        seen.add((port.get("protocol"), node_port))
    seen = set()
    for i, port in enumerate(ports):
        key = (port.get("protocol"), port.get("port") or 0)
        if key in seen:
            faults.duplicate(f"spec.ports[{i}]", {"protocol": key[0], "port": key[1], "targetPort": 0})
        seen.add(key)


def _session_affinity(faults: Faults, spec: Object) -> None:
    affinity, config = spec.get("sessionAffinity"), spec.get("sessionAffinityConfig")
    at = "spec.sessionAffinityConfig"
    if affinity not in ("ClientIP", "None"):
        faults.one_of("spec.sessionAffinity", affinity, ("ClientIP", "None"))
    elif affinity == "None":
        if config is not None:
            faults.forbidden(at, "must not be set when session affinity is None")
    elif config is None:
        faults.required(at, "when session affinity type is ClientIP")
    elif config.get("clientIP") is None:
        faults.required(f"{at}.clientIP", "when session affinity type is ClientIP")
    else:
        timeout = config["clientIP"].get("timeoutSeconds")
        if timeout is None:
            faults.required(f"{at}.clientIP.timeoutSeconds", "when session affinity type is ClientIP")
        elif not 0 < timeout <= SESSION_TIMEOUT_MAX_SECONDS:
            faults.invalid(
                f"{at}.clientIP.timeoutSeconds",
                timeout,
                f"must be greater than 0 and less than {SESSION_TIMEOUT_MAX_SECONDS}",
            )


def cluster_ips(faults: Faults, spec: Object, stored: Collection[str] = ()) -> None:
    """clusterIP, clusterIPs, ipFamilies and ipFamilyPolicy; asked again after allocation."""
    ip, ips = spec.get("clusterIP") or "", spec.get("clusterIPs") or []
    at = "spec.clusterIPs"
    if ip:
        if not ips:
            faults.required(at)
        elif ips[0] != ip:
            faults.invalid(at, ips, "first value must match `clusterIP`")
    elif ips:
        faults.invalid(at, ips, "must be empty when `clusterIP` is not specified")
    families = spec.get("ipFamilies") or []
    for i, family in enumerate(families):
        if family not in _FAMILIES:
            faults.not_supported(f"spec.ipFamilies[{i}]", family, _FAMILIES)
        if family in families[:i]:
            faults.duplicate(f"spec.ipFamilies[{i}]", family)
    policy = spec.get("ipFamilyPolicy")
    if policy is not None and policy not in _FAMILY_POLICIES:
        faults.not_supported("spec.ipFamilyPolicy", policy, _FAMILY_POLICIES)
    bad = False
    for i, value in enumerate(ips):
        if i == 0 and value == HEADLESS:
            if len(ips) > 1:
                bad = True
                faults.invalid(at, ips, "'None' must be the first and only value")
            continue
        before = len(faults)
        address(faults, f"{at}[{i}]", value, stored)
        bad = bad or len(faults) > before
    if len(ips) > 2:
        faults.invalid(at, ips, "may only hold up to 2 values")
    if bad or ips in ([], [HEADLESS]):
        return
    versions = [parsed.version for parsed in map(names.parse_ip, ips) if parsed is not None]
    if len(ips) > 1 and len(set(versions)) < 2:
        faults.invalid(at, ips, "may specify no more than one IP for each IP family")
    for i, (version, family) in enumerate(zip(versions, families, strict=False)):
        if family in _FAMILIES and family != f"IPv{version}":
            faults.invalid(f"{at}[{i}]", ips[i], f"expected an {family} value as indicated by `ipFamilies[{i}]`")


def _cluster_ips_update(faults: Faults, spec: Object, old: Object) -> None:
    if is_headless(spec) and is_headless(old):
        return
    new_ips, old_ips = spec.get("clusterIPs") or [], old.get("clusterIPs") or []
    at = "spec.clusterIPs"
    if len(new_ips) == len(old_ips):
        for i, ip in enumerate(old_ips):
            if ip != new_ips[i]:
                faults.invalid(f"{at}[{i}]", new_ips, "may not change once set")
        return
    if len(old_ips) > len(new_ips) and not new_ips:
        faults.invalid(f"{at}[0]", new_ips, "primary clusterIP can not be unset")
    if old_ips and new_ips and new_ips[0] != old_ips[0]:
        faults.invalid(f"{at}[0]", new_ips, "may not change once set")
    if len(old_ips) > len(new_ips) == 1 and spec.get("ipFamilyPolicy") != "SingleStack":
        faults.invalid(
            "spec.ipFamilyPolicy",
            spec.get("ipFamilyPolicy"),
            "must be set to 'SingleStack' when releasing the secondary clusterIP",
        )


def _families_update(faults: Faults, spec: Object, old: Object) -> None:
    if is_headless(spec) or is_headless(old):
        return
    new, before = spec.get("ipFamilies") or [], old.get("ipFamilies") or []
    at = "spec.ipFamilies[0]"
    if len(new) == len(before):
        for i, family in enumerate(before):
            if family != new[i]:
                faults.invalid(at, new, "may not change once set")
        return
    if len(before) > len(new) and not spec.get("clusterIPs"):
        faults.invalid(at, new, "primary ipFamily can not be unset")
    if new and before and new[0] != before[0]:
        faults.invalid(at, spec.get("clusterIPs"), "may not change once set")
    if len(before) > len(new) == 1 and spec.get("ipFamilyPolicy") != "SingleStack":
        faults.invalid(
            "spec.ipFamilyPolicy",
            spec.get("ipFamilyPolicy"),
            "must be set to 'SingleStack' when releasing the secondary ipFamily",
        )


def non_special_ip(faults: Faults, path: str, ip: str) -> None:
    """No unspecified, loopback or link-local address, which would mean something else on every node."""
    parsed = names.parse_ip(ip)
    if parsed is None:
        faults.invalid(path, ip, "must be a valid IP address")
        return
    if parsed.is_unspecified:
        faults.invalid(path, ip, f"may not be unspecified ({ip})")
    if parsed.is_loopback:
        faults.invalid(path, ip, "may not be in the loopback range (127.0.0.0/8, ::1/128)")
    if parsed.is_link_local:
        faults.invalid(path, ip, "may not be in the link-local range (169.254.0.0/16, fe80::/10)")
    if str(parsed).startswith(("224.0.0.", "ff02:")):
        faults.invalid(path, ip, "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)")


def _load_balancer(faults: Faults, obj: Object, spec: Object, kind: str, stored: Collection[str]) -> None:
    ranges = spec.get("loadBalancerSourceRanges") or ()
    annotation = annotations_of(obj).get(_SOURCE_RANGES)
    balanced = kind == "LoadBalancer"
    if ranges:
        at = "spec.LoadBalancerSourceRanges"
        if not balanced:
            faults.forbidden(at, _ONLY_LOAD_BALANCER)
        for i, value in enumerate(ranges):
            cidr(faults, f"{at}[{i}]", value.strip(), [s.strip() for s in stored])
    elif annotation is not None:
        at = f"metadata.annotations[{_SOURCE_RANGES}]"
        if not balanced:
            faults.forbidden(at, _ONLY_LOAD_BALANCER)
        for value in annotation.split(",") if annotation.strip() else ():
            faults.each(at, value.strip(), names.cidr(value.strip()))
    allocate, class_ = spec.get("allocateLoadBalancerNodePorts"), spec.get("loadBalancerClass")
    if allocate is not None and not balanced:
        faults.forbidden("spec.allocateLoadBalancerNodePorts", _ONLY_LOAD_BALANCER)
    if balanced and allocate is None:
        faults.required("allocateLoadBalancerNodePorts")
    if class_ is not None:
        if balanced:
            faults.each("spec.loadBalancerClass", class_, names.qualified_name(class_))
        else:
            faults.forbidden("spec.loadBalancerClass", _ONLY_LOAD_BALANCER)


def _traffic(faults: Faults, spec: Object, kind: str) -> None:
    external, at = spec.get("externalTrafficPolicy"), "spec.externalTrafficPolicy"
    if not is_externally_accessible(spec):
        if external:
            faults.invalid(at, external, "may only be set for externally-accessible services")
    elif external not in ("Cluster", "Local"):
        faults.one_of(at, external, ("Cluster", "Local"))
    health = spec.get("healthCheckNodePort") or 0
    if health and not needs_health_check(spec):
        faults.invalid(
            "spec.healthCheckNodePort",
            health,
            "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'",
        )
    elif health:
        faults.each("spec.healthCheckNodePort", health, names.port_number(health))
    internal = spec.get("internalTrafficPolicy")
    if internal is None:
        if kind in ("NodePort", "LoadBalancer", "ClusterIP"):
            faults.required("spec.internalTrafficPolicy")
    elif internal not in ("Cluster", "Local"):
        faults.not_supported("spec.internalTrafficPolicy", internal, ("Cluster", "Local"))
    distribution = spec.get("trafficDistribution")
    if distribution is not None and distribution not in _TRAFFIC_DISTRIBUTIONS:
        faults.not_supported("spec.trafficDistribution", distribution, _TRAFFIC_DISTRIBUTIONS)
