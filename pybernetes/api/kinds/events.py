"""Events, of v1 and of events.k8s.io/v1: one stored kind with two spellings of a few fields.

Source of rules and texts: ``pkg/apis/core/validation/events.go``.
"""

from __future__ import annotations

from pybernetes.api import names
from pybernetes.api.field import FieldError
from pybernetes.api.kinds.faults import Faults
from pybernetes.api.kinds.strategy import Strategy
from pybernetes.api.meta import Object, name_of, namespace_of

_MAX_REASON = 128
_MAX_NOTE = 1024


class EventStrategy(Strategy):
    """Both spellings: the fields are found under either name."""

    allow_create_on_update = True

    def _get(self, obj: Object, core: str, new: str) -> object:
        value = obj.get(core)
        return obj.get(new) if value is None else value

    def validate_create(self, obj: Object) -> list[FieldError]:
        faults = Faults()
        subject = self._get(obj, "involvedObject", "regarding")
        subject_namespace = str((subject or {}).get("namespace") or "") if isinstance(subject, dict) else ""
        namespace = namespace_of(obj)
        at = "regarding.namespace" if self.resource.group else "involvedObject.namespace"
        if subject_namespace:
            if subject_namespace != namespace:
                faults.invalid(at, subject_namespace, "does not match event.namespace")
        elif namespace not in ("", "default", "kube-system"):
            faults.invalid(at, subject_namespace, "does not match event.namespace")
        if self.resource.group and obj.get("eventTime") is not None:
            self._validate_new(faults, obj)
        return faults

    def _validate_new(self, faults: Faults, obj: Object) -> None:
        """Rules that only events of the new group must keep."""
        controller = str(self._get(obj, "reportingComponent", "reportingController") or "")
        instance, reason = obj.get("reportingInstance") or "", obj.get("reason") or ""
        if not controller:
            faults.required("reportingController")
        else:
            faults.each("reportingController", controller, names.qualified_name(controller))
        if not instance:
            faults.required("reportingInstance")
        elif len(instance) > _MAX_REASON:
            faults.invalid("reportingInstance", "", f"can have at most {_MAX_REASON} characters")
        if not obj.get("action"):
            faults.required("action")
        elif len(obj["action"]) > _MAX_REASON:
            faults.invalid("action", "", f"can have at most {_MAX_REASON} characters")
        if not reason:
            faults.required("reason")
        elif len(reason) > _MAX_REASON:
            faults.invalid("reason", "", f"can have at most {_MAX_REASON} characters")
        note = str(self._get(obj, "message", "note") or "")
        if len(note.encode()) > _MAX_NOTE:
            faults.invalid("note", "", f"can have at most {_MAX_NOTE} characters")
        if obj.get("type") not in ("Normal", "Warning"):
            faults.invalid("type", "", f"has invalid value: {obj.get('type') or ''}")

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
