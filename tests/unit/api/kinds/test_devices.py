"""Device classes, claims and slices: the exact faults of what is wrong with them."""

from __future__ import annotations

from typing import Any

import pytest

from pybernetes.api import resources as r
from pybernetes.api.meta import Object, clone
from tests.unit.api.kinds.build import created, faults, named, status_faults, update_faults

EXACTLY: Object = {"deviceClassName": "gpu"}
REFERENCE = "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'"


def claim(*requests: Object, **devices: Any) -> Object:
    return named(spec={"devices": {"requests": list(requests) or [{"name": "a", "exactly": EXACTLY}], **devices}})


def asking(**fields: Any) -> Object:
    return claim({"name": "a", "exactly": {**EXACTLY, **fields}})


REQUEST = "spec.devices.requests[0]"
OPAQUE = "spec.devices.config[0].opaque"


@pytest.mark.parametrize(
    ("obj", "errors"),
    [
        (claim(), []),
        (claim({"name": "a"}), [
            f"{REQUEST}: Required value: exactly one of `exactly` or `firstAvailable` is required"
        ]),
        (claim({"name": "a", "exactly": EXACTLY, "firstAvailable": [{"name": "b", **EXACTLY}]}), [
            f'{REQUEST}: Invalid value: "null": '
            "exactly one of `exactly` or `firstAvailable` is required, but multiple fields are set"
        ]),
        (claim({"name": "a", "exactly": EXACTLY}, {"name": "a", "exactly": EXACTLY}), [
            'spec.devices.requests[1]: Duplicate value: "a"'
        ]),
        (asking(deviceClassName=""), [f"{REQUEST}.exactly.deviceClassName: Required value"]),
        (asking(allocationMode="All", count=2), [
            f"{REQUEST}.exactly.count: Invalid value: 2: must not be specified when allocationMode is 'All'"
        ]),
        (asking(count=-1), [f"{REQUEST}.exactly.count: Invalid value: -1: must be greater than zero"]),
        (asking(allocationMode="x"), [
            f'{REQUEST}.exactly.allocationMode: Unsupported value: "x": supported values: "All", "ExactCount"'
        ]),
        (asking(selectors=[{}]), [f"{REQUEST}.exactly.selectors[0].cel: Required value"]),
        (asking(selectors=[{"cel": {"expression": "x" * 10241}}]), [
            f"{REQUEST}.exactly.selectors[0].cel.expression: Too long: may not be more than 10240 bytes"
        ]),
        (asking(tolerations=[{"operator": "Exists", "key": "a", "value": "b", "effect": "x"}]), [
            f'{REQUEST}.exactly.tolerations[0].value: Invalid value: "b": must be empty for operator `Exists`',
            f'{REQUEST}.exactly.tolerations[0].effect: Unsupported value: "x": '
            'supported values: "NoExecute", "NoSchedule", "None"',
        ]),
        (claim(constraints=[{"requests": ["b"], "matchAttribute": "model"}]), [
            f'spec.devices.constraints[0].requests[0]: Invalid value: "b": {REFERENCE}',
            'spec.devices.constraints[0].matchAttribute: Invalid value: "model": must include a domain',
        ]),
        (claim(constraints=[{"requests": ["a"], "matchAttribute": "dra.example.com/model"}]), []),
        (claim(config=[{}]), [f"{OPAQUE}: Required value"]),
        (claim(config=[{"opaque": {"parameters": []}}]), [
            f"{OPAQUE}.driver: Required value",
            f'{OPAQUE}.driver: Invalid value: "": a lowercase RFC 1123 subdomain must consist of lower case '
            "alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. "
            "'example.com', regex used for validation is "
            "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
            f'{OPAQUE}.parameters: Invalid value: "<value omitted>": must be a valid JSON object',
        ]),
    ],
)  # fmt: skip
def test_claims(obj: Object, errors: list[str]) -> None:
    assert faults(r.RESOURCECLAIMS, obj) == errors
    template = named(spec={"spec": obj["spec"]})
    assert faults(r.RESOURCECLAIMTEMPLATES, template) == [
        e.replace("spec.devices", "spec.spec.devices") for e in errors
    ]


def test_a_claim_gets_one_device_unless_it_says_otherwise() -> None:
    spec = created(r.RESOURCECLAIMS, asking(tolerations=[{"key": "a"}]))["spec"]
    (request,) = spec["devices"]["requests"]
    assert request["exactly"] == {
        **EXACTLY, "allocationMode": "ExactCount", "count": 1, "tolerations": [{"key": "a", "operator": "Equal"}]
    }  # fmt: skip


def test_a_claims_spec_is_fixed() -> None:
    old = created(r.RESOURCECLAIMS, claim())
    new = asking(count=2)
    (error,) = update_faults(r.RESOURCECLAIMS, new, old)
    assert error.startswith("spec: Invalid value: ")
    assert error.endswith(": field is immutable")


RESULT: Object = {"request": "a", "driver": "dra.example.com", "pool": "node", "device": "d0"}
CONSUMER: Object = {"resource": "pods", "name": "p", "uid": "1"}


@pytest.mark.parametrize(
    ("status", "errors"),
    [
        ({"allocation": {"devices": {"results": [RESULT]}}, "reservedFor": [CONSUMER]}, []),
        ({"reservedFor": [CONSUMER]}, [
            "status.reservedFor: Forbidden: may not be specified when `allocated` is not set"
        ]),
        ({"allocation": {}, "reservedFor": [CONSUMER, CONSUMER, {"uid": "2"}]}, [
            'status.reservedFor[1]: Duplicate value: "1"',
            "status.reservedFor[2].resource: Required value",
            "status.reservedFor[2].name: Required value",
        ]),
        ({"allocation": {"devices": {"results": [{**RESULT, "request": "b"}]}}}, [
            f'status.allocation.devices.results[0].request: Invalid value: "b": {REFERENCE}'
        ]),
        ({"devices": [{"driver": "dra.example.com", "pool": "node", "device": "d0"}]}, [
            'status.devices[0]: Invalid value: "dra.example.com/node/d0": must be an allocated device in the claim'
        ]),
    ],
)  # fmt: skip
def test_the_status_of_a_claim(status: Object, errors: list[str]) -> None:
    old = created(r.RESOURCECLAIMS, claim())
    assert status_faults(r.RESOURCECLAIMS, {**clone(old), "status": status}, old) == errors


def test_an_allocation_stays() -> None:
    old = created(r.RESOURCECLAIMS, claim())
    old["status"] = {"allocation": {"devices": {"results": [RESULT]}}, "reservedFor": [CONSUMER]}
    new = clone(old)
    new["status"]["allocation"]["devices"]["results"][0]["device"] = "d1"
    (error,) = status_faults(r.RESOURCECLAIMS, new, old)
    assert error.startswith("status.allocation: Invalid value: ")
    old["metadata"]["deletionTimestamp"] = "2030-01-01T00:00:00Z"
    new = clone(old)
    new["status"]["reservedFor"].append({**CONSUMER, "uid": "2"})
    assert status_faults(r.RESOURCECLAIMS, new, old) == [
        "status.reservedFor: Forbidden: "
        "new entries may not be added while `deallocationRequested` or `deletionTimestamp` are set"
    ]


def slice_(**spec: Any) -> Object:
    usual: Object = {
        "driver": "dra.example.com",
        "pool": {"name": "node", "resourceSliceCount": 1, "generation": 1},
        "nodeName": "node",
    }
    return named(namespace="", spec={**usual, **spec})


def with_device(**device: Any) -> Object:
    return slice_(devices=[{"name": "d0", **device}])


WAYS = "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required"


@pytest.mark.parametrize(
    ("obj", "errors"),
    [
        (slice_(), []),
        (slice_(nodeName=None), [f"spec: Required value: {WAYS}"]),
        (slice_(allNodes=True), [
            f'spec: Invalid value: "{{`nodeName`, `allNodes`}}": {WAYS}, but multiple fields are set'
        ]),
        (slice_(allNodes=False), ["spec.allNodes: Invalid value: false: must be either unset or set to true"]),
        (slice_(pool={"generation": -1}), [
            "spec.pool.name: Required value",
            "spec.pool.resourceSliceCount: Invalid value: 0: must be greater than zero",
            "spec.pool.generation: Invalid value: -1: must be greater than or equal to zero",
        ]),
        (slice_(devices=[{"name": "a"}, {"name": "a"}]), ['spec.devices[1]: Duplicate value: "a"']),
        (slice_(devices=[{"name": f"d{i}"} for i in range(129)]), [
            "spec.devices: Too many: 129: must have at most 128 items"
        ]),
        (with_device(attributes={"model": {}, "a b": {"int": 1}, "both": {"int": 1, "bool": True}}), [
            "spec.devices[0].attributes[model]: Required value: exactly one value must be specified",
            'spec.devices[0].attributes[a b]: Invalid value: "a b": a valid C identifier must start with alphabetic '
            "character or '_', followed by a string of alphanumeric characters or '_' (e.g. 'my_name',  or 'MY_NAME', "
            " or 'MyName', regex used for validation is '[A-Za-z_][A-Za-z0-9_]*')",
            'spec.devices[0].attributes[both]: Invalid value: {"int":1,"bool":true}: '
            "exactly one value must be specified",
        ]),
        (with_device(attributes={"v": {"version": "1"}, "s": {"string": "x" * 65}}), [
            'spec.devices[0].attributes[v].version: Invalid value: "1": '
            "must be a string compatible with semver.org spec 2.0.0",
            "spec.devices[0].attributes[s].string: Too long: may not be more than 64 bytes",
        ]),
        (with_device(taints=[{"key": "a"}]), ["spec.devices[0].taints[0].effect: Required value"]),
        (with_device(nodeName="node"), [
            "spec.devices[0].nodeName: Forbidden: "
            "`nodeName` field is only allowed when `perDeviceNodeSelection` is set to true"
        ]),
    ],
)  # fmt: skip
def test_slices(obj: Object, errors: list[str]) -> None:
    assert faults(r.RESOURCESLICES, obj) == errors


def test_a_slice_stays_with_its_node() -> None:
    old = created(r.RESOURCESLICES, slice_())
    assert update_faults(r.RESOURCESLICES, slice_(nodeName="other"), old) == [
        'spec.nodeName: Invalid value: "other": field is immutable'
    ]


def test_classes() -> None:
    spec = {"selectors": [{}], "config": [{}], "extendedResourceName": "cpu"}
    assert faults(r.DEVICECLASSES, named(namespace="", spec=spec)) == [
        "spec.selectors[0].cel: Required value",
        "spec.config[0].opaque: Required value",
        'spec.extendedResourceName: Invalid value: "cpu": must be a valid extended resource name',
    ]
