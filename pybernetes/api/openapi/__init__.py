"""OpenAPI: what kubectl asks for explain, validation and patches. Documents are built when first asked for, and kept.

One `OpenAPI` belongs to one set of resources: where that changes (a CRD came or went), make a new one. Building the
v2 document takes a few tenths of a second of CPU; a server does it off its event loop.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property

from pybernetes import KUBERNETES_VERSION
from pybernetes.api.document import Document
from pybernetes.api.openapi import nonresources, v2, v3
from pybernetes.api.openapi.operations import GroupVersionKind, Path
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
        self._v3: dict[str, Document] = {}

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
        return self.v3_at(f"apis/{group}/{version}" if group else f"api/{version}")

    def v3_at(self, path: str) -> Document | None:
        """The document below ``/openapi/v3/``, None for a path that has none."""
        if path in self._versions:
            if path not in self._v3:
                built = v3.build(self._versions[path], self._version, self._schemas)
                self._v3[path] = Document.of_json(built)
        elif path in self._others:
            if path not in self._v3:
                self._v3[path] = Document.of_json(v3.build_paths(self._others[path], self._version, self._schemas))
        else:
            return None
        return self._v3[path]

    @cached_property
    def _versions(self) -> dict[str, list[Resource]]:
        """Resources by the path of their version's document."""
        found: dict[str, list[Resource]] = {}
        for r in self._resources:
            found.setdefault(f"apis/{r.group}/{r.version}" if r.group else f"api/{r.version}", []).append(r)
        return found

    @cached_property
    def _others(self) -> dict[str, list[Path]]:
        return nonresources.documents(self._resources)

    @cached_property
    def v3_index(self) -> Document:
        """``/openapi/v3``: where each document lies, with its hash, so that clients may keep it.

        Needs all documents built; each takes some hundredths of a second.
        """
        paths = {}
        for path in (*self._versions, *self._others):
            document = self.v3_at(path)
            assert document is not None
            paths[path] = {"serverRelativeURL": f"/openapi/v3/{path}?hash={document.etag}"}
        return Document.of_json({"paths": dict(sorted(paths.items()))})
