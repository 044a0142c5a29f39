"""Routes to pods' ranges, as planned."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pybernetes.cluster.routes import desired_routes, plan


def node(name: str, address: str = "", *cidrs: str) -> dict[str, Any]:
    addresses = [{"type": "Hostname", "address": name}]
    if address:
        addresses.append({"type": "InternalIP", "address": address})
    return {
        "metadata": {"name": name},
        "spec": {"podCIDR": cidrs[0], "podCIDRs": list(cidrs)} if cidrs else {},
        "status": {"addresses": addresses},
    }


def test_every_other_nodes_range_goes_to_its_address() -> None:
    nodes = [node("b", "172.30.0.3", "10.244.1.0/24"), node("a", "172.30.0.2", "10.244.0.0/24")]
    assert desired_routes(nodes, "a") == {"10.244.1.0/24": "172.30.0.3"}
    assert desired_routes(nodes, "") == {"10.244.0.0/24": "172.30.0.2", "10.244.1.0/24": "172.30.0.3"}


def test_nodes_without_address_or_range_have_none() -> None:
    assert (
        desired_routes([node("a", "", "10.244.0.0/24"), node("b", "172.30.0.3"), {"metadata": {"name": "c"}}], "") == {}
    )


def test_a_range_takes_an_address_of_its_family() -> None:
    both = node("a", "172.30.0.2", "10.244.0.0/24", "fd00:1::/64")
    assert desired_routes([both], "") == {"10.244.0.0/24": "172.30.0.2"}
    both["status"]["addresses"].append({"type": "InternalIP", "address": "fd00::2"})
    assert desired_routes([both], "")["fd00:1::/64"] == "fd00::2"


def test_a_range_claimed_twice_goes_to_one() -> None:
    nodes = [node("b", "172.30.0.3", "10.244.0.0/24"), node("a", "172.30.0.2", "10.244.0.0/24")]
    assert desired_routes(nodes, "") == {"10.244.0.0/24": "172.30.0.2"}


_ROUTES = st.dictionaries(st.sampled_from("abcdef"), st.sampled_from("123"))


@given(observed=_ROUTES, desired=_ROUTES)
def test_a_plan_leads_to_what_is_desired_and_no_further(observed: dict[str, str], desired: dict[str, str]) -> None:
    changes = plan(observed, desired)
    after = {k: v for k, v in observed.items() if k not in changes.delete} | dict(changes.put)
    assert after == desired
    assert not plan(after, desired)
    assert not (set(changes.put) & set(changes.delete))
    assert all(observed.get(k) != v for k, v in changes.put.items())
