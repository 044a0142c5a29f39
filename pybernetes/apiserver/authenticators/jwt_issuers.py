"""Tokens of identity providers: OpenID Connect ID tokens, verified by the keys that the issuer publishes.

`JWTIssuer` authenticates the tokens of one issuer. Its keys are fetched when the first token needs them, and again when
a token names a key that is not among them, at most every `REFETCH_SECONDS` whatever is presented; one fetch at a
time. Who a verified token is, is kept for `CACHE_SECONDS` (upstream's token cache), bounded. Every signature is
checked by PyJWT, with the algorithms that are allowed and no others.

Left out: distributed claims.
Source: OpenID Connect Core 1.0, Discovery 1.0; upstream's ``oidc`` authenticator.
"""

from __future__ import annotations

import asyncio
import hashlib
import ssl
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import jwt
import structlog

from pybernetes.api.user import User, clean
from pybernetes.apiserver.authenticators.chain import Found, InvalidToken, for_audiences
from pybernetes.apiserver.expressions import Expression, ExpressionError
from pybernetes.apiserver.outbound import Outbound, OutboundError
from pybernetes.lib.clock import Clock

SIGNING_ALGORITHMS = ("ES256", "ES384", "ES512", "PS256", "PS384", "PS512", "RS256", "RS384", "RS512")
REFETCH_SECONDS = 10.0
CACHE_SECONDS = 10.0
_CACHE_SIZE = 4096
_TOKEN_BYTES_MAX = 64 * 1024
_WELL_KNOWN = "/.well-known/openid-configuration"

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Mapped:
    """What becomes part of a user: a claim, with what is put before it, or an expression's value."""

    claim: str = ""
    prefix: str = ""
    expression: Expression | None = None


@dataclass(frozen=True, slots=True)
class JWTIssuerConfig:
    url: str
    audiences: tuple[str, ...]
    """A token must be for one of them."""
    tls: ssl.SSLContext
    username: Mapped
    groups: Mapped | None = None
    uid: Mapped | None = None
    extra: tuple[tuple[str, Expression], ...] = ()
    claim_rules: tuple[tuple[Expression, str], ...] = ()
    """(what must hold of the claims, what is told where it does not)."""
    user_rules: tuple[tuple[Expression, str], ...] = ()
    required_claims: Mapping[str, str] = field(default_factory=dict)
    algorithms: tuple[str, ...] = ("RS256",)
    discovery_url: str = ""
    """Where the issuer's document is, if not below the issuer's own URL."""


@dataclass(frozen=True, slots=True)
class _Verified:
    user: User
    expires: float
    until: float
    """When it is to be verified again (monotonic seconds)."""


class JWTIssuer:
    def __init__(
        self, config: JWTIssuerConfig, outbound: Outbound, clock: Clock, api_audiences: frozenset[str]
    ) -> None:
        self._config = config
        self._outbound = outbound
        self._clock = clock
        self._api_audiences = api_audiences
        self._keys: dict[str, jwt.PyJWK] = {}
        self._fetched = -REFETCH_SECONDS
        self._fetching = asyncio.Lock()
        self._cache: OrderedDict[bytes, _Verified] = OrderedDict()

    async def authenticate_token(self, token: str, audiences: frozenset[str]) -> Found | None:
        if len(token) > _TOKEN_BYTES_MAX or token.count(".") != 2:
            return None
        digest = hashlib.sha256(token.encode()).digest()
        verified = self._cache.get(digest)
        if verified is None or self._clock.monotonic() >= verified.until or self._clock.now() >= verified.expires:
            verified = await self._verify(token)
            if verified is None:
                return None
            self._cache[digest] = verified
            if len(self._cache) > _CACHE_SIZE:
                self._cache.popitem(last=False)
        return for_audiences(verified.user, self._api_audiences, audiences)

    async def _verify(self, token: str) -> _Verified | None:
        try:
            head = jwt.get_unverified_header(token)
            unverified = jwt.decode(token, options={"verify_signature": False})
        except jwt.PyJWTError:
            return None
        if unverified.get("iss") != self._config.url:
            return None
        claims = await self._checked(token, head)
        user = self._user(claims)
        return _Verified(user, float(claims["exp"]), self._clock.monotonic() + CACHE_SECONDS)

    async def _checked(self, token: str, head: Mapping[str, Any]) -> dict[str, Any]:
        """The claims of a token whose signature, times and audience hold. Raises `InvalidToken`."""
        fault = "no key that verifies the token"
        for key in await self._candidates(str(head.get("kid") or "")):
            try:
                claims: dict[str, Any] = jwt.decode(
                    token,
                    # The bare key: the token's head chooses among the algorithms that are allowed, and PyJWT refuses
                    # those that are not for this type of key.
                    key.key,
                    algorithms=list(self._config.algorithms),
                    issuer=self._config.url,
                    options={
                        "require": ["exp"],
                        "verify_aud": False,
                        "verify_exp": False,
                        "verify_nbf": False,
                        "verify_iat": False,
                    },
                )
            except (jwt.PyJWTError, TypeError) as error:
                fault = str(error)
                continue
            self._check_times(claims)
            self._check_audience(claims)
            return claims
        raise InvalidToken(f"oidc: verify token: failed to verify signature: {fault}")

    def _check_times(self, claims: Mapping[str, Any]) -> None:
        now = self._clock.now()
        try:
            expires, not_before = float(claims["exp"]), float(claims.get("nbf") or 0)
        except (TypeError, ValueError) as error:
            raise InvalidToken("oidc: verify token: the token's times are no numbers") from error
        if now >= expires:
            raise InvalidToken("oidc: verify token: oidc: token is expired")
        # As the library that upstream uses: the issuer's clock may be five minutes ahead.
        if now + 300 < not_before:
            raise InvalidToken("oidc: verify token: oidc: current time before the nbf (not before) time")

    def _check_audience(self, claims: Mapping[str, Any]) -> None:
        found = claims.get("aud")
        named = [found] if isinstance(found, str) else found if isinstance(found, list) else []
        if not set(self._config.audiences) & {str(a) for a in named}:
            wanted = " ".join(f'"{a}"' for a in sorted(self._config.audiences))
            got = " ".join(f'"{a}"' for a in named)
            raise InvalidToken(f"oidc: verify token: oidc: expected audience in [{wanted}] got [{got}]")

    # ---- keys

    async def _candidates(self, key_id: str) -> list[jwt.PyJWK]:
        """The keys to try: the named one, or all where the token names none."""
        keys = self._matching(key_id)
        if keys:
            return keys
        async with self._fetching:
            # Whoever waited finds what the fetch before brought.
            keys = self._matching(key_id)
            if not keys and self._clock.monotonic() - self._fetched >= REFETCH_SECONDS:
                await self._fetch()
                keys = self._matching(key_id)
        return keys

    def _matching(self, key_id: str) -> list[jwt.PyJWK]:
        if not key_id:
            return list(self._keys.values())
        found = self._keys.get(key_id)
        return [found] if found is not None else []

    async def _fetch(self) -> None:
        self._fetched = self._clock.monotonic()
        config = self._config
        try:
            document = await self._outbound.get(
                config.discovery_url or config.url.rstrip("/") + _WELL_KNOWN, config.tls
            )
            if not isinstance(document, dict) or document.get("issuer") != config.url:
                raise OutboundError("oidc: issuer did not match the issuer returned by provider")
            address = str(document.get("jwks_uri") or "")
            if not address.startswith("https://"):
                raise OutboundError("the issuer's jwks_uri is no https URL")
            published = await self._outbound.get(address, config.tls)
            self._keys = _usable(published)
        except OutboundError as error:
            log.error("the issuer's keys could not be fetched", issuer=config.url, error=str(error))
            if not self._keys:
                raise InvalidToken("oidc: authenticator not initialized") from error

    # ---- claims

    def _user(self, claims: Mapping[str, Any]) -> User:
        """Raises `InvalidToken`."""
        config = self._config
        try:
            user = self._mapped(claims)
            for expression, message in config.user_rules:
                _require(expression, _fields(user), message, "user info validation rule")
        except ExpressionError as error:
            raise InvalidToken(f"oidc: {error}") from error
        return user

    def _mapped(self, claims: Mapping[str, Any]) -> User:
        """Raises `InvalidToken`, `ExpressionError`."""
        config = self._config
        name = _one(claims, config.username, f'parse username claims "{config.username.claim}"')
        if config.username.claim == "email" and claims.get("email_verified", True) is not True:
            raise InvalidToken("oidc: email not verified")
        groups: tuple[str, ...] = ()
        if config.groups is not None and config.groups.expression is not None:
            groups = tuple(clean(g) for g in config.groups.expression.evaluate(claims))
        elif config.groups is not None and config.groups.claim in claims:
            found = claims[config.groups.claim]
            found = [found] if isinstance(found, str) else found
            if not isinstance(found, list) or not all(isinstance(g, str) for g in found):
                raise InvalidToken(f'oidc: parse groups claim "{config.groups.claim}": not a list of strings')
            groups = tuple(config.groups.prefix + clean(g) for g in found)
        uid = _one(claims, config.uid, f'parse uid claim "{config.uid.claim}"') if config.uid is not None else ""
        for claim, wanted in config.required_claims.items():
            if claim not in claims:
                raise InvalidToken(f"oidc: required claim {claim} not present in ID token")
            got = _text(claims, claim, f"parse claim {claim}")
            if got != wanted:
                raise InvalidToken(f"oidc: required claim {claim} value does not match. Got = {got}, want = {wanted}")
        for expression, message in config.claim_rules:
            _require(expression, claims, message, "claim validation expression")
        extra: dict[str, tuple[str, ...]] = {}
        for key, expression in config.extra:
            values = tuple(clean(v) for v in expression.evaluate(claims))
            if values:
                extra[key] = values
        if isinstance(claims.get("jti"), str) and claims["jti"]:
            extra["authentication.kubernetes.io/credential-id"] = (f"JTI={clean(claims['jti'])}",)
        return User(config.username.prefix + name, uid, groups, extra)


def _fields(user: User) -> dict[str, Any]:
    """A user as expressions see it."""
    return {
        "username": user.name,
        "uid": user.uid,
        "groups": list(user.groups),
        "extra": {key: list(values) for key, values in user.extra.items()},
    }


def _require(expression: Expression, value: Mapping[str, Any], message: str, what: str) -> None:
    if not expression.evaluate(value):
        raise ExpressionError(f"error evaluating {what}: validation expression '{expression.text}' failed: {message}")


def _one(claims: Mapping[str, Any], mapped: Mapped, what: str) -> str:
    if mapped.expression is not None:
        return clean(mapped.expression.evaluate(claims))
    return _text(claims, mapped.claim, what)


def _text(claims: Mapping[str, Any], claim: str, what: str) -> str:
    if claim not in claims:
        raise InvalidToken(f"oidc: {what}: claim not present")
    if not isinstance(claims[claim], str):
        raise InvalidToken(f"oidc: {what}: not a string")
    return clean(claims[claim])


def _usable(published: Any) -> dict[str, jwt.PyJWK]:
    """The keys of a key set that can verify, by their ids. Raises `OutboundError` where there are none."""
    found: dict[str, jwt.PyJWK] = {}
    listed = published.get("keys") if isinstance(published, dict) else None
    for i, key in enumerate(listed if isinstance(listed, list) else ()):
        if not isinstance(key, dict) or key.get("use") not in (None, "sig") or key.get("kty") not in ("RSA", "EC"):
            continue
        try:
            found[str(key.get("kid") or f"#{i}")] = jwt.PyJWK(key)
        except (jwt.PyJWTError, ValueError, KeyError) as error:
            log.warning("an issuer's key cannot be used", key=str(key.get("kid")), error=str(error))
    if not found:
        raise OutboundError("the issuer publishes no key that can be used")
    return found
