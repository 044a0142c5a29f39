"""When the change happened that a slice now shows (annotation ``endpoints.kubernetes.io/last-change-trigger-time``),
from which network programming latency is measured. Bounded by the Services that are there.

Source: upstream's ``pkg/controller/util/endpoint/trigger_time_tracker.go``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pybernetes.api.meta import Object, get_condition, key_of, metadata
from pybernetes.api.time import parse_time

ANNOTATION = "endpoints.kubernetes.io/last-change-trigger-time"


@dataclass(frozen=True, slots=True)
class _Seen:
    service: str
    pods: dict[str, str]


class TriggerTimes:
    """Remembers, by Service, the times last seen. One event loop owns it."""

    def __init__(self) -> None:
        self._seen: dict[str, _Seen] = {}

    def forget(self, key: str) -> None:
        self._seen.pop(key, None)

    def changed_at(self, service: Object, pods: Sequence[Object]) -> str:
        """The earliest change since the last call for this Service (RFC 3339), empty where there is none."""
        key = key_of(service)
        now = _Seen(
            str(metadata(service).get("creationTimestamp") or ""),
            {key_of(p): since for p in pods if (since := _ready_changed(p))},
        )
        before = self._seen.get(key)
        self._seen[key] = now
        changes = []
        if before is None or before.service != now.service:
            changes.append(now.service)
        for pod, since in now.pods.items():
            known = before.pods.get(pod) if before is not None else None
            if known is None or parse_time(since) > parse_time(known):
                changes.append(since)
        if before is None:
            # All of the Service's history: the newest part made it complete.
            return max((c for c in changes if c), default="")
        return min((c for c in changes if c), default="")


def _ready_changed(pod: Object) -> str:
    return str((get_condition(pod, "Ready") or {}).get("lastTransitionTime") or "")
