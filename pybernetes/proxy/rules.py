"""The rules of a service proxy as a value: chains, sets and map elements beside a fixed layout, and how to get from
one value to another with the least change. Pure.

A `Part` is what one Service contributes. `Rules` merges parts and remembers what changed since it was last asked, so
that one Service's change costs in proportion to that Service, never to their number. Objects that did not change are
not named in the resulting commands: their counters and learnt addresses stay as they are in the kernel.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Part:
    """What one owner contributes. Chains and sets are its own; an element may be claimed by several owners, of whom
    the first in order of `rank` wins."""

    rank: tuple[str, ...] = ()
    chains: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Name -> rules, at least one."""
    sets: Mapping[str, str] = field(default_factory=dict)
    """Name -> definition, for sets that rules fill by themselves."""
    elements: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Map of the layout -> key -> verdict; the verdict is empty for a set of the layout."""


NO_PART = Part()


# --- commands, in the order in which one transaction may hold them


@dataclass(frozen=True, slots=True)
class AddSet:
    name: str
    definition: str


@dataclass(frozen=True, slots=True)
class AddChain:
    name: str


@dataclass(frozen=True, slots=True)
class SetRules:
    """Replaces all rules of a chain."""

    chain: str
    rules: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DeleteElements:
    name: str
    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AddElements:
    name: str
    elements: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class DeleteChain:
    name: str


@dataclass(frozen=True, slots=True)
class DeleteSet:
    name: str


Command = AddSet | AddChain | SetRules | DeleteElements | AddElements | DeleteChain | DeleteSet

Removal = (DeleteChain, DeleteSet)
"""Commands that may follow in a transaction of their own."""


def fingerprint(rules: Iterable[str]) -> str:
    """What the kernel is told about a chain's content, in the comment of its last rule, to know it again by."""
    return hashlib.blake2b("\n".join(rules).encode(), digest_size=8).hexdigest()


@dataclass(frozen=True, slots=True)
class State:
    """All that stands beside the layout: chains by their content's fingerprint. What a kernel holds, or should."""

    chains: Mapping[str, str] = field(default_factory=dict)
    sets: Mapping[str, str] = field(default_factory=dict)
    elements: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


class Rules:
    """The merged parts. `commands` tells how to bring a kernel that held what the last call said to what is wanted
    now; `adopt` instead starts from a kernel's actual state."""

    def __init__(self) -> None:
        self._parts: dict[str, Part] = {}
        # Map -> key -> owner -> verdict.
        self._claims: dict[str, dict[str, dict[str, str]]] = {}
        # What was wanted before the first change since `commands`, of the names touched since: None for "not there".
        self._old_chains: dict[str, tuple[str, ...] | None] = {}
        self._old_sets: dict[str, str | None] = {}
        self._old_elements: dict[tuple[str, str], str | None] = {}
        self._chains: dict[str, tuple[str, ...]] = {}
        self._sets: dict[str, str] = {}

    def part(self, owner: str) -> Part:
        return self._parts.get(owner, NO_PART)

    @property
    def owners(self) -> list[str]:
        return list(self._parts)

    def set_part(self, owner: str, part: Part | None) -> None:
        """Replaces what an owner contributes; None takes it away. Owners' chains and sets must not share names."""
        old, new = self.part(owner), part or NO_PART
        if old == new:
            self._keep(owner, part)
            return
        for name in old.chains.keys() | new.chains.keys():
            if old.chains.get(name) != new.chains.get(name):
                self._old_chains.setdefault(name, self._chains.get(name))
                _put(self._chains, name, new.chains.get(name))
        for name in old.sets.keys() | new.sets.keys():
            if old.sets.get(name) != new.sets.get(name):
                self._old_sets.setdefault(name, self._sets.get(name))
                _put(self._sets, name, new.sets.get(name))
        touched = {(m, k) for p in (old, new) for m, keys in p.elements.items() for k in keys}
        for map_name, key in touched:
            self._old_elements.setdefault((map_name, key), self._effective(map_name, key))
        self._keep(owner, part)
        for map_name, key in touched:
            owners = self._claims.setdefault(map_name, {}).setdefault(key, {})
            _put(owners, owner, new.elements.get(map_name, {}).get(key))
            if not owners:
                del self._claims[map_name][key]

    def _keep(self, owner: str, part: Part | None) -> None:
        if part is None:
            self._parts.pop(owner, None)
        else:
            self._parts[owner] = part

    def _effective(self, map_name: str, key: str) -> str | None:
        owners = self._claims.get(map_name, {}).get(key)
        if not owners:
            return None
        return owners[min(owners, key=lambda owner: (self._parts[owner].rank, owner))]

    def state(self) -> State:
        """All that is wanted now."""
        elements: dict[str, dict[str, str]] = {}
        for map_name, claims in self._claims.items():
            for key in claims:
                value = self._effective(map_name, key)
                if value is not None:
                    elements.setdefault(map_name, {})[key] = value
        return State(
            chains={name: fingerprint(rules) for name, rules in self._chains.items()},
            sets=dict(self._sets),
            elements=elements,
        )

    def commands(self) -> list[Command]:
        """What changed since the last call, as commands of one transaction."""
        changes = _Changes()
        for set_name, old_definition in self._old_sets.items():
            changes.of_set(set_name, old_definition, self._sets.get(set_name))
        for chain_name, old_rules in self._old_chains.items():
            rules = self._chains.get(chain_name)
            if old_rules != rules:
                changes.of_chain(chain_name, existed=old_rules is not None, rules=rules)
        for (map_name, key), old_value in self._old_elements.items():
            changes.of_element(map_name, key, old_value, self._effective(map_name, key))
        self._forget()
        return changes.commands()

    def adopt(self, found: State) -> list[Command]:
        """How to get from what a kernel holds to what is wanted now."""
        changes = _Changes()
        wanted = self.state()
        for name in found.sets.keys() | wanted.sets.keys():
            changes.of_set(name, found.sets.get(name), wanted.sets.get(name))
        for name in found.chains.keys() | wanted.chains.keys():
            if found.chains.get(name) != wanted.chains.get(name):
                changes.of_chain(name, existed=name in found.chains, rules=self._chains.get(name))
        for map_name in found.elements.keys() | wanted.elements.keys():
            before, after = found.elements.get(map_name, {}), wanted.elements.get(map_name, {})
            for key in before.keys() | after.keys():
                changes.of_element(map_name, key, before.get(key), after.get(key))
        self._forget()
        return changes.commands()

    def _forget(self) -> None:
        self._old_chains.clear()
        self._old_sets.clear()
        self._old_elements.clear()


def _put(target: dict[str, V], name: str, value: V | None) -> None:
    if value is None:
        target.pop(name, None)
    else:
        target[name] = value


class _Changes:
    """Collects single changes and puts them in the order in which a transaction is valid."""

    def __init__(self) -> None:
        self._new_sets: list[Command] = []
        self._new_chains: list[Command] = []
        self._rules: list[Command] = []
        self._gone_elements: dict[str, list[str]] = {}
        self._new_elements: dict[str, list[tuple[str, str]]] = {}
        self._gone_chains: list[Command] = []
        self._gone_sets: list[Command] = []

    def of_set(self, name: str, old: str | None, new: str | None) -> None:
        if old == new:
            return
        # A definition cannot be changed in place; names carry what defines them, so that it never has to be.
        assert old is None or new is None, f"the definition of set {name} changed"
        if new is not None:
            self._new_sets.append(AddSet(name, new))
        else:
            self._gone_sets.append(DeleteSet(name))

    def of_chain(self, name: str, *, existed: bool, rules: tuple[str, ...] | None) -> None:
        if rules is None:
            # Emptied first: what it refers to may go in the same transaction.
            self._rules.append(SetRules(name, ()))
            self._gone_chains.append(DeleteChain(name))
            return
        if not existed:
            self._new_chains.append(AddChain(name))
        self._rules.append(SetRules(name, rules))

    def of_element(self, map_name: str, key: str, old: str | None, new: str | None) -> None:
        if old == new:
            return
        if old is not None:
            self._gone_elements.setdefault(map_name, []).append(key)
        if new is not None:
            self._new_elements.setdefault(map_name, []).append((key, new))

    def commands(self) -> list[Command]:
        return [
            *self._new_sets,
            *self._new_chains,
            *self._rules,
            *(DeleteElements(name, tuple(sorted(keys))) for name, keys in sorted(self._gone_elements.items())),
            *(AddElements(name, tuple(sorted(pairs))) for name, pairs in sorted(self._new_elements.items())),
            *self._gone_chains,
            *self._gone_sets,
        ]


def render(commands: Sequence[Command], family: str, table: str) -> str:
    """The commands as a script of nft's, one transaction."""
    where = f"{family} {table}"
    lines: list[str] = []
    for command in commands:
        match command:
            case AddSet(name, definition):
                lines.append(f"add set {where} {name} {{ {definition} }}")
            case AddChain(name):
                lines.append(f"add chain {where} {name}")
            case SetRules(chain, rules):
                lines.append(f"flush chain {where} {chain}")
                mark = f' comment "{fingerprint(rules)}"'
                for position, rule in enumerate(rules, 1):
                    lines.append(f"add rule {where} {chain} {rule}{mark if position == len(rules) else ''}")
            case DeleteElements(name, keys):
                lines.append(f"delete element {where} {name} {{ {', '.join(keys)} }}")
            case AddElements(name, elements):
                texts = (f"{key} : {value}" if value else key for key, value in elements)
                lines.append(f"add element {where} {name} {{ {', '.join(texts)} }}")
            case DeleteChain(name):
                lines.append(f"delete chain {where} {name}")
            case DeleteSet(name):
                lines.append(f"delete set {where} {name}")
    return "".join(line + "\n" for line in lines)
