"""Patches: from a content type and a body to a change of an object. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pybernetes.api import errors
from pybernetes.api.meta import Object
from pybernetes.api.patch import json_patch, merge, strategic
from pybernetes.api.schema.nodes import type_of
from pybernetes.apiserver.served import What
from pybernetes.client.interface import JSON_PATCH, MERGE_PATCH, STRATEGIC_MERGE_PATCH

TYPES = (JSON_PATCH, MERGE_PATCH, STRATEGIC_MERGE_PATCH)


@dataclass(frozen=True, slots=True)
class Patch:
    """A parsed patch: of `type` JSON_PATCH a list of operations, else an object."""

    type: str
    body: Any


def unsupported(content_type: str) -> errors.UnsupportedMediaType:
    return errors.UnsupportedMediaType(
        f"the body of the request was in an unknown format - accepted media types include: {', '.join(TYPES)}"
    )


def apply(patch: Patch, current: Object, what: What) -> Object:
    """The patched object, a new one. Raises `Invalid`, `BadRequest` and others as the patch modules say."""
    if patch.type == MERGE_PATCH:
        return merge.apply(current, patch.body)
    if patch.type == JSON_PATCH:
        return json_patch.apply(current, patch.body)
    return strategic.apply(current, patch.body, type_of(what))
