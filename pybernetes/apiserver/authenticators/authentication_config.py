"""``apiserver.config.k8s.io AuthenticationConfiguration`` files, and the flags that mean the same for one issuer.

Checked with upstream's texts. Left out, and refused with a message that says so: egress selectors. Pure but for
`load`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from pybernetes.api import field, names
from pybernetes.api.field import FieldError
from pybernetes.api.meta import Object
from pybernetes.apiserver.authenticators.jwt_issuers import SIGNING_ALGORITHMS, JWTIssuerConfig, Mapped
from pybernetes.apiserver.expressions import Expression, ExpressionError, Result, Variable
from pybernetes.apiserver.outbound import trusting

_EMAIL = re.compile(r"\bclaims\.\??email\b(?!_)")
_EMAIL_VERIFIED = re.compile(r"\bclaims\.\??email_verified\b")
_VERSIONS = tuple(f"apiserver.config.k8s.io/{v}" for v in ("v1", "v1beta1", "v1alpha1"))
_ISSUERS_MAX = 64
_MATCH_ANY = "MatchAny"


class AuthenticationConfigError(ValueError):
    """The configuration cannot be used; the message says why."""


@dataclass(frozen=True, slots=True)
class AuthenticationConfig:
    issuers: tuple[JWTIssuerConfig, ...]
    anonymous: bool | frozenset[str] | None = None
    """Whether requests without credentials pass, or on which paths; None where the file does not say."""


def load(path: Path, disallowed_issuers: Sequence[str]) -> AuthenticationConfig:
    """Raises `AuthenticationConfigError`, OSError."""
    try:
        body = yaml.load(path.read_bytes(), Loader=yaml.CSafeLoader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise AuthenticationConfigError(f"{path}: {error}") from error
    try:
        return parse(body, disallowed_issuers)
    except AuthenticationConfigError as error:
        raise AuthenticationConfigError(f"invalid authentication configuration in {path}: {error}") from error


def parse(body: Any, disallowed_issuers: Sequence[str]) -> AuthenticationConfig:
    """Raises `AuthenticationConfigError`. `disallowed_issuers` are the server's own."""
    if not isinstance(body, dict) or body.get("kind") != "AuthenticationConfiguration":
        raise AuthenticationConfigError("not an AuthenticationConfiguration")
    if body.get("apiVersion") not in _VERSIONS:
        raise AuthenticationConfigError(
            f'no kind "AuthenticationConfiguration" is registered for version "{body.get("apiVersion")}"'
        )
    _known(body, {"apiVersion", "kind", "jwt", "anonymous"}, "")
    issuers = body.get("jwt") or []
    for i, issuer in enumerate(issuers):
        _check_shape(issuer, f"jwt[{i}].")
    faults = _validate(issuers, disallowed_issuers) + _anonymous_faults(body.get("anonymous"))
    compiled = [_Compiled(issuer, field.Path("jwt").index(i), faults) for i, issuer in enumerate(issuers)]
    if faults:
        raise AuthenticationConfigError("; ".join(str(f) for f in faults))
    made = tuple(_issuer(issuer, c) for issuer, c in zip(issuers, compiled, strict=True))
    return AuthenticationConfig(made, _anonymous(body.get("anonymous")))


def from_flags(
    *,
    issuer_url: str,
    client_id: str,
    ca_pem: str,
    username_claim: str,
    username_prefix: str,
    groups_claim: str,
    groups_prefix: str,
    required_claims: Mapping[str, str],
    signing_algorithms: Sequence[str],
) -> JWTIssuerConfig:
    """One issuer by upstream's --oidc-… flags. Raises `AuthenticationConfigError`."""
    if not client_id:
        raise AuthenticationConfigError("oidc-issuer-url and oidc-client-id must be specified together")
    if not issuer_url.startswith("https://"):
        raise AuthenticationConfigError("oidc-issuer-url: URL scheme must be https")
    unknown = [a for a in signing_algorithms if a not in SIGNING_ALGORITHMS]
    if unknown:
        raise AuthenticationConfigError(f'oidc: unsupported signing alg: "{unknown[0]}"')
    if username_prefix == "-":
        prefix = ""
    else:
        # Names of several issuers must not meet; an e-mail address is taken to be unique.
        prefix = username_prefix or ("" if username_claim == "email" else f"{issuer_url}#")
    return JWTIssuerConfig(
        issuer_url,
        (client_id,),
        _tls(ca_pem),
        Mapped(username_claim, prefix),
        Mapped(groups_claim, groups_prefix) if groups_claim else None,
        required_claims=dict(required_claims),
        algorithms=tuple(signing_algorithms) or ("RS256",),
    )


class _Compiled:
    """The expressions of one issuer. What is wrong with them is added to `faults`."""

    def __init__(self, body: Object, at: field.Path, faults: list[FieldError]) -> None:
        self._faults = faults
        mappings, mappings_at = body.get("claimMappings") or {}, at.child("claimMappings")
        self.username = self._mapped(mappings.get("username") or {}, mappings_at.child("username"), "string")
        self.groups = self._mapped(mappings.get("groups") or {}, mappings_at.child("groups"), "strings")
        self.uid = self._mapped(mappings.get("uid") or {}, mappings_at.child("uid"), "string")
        self.extra: list[tuple[str, Expression]] = []
        for i, extra in enumerate(mappings.get("extra") or ()):
            made = self._extra(extra, mappings_at.child("extra").index(i))
            if made is not None:
                self.extra.append((extra["key"], made))
        self.claim_rules = self._rules(body.get("claimValidationRules") or (), at.child("claimValidationRules"))
        rules_at = at.child("userValidationRules")
        self.user_rules = self._rules(body.get("userValidationRules") or (), rules_at, "user")
        self._check_email(mappings, mappings_at)

    def _compile(self, text: str, at: field.Path, variable: Variable, result: Result) -> Expression | None:
        try:
            return Expression(text, variable, result)
        except ExpressionError as error:
            self._faults.append(field.invalid(at, text, str(error)))
            return None

    def _mapped(self, body: Object, at: field.Path, result: Result) -> Mapped | None:
        if body.get("expression"):
            made = self._compile(body["expression"], at.child("expression"), "claims", result)
            return Mapped(expression=made) if made is not None else None
        return Mapped(body["claim"], body.get("prefix") or "") if body.get("claim") else None

    def _extra(self, body: Object, at: field.Path) -> Expression | None:
        key = str(body.get("key") or "")
        domain, slash, path = key.partition("/")
        if not slash or not path or names.dns_subdomain(domain):
            text = 'must be a domain-prefixed path (such as "acme.io/foo")'
            self._faults.append(field.invalid(at.child("key"), key, text))
        if key != key.lower():
            self._faults.append(field.invalid(at.child("key"), key, "must be lowercase"))
        if any(domain == own or domain.endswith("." + own) for own in ("k8s.io", "kubernetes.io")):
            text = "k8s.io, kubernetes.io and their subdomains are reserved for Kubernetes use"
            self._faults.append(field.invalid(at.child("key"), key, text))
        if any(key == other for other, _ in self.extra):
            self._faults.append(field.duplicate(at.child("key"), key))
        if not body.get("valueExpression"):
            self._faults.append(field.required(at.child("valueExpression")))
            return None
        return self._compile(body["valueExpression"], at.child("valueExpression"), "claims", "strings")

    def _rules(
        self, rules: Sequence[Object], at: field.Path, variable: Variable = "claims"
    ) -> list[tuple[Expression, str]]:
        found: list[tuple[Expression, str]] = []
        for i, rule in enumerate(rules):
            text, where = rule.get("expression") or "", at.index(i).child("expression")
            if not text:
                if variable == "user":
                    self._faults.append(field.required(where))
                continue
            if any(text == other.text for other, _ in found):
                self._faults.append(field.duplicate(where, text))
                continue
            made = self._compile(text, where, variable, "bool")
            if made is not None:
                found.append((made, str(rule.get("message") or "")))
        return found

    def _check_email(self, mappings: Object, at: field.Path) -> None:
        text = (mappings.get("username") or {}).get("expression") or ""
        if not _EMAIL.search(text):
            return
        others = [text, *(e.text for _, e in self.extra), *(e.text for e, _ in self.claim_rules)]
        if not any(_EMAIL_VERIFIED.search(other) for other in others):
            message = (
                "claims.email_verified must be used in claimMappings.username.expression or "
                "claimMappings.extra[*].valueExpression or claimValidationRules[*].expression when claims.email is "
                "used in claimMappings.username.expression"
            )
            self._faults.append(field.invalid(at.child("username").child("expression"), text, message))


def _issuer(body: Object, compiled: _Compiled) -> JWTIssuerConfig:
    issuer = body["issuer"]
    assert compiled.username is not None, "validated: a username is mapped"
    return JWTIssuerConfig(
        issuer["url"],
        tuple(issuer["audiences"]),
        _tls(issuer.get("certificateAuthority") or ""),
        compiled.username,
        compiled.groups,
        compiled.uid,
        tuple(compiled.extra),
        tuple(compiled.claim_rules),
        tuple(compiled.user_rules),
        {r["claim"]: r.get("requiredValue") or "" for r in body.get("claimValidationRules") or () if r.get("claim")},
        # As upstream: the file takes every algorithm, the flags only those named.
        SIGNING_ALGORITHMS,
        issuer.get("discoveryURL") or "",
    )


def _tls(ca_pem: str) -> Any:
    try:
        return trusting(ca_pem or None)
    except ValueError as error:
        raise AuthenticationConfigError(str(error)) from error


def _anonymous(body: Any) -> bool | frozenset[str] | None:
    if body is None:
        return None
    conditions = body.get("conditions") or ()
    if body.get("enabled") and conditions:
        return frozenset(str(c.get("path") or "") for c in conditions)
    return bool(body.get("enabled"))


def _anonymous_faults(body: Any) -> list[FieldError]:
    if body is None:
        return []
    _known(body, {"enabled", "conditions"}, "anonymous.")
    for i, condition in enumerate(body.get("conditions") or ()):
        _known(condition, {"path"}, f"anonymous.conditions[{i}].")
    if not body.get("enabled") and body.get("conditions"):
        at = field.Path("anonymous").child("conditions")
        return [field.invalid(at, body["conditions"], "enabled should be set to true when conditions are defined")]
    return []


def _known(value: Any, fields: set[str], at: str) -> None:
    if not isinstance(value, dict):
        raise AuthenticationConfigError(f"{at.rstrip('.') or 'the file'}: an object is wanted")
    unknown = sorted(str(key) for key in value.keys() - fields)
    if unknown:
        raise AuthenticationConfigError(
            "strict decoding error: " + ", ".join(f'unknown field "{at}{name}"' for name in unknown)
        )


_PARTS = {
    "issuer": {
        "url", "discoveryURL", "certificateAuthority", "audiences", "audienceMatchPolicy", "egressSelectorType",
    },
    "claimMappings": {"username", "groups", "uid", "extra"},
}  # fmt: skip


def _check_shape(issuer: Any, at: str) -> None:
    _known(issuer, {"issuer", "claimValidationRules", "claimMappings", "userValidationRules"}, at)
    for part, fields in _PARTS.items():
        _known(issuer.get(part) or {}, fields, f"{at}{part}.")
    mappings = issuer.get("claimMappings") or {}
    for part in ("username", "groups", "uid"):
        _known(mappings.get(part) or {}, {"claim", "prefix", "expression"}, f"{at}claimMappings.{part}.")
    for name, fields in (
        ("claimValidationRules", {"claim", "requiredValue", "expression", "message"}),
        ("userValidationRules", {"expression", "message"}),
    ):
        for i, rule in enumerate(issuer.get(name) or ()):
            _known(rule, fields, f"{at}{name}[{i}].")
    for i, extra in enumerate(mappings.get("extra") or ()):
        _known(extra, {"key", "valueExpression"}, f"{at}claimMappings.extra[{i}].")
    if (issuer.get("issuer") or {}).get("egressSelectorType"):
        raise AuthenticationConfigError(f"{at}issuer.egressSelectorType: egress selectors are not supported")


def _validate(issuers: Sequence[Object], disallowed: Sequence[str]) -> list[FieldError]:
    root = field.Path("jwt")
    if len(issuers) > _ISSUERS_MAX:
        return [field.too_many(root, len(issuers), _ISSUERS_MAX)]
    faults: list[FieldError] = []
    seen: set[str] = set()
    for i, body in enumerate(issuers):
        at = root.index(i)
        issuer = body.get("issuer") or {}
        url = issuer.get("url") or ""
        faults += _issuer_faults(issuer, at.child("issuer"), disallowed)
        if url in seen:
            faults.append(field.duplicate(at.child("issuer").child("url"), url))
        seen.add(url)
        faults += _claim_faults(body, at)
    return faults


def _issuer_faults(issuer: Object, at: field.Path, disallowed: Sequence[str]) -> list[FieldError]:
    faults: list[FieldError] = []
    url, discovery = issuer.get("url") or "", issuer.get("discoveryURL") or ""
    if not url:
        faults.append(field.required(at.child("url")))
    else:
        faults += _url_faults(url, at.child("url"), disallowed)
    if discovery:
        if url.rstrip("/") == discovery.rstrip("/"):
            text = "discoveryURL must be different from URL"
            faults.append(field.invalid(at.child("discoveryURL"), discovery, text))
        faults += _url_faults(discovery, at.child("discoveryURL"), ())
    audiences, policy = issuer.get("audiences") or [], issuer.get("audienceMatchPolicy") or ""
    where = at.child("audiences")
    if not audiences:
        faults.append(field.required(where, f"at least one {where} is required"))
    for i, audience in enumerate(audiences):
        if not audience:
            faults.append(field.required(where.index(i)))
        if audience in audiences[:i]:
            faults.append(field.duplicate(where.index(i), audience))
    if len(audiences) > 1 and policy != _MATCH_ANY:
        text = "audienceMatchPolicy must be MatchAny for multiple audiences"
        faults.append(field.invalid(at.child("audienceMatchPolicy"), policy, text))
    if len(audiences) == 1 and policy not in ("", _MATCH_ANY):
        text = "audienceMatchPolicy must be empty or MatchAny for single audience"
        faults.append(field.invalid(at.child("audienceMatchPolicy"), policy, text))
    return faults


def _url_faults(url: str, at: field.Path, disallowed: Sequence[str]) -> list[FieldError]:
    faults: list[FieldError] = []
    if url in disallowed:
        shown = "[" + " ".join(sorted(disallowed)) + "]"
        faults.append(field.invalid(at, url, f"URL must not overlap with disallowed issuers: {shown}"))
    parts = urlsplit(url)
    if parts.scheme != "https":
        faults.append(field.invalid(at, url, "URL scheme must be https"))
    if "@" in parts.netloc:
        faults.append(field.invalid(at, url, "URL must not contain a username or password"))
    if parts.query:
        faults.append(field.invalid(at, url, "URL must not contain a query"))
    if parts.fragment:
        faults.append(field.invalid(at, url, "URL must not contain a fragment"))
    return faults


def _claim_faults(body: Object, at: field.Path) -> list[FieldError]:
    faults: list[FieldError] = []
    rules_at = at.child("claimValidationRules")
    seen: set[str] = set()
    for i, rule in enumerate(body.get("claimValidationRules") or ()):
        claim, expression = rule.get("claim") or "", rule.get("expression") or ""
        if claim and expression:
            faults.append(field.invalid(rules_at.index(i), claim, "claim and expression can't both be set"))
        elif not claim and not expression:
            faults.append(field.required(rules_at.index(i), "claim or expression is required"))
        elif claim and rule.get("message"):
            text = "may not be specified when claim is set"
            faults.append(field.invalid(rules_at.index(i).child("message"), rule["message"], text))
        elif expression and rule.get("requiredValue"):
            text = "may not be specified when expression is set"
            faults.append(field.invalid(rules_at.index(i).child("requiredValue"), rule["requiredValue"], text))
        if claim and claim in seen:
            faults.append(field.duplicate(rules_at.index(i).child("claim"), claim))
        seen.add(claim)
    mappings_at, mappings = at.child("claimMappings"), body.get("claimMappings") or {}
    for part in ("username", "groups"):
        mapped, where = mappings.get(part) or {}, mappings_at.child(part)
        if mapped.get("expression"):
            if mapped.get("claim"):
                faults.append(field.invalid(where, "", "claim and expression can't both be set"))
            if mapped.get("prefix") is not None:
                text = "prefix can't be set when expression is set"
                faults.append(field.invalid(where.child("prefix"), mapped["prefix"], text))
        elif not mapped.get("claim"):
            if part == "username":
                faults.append(field.required(where, "claim or expression is required"))
            if mapped.get("prefix"):
                text = "non-empty claim name is required when prefix is set"
                faults.append(field.required(where.child("claim"), text))
        elif mapped.get("prefix") is None:
            text = "prefix is required when claim is set. It can be set to an empty string to disable prefixing"
            faults.append(field.required(where.child("prefix"), text))
    return faults
