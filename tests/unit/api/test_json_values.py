"""true, 1 and 1.0 are three values of JSON, wherever a field may hold any."""

from __future__ import annotations

from typing import Any

import pytest

from pybernetes.api import resources as r
from pybernetes.api.errors import BadRequest
from pybernetes.api.kinds.equality import json_equal
from pybernetes.api.kinds.registry import strategy_for
from pybernetes.api.meta import Object, clone
from pybernetes.api.patch.compare import compare, holds_any_json
from pybernetes.api.schema import text
from pybernetes.api.schema.decode import decode
from pybernetes.api.schema.nodes import type_of
from pybernetes.api.user import User
from pybernetes.apiserver.admission.dynamic.views import Views
from pybernetes.apiserver.interfaces import AdmissionRequest

KINDS_OF_ONE = (True, 1, 1.0)
PAIRS = [(a, b) for a in KINDS_OF_ONE for b in KINDS_OF_ONE if type(a) is not type(b)]


def revision(value: Any) -> Object:
    data = {"same": [1, True], "list": [0, {"x": value}]}
    return {"kind": "ControllerRevision", "apiVersion": "apps/v1", "metadata": {}, "revision": 1, "data": data}


def device_class(value: Any) -> Object:
    config = [{"opaque": {"driver": "d.example", "parameters": {"x": value}}}]
    return {"kind": "DeviceClass", "apiVersion": "resource.k8s.io/v1", "metadata": {}, "spec": {"config": config}}


@pytest.mark.parametrize(("a", "b"), PAIRS)
def test_a_change_of_type_is_a_change(a: Any, b: Any) -> None:
    found = compare(revision(a), revision(b), type_of(r.CONTROLLERREVISIONS))
    assert found.modified == [("f:data", "f:list")]
    old, new = device_class(a), device_class(b)
    assert compare(old, new, type_of(r.DEVICECLASSES)).modified == [("f:spec", "f:config")]
    assert strategy_for(r.DEVICECLASSES).raises_generation(new, old)
    faults = strategy_for(r.CONTROLLERREVISIONS).validate_update(revision(a), revision(b))
    assert [f.field for f in faults] == ["data"]


@pytest.mark.parametrize("value", KINDS_OF_ONE)
def test_equal_values_stay_equal(value: Any) -> None:
    assert not compare(revision(value), clone(revision(value)), type_of(r.CONTROLLERREVISIONS))
    assert not strategy_for(r.DEVICECLASSES).raises_generation(device_class(value), device_class(value))
    assert json_equal({"a": [value], "b": []}, {"a": [value], "c": None})
    assert not json_equal({"a": [value]}, {"a": [value, value]}) and not json_equal({"a": value}, {})


@pytest.mark.parametrize(("a", "b"), PAIRS)
def test_a_webhook_that_changes_a_type_changes_the_object(a: Any, b: Any) -> None:
    resource = r.CONTROLLERREVISIONS
    request = AdmissionRequest(
        "UPDATE", resource, "default", "a", "", User("u"), revision(a), revision(a), dry_run=False, warnings=[]
    )
    views = Views(request)
    assert not views.replace(views.of(resource), revision(a))
    assert views.replace(views.of(resource), revision(b))
    assert request.object is not None and type(request.object["data"]["list"][1]["x"]) is type(b)


@pytest.mark.parametrize("data", [b"1e400", b"[1e400]", b'{"x":[null,{"y":-1e999}]}'])
def test_numbers_that_nobody_can_keep_are_refused(data: bytes) -> None:
    body = b'{"apiVersion":"apps/v1","kind":"ControllerRevision","metadata":{"name":"a"},"revision":1,"data":%b}'
    why = r"json: cannot unmarshal number into Go struct field ControllerRevision\.data of type float64"
    with pytest.raises(BadRequest, match=why):
        decode(text.parse_json(body % data).value, r.CONTROLLERREVISIONS, "Ignore")
    kept, _ = decode(text.parse_json(body % b"[null,1e308]").value, r.CONTROLLERREVISIONS, "Ignore")
    assert kept["data"] == [None, 1e308]


def test_which_types_hold_any_json() -> None:
    assert holds_any_json(type_of(r.RESOURCECLAIMS)) and not holds_any_json(type_of(r.PODS))
