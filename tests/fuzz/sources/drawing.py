"""What several sources take from: names, objects that are valid or bent, draws of hypothesis."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from pybernetes.api.resources import BUILTIN, Resource
from pybernetes.api.schema import source as schema_source
from tests.endpoints.objects import SAMPLES
from tests.fuzz.request import Case
from tests.fuzz.values import mutated, typed

NAMESPACE = "fuzz"
NAMES = tuple(f"f-{i}" for i in range(8))
POLICY_NAMESPACE = "fuzz-policies"
"""Policies that are made for real hold there alone."""
PATCHES = {
    "json": "application/json-patch+json",
    "merge": "application/merge-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "apply": "application/apply-patch+yaml",
}
JSON = ("Content-Type", "application/json")
CONNECTING = ("attach", "exec", "portforward", "proxy", "log")
DRY = frozenset(("admissionregistration.k8s.io", "apiextensions.k8s.io", "apiregistration.k8s.io"))
"""Groups whose objects change how the server answers other requests: they are written with dryRun alone."""

WATCHES = 0.1
"""How many of the watches that are made up are sent: each takes its second."""

Source = Callable[[int, int], Iterator[Case]]
"""A function from a seed and a number of requests to cases: the same seed gives the same ones. It sends nothing."""
STORED = [r for r in BUILTIN if "create" in r.verbs and "get" in r.verbs]


def drawn(strategy: st.SearchStrategy[Any], of: int, count: int) -> list[Any]:
    """That many examples of a hypothesis strategy."""
    found: list[Any] = []

    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @seed(of)
    @given(strategy)
    def collect(value: Any) -> None:
        found.append(value)

    collect()
    return found


def dry(resource: Resource, query: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    kept = [(k, v) for k, v in query if k != "dryRun"]
    return [*kept, ("dryRun", "All")] if resource.group in DRY else list(query)


@lru_cache(maxsize=1)
def definitions() -> dict[Resource, str]:
    names = schema_source.names_by_gvk()
    return {r: names[r.group, r.version, r.kind] for r in BUILTIN if "create" in r.verbs}


def sample_of(r: random.Random, resource: Resource) -> dict[str, Any]:
    sample = SAMPLES[resource.group, resource.version, resource.plural]
    name = sample.name(r.choice(NAMES))
    body = {**sample.body_for(name), "metadata": {"name": name, "labels": {"f": "1"}}}
    for reference in ("involvedObject", "regarding"):
        if reference in body:
            body[reference] = {**body[reference], "namespace": NAMESPACE, "name": "x"}
    return {"apiVersion": resource.api_version, "kind": resource.kind, **body}


def bent(r: random.Random, resource: Resource) -> Any:
    """A valid object that was bent, or one of the right types alone."""
    if resource in STORED and r.random() < 0.5:
        body: Any = sample_of(r, resource)
        for _ in range(r.choice((0, 1, 1, 2, 4))):
            body = mutated(r, body)
        return body
    body = typed(r, definitions()[resource], r.choice((0.15, 0.35, 0.7)))
    if isinstance(body, dict):
        meta = body.get("metadata")
        meta = meta if isinstance(meta, dict) and r.random() < 0.3 else {}
        body |= {"apiVersion": resource.api_version, "kind": resource.kind}
        body["metadata"] = {**meta, "name": r.choice(NAMES)}
        body["metadata"].pop("resourceVersion", None)
        if r.random() < 0.9:
            body["metadata"].pop("namespace", None)
            body["metadata"].pop("deletionTimestamp", None)
    return body
