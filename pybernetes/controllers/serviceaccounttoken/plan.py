"""What a ``kubernetes.io/service-account-token`` Secret lacks. Pure.

Source: https://kubernetes.io/docs/concepts/configuration/secret/#serviceaccount-token-secrets.
"""

from __future__ import annotations

import base64
from collections.abc import Callable

from pybernetes.api.meta import Object, annotations_of, metadata, name_of, namespace_of, uid_of

TOKEN_TYPE = "kubernetes.io/service-account-token"
ACCOUNT_NAME = "kubernetes.io/service-account.name"
ACCOUNT_UID = "kubernetes.io/service-account.uid"

Sign = Callable[[str, str, str, str], str]
"""(namespace, account, the account's uid, secret) -> token."""


def account_of(secret: Object) -> str:
    """The name of the account that a token Secret is for; empty for any other Secret."""
    return annotations_of(secret).get(ACCOUNT_NAME) or "" if secret.get("type") == TOKEN_TYPE else ""


def is_for(secret: Object, account: Object | None) -> bool:
    """Whether the Secret is this account's: of its name, and of its uid where the Secret names one."""
    if account is None or name_of(account) != account_of(secret):
        return False
    uid = annotations_of(secret).get(ACCOUNT_UID)
    return not uid or uid == uid_of(account)


def filled(secret: Object, account: Object, root_ca_pem: str, sign: Sign) -> Object | None:
    """The Secret with what it lacked, None where it lacks nothing."""
    namespace, data = namespace_of(secret), dict(secret.get("data") or {})
    if root_ca_pem:
        data["ca.crt"] = _encoded(root_ca_pem)
    if not data.get("namespace"):
        data["namespace"] = _encoded(namespace)
    if not data.get("token"):
        data["token"] = _encoded(sign(namespace, name_of(account), uid_of(account), name_of(secret)))
    if data == (secret.get("data") or {}):
        return None
    notes = {**annotations_of(secret), ACCOUNT_NAME: name_of(account), ACCOUNT_UID: uid_of(account)}
    return {**secret, "metadata": {**metadata(secret), "annotations": notes}, "data": data}


def without_reference(account: Object, secret: str) -> Object | None:
    """The account without its reference to a Secret, None where it has none."""
    listed = account.get("secrets") or []
    kept = [r for r in listed if r.get("name") != secret]
    return None if len(kept) == len(listed) else {**account, "secrets": kept}


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
