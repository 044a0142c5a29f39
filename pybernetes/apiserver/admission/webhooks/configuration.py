"""The webhooks of all configurations of one kind, kept by watch and indexed by what requests they are for.

`WebhookIndex` parses a configuration once, when it changes. Which webhooks concern an operation on a resource is
computed at the first such request and kept until a configuration changes; their order is that of the configurations'
names, then that within the configuration.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pybernetes.api.meta import Object, name_of
from pybernetes.api.resources import Resource
from pybernetes.apiserver.admission.dynamic.conditions import MatchConditions
from pybernetes.apiserver.admission.dynamic.matching import EXEMPT_GROUP, Criteria, Invocation, equivalents
from pybernetes.apiserver.admission.webhooks.caller import Target
from pybernetes.apiserver.admission.webhooks.review import VERSIONS
from pybernetes.apiserver.interfaces import AdmissionOperation, ObservableReader

DEFAULT_TIMEOUT_SECONDS = 10


@dataclass(frozen=True, slots=True)
class Webhook:
    uid: str
    """Tells it from all others, as long as its configuration does not change."""
    configuration: str
    name: str
    target: Target
    criteria: Criteria
    conditions: MatchConditions | None
    fails_open: bool
    timeout_seconds: int
    version: str
    """Of the AdmissionReview that it understands."""
    allows_dry_run: bool
    reinvoked: bool

    @classmethod
    def of(cls, configuration: str, position: int, webhook: Object) -> Webhook:
        name = str(webhook["name"])
        conditions = webhook.get("matchConditions")
        fails_open = webhook.get("failurePolicy") == "Ignore"
        versions = webhook.get("admissionReviewVersions") or ()
        return cls(
            f"{configuration}/{name}/{position}",
            configuration,
            name,
            Target.of(webhook.get("clientConfig") or {}),
            Criteria(
                webhook.get("rules") or (),
                match_policy=str(webhook.get("matchPolicy") or "Equivalent"),
                namespace_selector=webhook.get("namespaceSelector"),
                object_selector=webhook.get("objectSelector"),
            ),
            MatchConditions.of(conditions, fails_open=fails_open) if conditions else None,
            fails_open,
            int(webhook.get("timeoutSeconds") or DEFAULT_TIMEOUT_SECONDS),
            next((v for v in versions if v in VERSIONS), VERSIONS[0]),
            webhook.get("sideEffects") in ("None", "NoneOnDryRun"),
            webhook.get("reinvocationPolicy") == "IfNeeded",
        )


Called = tuple[Webhook, Invocation]


class WebhookIndex:
    def __init__(self, reader: ObservableReader, resource: Resource, changed: Callable[[], None]) -> None:
        """`resource` is one of the two kinds of configurations."""
        self._changed = changed
        self._configurations: dict[str, tuple[Webhook, ...]] = {}
        self._called: dict[tuple[str, Resource, str], tuple[Called, ...]] = {}
        self.close = reader.subscribe(resource, self._on_configuration)

    def _on_configuration(self, old: Object | None, new: Object | None) -> None:
        if old is not None and new is not None and old.get("webhooks") == new.get("webhooks"):
            return
        obj: Any = new or old
        name = name_of(obj)
        if new is not None:
            webhooks = new.get("webhooks") or ()
            self._configurations[name] = tuple(Webhook.of(name, i, webhook) for i, webhook in enumerate(webhooks))
        else:
            self._configurations.pop(name, None)
        self._called.clear()
        self._changed()

    def called(self, operation: AdmissionOperation, resource: Resource, subresource: str) -> tuple[Called, ...]:
        """Who is for such requests, in order. `resource` is the one asked for."""
        key = (operation, resource, subresource)
        called = self._called.get(key)
        if called is None:
            called = self._called[key] = tuple(
                (webhook, invocation)
                for name in sorted(self._configurations)
                for webhook in self._configurations[name]
                if (invocation := webhook.criteria.invocation(operation, resource, subresource)) is not None
            )
        return called

    def concerns(self, operation: AdmissionOperation, resource: Resource, subresource: str) -> bool:
        """Whether anybody is for such requests, in whatever version they come."""
        if not self._configurations or resource.group == EXEMPT_GROUP:
            return False
        return any(self.called(operation, r, subresource) for r in (resource, *equivalents(resource)))
