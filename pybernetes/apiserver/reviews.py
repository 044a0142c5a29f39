"""The reviews: TokenReview, SelfSubjectReview, the SubjectAccessReview family, SelfSubjectRulesReview.

Object handlers: each takes a posted object and answers it with its status filled in; nothing is stored. They answer
from the authenticator's and authorizer's own tables and wait for nothing.
"""

from __future__ import annotations

from pybernetes.api import errors
from pybernetes.api.meta import Object, metadata
from pybernetes.api.time import format_time
from pybernetes.api.user import User
from pybernetes.apiserver import review_specs
from pybernetes.apiserver.authenticators.chain import InvalidToken, TokenChain
from pybernetes.apiserver.interfaces import Authorizer, HandlerKey, ObjectHandler, RequestInfo
from pybernetes.apiserver.rule_resolution import RuleResolution
from pybernetes.lib.clock import Clock

_AUTHENTICATION = "authentication.k8s.io"
_AUTHORIZATION = "authorization.k8s.io"


class Reviews:
    """The handlers, bound to what they ask."""

    def __init__(self, tokens: TokenChain, authorizer: Authorizer, rules: RuleResolution, clock: Clock) -> None:
        self._tokens = tokens
        self._authorizer = authorizer
        self._rules = rules
        self._clock = clock

    def handlers(self) -> dict[HandlerKey, ObjectHandler]:
        return {
            (_AUTHENTICATION, "tokenreviews", ""): self.token_review,
            (_AUTHENTICATION, "selfsubjectreviews", ""): self.self_subject_review,
            (_AUTHORIZATION, "subjectaccessreviews", ""): self.subject_access_review,
            (_AUTHORIZATION, "selfsubjectaccessreviews", ""): self.self_subject_access_review,
            (_AUTHORIZATION, "localsubjectaccessreviews", ""): self.local_subject_access_review,
            (_AUTHORIZATION, "selfsubjectrulesreviews", ""): self.self_subject_rules_review,
        }

    # Authentication.

    async def token_review(self, info: RequestInfo, body: Object) -> Object:
        """Whether a token holds, for which audiences, and whose it is."""
        spec = body.get("spec") or {}
        token = spec.get("token")
        if not token:
            raise errors.BadRequest("token is required for TokenReview in authentication")
        wanted = [str(a) for a in spec.get("audiences") or ()]
        status: Object
        try:
            user, audiences = await self._tokens.authenticate(str(token), frozenset(wanted) if wanted else None)
        except InvalidToken as error:
            status = {"user": {}, "error": str(error)}
        else:
            status = {"authenticated": True, "user": user_info(user), "audiences": list(audiences)}
        return _answer(body, "TokenReview", _AUTHENTICATION, status)

    async def self_subject_review(self, info: RequestInfo, body: Object) -> Object:
        """Who the asker is (``kubectl auth whoami``)."""
        answer = _answer(body, "SelfSubjectReview", _AUTHENTICATION, {"userInfo": user_info(info.user)})
        answer["metadata"] = {**answer["metadata"], "creationTimestamp": format_time(self._clock.now())}
        answer.pop("spec", None)
        return answer

    # Authorization.

    async def subject_access_review(self, info: RequestInfo, body: Object) -> Object:
        """Whether some user may do something."""
        return self._review(body, "SubjectAccessReview", self._subject(body))

    async def self_subject_access_review(self, info: RequestInfo, body: Object) -> Object:
        """Whether the asker may do something (``kubectl auth can-i``)."""
        return self._review(body, "SelfSubjectAccessReview", info.user)

    async def local_subject_access_review(self, info: RequestInfo, body: Object) -> Object:
        """As `subject_access_review`, confined to the namespace of the request."""
        return self._review(body, "LocalSubjectAccessReview", self._subject(body), info.namespace)

    async def self_subject_rules_review(self, info: RequestInfo, body: Object) -> Object:
        """The asker's rules in a namespace (``kubectl auth can-i --list``)."""
        namespace = str((body.get("spec") or {}).get("namespace") or "")
        if not namespace:
            raise errors.BadRequest("no namespace on request")
        found = self._rules.rules_for(info.user, namespace)
        status: Object = {
            "resourceRules": [
                _without_empty(
                    {k: list(rule.get(k) or ()) for k in ("verbs", "apiGroups", "resources", "resourceNames")}
                )
                for rule in found.rules
                if rule.get("resources")
            ],
            "nonResourceRules": [
                {"verbs": list(rule["verbs"]), "nonResourceURLs": list(rule["nonResourceURLs"])}
                for rule in found.rules
                if rule.get("nonResourceURLs")
            ],
            "incomplete": found.incomplete,
        }
        if faults := found.faults:
            status["evaluationError"] = "[" + ", ".join(faults) + "]" if len(faults) > 1 else faults[0]
        return _answer(body, "SelfSubjectRulesReview", _AUTHORIZATION, status)

    def _subject(self, body: Object) -> User:
        spec = body.get("spec") or {}
        extra = {
            str(key).lower(): tuple(str(v) for v in values or ()) for key, values in (spec.get("extra") or {}).items()
        }
        groups = tuple(str(g) for g in spec.get("groups") or ())
        return User(str(spec.get("user") or ""), str(spec.get("uid") or ""), groups, extra)

    def _review(self, body: Object, kind: str, user: User, namespace: str = "") -> Object:
        review_specs.validate(body, kind, namespace)
        attributes, fault = review_specs.attributes(body["spec"], user)
        decision = self._authorizer.authorize(attributes)
        status: Object = {"allowed": decision.allowed}
        if decision.denied:
            status["denied"] = True
        if decision.reason:
            status["reason"] = decision.reason
        if fault:
            status["evaluationError"] = fault
        return _answer(body, kind, _AUTHORIZATION, status)


def user_info(user: User) -> Object:
    """``authentication.k8s.io/v1 UserInfo``."""
    info: Object = {"username": user.name}
    if user.uid:
        info["uid"] = user.uid
    if user.groups:
        info["groups"] = list(user.groups)
    if user.extra:
        info["extra"] = {key: list(values) for key, values in sorted(user.extra.items())}
    return info


def _answer(body: Object, kind: str, group: str, status: Object) -> Object:
    meta = metadata(body)
    answer: Object = {"kind": kind, "apiVersion": f"{group}/v1", "metadata": meta}
    if "spec" in body:
        answer["spec"] = body["spec"]
    answer["status"] = status
    return answer


def _without_empty(rule: Object) -> Object:
    return {key: value for key, value in rule.items() if value}
