"""Every resource that is served, built-in and custom, for controllers that work on all of them.

Custom resources come and go with their CustomResourceDefinitions, which one shared informer follows. Listeners are
called synchronously; a resource is reported once under one version.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from pybernetes.api import resources
from pybernetes.api.meta import Object, is_condition_true, name_of
from pybernetes.api.resources import CUSTOMRESOURCEDEFINITIONS, Resource
from pybernetes.client.informer import Informers

Listener = Callable[[Resource], None]


def preferred() -> list[Resource]:
    """The built-in resources, each stored kind once, in the order of the table."""
    found: dict[str, Resource] = {}
    for resource in resources.BUILTIN:
        found.setdefault(resource.storage_id, resource)
    return list(found.values())


def custom_resource(crd: Object) -> Resource | None:
    """The resource that a definition serves, None while it serves none."""
    if not is_condition_true(crd, "Established"):
        return None
    spec = crd["spec"]
    versions = [v for v in spec.get("versions") or () if v.get("served")]
    if not versions:
        return None
    version = next((v for v in versions if v.get("storage")), versions[0])
    names = spec["names"]
    return Resource(
        spec["group"],
        version["name"],
        names["plural"],
        names["kind"],
        names.get("singular") or names["kind"].lower(),
        spec.get("scope") == "Namespaced",
    )


class Catalog:
    """All resources, by kind, with listeners for those that come and go."""

    def __init__(self, informers: Informers) -> None:
        self.informers = informers
        self._builtin = preferred()
        self._custom: dict[str, Resource] = {}
        self._served_kinds: dict[str, frozenset[tuple[str, str]]] = {}
        """By definition: every (apiVersion, kind) it serves."""
        self._added: list[Listener] = []
        self._removed: list[Listener] = []
        informers.for_(CUSTOMRESOURCEDEFINITIONS).add_handler(self._on_definition)

    def __iter__(self) -> Iterator[Resource]:
        yield from self._builtin
        yield from self._custom.values()

    def by_kind(self, api_version: str, kind: str) -> Resource | None:
        """The resource of an owner reference's apiVersion and kind."""
        builtin = resources.by_kind(api_version, kind)
        if builtin is not None:
            return builtin
        for name, kinds in self._served_kinds.items():
            if (api_version, kind) in kinds:
                return self._custom.get(name)
        return None

    def listen(self, added: Listener, removed: Listener) -> None:
        """`added` first hears of all that is there."""
        self._added.append(added)
        self._removed.append(removed)
        for resource in list(self):
            added(resource)

    def _on_definition(self, old: Object | None, new: Object | None) -> None:
        name = name_of(new or old or {})
        before = self._custom.get(name)
        after = custom_resource(new) if new is not None else None
        if after is not None and new is not None:
            spec = new["spec"]
            self._served_kinds[name] = frozenset(
                (f"{spec['group']}/{v['name']}", spec["names"]["kind"])
                for v in spec.get("versions") or ()
                if v.get("served")
            )
        else:
            self._served_kinds.pop(name, None)
        if before == after:
            return
        if before is not None:
            del self._custom[name]
            for listener in self._removed:
                listener(before)
            self.informers.drop(before)
        if after is not None:
            self._custom[name] = after
            for listener in self._added:
                listener(after)


def is_watchable(resource: Resource) -> bool:
    return {"list", "watch"} <= set(resource.verbs)


def is_deletable(resource: Resource) -> bool:
    return "delete" in resource.verbs
