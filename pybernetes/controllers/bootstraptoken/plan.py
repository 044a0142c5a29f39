"""Bootstrap token Secrets, and the signatures that ``cluster-info`` carries for them. Pure.

A signature is a JSON Web Signature with its content left out (RFC 7515, appendix F): HMAC-SHA-256 of the kubeconfig
by the token's secret. Source: https://kubernetes.io/docs/reference/access-authn-authz/bootstrap-tokens/.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Iterable, Mapping

from pybernetes.api.meta import Object, is_deleting, name_of, namespace_of
from pybernetes.api.time import parse_time

NAMESPACE = "kube-system"
SECRET_TYPE = "bootstrap.kubernetes.io/token"
CLUSTER_INFO_NAMESPACE = "kube-public"
CLUSTER_INFO = "cluster-info"
_KUBECONFIG = "kubeconfig"
_SIGNATURE = "jws-kubeconfig-"
_NAME = "bootstrap-token-"


def is_token(secret: Object) -> bool:
    return secret.get("type") == SECRET_TYPE and namespace_of(secret) == NAMESPACE


def expires_at(secret: Object) -> float | None:
    """Epoch seconds; None for never. What is no time has been long ago."""
    text = _value(secret, "expiration")
    if not text:
        return None
    try:
        return parse_time(text)
    except ValueError:
        return 0.0


def signed(cluster_info: Object, secrets: Iterable[Object], now: float) -> Object | None:
    """The ConfigMap with the signatures that it should have, None where it has them."""
    data: Mapping[str, str] = cluster_info.get("data") or {}
    content = data.get(_KUBECONFIG)
    wanted = {key: value for key, value in data.items() if not key.startswith(_SIGNATURE)}
    if content:
        for token_id, token_secret in _signers(secrets, now):
            wanted[_SIGNATURE + token_id] = _sign(content, token_id, token_secret)
    return None if wanted == data else {**cluster_info, "data": wanted}


def _signers(secrets: Iterable[Object], now: float) -> Iterable[tuple[str, str]]:
    for secret in secrets:
        if not is_token(secret) or is_deleting(secret) or _value(secret, "usage-bootstrap-signing") != "true":
            continue
        end = expires_at(secret)
        token_id, token_secret = _value(secret, "token-id"), _value(secret, "token-secret")
        if token_id and token_secret and name_of(secret) == _NAME + token_id and (end is None or end > now):
            yield token_id, token_secret


def _sign(content: str, token_id: str, token_secret: str) -> str:
    head = _base64url(json.dumps({"alg": "HS256", "kid": token_id}, separators=(",", ":")).encode())
    body = _base64url(content.encode())
    code = hmac.new(token_secret.encode(), f"{head}.{body}".encode(), hashlib.sha256).digest()
    return f"{head}..{_base64url(code)}"


def _base64url(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def _value(secret: Object, key: str) -> str:
    try:
        return base64.b64decode((secret.get("data") or {}).get(key) or "").decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""
