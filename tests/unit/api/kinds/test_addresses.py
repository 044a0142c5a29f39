"""Addresses and networks that software reads in different ways: refused, unless they were stored before (KEP-4858)."""

from __future__ import annotations

import pytest

from pybernetes.api import resources as r
from pybernetes.api.kinds.addresses import interface_address
from pybernetes.api.kinds.faults import Faults
from pybernetes.api.kinds.registry import strategy_for
from pybernetes.api.meta import Object, clone
from pybernetes.api.resources import Resource
from tests.unit.api.kinds.build import created, faults, named, pod, stated, status_faults, update_faults, workload

ZEROS, MAPPED = "must not have leading 0s", "must not be an IPv4-mapped IPv6 address"
BITS = "must not have bits set beyond the prefix length"
NETWORK_ZEROS = "must not have leading 0s in IP or prefix length"


def service(**spec: object) -> Object:
    return named(spec={"ports": [{"port": 80}], **spec})


def balanced(**spec: object) -> Object:
    return service(type="LoadBalancer", **spec)


def policy(cidr: str, *excepted: str) -> Object:
    block = {"cidr": cidr, "except": list(excepted)}
    return named(spec={"podSelector": {}, "ingress": [{"from": [{"ipBlock": block}]}]})


def slice_(address: str) -> Object:
    return named(addressType="IPv4", endpoints=[{"addresses": [address]}])


def endpoints(address: str) -> Object:
    return named(subsets=[{"addresses": [{"ip": address}]}])


@pytest.mark.parametrize(
    ("resource", "obj", "errors"),
    [
        (
            r.PODS,
            pod(
                hostAliases=[{"ip": "010.0.0.1", "hostnames": ["a"]}],
                dnsConfig={"nameservers": ["::ffff:1.2.3.4"]},
            ),
            [
                f'spec.dnsConfig.nameservers[0]: Invalid value: "::ffff:1.2.3.4": {MAPPED}',
                f'spec.hostAliases[0].ip: Invalid value: "010.0.0.1": {ZEROS}',
            ],
        ),
        (
            r.SERVICES,
            service(clusterIP="010.96.0.1", clusterIPs=["010.96.0.1"], externalIPs=["1.02.3.4"]),
            [
                f'spec.clusterIPs[0]: Invalid value: "010.96.0.1": {ZEROS}',
                f'spec.externalIPs[0]: Invalid value: "1.02.3.4": {ZEROS}',
            ],
        ),
        (
            r.SERVICES,
            balanced(loadBalancerSourceRanges=["10.0.0.0/8", " 10.0.0.1/8", "10.0.0.0/08"]),
            [
                f'spec.LoadBalancerSourceRanges[1]: Invalid value: "10.0.0.1/8": {BITS}',
                f'spec.LoadBalancerSourceRanges[2]: Invalid value: "10.0.0.0/08": {NETWORK_ZEROS}',
            ],
        ),
        (
            r.NETWORKPOLICIES,
            policy("10.0.0.0/8", "10.1.0.1/16"),
            [f'spec.ingress[0].from[0].ipBlock.except[0]: Invalid value: "10.1.0.1/16": {BITS}'],
        ),
        (
            r.NETWORKPOLICIES,
            policy("::ffff:10.0.0.0/104"),
            [
                'spec.ingress[0].from[0].ipBlock.cidr: Invalid value: "::ffff:10.0.0.0/104": must not have an '
                "IPv4-mapped IPv6 address"
            ],
        ),
        (r.ENDPOINTS, endpoints("010.0.0.1"), [f'subsets[0].addresses[0].ip: Invalid value: "010.0.0.1": {ZEROS}']),
        (r.ENDPOINTSLICES, slice_("010.0.0.1"), [f'endpoints[0].addresses[0]: Invalid value: "010.0.0.1": {ZEROS}']),
        (
            r.NODES,
            named(namespace="", spec={"podCIDR": "10.0.0.1/24", "podCIDRs": ["10.0.0.1/24"]}),
            [f'spec.podCIDRs[0]: Invalid value: "10.0.0.1/24": {BITS}'],
        ),
        (
            r.IPADDRESSES,
            named("2001:DB8::1", namespace="", spec={"parentRef": {"resource": "services", "name": "a"}}),
            ['metadata.name: Invalid value: "2001:DB8::1": must be in canonical form ("2001:db8::1")'],
        ),
    ],
)
def test_spellings(resource: Resource, obj: Object, errors: list[str]) -> None:
    assert faults(resource, obj) == errors


BALANCER: Object = {"loadBalancer": {"ingress": [{"ip": "01.2.3.4", "ipMode": "VIP"}]}}


@pytest.mark.parametrize(
    ("resource", "obj", "status", "errors"),
    [
        (
            r.SERVICES,
            balanced(),
            BALANCER,
            [f'status.loadBalancer.ingress[0].ip: Invalid value: "01.2.3.4": {ZEROS}'],
        ),
        (
            r.INGRESSES,
            named(spec={"defaultBackend": {"service": {"name": "a", "port": {"number": 80}}}}),
            BALANCER,
            [f'status.loadBalancer.ingress[0].ip: Invalid value: "01.2.3.4": {ZEROS}'],
        ),
        (
            r.PODS,
            pod(),
            {
                "qosClass": "BestEffort",
                "podIPs": [{"ip": "::ffff:1.2.3.4"}],
                "hostIP": "01.2.3.4",
                "hostIPs": [{"ip": "01.2.3.4"}],
            },
            [
                f'status.podIPs[0]: Invalid value: "::ffff:1.2.3.4": {MAPPED}',
                f'status.hostIPs[0]: Invalid value: "01.2.3.4": {ZEROS}',
            ],
        ),
    ],
)
def test_statuses(resource: Resource, obj: Object, status: Object, errors: list[str]) -> None:
    assert stated(resource, obj, status) == errors
    stored = created(resource, obj) | {"status": status}
    assert status_faults(resource, clone(stored), stored) == []


@pytest.mark.parametrize(
    ("resource", "obj"),
    [
        (r.SERVICES, service(clusterIP="010.96.0.1", clusterIPs=["010.96.0.1"], externalIPs=["1.02.3.4"])),
        (r.SERVICES, balanced(loadBalancerSourceRanges=["10.0.0.1/8"])),
        (r.NETWORKPOLICIES, policy("10.0.0.1/8", "10.1.0.1/16")),
        (r.ENDPOINTS, endpoints("010.0.0.1")),
        (r.ENDPOINTSLICES, slice_("010.0.0.1")),
    ],
)
def test_what_was_stored_may_stay(resource: Resource, obj: Object) -> None:
    stored = created(resource, obj)
    new = clone(stored)
    new["metadata"]["labels"] = {"a": "b"}
    assert update_faults(resource, new, stored) == []
    assert strategy_for(resource).validate_create(clone(stored)) != []


def test_an_unchanged_template_is_not_judged_again() -> None:
    template = {"metadata": {"labels": {"app": "web"}}, "spec": pod(hostAliases=[{"ip": "01.2.3.4"}])["spec"]}
    stored = created(r.DEPLOYMENTS, workload("Deployment", template=template))
    assert update_faults(r.DEPLOYMENTS, clone(stored), stored) == []


@pytest.mark.parametrize(
    ("value", "error"),
    [
        ("10.9.8.7/24", ""),
        ("2001:db8::1/64", ""),
        ("10.9.8.7", "must be a valid address in CIDR form, (e.g. 10.9.8.7/24 or 2001:db8::1/64)"),
        ("010.9.8.7/24", 'must be in canonical form ("10.9.8.7/24")'),
        ("2001:0db8::1/064", 'must be in canonical form ("2001:db8::1/64")'),
        ("::ffff:192.168.0.1/120", 'must be in canonical form ("192.168.0.1/24")'),
    ],
)
def test_addresses_of_interfaces(value: str, error: str) -> None:
    found = Faults()
    interface_address(found, "ip", value)
    assert [e.detail for e in found] == ([error] if error else [])
