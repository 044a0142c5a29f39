"""Services, ingresses, policies and endpoints: the exact faults and warnings."""

from __future__ import annotations

from typing import Any

import pytest

from pybernetes.api import resources as r
from pybernetes.api.meta import Object
from pybernetes.api.resources import Resource
from tests.unit.api.kinds.build import changed, faults, named, stated, warned


def service(**spec: Any) -> Object:
    spec.setdefault("ports", [{"port": 80}])
    return named(spec=spec)


def ingress(*rules: Object, **spec: Any) -> Object:
    return named(spec={"rules": list(rules), **spec} if rules else spec)


def route(**path: Any) -> Object:
    usual: Object = {"path": "/", "pathType": "Prefix", "backend": {"service": {"name": "s", "port": {"number": 80}}}}
    return {"http": {"paths": [{**usual, **path}]}}


def policy(**spec: Any) -> Object:
    return named(spec={"podSelector": {}, **spec})


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
        (
            r.INGRESSES,
            ingress(),
            [
                "spec: Invalid value: []: either `defaultBackend` or `rules` must be specified",
            ],
        ),
        (r.INGRESSES, ingress(route()), []),
        (
            r.INGRESSES,
            ingress({"host": "*.a.b", **route()}, {"host": "a*.b", **route()}, {"host": "10.0.0.1", **route()}),
            [
                "spec.rules[1].host: Invalid value: \"a*.b\": a wildcard DNS-1123 subdomain must start with '*.', "
                "followed by a valid DNS subdomain, which must consist of lower case alphanumeric characters, '-' "
                "or '.' and end with an alphanumeric character (e.g. '*.example.com', regex used for validation is "
                "'\\*\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
                'spec.rules[2].host: Invalid value: "10.0.0.1": must be a DNS name, not an IP address',
            ],
        ),
        (
            r.INGRESSES,
            ingress({"http": {"paths": []}}),
            [
                "spec.rules[0].http.paths: Required value",
            ],
        ),
        (
            r.INGRESSES,
            ingress(route(pathType=None)),
            [
                "spec.rules[0].http.paths[0].pathType: Required value: pathType must be specified",
            ],
        ),
        (
            r.INGRESSES,
            ingress(route(pathType="x"), route(path="a//b"), route(path="/a/..")),
            [
                'spec.rules[0].http.paths[0].pathType: Unsupported value: "x": supported values: "Exact", '
                '"ImplementationSpecific", "Prefix"',
                'spec.rules[1].http.paths[0].path: Invalid value: "a//b": must be an absolute path',
                "spec.rules[1].http.paths[0].path: Invalid value: \"a//b\": must not contain '//'",
                "spec.rules[2].http.paths[0].path: Invalid value: \"/a/..\": cannot end with '/..'",
            ],
        ),
        (
            r.INGRESSES,
            ingress(route(pathType="ImplementationSpecific", path="a")),
            [
                'spec.rules[0].http.paths[0].path: Invalid value: "a": must be an absolute path',
            ],
        ),
        (
            r.INGRESSES,
            ingress(route(backend={"service": {"name": "A", "port": {"name": "x", "number": 1}}})),
            [
                'spec.rules[0].http.paths[0].backend.service.name: Invalid value: "A": a DNS-1035 label must '
                "consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end "
                "with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is "
                "'[a-z]([-a-z0-9]*[a-z0-9])?')",
                'spec.rules[0].http.paths[0].backend: Invalid value: "": cannot set both port name & port number',
            ],
        ),
        (
            r.INGRESSES,
            ingress(route(backend={"service": {}})),
            [
                "spec.rules[0].http.paths[0].backend.service.name: Required value",
                "spec.rules[0].http.paths[0].backend: Required value: port name or number is required",
            ],
        ),
        (
            r.INGRESSES,
            ingress(route(backend={"service": {"name": "a"}, "resource": {}})),
            [
                'spec.rules[0].http.paths[0].backend: Invalid value: "": cannot set both resource and service backends',
            ],
        ),
        (
            r.INGRESSES,
            ingress(route(backend={"resource": {"apiGroup": "-", "kind": "a/b"}})),
            [
                'spec.rules[0].http.paths[0].backend.resource.apiGroup: Invalid value: "-": a lowercase RFC 1123 '
                "subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end "
                "with an alphanumeric character (e.g. 'example.com', regex used for validation is "
                "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
                "spec.rules[0].http.paths[0].backend.resource.kind: Invalid value: \"a/b\": may not contain '/'",
                "spec.rules[0].http.paths[0].backend.resource.name: Required value",
            ],
        ),
        (
            r.INGRESSES,
            ingress(route(), tls=[{"hosts": ["-"], "secretName": "_"}], ingressClassName="_"),
            [
                'spec.tls[0].hosts[0]: Invalid value: "-": a lowercase RFC 1123 subdomain must consist of lower '
                "case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character "
                "(e.g. 'example.com', regex used for validation is "
                "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
                'spec.tls[0].secretName: Invalid value: "_": a lowercase RFC 1123 subdomain must consist of lower '
                "case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character "
                "(e.g. 'example.com', regex used for validation is "
                "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
                'spec.ingressClassName: Invalid value: "_": a lowercase RFC 1123 subdomain must consist of lower '
                "case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character "
                "(e.g. 'example.com', regex used for validation is "
                "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
            ],
        ),
        (
            r.INGRESSES,
            {
                "metadata": {"name": "x", "namespace": "default", "annotations": {"kubernetes.io/ingress.class": "a"}},
                "spec": ingress(route())["spec"] | {"ingressClassName": "b"},
            },
            [
                'annotations.kubernetes.io/ingress.class: Invalid value: "a": must match `ingressClassName` when '
                "both are specified",
            ],
        ),
    ],
)
def test_ingresses(resource: Resource, obj: Object, errors: list[str]) -> None:
    assert faults(resource, obj) == errors


@pytest.mark.parametrize(
    ("resource", "obj", "status", "errors"),
    [
        (
            r.INGRESSES,
            ingress(route()),
            {"loadBalancer": {"ingress": [{"ip": "x"}, {"hostname": "1.2.3.4"}]}},
            [
                'status.loadBalancer.ingress[0].ip: Invalid value: "x": must be a valid IP address, (e.g. 10.9.8.7 '
                "or 2001:db8::ffff)",
                'status.loadBalancer.ingress[1].hostname: Invalid value: "1.2.3.4": must be a DNS name, not an IP '
                "address",
            ],
        ),
    ],
)
def test_ingress_statuses(resource: Resource, obj: Object, status: Object, errors: list[str]) -> None:
    assert stated(resource, obj, status) == errors


@pytest.mark.parametrize(
    ("resource", "obj", "errors"),
    [
        (
            r.INGRESSCLASSES,
            named(namespace="", spec={}),
            [
                "spec.controller: Required value",
            ],
        ),
        (
            r.INGRESSCLASSES,
            named(namespace="", spec={"controller": "a"}),
            [
                'spec.controller: Invalid value: "a": must be a domain-prefixed path (such as "acme.io/foo")',
            ],
        ),
        (
            r.INGRESSCLASSES,
            named(namespace="", spec={"controller": "a.b/" + "x" * 247}),
            [
                "spec.controller: Too long: may not be more than 250 bytes",
            ],
        ),
        (
            r.INGRESSCLASSES,
            named(namespace="", spec={"controller": "a.b/c", "parameters": {"apiGroup": "-", "scope": "x"}}),
            [
                'spec.parameters.apiGroup: Invalid value: "-": a lowercase RFC 1123 subdomain must consist of '
                "lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric "
                "character (e.g. 'example.com', regex used for validation is "
                "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
                "spec.parameters.kind: Required value",
                "spec.parameters.name: Required value",
                'spec.parameters.scope: Unsupported value: "x": supported values: "Cluster", "Namespace"',
            ],
        ),
        (
            r.INGRESSCLASSES,
            named(
                namespace="", spec={"controller": "a.b/c", "parameters": {"kind": "K", "name": "n", "namespace": "d"}}
            ),
            [
                "spec.parameters.namespace: Forbidden: `parameters.scope` is set to 'Cluster'",
            ],
        ),
        (
            r.INGRESSCLASSES,
            named(
                namespace="",
                spec={"controller": "a.b/c", "parameters": {"kind": "K", "name": "n", "scope": "Namespace"}},
            ),
            [
                "spec.parameters.namespace: Required value: `parameters.scope` is set to 'Namespace'",
            ],
        ),
    ],
)
def test_ingress_classes(resource: Resource, obj: Object, errors: list[str]) -> None:
    assert faults(resource, obj) == errors


@pytest.mark.parametrize(
    ("resource", "obj", "errors"),
    [
        (
            r.NETWORKPOLICIES,
            policy(ingress=[{"ports": [{"protocol": "x", "port": 0}]}]),
            [
                'spec.ingress[0].ports[0].protocol: Unsupported value: "x": supported values: "TCP", "UDP", "SCTP"',
                "spec.ingress[0].ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive",
            ],
        ),
        (
            r.NETWORKPOLICIES,
            policy(ingress=[{"ports": [{"port": "http", "endPort": 1}, {"port": 9, "endPort": 8}, {"endPort": 1}]}]),
            [
                "spec.ingress[0].ports[0].endPort: Invalid value: 1: may not be specified when `port` is non-numeric",
                "spec.ingress[0].ports[1].endPort: Invalid value: 8: must be greater than or equal to `port`",
                "spec.ingress[0].ports[2].endPort: Invalid value: 1: may not be specified when `port` is not specified",
            ],
        ),
        (
            r.NETWORKPOLICIES,
            policy(egress=[{"to": [{}, {"ipBlock": {}, "podSelector": {}}]}]),
            [
                "spec.egress[0].to[0]: Required value: must specify a peer",
                "spec.egress[0].to[1].ipBlock.cidr: Required value",
                "spec.egress[0].to[1]: Forbidden: may not specify both ipBlock and another peer",
            ],
        ),
        (
            r.NETWORKPOLICIES,
            policy(
                egress=[
                    {
                        "to": [
                            {"ipBlock": {"cidr": "x"}},
                            {"ipBlock": {"cidr": "10.0.0.0/24", "except": ["x", "10.0.0.0/24"]}},
                        ]
                    }
                ]
            ),
            [
                'spec.egress[0].to[0].ipBlock.cidr: Invalid value: "x": must be a valid CIDR value, (e.g. '
                "10.9.8.0/24 or 2001:db8::/64)",
                'spec.egress[0].to[1].ipBlock.except[0]: Invalid value: "x": must be a valid CIDR value, (e.g. '
                "10.9.8.0/24 or 2001:db8::/64)",
                'spec.egress[0].to[1].ipBlock.except[1]: Invalid value: "10.0.0.0/24": must be a strict subset of '
                "`cidr`",
            ],
        ),
        (
            r.NETWORKPOLICIES,
            policy(policyTypes=["Ingress", "x"]),
            [
                'spec.policyTypes[1]: Unsupported value: "x": supported values: "Ingress", "Egress"',
            ],
        ),
        (
            r.NETWORKPOLICIES,
            policy(policyTypes=["Ingress", "Egress", "Ingress"]),
            [
                'spec.policyTypes: Invalid value: ["Ingress","Egress","Ingress"]: may not specify more than two '
                "policyTypes",
            ],
        ),
    ],
)
def test_policies(resource: Resource, obj: Object, errors: list[str]) -> None:
    assert faults(resource, obj) == errors


@pytest.mark.parametrize(
    ("resource", "obj", "texts"),
    [
        (
            r.NETWORKPOLICIES,
            policy(ingress=[{"from": [{"ipBlock": {"cidr": "10.0.0.1/24"}}]}]),
            [
                'spec.ingress[0].from[0].ipBlock.cidr: CIDR value "10.0.0.1/24" is ambiguous in this context '
                '(should be "10.0.0.0/24" or "10.0.0.1/32"?)',
            ],
        ),
    ],
)
def test_policy_warnings(resource: Resource, obj: Object, texts: list[str]) -> None:
    assert warned(resource, obj) == texts


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
                'metadata.name: Invalid value: "10.0.0.01": must be in canonical form ("10.0.0.1")',
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
