"""Ingresses, policies and their like: the exact faults and warnings."""

from __future__ import annotations

from typing import Any

import pytest

from pybernetes.api import resources as r
from pybernetes.api.meta import Object
from pybernetes.api.resources import Resource
from tests.unit.api.kinds.build import faults, named, stated, warned


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
                'spec.rules[0].http.paths[0].backend.service.name: Invalid value: "A": a lowercase RFC 1123 label must '
                "consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric "
                "character (e.g. 'my-name',  or '123-abc', regex used for validation is "
                "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')",
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
