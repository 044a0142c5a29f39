"""Authentication: who makes a request. Client certificates, service-account tokens, static tokens, impersonation.

`RequestAuthenticator` is asked once a request, on the event loop, and does no I/O. What it learns from a certificate
or a token is cached, bounded. Certificates were verified by the TLS handshake; only their end is watched here.
A request with no credentials yields None: the pipeline lets it pass as system:anonymous (`anonymous_user`) or
refuses it.
"""

from __future__ import annotations

import hmac
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote

from cryptography import x509
from cryptography.x509.oid import NameOID

from pybernetes.api import errors
from pybernetes.api.user import (
    ANONYMOUS,
    AUTHENTICATED,
    SERVICE_ACCOUNTS,
    UNAUTHENTICATED,
    User,
)
from pybernetes.apiserver.authorization import access_denied
from pybernetes.apiserver.interfaces import Attributes, Authorizer
from pybernetes.apiserver.tokens import InvalidToken, NotOurToken, ServiceAccountTokens
from pybernetes.lib.clock import Clock

anonymous_user = User(ANONYMOUS, "", (UNAUTHENTICATED,))

_CERTIFICATE_CACHE_SIZE = 1024
_SERVICE_ACCOUNT_PREFIX = "system:serviceaccount:"
_WEBSOCKET_TOKEN_PREFIX = "base64url.bearer.authorization.k8s.io."


def user_of_certificate(certificate: x509.Certificate) -> User | None:
    """CN is the name, each O a group, as upstream's CommonNameUserConversion; None where there is no CN."""
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    if not names or not names[0].value:
        return None
    groups = [str(o.value) for o in certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)]
    return User(str(names[0].value), "", (*dict.fromkeys(groups), AUTHENTICATED))


@dataclass(frozen=True, slots=True)
class _CertificateUser:
    user: User | None
    not_before: float
    not_after: float


class RequestAuthenticator:
    """The `Authenticator` of the API server.

    `static_tokens` are bearer tokens by their text, for set-ups that want one. Impersonation headers are carried
    out here, each right checked with `authorizer`.
    """

    def __init__(
        self,
        tokens: ServiceAccountTokens,
        authorizer: Authorizer,
        clock: Clock,
        *,
        static_tokens: Mapping[str, User] | None = None,
    ) -> None:
        self._tokens = tokens
        self._authorizer = authorizer
        self._clock = clock
        self._static_tokens = dict(static_tokens or {})
        self._certificates: OrderedDict[x509.Certificate, _CertificateUser] = OrderedDict()

    async def authenticate(self, headers: Mapping[str, str], peer_certificate: x509.Certificate | None) -> User | None:
        """See `Authenticator`. Raises `Unauthorized` for credentials that do not hold."""
        if peer_certificate is not None:
            user = self._certificate_user(peer_certificate)
            if user is not None:
                return user
        token = bearer_token(headers)
        if token is None:
            return None
        return self.authenticate_token(token)

    def authenticate_token(self, token: str) -> User:
        """The user of a bearer token for this server's audiences. Raises `Unauthorized`."""
        for known, user in self._static_tokens.items():
            if hmac.compare_digest(known.encode(), token.encode()):
                return user
        try:
            return self._tokens.verify(token)[0]
        except (InvalidToken, NotOurToken) as error:
            raise errors.Unauthorized("Unauthorized") from error

    def _certificate_user(self, certificate: x509.Certificate) -> User | None:
        known = self._certificates.get(certificate)
        if known is None:
            known = _CertificateUser(
                user_of_certificate(certificate),
                certificate.not_valid_before_utc.timestamp(),
                certificate.not_valid_after_utc.timestamp(),
            )
            self._certificates[certificate] = known
            if len(self._certificates) > _CERTIFICATE_CACHE_SIZE:
                self._certificates.popitem(last=False)
        # A connection may outlive the certificate it was opened with.
        if not known.not_before <= self._clock.now() < known.not_after:
            raise errors.Unauthorized("Unauthorized")
        return known.user

    # Impersonation: https://kubernetes.io/docs/reference/access-authn-authz/authentication/#user-impersonation

    async def impersonate(self, user: User, headers: Mapping[str, str]) -> User:
        name, uid = "", ""
        groups: list[str] = []
        extra: dict[str, list[str]] = {}
        for header, value in headers.items():
            low = header.lower()
            if low == "impersonate-user":
                name = value
            elif low == "impersonate-uid":
                uid = value
            elif low == "impersonate-group":
                groups.append(value)
            elif low.startswith("impersonate-extra-"):
                extra.setdefault(unquote(low[len("impersonate-extra-") :]), []).append(value)
        if not name:
            if groups or uid or extra:
                raise errors.InternalError(
                    f"Internal error occurred: requested [{_shown(groups, uid, extra)}] without impersonating a user"
                )
            return user

        account = _split_service_account(name)
        if account is not None:
            self._require(user, "", "serviceaccounts", account[1], namespace=account[0])
        else:
            self._require(user, "", "users", name)
        for group in groups:
            self._require(user, "", "groups", group)
        if uid:
            self._require(user, "authentication.k8s.io", "uids", uid)
        for key, values in extra.items():
            for value in values:
                self._require(user, "authentication.k8s.io", "userextras", value, subresource=key)

        if account is not None and not groups:
            groups = [SERVICE_ACCOUNTS, f"{SERVICE_ACCOUNTS}:{account[0]}"]
        membership = UNAUTHENTICATED if name == ANONYMOUS else AUTHENTICATED
        if not {AUTHENTICATED, UNAUTHENTICATED} & set(groups):
            groups.append(membership)
        return User(name, uid, tuple(groups), {key: tuple(values) for key, values in extra.items()})

    def _require(
        self, user: User, group: str, resource: str, name: str, *, namespace: str = "", subresource: str = ""
    ) -> None:
        attributes = Attributes(
            user=user,
            verb="impersonate",
            namespace=namespace,
            group=group,
            version="v1",
            resource=resource,
            subresource=subresource,
            name=name,
        )
        decision = self._authorizer.authorize(attributes)
        if not decision.allowed:
            raise access_denied(attributes, decision.reason)


def bearer_token(headers: Mapping[str, str]) -> str | None:
    """The token of the Authorization header, or of a WebSocket's subprotocol (browsers cannot set the header)."""
    authorization = headers.get("Authorization")
    if authorization is not None:
        scheme, _, token = authorization.partition(" ")
        token = token.strip()
        return token if scheme.lower() == "bearer" and token else None
    protocols = headers.get("Sec-WebSocket-Protocol")
    if protocols and _WEBSOCKET_TOKEN_PREFIX in protocols:
        for protocol in protocols.split(","):
            if (protocol := protocol.strip()).startswith(_WEBSOCKET_TOKEN_PREFIX):
                return _decode_websocket_token(protocol[len(_WEBSOCKET_TOKEN_PREFIX) :])
    return None


def _decode_websocket_token(encoded: str) -> str:
    import base64
    import binascii

    try:
        return base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)).decode()
    except (binascii.Error, UnicodeDecodeError, ValueError) as error:
        raise errors.Unauthorized("Unauthorized") from error


def _split_service_account(name: str) -> tuple[str, str] | None:
    if not name.startswith(_SERVICE_ACCOUNT_PREFIX):
        return None
    parts = name[len(_SERVICE_ACCOUNT_PREFIX) :].split(":")
    return (parts[0], parts[1]) if len(parts) == 2 and all(parts) else None


def _shown(groups: list[str], uid: str, extra: Mapping[str, list[str]]) -> str:
    shown = [f"groups={groups}"] if groups else []
    if uid:
        shown.append(f"uid={uid}")
    if extra:
        shown.append(f"extra={sorted(extra)}")
    return " ".join(shown)
