"""Roles, cluster roles and their bindings.

Source of defaults, rules and texts: ``pkg/apis/rbac``.
"""

from __future__ import annotations

from pybernetes.api import names
from pybernetes.api.field import FieldError
from pybernetes.api.kinds.faults import Faults
from pybernetes.api.kinds.labels import label_selector
from pybernetes.api.kinds.strategy import Strategy
from pybernetes.api.meta import Object

GROUP = "rbac.authorization.k8s.io"


class _RbacStrategy(Strategy):
    allow_create_on_update = True

    def validate_name(self, name: str, *, prefix: bool) -> list[str]:
        return names.path_segment_name(name, prefix=prefix)


class RoleStrategy(_RbacStrategy):
    def default(self, obj: Object) -> None:
        # Not omitted when empty.
        obj.setdefault("rules", [])

    def validate_create(self, obj: Object) -> list[FieldError]:
        faults = Faults()
        for i, rule in enumerate(obj.get("rules") or ()):
            _rule(faults, f"rules[{i}]", rule, namespaced=self.resource.namespaced)
        aggregation = obj.get("aggregationRule")
        if aggregation is not None:
            selectors = aggregation.get("clusterRoleSelectors") or ()
            if not selectors:
                faults.required(
                    "aggregationRule.clusterRoleSelectors",
                    "at least one clusterRoleSelector required if aggregationRule is non-nil",
                )
            for i, selector in enumerate(selectors):
                label_selector(faults, f"aggregationRule.clusterRoleSelectors[{i}]", selector)
        return faults


def _rule(faults: Faults, path: str, rule: Object, *, namespaced: bool) -> None:
    if not rule.get("verbs"):
        faults.required(f"{path}.verbs", "verbs must contain at least one value")
    urls = rule.get("nonResourceURLs")
    if urls:
        if namespaced:
            faults.invalid(f"{path}.nonResourceURLs", urls, "namespaced rules cannot apply to non-resource URLs")
        if rule.get("apiGroups") or rule.get("resources") or rule.get("resourceNames"):
            faults.invalid(
                f"{path}.nonResourceURLs", urls, "rules cannot apply to both regular resources and non-resource URLs"
            )
        return
    if not rule.get("apiGroups"):
        faults.required(f"{path}.apiGroups", "resource rules must supply at least one api group")
    if not rule.get("resources"):
        faults.required(f"{path}.resources", "resource rules must supply at least one resource")


class BindingStrategy(_RbacStrategy):
    """RoleBinding and ClusterRoleBinding."""

    def default(self, obj: Object) -> None:
        reference = obj.get("roleRef")
        if reference is not None and not reference.get("apiGroup"):
            reference["apiGroup"] = GROUP
        for subject in obj.get("subjects") or ():
            if not subject.get("apiGroup") and subject.get("kind") in ("User", "Group"):
                subject["apiGroup"] = GROUP

    def validate_create(self, obj: Object) -> list[FieldError]:
        faults = Faults()
        reference = obj.get("roleRef") or {}
        if reference.get("apiGroup") != GROUP:
            faults.not_supported("roleRef.apiGroup", reference.get("apiGroup") or "", (GROUP,))
        kinds = ("Role", "ClusterRole") if self.resource.namespaced else ("ClusterRole",)
        if reference.get("kind") not in kinds:
            faults.not_supported("roleRef.kind", reference.get("kind") or "", kinds)
        name = reference.get("name") or ""
        if not name:
            faults.required("roleRef.name")
        else:
            faults.each("roleRef.name", name, names.path_segment_name(name))
        for i, subject in enumerate(obj.get("subjects") or ()):
            self._subject(faults, f"subjects[{i}]", subject)
        return faults

    def _subject(self, faults: Faults, path: str, subject: Object) -> None:
        name, kind, group = subject.get("name") or "", subject.get("kind") or "", subject.get("apiGroup") or ""
        if not name:
            faults.required(f"{path}.name")
        if kind == "ServiceAccount":
            if name:
                faults.each(f"{path}.name", name, names.dns_subdomain(name))
            if group:
                faults.not_supported(f"{path}.apiGroup", group, ("",))
            # Inside a namespace its own is meant.
            if not self.resource.namespaced and not subject.get("namespace"):
                faults.required(f"{path}.namespace")
        elif kind in ("User", "Group"):
            if group != GROUP:
                faults.not_supported(f"{path}.apiGroup", group, (GROUP,))
        else:
            faults.not_supported(f"{path}.kind", kind, ("ServiceAccount", "User", "Group"))

    def validate_update(self, obj: Object, old: Object) -> list[FieldError]:
        faults = Faults(self.validate_create(obj))
        if obj.get("roleRef") != old.get("roleRef"):
            faults.invalid("roleRef", obj.get("roleRef"), "cannot change roleRef")
        return faults
