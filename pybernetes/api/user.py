"""Who makes a request: the identity that authentication yields and authorization judges."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

SYSTEM_MASTERS = "system:masters"
AUTHENTICATED = "system:authenticated"
UNAUTHENTICATED = "system:unauthenticated"
ANONYMOUS = "system:anonymous"
SERVICE_ACCOUNTS = "system:serviceaccounts"
NODES_GROUP = "system:nodes"


@dataclass(frozen=True, slots=True)
class User:
    """A user name, uid, groups and extra, as ``authentication.k8s.io/v1 UserInfo`` has them."""

    name: str
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def clean(text: str) -> str:
    """A name from outside, with what is no Unicode text replaced: it will be written as JSON."""
    return text if text.isascii() else text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")


def service_account_user(namespace: str, name: str, uid: str = "") -> User:
    """The user that a service account's token stands for."""
    return User(
        f"system:serviceaccount:{namespace}:{name}",
        uid,
        (SERVICE_ACCOUNTS, f"{SERVICE_ACCOUNTS}:{namespace}", AUTHENTICATED),
    )


def controller_user(name: str) -> User:
    """The service account in kube-system under which upstream runs the controller `name`."""
    return service_account_user("kube-system", name)
