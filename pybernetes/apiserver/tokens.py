"""Service-account tokens: signing and verifying the JWTs, the TokenRequest subresource, and the OIDC documents by
which others verify them.

Tokens are bound: to their audiences, to an end, to the service account's uid and, where asked for, to a pod, secret
or node. A verified token's claims are cached by the token's hash until it ends; whether what it is bound to still
lives is looked up in the watch cache at every use, so a deleted pod's token is refused at once. Synchronous but for
the handler; one event loop.

Source: KEP-1205 (bound tokens), KEP-4193 (jti, node), KEP-1393 (issuer discovery).
"""

from __future__ import annotations

import hashlib
import uuid
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jwt

from pybernetes.api.meta import Object, metadata, uid_of
from pybernetes.api.resources import NODES, PODS, SECRETS, SERVICEACCOUNTS, Resource
from pybernetes.api.time import parse_time
from pybernetes.api.user import User, service_account_user
from pybernetes.apiserver.authenticators.chain import Found, InvalidToken
from pybernetes.apiserver.interfaces import ObservableReader
from pybernetes.apiserver.signing_key import ALGORITHM, SigningKey
from pybernetes.lib.clock import Clock

CLUSTER_ISSUER = "https://kubernetes.default.svc.cluster.local"

LEEWAY_SECONDS = 60
"""How long a token outlives its end and a deletion, as upstream: clocks differ."""

_CACHE_SIZE = 4096
_MAX_TOKEN_BYTES = 16 * 1024
_FINDS_MAX = 2
"""A token depends on its account and on one other object at most."""
_SUBJECT_PREFIX = "system:serviceaccount:"

POD_NAME = "authentication.kubernetes.io/pod-name"
POD_UID = "authentication.kubernetes.io/pod-uid"
NODE_NAME = "authentication.kubernetes.io/node-name"
NODE_UID = "authentication.kubernetes.io/node-uid"
CREDENTIAL_ID = "authentication.kubernetes.io/credential-id"


class NotOurToken(Exception):
    """The token is none of this issuer's; another authenticator may know it."""


@dataclass(frozen=True, slots=True)
class _Verified:
    """A token whose signature and times held, taken apart."""

    user: User
    audiences: frozenset[str]
    expires: float
    not_before: float
    namespace: str
    name: str
    uid: str
    pod: tuple[str, str] | None
    secret: tuple[str, str] | None
    node: tuple[str, str] | None


class _Missing(InvalidToken):
    """What the token depends on is not there, as far as this server knows."""

    def __init__(self, message: str, resource: Resource, namespace: str, name: str) -> None:
        super().__init__(message)
        self.what = (resource, namespace, name)


class ServiceAccountTokens:
    """Signs and verifies the cluster's service-account tokens.

    `key_pem` is the signing key (ECDSA P-256, PEM). `audiences` are the API server's own; the issuer by default.
    """

    def __init__(
        self,
        key_pem: bytes,
        reader: ObservableReader,
        clock: Clock,
        *,
        issuer: str = CLUSTER_ISSUER,
        audiences: Sequence[str] = (),
    ) -> None:
        self.key = SigningKey(key_pem)
        self._reader = reader
        self._clock = clock
        self.issuer = issuer
        self.audiences = tuple(audiences) or (issuer,)
        self._audience_set = frozenset(self.audiences)
        self._cache: OrderedDict[bytes, _Verified] = OrderedDict()

    def statistics(self) -> dict[str, int]:
        return {"cached": len(self._cache)}

    # Signing.

    def sign(
        self,
        namespace: str,
        name: str,
        uid: str,
        *,
        audiences: Sequence[str] = (),
        lifetime_seconds: int,
        warn_after_seconds: int | None = None,
        pod: tuple[str, str] | None = None,
        secret: tuple[str, str] | None = None,
        node: tuple[str, str] | None = None,
        token_id: str = "",
    ) -> str:
        """A token. `pod`, `secret` and `node` are (name, uid) of what it is bound to."""
        now = int(self._clock.now())
        private: Object = {"namespace": namespace, "serviceaccount": {"name": name, "uid": uid}}
        for kind, bound in (("pod", pod), ("secret", secret), ("node", node)):
            if bound is not None:
                private[kind] = {"name": bound[0], "uid": bound[1]}
        if warn_after_seconds is not None:
            private["warnafter"] = now + warn_after_seconds
        claims = {
            "aud": list(audiences or self.audiences),
            "exp": now + lifetime_seconds,
            "iat": now,
            "iss": self.issuer,
            "jti": token_id or str(uuid.uuid4()),
            "kubernetes.io": private,
            "nbf": now,
            "sub": f"{_SUBJECT_PREFIX}{namespace}:{name}",
        }
        return self.key.sign(claims)

    # Verifying.

    def verify(self, token: str, audiences: frozenset[str] | None = None) -> tuple[User, tuple[str, ...]]:
        """The token's user and those of `audiences` (the API server's by default) that it is for. Raises
        `NotOurToken`, `InvalidToken`."""
        digest = hashlib.sha256(token.encode()).digest()
        verified = self._cache.get(digest)
        if verified is None:
            verified = self._decode(token)
            self._cache[digest] = verified
            if len(self._cache) > _CACHE_SIZE:
                self._cache.popitem(last=False)
        else:
            self._cache.move_to_end(digest)
        now = self._clock.now()
        if now > verified.expires + LEEWAY_SECONDS:
            self._cache.pop(digest, None)
            raise InvalidToken("service account token has expired")
        if now < verified.not_before - LEEWAY_SECONDS:
            raise InvalidToken("service account token is not valid yet")
        matching = verified.audiences & (self._audience_set if audiences is None else audiences)
        if not matching:
            wanted = sorted(self._audience_set if audiences is None else audiences)
            raise InvalidToken(
                f"token audiences {_go_list(sorted(verified.audiences))} is invalid for the target audiences "
                f"{_go_list(wanted)}"
            )
        self._check_alive(verified)
        return verified.user, tuple(sorted(matching))

    def _decode(self, token: str) -> _Verified:
        if len(token) > _MAX_TOKEN_BYTES:
            raise NotOurToken("too long")
        try:
            unverified = jwt.decode(token, options={"verify_signature": False})
        except jwt.PyJWTError as error:
            raise NotOurToken(str(error)) from error
        if unverified.get("iss") != self.issuer:
            raise NotOurToken("another issuer")
        try:
            claims: Mapping[str, Any] = jwt.decode(
                token,
                self.key.public,
                algorithms=[ALGORITHM],
                issuer=self.issuer,
                # Times are checked against the clock passed in, audiences by the caller's wish.
                options={"verify_aud": False, "verify_exp": False, "verify_nbf": False, "verify_iat": False},
            )
        except jwt.PyJWTError as error:
            raise InvalidToken(f"failed to verify the token: {error}") from error
        private = claims.get("kubernetes.io")
        if not isinstance(private, dict):
            raise InvalidToken("service account token has no kubernetes.io claims")
        try:
            namespace, account = str(private["namespace"]), private["serviceaccount"]
            name, uid = str(account["name"]), str(account["uid"])
            expires, not_before = float(claims["exp"]), float(claims.get("nbf", 0))
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidToken(f"service account token lacks a claim: {error}") from error
        if claims.get("sub") != f"{_SUBJECT_PREFIX}{namespace}:{name}":
            raise InvalidToken("service account token's subject is not its service account")
        audiences = claims.get("aud")
        if isinstance(audiences, str):
            audiences = [audiences]
        pod, secret, node = (_reference(private.get(kind)) for kind in ("pod", "secret", "node"))
        extra: dict[str, tuple[str, ...]] = {}
        if claims.get("jti"):
            extra[CREDENTIAL_ID] = (f"JTI={claims['jti']}",)
        if pod:
            extra[POD_NAME], extra[POD_UID] = (pod[0],), (pod[1],)
        if node:
            extra[NODE_NAME] = (node[0],)
            if node[1]:
                extra[NODE_UID] = (node[1],)
        account_user = service_account_user(namespace, name, uid)
        user = User(account_user.name, uid, account_user.groups, extra)
        return _Verified(
            user,
            frozenset(str(a) for a in audiences or ()),
            expires,
            not_before,
            namespace,
            name,
            uid,
            pod,
            secret,
            node,
        )

    async def authenticate_token(self, token: str, audiences: frozenset[str]) -> Found | None:
        """See `TokenAuthenticator`."""
        for _ in range(_FINDS_MAX):
            try:
                return self.verify(token, audiences)
            except NotOurToken:
                return None
            except _Missing as missing:
                # Another server may have made it a moment ago.
                if await self._reader.find(*missing.what) is None:
                    raise
        return self.verify(token, audiences)

    def _check_alive(self, token: _Verified) -> None:
        """Refuses a token whose service account, or what it is bound to, is gone or another by now."""
        account = self._reader.get(SERVICEACCOUNTS, token.namespace, token.name)
        if account is None:
            raise _Missing(f'serviceaccounts "{token.name}" not found', SERVICEACCOUNTS, token.namespace, token.name)
        if self._is_long_deleted(account):
            raise InvalidToken(f"service account {token.namespace}/{token.name} has been deleted")
        if uid_of(account) != token.uid:
            raise InvalidToken(f"service account UID ({uid_of(account)}) does not match claim ({token.uid})")
        if token.secret is not None:
            self._check_bound(SECRETS, token.namespace, token.secret, "secret")
        if token.pod is not None:
            self._check_bound(PODS, token.namespace, token.pod, "pod")
        elif token.node is not None:
            # A pod's token names the node only for information.
            self._check_bound(NODES, "", token.node, "node")

    def _check_bound(self, resource: Resource, namespace: str, bound: tuple[str, str], what: str) -> None:
        name, uid = bound
        obj = self._reader.get(resource, namespace, name)
        if obj is None:
            raise _Missing("service account token has been invalidated", resource, namespace, name)
        if self._is_long_deleted(obj):
            raise InvalidToken("service account token has been invalidated")
        if uid_of(obj) != uid:
            raise InvalidToken(f"{what} UID ({uid_of(obj)}) does not match service account {what} ref claim ({uid})")

    def _is_long_deleted(self, obj: Object) -> bool:
        # A pod keeps its token through its grace period, and the leeway more.
        deleted = metadata(obj).get("deletionTimestamp")
        return deleted is not None and parse_time(deleted) + LEEWAY_SECONDS < self._clock.now()

    # OIDC.

    def openid_configuration(self, jwks_uri: str = "") -> Object | None:
        """The document at ``/.well-known/openid-configuration``. None for an issuer that is no https URL: nobody could
        discover it, and upstream does not serve it either."""
        if not self.issuer.startswith("https://"):
            return None
        return {
            "issuer": self.issuer,
            "jwks_uri": jwks_uri or f"{self.issuer.rstrip('/')}/openid/v1/jwks",
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": [ALGORITHM],
        }

    def jwks(self) -> Object:
        """The document at ``/openid/v1/jwks``, of media type application/jwk-set+json."""
        return {"keys": [self.key.jwk()]}


def _reference(value: Any) -> tuple[str, str] | None:
    if not isinstance(value, dict) or not value.get("name"):
        return None
    return str(value["name"]), str(value.get("uid") or "")


def _go_list(values: Sequence[str]) -> str:
    """A list of strings as Go's %q prints it."""
    return "[" + " ".join(f'"{v}"' for v in values) + "]"
