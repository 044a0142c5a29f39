"""Services and their endpoints."""

from __future__ import annotations

from typing import Any

import pytest

from pybernetes.api import resources as r
from pybernetes.api.kinds.registry import strategy_for
from pybernetes.api.meta import Object, clone
from tests.unit.api.kinds.build import created, faults, named, status_faults, update_faults


def service(**spec: Any) -> Object:
    spec.setdefault("ports", [{"port": 80}])
    return named("web", spec=spec)


def test_defaults() -> None:
    assert created(r.SERVICES, service(selector={"app": "web"}))["spec"] == {
        "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}],
        "selector": {"app": "web"},
        "sessionAffinity": "None",
        "type": "ClusterIP",
        "internalTrafficPolicy": "Cluster",
    }


def test_status_at_creation() -> None:
    assert created(r.SERVICES, service())["status"] == {"loadBalancer": {}}


def test_session_affinity_gets_its_timeout() -> None:
    assert created(r.SERVICES, service(sessionAffinity="ClientIP"))["spec"]["sessionAffinityConfig"] == {
        "clientIP": {"timeoutSeconds": 10800}
    }


def test_load_balancers_allocate_node_ports() -> None:
    spec = created(r.SERVICES, service(type="LoadBalancer"))["spec"]
    assert spec["allocateLoadBalancerNodePorts"] is True
    assert spec["externalTrafficPolicy"] == "Cluster"


def test_cluster_ip_and_its_list_follow_each_other() -> None:
    assert created(r.SERVICES, service(clusterIP="None"))["spec"]["clusterIPs"] == ["None"]
    assert created(r.SERVICES, service(clusterIP="10.96.0.9"))["spec"]["clusterIPs"] == ["10.96.0.9"]
    assert faults(r.SERVICES, service(clusterIPs=["10.96.0.9"])) == [
        'spec.clusterIPs: Invalid value: ["10.96.0.9"]: must be empty when `clusterIP` is not specified'
    ]


@pytest.mark.parametrize(
    ("spec", "errors"),
    [
        ({"ports": []}, ["spec.ports: Required value"]),
        ({"ports": [], "clusterIP": "None"}, []),
        (
            {"type": "Nope"},
            [
                'spec.type: Unsupported value: "Nope": supported values: '
                '"ClusterIP", "ExternalName", "LoadBalancer", "NodePort"'
            ],
        ),
        (
            {"ports": [{"port": 0}]},
            [
                "spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive",
                "spec.ports[0].targetPort: Invalid value: 0: must be between 1 and 65535, inclusive",
            ],
        ),
        ({"ports": [{"port": 80}, {"port": 81, "name": "b"}]}, ["spec.ports[0].name: Required value"]),
        (
            {"ports": [{"port": 80, "name": "a"}, {"port": 80, "name": "a"}]},
            [
                'spec.ports[1].name: Duplicate value: "a"',
                'spec.ports[1]: Duplicate value: {"protocol":"TCP","port":80,"targetPort":0}',
            ],
        ),
        (
            {"ports": [{"port": 80, "nodePort": 30080}]},
            ["spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'"],
        ),
        (
            {"type": "NodePort", "clusterIP": "None"},
            ["spec.clusterIPs[0]: Invalid value: \"None\": may not be set to 'None' for NodePort services"],
        ),
        (
            {"type": "ExternalName", "ports": []},
            ["spec.externalName: Required value"],
        ),
        ({"type": "ExternalName", "ports": [], "externalName": "example.com."}, []),
        (
            {"clusterIP": "nope"},
            [
                'spec.clusterIPs[0]: Invalid value: "nope": must be a valid IP address, '
                "(e.g. 10.9.8.7 or 2001:db8::ffff)"
            ],
        ),
        (
            {"clusterIP": "fd00::1", "ipFamilies": ["IPv4"]},
            ['spec.clusterIPs[0]: Invalid value: "fd00::1": expected an IPv4 value as indicated by `ipFamilies[0]`'],
        ),
        (
            {"externalIPs": ["127.0.0.1"]},
            [
                'spec.externalIPs[0]: Invalid value: "127.0.0.1": '
                "may not be in the loopback range (127.0.0.0/8, ::1/128)"
            ],
        ),
        (
            {"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 90000}}},
            [
                "spec.sessionAffinityConfig.clientIP.timeoutSeconds: Invalid value: 90000: "
                "must be greater than 0 and less than 86400"
            ],
        ),
        (
            {"loadBalancerClass": "example.com/lb"},
            ["spec.loadBalancerClass: Forbidden: may only be used when `type` is 'LoadBalancer'"],
        ),
        (
            {"trafficDistribution": "Far"},
            [
                'spec.trafficDistribution: Unsupported value: "Far": '
                'supported values: "PreferClose", "PreferSameNode", "PreferSameZone"'
            ],
        ),
    ],
)
def test_refused(spec: dict[str, Any], errors: list[str]) -> None:
    assert faults(r.SERVICES, service(**spec)) == errors


def test_the_name_is_a_dns_label() -> None:
    obj = service()
    obj["metadata"]["name"] = "1web"
    assert faults(r.SERVICES, obj) == []
    obj["metadata"]["name"] = "web.one"
    (error,) = faults(r.SERVICES, obj)
    assert error == 'metadata.name: Invalid value: "web.one": must not contain dots'


def stored(**spec: Any) -> Object:
    out = created(r.SERVICES, service(**spec))
    out["spec"].update(
        clusterIP="10.96.0.9", clusterIPs=["10.96.0.9"], ipFamilies=["IPv4"], ipFamilyPolicy="SingleStack"
    )
    return out


def test_an_update_keeps_what_was_allocated() -> None:
    old = stored(type="NodePort", ports=[{"port": 80, "nodePort": 30080}])
    new = service(type="NodePort", ports=[{"port": 80}])
    assert update_faults(r.SERVICES, new, old) == []
    strategy_for(r.SERVICES).default(new)
    strategy_for(r.SERVICES).prepare_for_update(new, old)
    assert new["spec"]["clusterIPs"] == ["10.96.0.9"]
    assert new["spec"]["ports"][0]["nodePort"] == 30080


def test_the_cluster_ip_may_not_change() -> None:
    old = stored()
    new = clone(old)
    new["spec"]["clusterIP"] = "10.96.0.10"
    assert update_faults(r.SERVICES, new, old) == [
        'spec.clusterIPs[0]: Invalid value: ["10.96.0.10"]: may not change once set'
    ]


def test_from_node_port_to_cluster_ip_drops_the_node_ports() -> None:
    old = stored(type="NodePort", ports=[{"port": 80, "nodePort": 30080}])
    new = clone(old)
    new["spec"]["type"] = "ClusterIP"
    assert update_faults(r.SERVICES, new, old) == []
    strategy_for(r.SERVICES).prepare_for_update(new, old)
    assert "nodePort" not in new["spec"]["ports"][0]
    assert "externalTrafficPolicy" not in new["spec"]


def test_to_external_name_drops_the_cluster_ip() -> None:
    old = stored()
    new = clone(old)
    new["spec"].update(type="ExternalName", externalName="example.com")
    assert update_faults(r.SERVICES, new, old) == []


def test_status_of_a_load_balancer() -> None:
    old = stored()
    new = {**clone(old), "status": {"loadBalancer": {"ingress": [{"ip": "1.2.3.4"}]}}}
    assert status_faults(r.SERVICES, new, old) == [
        "status.loadBalancer.ingress: Forbidden: may only be used when `spec.type` is 'LoadBalancer'"
    ]


def test_endpoints() -> None:
    obj = named(subsets=[{"addresses": [{"ip": "169.254.1.1"}], "ports": [{"port": 80}]}, {"ports": [{"port": 1}]}])
    assert created(r.ENDPOINTS, obj)["subsets"][0]["ports"] == [{"port": 80, "protocol": "TCP"}]
    assert faults(r.ENDPOINTS, obj) == [
        'subsets[0].addresses[0].ip: Invalid value: "169.254.1.1": '
        "may not be in the link-local range (169.254.0.0/16, fe80::/10)",
        "subsets[1]: Required value: must specify `addresses` or `notReadyAddresses`",
    ]


def test_endpoint_slices() -> None:
    obj = named(addressType="IPv4", endpoints=[{"addresses": ["10.0.0.1"]}], ports=[{"port": 80}])
    out = created(r.ENDPOINTSLICES, obj)
    assert out["ports"] == [{"port": 80, "name": "", "protocol": "TCP"}]
    assert faults(r.ENDPOINTSLICES, obj) == []
    assert faults(r.ENDPOINTSLICES, named(addressType="Nope")) == [
        'addressType: Unsupported value: "Nope": supported values: "FQDN", "IPv4", "IPv6"'
    ]
    assert update_faults(r.ENDPOINTSLICES, {**clone(out), "addressType": "FQDN"}, out) == [
        'addressType: Invalid value: "FQDN": field is immutable'
    ]
    too_many = named(addressType="IPv4", endpoints=[{"addresses": ["10.0.0.1"]}] * 1001)
    assert faults(r.ENDPOINTSLICES, too_many) == ["endpoints: Too many: 1001: must have at most 1000 items"]
