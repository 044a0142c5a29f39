"""The types of the API's objects: where they come from (`source`), what they are (`nodes`), how a body is read
(`text`) and checked against them (`decode`)."""

from pybernetes.api.schema.nodes import (
    Field,
    ListNode,
    MapNode,
    Node,
    ObjectNode,
    Scalar,
    UnionNode,
    preload,
    type_of,
)

__all__ = ["Field", "ListNode", "MapNode", "Node", "ObjectNode", "Scalar", "UnionNode", "preload", "type_of"]
