"""The webhook authorizer: others say who may do what, asked by SubjectAccessReviews.

Authorizers answer at once, so this one answers from what it was told before, and raises `Undecided` for what it has to
ask. The HTTP walk catches that, waits for `Undecided.ask`, and walks again; nothing has been written by then. For
whoever does not ask (components in this process), it is the refusal that it says it is.

Answers are kept by the digest of what was asked, bounded; one that allows for `authorized_seconds`, any other for
`unauthorized_seconds`. Where the webhook cannot be reached its failure policy counts, for as long as it takes to answer
the request that asked. Source: https://kubernetes.io/docs/reference/access-authn-authz/webhook/.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict

import orjson
import structlog

from pybernetes.api import selectors
from pybernetes.api.meta import Object
from pybernetes.apiserver.authorization import denial_message
from pybernetes.apiserver.authorization_config import AuthorizationWebhook
from pybernetes.apiserver.expressions import ExpressionError
from pybernetes.apiserver.interfaces import Attributes, Decision, Undecided
from pybernetes.apiserver.outbound import Outbound, OutboundError
from pybernetes.lib.clock import Clock

_CACHE_SIZE = 8192
_RETRY_SECONDS = (0.5, 0.75, 1.1)
_HELD_SECONDS = 1.0
"""How long any answer is kept, a failure too: the request that asked must find it."""
_NO_OPINION = Decision(False)

log = structlog.get_logger(__name__)


class WebhookAuthorizer:
    def __init__(self, config: AuthorizationWebhook, outbound: Outbound, clock: Clock) -> None:
        self._config = config
        self._outbound = outbound
        self._clock = clock
        self._version = config.version
        # What counts where nobody can say.
        self._failed = Decision(False, denied=config.failure_policy == "Deny")
        self._cache: OrderedDict[bytes, tuple[Decision, float]] = OrderedDict()
        self._asking: dict[bytes, asyncio.Lock] = {}

    def authorize(self, attributes: Attributes) -> Decision:
        """Raises `Undecided` where the webhook must be asked."""
        if self._config.conditions:
            asked = _spec(attributes, "v1", whole=True)
            try:
                if not all(condition.evaluate(asked) for condition in self._config.conditions):
                    return _NO_OPINION
            except ExpressionError as error:
                log.error("a webhook's condition failed", webhook=self._config.name, error=str(error))
                return self._failed
        spec = _spec(attributes, self._version)
        key = hashlib.sha256(orjson.dumps(spec, option=orjson.OPT_SORT_KEYS)).digest()
        kept = self._kept(key)
        if kept is not None:
            return kept

        async def ask() -> None:
            lock = self._asking.setdefault(key, asyncio.Lock())
            try:
                async with lock:
                    if self._kept(key) is None:
                        await self._ask(key, spec)
            finally:
                if not lock.locked():
                    self._asking.pop(key, None)

        raise Undecided(denial_message(attributes), ask)

    def _kept(self, key: bytes) -> Decision | None:
        kept = self._cache.get(key)
        return kept[0] if kept is not None and self._clock.monotonic() < kept[1] else None

    async def _ask(self, key: bytes, spec: Object) -> None:
        review: Object = {
            "kind": "SubjectAccessReview",
            "apiVersion": f"authorization.k8s.io/{self._version}",
            "metadata": {},
            "spec": spec,
            "status": {"allowed": False},
        }
        seconds = max(self._config.unauthorized_seconds, _HELD_SECONDS)
        try:
            answer = await self._post(review)
            status = answer.get("status") or {} if isinstance(answer, dict) else {}
            allowed = status.get("allowed") is True
            if allowed and status.get("denied") is True:
                raise OutboundError("webhook subject access review returned both allow and deny response")
            decision = Decision(allowed, str(status.get("reason") or ""), status.get("denied") is True)
            if allowed:
                seconds = max(self._config.authorized_seconds, _HELD_SECONDS)
        except OutboundError as error:
            log.error("the authorization webhook failed", webhook=self._config.name, error=str(error))
            decision, seconds = self._failed, _HELD_SECONDS
        self._cache[key] = (decision, self._clock.monotonic() + seconds)
        self._cache.move_to_end(key)
        if len(self._cache) > _CACHE_SIZE:
            self._cache.popitem(last=False)

    async def _post(self, review: Object) -> object:
        """Raises `OutboundError` when the last try has failed."""
        for pause in _RETRY_SECONDS:
            try:
                return await self._outbound.post(self._config.webhook, review, self._config.timeout_seconds)
            except OutboundError as error:
                log.warning("the webhook failed, asking again", webhook=self._config.name, error=str(error))
            await self._clock.sleep(pause)
        return await self._outbound.post(self._config.webhook, review, self._config.timeout_seconds)


def _spec(attributes: Attributes, version: str, *, whole: bool = False) -> Object:
    """`whole` says what is empty too, for conditions that look at it."""
    user = attributes.user
    spec: Object = {
        "user": user.name,
        "uid": user.uid,
        # The older version has the singular.
        "group" if version == "v1beta1" else "groups": list(user.groups),
        "extra": {key: list(values) for key, values in user.extra.items()},
    }
    if attributes.is_resource_request:
        resource: Object = {
            "namespace": attributes.namespace,
            "verb": attributes.verb,
            "group": attributes.group,
            "version": attributes.version,
            "resource": attributes.resource,
            "subresource": attributes.subresource,
            "name": attributes.name,
        }
        if attributes.field_selector and (fields := _field_requirements(attributes.field_selector)):
            resource["fieldSelector"] = {"requirements": fields}
        if attributes.label_selector and (labels := _label_requirements(attributes.label_selector)):
            resource["labelSelector"] = {"requirements": labels}
        spec["resourceAttributes"] = {key: value for key, value in resource.items() if value or whole}
    else:
        spec["nonResourceAttributes"] = {"path": attributes.path, "verb": attributes.verb}
    return {key: value for key, value in spec.items() if value or whole}


def _field_requirements(text: str) -> list[Object]:
    """None of a selector that cannot be understood: the request is refused for that, if it is allowed."""
    try:
        selector = selectors.parse_field_selector(text)
    except selectors.SelectorError:
        return []
    return [
        {"key": r.field, "operator": "NotIn" if r.negated else "In", "values": [r.value]} for r in selector.requirements
    ]


_OPERATORS = {
    selectors.EQUALS: "In", selectors.DOUBLE_EQUALS: "In", selectors.IN: "In", selectors.NOT_EQUALS: "NotIn",
    selectors.NOT_IN: "NotIn", selectors.EXISTS: "Exists", selectors.DOES_NOT_EXIST: "DoesNotExist",
}  # fmt: skip


def _label_requirements(text: str) -> list[Object]:
    """Comparisons of numbers have no name there and are left out: what is asked is wider then, never narrower."""
    try:
        selector = selectors.parse_label_selector(text)
    except selectors.SelectorError:
        return []
    found: list[Object] = []
    for requirement in selector.requirements:
        operator = _OPERATORS.get(requirement.operator)
        if operator is not None:
            values = {"values": list(requirement.values)} if requirement.values else {}
            found.append({"key": requirement.key, "operator": operator, **values})
    return found
