"""Legacy service-account tokens: those that a ``kubernetes.io/service-account-token`` Secret holds. They name no end
and no audience, and hold as long as the Secret does that they are kept in.

`LegacyTokenSigner` makes them (for the token controller), `LegacyTokens` verifies them: signature, the Secret's copy,
the account's uid, each looked up in the watch cache at every use. Once a day a used token's Secret gets the label
``kubernetes.io/legacy-token-last-used`` (KEP-2799), written beside the requests, by one task at most a Secret.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import jwt
import structlog
from cryptography.hazmat.primitives.asymmetric import ec

from pybernetes.api import errors
from pybernetes.api.meta import Object, is_deleting, labels_of, name_of, namespace_of, uid_of
from pybernetes.api.resources import SECRETS, SERVICEACCOUNTS
from pybernetes.api.user import service_account_user
from pybernetes.apiserver.authenticators.chain import Found, InvalidToken
from pybernetes.apiserver.interfaces import ObjectReader
from pybernetes.apiserver.signing_key import ALGORITHM, SigningKey
from pybernetes.lib.clock import Clock

ISSUER = "kubernetes/serviceaccount"
LAST_USED = "kubernetes.io/legacy-token-last-used"
INVALID_SINCE = "kubernetes.io/legacy-token-invalid-since"
_NAMESPACE = "kubernetes.io/serviceaccount/namespace"
_SECRET = "kubernetes.io/serviceaccount/secret.name"
_NAME = "kubernetes.io/serviceaccount/service-account.name"
_UID = "kubernetes.io/serviceaccount/service-account.uid"
_SUBJECT = "system:serviceaccount:"
_CACHE_SIZE = 1024
_WRITES_MAX = 64
"""Labels being written at once; a use beyond is noted by the next one."""

NoteUse = Callable[[str, str, str], Awaitable[None]]
"""(namespace, name, day): writes the label."""

log = structlog.get_logger(__name__)


class LegacyTokenSigner:
    """Makes the token of a Secret."""

    def __init__(self, key_pem: bytes) -> None:
        self._key = SigningKey(key_pem)

    def sign(self, namespace: str, account: str, account_uid: str, secret: str) -> str:
        claims = {
            "iss": ISSUER,
            _NAMESPACE: namespace,
            _SECRET: secret,
            _NAME: account,
            _UID: account_uid,
            "sub": f"{_SUBJECT}{namespace}:{account}",
        }
        return self._key.sign(claims)

    def is_ours(self, token: str) -> bool:
        """Whether this key signed it."""
        return _decode(token, self._key.public) is not None


class LegacyTokens:
    """The authenticator. `close` drops what is being written."""

    def __init__(
        self, key: SigningKey, reader: ObjectReader, clock: Clock, audiences: frozenset[str], note_use: NoteUse
    ) -> None:
        self._key = key
        self._reader = reader
        self._clock = clock
        self._audiences = audiences
        self._note_use = note_use
        self._verified: OrderedDict[bytes, dict[str, Any]] = OrderedDict()
        self._writing: dict[tuple[str, str], asyncio.Task[None]] = {}

    def close(self) -> None:
        for task in self._writing.values():
            task.cancel()

    async def authenticate_token(self, token: str, audiences: frozenset[str]) -> Found | None:
        digest = hashlib.sha256(token.encode()).digest()
        claims = self._verified.get(digest)
        if claims is None:
            claims = _decode(token, self._key.public)
            if claims is None:
                return None
            self._verified[digest] = claims
            if len(self._verified) > _CACHE_SIZE:
                self._verified.popitem(last=False)
        matching = self._audiences & audiences
        if not matching:
            raise InvalidToken("token audiences do not match the target audiences")
        namespace, account, uid = str(claims[_NAMESPACE]), str(claims[_NAME]), str(claims[_UID])
        secret = self._check(token, namespace, account, uid, str(claims[_SECRET]))
        self._note(secret)
        return service_account_user(namespace, account, uid), tuple(sorted(matching))

    def _check(self, token: str, namespace: str, account: str, uid: str, secret_name: str) -> Object:
        """The token's Secret. Raises `InvalidToken` where it, or the account, is not what the token was made for."""
        secret = self._reader.get(SECRETS, namespace, secret_name)
        if secret is None or is_deleting(secret):
            raise InvalidToken("service account token has been invalidated")
        if not hmac.compare_digest(_kept(secret), token.encode()):
            raise InvalidToken("service account token does not match server's copy")
        found = self._reader.get(SERVICEACCOUNTS, namespace, account)
        if found is None:
            raise InvalidToken(f'serviceaccount "{account}" not found')
        if is_deleting(found):
            raise InvalidToken(f"service account {namespace}/{account} has been deleted")
        if uid_of(found) != uid:
            raise InvalidToken(f"service account UID ({uid_of(found)}) does not match claim ({uid})")
        if INVALID_SINCE in labels_of(secret):
            raise InvalidToken(
                f"the token in secret {namespace}/{secret_name} for service account {namespace}/{account} has been "
                "marked invalid. Use tokens from the TokenRequest API or manually created secret-based tokens, or "
                f"remove the '{INVALID_SINCE}' label from the secret to temporarily allow use of this token"
            )
        return secret

    def _note(self, secret: Object) -> None:
        day = datetime.fromtimestamp(self._clock.now(), UTC).strftime("%Y-%m-%d")
        key = (namespace_of(secret), name_of(secret))
        if labels_of(secret).get(LAST_USED) == day or key in self._writing or len(self._writing) >= _WRITES_MAX:
            return
        task = asyncio.get_running_loop().create_task(self._write(*key, day), name=f"apiserver/legacy-token/{key}")
        self._writing[key] = task
        task.add_done_callback(lambda _: self._writing.pop(key, None))

    async def _write(self, namespace: str, name: str, day: str) -> None:
        try:
            await self._note_use(namespace, name, day)
        except errors.ApiError as error:
            # The token holds all the same; the next use tries again.
            log.warning("a token's last use could not be noted", namespace=namespace, name=name, error=str(error))


def _decode(token: str, public: ec.EllipticCurvePublicKey) -> dict[str, Any] | None:
    """The claims of a legacy token that the key signed, whole; None for anything else."""
    try:
        claims: dict[str, Any] = jwt.decode(
            token, public, algorithms=[ALGORITHM], issuer=ISSUER, options={"verify_aud": False}
        )
    except jwt.PyJWTError:
        return None
    if not all(claims.get(key) for key in (_NAMESPACE, _SECRET, _NAME, _UID)):
        return None
    return claims if claims.get("sub") == f"{_SUBJECT}{claims[_NAMESPACE]}:{claims[_NAME]}" else None


def _kept(secret: Object) -> bytes:
    try:
        return base64.b64decode((secret.get("data") or {}).get("token") or "")
    except binascii.Error:
        return b""
