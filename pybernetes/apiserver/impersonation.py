"""Impersonation: a user who may acts as another, by ``Impersonate-User``, ``-Group``, ``-Uid``, ``-Extra-…`` headers.

Each right is checked with the authorizer for the user who asks. Asked only for requests that have such headers.
Source: https://kubernetes.io/docs/reference/access-authn-authz/authentication/#user-impersonation.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import unquote

from pybernetes.api import errors
from pybernetes.api.user import ANONYMOUS, AUTHENTICATED, SERVICE_ACCOUNTS, UNAUTHENTICATED, User, clean
from pybernetes.apiserver.authorization import access_denied
from pybernetes.apiserver.interfaces import Attributes, Authorizer

_SERVICE_ACCOUNT_PREFIX = "system:serviceaccount:"


class Impersonator:
    def __init__(self, authorizer: Authorizer) -> None:
        self._authorizer = authorizer

    async def impersonate(self, user: User, headers: Mapping[str, str]) -> User:
        """Who `user` acts as by the headers; itself where they name nobody. Raises `Forbidden`, `InternalError`."""
        name, uid = "", ""
        groups: list[str] = []
        extra: dict[str, list[str]] = {}
        for header, sent in headers.items():
            low = header.lower()
            if not low.startswith("impersonate-"):
                continue
            value = clean(sent)
            if low == "impersonate-user":
                name = name or value
            elif low == "impersonate-uid":
                uid = uid or value
            elif low == "impersonate-group":
                groups.append(value)
            elif low.startswith("impersonate-extra-"):
                extra.setdefault(unquote(low[len("impersonate-extra-") :]), []).append(value)
        if not name:
            if groups or uid or extra:
                shown = _shown(groups, uid, extra)
                raise errors.InternalError(f"requested [{shown}] without impersonating a user")
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


def _split_service_account(name: str) -> tuple[str, str] | None:
    if not name.startswith(_SERVICE_ACCOUNT_PREFIX):
        return None
    parts = name[len(_SERVICE_ACCOUNT_PREFIX) :].split(":")
    return (parts[0], parts[1]) if len(parts) == 2 and all(parts) else None


def _shown(groups: list[str], uid: str, extra: Mapping[str, list[str]]) -> str:
    """What was asked for, as Go prints the object references that upstream makes of it."""
    version = "authentication.k8s.io/v1"
    references = [("Group", "", group, "", "", "", "") for group in groups]
    references += [("UserExtra", "", v, "", version, "", key) for key, values in extra.items() for v in values]
    if uid:
        references.append(("UID", "", uid, "", version, "", ""))
    return " ".join("{" + " ".join(r) + "}" for r in references)
