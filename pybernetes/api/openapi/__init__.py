"""OpenAPI: what kubectl asks for explain, validation and patches. Documents are built when first asked for, and kept.

One `OpenAPI` belongs to one set of resources: where that changes (a CRD came or went), make a new one. Building the
v2 document takes a few tenths of a second of CPU; a server does it off its event loop.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property

from pybernetes import KUBERNETES_VERSION
from pybernetes.api.document import Document
from pybernetes.api.openapi import v2, v3
from pybernetes.api.openapi.operations import GroupVersionKind
from pybernetes.api.openapi.schemas import Schemas
from pybernetes.api.resources import Resource
from pybernetes.api.schema.source import Definition

V2_PROTOBUF = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
"""The Content-Type of `OpenAPI.v2_protobuf`."""

V2_PROTOBUF_ACCEPT = frozenset({V2_PROTOBUF, "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"})
"""The media types by which clients ask for it. kubectl accepts no other form of v2, and uses the second name, which
is no valid media type and must not come back as Content-Type."""


class OpenAPI:
    """The documents of some resources.

    `definitions` are those of custom kinds: (definition name, definition in OpenAPI v2's form) by group, version and
    kind. Kinds that neither have nor are built in are described as any object.
    """

    def __init__(
        self,
        resources: Iterable[Resource],
        definitions: Mapping[GroupVersionKind, tuple[str, Definition]] | None = None,
        version: str = KUBERNETES_VERSION,
    ) -> None:
        self._resources = tuple(resources)
        self._schemas = Schemas(definitions or {})
        self._version = version
        self._v3: dict[tuple[str, str], Document] = {}

    @cached_property
    def v2_json(self) -> Document:
        """``/openapi/v2`` as JSON."""
        return Document.of_json(v2.build(self._resources, self._version, self._schemas))

    @cached_property
    def v2_protobuf(self) -> Document:
        """``/openapi/v2`` as protobuf, media type `V2_PROTOBUF`."""
        from pybernetes.api.openapi import gnostic

        return Document.of(gnostic.encode(v2.build(self._resources, self._version, self._schemas)))

    def v3(self, group: str, version: str) -> Document | None:
        """``/openapi/v3/apis/GROUP/VERSION`` (``/openapi/v3/api/v1`` for the core group) as JSON, None for a version
        that is not served."""
        found = self._v3.get((group, version))
        if found is None:
            resources = [r for r in self._resources if (r.group, r.version) == (group, version)]
            if not resources:
                return None
            found = self._v3[group, version] = Document.of_json(v3.build(resources, self._version, self._schemas))
        return found

    @cached_property
    def v3_index(self) -> Document:
        """``/openapi/v3``: where each document lies, with its hash, so that clients may keep it.

        Needs all documents built; each takes some hundredths of a second.
        """
        paths = {}
        for group, version in dict.fromkeys((r.group, r.version) for r in self._resources):
            path = f"apis/{group}/{version}" if group else f"api/{version}"
            document = self.v3(group, version)
            assert document is not None
            paths[path] = {"serverRelativeURL": f"/openapi/v3/{path}?hash={document.etag}"}
        return Document.of_json({"paths": dict(sorted(paths.items()))})
