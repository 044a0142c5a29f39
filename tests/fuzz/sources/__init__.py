"""Where requests come from: Schemathesis on the served OpenAPI, hypothesis on what clients write, objects, bytes."""

from __future__ import annotations

from tests.fuzz.sources.connections import connections
from tests.fuzz.sources.described import schemathesis_cases
from tests.fuzz.sources.drawing import NAMESPACE, POLICY_NAMESPACE, Source
from tests.fuzz.sources.lists import continued, lists
from tests.fuzz.sources.objects import objects, posts_to_subresources, quantities
from tests.fuzz.sources.patches import managed, patches, pointer_patches
from tests.fuzz.sources.policies import policies
from tests.fuzz.sources.wire import wire

__all__ = ["NAMESPACE", "POLICY_NAMESPACE", "SOURCES"]

SOURCES: dict[str, tuple[Source, float]] = {
    "schemathesis": (schemathesis_cases, 0.2),
    "objects": (objects, 0.2),
    "subresources": (posts_to_subresources, 0.06),
    "patches": (patches, 0.12),
    "pointer patches": (pointer_patches, 0.04),
    "managed fields": (managed, 0.05),
    "lists": (lists, 0.08),
    "continued": (continued, 0.05),
    "quantities": (quantities, 0.04),
    "wire": (wire, 0.09),
    "connections": (connections, 0.05),
    "policies": (policies, 0.02),
}
"""Each with its share of a campaign's requests."""
