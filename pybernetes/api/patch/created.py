"""The fields that a new object sets, as ``FieldsV1``: what comparing it with an empty object of its type adds.

Every object that is created goes through here, so types are compiled to closures and equal parts of results are one
object: a plan is kept for each set of keys that a struct or map was seen with, and under it each combination of parts
below. The pods of one template so share one result, which costs look-ups alone and holds no memory of its own.

Results are shared by everybody and never change. The tables are bounded: `TRIES_MAX` parts, then all start anew.
One thread at a time: the event loop's.
Source of the rules: ``sigs.k8s.io/structured-merge-diff`` (comparing typed values).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pybernetes.api.meta import Object
from pybernetes.api.patch.compare import structs_of
from pybernetes.api.patch.elements import elements_of
from pybernetes.api.patch.fields import EMPTY, SELF, FieldSet, in_order
from pybernetes.api.patch.sharing import shared
from pybernetes.api.patch.typed import UNMANAGED_METADATA, member
from pybernetes.api.schema.nodes import Field, ListNode, MapNode, Node, ObjectNode, Scalar, UnionNode

TRIES_MAX = 20_000
"""Shared parts that are kept, about 300 bytes each."""

SPECS_MAX = 512
"""Specs of one type whose fields are known by their text."""

Walk = Callable[[Any], FieldSet]


class _Plan:
    """What is the same for all values with the same keys."""

    __slots__ = ("below", "made", "template")

    def __init__(self, template: FieldSet, below: list[tuple[str, str, Walk]]) -> None:
        self.template = template
        """The result, but for what lies below."""
        self.below = below
        """(key, path element, walk) of each member that is walked into."""
        self.made: dict[tuple[int, ...], FieldSet] = {}
        """Results by the ids of their parts, which the results themselves keep alive."""


_plans: list[dict[tuple[str, ...], _Plan]] = []
_lists: list[dict[tuple[Any, ...], FieldSet]] = []
_roots_shared: list[dict[int, tuple[FieldSet, FieldSet]]] = []
_tries = 0


def _count() -> None:
    global _tries
    _tries += 1
    if _tries > TRIES_MAX:
        _tries = 0
        for plans in _plans:
            plans.clear()
        for made in _lists:
            made.clear()
        for known in _roots_shared:
            known.clear()


def _finish(plan: _Plan, value: Any, spec: FieldSet | None = None) -> FieldSet:
    """The result for a value whose keys are the plan's; `spec` is that of its spec, where that is known."""
    if spec is None:
        parts = [walk(value[key]) for key, _, walk in plan.below]
    else:
        parts = [spec if key == "spec" else walk(value[key]) for key, _, walk in plan.below]
    ids = tuple(map(id, parts))
    found = plan.made.get(ids)
    if found is None:
        found = dict(plan.template)
        for (_, element, _), part in zip(plan.below, parts, strict=True):
            if part is _NOTHING:
                del found[element]
            else:
                found[element] = part
        found = found or _NOTHING
        plan.made[ids] = found
        _count()
    return found


_NOTHING: FieldSet = {}
"""Of a struct that an empty object has too: nothing in it is set. Told from `EMPTY` by identity."""


# ---- closures ---------------------------------------------------------------------------------------------------

_walks: dict[tuple[Node, bool, bool], Walk] = {}


def _walk_of(node: Node, declared: Field | None) -> Walk | None:
    """How to walk into a value that an empty object does not have; None where it is one field as a whole."""
    if isinstance(node, UnionNode):
        node = node.object
    if (declared is not None and declared.atomic) or (isinstance(node, (ObjectNode, MapNode)) and node.atomic):
        return None
    if isinstance(node, ListNode):
        return _list_walk(node, bare=False) if node.list_type != "atomic" else None
    if isinstance(node, Scalar) and node.kind != "any":
        return None
    return _map_walk(node, bare=False)


def _bare_walk_of(declared: Field) -> Walk | None:
    """The same for a field that an empty object may have, and so does not count itself."""
    node = declared.node
    if not (declared.struct or (declared.required and isinstance(node, (ListNode, MapNode)))):
        return _walk_of(node, declared)
    if _walk_of(node, declared) is None:
        return _whole_unless_empty
    return _list_walk(node, bare=True) if isinstance(node, ListNode) else _map_walk(node, bare=True)


def _whole_unless_empty(value: Any) -> FieldSet:
    return EMPTY if value else _NOTHING


def _plan(node: Node, keys: tuple[str, ...], bare: bool) -> _Plan:
    template: FieldSet = {} if bare else {SELF: EMPTY}
    below: list[tuple[str, str, Walk]] = []
    absent = () if bare else tuple(name for name in structs_of(node) if name not in keys)
    for key in sorted((*keys, *absent)):
        child, declared = member(node, key)
        walk = _bare_walk_of(declared) if bare and declared is not None else _walk_of(child, declared)
        element = "f:" + key
        if key in absent:
            template[element] = walk({}) if walk is not None else EMPTY
            continue
        template[element] = EMPTY
        if walk is not None:
            below.append((key, element, walk))
    return _Plan(template, below)


def _map_walk(node: Node, *, bare: bool) -> Walk:
    known = _walks.get((node, bare, False))
    if known is not None:
        return known
    plans: dict[tuple[str, ...], _Plan] = {}
    _plans.append(plans)
    empty = _NOTHING if bare else EMPTY
    has_structs = not bare and bool(structs_of(node))

    def walk(value: Any) -> FieldSet:
        if type(value) is not dict or not (value or has_structs):
            return empty
        keys = tuple(value)
        plan = plans.get(keys)
        if plan is None:
            plan = _plan(node, keys, bare)
            plans[keys] = plan
            _count()
        return _finish(plan, value) if plan.below else plan.template

    _walks[node, bare, False] = walk
    return walk


def _list_walk(node: ListNode, *, bare: bool) -> Walk:
    known = _walks.get((node, bare, True))
    if known is not None:
        return known
    made: dict[tuple[Any, ...], FieldSet] = {}
    _lists.append(made)
    elements = elements_of(node)
    empty = _NOTHING if bare else EMPTY
    item_walk: Walk | None = None
    is_compiled = False

    def walk(value: Any) -> FieldSet:
        nonlocal item_walk, is_compiled
        if type(value) is not list or not value:
            return empty
        if not is_compiled:
            # Not before the first value: a type may contain itself.
            item_walk, is_compiled = _walk_of(node.items, None), True
        names = elements.of_items(value)
        parts = [item_walk(item) for item in value] if item_walk is not None else [EMPTY] * len(names)
        key = (*names, *map(id, parts))
        found = made.get(key)
        if found is None:
            found = {} if bare else {SELF: EMPTY}
            by_name: dict[str, FieldSet] = {}
            for name, part in zip(names, parts, strict=True):
                # Items with the same key are one field as a whole.
                by_name[name] = EMPTY if name in by_name else part
            for name in in_order(by_name):
                found[name] = by_name[name]
            made[key] = found
            _count()
        return found

    _walks[node, bare, True] = walk
    return walk


# ---- objects ----------------------------------------------------------------------------------------------------


class _Root:
    """How to walk a whole object of one type whose fields `reset` are not its creator's."""

    def __init__(self, node: ObjectNode, reset: frozenset[str]) -> None:
        skipped = reset | {"apiVersion", "kind"}
        self._node = node
        self._skipped = skipped
        self._plans: dict[tuple[str, ...], _Plan] = {}
        _plans.append(self._plans)
        self._shared: dict[int, tuple[FieldSet, FieldSet]] = {}
        """The shared set of each result, by its identity; with the result, which that keeps."""
        _roots_shared.append(self._shared)
        self._specs: dict[bytes, FieldSet] = {}
        """The fields of specs by their text."""
        spec = node.fields.get("spec")
        self._spec = _bare_walk_of(spec) if spec is not None and "spec" not in reset else None
        metadata = node.fields.get("metadata")
        self._metadata = metadata.node if metadata is not None else None

    def _spec_fields(self, spec: Any, text: bytes) -> FieldSet:
        found = self._specs.get(text)
        if found is None:
            assert self._spec is not None
            if len(self._specs) >= SPECS_MAX:
                self._specs.clear()
            found = self._specs[text] = self._spec(spec)
        return found

    def walk(self, obj: Object, spec_text: bytes) -> FieldSet:
        keys = tuple(obj)
        plan = self._plans.get(keys)
        if plan is None:
            plan = _plan(self._node, tuple(k for k in keys if k not in self._skipped), bare=True)
            if self._metadata is not None and "metadata" in keys:
                at = next(i for i, (key, _, _) in enumerate(plan.below) if key == "metadata")
                plan.below[at] = ("metadata", "f:metadata", _metadata_walk(self._metadata))
            self._plans[keys] = plan
            _count()
        if spec_text and self._spec is not None:
            found = _finish(plan, obj, self._spec_fields(obj["spec"], spec_text))
        else:
            found = _finish(plan, obj)
        known = self._shared.get(id(found))
        if known is None:
            known = self._shared[id(found)] = (found, shared(found))
            _count()
        return known[1]


def _metadata_walk(node: Node) -> Walk:
    inner = _map_walk(node, bare=True)

    def walk(meta: Any) -> FieldSet:
        return inner({k: v for k, v in meta.items() if k not in UNMANAGED_METADATA})

    return walk


_roots: dict[tuple[ObjectNode, frozenset[str]], _Root] = {}


def fields_of(obj: Object, node: ObjectNode, reset: frozenset[str] = frozenset(), spec_text: bytes = b"") -> FieldSet:
    """The fields that a new object sets, but for those of `reset` (top-level ones, such as ``status``) and what is
    nobody's: apiVersion, kind, the name and what the server sets. Shared; empty where it sets none. `spec_text` is the
    text of the object's spec where the caller has it: equal texts have equal fields.

    Raises `TypedError` for a list item without its key.
    """
    root = _roots.get((node, reset))
    if root is None:
        root = _roots[node, reset] = _Root(node, reset)
    return root.walk(obj, spec_text)
