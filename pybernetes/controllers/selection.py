"""Label selectors as controllers use them, and the indexes that make selecting cheap both ways.

Pure. A pod is looked up by any one of its labels (`pods_by_label`), and a selector-bearing object by one pair that
its selector requires (`selectors_by_pair`), so that neither direction scans a namespace.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from pybernetes.api.meta import Object, labels_of, namespace_of
from pybernetes.api.selectors import from_label_selector
from pybernetes.client.informer import Cache

Labels = Mapping[str, str]
Matcher = Callable[[Labels], bool]

POD_LABEL_INDEX = "controllers/label"
SELECTOR_INDEX = "controllers/selector"
_ANY = "*"


def matcher(selector: Mapping[str, Any] | None) -> Matcher:
    """The predicate of a metav1.LabelSelector: none selects nothing, an empty one everything.

    Raises `selectors.SelectorError` for one that is malformed (validation refuses those).
    """
    return from_label_selector(selector).matches


def is_empty(selector: Mapping[str, Any] | None) -> bool:
    """Whether the selector is there but selects everything."""
    return selector is not None and not selector.get("matchLabels") and not selector.get("matchExpressions")


def _index_key(namespace: str, key: str, value: str) -> str:
    return f"{namespace}\0{key}={value}"


def pods_by_label(obj: Object) -> Iterable[str]:
    """Index of any namespaced object under every one of its labels."""
    ns = namespace_of(obj)
    return [f"{ns}\0{_ANY}=", *[f"{ns}\0{k}={v}" for k, v in labels_of(obj).items()]]


def labels_part(obj: Object) -> Any:
    """What `pods_by_label` looks at."""
    return obj["metadata"].get("labels")


def _label_selector(obj: Object) -> Mapping[str, Any] | None:
    """The spec's selector as a LabelSelector, also where it is a plain map (Service, ReplicationController)."""
    selector = (obj.get("spec") or {}).get("selector")
    if selector is None:
        return None
    if obj.get("kind") in ("Service", "ReplicationController"):
        return {"matchLabels": selector} if selector else None
    return selector  # type: ignore[no-any-return]


def selectors_by_pair(obj: Object) -> Iterable[str]:
    """Index of a selector-bearing object under one pair its selector requires, or under the namespace's rest."""
    selector = _label_selector(obj)
    if selector is None:
        return ()
    pairs = selector.get("matchLabels") or {}
    ns = namespace_of(obj)
    if not pairs:
        return (_index_key(ns, _ANY, ""),)
    key = min(pairs)
    return (_index_key(ns, key, pairs[key]),)


def selecting(cache: Cache, namespace: str, labels: Labels) -> list[Object]:
    """The objects of a cache with `SELECTOR_INDEX` whose selectors match the labels."""
    found: list[Object] = []
    if not len(cache):
        return found
    for key in (f"{namespace}\0{_ANY}=", *[f"{namespace}\0{k}={v}" for k, v in labels.items()]):
        for obj in cache.by_index(SELECTOR_INDEX, key):
            if matcher(_label_selector(obj))(labels):
                found.append(obj)
    return found


def selected(cache: Cache, namespace: str, selector: Mapping[str, Any] | None) -> list[Object]:
    """The objects of a cache with `POD_LABEL_INDEX` whose labels the selector matches."""
    if selector is None:
        return []
    pairs = selector.get("matchLabels") or {}
    candidates: list[Object] | None = None
    for k, v in pairs.items():
        bucket = cache.by_index(POD_LABEL_INDEX, _index_key(namespace, k, v))
        if candidates is None or len(bucket) < len(candidates):
            candidates = bucket
    if candidates is None:
        candidates = cache.by_index(POD_LABEL_INDEX, _index_key(namespace, _ANY, ""))
    matches = matcher(selector)
    return [obj for obj in candidates if matches(labels_of(obj))]
