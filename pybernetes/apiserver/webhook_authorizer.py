"""The webhook authorizer: others say who may do what, asked by SubjectAccessReviews.

Authorizers answer at once, so this one answers from what it was told before, and raises `Undecided` for what it has to
ask. The HTTP walk catches that, waits for `Undecided.ask`, and walks again; nothing has been written by then. For
whoever does not ask (components in this process), it is the refusal that it says it is.

Answers are kept by the digest of what was asked, bounded; one that allows for `authorized_seconds`, any other for
`unauthorized_seconds`. A webhook that cannot be reached has no opinion, for as long as it takes to answer the request
that asked. Source: https://kubernetes.io/docs/reference/access-authn-authz/webhook/.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict

import orjson
import structlog

from pybernetes.api.meta import Object
from pybernetes.apiserver.authorization import denial_message
from pybernetes.apiserver.interfaces import Attributes, Decision, Undecided
from pybernetes.apiserver.outbound import Outbound, OutboundError, WebhookConfig
from pybernetes.lib.clock import Clock

AUTHORIZED_SECONDS = 300.0
UNAUTHORIZED_SECONDS = 30.0
_CACHE_SIZE = 8192
_RETRY_SECONDS = (0.5, 0.75, 1.1)
_FAILED_SECONDS = 1.0
"""How long a failure counts as an answer: the request that asked must find one."""

log = structlog.get_logger(__name__)


class WebhookAuthorizer:
    """`version` is that of the SubjectAccessReview, ``v1`` or ``v1beta1``."""

    def __init__(
        self,
        config: WebhookConfig,
        outbound: Outbound,
        clock: Clock,
        *,
        version: str = "v1beta1",
        authorized_seconds: float = AUTHORIZED_SECONDS,
        unauthorized_seconds: float = UNAUTHORIZED_SECONDS,
    ) -> None:
        self._config = config
        self._outbound = outbound
        self._clock = clock
        self._version = version
        self._authorized_seconds = authorized_seconds
        self._unauthorized_seconds = unauthorized_seconds
        self._cache: OrderedDict[bytes, tuple[Decision, float]] = OrderedDict()
        self._asking: dict[bytes, asyncio.Lock] = {}

    def authorize(self, attributes: Attributes) -> Decision:
        """Raises `Undecided` where the webhook must be asked."""
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
            "metadata": {"creationTimestamp": None},
            "spec": spec,
            "status": {"allowed": False},
        }
        seconds = self._unauthorized_seconds
        try:
            answer = await self._post(review)
            status = answer.get("status") or {} if isinstance(answer, dict) else {}
            allowed = status.get("allowed") is True
            if allowed and status.get("denied") is True:
                raise OutboundError("webhook subject access review returned both allow and deny response")
            decision = Decision(allowed, str(status.get("reason") or ""), status.get("denied") is True)
            if allowed:
                seconds = self._authorized_seconds
        except OutboundError as error:
            log.error("the authorization webhook failed", error=str(error))
            decision, seconds = Decision(False), _FAILED_SECONDS
        self._cache[key] = (decision, self._clock.monotonic() + seconds)
        self._cache.move_to_end(key)
        if len(self._cache) > _CACHE_SIZE:
            self._cache.popitem(last=False)

    async def _post(self, review: Object) -> object:
        """Raises `OutboundError` when the last try has failed."""
        for pause in _RETRY_SECONDS:
            try:
                return await self._outbound.post(self._config, review)
            except OutboundError as error:
                log.warning("the authorization webhook failed, asking again", error=str(error))
            await self._clock.sleep(pause)
        return await self._outbound.post(self._config, review)


def _spec(attributes: Attributes, version: str) -> Object:
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
        if attributes.field_selector:
            resource["fieldSelector"] = {"rawSelector": attributes.field_selector}
        spec["resourceAttributes"] = {key: value for key, value in resource.items() if value}
    else:
        spec["nonResourceAttributes"] = {"path": attributes.path, "verb": attributes.verb}
    return {key: value for key, value in spec.items() if value}
