"""Component statuses: a kind that nobody stores, made up from what the server knows when it is asked.

The server process tells which components work in it (`Components.working`); the store's state is asked for each time.
One event loop owns it.

Source: https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/component-status-v1/ (deprecated in 1.19).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pybernetes.api import errors
from pybernetes.api.meta import Object
from pybernetes.api.resources import COMPONENTSTATUSES as RESOURCE
from pybernetes.apiserver import encoding
from pybernetes.apiserver.entries import Entry
from pybernetes.apiserver.listing import Listing
from pybernetes.apiserver.selection import Selection

NAMES = ("controller-manager", "scheduler", "etcd-0")
_STORE = "etcd-0"


class Components:
    def __init__(self, store_check: Callable[[], str]) -> None:
        """`store_check` says why the store does not work, or nothing."""
        self._store_check = store_check
        self._working: set[str] = set()

    @contextmanager
    def working(self, name: str) -> Iterator[None]:
        """Inside the block that component works in this process."""
        assert name in NAMES and name not in self._working, name
        self._working.add(name)
        try:
            yield
        finally:
            self._working.discard(name)

    def get(self, name: str) -> Entry:
        """Raises `NotFound`."""
        if name not in NAMES:
            raise errors.not_found(RESOURCE.group, RESOURCE.plural, name)
        return self._entry(name)

    def list(self, selection: Selection, revision: int) -> Listing:
        found = [self._entry(name) for name in NAMES]
        return Listing(RESOURCE, [e for e in found if selection.matches(e)], revision)

    def _entry(self, name: str) -> Entry:
        if name == _STORE:
            fault = self._store_check()
        else:
            fault = "" if name in self._working else "it does not work in this server's process"
        condition: Object = {"type": "Healthy", "status": "False" if fault else "True", "message": fault or "ok"}
        obj: Object = {
            "kind": RESOURCE.kind,
            "apiVersion": RESOURCE.api_version,
            "metadata": {"name": name},
            "conditions": [condition],
        }
        return Entry(name, obj, encoding.encode(obj), 0)
