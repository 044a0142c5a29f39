"""Properties of the rules' algebra: commands get a kernel from any state to any other, and touch nothing else."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pybernetes.proxy.layout import IPV4, IPV6, LayoutConfig, marker_chain, render_layout
from pybernetes.proxy.nft import parse
from pybernetes.proxy.plan import Node, plan_service
from pybernetes.proxy.rules import (
    AddChain,
    AddElements,
    AddSet,
    Command,
    DeleteChain,
    DeleteElements,
    DeleteSet,
    Part,
    Rules,
    SetRules,
    State,
    fingerprint,
    render,
)


class Kernel:
    """Carries commands out as the kernel does, and refuses what it refuses."""

    def __init__(self) -> None:
        self.chains: dict[str, tuple[str, ...]] = {}
        self.sets: dict[str, str] = {}
        self.elements: dict[str, dict[str, str]] = {}
        self.touched: set[str] = set()

    def referred(self) -> set[str]:
        texts = [rule for rules in self.chains.values() for rule in rules]
        texts += [verdict for pairs in self.elements.values() for verdict in pairs.values()]
        return {word.strip("@,") for text in texts for word in text.split()}

    def apply(self, commands: list[Command]) -> None:
        for command in commands:
            match command:
                case AddSet(name, definition):
                    assert name not in self.sets
                    self.sets[name] = definition
                case AddChain(name):
                    assert name not in self.chains
                    self.chains[name] = ()
                case SetRules(chain, rules):
                    assert chain in self.chains
                    self.chains[chain] = rules
                    self.touched.add(chain)
                case DeleteElements(name, keys):
                    for key in keys:
                        del self.elements[name][key]
                        self.touched.add(key)
                case AddElements(name, elements):
                    for key, verdict in elements:
                        assert key not in self.elements.setdefault(name, {})
                        self.elements[name][key] = verdict
                        self.touched.add(key)
                case DeleteChain(name):
                    assert self.chains.pop(name) == ()
                    assert name not in self.referred(), f"{name} is still referred to"
                case DeleteSet(name):
                    del self.sets[name]
                    assert name not in self.referred(), f"{name} is still referred to"
        missing = {w for w in self.referred() if w.startswith(("c-", "s-"))} - self.chains.keys() - self.sets.keys()
        assert not missing

    def state(self) -> State:
        return State(
            {name: fingerprint(rules) for name, rules in self.chains.items()},
            dict(self.sets),
            {name: dict(pairs) for name, pairs in self.elements.items() if pairs},
        )


@st.composite
def parts(draw: st.DrawFn, owner: str) -> Part:
    """A part whose chains and sets are its own and whose keys may be others' too."""
    sets = {f"s-{owner}-{n}": "type ipv4_addr" for n in draw(st.sets(st.integers(0, 2)))}
    names = [f"c-{owner}-{n}" for n in sorted(draw(st.sets(st.integers(0, 2), min_size=1)))]
    words = st.sampled_from(["accept", "counter", *(f"update @{s} " for s in sets), f"goto {names[-1]}"])
    chains = {name: tuple(draw(st.lists(words, min_size=1, max_size=3))) for name in names}
    keys = draw(st.sets(st.sampled_from(["k1", "k2", "k3"])))
    elements = {"service_ips": {key: f"goto {draw(st.sampled_from(names))}" for key in keys}}
    return Part((draw(st.sampled_from(["1", "2"])), owner), chains, sets, elements)


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[str, Part | None, bool]]:
    owners = st.sampled_from(["a", "b", "c"])
    steps = []
    for _ in range(draw(st.integers(0, 10))):
        owner = draw(owners)
        steps.append((owner, draw(st.none() | parts(owner)), draw(st.booleans())))
    return steps


@given(histories())
def test_commands_lead_where_they_should(history: list[tuple[str, Part | None, bool]]) -> None:
    rules, kernel, current = Rules(), Kernel(), {}
    for owner, part, apply_now in history:
        rules.set_part(owner, part)
        current[owner] = part
        if apply_now:
            kernel.apply(rules.commands())
            assert kernel.state() == rules.state()
    kernel.apply(rules.commands())
    assert kernel.state() == rules.state()
    assert rules.commands() == []
    # The way does not matter.
    fresh = Rules()
    for owner, part in current.items():
        fresh.set_part(owner, part)
    assert fresh.state() == rules.state()


@given(histories(), histories())
def test_adopting_leads_from_any_state_to_any(
    before: list[tuple[str, Part | None, bool]], after: list[tuple[str, Part | None, bool]]
) -> None:
    old, new, kernel = Rules(), Rules(), Kernel()
    for owner, part, _ in before:
        old.set_part(owner, part)
    for owner, part, _ in after:
        new.set_part(owner, part)
    kernel.apply(old.commands())
    kernel.touched.clear()
    kernel.apply(new.adopt(kernel.state()))
    assert kernel.state() == new.state()
    assert new.commands() == []
    same = {name for name, f in old.state().chains.items() if new.state().chains.get(name) == f}
    assert not same & kernel.touched


def service(name: str = "web", ip: str = "10.96.0.7", **spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "namespace": "default", "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"clusterIP": ip, "clusterIPs": [ip], "ports": [{"port": 80}], **spec},
    }


def endpoint_slice(addresses: list[str], kind: str = "IPv4") -> dict[str, Any]:
    return {
        "addressType": kind,
        "ports": [{"port": 8080}],
        "endpoints": [{"addresses": [a], "nodeName": "n", "conditions": {"ready": True}} for a in addresses],
    }


CONFIGS = {
    4: LayoutConfig(IPV4, ("192.168.1.1",), "10.96.0.0/16", ("10.244.0.0/16",), ("10.96.0.10",)),
    6: LayoutConfig(IPV6, ("fd00::1",), "fd96::/112", ("fd44::/56",)),
}


@pytest.mark.parametrize("version", [4, 6])
def test_the_kernel_takes_every_kind_of_rule_and_gives_it_back(version: int) -> None:
    """Layout, chains, sets and elements, listed and read again, in a network namespace of the command's own."""
    config = CONFIGS[version]
    node = Node("n", config.family, config.pod_cidrs)
    four = version == 4
    vip, external = ("10.96.0.7", "203.0.113.1") if four else ("fd96::7", "2001:db8::1")
    backends = [f"10.244.0.{n}" for n in (2, 3)] if four else ["fd44::2", "fd44::3"]
    rules = Rules()
    variants: list[dict[str, Any]] = [
        {},
        {"sessionAffinity": "ClientIP"},
        {"type": "NodePort", "ports": [{"port": 80, "nodePort": 30080}], "externalTrafficPolicy": "Local"},
        {"externalIPs": [external], "internalTrafficPolicy": "Local"},
        {"ports": [{"port": 53, "protocol": "UDP", "name": "u"}, {"port": 9, "protocol": "SCTP", "name": "s"}]},
    ]
    for number, spec in enumerate(variants):
        obj = service(f"s{number}", vip[:-1] + str(number + 1), **spec)
        plan = plan_service(obj, [endpoint_slice(backends, config.family.address_type)], node)
        assert plan.part.chains or number == 4
        rules.set_part(f"default/s{number}", plan.part)
    keyword = config.family.keyword
    script = render_layout(config) + render(rules.commands(), keyword, "pybernetes_proxy")
    listed = subprocess.run(
        ["unshare", "--net", "sh", "-ec", f"nft -f - && nft -j list table {keyword} pybernetes_proxy"],
        input=script, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert listed.returncode == 0, listed.stderr
    listing = json.loads(listed.stdout)["nftables"]
    assert parse(listing, config) == rules.state()
    other = LayoutConfig(config.family, config.node_ips, config.service_cidr, config.pod_cidrs, (external,))
    assert marker_chain(other) != marker_chain(config)
    assert parse(listing, other) is None
