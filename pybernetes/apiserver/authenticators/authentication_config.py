"""``apiserver.config.k8s.io AuthenticationConfiguration`` files, and the flags that mean the same for one issuer.

Checked with upstream's texts. Left out, and refused with a message that says so: CEL expressions (claim rules, mapped
values, extra, user rules) and egress selectors. Pure but for `load`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from pybernetes.api import field
from pybernetes.api.field import FieldError
from pybernetes.api.meta import Object
from pybernetes.apiserver.authenticators.jwt_issuers import SIGNING_ALGORITHMS, JWTIssuerConfig, Mapped
from pybernetes.apiserver.outbound import trusting

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
    if faults:
        raise AuthenticationConfigError("; ".join(str(f) for f in faults))
    return AuthenticationConfig(tuple(_issuer(i) for i in issuers), _anonymous(body.get("anonymous")))


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


def _issuer(body: Object) -> JWTIssuerConfig:
    issuer, mappings = body["issuer"], body["claimMappings"]
    groups, uid = mappings.get("groups") or {}, mappings.get("uid") or {}
    return JWTIssuerConfig(
        issuer["url"],
        tuple(issuer["audiences"]),
        _tls(issuer.get("certificateAuthority") or ""),
        Mapped(mappings["username"]["claim"], mappings["username"].get("prefix") or ""),
        Mapped(groups["claim"], groups.get("prefix") or "") if groups.get("claim") else None,
        uid.get("claim") or "",
        {r["claim"]: r.get("requiredValue") or "" for r in body.get("claimValidationRules") or ()},
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
    for i, rule in enumerate(issuer.get("claimValidationRules") or ()):
        fields = {"claim", "requiredValue", "expression", "message"}
        _known(rule, fields, f"{at}claimValidationRules[{i}].")
    _refuse_expressions(issuer, at)
    if (issuer.get("issuer") or {}).get("egressSelectorType"):
        raise AuthenticationConfigError(f"{at}issuer.egressSelectorType: egress selectors are not supported")


def _refuse_expressions(issuer: Object, at: str) -> None:
    mappings = issuer.get("claimMappings") or {}
    rules = issuer.get("claimValidationRules") or ()
    found = [
        *(
            f"claimMappings.{p}.expression"
            for p in ("username", "groups", "uid")
            if (mappings.get(p) or {}).get("expression")
        ),
        *(f"claimValidationRules[{i}].expression" for i, rule in enumerate(rules) if rule.get("expression")),
        *(["claimMappings.extra"] if mappings.get("extra") else []),
        *(["userValidationRules"] if issuer.get("userValidationRules") else []),
    ]
    if found:
        raise AuthenticationConfigError(f"{at}{found[0]}: CEL expressions are not supported here")


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
        claim = rule.get("claim") or ""
        if not claim:
            faults.append(field.required(rules_at.index(i), "claim or expression is required"))
        elif rule.get("message"):
            text = "may not be specified when claim is set"
            faults.append(field.invalid(rules_at.index(i).child("message"), rule["message"], text))
        if claim and claim in seen:
            faults.append(field.duplicate(rules_at.index(i).child("claim"), claim))
        seen.add(claim)
    mappings_at, mappings = at.child("claimMappings"), body.get("claimMappings") or {}
    for part in ("username", "groups"):
        mapped, where = mappings.get(part) or {}, mappings_at.child(part)
        if not mapped.get("claim"):
            if part == "username":
                faults.append(field.required(where, "claim or expression is required"))
            if mapped.get("prefix"):
                text = "non-empty claim name is required when prefix is set"
                faults.append(field.required(where.child("claim"), text))
        elif mapped.get("prefix") is None:
            text = "prefix is required when claim is set. It can be set to an empty string to disable prefixing"
            faults.append(field.required(where.child("prefix"), text))
    return faults
