"""Events, of v1 and of events.k8s.io/v1: one stored kind with two spellings of a few fields.

Source of rules and texts: ``pkg/apis/core/validation/events.go``.
"""

from __future__ import annotations

from typing import Any

from pybernetes.api import names
from pybernetes.api.field import FieldError
from pybernetes.api.kinds.faults import Faults
from pybernetes.api.kinds.strategy import Strategy
from pybernetes.api.meta import Object, name_of, namespace_of

_MAX_REASON = 128
_MAX_NOTE = 1024
_MIN_SERIES = 2


_FIXED = {
    "involvedObject": "regarding",
    "reason": "reason",
    "message": "note",
    "source": "deprecatedSource",
    "firstTimestamp": "deprecatedFirstTimestamp",
    "lastTimestamp": "deprecatedLastTimestamp",
    "count": "deprecatedCount",
    "type": "type",
    "eventTime": "eventTime",
    "action": "action",
    "related": "related",
    "reportingController": "reportingController",
    "reportingInstance": "reportingInstance",
}
"""What an update through the new group may not change: its name in messages, and in the new spelling."""

_OLD_NAMES = {"reportingController": "reportingComponent"}


class EventStrategy(Strategy):
    """Both spellings: the fields are found under either name. Messages use the old ones, as upstream's.

    The rules of events.k8s.io are stricter; which hold is a matter of the group that a request goes to.
    """

    allow_create_on_update = True

    def _get(self, obj: Object, core: str, new: str) -> Any:
        value = obj.get(core)
        return obj.get(new) if value is None else value

    def validate_create(self, obj: Object) -> list[FieldError]:
        faults = Faults()
        self._validate_any(faults, obj)
        if not self.resource.group:
            return faults
        self._validate_series(faults, obj)
        if not obj.get("eventTime"):
            faults.required("eventTime")
        if obj.get("type") not in ("Normal", "Warning"):
            faults.invalid("type", "", f"has invalid value: {obj.get('type') or ''}")
        for name in ("firstTimestamp", "lastTimestamp", "count", "source"):
            value = self._get(obj, name, _FIXED[name])
            if any(value.values()) if isinstance(value, dict) else value:
                faults.invalid(name, "", "needs to be unset")
        return faults

    def validate_update(self, obj: Object, old: Object) -> list[FieldError]:
        faults = Faults()
        self._validate_any(faults, obj)
        if not self.resource.group:
            return faults
        if obj.get("series") != old.get("series"):
            self._validate_series(faults, obj)
        for name, new in _FIXED.items():
            core = _OLD_NAMES.get(name, name)
            # Clients in Go write empty fields that nobody ever set.
            faults.immutable(name, self._get(obj, core, new) or None, self._get(old, core, new) or None)
        return faults

    def _validate_any(self, faults: Faults, obj: Object) -> None:
        """Rules of both groups; an event with an eventTime is a new one, wherever it comes from."""
        subject = self._get(obj, "involvedObject", "regarding")
        about = str((subject or {}).get("namespace") or "") if isinstance(subject, dict) else ""
        namespace, mismatch = namespace_of(obj), "does not match event.namespace"
        if not obj.get("eventTime"):
            if about != namespace if about else namespace not in ("", "default"):
                faults.invalid("involvedObject.namespace", about, mismatch)
        else:
            if not about and namespace not in ("default", "kube-system"):
                faults.invalid("involvedObject.namespace", about, mismatch)
            self._validate_new(faults, obj)
        faults.each("namespace", namespace, names.dns_subdomain(namespace))

    def _validate_series(self, faults: Faults, obj: Object) -> None:
        series = obj.get("series")
        if isinstance(series, dict):
            if (series.get("count") or 0) < _MIN_SERIES:
                faults.invalid("series.count", "", f"should be at least {_MIN_SERIES}")
            if not series.get("lastObservedTime"):
                faults.required("series.lastObservedTime")

    def _validate_new(self, faults: Faults, obj: Object) -> None:
        controller = str(self._get(obj, "reportingComponent", "reportingController") or "")
        if not controller:
            faults.required("reportingController")
        faults.each("reportingController", controller, names.qualified_name(controller))
        for name, value in (
            ("reportingInstance", obj.get("reportingInstance")),
            ("action", obj.get("action")),
            ("reason", obj.get("reason")),
        ):
            if not value:
                faults.required(name)
            elif len(value.encode()) > _MAX_REASON:
                faults.invalid(name, "", f"can have at most {_MAX_REASON} characters")
        note = str(self._get(obj, "message", "note") or "")
        if len(note.encode()) > _MAX_NOTE:
            faults.invalid("message", "", f"can have at most {_MAX_NOTE} characters")

    def selectable_fields(self, obj: Object) -> dict[str, str]:
        subject = self._get(obj, "involvedObject", "regarding")
        about: Object = subject if isinstance(subject, dict) else {}
        source = self._get(obj, "source", "deprecatedSource")
        component = str(source.get("component") or "") if isinstance(source, dict) else ""
        reporting = str(self._get(obj, "reportingComponent", "reportingController") or "")
        prefix = "regarding" if self.resource.group else "involvedObject"
        fields = {"metadata.name": name_of(obj), "metadata.namespace": namespace_of(obj)}
        for name in ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath"):
            fields[f"{prefix}.{name}"] = about.get(name) or ""
        fields["reason"] = obj.get("reason") or ""
        fields["reportingController" if self.resource.group else "reportingComponent"] = reporting
        if not self.resource.group:
            fields["source"] = component or reporting
        fields["type"] = obj.get("type") or ""
        return fields
