"""Service account tokens for pods, by TokenRequest: bound to the pod, cached, renewed at 80% of their life."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from pybernetes.api.meta import Object, name_of, namespace_of, uid_of
from pybernetes.api.resources import SERVICEACCOUNTS
from pybernetes.api.time import parse_time
from pybernetes.client.interface import Client
from pybernetes.lib.clock import Clock

_CACHED = 4096
_RENEW_AT = 0.8


@dataclass(frozen=True, slots=True)
class _Token:
    text: str
    renew_at: float


class APITokens:
    """Tokens from the API server. Bounded: the one used longest ago is forgotten first, and asked for anew."""

    def __init__(self, client: Client, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._tokens: OrderedDict[tuple[str, str, int], _Token] = OrderedDict()

    async def token(self, pod: Object, audience: str, expiration_seconds: int) -> str:
        """Raises API errors where the server does not give one."""
        key = (uid_of(pod), audience, expiration_seconds)
        known = self._tokens.get(key)
        now = self._clock.now()
        if known is not None and now < known.renew_at:
            self._tokens.move_to_end(key)
            return known.text
        request: Object = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {
                "audiences": [audience] if audience else [],
                "expirationSeconds": expiration_seconds,
                "boundObjectRef": {
                    "apiVersion": "v1",
                    "kind": "Pod",
                    "name": name_of(pod),
                    "uid": uid_of(pod),
                },
            },
        }
        account = (pod.get("spec") or {}).get("serviceAccountName") or "default"
        answer = await self._client.create(
            SERVICEACCOUNTS, request, namespace_of(pod), name=account, subresource="token"
        )
        status = answer.get("status") or {}
        expires = parse_time(status["expirationTimestamp"])
        token = _Token(str(status["token"]), now + (expires - now) * _RENEW_AT)
        self._tokens[key] = token
        self._tokens.move_to_end(key)
        while len(self._tokens) > _CACHED:
            self._tokens.popitem(last=False)
        return token.text

    def renew_at(self, pod: Object, audience: str, expiration_seconds: int) -> float | None:
        known = self._tokens.get((uid_of(pod), audience, expiration_seconds))
        return None if known is None else known.renew_at

    def forget(self, uid: str) -> None:
        for key in [k for k in self._tokens if k[0] == uid]:
            del self._tokens[key]
