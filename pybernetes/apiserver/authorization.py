"""Authorization: the chain of authorizers, and the words in which a refusal is told.

Authorizers are synchronous and are asked for every request, so each answers from indexes in microseconds.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from pybernetes.api.errors import Forbidden
from pybernetes.api.meta import Object
from pybernetes.api.user import SYSTEM_MASTERS
from pybernetes.apiserver.interfaces import Attributes, Authorizer, Decision

_ALLOWED_MASTERS = Decision(True)


class AuthorizerChain:
    """system:masters may do everything; for others, the first authorizer that allows decides, as upstream's union.
    Nobody's opinion is a refusal, with the reasons of all."""

    def __init__(self, authorizers: Sequence[Authorizer]) -> None:
        self._authorizers = tuple(authorizers)

    def authorize(self, attributes: Attributes) -> Decision:
        if SYSTEM_MASTERS in attributes.user.groups:
            return _ALLOWED_MASTERS
        reasons = []
        for authorizer in self._authorizers:
            decision = authorizer.authorize(attributes)
            if decision.allowed or decision.denied:
                return decision
            if decision.reason:
                reasons.append(decision.reason)
        return Decision(False, "\n".join(reasons))


class AlwaysAllow:
    """Allows everything: ``--authorization-mode=AlwaysAllow``."""

    def authorize(self, attributes: Attributes) -> Decision:
        return Decision(True)


class AlwaysDeny:
    """Allows nothing, and says so: ``--authorization-mode=AlwaysDeny``."""

    def authorize(self, attributes: Attributes) -> Decision:
        return Decision(False, "Everything is forbidden.")


def quote(text: str) -> str:
    """A string as Go's %q prints it."""
    return json.dumps(text, ensure_ascii=False)


def denial_message(attributes: Attributes, reason: str = "") -> str:
    """``User "x" cannot list resource "pods" in API group "" in the namespace "default"``, as upstream words it."""
    who = f"User {quote(attributes.user.name)} cannot {attributes.verb}"
    if not attributes.is_resource_request:
        text = f"{who} path {quote(attributes.path)}"
    else:
        resource = attributes.resource
        if attributes.subresource:
            resource += "/" + attributes.subresource
        text = f"{who} resource {quote(resource)} in API group {quote(attributes.group)}"
        if attributes.namespace:
            text += f" in the namespace {quote(attributes.namespace)}"
        else:
            text += " at the cluster scope"
    return f"{text}: {reason}" if reason else text


def access_denied(attributes: Attributes, reason: str = "") -> Forbidden:
    """The 403 for a refused request."""
    message = denial_message(attributes, reason)
    if not attributes.is_resource_request:
        return Forbidden(f"forbidden: {message}", details={})
    resource = f"{attributes.resource}.{attributes.group}" if attributes.group else attributes.resource
    subject = f"{resource} {quote(attributes.name)}" if attributes.name else resource
    details: Object = {}
    if attributes.name:
        details["name"] = attributes.name
    if attributes.group:
        details["group"] = attributes.group
    details["kind"] = attributes.resource
    return Forbidden(f"{subject} is forbidden: {message}", details=details)
