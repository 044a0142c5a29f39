"""Tokens that a webhook knows: each is sent to it as a TokenReview, and its answer kept for a while.

Answers, of both kinds, are kept for `cache_seconds` by the token's digest, bounded; a webhook that cannot be reached
is asked again a few times and refuses the token then, and that is not kept. One question at a time for a token.
Source: https://kubernetes.io/docs/reference/access-authn-authz/authentication/#webhook-token-authentication.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from typing import Any

from pybernetes.api.meta import Object
from pybernetes.api.user import User
from pybernetes.apiserver.authenticators.chain import Found, InvalidToken
from pybernetes.apiserver.outbound import Outbound, OutboundError, WebhookConfig
from pybernetes.lib.clock import Clock

CACHE_SECONDS = 120.0
_CACHE_SIZE = 4096
_RETRY_SECONDS = (0.5, 0.75, 1.1)

_Key = tuple[bytes, frozenset[str]]


class WebhookTokens:
    """`version` is that of the TokenReview, ``v1`` or ``v1beta1``."""

    def __init__(
        self,
        config: WebhookConfig,
        outbound: Outbound,
        clock: Clock,
        api_audiences: frozenset[str],
        *,
        version: str = "v1beta1",
        cache_seconds: float = CACHE_SECONDS,
    ) -> None:
        self._config = config
        self._outbound = outbound
        self._clock = clock
        self._api_audiences = api_audiences
        self._version = version
        self._cache_seconds = cache_seconds
        self._cache: OrderedDict[_Key, tuple[Found | None, str, float]] = OrderedDict()
        self._asking: dict[_Key, asyncio.Lock] = {}

    async def authenticate_token(self, token: str, audiences: frozenset[str]) -> Found | None:
        key = (hashlib.sha256(token.encode()).digest(), audiences)
        kept = self._kept(key)
        if kept is None:
            lock = self._asking.setdefault(key, asyncio.Lock())
            try:
                async with lock:
                    kept = self._kept(key) or await self._ask(key, token, audiences)
            finally:
                if not lock.locked():
                    self._asking.pop(key, None)
        found, fault = kept
        if fault:
            raise InvalidToken(fault)
        return found

    def _kept(self, key: _Key) -> tuple[Found | None, str] | None:
        kept = self._cache.get(key)
        if kept is None or self._clock.monotonic() >= kept[2]:
            return None
        return kept[0], kept[1]

    async def _ask(self, key: _Key, token: str, audiences: frozenset[str]) -> tuple[Found | None, str]:
        answer = await self._review(token, audiences)
        status = answer.get("status") if isinstance(answer, dict) else None
        if not isinstance(status, dict):
            raise InvalidToken("the webhook's answer is no TokenReview with a status")
        found, fault = self._understood(status, audiences), str(status.get("error") or "")
        if found is not None:
            fault = ""
        self._cache[key] = (found, fault, self._clock.monotonic() + self._cache_seconds)
        if len(self._cache) > _CACHE_SIZE:
            self._cache.popitem(last=False)
        return found, fault

    async def _review(self, token: str, audiences: frozenset[str]) -> Any:
        review: Object = {
            "kind": "TokenReview",
            "apiVersion": f"authentication.k8s.io/{self._version}",
            "metadata": {},
            "spec": {"token": token, "audiences": sorted(audiences)},
            "status": {"user": {}},
        }
        for pause in (*_RETRY_SECONDS, None):
            try:
                return await self._outbound.post(self._config, review)
            except OutboundError as error:
                if pause is None:
                    raise InvalidToken(f"the token webhook failed: {error}") from error
            await self._clock.sleep(pause)
        raise AssertionError("unreachable: the last try returns or raises")

    def _understood(self, status: Object, audiences: frozenset[str]) -> Found | None:
        if status.get("authenticated") is not True:
            return None
        # A webhook that knows no audiences speaks of the API server's own.
        named = frozenset(str(a) for a in status.get("audiences") or ()) or self._api_audiences
        matching = named & audiences
        if not matching:
            return None
        user = status.get("user") or {}
        extra = {str(k): tuple(str(v) for v in values or ()) for k, values in (user.get("extra") or {}).items()}
        return (
            User(
                str(user.get("username") or ""),
                str(user.get("uid") or ""),
                tuple(str(g) for g in user.get("groups") or ()),
                extra,
            ),
            tuple(sorted(matching)),
        )
