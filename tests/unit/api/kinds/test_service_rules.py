"""Services, their endpoints and addresses: the exact faults and warnings."""

from __future__ import annotations

from typing import Any

import pytest

from pybernetes.api import resources as r
from pybernetes.api.meta import Object
from pybernetes.api.resources import Resource
from tests.unit.api.kinds.build import changed, faults, named, warned


def service(**spec: Any) -> Object:
    spec.setdefault("ports", [{"port": 80}])
    return named(spec=spec)


def slice_(kind: str, *addresses: str, **fields: Any) -> Object:
    return named(addressType=kind, endpoints=[{"addresses": list(addresses)}], **fields)


def cidrs(*values: str) -> Object:
    return named(namespace="", spec={"cidrs": list(values)})


@pytest.mark.parametrize(
    ("resource", "obj", "errors"),
    [
        (
            r.SERVICES,
            service(ports=[]),
            [
                "spec.ports: Required value",
            ],
        ),
        (
            r.SERVICES,
            service(ports=[{"port": 80}, {"port": 80}]),
            [
                "spec.ports[0].name: Required value",
                "spec.ports[1].name: Required value",
                'spec.ports[1]: Duplicate value: {"protocol":"TCP","port":80,"targetPort":0}',
            ],
        ),
        (
            r.SERVICES,
            service(ports=[{"port": 80, "name": "a"}, {"port": 80, "name": "b"}]),
            [
                'spec.ports[1]: Duplicate value: {"protocol":"TCP","port":80,"targetPort":0}',
            ],
        ),
        (
            r.SERVICES,
            service(ports=[{"port": 0, "protocol": "x", "targetPort": "UP_"}]),
            [
                "spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive",
                'spec.ports[0].protocol: Unsupported value: "x": supported values: "SCTP", "TCP", "UDP"',
                'spec.ports[0].targetPort: Invalid value: "UP_": must contain only alpha-numeric characters (a-z, '
                "0-9), and hyphens (-)",
                'spec.ports[0].targetPort: Invalid value: "UP_": must contain at least one letter (a-z)',
            ],
        ),
        (
            r.SERVICES,
            service(type="x", sessionAffinity="y"),
            [
                'spec.sessionAffinity: Unsupported value: "y": supported values: "ClientIP", "None"',
                'spec.type: Unsupported value: "x": supported values: "ClusterIP", "ExternalName", "LoadBalancer", '
                '"NodePort"',
            ],
        ),
        (
            r.SERVICES,
            service(type="ExternalName"),
            [
                "spec.externalName: Required value",
            ],
        ),
        (
            r.SERVICES,
            service(type="ExternalName", externalName="a_b", ports=[]),
            [
                'spec.externalName: Invalid value: "a_b": a lowercase RFC 1123 subdomain must consist of lower '
                "case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character "
                "(e.g. 'example.com', regex used for validation is "
                "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
            ],
        ),
        (r.SERVICES, service(type="NodePort", ports=[{"port": 80, "nodePort": 99999}]), []),
        (
            r.SERVICES,
            service(ports=[{"port": 80, "nodePort": 30000}]),
            [
                "spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'",
            ],
        ),
        (
            r.SERVICES,
            service(type="LoadBalancer", clusterIP="None"),
            [
                "spec.clusterIPs[0]: Invalid value: \"None\": may not be set to 'None' for LoadBalancer services",
            ],
        ),
        (
            r.SERVICES,
            service(externalTrafficPolicy="Local"),
            [
                'spec.externalTrafficPolicy: Invalid value: "Local": may only be set for externally-accessible '
                "services",
            ],
        ),
        (
            r.SERVICES,
            service(type="LoadBalancer", loadBalancerSourceRanges=["x"]),
            [
                'spec.LoadBalancerSourceRanges[0]: Invalid value: "x": must be a valid CIDR value, (e.g. '
                "10.9.8.0/24 or 2001:db8::/64)",
            ],
        ),
        (
            r.SERVICES,
            service(loadBalancerClass="example.com/lb"),
            [
                "spec.loadBalancerClass: Forbidden: may only be used when `type` is 'LoadBalancer'",
            ],
        ),
        (
            r.SERVICES,
            service(externalIPs=["127.0.0.1", "x"]),
            [
                'spec.externalIPs[0]: Invalid value: "127.0.0.1": may not be in the loopback range (127.0.0.0/8, '
                "::1/128)",
                'spec.externalIPs[1]: Invalid value: "x": must be a valid IP address, (e.g. 10.9.8.7 or '
                "2001:db8::ffff)",
            ],
        ),
        (
            r.SERVICES,
            service(sessionAffinity="ClientIP", sessionAffinityConfig={"clientIP": {"timeoutSeconds": 0}}),
            [
                "spec.sessionAffinityConfig.clientIP.timeoutSeconds: Invalid value: 0: must be greater than 0 and "
                "less than 86400",
            ],
        ),
        (
            r.SERVICES,
            service(ipFamilies=["IPv4", "IPv4"]),
            [
                'spec.ipFamilies[1]: Duplicate value: "IPv4"',
            ],
        ),
        (
            r.SERVICES,
            service(internalTrafficPolicy="x", trafficDistribution="y"),
            [
                'spec.internalTrafficPolicy: Unsupported value: "x": supported values: "Cluster", "Local"',
                'spec.trafficDistribution: Unsupported value: "y": supported values: "PreferClose", '
                '"PreferSameNode", "PreferSameZone"',
            ],
        ),
    ],
)
def test_services(resource: Resource, obj: Object, errors: list[str]) -> None:
    assert faults(resource, obj) == errors


@pytest.mark.parametrize(
    ("resource", "obj", "texts"),
    [
        (
            r.SERVICES,
            service(clusterIP="fd00:0::1", clusterIPs=["fd00:0::1"]),
            [
                'spec.clusterIPs[0]: IPv6 address "fd00:0::1" should be in RFC 5952 canonical format ("fd00::1")',
            ],
        ),
        (
            r.SERVICES,
            service(loadBalancerIP="01.2.3.4", type="LoadBalancer"),
            [
                'spec.loadBalancerIP: non-standard IP address "01.2.3.4" will be considered invalid in a future '
                'Kubernetes release: use "1.2.3.4"',
            ],
        ),
        (r.SERVICES, service(type="ExternalName", externalName="1.2.3.4"), []),
    ],
)
def test_service_warnings(resource: Resource, obj: Object, texts: list[str]) -> None:
    assert warned(resource, obj) == texts


@pytest.mark.parametrize(
    ("resource", "old", "new", "errors"),
    [
        (
            r.SERVICES,
            service(clusterIP="10.0.0.1"),
            service(clusterIP="10.0.0.2"),
            [
                'spec.clusterIPs[0]: Invalid value: ["10.0.0.2"]: may not change once set',
            ],
        ),
        (r.SERVICES, service(clusterIP="10.0.0.1"), service(), []),
        (r.SERVICES, service(clusterIP="10.0.0.1"), service(type="ExternalName", externalName="a.b", ports=[]), []),
        (
            r.SERVICES,
            service(type="LoadBalancer", loadBalancerClass="a.b/c"),
            service(type="LoadBalancer", loadBalancerClass="a.b/d"),
            [
                'spec.loadBalancerClass: Invalid value: "a.b/d": may not change once set',
            ],
        ),
    ],
)
def test_service_updates(resource: Resource, old: Object, new: Object, errors: list[str]) -> None:
    assert changed(resource, old, new) == errors


@pytest.mark.parametrize(
    ("resource", "obj", "errors"),
    [
        (r.ENDPOINTSLICES, slice_("IPv4", "10.0.0.1"), []),
        (
            r.ENDPOINTSLICES,
            slice_("IPv4", "fd00::1", "127.0.0.1", "x"),
            [
                'endpoints[0].addresses[0]: Invalid value: "fd00::1": must be a valid IPv4 address',
                'endpoints[0].addresses[1]: Invalid value: "127.0.0.1": may not be in the loopback range '
                "(127.0.0.0/8, ::1/128)",
                'endpoints[0].addresses[2]: Invalid value: "x": must be a valid IPv4 address',
                'endpoints[0].addresses[2]: Invalid value: "x": must be a valid IP address',
            ],
        ),
        (
            r.ENDPOINTSLICES,
            slice_("FQDN", "example.com.", "single", "A.b"),
            [
                'endpoints[0].addresses[1]: Invalid value: "single": should be a domain with at least two segments '
                "separated by dots",
                'endpoints[0].addresses[2]: Invalid value: "A.b": a lowercase RFC 1123 subdomain must consist of '
                "lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric "
                "character (e.g. 'example.com', regex used for validation is "
                "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
            ],
        ),
        (
            r.ENDPOINTSLICES,
            slice_("x", "10.0.0.1"),
            [
                'addressType: Unsupported value: "x": supported values: "FQDN", "IPv4", "IPv6"',
            ],
        ),
        (
            r.ENDPOINTSLICES,
            slice_("IPv4"),
            [
                "endpoints[0].addresses: Required value: must contain at least 1 address",
            ],
        ),
        (
            r.ENDPOINTSLICES,
            slice_("IPv4", *(f"10.0.0.{i}" for i in range(1, 102))),
            [
                "endpoints[0].addresses: Too many: 101: must have at most 100 items",
            ],
        ),
        (
            r.ENDPOINTSLICES,
            slice_("IPv4", "10.0.0.1", ports=[{"name": "a", "port": 0}, {"name": "a", "protocol": "x"}]),
            [
                "ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive",
                'ports[1].name: Duplicate value: "a"',
                'ports[1].protocol: Unsupported value: "x": supported values: "SCTP", "TCP", "UDP"',
            ],
        ),
    ],
)
def test_slices(resource: Resource, obj: Object, errors: list[str]) -> None:
    assert faults(resource, obj) == errors


@pytest.mark.parametrize(
    ("resource", "obj", "errors"),
    [
        (
            r.ENDPOINTS,
            named(subsets=[{}]),
            [
                "subsets[0]: Required value: must specify `addresses` or `notReadyAddresses`",
            ],
        ),
        (
            r.ENDPOINTS,
            named(subsets=[{"addresses": [{"ip": "169.254.1.1"}, {"ip": "x"}], "ports": [{"port": 1}, {"port": 2}]}]),
            [
                'subsets[0].addresses[0].ip: Invalid value: "169.254.1.1": may not be in the link-local range '
                "(169.254.0.0/16, fe80::/10)",
                'subsets[0].addresses[1].ip: Invalid value: "x": must be a valid IP address, (e.g. 10.9.8.7 or '
                "2001:db8::ffff)",
                'subsets[0].addresses[1].ip: Invalid value: "x": must be a valid IP address',
                "subsets[0].ports[0].name: Required value",
                "subsets[0].ports[1].name: Required value",
            ],
        ),
    ],
)
def test_endpoints(resource: Resource, obj: Object, errors: list[str]) -> None:
    assert faults(resource, obj) == errors


@pytest.mark.parametrize(
    ("resource", "obj", "texts"),
    [
        (
            r.ENDPOINTS,
            named(subsets=[{"addresses": [{"ip": "010.0.0.1"}]}]),
            [
                "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice",
                'subsets[0].addresses[0].ip: non-standard IP address "010.0.0.1" will be considered invalid in a '
                'future Kubernetes release: use "10.0.0.1"',
            ],
        ),
        (
            r.ENDPOINTSLICES,
            slice_("IPv4", "010.0.0.1"),
            [
                'endpoints[0].addresses[0]: non-standard IP address "010.0.0.1" will be considered invalid in a '
                'future Kubernetes release: use "10.0.0.1"',
            ],
        ),
    ],
)
def test_endpoint_warnings(resource: Resource, obj: Object, texts: list[str]) -> None:
    assert warned(resource, obj) == texts


@pytest.mark.parametrize(
    ("resource", "obj", "errors"),
    [
        (r.IPADDRESSES, named("10.0.0.1", "", spec={"parentRef": {"resource": "services", "name": "a"}}), []),
        (
            r.IPADDRESSES,
            named("10.0.0.01", "", spec={"parentRef": {"group": "-", "resource": "a/b"}}),
            [
                'metadata.name: Invalid value: "10.0.0.01": must not have leading 0s',
                'spec.parentRef.group: Invalid value: "-": a lowercase RFC 1123 subdomain must consist of lower '
                "case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character "
                "(e.g. 'example.com', regex used for validation is "
                "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
                "spec.parentRef.resource: Invalid value: \"a/b\": may not contain '/'",
                "spec.parentRef.name: Required value",
            ],
        ),
        (
            r.IPADDRESSES,
            named("fd00:0::1", "", spec={}),
            [
                'metadata.name: Invalid value: "fd00:0::1": must be in canonical form ("fd00::1")',
                "spec.parentRef: Required value",
            ],
        ),
        (
            r.SERVICECIDRS,
            cidrs(),
            [
                "spec.cidrs: Required value: at least one CIDR required",
            ],
        ),
        (
            r.SERVICECIDRS,
            cidrs("10.0.0.0/24", "10.1.0.0/24"),
            [
                'spec.cidrs: Invalid value: ["10.0.0.0/24","10.1.0.0/24"]: may specify no more than one IP for '
                "each IP family, i.e 192.168.0.0/24 and 2001:db8::/96",
            ],
        ),
        (
            r.SERVICECIDRS,
            cidrs("10.0.0.1/24", "fd00:0::/64"),
            [
                'spec.cidrs[0]: Invalid value: "10.0.0.1/24": must not have bits set beyond the prefix length',
                'spec.cidrs[1]: Invalid value: "fd00:0::/64": must be in canonical form ("fd00::/64")',
            ],
        ),
        (
            r.SERVICECIDRS,
            cidrs("a", "b", "c"),
            [
                'spec.cidrs: Invalid value: ["a","b","c"]: may only hold up to 2 values',
            ],
        ),
    ],
)
def test_addresses_and_networks(resource: Resource, obj: Object, errors: list[str]) -> None:
    assert faults(resource, obj) == errors


@pytest.mark.parametrize(
    ("resource", "old", "new", "errors"),
    [
        (r.SERVICECIDRS, cidrs("10.0.0.0/24"), cidrs("10.0.0.0/24", "fd00::/64"), []),
        (
            r.SERVICECIDRS,
            cidrs("10.0.0.0/24"),
            cidrs("10.1.0.0/24"),
            [
                'spec.cidrs[0]: Invalid value: "10.1.0.0/24": field is immutable',
            ],
        ),
        (
            r.SERVICECIDRS,
            cidrs("10.0.0.0/24", "fd00::/64"),
            cidrs("10.0.0.0/24"),
            [
                'spec.cidrs: Invalid value: ["10.0.0.0/24"]: field is immutable',
            ],
        ),
    ],
)
def test_networks_may_grow_by_a_family(resource: Resource, old: Object, new: Object, errors: list[str]) -> None:
    assert changed(resource, old, new) == errors
