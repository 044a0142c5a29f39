"""Values that API machinery trips over, and objects of every type made of them.

Everything is drawn from a `random.Random` that the campaign seeds: the same seed gives the same objects.
"""

from __future__ import annotations

import random
from typing import Any

from pybernetes.api.schema import source
from pybernetes.api.schema.source import REF, Definition

TEXTS = (
    "", " ", "a", "web", "fuzz", "default", "kubernetes", "f-1", "-a", "a-", "A", "a.b", "a/b", "example.com/a",
    "a" * 64,
    "a" * 254, "a" * 5000, "é", "\u0000", "\ud83d\ude00", "\u202e", "../..", "..", ".", "%", "%2e%2e", "*", "null",
    "true",
    "1", "0", "-1", "80", "99999999999999999999", "1e3", "0x10", "1_000", "NaN", "Infinity", "100m", "1Gi", "1.5Gi",
    "-1Ki",
    "1e400", "1E", "1Ei", "0.0000000000001", "9223372036854775808", "100%", "-5%", "101%", "1%%", "10.0.0.1",
    "10.0.0.0/8",
    "10.0.0.1/8", "::1", "fe80::1", "2001:db8::/32", "0.0.0.0", "256.0.0.1", "01.2.3.4", "127.0.0.1", "http://x/",
    "tcp",
    "TCP", "UDP", "Always", "Never", "IfNotPresent", "ClusterIP", "ExternalName", "NodePort", "None", "*/5 * * * *",
    "@every 1s", "TZ=UTC * * * * *", "60 * * * *", "2026-01-02T03:04:05Z", "2026-13-02T03:04:05Z",
    "2026-01-02T03:04:05.123456Z",
    "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "2026-01-02T03:04:05+99:00", "10s", "1h1m", "-1s", "1y",
    "metadata.name", "spec.nodeName", "limits.cpu", "requests.memory", "cpu", "memory", "pods", "hugepages-2Mi",
    "count/pods",
    "kubernetes.io/hostname", "kubernetes.io/", "/", "k=v", "a in (b)", "!a", "self.x == 1", "object.metadata.name",
    "true &&",
    "[a-z", "(a+)+$", "In", "Exists", "DoesNotExist", "Equal", "NoSchedule", "Ready", "True", "False", "Unknown", "v1",
    "apps/v1", "Pod", "Deployment", "User", "Group", "ServiceAccount", "system:masters", "rbac.authorization.k8s.io",
    "Etc/UTC", "Europe/Berlin", "Nowhere/Land", "/dev/x", "/", "//", "a:b", "$(A)", "$$(A)", "${A}", "{{.}}", "YQ==",
    "YQ=", "=",
)  # fmt: skip
NUMBERS = (
    0, 1, -1, 2, 7, 80, 255, 256, 1000, 65535, 65536, 2**31 - 1, 2**31, -(2**31), -(2**31) - 1, 2**53, 2**63 - 1, 2**63,
    -(2**63), 2**64, 10**30, 0.5, -0.0, 1e300, 1.0, 3600, 86400,
)  # fmt: skip
_AMOUNTS = ("1", "100m", "1Gi", "0", "-1", 0.5, 7, "1e3", "1.5Ki")
_DEPTH_MAX = 9
_WRONG = 0.002
"""How often a typed value has the wrong type: rarely, so that most objects get past decoding."""


def junk(r: random.Random, depth: int = 0) -> Any:
    """Any JSON value."""
    match r.randrange(8 if depth < 3 else 5):
        case 0:
            return None
        case 1:
            return r.random() < 0.5
        case 2:
            return number(r)
        case 3 | 4:
            return text(r)
        case 5:
            return [junk(r, depth + 1) for _ in range(r.randrange(4))]
        case _:
            return {text(r): junk(r, depth + 1) for _ in range(r.randrange(4))}


def text(r: random.Random) -> str:
    if r.random() < 0.08:
        return "".join(chr(r.choice((r.randrange(32, 127), r.randrange(0xD7FF)))) for _ in range(r.randrange(12)))
    return r.choice(TEXTS)


def number(r: random.Random) -> float:
    return r.choice(NUMBERS) if r.random() < 0.6 else r.randrange(-5, 100)


def typed(r: random.Random, name: str, density: float = 0.35) -> Any:
    """A value of the definition of that name: every field has its type, most have no sense."""
    return _value(r, {"$ref": REF + name}, density, 0)


def _value(r: random.Random, schema: Definition, density: float, depth: int) -> Any:
    if r.random() < _WRONG:
        return junk(r)
    ref = schema.get("$ref")
    if isinstance(ref, str):
        return _object(r, ref.removeprefix(REF), density, depth)
    match schema.get("type"):
        case "string":
            return r.choice(schema["enum"]) if schema.get("enum") and r.random() < 0.8 else text(r)
        case "integer":
            big = 2**31 if schema.get("format") == "int32" else 2**63
            found = int(number(r)) if r.random() < 0.5 else r.randrange(5)
            return found if -big <= found < big or r.random() < 10 * _WRONG else r.randrange(100)
        case "number":
            return number(r)
        case "boolean":
            return r.random() < 0.5
        case "array":
            return [_value(r, schema.get("items") or {}, density, depth + 1) for _ in range(_length(r, depth))]
        case "object" if isinstance(schema.get("additionalProperties"), dict):
            more: Definition = schema["additionalProperties"]
            return {text(r): _value(r, more, density, depth + 1) for _ in range(_length(r, depth))}
    return junk(r, 2)


def _length(r: random.Random, depth: int) -> int:
    return 0 if depth > _DEPTH_MAX else r.choice((0, 1, 1, 1, 2, 3))


def _object(r: random.Random, name: str, density: float, depth: int) -> Any:
    if name.endswith(".Quantity"):
        return text(r) if r.random() < 10 * _WRONG else r.choice(_AMOUNTS)
    if name.endswith(".IntOrString"):
        return r.choice((80, "http", "50%", text(r), number(r)))
    if name.endswith((".Time", ".MicroTime")):
        if r.random() < 10 * _WRONG:
            return text(r)
        return r.choice(("2026-01-02T03:04:05Z", "2026-01-02T03:04:05.000001Z", "0001-01-01T00:00:00Z", None))
    definition = source.structure().get(name)
    if definition is None or "properties" not in definition:
        return junk(r, 1)
    required = set(definition.get("required", ()))
    share = density if depth < _DEPTH_MAX else 0.05
    out: dict[str, Any] = {}
    for field, schema in definition["properties"].items():
        if r.random() < (0.95 if field in required else share):
            out[field] = _value(r, schema, density * 0.85, depth + 1)
    return out


def mutated(r: random.Random, value: Any) -> Any:
    """The value with one place changed, removed, doubled or grown, wherever that is."""
    if isinstance(value, dict) and value and r.random() < 0.85:
        out = dict(value)
        key = r.choice(list(out))
        match r.randrange(8):
            case 0:
                del out[key]
            case 1:
                out[text(r)] = junk(r)
            case 2:
                out[key] = junk(r)
            case _:
                out[key] = mutated(r, out[key])
        return out
    if isinstance(value, list) and value and r.random() < 0.85:
        items = list(value)
        at = r.randrange(len(items))
        match r.randrange(6):
            case 0:
                del items[at]
            case 1:
                items.append(items[at])
            case _:
                items[at] = mutated(r, items[at])
        return items
    return text(r) if isinstance(value, str) and r.random() < 0.7 else junk(r)
