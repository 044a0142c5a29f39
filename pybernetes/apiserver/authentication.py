"""Authentication: who makes a request. A front proxy's word, a client certificate, a bearer token, in this order.

`RequestAuthenticator` is asked once a request, on the event loop; it waits only for tokens that others must be asked
about (identity providers, webhooks). What it learns from a certificate is cached, bounded. Certificates were verified
by the TLS handshake; only their end is watched here, and, with a front proxy, which CA they are of. A request
with no credentials yields None: the pipeline lets it pass as system:anonymous (`anonymous_user`) or refuses it.
"""

from __future__ import annotations

import base64
import binascii
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import NameOID

from pybernetes.api import errors
from pybernetes.api.user import ANONYMOUS, AUTHENTICATED, UNAUTHENTICATED, User
from pybernetes.apiserver.authenticators.chain import InvalidToken, TokenChain
from pybernetes.apiserver.authenticators.front_proxy import FrontProxy, is_issued_by
from pybernetes.apiserver.impersonation import Impersonator
from pybernetes.apiserver.tokens import CREDENTIAL_ID
from pybernetes.lib.clock import Clock

anonymous_user = User(ANONYMOUS, "", (UNAUTHENTICATED,))

_CERTIFICATE_CACHE_SIZE = 1024
WEBSOCKET_TOKEN_PREFIX = "base64url.bearer.authorization.k8s.io."
_USER_UID = x509.ObjectIdentifier("1.3.6.1.4.1.57683.2")
"""The attribute of a certificate's subject that is the user's uid, as upstream's X509UID."""


def user_of_certificate(certificate: x509.Certificate) -> User | None:
    """CN is the name, each O a group, as upstream's CommonNameUserConversion; None where there is no CN. ValueError
    where the subject names several uids, or an empty one."""
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    if not names or not names[0].value:
        return None
    groups = [str(o.value) for o in certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)]
    uids = [str(a.value) for a in certificate.subject.get_attributes_for_oid(_USER_UID)]
    if len(uids) > 1:
        raise ValueError("expected 1 UID, but found multiple")
    if uids and not uids[0]:
        raise ValueError("UID cannot be an empty string")
    extra = {CREDENTIAL_ID: ("X509SHA256=" + certificate.fingerprint(hashes.SHA256()).hex(),)}
    return User(str(names[0].value), uids[0] if uids else "", (*dict.fromkeys(groups), AUTHENTICATED), extra)


@dataclass(frozen=True, slots=True)
class _CertificateUser:
    certificate: x509.Certificate
    """Kept, so that its id stays its own."""
    user: User | None
    """Of a client's certificate; None of one that names nobody, or is only a proxy's."""
    is_proxy: bool
    not_before: float
    not_after: float


class RequestAuthenticator:
    """The `Authenticator` of the API server.

    With a `front_proxy`, whose certificates are of another CA, `client_authorities` say which are clients' own.
    """

    def __init__(
        self,
        tokens: TokenChain,
        impersonator: Impersonator,
        clock: Clock,
        *,
        front_proxy: FrontProxy | None = None,
        client_authorities: Sequence[x509.Certificate] = (),
    ) -> None:
        self._tokens = tokens
        self._clock = clock
        self._front_proxy = front_proxy
        self._client_authorities = tuple(client_authorities)
        # By the id of the certificate, which a connection keeps for as long as it lasts: its hash costs more than all
        # the rest.
        self._certificates: OrderedDict[int, _CertificateUser] = OrderedDict()
        self.impersonate = impersonator.impersonate

    async def authenticate(self, headers: Mapping[str, str], peer_certificate: x509.Certificate | None) -> User | None:
        """See `Authenticator`. Raises `Unauthorized` for credentials that do not hold."""
        if peer_certificate is not None:
            known = self._certificates.get(id(peer_certificate)) or self._learn(peer_certificate)
            # A connection may outlive the certificate it was opened with.
            if not known.not_before <= self._clock.now() < known.not_after:
                raise errors.Unauthorized("Unauthorized")
            if known.is_proxy and self._front_proxy is not None:
                user = self._front_proxy.user(headers)
                if user is not None:
                    return user
            if known.user is not None:
                return known.user
        token = bearer_token(headers)
        if token is None:
            if peer_certificate is not None and self._front_proxy is not None:
                # A certificate of the proxies' CA that says nothing else is no client's, and not nobody's either.
                raise errors.Unauthorized("Unauthorized")
            return None
        try:
            return (await self._tokens.authenticate(token))[0]
        except InvalidToken as error:
            raise errors.Unauthorized("Unauthorized") from error

    def _learn(self, certificate: x509.Certificate) -> _CertificateUser:
        user: User | None = None
        proxy = self._front_proxy
        if proxy is None or is_issued_by(certificate, self._client_authorities):
            try:
                user = user_of_certificate(certificate)
            except ValueError as error:
                raise errors.Unauthorized("Unauthorized") from error
        known = self._certificates[id(certificate)] = _CertificateUser(
            certificate,
            user,
            proxy is not None and proxy.may_speak(certificate),
            certificate.not_valid_before_utc.timestamp(),
            certificate.not_valid_after_utc.timestamp(),
        )
        if len(self._certificates) > _CERTIFICATE_CACHE_SIZE:
            self._certificates.popitem(last=False)
        return known


def bearer_token(headers: Mapping[str, str]) -> str | None:
    """The token of the Authorization header, or of a WebSocket's subprotocol (browsers cannot set the header)."""
    authorization = headers.get("Authorization")
    if authorization is not None:
        scheme, _, token = authorization.partition(" ")
        token = token.strip()
        return token if scheme.lower() == "bearer" and token else None
    protocols = headers.get("Sec-WebSocket-Protocol")
    if protocols and WEBSOCKET_TOKEN_PREFIX in protocols:
        for protocol in protocols.split(","):
            if (protocol := protocol.strip()).startswith(WEBSOCKET_TOKEN_PREFIX):
                return _decode_websocket_token(protocol[len(WEBSOCKET_TOKEN_PREFIX) :])
    return None


def _decode_websocket_token(encoded: str) -> str:
    try:
        return base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)).decode()
    except (binascii.Error, UnicodeDecodeError, ValueError) as error:
        raise errors.Unauthorized("Unauthorized") from error
