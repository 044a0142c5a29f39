"""Strategic merge patch: lists merge by the keys that their types declare, and directives say what cannot be said by
values: ``$patch: replace|delete|merge``, ``$retainKeys``, ``$deleteFromPrimitiveList/x``, ``$setElementOrder/x``.

Order of a merged list: ``$setElementOrder`` before the patch's own order before the live one's.
Source: the Kubernetes API conventions and ``k8s.io/apimachinery/pkg/util/strategicpatch``.
"""

from __future__ import annotations

from typing import Any

import orjson

from pybernetes.api.errors import BadRequest, Invalid
from pybernetes.api.meta import Object
from pybernetes.api.patch.json_patch import REJECTED
from pybernetes.api.schema.nodes import ANY, Field, ListNode, MapNode, Node, ObjectNode, UnionNode

_PATCH = "$patch"
_RETAIN_KEYS = "$retainKeys"
_DELETE = "$deleteFromPrimitiveList"
_ORDER = "$setElementOrder"

_BAD_PRIMITIVE_LIST = "invalid patch format of primitive list"
_BAD_RETAIN_KEYS = "invalid patch format of retainKeys"
_BAD_ORDER = "invalid patch format of setElementOrder list"
_LISTS_OF_LISTS = "lists of lists are not supported"


def go_text(value: Any) -> str:
    """A value as Go's ``%v`` prints it."""
    if isinstance(value, dict):
        return "map[" + " ".join(f"{k}:{go_text(v)}" for k, v in sorted(value.items())) + "]"
    if isinstance(value, list):
        return "[" + " ".join(go_text(v) for v in value) + "]"
    if value is None:
        return "<nil>"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _no_merge_key(item: Any, key: str) -> BadRequest:
    return BadRequest(f"map: {go_text(item)} does not contain declared merge key: {key}")


def _key_of(item: Any, merge_key: str) -> Any:
    """What identifies a list's item: its merge key's value, or the item itself in a list of scalars."""
    if not merge_key:
        return item
    if not isinstance(item, dict):
        raise BadRequest(f"expected a map in a list that merges by {merge_key}, but received {go_text(item)}")
    if merge_key not in item:
        raise _no_merge_key(item, merge_key)
    return item[merge_key]


def _comparable(key: Any) -> Any:
    """What a key is told from others by: unlike Python's, true is not 1. Hashable, also where it is no scalar."""
    if type(key) is str:
        return key
    return orjson.dumps(key) if isinstance(key, (dict, list)) else (isinstance(key, bool), key)


def _keys_of(items: list[Any], merge_key: str) -> list[Any]:
    return [_comparable(_key_of(item, merge_key)) for item in items]


def _places(keys: list[Any]) -> dict[Any, int]:
    """The first place of each key."""
    return {key: i for i, key in reversed(list(enumerate(keys)))}


# ---- what a patch says about a place where nothing is yet -------------------------------------------------------


def _is_directive(key: str) -> bool:
    return key in (_PATCH, _RETAIN_KEYS) or key.startswith((_DELETE + "/", _ORDER + "/"))


def _plain(value: Any) -> Any:
    """A patch's value without directives and nulls."""
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items() if v is not None and not _is_directive(k)}
    if isinstance(value, list):
        return [
            _plain(v)
            for v in value
            if not (isinstance(v, dict) and (v.get(_PATCH) == "delete" or v.keys() == {_PATCH}))
        ]
    return value


# ---- maps -------------------------------------------------------------------------------------------------------


def _field(node: Node, key: str) -> tuple[Node, frozenset[str]]:
    """(type, patch strategies) of a map's member."""
    if isinstance(node, UnionNode):
        node = node.object
    if isinstance(node, ObjectNode):
        field: Field | None = node.fields.get(key)
        return (field.node, field.patch_strategies) if field else (ANY, frozenset())
    return (node.values if isinstance(node, MapNode) else ANY), frozenset()


def _retain_keys(target: dict[str, Any], patch: dict[str, Any]) -> None:
    keys = patch.get(_RETAIN_KEYS)
    if keys is None:
        return
    if not isinstance(keys, list) or not all(isinstance(k, str) for k in keys):
        raise BadRequest(_BAD_RETAIN_KEYS)
    kept = set(keys)
    for key, value in patch.items():
        if value is not None and not _is_directive(key) and key not in kept:
            raise BadRequest(_BAD_RETAIN_KEYS)
    for key in [k for k in target if k not in kept]:
        del target[key]


def _merge_map(live: dict[str, Any], patch: dict[str, Any], node: Node) -> dict[str, Any]:
    """`live` with the patch merged in: a new map that shares what stays."""
    directive = patch.get(_PATCH)
    if directive == "replace":
        return _plain(patch)  # type: ignore[no-any-return]
    if directive == "delete":
        return {}
    if directive not in (None, "merge"):
        raise BadRequest(f"unknown patch type: {go_text(directive)} in map: {go_text(patch)}")
    target = dict(live)
    ordered: set[str] = set()
    if any([key[:1] == "$" for key in patch]):  # noqa: C419 - a generator costs more than these few
        _retain_keys(target, patch)
        ordered = _orders(target, patch, node)
    for key, value in patch.items():
        if key[:1] == "$" or key in ordered:
            if key.startswith(_DELETE):
                _delete_items(target, key, value)
                continue
            if key in (_PATCH, _RETAIN_KEYS) or key in ordered or key.startswith(_ORDER + "/"):
                continue
        if value is None:
            target.pop(key, None)
        elif key not in target or type(target[key]) is not type(value):
            target[key] = _plain(value)
        else:
            below, strategies = _field(node, key)
            target[key] = _merge_value(target[key], value, below, strategies)
    return target


def _merge_value(live: Any, value: Any, node: Node, strategies: frozenset[str]) -> Any:
    """The merge of two values of one Python type."""
    if isinstance(value, dict):
        return _plain(value) if "replace" in strategies else _merge_map(live, value, node)
    if isinstance(value, list):
        if isinstance(node, ListNode) and "merge" in node.patch_strategies:
            return _merge_list(live, value, node)
        return _plain(value)
    return value


def _delete_items(target: dict[str, Any], directive: str, value: Any) -> None:
    key = directive.removeprefix(_DELETE + "/")
    if key == directive or not isinstance(value, list):
        raise BadRequest(_BAD_PRIMITIVE_LIST)
    live = target.get(key)
    if isinstance(live, list):
        gone = set(_keys_of(value, ""))
        target[key] = [v for v in live if _comparable(v) not in gone]


# ---- lists ------------------------------------------------------------------------------------------------------


def _check_items(*lists: list[Any]) -> bool:
    """Whether the items are maps. Raises where they are lists, or of several kinds."""
    kinds = {dict if isinstance(v, dict) else list if isinstance(v, list) else type(v) for one in lists for v in one}
    if list in kinds:
        raise Invalid(REJECTED, details={}) from ValueError(_LISTS_OF_LISTS)
    if len(kinds) > 1 and not kinds <= {int, float}:
        raise BadRequest(f"list element types are not identical: {go_text(list(lists))}")
    return kinds == {dict}


def _merge_list(live: list[Any], patch: list[Any], node: ListNode) -> list[Any]:
    if not live and not patch:
        return live
    if not _check_items(live, patch):
        known = set(_keys_of(live, ""))
        merged = list(live)
        for item, key in zip(patch, _keys_of(patch, ""), strict=True):
            if key not in known:
                merged.append(item)
                known.add(key)
        return _arrange(merged, patch, live, "")
    merge_key = node.merge_key
    if not merge_key:
        raise BadRequest("cannot merge lists without merge key for type struct")

    replace = False
    plain: list[dict[str, Any]] = []
    gone: set[Any] = set()
    for item in patch:
        directive = item.get(_PATCH)
        if directive is None:
            plain.append(item)
        elif directive == "delete":
            gone.add(_comparable(_key_of(item, merge_key)))
        elif directive == "replace":
            replace = True
        elif directive == "merge":
            raise BadRequest("merging lists cannot yet be specified in the patch")
        else:
            raise BadRequest(f"unknown patch type: {go_text(directive)} in map: {go_text(item)}")
    if replace:
        return [_plain(item) for item in plain]

    if gone:
        live = [v for v, key in zip(live, _keys_of(live, merge_key), strict=True) if key not in gone]
    merged = list(live)
    places = _places(_keys_of(merged, merge_key))
    for item in plain:
        key = _comparable(_key_of(item, merge_key))
        at = places.get(key)
        if at is None:
            places[key] = len(merged)
            merged.append(_plain(item))
        else:
            merged[at] = _merge_map(merged[at], item, node.items)
    return _arrange(merged, plain, live, merge_key)


def _arrange(items: list[Any], first: list[Any], second: list[Any], merge_key: str) -> list[Any]:
    """The items in order: those that `first` names in its order; others, in the order of `second`, go before the next
    of those wherever `second` has them before it."""
    wanted = _places(_keys_of(first, merge_key))
    places = _places(_keys_of(second, merge_key))
    keyed = list(zip(items, _keys_of(items, merge_key), strict=True))
    named = sorted((pair for pair in keyed if pair[1] in wanted), key=lambda pair: wanted[pair[1]])
    others = sorted((pair for pair in keyed if pair[1] not in wanted), key=lambda pair: places.get(pair[1], -1))
    out: list[Any] = []
    i = 0
    for value, key in named:
        place = places.get(key, -1)
        while i < len(others) and 0 <= places.get(others[i][1], -1) < place:
            out.append(others[i][0])
            i += 1
        out.append(value)
    return out + [value for value, _ in others[i:]]


def _orders(target: dict[str, Any], patch: dict[str, Any], node: Node) -> set[str]:
    """Merges the lists that a ``$setElementOrder`` goes with, and returns their names."""
    done: set[str] = set()
    for directive, order in patch.items():
        if not directive.startswith(_ORDER):
            continue
        key = directive.removeprefix(_ORDER + "/")
        live, changes = target.get(key), patch.get(key)
        if key == directive or not all(isinstance(v, (list, type(None))) for v in (order, live, changes)):
            raise BadRequest(_BAD_ORDER)
        order = order or []
        if changes is None and (live is None or key in patch):
            continue  # nothing to order, or the list is to be deleted
        below, _ = _field(node, key)
        merge_key = below.merge_key if isinstance(below, ListNode) else ""
        _check_order(changes or [], order, merge_key)
        if live is None or not (isinstance(below, ListNode) and "merge" in below.patch_strategies):
            merged = _plain(changes) if changes is not None else live
        else:
            merged = _merge_list(live, changes, below) if changes is not None else live
        assert merged is not None
        target[key] = _arrange(merged, order, live or [], merge_key)
        done.add(key)
    return done


def _check_order(changes: list[Any], order: list[Any], merge_key: str) -> None:
    """The patch's items must stand in `order`, in the same sequence."""
    if not order or not changes:
        return
    wanted = _keys_of(order, merge_key)
    at = 0
    for item in changes:
        if isinstance(item, dict) and _PATCH in item:
            continue
        key = _comparable(_key_of(item, merge_key))
        while at < len(wanted) and wanted[at] != key:
            at += 1
        if at == len(wanted):
            raise BadRequest(
                f"The order in patch list:\n{go_text(changes)}\n doesn't match {_ORDER} list:\n{go_text(order)}\n"
            )
        at += 1


def apply(obj: Object, patch: Any, node: ObjectNode) -> Object:
    """The object with the patch merged in by its type's rules, a new one that shares what stays.

    Raises `BadRequest` for a malformed patch, `Invalid` (422) for lists of lists.
    """
    if patch is None:
        patch = {}
    if not isinstance(patch, dict):
        raise BadRequest(
            f"json: cannot unmarshal {'array' if isinstance(patch, list) else 'string'} "
            "into Go value of type map[string]interface {}"
        )
    return _merge_map(obj, patch, node)
