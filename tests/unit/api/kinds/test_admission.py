"""Webhook configurations and admission policies: the exact faults of what is wrong with them."""

from __future__ import annotations

from typing import Any

import pytest

from pybernetes.api import resources as r
from pybernetes.api.meta import Object, clone
from tests.unit.api.kinds.build import created, faults, named, status_faults

RULE: Object = {"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}


def hook(**fields: Any) -> Object:
    usual: Object = {
        "name": "hook.example.com",
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        "clientConfig": {"url": "https://example.com/hook"},
    }
    return named(namespace="", webhooks=[{**usual, **fields}])


def with_rule(**fields: Any) -> Object:
    return hook(rules=[{**RULE, **fields}])


def with_service(**fields: Any) -> Object:
    return hook(clientConfig={"service": {"name": "s", "namespace": "n", **fields}})


RULES, CLIENT = "webhooks[0].rules[0]", "webhooks[0].clientConfig"


@pytest.mark.parametrize(
    ("obj", "errors"),
    [
        (hook(), []),
        (hook(name=""), ["webhooks[0].name: Required value"]),
        (hook(name="a.b"), [
            'webhooks[0].name: Invalid value: "a.b": '
            "should be a domain with at least three segments separated by dots"
        ]),
        (hook(sideEffects=None), [
            "webhooks[0].sideEffects: Required value: must specify one of None, NoneOnDryRun"
        ]),
        (hook(timeoutSeconds=31), [
            "webhooks[0].timeoutSeconds: Invalid value: 31: the timeout value must be between 1 and 30 seconds"
        ]),
        (hook(failurePolicy="x", matchPolicy="y"), [
            'webhooks[0].failurePolicy: Unsupported value: "x": supported values: "Fail", "Ignore"',
            'webhooks[0].matchPolicy: Unsupported value: "y": supported values: "Equivalent", "Exact"',
        ]),
        (hook(admissionReviewVersions=[]), [
            "webhooks[0].admissionReviewVersions: Required value: must specify one of v1, v1beta1"
        ]),
        (hook(admissionReviewVersions=["v2", "v2"]), [
            'webhooks[0].admissionReviewVersions[1]: Invalid value: "v2": duplicate version',
            'webhooks[0].admissionReviewVersions: Invalid value: ["v2","v2"]: '
            "must include at least one of v1, v1beta1",
        ]),
        (hook(clientConfig={}), [f"{CLIENT}: Required value: exactly one of url or service is required"]),
        (hook(clientConfig={"url": "https://u@h/?a#b"}), [
            f'{CLIENT}.url: Invalid value: "u": user information is not permitted in the URL',
            f'{CLIENT}.url: Invalid value: "b": fragments are not permitted in the URL',
            f'{CLIENT}.url: Invalid value: "a": query parameters are not permitted in the URL',
        ]),
        (hook(clientConfig={"url": "https:///x"}), [
            f'{CLIENT}.url: Invalid value: "": host must be specified; desired format: https://host[/path]'
        ]),
        (with_service(path="/a/b/"), []),
        (with_service(path="a"), [f"{CLIENT}.service.path: Invalid value: \"a\": must start with a '/'",
                                  f'{CLIENT}.service.path: Invalid value: "a": segment[0] may not be empty']),
        (with_service(path="//"), [f'{CLIENT}.service.path: Invalid value: "//": segment[0] may not be empty']),
        (with_service(port=70000), [
            f"{CLIENT}.service.port: Invalid value: 70000: port is not valid: must be between 1 and 65535, inclusive"
        ]),
        (with_rule(operations=["*", "X"]), [
            f'{RULES}.operations: Invalid value: ["*","X"]: if \'*\' is present, must not specify other operations',
            f'{RULES}.operations[1]: Unsupported value: "X": '
            'supported values: "*", "CONNECT", "CREATE", "DELETE", "UPDATE"',
        ]),
        (with_rule(apiGroups=["*", "a"], apiVersions=["*", "v1"]), [
            f'{RULES}.apiGroups: Invalid value: ["*","a"]: if \'*\' is present, must not specify other API groups',
            f'{RULES}.apiVersions: Invalid value: ["*","v1"]: '
            "if '*' is present, must not specify other API versions",
        ]),
        (with_rule(resources=["a/*", "a/b"]), [
            f"{RULES}.resources[1]: Invalid value: \"a/b\": if 'a/*' is present, must not specify a/b"
        ]),
        (with_rule(resources=["*/s", "a/s"]), [
            f"{RULES}.resources[1]: Invalid value: \"a/s\": if '*/s' is present, must not specify a/s"
        ]),
        (with_rule(resources=["*/*", "a"]), [
            f'{RULES}.resources: Invalid value: ["*/*","a"]: if \'*/*\' is present, must not specify other resources'
        ]),
        (with_rule(resources=["*", "a"]), [
            f'{RULES}.resources: Invalid value: ["*","a"]: '
            "if '*' is present, must not specify other resources without subresources"
        ]),
        (with_rule(resources=["*", "a/b"]), []),
        (hook(matchConditions=[{"name": "a", "expression": " "}, {"name": "a", "expression": "true"}, {}]), [
            "webhooks[0].matchConditions[0].expression: Required value",
            'webhooks[0].matchConditions[1].name: Duplicate value: "a"',
            "webhooks[0].matchConditions[2].expression: Required value",
            "webhooks[0].matchConditions[2].name: Required value",
        ]),
    ],
)  # fmt: skip
def test_webhooks(obj: Object, errors: list[str]) -> None:
    for resource in (r.VALIDATINGWEBHOOKCONFIGURATIONS, r.MUTATINGWEBHOOKCONFIGURATIONS):
        assert faults(resource, obj) == errors


def test_names_of_webhooks_are_unique() -> None:
    obj = hook()
    obj["webhooks"].append(clone(obj["webhooks"][0]))
    assert faults(r.VALIDATINGWEBHOOKCONFIGURATIONS, obj) == ['webhooks[1].name: Duplicate value: "hook.example.com"']


def policy(**spec: Any) -> Object:
    usual: Object = {
        "matchConstraints": {"resourceRules": [RULE]},
        "validations": [{"expression": "true"}],
    }
    return named("p.example.com", "", spec={**usual, **spec})


@pytest.mark.parametrize(
    ("obj", "errors"),
    [
        (policy(), []),
        (policy(failurePolicy="x"), [
            'spec.failurePolicy: Unsupported value: "x": supported values: "Fail", "Ignore"'
        ]),
        (policy(matchConstraints=None), ["spec.matchConstraints: Required value"]),
        (policy(matchConstraints={}), ["spec.matchConstraints.resourceRules: Required value"]),
        (policy(matchConstraints={"resourceRules": [{**RULE, "resourceNames": ["a/b", "x", "x"]}]}), [
            'spec.matchConstraints.resourceRules[0].resourceNames[0]: Invalid value: "a/b": may not contain \'/\'',
            'spec.matchConstraints.resourceRules[0].resourceNames[2]: Duplicate value: "x"',
        ]),
        (policy(paramKind={}), [
            "spec.paramKind.apiVersion: Required value", "spec.paramKind.kind: Required value"
        ]),
        (policy(paramKind={"apiVersion": "a/b/c", "kind": "Pod"}), [
            'spec.paramKind.apiVersion: Invalid value: "a/b/c": unexpected GroupVersion string: a/b/c'
        ]),
        (policy(paramKind={"apiVersion": "a/", "kind": "Pod"}), [
            'spec.paramKind.apiVersion: Invalid value: "a/": version must be specified'
        ]),
        (policy(validations=[]), [
            "spec.validations: Required value: validations or auditAnnotations must contain at least one item",
            "spec.auditAnnotations: Required value: validations or auditAnnotations must contain at least one item",
        ]),
        (policy(validations=[{"expression": "", "message": " ", "messageExpression": " ", "reason": "x"}]), [
            "spec.validations[0].expression: Required value: expression is not specified",
            'spec.validations[0].messageExpression: Invalid value: " ": must be non-empty if specified',
            'spec.validations[0].message: Invalid value: " ": message must be non-empty if specified',
            'spec.validations[0].reason: Unsupported value: "x": '
            'supported values: "Forbidden", "Invalid", "RequestEntityTooLarge", "Unauthorized"',
        ]),
        (policy(validations=[{"expression": "true", "message": "a\nb"}, {"expression": "true &&\ntrue"}]), [
            'spec.validations[0].message: Invalid value: "a\\nb": message must not contain line breaks',
            "spec.validations[1].message: Required value: "
            "message must be specified if expression contains line breaks",
        ]),
        (policy(auditAnnotations=[{"key": "a", "valueExpression": ""}, {"key": "a", "valueExpression": "'x'"}]), [
            "spec.auditAnnotations[0].valueExpression: Required value: valueExpression is not specified",
            'spec.auditAnnotations[1].key: Duplicate value: "a"',
        ]),
        (policy(variables=[{"name": "a-b", "expression": ""}]), [
            'spec.variables[0].name: Invalid value: "a-b": name is not a valid CEL identifier',
            "spec.variables[0].expression: Required value: expression is not specified",
        ]),
    ],
)  # fmt: skip
def test_policies(obj: Object, errors: list[str]) -> None:
    assert faults(r.VALIDATINGADMISSIONPOLICIES, obj) == errors


def test_warnings_of_type_checking_are_whole() -> None:
    old = created(r.VALIDATINGADMISSIONPOLICIES, policy())
    new = {**clone(old), "status": {"typeChecking": {"expressionWarnings": [{}]}}}
    assert status_faults(r.VALIDATINGADMISSIONPOLICIES, new, old) == [
        "status.typeChecking.expressionWarnings[0].fieldRef: Required value",
        "status.typeChecking.expressionWarnings[0].warning: Required value",
    ]


def binding(**spec: Any) -> Object:
    return named(namespace="", spec={"policyName": "p", "validationActions": ["Deny"], **spec})


NOT_FOUND = "spec.paramRef.parameterNotFoundAction"


@pytest.mark.parametrize(
    ("obj", "errors"),
    [
        (binding(), []),
        (binding(validationActions=["Deny", "Warn", "Deny", "x"]), [
            'spec.validationActions[2]: Duplicate value: "Deny"',
            'spec.validationActions[3]: Unsupported value: "x": supported values: "Audit", "Deny", "Warn"',
            'spec.validationActions: Invalid value: ["Deny","Warn","Deny","x"]: must not contain both Deny and Warn '
            "(repeating the same validation failure information in the API response and headers serves no purpose)",
        ]),
        (binding(paramRef={"name": "a", "selector": {}, "parameterNotFoundAction": "Deny"}), [
            "spec.paramRef.name: Forbidden: name and selector are mutually exclusive",
            "spec.paramRef.selector: Forbidden: name and selector are mutually exclusive",
        ]),
        (binding(paramRef={}), [
            "spec.paramRef: Required value: one of name or selector must be specified",
            f"{NOT_FOUND}: Required value",
        ]),
        (binding(paramRef={"name": "a", "parameterNotFoundAction": "x"}), [
            f'{NOT_FOUND}: Unsupported value: "x": supported values: "Allow", "Deny"'
        ]),
        (binding(matchResources={"matchPolicy": "x"}), [
            'spec.matchResouces.matchPolicy: Unsupported value: "x": supported values: "Equivalent", "Exact"'
        ]),
    ],
)  # fmt: skip
def test_bindings(obj: Object, errors: list[str]) -> None:
    assert faults(r.VALIDATINGADMISSIONPOLICYBINDINGS, obj) == errors
