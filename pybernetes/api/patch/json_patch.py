"""JSON Patch (RFC 6902), with the leniencies and messages of the library upstream uses (evanphx/json-patch v4):
negative indices count from the end, a member that is missing is null to ``test`` and ``copy``, and ``replace`` adds it;
nothing but ``replace`` and ``test`` speaks of the whole document.
"""

from __future__ import annotations

import re
from typing import Any

import orjson

from pybernetes.api.errors import BadRequest, Invalid, RequestEntityTooLarge
from pybernetes.api.json_values import same_json
from pybernetes.api.meta import Object, clone

MAX_OPERATIONS = 10_000
MAX_COPIED_BYTES = 3 * 1024 * 1024
"""What all ``copy`` operations of one patch may add together."""

REJECTED = "the server rejected our request due to an error in our request"

_INDEX = re.compile(r"[+-]?[0-9]{1,18}", re.ASCII)
_GO_KINDS = {str: "string", bool: "bool", int: "number", float: "number", list: "array", dict: "object"}


class PatchError(ValueError):
    """An operation that does not apply. The client sees `REJECTED`; this says why, for the log."""


def _malformed(found: str, wanted: str) -> BadRequest:
    return BadRequest(f"error decoding patch: json: cannot unmarshal {found} into Go {wanted}")


def _check(operations: Any, *, strict: bool) -> list[dict[str, Any]]:
    """The operations. Upstream reads them once more, into other types, where fields are validated."""
    if operations is None:
        return []
    if not isinstance(operations, list):
        found = _GO_KINDS[type(operations)]
        if not strict:
            raise BadRequest(f"json: cannot unmarshal {found} into Go value of type jsonpatch.Patch")
        raise _malformed(found, "value of type []handlers.jsonPatchOp")
    for operation in operations:
        if operation is None:
            continue
        if not isinstance(operation, dict):
            found = _GO_KINDS[type(operation)]
            if not strict:
                raise BadRequest(f"json: cannot unmarshal {found} into Go value of type jsonpatch.Operation")
            raise _malformed(found, "value of type handlers.jsonPatchOp")
        for name in ("op", "path", "from") if strict else ():
            value = operation.get(name)
            if value is not None and not isinstance(value, str):
                raise _malformed(_GO_KINDS[type(value)], f"struct field jsonPatchOp.{name} of type string")
    if len(operations) > MAX_OPERATIONS:
        raise RequestEntityTooLarge(
            f"The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {len(operations)}"
        )
    return [operation or {} for operation in operations]


def _split(pointer: str) -> list[str]:
    return [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]


def _index(items: list[Any], key: str, size: int) -> int:
    """The position that `key` names among `size` places."""
    if not _INDEX.fullmatch(key):
        raise PatchError(f'strconv.Atoi: parsing "{key}": invalid syntax')
    index = int(key)
    if index < -size or index >= size:
        raise PatchError(f"Unable to access invalid index: {index}: invalid index referenced")
    return index + size if index < 0 else index


def _get(container: Any, key: str) -> Any:
    """What is there; of an object, None where nothing is."""
    if isinstance(container, dict):
        return container.get(key)
    return container[_index(container, key, len(container))]


class _Patch:
    """Applies operations one after another to its own copy of the document."""

    def __init__(self, document: Any) -> None:
        self.document = document
        self.copied_bytes = 0

    def find(self, pointer: str) -> tuple[Any, str]:
        """(container, last part) of a pointer; (None, ...) where the way there is missing."""
        parts = _split(pointer)
        if not parts:
            return None, ""
        at = self.document
        for part in parts[:-1]:
            try:
                at = _get(at, part)
            except PatchError:
                return None, ""
            if not isinstance(at, (dict, list)):
                return None, ""
        return at, parts[-1]

    def add(self, pointer: str, value: Any, name: str = "add") -> None:
        container, key = self.find(pointer)
        if container is None:
            raise PatchError(f'{name} operation does not apply: doc is missing path: "{pointer}": missing value')
        if isinstance(container, dict):
            container[key] = value
        elif key == "-":
            container.append(value)
        else:
            container.insert(_index(container, key, len(container) + 1), value)

    def remove(self, pointer: str) -> Any:
        container, key = self.find(pointer)
        if container is None:
            raise PatchError(f'remove operation does not apply: doc is missing path: "{pointer}": missing value')
        if isinstance(container, dict):
            if key not in container:
                raise PatchError(
                    f"error in remove for path: '{pointer}': Unable to remove nonexistent key: {key}: missing value"
                )
            return container.pop(key)
        return container.pop(_index(container, key, len(container)))

    def replace(self, pointer: str, value: Any) -> None:
        if pointer == "":
            if not isinstance(value, (dict, list)):
                raise PatchError("replace operation value must be object or array")
            self.document = value
            return
        container, key = self.find(pointer)
        if container is None:
            raise PatchError(f"replace operation does not apply: doc is missing path: {pointer}: missing value")
        if isinstance(container, dict):
            container[key] = value
            return
        try:
            container[_index(container, key, len(container))] = value
        except PatchError as e:
            raise PatchError(f"replace operation does not apply: doc is missing key: {pointer}: missing value") from e

    def source(self, pointer: str, name: str) -> Any:
        container, key = self.find(pointer)
        if container is None:
            raise PatchError(f"{name} operation does not apply: doc is missing from path: {pointer}: missing value")
        return _get(container, key)

    def move(self, source: str, target: str) -> None:
        if target.startswith(source + "/"):
            raise PatchError(f"move operation does not apply: {target} lies inside {source}: invalid state detected")
        value = self.source(source, "move")
        self.remove(source)
        self.add(target, value, "move")

    def copy(self, source: str, target: str) -> None:
        value = self.source(source, "copy")
        self.copied_bytes += len(orjson.dumps(value))
        if self.copied_bytes > MAX_COPIED_BYTES:
            raise PatchError(
                f"Unable to complete the copy, the accumulated size increase of copy is {self.copied_bytes}, "
                f"exceeding the limit {MAX_COPIED_BYTES}"
            )
        self.add(target, clone(value), "copy")

    def test(self, pointer: str, value: Any) -> None:
        if pointer == "":
            found = self.document
        else:
            container, key = self.find(pointer)
            if container is None:
                raise PatchError(f"test operation does not apply: is missing path: {pointer}: missing value")
            found = _get(container, key)
        if not same_json(found, value):
            raise PatchError(f"testing value {pointer} failed: test failed")


def _text(operation: dict[str, Any], name: str) -> str:
    value = operation.get(name)
    if value is None:
        raise PatchError(f"operation missing {name} field: missing value")
    if not isinstance(value, str):
        raise PatchError(f"json: cannot unmarshal {_GO_KINDS[type(value)]} into Go value of type string")
    return value


def _apply_one(patch: _Patch, operation: dict[str, Any]) -> None:
    kind = operation.get("op")
    path = _text(operation, "path")
    if kind == "add":
        patch.add(path, clone(operation.get("value")))
    elif kind == "remove":
        patch.remove(path)
    elif kind == "replace":
        patch.replace(path, clone(operation.get("value")))
    elif kind == "move":
        patch.move(_text(operation, "from"), path)
    elif kind == "copy":
        patch.copy(_text(operation, "from"), path)
    elif kind == "test":
        patch.test(path, operation.get("value"))
    else:
        raise PatchError(f"Unexpected kind: {kind}")


def apply(obj: Object, operations: Any, *, strict: bool = True) -> Object:
    """The object with the operations applied, all or none. Unless `strict`, operations are not looked at before they
    are applied.

    Raises `BadRequest` for what is no list of operations, `Invalid` (422) where one does not apply, and
    `RequestEntityTooLarge`.
    """
    patch = _Patch(clone(obj))
    checked = _check(operations, strict=strict)
    try:
        for operation in checked:
            _apply_one(patch, operation)
        if not isinstance(patch.document, dict):
            raise PatchError("the document is no object any more")
    except PatchError as e:
        raise Invalid(REJECTED, details={}) from e
    return patch.document
