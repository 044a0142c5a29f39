"""Nobody hands out rights through RBAC that he does not hold himself.

Upstream has this in the storage of the RBAC resources, not in a plugin, so it cannot be disabled.

Source: https://kubernetes.io/docs/reference/access-authn-authz/rbac/#privilege-escalation-prevention-and-bootstrapping.
"""

from __future__ import annotations

from collections.abc import Sequence

from pybernetes.api import errors
from pybernetes.api.meta import Object, metadata
from pybernetes.api.resources import CLUSTERROLEBINDINGS, CLUSTERROLES, ROLEBINDINGS, ROLES
from pybernetes.api.user import SYSTEM_MASTERS, User
from pybernetes.apiserver.admission.plugin import Plugin, is_for, refuse
from pybernetes.apiserver.interfaces import AdmissionRequest, Attributes, Authorizer
from pybernetes.apiserver.rbac import GROUP, RBACAuthorizer, Rule, compact_string, uncovered

_EVERYTHING: list[Rule] = [
    {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]},
    {"verbs": ["*"], "nonResourceURLs": ["*"]},
]


class RBACEscalation(Plugin):
    """Judges writes of roles and bindings."""

    name = "RBACEscalation"
    operations = ("CREATE", "UPDATE")
    resources = (("roles", ""), ("clusterroles", ""), ("rolebindings", ""), ("clusterrolebindings", ""))

    def __init__(self, rbac: RBACAuthorizer, authorizer: Authorizer) -> None:
        self._rbac = rbac
        self._authorizer = authorizer

    async def validate(self, request: AdmissionRequest) -> None:
        obj = request.object
        if request.resource.group != GROUP or obj is None or request.operation not in ("CREATE", "UPDATE"):
            return
        if SYSTEM_MASTERS in request.user.groups or _only_deletion(request):
            return
        if is_for(request, ROLES) or is_for(request, CLUSTERROLES):
            self._judge_role(request, obj)
        elif is_for(request, ROLEBINDINGS) or is_for(request, CLUSTERROLEBINDINGS):
            self._judge_binding(request, obj)

    def _judge_role(self, request: AdmissionRequest, role: Object) -> None:
        # Also where the rules stay as they are: labels decide which other roles these rules go into.
        if self._may(request.user, "escalate", request.resource.plural, request.namespace, request.name):
            return
        self._confirm(request, role.get("rules") or [])
        if (_aggregates(role) or _aggregates(request.old or {})) and self._missing(request, _EVERYTHING):
            raise refuse(request, "must have cluster-admin privileges to use an aggregationRule")

    def _judge_binding(self, request: AdmissionRequest, binding: Object) -> None:
        reference = binding.get("roleRef") or {}
        plural = "clusterroles" if reference.get("kind") == "ClusterRole" else "roles"
        name = str(reference.get("name") or "")
        if self._may(request.user, "bind", plural, request.namespace, name):
            return
        rules = self._rbac.role_rules(reference, request.namespace)
        if rules is None:
            raise errors.not_found(GROUP, plural, name)
        self._confirm(request, rules)

    def _may(self, user: User, verb: str, resource: str, namespace: str, name: str) -> bool:
        return self._authorizer.authorize(
            Attributes(
                user=user,
                verb=verb,
                namespace=namespace,
                group=GROUP,
                version="v1",
                resource=resource,
                name=name,
            )
        ).allowed

    def _missing(self, request: AdmissionRequest, rules: Sequence[Rule]) -> list[Rule]:
        owned, _ = self._rbac.rules_for(request.user, request.namespace)
        return uncovered(owned, rules)

    def _confirm(self, request: AdmissionRequest, rules: Sequence[Rule]) -> None:
        owned, faults = self._rbac.rules_for(request.user, request.namespace)
        missing = uncovered(owned, rules)
        if not missing:
            return
        groups = " ".join(f'"{g}"' for g in request.user.groups)
        descriptions = "\n".join(dict.fromkeys(compact_string(rule) for rule in missing))
        text = (
            f'user "{request.user.name}" (groups=[{groups}]) is attempting to grant RBAC permissions not currently '
            f"held:\n{descriptions}"
        )
        if faults:
            text += f"; resolution errors: [{', '.join(faults)}]"
        raise refuse(request, text)


def _aggregates(role: Object) -> bool:
    return bool((role.get("aggregationRule") or {}).get("clusterRoleSelectors"))


def _only_deletion(request: AdmissionRequest) -> bool:
    """An update that only lets the object go: finalizers and owner references, as the garbage collector does."""
    if request.old is None or request.object is None:
        return False

    def rest(obj: Object) -> Object:
        meta = {
            k: v
            for k, v in metadata(obj).items()
            if k not in ("finalizers", "ownerReferences", "managedFields", "resourceVersion")
        }
        return {**obj, "metadata": meta}

    return rest(request.old) == rest(request.object)
