"""Bodies against their types: what is refused and in which words, what vanishes, what becomes canonical."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pybernetes.api import resources
from pybernetes.api.errors import BadRequest, Invalid
from pybernetes.api.resources import DEPLOYMENTS, LEASES, PODS, SECRETS
from pybernetes.api.schema.decode import decode, decode_patched


def deployment(**spec: Any) -> dict[str, Any]:
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": spec}


def containers(**container: Any) -> dict[str, Any]:
    return deployment(template={"spec": {"containers": [{"name": "a", **container}]}})


RFC3339 = "2006-01-02T15:04:05Z07:00"
PREFIX = 'Deployment in version "v1" cannot be handled as a Deployment: '
UNMARSHAL = PREFIX + "json: cannot unmarshal "


@pytest.mark.parametrize(
    ("obj", "message"),
    [
        (deployment(replicas="3"), "string into Go struct field DeploymentSpec.spec.replicas of type int32"),
        (deployment(replicas=1.5), "number 1.5 into Go struct field DeploymentSpec.spec.replicas of type int32"),
        (deployment(replicas=True), "bool into Go struct field DeploymentSpec.spec.replicas of type int32"),
        (
            deployment(replicas=2**31),
            "number 2147483648 into Go struct field DeploymentSpec.spec.replicas of type int32",
        ),
        (deployment(paused=1), "number into Go struct field DeploymentSpec.spec.paused of type bool"),
        (deployment(paused="yes"), "string into Go struct field DeploymentSpec.spec.paused of type bool"),
        (deployment(template=[]), "array into Go struct field DeploymentSpec.spec.template of type v1.PodTemplateSpec"),
        (
            containers(env=[{"name": "x", "value": 1}]),
            "number into Go struct field EnvVar.spec.template.spec.containers.env.value of type string",
        ),
        (
            deployment(template={"spec": {"containers": {}}}),
            "object into Go struct field PodSpec.spec.template.spec.containers of type []v1.Container",
        ),
        (
            deployment(template={"spec": {"containers": ["a"]}}),
            "string into Go struct field PodSpec.spec.template.spec.containers of type v1.Container",
        ),
        (
            deployment(template={"metadata": {"labels": {"a": 1}}}),
            "number into Go struct field ObjectMeta.spec.template.metadata.labels of type string",
        ),
        (containers(livenessProbe={"httpGet": {"port": True}}), "bool into Go value of type int32"),
        ([], "array into Go value of type v1.Deployment"),
    ],
)
def test_wrong_types(obj: Any, message: str) -> None:
    with pytest.raises(BadRequest) as e:
        decode(obj, DEPLOYMENTS)
    assert e.value.message == UNMARSHAL + message


def test_unknown_fields() -> None:
    obj = deployment(foo=1, template={"spec": {"containers": [{"name": "a"}, {"name": "b", "imagee": "x"}]}})
    obj["metadata"]["bar"] = {"deep": 1}
    with pytest.raises(BadRequest) as e:
        decode(obj, DEPLOYMENTS, "Strict", ['duplicate field "spec.replicas"'])
    assert e.value.message == PREFIX + (
        'strict decoding error: duplicate field "spec.replicas", unknown field "metadata.bar", '
        'unknown field "spec.foo", unknown field "spec.template.spec.containers[1].imagee"'
    )
    decoded, warnings = decode(obj, DEPLOYMENTS, "Warn")
    assert warnings[1] == 'unknown field "spec.foo"' and len(warnings) == 3
    ignored, none = decode(obj, DEPLOYMENTS, "Ignore")
    assert none == [] and ignored == decoded
    assert decoded["spec"] == {"template": {"spec": {"containers": [{"name": "a"}, {"name": "b"}]}}}
    assert obj["spec"]["foo"] == 1, "the input stays as it was"


def test_duplicates_alone_are_refused_in_strict_mode() -> None:
    with pytest.raises(BadRequest, match=r'strict decoding error: duplicate field "spec\.replicas"$'):
        decode(deployment(replicas=1), DEPLOYMENTS, "Strict", ['duplicate field "spec.replicas"'])


def test_field_names_are_case_sensitive() -> None:
    with pytest.raises(BadRequest, match=r'unknown field "spec\.Replicas"'):
        decode(deployment(Replicas=1), DEPLOYMENTS)


def test_nulls_and_empty_collections_vanish() -> None:
    obj = containers(env=[], command=None, resources={}, securityContext={})
    obj["metadata"] |= {"labels": {}, "creationTimestamp": None, "annotations": {"a": None}}
    obj["spec"]["template"]["spec"]["volumes"] = [{"name": "v", "emptyDir": {}}]
    decoded, _ = decode(obj, DEPLOYMENTS)
    assert decoded["metadata"] == {"name": "web", "annotations": {"a": ""}}
    spec = decoded["spec"]["template"]["spec"]
    assert spec["containers"] == [{"name": "a", "resources": {}, "securityContext": {}}]
    assert spec["volumes"] == [{"name": "v", "emptyDir": {}}], "an empty struct behind a pointer means something"
    role = {"kind": "Role", "rules": []}
    assert decode(role, resources.ROLES)[0] == role


def test_quantities() -> None:
    decoded, _ = decode(containers(resources={"limits": {"cpu": "1000m", "memory": 1024, "x": 0.5}}), DEPLOYMENTS)
    limits = decoded["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]
    assert limits == {"cpu": "1", "memory": "1024", "x": "500m"}
    for bad in ("lots", True, {}):
        with pytest.raises(BadRequest, match="quantities must match the regular expression"):
            decode(containers(resources={"limits": {"cpu": bad}}), DEPLOYMENTS)


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("2026-01-02T03:04:05Z", "2026-01-02T03:04:05Z"),
        ("2026-01-02T03:04:05.999Z", "2026-01-02T03:04:05Z"),
        ("2026-01-02T03:04:05+02:00", "2026-01-02T01:04:05Z"),
    ],
)
def test_times(text: str, result: str) -> None:
    assert decode({"metadata": {"creationTimestamp": text}}, PODS)[0]["metadata"]["creationTimestamp"] == result


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("yesterday", 'parsing time "yesterday" as "2006-01-02T15:04:05Z07:00": cannot parse "yesterday" as "2006"'),
        ("2026-01-02", 'parsing time "2026-01-02" as "2006-01-02T15:04:05Z07:00": cannot parse "" as "T"'),
        ("2026-01-02T03:04:05", f'parsing time "2026-01-02T03:04:05" as "{RFC3339}": cannot parse "" as "Z07:00"'),
        ("2026-13-02T03:04:05Z", 'parsing time "2026-13-02T03:04:05Z": month out of range'),
        ("2026-02-30T03:04:05Z", 'parsing time "2026-02-30T03:04:05Z": day out of range'),
        ("2026-02-03T25:04:05Z", 'parsing time "2026-02-03T25:04:05Z": hour out of range'),
        (7, "json: cannot unmarshal number into Go value of type string"),
    ],
)  # fmt: skip
def test_bad_times(text: Any, message: str) -> None:
    with pytest.raises(BadRequest) as e:
        decode({"metadata": {"creationTimestamp": text}}, PODS)
    assert e.value.message == f'Pod in version "v1" cannot be handled as a Pod: {message}'


def test_micro_times() -> None:
    obj = {"spec": {"renewTime": "2026-01-02T03:04:05.000001+01:00"}}
    assert decode(obj, LEASES)[0]["spec"]["renewTime"] == "2026-01-02T02:04:05.000001Z"
    with pytest.raises(BadRequest, match=r'cannot parse "Z" as "\.000000"'):
        decode({"spec": {"renewTime": "2026-01-02T03:04:05Z"}}, LEASES)


def test_bytes() -> None:
    assert decode({"data": {"a": "YWJj\nZA=="}}, SECRETS)[0] == {"data": {"a": "YWJjZA=="}}
    for text, at in (("a", 0), ("YWJjZA", 4), ("YW$j", 2)):
        with pytest.raises(BadRequest, match=f"illegal base64 data at input byte {at}$"):
            decode({"data": {"a": text}}, SECRETS)


def test_json_schemas_recurse_through_unions() -> None:
    def crd(schema: Any) -> dict[str, Any]:
        return {"spec": {"versions": [{"name": "v1", "schema": {"openAPIV3Schema": schema}}]}}

    good = {
        "type": "object",
        "additionalProperties": True,
        "properties": {"a": {"type": "array", "items": {"type": "string"}}},
    }
    decoded, _ = decode(crd(good), resources.CUSTOMRESOURCEDEFINITIONS)
    assert decoded["spec"]["versions"][0]["schema"]["openAPIV3Schema"] == good
    bad = {"type": "object", "properties": {"a": {"items": {"tipe": "string"}}}}
    with pytest.raises(
        BadRequest, match=r'unknown field "spec.versions\[0\].schema.openAPIV3Schema.properties.a.items.tipe"'
    ):
        decode(crd(bad), resources.CUSTOMRESOURCEDEFINITIONS)


def test_a_patched_object_is_invalid_not_a_bad_request() -> None:
    with pytest.raises(Invalid) as e:
        decode_patched({"spec": {"replicas": "x"}}, DEPLOYMENTS)
    assert e.value.message.startswith(' "" is invalid: patch: Invalid value: "{\\"spec\\":')
    assert e.value.details and e.value.details["causes"][0]["field"] == "patch"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.text(max_size=5) | st.floats(allow_nan=False),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["spec", "metadata", "labels", "containers", "name", "env", "zz"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(["spec", "metadata", "status", "kind", "zz"]), JSON))
def test_decoding_ends_in_a_stable_object_or_a_bad_request(obj: dict[str, Any]) -> None:
    try:
        decoded, _ = decode(obj, PODS, "Warn")
    except BadRequest:
        return
    again, warnings = decode(decoded, PODS, "Strict")
    assert again == decoded
    assert warnings == []
