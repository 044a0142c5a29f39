"""PodSecurity: the Pod Security Standards, enforced and warned of as a namespace's labels say.

Enforcement refuses pods; warnings and notes in the audit log come for pods and for what makes pods. Without labels
everything is allowed (privileged), as upstream's default.

Source: https://kubernetes.io/docs/concepts/security/pod-security-admission/.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from pybernetes.api import errors, field
from pybernetes.api.meta import Object, labels_of, name_of
from pybernetes.api.resources import NAMESPACES, PODS
from pybernetes.apiserver.admission.plugin import Plugin, is_for, refuse
from pybernetes.apiserver.admission.pod_security_checks import (
    LATEST,
    LEVELS,
    Level,
    Violation,
    describe,
    violations,
)
from pybernetes.apiserver.interfaces import AdmissionRequest, ObjectReader

_PREFIX = "pod-security.kubernetes.io/"
_VERSION = re.compile(r"v1\.(0|[1-9][0-9]*)")
_MAX_PODS_CHECKED = 3000
_MODES = ("enforce", "audit", "warn")

# Where the pod template is in what makes pods.
_TEMPLATES: dict[tuple[str, str], tuple[str, ...]] = {
    ("", "podtemplates"): ("template",),
    ("", "replicationcontrollers"): ("spec", "template"),
    ("apps", "daemonsets"): ("spec", "template"),
    ("apps", "deployments"): ("spec", "template"),
    ("apps", "replicasets"): ("spec", "template"),
    ("apps", "statefulsets"): ("spec", "template"),
    ("batch", "cronjobs"): ("spec", "jobTemplate", "spec", "template"),
    ("batch", "jobs"): ("spec", "template"),
}


@dataclass(frozen=True, slots=True)
class Policy:
    """A level and the version of its checks."""

    level: Level = "privileged"
    version: str = "latest"

    @property
    def minor(self) -> int:
        match = _VERSION.fullmatch(self.version)
        return int(match.group(1)) if match else LATEST

    def __str__(self) -> str:
        return f"{self.level}:{self.version}"

    def judge(self, pod: Object) -> list[Violation]:
        return violations(pod, self.level, self.minor)


def policy_of(labels: Mapping[str, str], mode: str) -> tuple[Policy, list[field.FieldError]]:
    """What labels say of a mode (``enforce``, ``warn``, ``audit``), and what is wrong with them."""
    at = field.Path("metadata").child("labels")
    faults = []
    level: Level = "privileged"
    text = labels.get(_PREFIX + mode)
    if text is not None:
        if text in LEVELS:
            level = text
        else:
            # What cannot be read is enforced at its strictest, and neither audited nor warned of.
            level = "restricted" if mode == "enforce" else "privileged"
            faults.append(field.invalid(at.key(_PREFIX + mode), text, f"must be one of {', '.join(LEVELS)}"))
    version = labels.get(f"{_PREFIX}{mode}-version", "latest")
    if version != "latest" and not _VERSION.fullmatch(version):
        faults.append(field.invalid(at.key(f"{_PREFIX}{mode}-version"), version, 'must be "latest" or "v1.x"'))
        version = "latest"
    return Policy(level, version), faults


class PodSecurity(Plugin):
    name = "PodSecurity"
    operations = ("CREATE", "UPDATE")
    resources = (
        ("namespaces", ""),
        ("pods", ""),
        ("pods", "ephemeralcontainers"),
        *((plural, "") for _, plural in _TEMPLATES),
    )

    def __init__(self, reader: ObjectReader) -> None:
        self._reader = reader

    async def validate(self, request: AdmissionRequest) -> None:
        if request.operation not in ("CREATE", "UPDATE") or request.object is None:
            return
        if is_for(request, NAMESPACES):
            self._namespace(request, request.object)
        elif is_for(request, PODS, "", "ephemeralcontainers"):
            self._pod(request, request.object)
        elif not request.subresource:
            path = _TEMPLATES.get((request.resource.group, request.resource.plural))
            if path is not None:
                self._template(request, path)

    def _labels(self, namespace: str) -> dict[str, str]:
        found = self._reader.get(NAMESPACES, "", namespace)
        return labels_of(found) if found is not None else {}

    def _pod(self, request: AdmissionRequest, pod: Object) -> None:
        labels = self._labels(request.namespace)
        if not any(key.startswith(_PREFIX) for key in labels):
            return
        if request.operation == "UPDATE" and not _is_significant(request.old or {}, pod):
            return
        enforce, _ = policy_of(labels, "enforce")
        request.annotate(_PREFIX + "enforce-policy", str(enforce))
        self._audit(request, labels, pod)
        found = enforce.judge(pod)
        if found:
            raise refuse(request, f'violates PodSecurity "{enforce}": {describe(found)}')
        self._warn(request, labels, pod)

    def _template(self, request: AdmissionRequest, path: tuple[str, ...]) -> None:
        labels = self._labels(request.namespace)
        if _PREFIX + "warn" not in labels and _PREFIX + "audit" not in labels:
            return
        template: Object | None = request.object
        for key in path:
            template = (template or {}).get(key)
        if template:
            self._audit(request, labels, template)
            self._warn(request, labels, template)

    @staticmethod
    def _audit(request: AdmissionRequest, labels: Mapping[str, str], pod: Object) -> None:
        if request.info is None or request.info.annotations is None:
            return
        faults = [fault for mode in _MODES for fault in policy_of(labels, mode)[1]]
        if faults:
            request.annotate(_PREFIX + "error", f"Failed to parse policy: {', '.join(map(str, faults))}")
        audit, _ = policy_of(labels, "audit")
        found = audit.judge(pod)
        if found:
            request.annotate(_PREFIX + "audit-violations", f'would violate PodSecurity "{audit}": {describe(found)}')

    @staticmethod
    def _warn(request: AdmissionRequest, labels: Mapping[str, str], pod: Object) -> None:
        warn, _ = policy_of(labels, "warn")
        found = warn.judge(pod)
        if found:
            request.warnings.append(f'would violate PodSecurity "{warn}": {describe(found)}')

    def _namespace(self, request: AdmissionRequest, namespace: Object) -> None:
        if request.subresource:
            return
        labels, old_labels = labels_of(namespace), labels_of(request.old or {})
        faults = [fault for mode in _MODES for fault in policy_of(labels, mode)[1]]
        # What was wrong before may stay, so that a namespace can still be changed otherwise.
        before = [fault for mode in _MODES for fault in policy_of(old_labels, mode)[1]]
        if faults and (request.operation == "CREATE" or faults != before):
            raise errors.invalid("", "Namespace", name_of(namespace), faults)
        if request.operation == "UPDATE":
            enforce, old_enforce = policy_of(labels, "enforce")[0], policy_of(old_labels, "enforce")[0]
            relaxed = enforce.version == old_enforce.version and LEVELS.index(enforce.level) <= LEVELS.index(
                old_enforce.level
            )
            if enforce.level != "privileged" and not relaxed:
                self._warn_of_existing(request, enforce)

    def _warn_of_existing(self, request: AdmissionRequest, enforce: Policy) -> None:
        """Tells which pods of the namespace would not be let in any more, grouped by why."""
        by_reason: dict[str, list[str]] = {}
        pods = self._reader.list(PODS, request.name)
        for pod in pods[:_MAX_PODS_CHECKED]:
            reasons = ", ".join(v.reason for v in enforce.judge(pod))
            if reasons:
                by_reason.setdefault(reasons, []).append(name_of(pod))
        if len(pods) > _MAX_PODS_CHECKED:
            request.warnings.append(
                "new PodSecurity enforce level only checked against the first "
                f"{_MAX_PODS_CHECKED} of {len(pods)} existing pods"
            )
        if not by_reason:
            return
        request.warnings.append(
            f'existing pods in namespace "{request.name}" violate the new PodSecurity enforce level "{enforce}"'
        )
        request.warnings.extend(sorted(_subject(names) + reasons for reasons, names in by_reason.items()))


def _subject(names: list[str]) -> str:
    """``web (and 2 other pods): ``."""
    others = len(names) - 1
    return min(names) + (f" (and {others} other pod{'s' if others > 1 else ''}): " if others else ": ")


def _is_significant(old: Object, new: Object) -> bool:
    """Whether an update of a pod can change the verdict: of what may change, images and added containers."""
    old_spec, new_spec = old.get("spec") or {}, new.get("spec") or {}
    for kind in ("containers", "initContainers", "ephemeralContainers"):
        if _images(old_spec.get(kind)) != _images(new_spec.get(kind)):
            return True
    return False


def _images(containers: list[Object] | None) -> list[tuple[object, object]]:
    return [(c.get("name"), c.get("image")) for c in containers or ()]
