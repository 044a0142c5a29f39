from __future__ import annotations

from typing import Any

import pytest

from pybernetes.proxy.layout import IPV4, IPV6
from pybernetes.proxy.plan import (
    NO_PLAN,
    Frontend,
    Node,
    ServicePlan,
    StaleFlows,
    endpoints_of,
    is_proxied,
    plan_service,
    preferred,
    service_key,
    stale_flows,
    usable,
)

NODE = Node("here", IPV4, ("10.244.0.0/16",), zone="z1")
VIP = "10.96.0.7"


def service(**spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"clusterIP": VIP, "clusterIPs": [VIP], "ports": [{"port": 80}], **spec},
    }


def endpoint(address: str, node: str = "there", **more: Any) -> dict[str, Any]:
    conditions = {k: more.pop(k) for k in ("ready", "serving", "terminating") if k in more}
    return {"addresses": [address], "nodeName": node, "conditions": conditions, **more}


def slice_of(*endpoints: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"addressType": "IPv4", "ports": [{"name": "", "port": 8080}], "endpoints": list(endpoints), **more}


def only_chain(plan: ServicePlan, kind: str) -> tuple[str, ...]:
    (rules,) = [r for name, r in plan.part.chains.items() if name.startswith(f"{kind}-")]
    return rules


def element(plan: ServicePlan, map_name: str, key: str) -> str:
    return plan.part.elements.get(map_name, {}).get(key, "")


def test_one_rule_counts_through_the_endpoints() -> None:
    plan = plan_service(service(), [slice_of(endpoint("10.244.1.3"), endpoint("10.244.1.2"))], NODE)
    assert only_chain(plan, "svc") == (
        "meta l4proto tcp dnat ip to numgen inc mod 2 map { 0 : 10.244.1.2 . 8080, 1 : 10.244.1.3 . 8080 }",
    )
    assert element(plan, "service_ips", f"{VIP} . tcp . 80").startswith("goto svc-")
    assert "hairpin" not in plan.part.elements
    alone = plan_service(service(), [slice_of(endpoint("10.244.0.2", "here"))], NODE)
    assert only_chain(alone, "svc") == ("meta l4proto tcp dnat ip to 10.244.0.2:8080",)
    assert alone.part.elements["hairpin"] == {"10.244.0.2 . 10.244.0.2": ""}


def test_nothing_behind_it_is_refused() -> None:
    plan = plan_service(service(type="NodePort", ports=[{"port": 80, "nodePort": 30080}]), [], NODE)
    assert not plan.part.chains
    assert element(plan, "no_endpoint_ips", f"{VIP} . tcp . 80") == "goto reject_now"
    assert element(plan, "no_endpoint_node_ports", "tcp . 30080") == "goto reject_now"
    not_ready = slice_of(endpoint("10.244.1.2", ready=False))
    assert plan_service(service(), [not_ready], NODE).part.elements.keys() == {"no_endpoint_ips"}


def test_internal_policy_local() -> None:
    spec = {"internalTrafficPolicy": "Local"}
    both = slice_of(endpoint("10.244.0.2", "here"), endpoint("10.244.1.2"))
    plan = plan_service(service(**spec), [both], NODE)
    assert only_chain(plan, "svl") == ("meta l4proto tcp dnat ip to 10.244.0.2:8080",)
    assert element(plan, "service_ips", f"{VIP} . tcp . 80").startswith("goto svl-")
    elsewhere = plan_service(service(**spec), [slice_of(endpoint("10.244.1.2"))], NODE)
    assert element(elsewhere, "no_endpoint_ips", f"{VIP} . tcp . 80") == "drop"
    assert not elsewhere.part.chains


def test_external_policies() -> None:
    spec = {"type": "NodePort", "ports": [{"port": 80, "nodePort": 30080}]}
    both = slice_of(endpoint("10.244.0.2", "here"), endpoint("10.244.1.2"))
    cluster = plan_service(service(**spec), [both], NODE)
    entering = only_chain(cluster, "ext")
    assert entering[0] == "meta mark set meta mark or 0x4000"
    assert entering[1].startswith("goto svc-")
    local = plan_service(service(**spec, externalTrafficPolicy="Local"), [both], NODE)
    assert only_chain(local, "ext")[-1].startswith("goto svl-")
    assert not any("mark" in rule for rule in only_chain(local, "ext") if "fib" not in rule)
    elsewhere = plan_service(service(**spec, externalTrafficPolicy="Local"), [slice_of(endpoint("10.244.1.2"))], NODE)
    assert element(elsewhere, "no_endpoint_node_ports", "tcp . 30080") == "drop"
    assert element(elsewhere, "node_ports", "tcp . 30080").startswith("goto ext-")


def test_terminating_endpoints_serve_when_nothing_else_does() -> None:
    leaving = endpoint("10.244.1.2", ready=False, serving=True, terminating=True)
    ready = endpoint("10.244.1.3", ready=True)
    gone = endpoint("10.244.1.4", ready=False, serving=False, terminating=True)

    def addresses(*endpoints: dict[str, Any]) -> list[str]:
        return [e.ip for e in usable(endpoints_of([slice_of(*endpoints)], "", "TCP", NODE))]

    assert addresses(leaving, ready, gone) == ["10.244.1.3"]
    assert addresses(leaving, gone) == ["10.244.1.2"]
    assert addresses(gone) == []
    # Conditions that are not set mean ready.
    assert addresses(endpoint("10.244.1.9")) == ["10.244.1.9"]


def test_ports_match_by_name_and_protocol() -> None:
    slices = [
        slice_of(
            endpoint("10.244.1.2"),
            ports=[{"name": "http", "port": 8080}, {"name": "dns", "port": 53, "protocol": "UDP"}],
        )
    ]
    assert [e.port for e in endpoints_of(slices, "http", "TCP", NODE)] == [8080]
    assert [e.port for e in endpoints_of(slices, "dns", "UDP", NODE)] == [53]
    assert endpoints_of(slices, "dns", "TCP", NODE) == []
    assert endpoints_of(slices, "", "TCP", NODE) == []
    assert endpoints_of([slice_of(endpoint("fd00::2"), addressType="IPv6")], "", "TCP", NODE) == []


def test_an_address_in_two_slices_counts_once() -> None:
    slices = [slice_of(endpoint("10.244.1.2", ready=False)), slice_of(endpoint("10.244.1.2", ready=True))]
    assert [(e.ip, e.ready) for e in endpoints_of(slices, "", "TCP", NODE)] == [("10.244.1.2", True)]


def test_hints() -> None:
    near = endpoint("10.244.0.2", "here", hints={"forZones": [{"name": "z1"}]})
    far = endpoint("10.244.1.2", hints={"forZones": [{"name": "z2"}]})
    without = endpoint("10.244.1.3")
    mine = endpoint("10.244.1.4", hints={"forNodes": [{"name": "here"}], "forZones": [{"name": "z1"}]})

    def addresses(*endpoints: dict[str, Any]) -> list[str]:
        return [e.ip for e in preferred(endpoints_of([slice_of(*endpoints)], "", "TCP", NODE), NODE)]

    assert addresses(near, far) == ["10.244.0.2"]
    assert addresses(near, far, without) == ["10.244.0.2", "10.244.1.2", "10.244.1.3"]
    assert addresses(far) == ["10.244.1.2"]
    assert addresses(mine) == ["10.244.1.4"]


def test_affinity_remembers_clients_for_as_long_as_it_says() -> None:
    spec = {"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 60}}}
    plan = plan_service(service(**spec), [slice_of(endpoint("10.244.1.2"), endpoint("10.244.1.3"))], NODE)
    assert set(plan.part.sets.values()) == {"type ipv4_addr; flags dynamic,timeout; timeout 60s;"}
    assert len(plan.part.sets) == 2
    first, second, choice = only_chain(plan, "svc")
    assert first.startswith("ip saddr @aff-") and second.startswith("ip saddr @aff-")
    assert choice.startswith("numgen inc mod 2 vmap { 0 : goto ep-")


def test_load_balancer_addresses() -> None:
    obj = service(type="LoadBalancer", loadBalancerSourceRanges=["198.51.100.0/24", "fd00::/8"])
    obj["status"] = {
        "loadBalancer": {
            "ingress": [{"ip": "203.0.113.1"}, {"ip": "203.0.113.2", "ipMode": "Proxy"}, {"hostname": "x"}]
        }
    }
    plan = plan_service(obj, [slice_of(endpoint("10.244.1.2"))], NODE)
    assert element(plan, "service_ips", "203.0.113.1 . tcp . 80").startswith("goto fw-")
    assert not element(plan, "service_ips", "203.0.113.2 . tcp . 80")
    assert only_chain(plan, "fw")[0] == "ip saddr != { 198.51.100.0/24 } drop"


@pytest.mark.parametrize(
    "spec",
    [{"clusterIP": "None", "clusterIPs": ["None"]}, {"type": "ExternalName"}, {"clusterIP": "", "clusterIPs": []}],
)
def test_services_without_a_virtual_ip(spec: dict[str, Any]) -> None:
    assert plan_service(service(**spec), [slice_of(endpoint("10.244.1.2"))], NODE) is NO_PLAN


def test_other_proxies_and_excluded_addresses_are_left_alone() -> None:
    obj = service()
    obj["metadata"]["labels"] = {"service.kubernetes.io/service-proxy-name": "other"}
    assert not is_proxied(obj)
    assert plan_service(obj, [], NODE) is NO_PLAN
    excluding = Node("here", IPV4, ("10.244.0.0/16",), excluded_ips=frozenset({VIP}))
    assert plan_service(service(), [], excluding) is NO_PLAN
    assert plan_service(service(), [], Node("here", IPV6, ("fd00::/8",))) is NO_PLAN


def test_names_are_short_and_unique() -> None:
    names = set()
    for port in ("a", "b"):
        obj = service(ports=[{"name": port, "port": 80}])
        obj["metadata"] = {"name": "s" * 63, "namespace": "n" * 63}
        plan = plan_service(obj, [slice_of(endpoint("10.244.1.2"), ports=[{"name": port, "port": 1}])], NODE)
        names |= set(plan.part.chains)
    assert len(names) == 2
    assert all(len(name) <= 100 for name in names)


def test_stale_flows() -> None:
    frontend = Frontend(VIP, "udp", 53)

    def plan(*backends: str) -> ServicePlan:
        return ServicePlan(datagram_backends={frontend: frozenset(backends)})

    assert stale_flows(plan("a", "b"), plan("b", "c")) == [StaleFlows(frontend, "a")]
    assert stale_flows(plan("a"), NO_PLAN) == [StaleFlows(frontend, "a")]
    assert stale_flows(plan(), plan("a")) == [StaleFlows(frontend, "")]
    assert stale_flows(NO_PLAN, plan()) == []


def test_service_key() -> None:
    meta = {"name": "web-x", "namespace": "ns", "labels": {"kubernetes.io/service-name": "web"}}
    assert service_key({"metadata": meta}) == "ns/web"
    assert service_key({"metadata": {"name": "x", "namespace": "ns"}}) == ""
