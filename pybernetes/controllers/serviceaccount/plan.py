"""Which ServiceAccounts a namespace lacks. Pure."""

from __future__ import annotations

from collections.abc import Callable

from pybernetes.api.meta import Object, is_deleting, name_of

NAMES = ("default",)


def is_active(namespace: Object | None) -> bool:
    """Whether the namespace is there and stays."""
    return (
        namespace is not None
        and not is_deleting(namespace)
        and (namespace.get("status") or {}).get("phase") != "Terminating"
    )


def missing(namespace: Object | None, exists: Callable[[str], bool]) -> list[Object]:
    """The accounts to create; `exists` answers for a ``namespace/name`` key."""
    if namespace is None or not is_active(namespace):
        return []
    return [
        {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"name": name, "namespace": name_of(namespace)},
        }
        for name in NAMES
        if not exists(f"{name_of(namespace)}/{name}")
    ]
