"""Services. Cluster IPs and node ports are allocated by the API server's registry, after validation.

Source of defaults, rules and texts: ``pkg/apis/core`` and ``pkg/registry/core/service``.
"""

from __future__ import annotations

from typing import Any, ClassVar

from pybernetes.api import names
from pybernetes.api.field import FieldError
from pybernetes.api.kinds import labels
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
        return names.dns1035_label(name, prefix=prefix)

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
        """Keeps clusterIP and clusterIPs in step, whichever of the two a client wrote."""
        ip, ips = spec.get("clusterIP") or "", spec.get("clusterIPs") or []
        if old is None:
            if ip and not ips:
                spec["clusterIPs"] = [ip]
            elif ips and not ip:
                spec["clusterIP"] = ips[0]
            return
        old_ip, old_ips = old.get("clusterIP") or "", old.get("clusterIPs") or []
        if ip != old_ip and ips == old_ips:
            # The client changed only the old field: the new one follows it.
            if not ip:
                spec.pop("clusterIPs", None)
            else:
                spec["clusterIPs"] = [ip, *ips[1:]]
        elif ips != old_ips and ip == old_ip:
            if ips:
                spec["clusterIP"] = ips[0]
            else:
                spec.pop("clusterIP", None)

    def validate_create(self, obj: Object) -> list[FieldError]:
        faults = Faults()
        spec = obj.get("spec") or {}
        kind, ports, headless = spec.get("type") or "", spec.get("ports") or [], is_headless(spec)
        if not ports and not headless and kind != "ExternalName":
            faults.required("spec.ports")
        if headless and kind in ("LoadBalancer", "NodePort"):
            faults.invalid("spec.clusterIPs[0]", HEADLESS, f"may not be set to 'None' for {kind} services")
        if kind == "ExternalName":
            _external_name(faults, spec)
        _ports(faults, ports, kind)
        labels.label_map(faults, "spec.selector", spec.get("selector"))
        _session_affinity(faults, spec)
        if kind != "ExternalName":
            cluster_ips(faults, spec)
        for i, ip in enumerate(spec.get("externalIPs") or ()):
            messages = names.is_ip(ip)
            faults.each(f"spec.externalIPs[{i}]", ip, messages)
            if not messages:
                non_special_ip(faults, f"spec.externalIPs[{i}]", ip)
        if kind not in TYPES:
            faults.one_of("spec.type", kind, TYPES)
        _load_balancer(faults, obj, spec, kind)
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
        faults.extend(self.validate_create(obj))
        return faults

    def validate_status_update(self, obj: Object, old: Object) -> list[FieldError]:
        faults = Faults()
        at = "status.loadBalancer.ingress"
        ingresses = ((obj.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
        if ingresses and (old.get("spec") or {}).get("type") != "LoadBalancer":
            faults.forbidden(at, "may only be used when `spec.type` is 'LoadBalancer'")
            return faults
        for i, ingress in enumerate(ingresses):
            ip, mode, host = ingress.get("ip"), ingress.get("ipMode"), ingress.get("hostname")
            if ip:
                faults.each(f"{at}[{i}].ip", ip, names.is_ip(ip))
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

    def warnings(self, obj: Object, old: Object | None) -> list[str]:
        spec, out = obj.get("spec") or {}, []
        if "service.kubernetes.io/topology-aware-hints" in annotations_of(obj):
            out.append(
                "annotation service.kubernetes.io/topology-aware-hints is deprecated, "
                "please use service.kubernetes.io/topology-mode instead"
            )
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


def _drop_type_dependent(spec: Object, old: Object | None) -> None:
    """Drops what an old type needed and the new one does not, where the client did not touch it."""
    if old is None or spec.get("type") == old.get("type"):
        if old is None or not needs_health_check(old) or needs_health_check(spec):
            return
        if spec.get("healthCheckNodePort") == old.get("healthCheckNodePort"):
            spec.pop("healthCheckNodePort", None)
        return
    kind = spec.get("type")
    if kind == "ExternalName":
        for name in ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"):
            if spec.get(name) == old.get(name):
                spec.pop(name, None)
    if kind in ("ClusterIP", "ExternalName"):
        old_ports = {p.get("nodePort") for p in old.get("ports") or ()}
        for port in spec.get("ports") or ():
            if port.get("nodePort") in old_ports:
                port.pop("nodePort", None)
        if not is_externally_accessible(spec) and spec.get("externalTrafficPolicy") == old.get("externalTrafficPolicy"):
            spec.pop("externalTrafficPolicy", None)
    if kind != "LoadBalancer":
        for name in ("allocateLoadBalancerNodePorts", "loadBalancerClass"):
            if spec.get(name) == old.get(name):
                spec.pop(name, None)
    if not needs_health_check(spec) and spec.get("healthCheckNodePort") == old.get("healthCheckNodePort"):
        spec.pop("healthCheckNodePort", None)


def _patch_allocated(spec: Object, old: Object) -> None:
    """A client that leaves allocated values out (``kubectl replace``) means to keep them."""
    kind = spec.get("type")
    if kind == "ExternalName" or old.get("type") == "ExternalName":
        return
    if not spec.get("clusterIP") and not spec.get("clusterIPs"):
        for name in ("clusterIP", "clusterIPs"):
            if old.get(name):
                spec[name] = list(old[name]) if isinstance(old[name], list) else old[name]
    for name in ("ipFamilies", "ipFamilyPolicy"):
        if not spec.get(name) and old.get(name):
            spec[name] = list(old[name]) if isinstance(old[name], list) else old[name]
    if kind in ("NodePort", "LoadBalancer") and old.get("type") in ("NodePort", "LoadBalancer"):
        had = {(p.get("port"), p.get("protocol")): p.get("nodePort") for p in old.get("ports") or ()}
        taken = {p.get("nodePort") for p in spec.get("ports") or () if p.get("nodePort")}
        for port in spec.get("ports") or ():
            before = had.get((port.get("port"), port.get("protocol")))
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


def _ports(faults: Faults, ports: list[Object], kind: str) -> None:
    seen_names: set[str] = set()
    seen_ports: set[tuple[Any, Any]] = set()
    seen_node_ports: set[tuple[Any, Any]] = set()
    for i, port in enumerate(ports):
        at, name = f"spec.ports[{i}]", port.get("name") or ""
        if not name:
            if len(ports) > 1:
                faults.required(f"{at}.name")
        else:
            faults.each(f"{at}.name", name, names.dns_label(name))
            if name in seen_names:
                faults.duplicate(f"{at}.name", name)
            seen_names.add(name)
        number, protocol = port.get("port") or 0, port.get("protocol")
        faults.each(f"{at}.port", number, names.port_number(number))
        if protocol not in PROTOCOLS:
            faults.one_of(f"{at}.protocol", protocol, PROTOCOLS)
        port_number_or_name(faults, f"{at}.targetPort", port.get("targetPort", 0))
        if port.get("appProtocol") is not None:
            faults.each(f"{at}.appProtocol", port["appProtocol"], names.qualified_name(port["appProtocol"]))
        node_port = port.get("nodePort") or 0
        if node_port and kind == "ClusterIP":
            faults.forbidden(f"{at}.nodePort", "may not be used when `type` is 'ClusterIP'")
        if node_port and (protocol, node_port) in seen_node_ports:
            faults.duplicate(f"{at}.nodePort", node_port)
        seen_node_ports.add((protocol, node_port))
        if (protocol, number) in seen_ports:
            faults.duplicate(at, {"protocol": protocol, "port": number, "targetPort": 0})
        seen_ports.add((protocol, number))


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


def cluster_ips(faults: Faults, spec: Object) -> None:
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
        messages = names.is_ip(value)
        bad = bad or bool(messages)
        faults.each(f"{at}[{i}]", value, messages)
    if len(ips) > 2:
        faults.invalid(at, ips, "may only hold up to 2 values")
    if bad or ips in ([], [HEADLESS]):
        return
    versions = [address.version for address in map(names.parse_ip, ips) if address is not None]
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
    address = names.parse_ip(ip)
    if address is None:
        faults.invalid(path, ip, "must be a valid IP address")
        return
    if address.is_unspecified:
        faults.invalid(path, ip, f"may not be unspecified ({ip})")
    if address.is_loopback:
        faults.invalid(path, ip, "may not be in the loopback range (127.0.0.0/8, ::1/128)")
    if address.is_link_local:
        faults.invalid(path, ip, "may not be in the link-local range (169.254.0.0/16, fe80::/10)")
    if str(address).startswith(("224.0.0.", "ff02:")):
        faults.invalid(path, ip, "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)")


def _load_balancer(faults: Faults, obj: Object, spec: Object, kind: str) -> None:
    ranges = spec.get("loadBalancerSourceRanges") or ()
    annotation = annotations_of(obj).get(_SOURCE_RANGES)
    balanced = kind == "LoadBalancer"
    if ranges:
        at = "spec.LoadBalancerSourceRanges"
        if not balanced:
            faults.forbidden(at, _ONLY_LOAD_BALANCER)
        for i, value in enumerate(ranges):
            faults.each(f"{at}[{i}]", value.strip(), names.cidr(value.strip()))
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
