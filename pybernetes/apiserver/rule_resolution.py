"""What a user may do, as far as the authorizers can list it: for SelfSubjectRulesReviews. As upstream's union of rule
resolvers: an authorizer that cannot list what it would allow makes the answer incomplete.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from pybernetes.api.user import SYSTEM_MASTERS, User
from pybernetes.apiserver.authorization_config import AuthorizationWebhook, Authorizers
from pybernetes.apiserver.node_authorizer import node_name_of
from pybernetes.apiserver.rbac import RBACAuthorizer, Rule

_EVERYTHING: tuple[Rule, ...] = (
    {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]},
    {"verbs": ["*"], "nonResourceURLs": ["*"]},
)


@dataclass(slots=True)
class Resolved:
    rules: list[Rule] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    incomplete: bool = False


class RuleResolution:
    def __init__(self, authorizers: Authorizers, rbac: RBACAuthorizer) -> None:
        self._authorizers = tuple(authorizers)
        self._rbac = rbac

    def rules_for(self, user: User, namespace: str) -> Resolved:
        """The rules that hold for a user in a namespace."""
        found = Resolved()
        for authorizer in self._authorizers:
            match authorizer:
                case "RBAC":
                    rules, faults = self._rbac.rules_for(user, namespace)
                    found.rules += rules
                    found.faults += faults
                case "Node" if node_name_of(user) is not None:
                    found.faults.append("node authorizer does not support user rule resolution")
                    found.incomplete = True
                case "AlwaysAllow":
                    found.rules += _EVERYTHING
                case AuthorizationWebhook():
                    found.faults.append("webhook authorizer does not support user rule resolution")
                    found.incomplete = True
        if SYSTEM_MASTERS in user.groups and not found.rules:
            found.rules += _EVERYTHING
        return found
