"""Answers in the form that was negotiated: as they are, as a Table, or as metadata alone. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from pybernetes.api.errors import BadRequest
from pybernetes.api.meta import Object
from pybernetes.api.resources import Resource
from pybernetes.apiserver import encoding
from pybernetes.apiserver.entries import Entry, Frame
from pybernetes.apiserver.interfaces import RequestInfo
from pybernetes.apiserver.listing import Listing
from pybernetes.apiserver.negotiation import YAML, Media, not_acceptable
from pybernetes.apiserver.replies import render, render_bytes

_INCLUDES = ("None", "Metadata", "Object")


def _partial(obj: Object, version: str) -> Object:
    return {
        "kind": "PartialObjectMetadata",
        "apiVersion": f"meta.k8s.io/{version}",
        "metadata": obj.get("metadata") or {},
    }


def _partial_list(objects: Sequence[Object], meta: Object, version: str) -> Object:
    return {
        "kind": "PartialObjectMetadataList",
        "apiVersion": f"meta.k8s.io/{version}",
        "metadata": meta,
        "items": [_partial(o, version) for o in objects],
    }


def _table(info: RequestInfo, objects: Sequence[Object], meta: Object, version: str) -> Object:
    from pybernetes.api.printers import table

    include = info.query.get("includeObject") or "Metadata"
    if include not in _INCLUDES:
        raise BadRequest(f'unrecognized includeObject value: "{include}"')
    assert info.resource is not None
    return table(info.resource, objects, meta, include=include, version=version)


def render_answer(info: RequestInfo, answer: Entry | Object, media: Media) -> tuple[bytes, bytes]:
    """(body, content type) of one object."""
    resource = info.resource
    assert resource is not None
    if not isinstance(answer, Entry):
        if media.transform == "PartialObjectMetadata":
            answer = _partial(answer, media.version)
        return render(answer, Media(media.type, pretty=media.pretty))
    if not media.transform:
        return render_bytes(answer.raw_as(resource), media)
    obj = answer.object_as(resource)
    if media.transform == "Table":
        meta = {"resourceVersion": obj["metadata"].get("resourceVersion", "")}
        return render(_table(info, [obj], meta, media.version), media)
    if media.transform == "PartialObjectMetadata":
        return render(_partial(obj, media.version), media)
    raise not_acceptable()


def list_meta(listing: Listing) -> Object:
    meta: Object = {"resourceVersion": str(listing.revision)}
    if listing.continue_token:
        meta["continue"] = listing.continue_token
    if listing.remaining:
        meta["remainingItemCount"] = listing.remaining
    return meta


def render_list(info: RequestInfo, listing: Listing, media: Media) -> tuple[bytes, bytes]:
    """(body, content type) of a list, its items' cached bytes joined where it is sent as it is."""
    resource: Resource = listing.resource
    if not media.transform:
        head = encoding.list_head(
            resource.api_version, resource.list_kind, str(listing.revision), listing.continue_token, listing.remaining
        )
        items = [e.raw_as(resource) for e in listing.items]
        body = encoding.join_list(head, items)
        if media.type == YAML or media.pretty:
            return render_bytes(body, media)
        return body, b"application/json"
    objects = [e.object_as(resource) for e in listing.items]
    if media.transform == "Table":
        return render(_table(info, objects, list_meta(listing), media.version), media)
    if media.transform == "PartialObjectMetadataList":
        return render(_partial_list(objects, list_meta(listing), media.version), media)
    raise not_acceptable()


def watch_line(info: RequestInfo, frame: Frame, media: Media) -> bytes:
    """A watch event's line in a transformed form. Table clients print the columns once, and take them from the first
    event."""
    assert info.resource is not None
    obj = frame.entry.object_as(info.resource)
    if media.transform == "Table":
        shown = _table(info, [obj], {"resourceVersion": obj["metadata"].get("resourceVersion", "")}, media.version)
    else:
        shown = _partial(obj, media.version)
    return encoding.watch_frame(frame.type, encoding.encode(shown))
