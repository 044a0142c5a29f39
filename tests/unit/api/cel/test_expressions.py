"""CEL as Kubernetes has it: variables, libraries, types of mutations, errors."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pybernetes.api.cel import source
from pybernetes.api.cel.errors import CompilationError, EvaluationError
from pybernetes.api.cel.expression import ANY, BOOL, JSON_PATCHES, OBJECT, Check, Expression, Input, Scope
from pybernetes.api.meta import Object

SCOPE = Scope(params=True, authorizer=True)
OBJ: Object = {
    "metadata": {"name": "x", "namespace": "shop", "labels": {"a": "b"}},
    "spec": {"replicas": 5, "names": ["b", "a", "b"], "numbers": [3, 1, 2]},
}


def allowed(check: Check) -> tuple[bool, str]:
    return check.verb == "get" and check.user != "system:serviceaccount:a:b", f"{check.resource}/{check.path}"


def evaluate(text: str, result: str = BOOL, **variables: str) -> Any:
    values = Input(
        OBJ, None, lambda: {"name": "x", "operation": "UPDATE", "userInfo": {"username": "u", "groups": ["g"]}},
        {"metadata": {"name": "shop"}}, {"data": {"max": "3"}}, allowed, {"resource": "pods"},
    )  # fmt: skip
    return Expression(text, SCOPE, result, variables).compile().evaluate(values)


@pytest.mark.parametrize(
    "text",
    [
        "object.spec.replicas == 5 && oldObject == null && object.metadata.namespace == 'shop'",
        "has(object.metadata.labels) && !has(object.metadata.annotations) && !has(object.spec.nope)",
        "object.?spec.?nope.orValue(7) == 7 && object[?'spec'].hasValue()",
        "request.operation == 'UPDATE' && request.userInfo.groups.exists(g, g == 'g') && !has(request.namespace)",
        "namespaceObject.metadata.name == 'shop' && int(params.data.max) == 3",
        "object.metadata.labels.all(k, v, k < v) && object.spec.numbers.transformList(i, v, v * i) == [0, 1, 4]",
        # Quantities
        "quantity('1.5Gi').isGreaterThan(quantity('1G')) && quantity('1000m') == quantity('1')",
        "quantity('1').add(quantity('500m')).sub(1).compareTo(quantity('0.5')) == 0 && quantity('-1').sign() == -1",
        "isQuantity('5Mi') && !isQuantity('5mi') && quantity('2').asInteger() == 2 && !quantity('1.5').isInteger()",
        "quantity('1500m').asApproximateFloat() == 1.5",
        # Addresses
        "ip('10.1.2.3').family() == 4 && isIP('::1') && !isIP('10.1.2.300') && ip('127.0.0.1').isLoopback()",
        "ip.isCanonical('2001:db8::1') && !ip.isCanonical('2001:DB8::1') && ip('2001:DB8::1') == ip('2001:db8::1')",
        "cidr('10.0.0.1/8').containsIP('10.9.9.9') && cidr('10.0.0.0/8').containsCIDR(cidr('10.1.0.0/16'))",
        "!cidr('10.0.0.0/8').containsCIDR('11.0.0.0/8') && cidr('10.1.2.3/8').masked() == cidr('10.0.0.0/8')",
        "cidr('10.1.2.3/8').ip() == ip('10.1.2.3') && cidr('::/64').prefixLength() == 64 && !isCIDR('10.0.0.0')",
        "ip('8.8.8.8').isGlobalUnicast() && ip('169.254.1.1').isLinkLocalUnicast() && ip('0.0.0.0').isUnspecified()",
        # Texts
        "'ab 12 c34'.find('[0-9]+') == '12' && 'ab 12 c34'.findAll('[0-9]+') == ['12', '34']",
        "'ab 12 c34'.findAll('[0-9]+', 1) == ['12'] && 'abc'.find('x') == '' && 'abc'.matches('^a.c$')",
        "url('https://u@a.example:8443/p%20q?x=1&x=2&y').getHost() == 'a.example:8443' && !isURL('a b')",
        "url('https://a.example:8443/p%20q?x=1&x=2').getQuery()['x'] == ['1', '2'] && isURL('/path')",
        "url('https://[::1]:80/').getHostname() == '::1' && url('https://a/p%20q').getEscapedPath() == '/p%20q'",
        "semver('1.2.3').isLessThan(semver('1.10.0')) && semver('1.0.0-rc.1').compareTo(semver('1.0.0')) == -1",
        "isSemver('1.2.3-a+b') && !isSemver('v1.2') && isSemver('v1.2', true) && semver('v01.2', true).major() == 1",
        "jsonpatch.escapeKey('a/b~c') == 'a~1b~0c'",
        "'abcb'.indexOf('b') == 1 && 'abcb'.indexOf('b', 2) == 3 && 'abcb'.lastIndexOf('b') == 3",
        "'a,b'.split(',').join('-') == 'a-b' && 'A'.lowerAscii() == 'a' && '%s %d'.format(['a', 1]) == 'a 1'",
        # Formats
        "!format.dns1123Label().validate('web-1').hasValue() && format.dns1123Label().validate('Web)').hasValue()",
        "format.named('uuid').value().validate('x').value() == ['does not match the UUID format']",
        "!format.named('nope').hasValue() && !format.labelValue().validate('').hasValue()",
        "['uri', 'byte', 'date', 'datetime'].all(f, format.named(f).value().validate('( )').hasValue())",
        "!format.datetime().validate('2020-01-01T00:00:00Z').hasValue()",
        "!format.date().validate('2020-02-29').hasValue() && format.date().validate('2021-02-29').hasValue()",
        "!format.uri().validate('https://a/b').hasValue() && !format.byte().validate('YQ==').hasValue()",
        # Lists and sets
        "object.spec.numbers.sum() == 6 && object.spec.numbers.min() == 1 && object.spec.numbers.max() == 3",
        "!object.spec.names.isSorted() && object.spec.names.indexOf('b') == 0",
        "object.spec.names.lastIndexOf('b') == 2 && object.spec.names.indexOf('z') == -1",
        "sets.contains([1, 2], [1]) && [3, 1].sort() == [1, 3] && [1, 1].distinct() == [1] && math.greatest(1, 2) == 2",
        # Authorization
        "authorizer.group('apps').resource('deployments').namespace('a').name('b').check('get').allowed()",
        "authorizer.requestResource.check('get').reason() == 'pods/' && !authorizer.path('/x').check('put').allowed()",
        "!authorizer.serviceAccount('a', 'b').path('/x').check('get').allowed()",
    ],
)  # fmt: skip
def test_holds(text: str) -> None:
    assert evaluate(text) is True


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("object.nope == 1", "no such key: nope"),
        ("object.spec.names[9] == 'a'", "index out of bounds: 9"),
        ("1 / 0 == 1", "division by zero"),
        ("object.spec.replicas + 'x' == 'x'", "no such overload"),
        ("object.metadata.name.first == 'x'", "no such overload"),
        ("quantity(object.metadata.name).sign() == 1", "quantities must match the regular expression"),
        ("[].min() == 1", "min called on empty list"),
        ("quantity('1.5').asInteger() == 1", "cannot convert value to integer"),
        ("'aa'.find('(?=a)') == ''", "Illegal regex"),
        ("ip('x').family() == 4", 'IP Address "x" parse error'),
        (
            "lists.range(99).all(a, lists.range(99).all(b, lists.range(99).all(c, true)))",
            "operation cancelled: actual cost limit exceeded",
        ),
    ],
)
def test_has_no_value(text: str, why: str) -> None:
    with pytest.raises(EvaluationError) as failed:
        evaluate(text)
    assert str(failed.value).startswith(f"expression '{text}' resulted in error: ") and why in str(failed.value)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("1 +", "compilation failed: ERROR: <input>:1:4: Syntax error"),
        ("nope == 1", "compilation failed: ERROR: <input>:1:1: undeclared reference to 'nope'"),
        ("request.nope == 1", "undefined field 'nope'"),
        ("'text'", "must evaluate to bool but got string"),
        ("object.spec.replicas", "must evaluate to bool but got dyn"),
        ("quantity(1) == quantity(2)", "found no matching overload for 'quantity' applied to '(int)'"),
        ("variables.nope == 1", "undeclared reference to 'variables.nope'"),
    ],
)
def test_does_not_compile(text: str, why: str) -> None:
    with pytest.raises(CompilationError) as failed:
        evaluate(text)
    assert why in str(failed.value)


def test_variables_are_lazy_typed_and_see_those_before_them() -> None:
    variables = {
        "replicas": "object.spec.replicas // how many",
        "more": "variables.replicas + 1",
        "maybe": "optional.of(variables.more)",
        "limit": "quantity('6')",
        "broken": "object.nope",
    }
    assert evaluate("variables.maybe.value() == 6 && variables.limit == quantity('6')", **variables)
    assert evaluate("true || variables.broken == 1", **variables)
    assert evaluate("'variables.broken' == \"variables.\" + 'broken'", **variables)
    assert evaluate("variables.more", ANY, **variables) == 6
    with pytest.raises(EvaluationError, match="no such key: nope"):
        evaluate("variables.broken == 1", **variables)


def test_mutations() -> None:
    text = """Object{
        metadata: Object.metadata{labels: {"a/b": "Object.c{"}},
        spec: Object.spec{
            replicas: object.spec.replicas + 1, items: [Object.spec.items{name: "x", on: true}], gone: null
        }
    }"""
    assert evaluate(text, OBJECT) == {
        "metadata": {"labels": {"a/b": "Object.c{"}},
        "spec": {"replicas": 6, "items": [{"name": "x", "on": True}], "gone": None},
    }
    text = """object.spec.names.map(n,
            JSONPatch{op: "add", path: "/x/" + n, value: n == "a" ? dyn(1.5) : dyn([1, "b"])})
        + [JSONPatch{op: "move", from: "/a", path: "/b"}, JSONPatch{op: "test", path: "/c", value: null}]"""
    assert evaluate(text, JSON_PATCHES) == [
        {"op": "add", "path": "/x/b", "value": [1, "b"]},
        {"op": "add", "path": "/x/a", "value": 1.5},
        {"op": "add", "path": "/x/b", "value": [1, "b"]},
        {"op": "move", "from": "/a", "path": "/b"},
        {"op": "test", "path": "/c", "value": None},
    ]
    for wrong in ('{"a": 1}', "Object.spec{}", "1"):
        with pytest.raises(CompilationError, match="must evaluate to Object but got"):
            evaluate(wrong, OBJECT)


@pytest.mark.parametrize(
    ("value", "json"),
    [
        ('duration("90s")', "90s"),
        ('timestamp("2020-01-01T00:00:00Z")', "2020-01-01T00:00:00Z"),
        ('{"a": duration("1s")}', {"a": "1s"}),
        ("object.spec", OBJ["spec"]),
        ("Object.spec{d: 1}", {"d": 1}),
    ],
)
def test_values_of_json_patches(value: str, json: Any) -> None:
    assert evaluate(f'[JSONPatch{{op: "add", path: "/x", value: {value}}}]', JSON_PATCHES)[0]["value"] == json


@pytest.mark.parametrize(
    "value", ['JSONPatch{op: "a"}', "request", "request.userInfo", 'quantity("1")', "authorizer", 'url("https://a/b")']
)
def test_values_that_json_has_not(value: str) -> None:
    with pytest.raises(EvaluationError, match="unsupported conversion from"):
        evaluate(f'[JSONPatch{{op: "add", path: "/x", value: {value}}}]', JSON_PATCHES)


def test_what_an_authorizer_raises_is_raised() -> None:
    def pending(check: Check) -> tuple[bool, str]:
        raise LookupError("to be asked first")

    program = Expression("authorizer.path('/x').check('get').allowed() || true", SCOPE).compile()
    with pytest.raises(LookupError, match="to be asked first"):
        program.evaluate(Input(None, None, dict, authorize=pending))


@given(st.text(alphabet=["'", '"', "\\", "/", "\n", "v", " ", "a", "r", "."], max_size=20))
def test_texts_are_never_changed(text: str) -> None:
    """Whatever stands inside of a literal, rewriting leaves it alone."""
    literal = "'" + text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n") + "'"
    with_names = f"{literal} + variables.a + 'variables.b' // variables.c"
    changed = source.with_variables(with_names, {"a": "1", "b": "2", "c": "3"})
    assert literal in changed and "'variables.b'" in changed and "// variables.c" in changed
    assert source.used_variables(with_names) == ["a"]
