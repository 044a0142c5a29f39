"""The admission plugins in the order they run: upstream's recommended order, as data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pybernetes.api.user import User
from pybernetes.apiserver.admission.namespace_lifecycle import NamespaceLifecycle
from pybernetes.apiserver.admission.plugin import Plugin
from pybernetes.apiserver.admission.service_account import ServiceAccount
from pybernetes.apiserver.interfaces import Authorizer, ObservableReader
from pybernetes.apiserver.rbac import RBACAuthorizer
from pybernetes.client.interface import Client
from pybernetes.lib.clock import Clock


@dataclass(frozen=True, slots=True)
class Context:
    """What plugins are made of."""

    reader: ObservableReader
    client_for: Callable[[User], Client]
    client: Client
    """As system:apiserver."""
    authorizer: Authorizer
    rbac: RBACAuthorizer
    clock: Clock


PLUGINS: tuple[tuple[str, Callable[[Context], Plugin]], ...] = (
    ("NamespaceLifecycle", lambda c: NamespaceLifecycle(c.reader, c.client)),
    ("ServiceAccount", lambda c: ServiceAccount(c.reader)),
)
"""(name, maker) of every plugin that is on by default."""


def make_plugins(context: Context, disabled: Sequence[str] = ()) -> tuple[Plugin, ...]:
    """The plugins in order, without the `disabled` ones. ValueError for a name that is none."""
    unknown = set(disabled) - {name for name, _ in PLUGINS}
    if unknown:
        raise ValueError(f"unknown admission plugins: {', '.join(sorted(unknown))}")
    return tuple(make(context) for name, make in PLUGINS if name not in disabled)
