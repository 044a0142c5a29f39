"""Patches: from a content type and a body to a change of an object. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pybernetes.api import errors, field
from pybernetes.api.meta import Object
from pybernetes.api.patch import json_patch, merge, strategic
from pybernetes.api.schema.nodes import type_of
from pybernetes.apiserver.options import WriteOptions
from pybernetes.apiserver.served import What
from pybernetes.client.interface import APPLY_PATCH, JSON_PATCH, MERGE_PATCH, STRATEGIC_MERGE_PATCH

TYPES = (JSON_PATCH, MERGE_PATCH, STRATEGIC_MERGE_PATCH, APPLY_PATCH)


@dataclass(frozen=True, slots=True)
class Patch:
    """A parsed patch: of `type` JSON_PATCH a list of operations, else an object."""

    type: str
    body: Any


def unsupported(content_type: str) -> errors.UnsupportedMediaType:
    return errors.UnsupportedMediaType(
        f"the body of the request was in an unknown format - accepted media types include: {', '.join(TYPES)}"
    )


def check_options(patch: Patch, options: WriteOptions) -> None:
    """Raises `Invalid`: apply needs a manager, and nothing else may be forced."""
    if patch.type == APPLY_PATCH and not options.field_manager:
        fault = field.required(field.Path("fieldManager"), "is required for apply patch")
    elif patch.type != APPLY_PATCH and options.force:
        fault = field.forbidden(field.Path("force"), "may not be specified for non-apply patch")
    else:
        return
    raise errors.invalid("meta.k8s.io", "PatchOptions", "", [fault])


def apply(patch: Patch, current: Object, what: What) -> Object:
    """The patched object, a new one; an applied configuration is merged as it is, which is right for a Scale alone.
    Raises `Invalid`, `BadRequest` and others as the patch modules say."""
    if patch.type in (MERGE_PATCH, APPLY_PATCH):
        return merge.apply(current, patch.body)
    if patch.type == JSON_PATCH:
        return json_patch.apply(current, patch.body)
    return strategic.apply(current, patch.body, type_of(what))
