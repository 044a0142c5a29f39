"""Answers in the form that was negotiated: as they are, as a Table, or as metadata alone. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pybernetes.api.errors import BadRequest, NotAcceptable
from pybernetes.api.meta import Object
from pybernetes.api.resources import Resource
from pybernetes.apiserver import encoding
from pybernetes.apiserver.entries import Entry, Frame
from pybernetes.apiserver.interfaces import RequestInfo
from pybernetes.apiserver.listing import Listing
from pybernetes.apiserver.negotiation import YAML, Media
from pybernetes.apiserver.replies import render, render_bytes
from pybernetes.lib.clock import Clock

if TYPE_CHECKING:
    from pybernetes.api.printers import IncludeObject


def table(*arguments: Any, **options: Any) -> Object:
    """See `pybernetes.api.printers.table`, which loads when somebody first wants a Table."""
    from pybernetes.api.printers import table as make

    return make(*arguments, **options)


_INCLUDES: dict[str, IncludeObject] = {"None": "None", "Metadata": "Metadata", "Object": "Object"}


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


def include_of(query: Mapping[str, str]) -> IncludeObject:
    """The includeObject parameter: what of each object a Table's rows carry. Raises `BadRequest`."""
    asked = query.get("includeObject") or "Metadata"
    include = _INCLUDES.get(asked)
    if include is None:
        raise BadRequest(f'unrecognized includeObject value: "{asked}"')
    return include


def is_read(info: RequestInfo) -> bool:
    """Whether what is created can be read later: a review, a token or an eviction cannot, and has no table."""
    resource = info.resource
    assert resource is not None
    target = resource.subresource(info.subresource) if info.subresource else resource
    return target is not None and "get" in target.verbs


def render_answer(info: RequestInfo, answer: Entry | Object, media: Media, now: float) -> tuple[bytes, bytes]:
    """(body, content type) of one object."""
    resource = info.resource
    assert resource is not None
    if not isinstance(answer, Entry):
        if media.transform == "PartialObjectMetadata":
            answer = _partial(answer, media.version)
        elif media.transform == "Table" and answer.get("kind") == "Scale":
            include = include_of(info.query)
            answer = table(resource, [answer], now, include_object=include, version=media.version)
        return render(answer, Media(media.type, pretty=media.pretty))
    if not media.transform:
        return render_bytes(answer.raw_as(resource), media)
    obj = answer.object_as(resource)
    if media.transform == "Table":
        version = obj["metadata"].get("resourceVersion", "")
        shown = table(resource, [obj], now, version, include_of(info.query), version=media.version)
        return render(shown, media)
    if media.transform == "PartialObjectMetadata":
        return render(_partial(obj, media.version), media)
    raise NotAcceptable(
        "you requested PartialObjectMetadataList, but the requested object is not a list "
        f"(*{resource.version}.{resource.kind})"
    )


def list_meta(listing: Listing) -> Object:
    meta: Object = {"resourceVersion": str(listing.revision)}
    if listing.continue_token:
        meta["continue"] = listing.continue_token
    if listing.remaining:
        meta["remainingItemCount"] = listing.remaining
    return meta


def render_list(info: RequestInfo, listing: Listing, media: Media, now: float) -> tuple[bytes, bytes]:
    """(body, content type) of a list, its items' cached bytes joined where it is sent as it is: there they carry no
    kind and apiVersion, as upstream."""
    resource: Resource = listing.resource
    if not media.transform:
        head = encoding.list_head(
            resource.api_version, resource.list_kind, str(listing.revision), listing.continue_token, listing.remaining
        )
        prefix = encoding.typed_prefix(resource)
        body = encoding.join_list(head, [encoding.untyped(e.raw_as(resource), prefix) for e in listing.items])
        if media.type == YAML or media.pretty:
            return render_bytes(body, media)
        return body, b"application/json"
    objects = [e.object_as(resource) for e in listing.items]
    if media.transform == "Table":
        shown = table(
            resource, objects, now, str(listing.revision), include_of(info.query), listing.continue_token,
            listing.remaining or None, version=media.version,
        )  # fmt: skip
        return render(shown, media)
    if media.transform == "PartialObjectMetadataList":
        return render(_partial_list(objects, list_meta(listing), media.version), media)
    raise NotAcceptable(
        "you requested PartialObjectMetadata, but the requested object is a list "
        f"(*{resource.version}.{resource.list_kind})"
    )


class WatchRenderer:
    """The lines of one watch in a transformed form. Of a Table, only the first event carries the columns."""

    def __init__(self, info: RequestInfo, media: Media, clock: Clock) -> None:
        """Raises `BadRequest`."""
        assert info.resource is not None
        self._resource = info.resource
        self._media = media
        self._clock = clock
        self._headers = True
        self._include = include_of(info.query)

    def line(self, frame: Frame) -> bytes:
        obj = frame.entry.object_as(self._resource)
        return encoding.watch_frame(frame.type, encoding.encode(self._shown(obj)))

    def bookmark(self, obj: Object) -> Object:
        if self._media.transform == "Table":
            version = obj["metadata"]["resourceVersion"]
            answer = table(self._resource, [], 0.0, version, headers=self._headers, version=self._media.version)
            self._headers = False
            return {**answer, "rows": [{"cells": [], "object": obj}]}
        return _partial(obj, self._media.version)

    def _shown(self, obj: Object) -> Object:
        if self._media.transform != "Table":
            return _partial(obj, self._media.version)
        version = obj["metadata"].get("resourceVersion", "")
        now = self._clock.now()
        answer = table(
            self._resource, [obj], now, version, self._include, headers=self._headers, version=self._media.version
        )
        self._headers = False
        return answer
