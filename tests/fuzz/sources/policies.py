"""Admission policies that are made for real, in force in a namespace of their own: CEL that is wrong in many ways."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

from pybernetes.api.resources import Resource
from tests.fuzz.request import Case, Request, encoded
from tests.fuzz.sources.drawing import JSON, POLICY_NAMESPACE, STORED, drawn, sample_of
from tests.fuzz.values import mutated, text

_GROUP = "/apis/admissionregistration.k8s.io/v1"
_TERMS = (
    "object", "oldObject", "request", "params", "namespaceObject", "variables.v", "authorizer", "object.metadata.name",
    "object.metadata.labels", "object.spec", "object.x.y", "1", "-1", "9223372036854775807", "1u", "1.5", "0.0", "true",
    "null", "'a'", "b'a'", "''", "[]", "[1, 'a', null]", "{}", "{'a': 1}", "request.operation", "request.userInfo",
    "dyn(1)", "duration('1s')", "timestamp('2026-01-02T03:04:05Z')", "duration('x')", "quantity('1Gi')", "ip('::1')",
    "cidr('10.0.0.0/8')", "url('http://x/')", "semver('1.2.3')", "format.dns1123Label()", "type(1)", "é", "self", "@",
    "object.metadata.?labels", "optional.none()", "sets.contains([1], [2])", "[1,2,3].map(x, x * 2)", "'(a+)+$'",
    "Object{}", "Object{spec: Object.spec{}}", "JSONPatch{op: 'add', path: '/x', value: 1}",
)  # fmt: skip
_JOINS = (
    "{0} == {1}", "{0} + {1}", "{0} / {1}", "{0} % {1}", "{0} < {1}", "{0} in {1}", "{0} && {1}", "!{0}", "-{0}",
    "{0} ? {1} : {0}", "has({0}.x)", "has({0})", "{0}.all(x, x == {1})", "{0}.exists(x, {1})", "{0}.map(x, {1})",
    "{0}[{1}]", "{0}.size()", "size({0})", "{0}.matches({1})", "{0}.orValue({1})", "int({0})", "string({0})",
    "{0}.check('get').allowed()", "{0}.group('').resource('pods').check({1}).allowed()", "{0}.replace({1}, 'b')",
    "{0}.lastIndexOf({1})", "{0}.substring({1})", "{0}.join({1})", "{0}.isGreaterThan({1})", "({0}", "{0} {1}",
    "{0}.f({1})",
    "{0}.filter(x, {0}.filter(y, {0}.exists(z, z == {1})).size() > 0)", "[{0}, {1}].sum()", "{0}.format([{1}])",
    "{0}.find({1})", "{0}.asInteger()", "{0}.validate({1})", "{{'a': {0}}}.a", "[{0}].flatten()", "{0}.getHost()",
)  # fmt: skip
_CEL = st.recursive(
    st.sampled_from(_TERMS),
    lambda inner: st.tuples(st.sampled_from(_JOINS), inner, inner).map(lambda t: t[0].format(*t[1:])),
    max_leaves=6,
)


_MUTATIONS = ("{}", "Object{{spec: {}}}", "[JSONPatch{{op: 'add', path: '/metadata/labels', value: {}}}]")


def _resource(plural: str) -> Resource:
    return next(x for x in STORED if x.plural == plural)


def policies(of: int, count: int) -> Iterator[Case]:
    """A policy and its binding come, meet objects, and go."""
    r = random.Random(of)
    for number, (a, b, c) in enumerate(drawn(st.tuples(_CEL, _CEL, _CEL), of, max(1, count // 7))):
        mutates = r.random() < 0.4
        target = _resource(r.choice(("configmaps", "pods", "services", "deployments")))
        kind = "mutating" if mutates else "validating"
        name = f"f-{of % 1_000_000}-{number}"
        spec: dict[str, Any] = {
            "failurePolicy": r.choice(("Fail", "Fail", "Ignore")),
            "variables": [{"name": "v", "expression": c}] if r.random() < 0.5 else [],
            "matchConditions": [{"name": "m", "expression": b}] if r.random() < 0.3 else [],
        }
        if mutates:
            form = r.choice(("ApplyConfiguration", "JSONPatch"))
            field = form[0].lower() + form[1:] if form != "JSONPatch" else "jsonPatch"
            wrapped = r.choice(_MUTATIONS)
            spec |= {"mutations": [{"patchType": form, field: {"expression": wrapped.format(a)}}],
                     "reinvocationPolicy": "Never"}  # fmt: skip
        else:
            spec |= {"validations": [{"expression": a, "messageExpression": b}, {"expression": f"{b} == {a}"}],
                     "auditAnnotations": [{"key": "k", "valueExpression": c}] if r.random() < 0.3 else []}  # fmt: skip
        if r.random() < 0.2:
            spec = mutated(r, spec)
            spec = spec if isinstance(spec, dict) else {}
        # Last, so that nothing else meets it.
        spec["matchConstraints"] = {
            "namespaceSelector": {"matchLabels": {"fuzz": POLICY_NAMESPACE}},
            "resourceRules": [{
                "apiGroups": [target.group], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"],
                "resources": [target.plural],
            }],
        }  # fmt: skip
        binding: dict[str, Any] = {"policyName": name}
        if not mutates:
            binding["validationActions"] = r.choice((["Deny"], ["Warn", "Audit"]))
        plural = f"{_GROUP}/{kind}admissionpolicies"
        bindings = f"{_GROUP}/{kind}admissionpolicybindings"

        def to(method: str, path: str, body: Any = None) -> Request:
            return Request("policies", method, path, (), encoded(body) if body is not None else None, [JSON])

        path = target.path(POLICY_NAMESPACE)
        sample = sample_of(r, target)
        here = f"{path}/{sample['metadata']['name']}"
        yield (
            to("POST", plural, {"metadata": {"name": name}, "spec": spec}),
            to(
                "POST",
                bindings,
                {"metadata": {"name": name}, "spec": binding},
            ),
            to("POST", path, sample),
            to("PUT", here, {**sample, "metadata": {**sample["metadata"], "labels": {"a": text(r)[:60]}}}),
            to("DELETE", here),
            to("DELETE", f"{bindings}/{name}"),
            to("DELETE", f"{plural}/{name}"),
        )
