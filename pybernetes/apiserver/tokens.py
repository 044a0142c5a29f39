"""Service-account tokens: signing and verifying the JWTs, the TokenRequest subresource, and the OIDC documents by
which others verify them.

Tokens are bound: to their audiences, to an end, to the service account's uid and, where asked for, to a pod, secret
or node. A verified token's claims are cached by the token's hash until it ends; whether what it is bound to still
lives is looked up in the watch cache at every use, so a deleted pod's token is refused at once. Synchronous but for
the handler; one event loop.

Source: KEP-1205 (bound tokens), KEP-4193 (jti, node), KEP-1393 (issuer discovery).
"""

from __future__ import annotations

import base64
import hashlib
import uuid
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from pybernetes.api import errors, field
from pybernetes.api.meta import Object, metadata, name_of, uid_of
from pybernetes.api.resources import NODES, PODS, SECRETS, SERVICEACCOUNTS, Resource
from pybernetes.api.time import format_time, parse_time
from pybernetes.api.user import User, service_account_user
from pybernetes.apiserver.interfaces import ObjectReader, RequestInfo
from pybernetes.lib.clock import Clock

CLUSTER_ISSUER = "https://kubernetes.default.svc.cluster.local"
ALGORITHM = "ES256"

DEFAULT_EXPIRATION_SECONDS = 3600
MIN_EXPIRATION_SECONDS = 600
MAX_EXPIRATION_SECONDS = 1 << 32
WARN_ONLY_EXPIRATION_SECONDS = 3607
"""What the ServiceAccount admission plugin asks for. A token asked for with exactly this lives for a year, and
warns after this time, so that old clients that never read the file again keep working (upstream's
--service-account-extend-token-expiration)."""
EXTENDED_EXPIRATION_SECONDS = 365 * 24 * 3600

_CACHE_SIZE = 4096
_MAX_TOKEN_BYTES = 16 * 1024
_SUBJECT_PREFIX = "system:serviceaccount:"

POD_NAME = "authentication.kubernetes.io/pod-name"
POD_UID = "authentication.kubernetes.io/pod-uid"
NODE_NAME = "authentication.kubernetes.io/node-name"
NODE_UID = "authentication.kubernetes.io/node-uid"
CREDENTIAL_ID = "authentication.kubernetes.io/credential-id"


class InvalidToken(Exception):
    """The token does not hold; the message is for logs and TokenReview, and repeats nothing of the token."""


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


class ServiceAccountTokens:
    """Signs and verifies the cluster's service-account tokens.

    `key_pem` is the signing key (ECDSA P-256, PEM). `audiences` are the API server's own; the issuer by default.
    """

    def __init__(
        self,
        key_pem: bytes,
        reader: ObjectReader,
        clock: Clock,
        *,
        issuer: str = CLUSTER_ISSUER,
        audiences: Sequence[str] = (),
    ) -> None:
        key = serialization.load_pem_private_key(key_pem, password=None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise ValueError("the service-account signing key is no ECDSA key")
        self._key = key
        self._public = key.public_key()
        self._reader = reader
        self._clock = clock
        self.issuer = issuer
        self.audiences = tuple(audiences) or (issuer,)
        self._audience_set = frozenset(self.audiences)
        der = self._public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        # The key id that upstream derives: unpadded base64url of the SHA-256 of the DER public key.
        self.key_id = base64.urlsafe_b64encode(hashlib.sha256(der).digest()).rstrip(b"=").decode()
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
            "jti": str(uuid.uuid4()),
            "kubernetes.io": private,
            "nbf": now,
            "sub": f"{_SUBJECT_PREFIX}{namespace}:{name}",
        }
        return jwt.encode(claims, self._key, algorithm=ALGORITHM, headers={"kid": self.key_id})

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
        if now >= verified.expires:
            self._cache.pop(digest, None)
            raise InvalidToken("service account token has expired")
        if now < verified.not_before - 1:
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
                self._public,
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

    def _check_alive(self, token: _Verified) -> None:
        """Refuses a token whose service account, or what it is bound to, is gone or another by now."""
        self._check_object(SERVICEACCOUNTS, token.namespace, (token.name, token.uid), "service account")
        if token.secret is not None:
            self._check_object(SECRETS, token.namespace, token.secret, "secret")
        if token.pod is not None:
            self._check_object(PODS, token.namespace, token.pod, "pod")
        elif token.node is not None:
            # A pod's token names the node only for information.
            self._check_object(NODES, "", token.node, "node")

    def _check_object(self, resource: Resource, namespace: str, bound: tuple[str, str], what: str) -> None:
        name, uid = bound
        obj = self._reader.get(resource, namespace, name)
        if obj is None or uid_of(obj) != uid:
            raise InvalidToken("service account token has been invalidated: its " + what + " is gone")
        deleted = metadata(obj).get("deletionTimestamp")
        # A pod keeps its token through its grace period, and a minute more, as upstream.
        if deleted and parse_time(deleted) + 60 < self._clock.now():
            raise InvalidToken("service account token has been invalidated: its " + what + " is being deleted")

    # OIDC.

    def openid_configuration(self) -> Object:
        """The document at ``/.well-known/openid-configuration``."""
        return {
            "issuer": self.issuer,
            "jwks_uri": f"{self.issuer}/openid/v1/jwks",
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": [ALGORITHM],
        }

    def jwks(self) -> Object:
        """The document at ``/openid/v1/jwks``, of media type application/jwk-set+json."""
        numbers = self._public.public_numbers()
        return {
            "keys": [
                {
                    "use": "sig",
                    "kty": "EC",
                    "kid": self.key_id,
                    "crv": "P-256",
                    "alg": ALGORITHM,
                    "x": _base64url(numbers.x),
                    "y": _base64url(numbers.y),
                }
            ]
        }


def _base64url(value: int) -> str:
    return base64.urlsafe_b64encode(value.to_bytes(32, "big")).rstrip(b"=").decode()


def _reference(value: Any) -> tuple[str, str] | None:
    if not isinstance(value, dict) or not value.get("name"):
        return None
    return str(value["name"]), str(value.get("uid") or "")


def _go_list(values: Sequence[str]) -> str:
    """A list of strings as Go's %q prints it."""
    return "[" + " ".join(f'"{v}"' for v in values) + "]"


class TokenRequests:
    """The ``serviceaccounts/token`` subresource: an `ObjectHandler`."""

    def __init__(self, tokens: ServiceAccountTokens, reader: ObjectReader, clock: Clock) -> None:
        self._tokens = tokens
        self._reader = reader
        self._clock = clock

    async def create(self, info: RequestInfo, body: Object) -> Object:
        """Issues a token. Raises NotFound, BadRequest, Conflict, Invalid."""
        self._validate(info, body)
        spec = body.get("spec") or {}
        account = self._reader.get(SERVICEACCOUNTS, info.namespace, info.name)
        if account is None:
            raise errors.not_found("", "serviceaccounts", info.name)
        requested = int(spec.get("expirationSeconds") or DEFAULT_EXPIRATION_SECONDS)
        audiences = [str(a) for a in spec.get("audiences") or ()] or list(self._tokens.audiences)
        pod, secret, node = self._bound(info, spec.get("boundObjectRef"))

        lifetime, warn_after = requested, None
        if requested == WARN_ONLY_EXPIRATION_SECONDS and pod and set(audiences) <= set(self._tokens.audiences):
            lifetime, warn_after = EXTENDED_EXPIRATION_SECONDS, requested
        now = self._clock.now()
        token = self._tokens.sign(
            info.namespace,
            info.name,
            uid_of(account),
            audiences=audiences,
            lifetime_seconds=lifetime,
            warn_after_seconds=warn_after,
            pod=pod,
            secret=secret,
            node=node,
        )
        return {
            "kind": "TokenRequest",
            "apiVersion": "authentication.k8s.io/v1",
            "metadata": {
                "name": info.name,
                "namespace": info.namespace,
                "creationTimestamp": format_time(now),
            },
            "spec": {
                "audiences": audiences,
                "expirationSeconds": requested,
                "boundObjectRef": spec.get("boundObjectRef"),
            },
            # The time asked for, even where the token lives longer: the kubelet renews by it.
            "status": {"token": token, "expirationTimestamp": format_time(now + requested)},
        }

    def _validate(self, info: RequestInfo, body: Object) -> None:
        faults: list[field.FieldError] = []
        meta, at = metadata(body), field.Path("metadata")
        if meta.get("name") and meta["name"] != info.name:
            faults.append(
                field.invalid(at.child("name"), meta["name"], "must match the service account name if specified")
            )
        if meta.get("namespace") and meta["namespace"] != info.namespace:
            faults.append(
                field.invalid(
                    at.child("namespace"), meta["namespace"], "must match the service account namespace if specified"
                )
            )
        seconds = (body.get("spec") or {}).get("expirationSeconds")
        where = field.Path("spec").child("expirationSeconds")
        if seconds is not None and int(seconds) < MIN_EXPIRATION_SECONDS:
            faults.append(field.invalid(where, seconds, "may not specify a duration less than 10 minutes"))
        elif seconds is not None and int(seconds) > MAX_EXPIRATION_SECONDS:
            faults.append(field.invalid(where, seconds, "may not specify a duration larger than 2^32 seconds"))
        if faults:
            raise errors.invalid("authentication.k8s.io", "TokenRequest", info.name, faults)

    def _bound(
        self, info: RequestInfo, reference: Object | None
    ) -> tuple[tuple[str, str] | None, tuple[str, str] | None, tuple[str, str] | None]:
        """(pod, secret, node) that the token is to be bound to, each (name, uid)."""
        if not reference:
            return None, None, None
        kind = (str(reference.get("apiVersion") or ""), str(reference.get("kind") or ""))
        name = str(reference.get("name") or "")
        if kind == ("v1", "Pod"):
            pod = self._existing(PODS, info.namespace, name, reference)
            spec = pod.get("spec") or {}
            if spec.get("serviceAccountName") != info.name:
                raise errors.BadRequest(
                    f'cannot bind token for serviceaccount "{info.name}" to pod running with different '
                    "serviceaccount name."
                )
            node: tuple[str, str] | None = None
            if spec.get("nodeName"):
                # The node may be gone already: the claim is information, not a binding.
                bound_node = self._reader.get(NODES, "", spec["nodeName"])
                node = (spec["nodeName"], uid_of(bound_node) if bound_node else "")
            return (name, uid_of(pod)), None, node
        if kind == ("v1", "Secret"):
            secret = self._existing(SECRETS, info.namespace, name, reference)
            return None, (name, uid_of(secret)), None
        if kind == ("v1", "Node"):
            bound = self._existing(NODES, "", name, reference)
            return None, None, (name, uid_of(bound))
        group_version, kind_name = kind
        group, sep, version = group_version.rpartition("/")
        shown = f"{group if sep else ''}/{version}, Kind={kind_name}"
        raise errors.BadRequest(f"cannot bind token to object of type {shown}")

    def _existing(self, resource: Resource, namespace: str, name: str, reference: Object) -> Object:
        obj = self._reader.get(resource, namespace, name)
        if obj is None:
            raise errors.not_found("", resource.plural, name)
        assert name_of(obj) == name
        wanted = str(reference.get("uid") or "")
        if wanted and wanted != uid_of(obj):
            raise errors.conflict(
                "",
                resource.plural,
                name,
                f"the UID in the bound object reference ({wanted}) does not match the UID in record. The object might "
                "have been deleted and then recreated",
            )
        return obj
