"""RBAC: who may do what, from the Roles, ClusterRoles and their bindings in the watch cache.

`RBACAuthorizer` follows the four resources and keeps, for each user seen, the rules that hold for it, compiled into
tables; a request is then a few dictionary look-ups. Any change of an RBAC object empties those tables (they are made
again on demand, from an index of bindings by subject), so decisions follow the cache at once. The table cache is
bounded; one event loop owns all.

Source: https://kubernetes.io/docs/reference/access-authn-authz/rbac/; semantics of upstream's rbac package.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from pybernetes.api.meta import Object, name_of, namespace_of
from pybernetes.api.resources import CLUSTERROLEBINDINGS, CLUSTERROLES, ROLEBINDINGS, ROLES, Resource
from pybernetes.api.user import User
from pybernetes.apiserver.interfaces import Attributes, Decision, ObservableReader

ALL = "*"
GROUP = "rbac.authorization.k8s.io"
_USER_CACHE_SIZE = 2048
_NO_OPINION = Decision(False)

Rule = Object
"""A PolicyRule: ``verbs``, ``apiGroups``, ``resources``, ``resourceNames``, ``nonResourceURLs``."""


@dataclass(frozen=True, slots=True)
class _Grant:
    """One rule for one group and resource."""

    verbs: frozenset[str]
    names: frozenset[str]
    """Empty for all."""
    decision: Decision


@dataclass(slots=True)
class RuleTable:
    """Rules compiled for look-up. `add` while building; then only read."""

    resources: dict[tuple[str, str], list[_Grant]] = field(default_factory=dict)
    """By (group, resource[/subresource]), each of which may be ``*`` (and the resource ``*/subresource``)."""
    urls: dict[str, list[_Grant]] = field(default_factory=dict)
    """Exact non-resource URLs."""
    url_prefixes: list[tuple[str, _Grant]] = field(default_factory=list)

    def add(self, rule: Rule, reason: str) -> None:
        decision = Decision(True, reason)
        grant = _Grant(frozenset(rule.get("verbs") or ()), frozenset(rule.get("resourceNames") or ()), decision)
        for group in rule.get("apiGroups") or ():
            for resource in rule.get("resources") or ():
                self.resources.setdefault((group, resource), []).append(grant)
        for url in rule.get("nonResourceURLs") or ():
            if url.endswith(ALL):
                self.url_prefixes.append((url.rstrip(ALL), grant))
            else:
                self.urls.setdefault(url, []).append(grant)

    def find(self, attributes: Attributes) -> Decision | None:
        """The decision of a rule that allows the request, or None."""
        verb = attributes.verb
        if not attributes.is_resource_request:
            path = attributes.path
            for grant in self.urls.get(path, ()):
                if verb in grant.verbs or ALL in grant.verbs:
                    return grant.decision
            for prefix, grant in self.url_prefixes:
                if path.startswith(prefix) and (verb in grant.verbs or ALL in grant.verbs):
                    return grant.decision
            return None
        resource = attributes.resource
        wanted: tuple[str, ...]
        if attributes.subresource:
            wanted = (f"{resource}/{attributes.subresource}", f"*/{attributes.subresource}", ALL)
        else:
            wanted = (resource, ALL)
        table, group, name = self.resources, attributes.group, attributes.name
        for res in wanted:
            for key in ((group, res), (ALL, res)):
                for grant in table.get(key, ()):
                    if (verb in grant.verbs or ALL in grant.verbs) and (not grant.names or name in grant.names):
                        return grant.decision
        return None


def compile_rules(rules: Iterable[Rule], reason: str = "") -> RuleTable:
    table = RuleTable()
    for rule in rules:
        table.add(rule, reason)
    return table


@dataclass(slots=True)
class _UserTables:
    cluster: RuleTable
    namespaces: dict[str, RuleTable] = field(default_factory=dict)


Subject = tuple[str, str]
"""("User" or "Group", name); a service account is the user it stands for."""


class RBACAuthorizer:
    """The RBAC authorizer and rule resolver, over an `ObservableReader`."""

    def __init__(self, reader: ObservableReader) -> None:
        self._reader = reader
        # Bindings by namespace ("" for ClusterRoleBindings), then by subject, then by the binding's name.
        self._bindings: dict[str, dict[Subject, dict[str, Object]]] = {}
        self._users: OrderedDict[tuple[str, tuple[str, ...]], _UserTables] = OrderedDict()
        self._unsubscribe = [
            reader.subscribe(CLUSTERROLEBINDINGS, self._binding_changed),
            reader.subscribe(ROLEBINDINGS, self._binding_changed),
            reader.subscribe(CLUSTERROLES, self._role_changed),
            reader.subscribe(ROLES, self._role_changed),
        ]

    def close(self) -> None:
        for unsubscribe in self._unsubscribe:
            unsubscribe()

    def statistics(self) -> dict[str, int]:
        return {"users": len(self._users), "binding_namespaces": len(self._bindings)}

    # Following the cache.

    def _role_changed(self, old: Object | None, new: Object | None) -> None:
        if old is None or new is None or old.get("rules") != new.get("rules"):
            self._users.clear()

    def _binding_changed(self, old: Object | None, new: Object | None) -> None:
        for binding, adding in ((old, False), (new, True)):
            if binding is None:
                continue
            namespace, name = namespace_of(binding), name_of(binding)
            by_subject = self._bindings.setdefault(namespace, {})
            for subject in binding.get("subjects") or ():
                key = subject_key(subject, namespace)
                if key is None:
                    continue
                if adding:
                    by_subject.setdefault(key, {})[name] = binding
                elif (named := by_subject.get(key)) is not None:
                    named.pop(name, None)
                    if not named:
                        del by_subject[key]
            if not by_subject:
                self._bindings.pop(namespace, None)
        self._users.clear()

    # Answering.

    def authorize(self, attributes: Attributes) -> Decision:
        tables = self._tables(attributes.user)
        decision = tables.cluster.find(attributes)
        if decision is None and attributes.namespace:
            table = tables.namespaces.get(attributes.namespace)
            if table is None:
                table = RuleTable()
                # A namespace without bindings is not remembered: their number is the caller's to choose.
                if attributes.namespace in self._bindings:
                    for binding, subject in self._bindings_of(attributes.user, attributes.namespace):
                        self._add(table, binding, subject)
                    tables.namespaces[attributes.namespace] = table
            decision = table.find(attributes)
        return decision or _NO_OPINION

    def rules_for(self, user: User, namespace: str) -> tuple[list[Rule], list[str]]:
        """The rules that hold for a user in a namespace (the cluster's where it is empty), and what could not be
        resolved."""
        rules: list[Rule] = []
        faults: list[str] = []
        for scope in ("", namespace) if namespace else ("",):
            for binding, _ in self._bindings_of(user, scope):
                role = self._role_of(binding)
                if role is None:
                    faults.append(_role_missing(binding))
                else:
                    rules.extend(role.get("rules") or ())
        return rules, faults

    def role_rules(self, reference: Object, namespace: str) -> list[Rule] | None:
        """The rules of the role that a binding in `namespace` refers to; None where there is no such role."""
        role = self._lookup(reference, namespace)
        return None if role is None else list(role.get("rules") or ())

    def _tables(self, user: User) -> _UserTables:
        key = (user.name, user.groups)
        tables = self._users.get(key)
        if tables is not None:
            self._users.move_to_end(key)
            return tables
        cluster = RuleTable()
        for binding, subject in self._bindings_of(user, ""):
            self._add(cluster, binding, subject)
        tables = self._users[key] = _UserTables(cluster)
        if len(self._users) > _USER_CACHE_SIZE:
            self._users.popitem(last=False)
        return tables

    def _bindings_of(self, user: User, namespace: str) -> Iterator[tuple[Object, Subject]]:
        by_subject = self._bindings.get(namespace)
        if not by_subject:
            return
        seen: set[str] = set()
        for subject in (("User", user.name), *(("Group", group) for group in user.groups)):
            for name, binding in by_subject.get(subject, {}).items():
                if name not in seen:
                    seen.add(name)
                    yield binding, subject

    def _add(self, table: RuleTable, binding: Object, subject: Subject) -> None:
        role = self._role_of(binding)
        if role is None:
            return
        reason = f"RBAC: allowed by {_describe(binding)} to {_describe_subject(binding, subject)}"
        for rule in role.get("rules") or ():
            table.add(rule, reason)

    def _role_of(self, binding: Object) -> Object | None:
        return self._lookup(binding.get("roleRef") or {}, namespace_of(binding))

    def _lookup(self, reference: Object, namespace: str) -> Object | None:
        kind, name = reference.get("kind"), str(reference.get("name") or "")
        if kind == "ClusterRole":
            return self._reader.get(CLUSTERROLES, "", name)
        if kind == "Role" and namespace:
            return self._reader.get(ROLES, namespace, name)
        return None


def subject_key(subject: Object, binding_namespace: str) -> Subject | None:
    """The user or group that a binding's subject means."""
    kind, name = subject.get("kind"), str(subject.get("name") or "")
    if kind in ("User", "Group"):
        return str(kind), name
    if kind == "ServiceAccount":
        # A RoleBinding's subject without a namespace means the binding's own.
        namespace = subject.get("namespace") or binding_namespace
        return ("User", f"system:serviceaccount:{namespace}:{name}") if namespace else None
    return None


def _describe(binding: Object) -> str:
    reference = binding.get("roleRef") or {}
    namespace = namespace_of(binding)
    which = f'{name_of(binding)}/{namespace}"' if namespace else f'{name_of(binding)}"'
    kind = "RoleBinding" if namespace else "ClusterRoleBinding"
    return f'{kind} "{which} of {reference.get("kind")} "{reference.get("name")}"'


def _describe_subject(binding: Object, key: Subject) -> str:
    for subject in binding.get("subjects") or ():
        if subject_key(subject, namespace_of(binding)) == key:
            if subject.get("kind") == "ServiceAccount":
                namespace = subject.get("namespace") or namespace_of(binding)
                return f'ServiceAccount "{subject.get("name")}/{namespace}"'
            return f'{subject.get("kind")} "{subject.get("name")}"'
    return f'{key[0]} "{key[1]}"'


def _role_missing(binding: Object) -> str:
    reference = binding.get("roleRef") or {}
    plural = "clusterroles" if reference.get("kind") == "ClusterRole" else "roles"
    return f'{plural}.{GROUP} "{reference.get("name")}" not found'


# Covering: whether one set of rules grants all that another does.


def uncovered(owned: Sequence[Rule], wanted: Sequence[Rule]) -> list[Rule]:
    """What of `wanted` is not granted by `owned`, in single-element rules, compacted by verb, in a stable order."""
    missing = [part for rule in wanted for part in _break_down(rule) if not any(_covers(o, part) for o in owned)]
    return _compact(missing)


def _break_down(rule: Rule) -> Iterator[Rule]:
    for verb in rule.get("verbs") or ():
        for group in rule.get("apiGroups") or ():
            for resource in rule.get("resources") or ():
                base = {"apiGroups": [group], "resources": [resource], "verbs": [verb]}
                names = rule.get("resourceNames") or ()
                if not names:
                    yield base
                for name in names:
                    yield {**base, "resourceNames": [name]}
        for url in rule.get("nonResourceURLs") or ():
            yield {"nonResourceURLs": [url], "verbs": [verb]}


def _covers(owner: Rule, part: Rule) -> bool:
    if not _holds(owner.get("verbs"), part["verbs"][0]):
        return False
    if part.get("nonResourceURLs"):
        url = part["nonResourceURLs"][0]
        return any(
            own == url or (own.endswith(ALL) and url.startswith(own.rstrip(ALL)))
            for own in owner.get("nonResourceURLs") or ()
        )
    if not _holds(owner.get("apiGroups"), part["apiGroups"][0]):
        return False
    resource = part["resources"][0]
    resources = owner.get("resources") or ()
    _, slash, subresource = resource.partition("/")
    if not (ALL in resources or resource in resources or (slash and f"*/{subresource}" in resources)):
        return False
    names = owner.get("resourceNames") or ()
    return not names or (bool(part.get("resourceNames")) and part["resourceNames"][0] in names)


def _holds(values: Sequence[str] | None, wanted: str) -> bool:
    return bool(values) and (ALL in values or wanted in values)  # type: ignore[operator]


def _compact(parts: Iterable[Rule]) -> list[Rule]:
    """Single-element rules that differ only in their verb, as one."""
    merged: dict[tuple[tuple[str, str], ...], Rule] = {}
    for part in parts:
        key = tuple((k, v[0]) for k, v in part.items() if k != "verbs")
        rule = merged.setdefault(key, {**part, "verbs": []})
        if part["verbs"][0] not in rule["verbs"]:
            rule["verbs"].append(part["verbs"][0])
    return sorted(merged.values(), key=compact_string)


def compact_string(rule: Rule) -> str:
    """A rule as upstream prints it in escalation errors."""
    shown = []
    for label, key in (
        ("APIGroups", "apiGroups"),
        ("Resources", "resources"),
        ("NonResourceURLs", "nonResourceURLs"),
        ("ResourceNames", "resourceNames"),
        ("Verbs", "verbs"),
    ):
        values = rule.get(key) or ()
        if values:
            quoted = " ".join(f'"{v}"' for v in values)
            shown.append(f"{label}:[{quoted}]")
    return "{" + ", ".join(shown) + "}"


Unsubscribe = Callable[[], None]
WATCHED: tuple[Resource, ...] = (CLUSTERROLEBINDINGS, ROLEBINDINGS, CLUSTERROLES, ROLES)
