"""Bootstrap tokens: Secrets of type ``bootstrap.kubernetes.io/token`` in kube-system, by which new nodes join.

A token is ``ID.SECRET``; it is looked up in the watch cache at every use, so it ends with its Secret. What of a Secret
does not hold makes the token unknown rather than refused, as upstream.

Source: https://kubernetes.io/docs/reference/access-authn-authz/bootstrap-tokens/.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re

from pybernetes.api.meta import Object, is_deleting
from pybernetes.api.resources import SECRETS
from pybernetes.api.time import parse_time
from pybernetes.api.user import User
from pybernetes.apiserver.authenticators.chain import Found, for_audiences
from pybernetes.apiserver.interfaces import ObservableReader
from pybernetes.lib.clock import Clock

NAMESPACE = "kube-system"
SECRET_TYPE = "bootstrap.kubernetes.io/token"
BOOTSTRAPPERS = "system:bootstrappers"

_TOKEN = re.compile(r"([a-z0-9]{6})\.([a-z0-9]{16})")
_GROUP = re.compile(r"system:bootstrappers:[a-z0-9:-]{0,255}[a-z0-9]")


class BootstrapTokens:
    def __init__(self, reader: ObservableReader, clock: Clock, audiences: frozenset[str]) -> None:
        self._reader = reader
        self._clock = clock
        self._audiences = audiences

    async def authenticate_token(self, token: str, audiences: frozenset[str]) -> Found | None:
        parts = _TOKEN.fullmatch(token)
        if parts is None:
            return None
        secret = await self._reader.find(SECRETS, NAMESPACE, f"bootstrap-token-{parts[1]}")
        if secret is None or is_deleting(secret) or secret.get("type") != SECRET_TYPE:
            return None
        if not hmac.compare_digest(value(secret, "token-secret").encode(), parts[2].encode()):
            return None
        if value(secret, "token-id") != parts[1] or has_expired(secret, self._clock.now()):
            return None
        if value(secret, "usage-bootstrap-authentication") != "true":
            return None
        extra = [group.strip() for group in value(secret, "auth-extra-groups").split(",") if group.strip()]
        if not all(_GROUP.fullmatch(group) for group in extra):
            return None
        groups = tuple(sorted({BOOTSTRAPPERS, *extra}))
        return for_audiences(User(f"system:bootstrap:{parts[1]}", "", groups), self._audiences, audiences)


def value(secret: Object, key: str) -> str:
    """One of the Secret's values as text; empty where it has none."""
    try:
        return base64.b64decode((secret.get("data") or {}).get(key) or "").decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""


def has_expired(secret: Object, now: float) -> bool:
    """An expiration that is none counts as over, as upstream."""
    at = value(secret, "expiration")
    if not at:
        return False
    try:
        return parse_time(at) <= now
    except ValueError:
        return True
