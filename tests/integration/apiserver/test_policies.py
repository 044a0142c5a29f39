"""ValidatingAdmissionPolicy and MutatingAdmissionPolicy over HTTP."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from pybernetes.api.meta import Object
from tests.integration.apiserver.conftest import Answer, Server
from tests.integration.apiserver.test_crud import MAPS

API = "/apis/admissionregistration.k8s.io/v1"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
MAP_RULE = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["configmaps"]}
DEPLOYMENT_RULE = {
    "apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["deployments"],
}  # fmt: skip


async def create(server: Server, plural: str, name: str, spec: Object) -> Answer:
    made = await server.post(f"{API}/{plural}", {"metadata": {"name": name}, "spec": spec})
    assert made.status == 201, made.json
    assert (await server.get(f"{API}/{plural}/{name}")).status == 200
    return made


async def validate(
    server: Server, *validations: Object, name: str = "p", binding: Object | None = None, **spec: Any
) -> None:
    constraints = {"resourceRules": [spec.pop("rule", MAP_RULE)], **spec.pop("constraints", {})}
    await create(
        server, "validatingadmissionpolicies", name,
        {"matchConstraints": constraints, "validations": list(validations), **spec},
    )  # fmt: skip
    bound = {"policyName": name, "validationActions": ["Deny"], **(binding or {})}
    await create(server, "validatingadmissionpolicybindings", f"{name}-b", bound)


async def mutate(
    server: Server, *mutations: Object, name: str = "p", binding: Object | None = None, **spec: Any
) -> None:
    constraints = {"resourceRules": [spec.pop("rule", MAP_RULE)]}
    policy = {"matchConstraints": constraints, "mutations": list(mutations), "reinvocationPolicy": "Never", **spec}
    await create(server, "mutatingadmissionpolicies", name, policy)
    await create(server, "mutatingadmissionpolicybindings", f"{name}-b", {"policyName": name, **(binding or {})})


def config_map(name: str, **data: str) -> Object:
    return {"metadata": {"name": name}, "data": data}


def deployment(name: str = "d", replicas: int = 1, **spec: Any) -> Object:
    template = {
        "metadata": {"labels": {"a": "b"}},
        "spec": {"containers": [{"name": "c", "image": "i", "env": [{"name": "A", "value": "1"}]}]},
    }
    return {
        "metadata": {"name": name},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"a": "b"}}, "template": template, **spec},
    }


DENIED = "ValidatingAdmissionPolicy 'p' with binding 'p-b' denied request: "


async def test_a_denial_and_its_words(server: Server) -> None:
    await validate(
        server,
        {
            "expression": "object.spec.replicas > 1",
            "messageExpression": "'wants replicas > 1, got ' + string(object.spec.replicas)",
        },
        {"expression": "object.spec.replicas < 9", "message": "too many", "reason": "Forbidden"},
        {"expression": "object.spec.replicas != 5"},
        rule=DEPLOYMENT_RULE,
    )  # fmt: skip
    refused = await server.post(DEPLOYMENTS, deployment())
    text = DENIED + "wants replicas > 1, got 1"
    assert (refused.status, refused.json["reason"]) == (422, "Invalid")
    assert refused.json["message"] == f'deployments.apps "d" is forbidden: {text}'
    assert refused.json["details"] == {
        "name": "d", "group": "apps", "kind": "deployments", "causes": [{"message": text}],
    }  # fmt: skip
    refused = await server.post(DEPLOYMENTS, deployment(replicas=9))
    assert (refused.status, refused.json["reason"]) == (403, "Forbidden")
    assert refused.json["message"].endswith(DENIED + "too many")
    refused = await server.post(DEPLOYMENTS, deployment(replicas=5))
    assert refused.json["message"].endswith(DENIED + "failed expression: object.spec.replicas != 5")
    assert (await server.post(DEPLOYMENTS, deployment(replicas=2))).status == 201
    # Scale is a subresource, which no rule names.
    assert (await server.patch(f"{DEPLOYMENTS}/d/scale", {"spec": {"replicas": 1}}, kind="merge")).status == 200


async def test_variables_namespace_and_request(server: Server) -> None:
    await validate(
        server,
        {"expression": "variables.keys.all(k, k in variables.allowed)"},
        {"expression": "namespaceObject.metadata.name == 'default' && request.operation in ['CREATE', 'UPDATE']"},
        {"expression": "oldObject == null || quantity(object.data.a).isLessThan(quantity('1Gi'))"},
        {"expression": "!authorizer.serviceAccount('default', 'nobody').path('/healthz').check('delete').allowed()"},
        variables=[
            {"name": "keys", "expression": "has(object.data) ? object.data.map(k, k) : []"},
            {"name": "allowed", "expression": "['a', 'b']"},
        ],
    )
    assert (await server.post(MAPS, config_map("m", a="1"))).status == 201
    refused = await server.post(MAPS, config_map("n", c="1"))
    assert refused.json["message"].endswith(DENIED + "failed expression: variables.keys.all(k, k in variables.allowed)")
    assert (await server.put(f"{MAPS}/m", config_map("m", a="1Ki"))).status == 200
    assert (await server.put(f"{MAPS}/m", config_map("m", a="2Gi"))).status == 422


async def test_errors_and_failure_policy(server: Server) -> None:
    await validate(server, {"expression": "object.data.nope == 'x'"})
    refused = await server.post(MAPS, config_map("m", a="1"))
    assert refused.status == 422 and refused.json["message"].endswith(
        DENIED + "expression 'object.data.nope == 'x'' resulted in error: no such key: nope"
    )
    await server.delete(f"{API}/validatingadmissionpolicies/p")
    await server.delete(f"{API}/validatingadmissionpolicybindings/p-b")
    await validate(server, {"expression": "object.data.nope == 'x'"}, failurePolicy="Ignore")
    assert (await server.post(MAPS, config_map("m", a="1"))).status == 201


async def test_conditions_and_selectors(server: Server) -> None:
    never = {"expression": "false"}
    await validate(
        server, never, name="condition",
        matchConditions=[{"name": "c", "expression": "object.metadata.name.startsWith('c')"}],
    )  # fmt: skip
    await validate(server, never, name="label", constraints={"objectSelector": {"matchLabels": {"x": "y"}}})
    await validate(
        server, never, name="name",
        rule={**MAP_RULE, "resourceNames": ["named"]},
    )  # fmt: skip
    await validate(
        server, never, name="binding",
        binding={"matchResources": {"resourceRules": [{**MAP_RULE, "operations": ["UPDATE"]}]}},
    )  # fmt: skip
    await validate(
        server, never, name="excluded", constraints={"excludeResourceRules": [{**MAP_RULE, "operations": ["*"]}]},
    )  # fmt: skip
    assert (await server.post(MAPS, config_map("m"))).status == 201
    for body, policy in (
        (config_map("c"), "condition"), (config_map("named"), "name"),
        ({"metadata": {"name": "l", "labels": {"x": "y"}}}, "label"),
    ):  # fmt: skip
        refused = await server.post(MAPS, body)
        assert f"ValidatingAdmissionPolicy '{policy}'" in refused.json["message"]
    refused = await server.put(f"{MAPS}/m", config_map("m", a="b"))
    assert "ValidatingAdmissionPolicy 'binding'" in refused.json["message"]
    # Nothing can stand in the way of taking a policy away.
    assert (await server.delete(f"{API}/validatingadmissionpolicies/binding")).status == 200


async def test_warnings(server: Server) -> None:
    await validate(server, {"expression": "false", "message": "no"}, binding={"validationActions": ["Warn", "Audit"]})
    made = await server.post(MAPS, config_map("m"))
    assert made.status == 201 and made.headers["Warning"] == (
        "299 - \"Validation failed for ValidatingAdmissionPolicy 'p' with binding 'p-b': no\""
    )


async def test_parameters(server: Server) -> None:
    for name, maximum in (("one", "1"), ("two", "2")):
        labelled: Object = config_map(name, max=maximum)
        labelled["metadata"]["labels"] = {"limits": "yes"}
        await server.post(MAPS, labelled)
    await validate(
        server,
        {
            "expression": "params == null || object.spec.replicas <= int(params.data.max)",
            "messageExpression": "'max ' + params.data.max",
        },
        rule=DEPLOYMENT_RULE, paramKind={"apiVersion": "v1", "kind": "ConfigMap"},
        binding={"paramRef": {"name": "two", "parameterNotFoundAction": "Deny"}},
    )  # fmt: skip
    assert (await server.post(DEPLOYMENTS, deployment(replicas=2))).status == 201
    refused = await server.post(DEPLOYMENTS, deployment("e", replicas=3))
    assert refused.json["message"].endswith(DENIED + "max 2")
    refs: list[tuple[Object, str | None]] = [
        ({"selector": {"matchLabels": {"limits": "yes"}}, "parameterNotFoundAction": "Deny"}, DENIED + "max 1"),
        ({"name": "three", "parameterNotFoundAction": "Allow"}, None),
        (
            {"name": "three", "parameterNotFoundAction": "Deny"},
            DENIED
            + "failed to configure binding: no params found for policy binding with `Deny` parameterNotFoundAction",
        ),
    ]
    for number, (ref, text) in enumerate(refs):
        path = f"{API}/validatingadmissionpolicybindings/p-b"
        binding = (await server.get(path)).json
        binding["spec"]["paramRef"] = ref
        assert (await server.put(path, binding)).status == 200
        await server.get(path)
        answer = await server.post(DEPLOYMENTS, deployment(f"n{number}", replicas=2), dryRun="All")
        if text is None:
            assert answer.status == 201
        else:
            assert answer.json["message"].endswith(text)


async def test_an_expression_that_does_not_compile(server: Server) -> None:
    policy = {
        "metadata": {"name": "p"},
        "spec": {
            "matchConstraints": {"resourceRules": [MAP_RULE]},
            "validations": [{"expression": "object.x +"}, {"expression": "'text'"}, {"expression": "nope == 1"}],
        },
    }
    refused = await server.post(f"{API}/validatingadmissionpolicies", policy)
    assert refused.status == 422
    causes = {c["field"]: c["message"] for c in refused.json["details"]["causes"]}
    assert "compilation failed: ERROR: <input>:1:11: Syntax error" in causes["spec.validations[0].expression"]
    assert causes["spec.validations[1].expression"].endswith("must evaluate to bool but got string")
    assert "undeclared reference to 'nope'" in causes["spec.validations[2].expression"]
    for kind in ("Validating", "Mutating"):
        hook = {
            "name": "v.example.com", "clientConfig": {"url": "https://x.example.com"}, "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
            "matchConditions": [{"name": "c", "expression": "... [] bad expression"}],
        }  # fmt: skip
        refused = await server.post(
            f"{API}/{kind.lower()}webhookconfigurations", {"metadata": {"name": "v"}, "webhooks": [hook]}
        )
        assert refused.status == 422 and "compilation failed" in refused.json["message"]


# Mutating


def apply_configuration(expression: str) -> Object:
    return {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": expression}}


def json_patch(expression: str) -> Object:
    return {"patchType": "JSONPatch", "jsonPatch": {"expression": expression}}


async def test_an_apply_configuration_merges(server: Server) -> None:
    await mutate(
        server,
        apply_configuration("""
            Object{
              metadata: Object.metadata{annotations: {"by": "policy", "replicas": string(object.spec.replicas)}},
              spec: Object.spec{
                replicas: object.spec.replicas + variables.more,
                template: Object.spec.template{spec: Object.spec.template.spec{
                  containers: object.spec.template.spec.containers.map(c, Object.spec.template.spec.containers{
                    name: c.name,
                    env: [Object.spec.template.spec.containers.env{name: "B", value: "2"}]
                  })
                }}
              }
            }"""),
        rule=DEPLOYMENT_RULE,
        variables=[{"name": "more", "expression": "2"}],
    )
    made = (await server.post(DEPLOYMENTS, deployment())).json
    assert made["spec"]["replicas"] == 3
    assert made["metadata"]["annotations"] == {"by": "policy", "replicas": "1"}
    (container,) = made["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "i"
    assert {e["name"]: e["value"] for e in container["env"]} == {"A": "1", "B": "2"}


async def test_a_json_patch(server: Server) -> None:
    await mutate(
        server,
        json_patch("""[
            JSONPatch{op: "test", path: "/metadata/name", value: "d"},
            JSONPatch{op: "replace", path: "/spec/replicas", value: 4},
            JSONPatch{op: "add", path: "/metadata/annotations", value: {"a/b": "c"}},
            JSONPatch{op: "add", path: "/metadata/annotations/" + jsonpatch.escapeKey("d/e"), value: "f"},
            JSONPatch{op: "add", path: "/spec/template/spec/initContainers",
              value: [Object.spec.template.spec.initContainers{name: "init", image: "j"}]}
        ]"""),
        rule=DEPLOYMENT_RULE,
    )
    made = (await server.post(DEPLOYMENTS, deployment())).json
    assert made["spec"]["replicas"] == 4 and made["metadata"]["annotations"] == {"a/b": "c", "d/e": "f"}
    (init,) = made["spec"]["template"]["spec"]["initContainers"]
    assert init["name"] == "init" and init["terminationMessagePath"] == "/dev/termination-log"
    # A test that fails leaves the object alone.
    assert (await server.post(DEPLOYMENTS, deployment("other"))).json["spec"]["replicas"] == 1


async def test_mutations_that_cannot_be(server: Server) -> None:
    await mutate(server, apply_configuration("Object{nope: Object.nope{x: 1}}"))
    refused = await server.post(MAPS, config_map("m"))
    assert refused.status == 403 and refused.json["message"] == (
        "policy 'p' with binding 'p-b' denied request: error applying patch: failed to convert patch object to typed "
        "object: .nope: field not declared in schema"
    )
    for name in ("mutatingadmissionpolicies/p", "mutatingadmissionpolicybindings/p-b"):
        await server.delete(f"{API}/{name}")
    await mutate(
        server,
        apply_configuration('Object{spec: Object.spec{selector: Object.spec.selector{matchLabels: {"x": "y"}}}}'),
        rule=DEPLOYMENT_RULE,
    )
    refused = await server.post(DEPLOYMENTS, deployment())
    assert refused.json["message"].endswith("may not mutate atomic arrays, maps or structs: .spec.selector")
    for name in ("mutatingadmissionpolicies/p", "mutatingadmissionpolicybindings/p-b"):
        await server.delete(f"{API}/{name}")
    await mutate(server, json_patch('[JSONPatch{op: "remove", path: "/data/nope"}]'), failurePolicy="Ignore")
    assert (await server.post(MAPS, config_map("m", a="b"))).status == 201


async def test_policies_see_each_other_again(server: Server) -> None:
    await mutate(
        server, json_patch('[JSONPatch{op: "add", path: "/data/count", value: string(size(object.data))}]'), name="a",
        reinvocationPolicy="IfNeeded",
    )  # fmt: skip
    await mutate(server, json_patch('[JSONPatch{op: "add", path: "/data/more", value: "x"}]'), name="b")
    made = (await server.post(MAPS, config_map("m", k="v"))).json
    assert made["data"] == {"k": "v", "count": "3", "more": "x"}


def test_the_runtime_is_not_loaded_before_there_is_an_expression() -> None:
    code = (
        "import sys, json, pybernetes.apiserver.security, pybernetes.apiserver.server\n"
        "late = ('cel_expr', 'google.protobuf', 'pybernetes.api.cel.program')\n"
        "print(json.dumps([m for m in sys.modules if m.startswith(late)]))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(out.stdout) == []


@pytest.mark.parametrize("count", [1, 20])
async def test_other_requests_meet_no_policy(server: Server, count: int) -> None:
    for i in range(count):
        await validate(server, {"expression": "false"}, name=f"p{i}")
    chain = server.api._operations.registry.admission  # type: ignore[union-attr]
    from pybernetes.api.resources import CONFIGMAPS, SECRETS

    def names(resource: Any) -> list[str]:
        return [step.__self__.name for step in chain.steps("CREATE", resource, "").validators]  # type: ignore[attr-defined]

    assert "ValidatingAdmissionPolicy" in names(CONFIGMAPS)
    assert "ValidatingAdmissionPolicy" not in names(SECRETS)
