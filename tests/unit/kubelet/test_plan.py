"""What to do next for a pod, case by case and by its properties."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pybernetes.api.meta import Object
from pybernetes.kubelet import spec
from pybernetes.kubelet.backoff import BackOff
from pybernetes.kubelet.observed import ObservedContainer, ObservedPod
from pybernetes.kubelet.plan import Plan, ProbeResults, Start, backoff_key, compute
from pybernetes.kubelet.runtime import ContainerState
from tests.unit.kubelet.builders import NOW, UID, container, exited, observed, pod, ran, sandbox

EMPTY = ObservedPod(UID)
SIDECAR = {"restartPolicy": "Always"}


def plan(of: Object, seen: ObservedPod, probes: dict[str, ProbeResults] | None = None, **fields: Any) -> Plan:
    return compute(of, seen, probes or {}, fields.get("backoffs") or BackOff(10.0, 300.0), fields.get("now", NOW))


def names(of: Plan) -> list[str]:
    return [s.name for s in of.starts]


def test_a_new_pod_gets_a_sandbox_first() -> None:
    assert plan(pod(), EMPTY) == Plan(create_sandbox=True)


def test_then_its_containers_in_order() -> None:
    found = plan(pod(container("a"), container("b")), observed())
    assert found.starts == (Start("regular", "a", 0), Start("regular", "b", 0))
    assert not found.kill_pod and not found.create_sandbox and found.sandbox_id == "s0"


def test_nothing_to_do_while_everything_runs() -> None:
    assert plan(pod(container("a"), container("b")), observed(ran("a"), ran("b"))).empty


def test_a_sandbox_without_an_address_is_none() -> None:
    found = plan(pod(), observed(sandboxes=(sandbox(ips=()),)))
    assert found.kill_pod and found.create_sandbox and found.sandbox_attempt == 1
    assert plan(pod(hostNetwork=True), observed(sandboxes=(sandbox(ips=()),))).starts


def test_a_dead_sandbox_is_replaced_with_everything_in_it() -> None:
    found = plan(pod(), observed(ran(), sandboxes=(sandbox(ready=False),)))
    assert found == Plan(kill_pod=True, create_sandbox=True, sandbox_attempt=1)


def test_two_ready_sandboxes_are_one_too_many() -> None:
    found = plan(pod(), observed(sandboxes=(sandbox(0), sandbox(1))))
    assert found.kill_pod and found.create_sandbox and found.sandbox_attempt == 2


def test_a_pod_that_never_restarts_ends_with_its_sandbox() -> None:
    found = plan(pod(restartPolicy="Never"), observed(exited(code=1), sandboxes=(sandbox(ready=False),)))
    assert found.done and found.kill_pod and not found.create_sandbox


def test_a_job_that_is_done_gets_no_new_sandbox() -> None:
    found = plan(pod(restartPolicy="OnFailure"), observed(exited(), sandboxes=(sandbox(ready=False),)))
    assert found.done and not found.create_sandbox


@pytest.mark.parametrize(
    ("policy", "code", "restarts"),
    [
        ("Always", 0, True),
        ("Always", 1, True),
        ("OnFailure", 0, False),
        ("OnFailure", 1, True),
        ("Never", 0, False),
        ("Never", 1, False),
    ],
)
def test_restart_policies(policy: str, code: int, restarts: bool) -> None:
    found = plan(pod(restartPolicy=policy), observed(exited(code=code)))
    assert names(found) == (["main"] if restarts else [])
    assert found.done is not restarts


def test_the_restart_count_goes_on() -> None:
    found = plan(pod(), observed(exited(restarts=3), exited(restarts=2)))
    assert found.starts == (Start("regular", "main", 4),)


def test_a_containers_own_rules_come_before_the_pods() -> None:
    rules = [{"action": "Restart", "exitCodes": {"operator": "In", "values": [42]}}]
    own = container(restartPolicy="Never", restartPolicyRules=rules)
    assert names(plan(pod(own, restartPolicy="Never"), observed(exited(code=42)))) == ["main"]
    assert plan(pod(own, restartPolicy="Never"), observed(exited(code=1))).done
    always = container(restartPolicy="Always")
    assert names(plan(pod(always, restartPolicy="Never"), observed(exited(code=0)))) == ["main"]


def test_one_container_done_the_other_running_goes_on() -> None:
    of = pod(container("a"), container("b"), restartPolicy="Never")
    found = plan(of, observed(exited("a"), ran("b")))
    assert found.empty and not found.done


# Back-off.


def test_the_first_restart_is_at_once_and_the_next_ones_wait_longer_and_longer() -> None:
    of, backoffs, now = pod(), BackOff[tuple[str, str, str]](10.0, 300.0), NOW
    key = backoff_key(of, of["spec"]["containers"][0])
    delays = []
    for restarts in range(8):
        seen = observed(exited(code=1, restarts=restarts, finished=now))
        found = plan(of, seen, backoffs=backoffs, now=now)
        if found.waiting:
            assert not found.starts and not found.done
            delays.append(round(found.waiting[0].until - now))
            now = found.waiting[0].until
            found = plan(of, seen, backoffs=backoffs, now=now)
        else:
            delays.append(0)
        assert names(found) == ["main"]
        backoffs.next(key, seen.containers[0].status.finished_at, now)
    assert delays == [0, 10, 20, 40, 80, 160, 300, 300]
    # Ten minutes of good behaviour make it forget.
    seen = observed(exited(code=1, restarts=9, finished=now + 601))
    assert names(plan(of, seen, backoffs=backoffs, now=now + 601)) == ["main"]


def test_the_message_of_a_back_off() -> None:
    of, backoffs = pod(), BackOff[tuple[str, str, str]](10.0, 300.0)
    key = backoff_key(of, of["spec"]["containers"][0])
    for _ in range(5):
        backoffs.next(key, NOW, NOW)
    found = plan(of, observed(exited(code=1, finished=NOW)), backoffs=backoffs)
    assert found.waiting[0].message == f"back-off 2m40s restarting failed container=main pod=pod_ns({UID})"
    assert found.wake_at == NOW + 160


def test_one_that_waits_does_not_hold_up_another() -> None:
    of, backoffs = pod(container("a"), container("b")), BackOff[tuple[str, str, str]](10.0, 300.0)
    backoffs.next(backoff_key(of, of["spec"]["containers"][0]), NOW, NOW)
    found = plan(of, observed(exited("a", 1, finished=NOW), exited("b", 1, finished=NOW)), backoffs=backoffs)
    assert names(found) == ["b"] and [w.name for w in found.waiting] == ["a"]


# Probes and changes.


def test_a_failed_liveness_probe_kills_and_does_not_end_the_pod() -> None:
    seen = observed(ran())
    found = plan(pod(), seen, {seen.containers[0].id: ProbeResults(liveness=False)})
    assert [(k.message, k.reason) for k in found.kills] == [
        ("Container main failed liveness probe, will be restarted", "LivenessProbe")
    ]
    assert not found.starts and not found.done
    never = plan(pod(restartPolicy="Never"), seen, {seen.containers[0].id: ProbeResults(liveness=False)})
    assert never.kills[0].message == "Container main failed liveness probe"


def test_a_failed_startup_probe_kills() -> None:
    seen = observed(ran())
    found = plan(pod(), seen, {seen.containers[0].id: ProbeResults(startup=False)})
    assert found.kills[0].message == "Container main failed startup probe, will be restarted"


def test_a_failed_readiness_probe_does_nothing() -> None:
    seen = observed(ran())
    assert plan(pod(), seen, {seen.containers[0].id: ProbeResults(readiness=False)}).empty


def test_another_image_replaces_the_container() -> None:
    found = plan(pod(), observed(ran(image="main:0")))
    assert found.kills[0].message == "Container main definition changed, will be restarted"


def test_a_container_in_an_unknown_state_is_killed_first() -> None:
    found = plan(pod(), observed(ran(state=ContainerState.UNKNOWN)))
    assert found.kills[0].reason == "Unknown" and not found.starts and not found.done


# Init containers.


def test_init_containers_one_after_another() -> None:
    of = pod(initContainers=[container("one"), container("two")])
    assert names(plan(of, observed())) == ["one"]
    assert plan(of, observed(ran("one"))).empty
    assert names(plan(of, observed(exited("one")))) == ["two"]
    assert plan(of, observed(exited("one"), ran("two"))).empty
    assert names(plan(of, observed(exited("one"), exited("two")))) == ["main"]
    assert plan(of, observed(exited("one"), exited("two"), ran())).empty


def test_init_containers_of_an_initialised_pod_stay_done() -> None:
    of = pod(initContainers=[container("one")])
    # Its init container is forgotten, or ended badly long ago: the pod runs, and that is that.
    assert plan(of, observed(ran())).empty
    assert plan(of, observed(exited("one", 1), ran())).empty


def test_a_new_sandbox_is_initialised_again() -> None:
    of = pod(initContainers=[container("one")])
    seen = observed(exited("one"), exited(), sandboxes=(sandbox(1), sandbox(0, ready=False)))
    assert plan(of, seen).starts == (Start("init", "one", 1),)
    again = exited("one", in_sandbox="s1", restarts=1)
    seen = observed(exited("one"), exited(), again, sandboxes=(sandbox(1), sandbox(0, ready=False)))
    assert plan(of, seen).starts == (Start("regular", "main", 1),)


def test_a_failing_init_container_is_tried_again_or_ends_the_pod() -> None:
    of = pod(initContainers=[container("one")])
    assert plan(of, observed(exited("one", 1))).starts == (Start("init", "one", 1),)
    never = plan(pod(initContainers=[container("one")], restartPolicy="Never"), observed(exited("one", 1)))
    assert never.done and never.kill_pod and not never.starts


def test_a_sidecar_starts_before_the_next_and_stays() -> None:
    probed = container("side", **SIDECAR, startupProbe={"exec": {}})
    of = pod(initContainers=[probed, container("two")])
    seen = observed(ran("side"))
    side = seen.containers[0].id
    assert plan(of, seen).empty
    assert names(plan(of, seen, {side: ProbeResults(startup=True)})) == ["two"]
    done = observed(ran("side"), exited("two"))
    assert names(plan(of, done, {side: ProbeResults(startup=True)})) == ["main"]


def test_a_sidecar_that_ends_comes_back_even_beside_running_containers() -> None:
    of = pod(initContainers=[container("side", **SIDECAR)], restartPolicy="Never")
    found = plan(of, observed(exited("side", 0), ran()))
    assert found.starts == (Start("init", "side", 1),)


def test_a_sidecar_does_not_keep_a_finished_pod() -> None:
    of = pod(initContainers=[container("side", **SIDECAR)], restartPolicy="Never")
    assert plan(of, observed(ran("side"), exited())).done


def test_a_sidecar_that_fails_its_probe_is_replaced() -> None:
    of = pod(initContainers=[container("side", **SIDECAR)])
    seen = observed(ran("side"), ran())
    side = next(c.id for c in seen.containers if c.name == "side")
    found = plan(of, seen, {side: ProbeResults(liveness=False)})
    assert found.kills[0].message == "Init container side failed liveness probe, will be restarted"


def test_ephemeral_containers_start_once() -> None:
    of = pod(ephemeralContainers=[container("debug")])
    assert plan(of, observed(ran())).starts == (Start("ephemeral", "debug", 0),)
    assert plan(of, observed(ran(), exited("debug", 1))).empty


# Properties.

STATES = [None, ContainerState.CREATED, ContainerState.RUNNING, ContainerState.EXITED, ContainerState.UNKNOWN]


@st.composite
def situations(draw: st.DrawFn) -> tuple[Object, ObservedPod, dict[str, ProbeResults]]:
    init = [container(f"i{n}", **(SIDECAR if draw(st.booleans()) else {})) for n in range(draw(st.integers(0, 3)))]
    regular = [container(f"c{n}") for n in range(draw(st.integers(1, 3)))]
    of = pod(*regular, initContainers=init, restartPolicy=draw(st.sampled_from(["Always", "OnFailure", "Never"])))
    sandboxes = tuple(sandbox(n, ready=draw(st.booleans())) for n in range(draw(st.integers(0, 2))))
    seen: list[ObservedContainer] = []
    probes = {}
    for _, c in spec.all_containers(of):
        state = draw(st.sampled_from(STATES))
        if state is None or not sandboxes:
            continue
        where = draw(st.sampled_from(sandboxes)).id
        made = ran(c["name"], state, draw(st.sampled_from([0, 1])), restarts=draw(st.integers(0, 2)), in_sandbox=where)
        seen.append(made)
        probes[made.id] = ProbeResults(*(draw(st.sampled_from([None, True, False])) for _ in range(3)))
    return of, observed(*seen, sandboxes=sandboxes), probes


@given(situations())
def test_a_plan_makes_sense(situation: tuple[Object, ObservedPod, dict[str, ProbeResults]]) -> None:
    of, seen, probes = situation
    found = plan(of, seen, probes)
    running = {c.name for c in seen.running()}
    started = names(found)
    assert len(set(started)) == len(started)
    # What runs is never started again, what ends for good is never started, what is killed was there.
    assert not running & set(started)
    assert {k.container_id for k in found.kills} <= {c.id for c in seen.containers}
    if found.done:
        assert found.kill_pod and not found.starts and not found.create_sandbox
    if found.create_sandbox:
        assert not found.starts and not found.kills
        assert all(s.attempt < found.sandbox_attempt for s in seen.sandboxes)
    if any(s.kind == "regular" for s in found.starts):
        # Every init container before them is through, or the pod was through already.
        through = any(c.name.startswith("c") and c.sandbox_id == found.sandbox_id for c in seen.containers)
        for c in spec.init_containers(of):
            latest = seen.latest(c["name"])
            if not through and not spec.is_sidecar(c):
                assert latest is not None and latest.exited and latest.exit_code == 0
    for start in found.starts:
        latest = seen.latest(start.name)
        assert start.restart_count == (0 if latest is None else latest.restart_count + 1)
    # The same situation gives the same plan.
    assert found == plan(of, seen, probes)


@given(st.sampled_from(["Always", "OnFailure", "Never"]), st.lists(st.sampled_from([0, 1]), min_size=1, max_size=3))
def test_a_pod_is_done_exactly_when_nothing_may_run_again(policy: str, codes: list[int]) -> None:
    of = pod(*(container(f"c{n}") for n in range(len(codes))), restartPolicy=policy)
    found = plan(of, observed(*(exited(f"c{n}", code) for n, code in enumerate(codes))))
    again = {"Always": len(codes), "OnFailure": sum(codes), "Never": 0}[policy]
    assert len(found.starts) == again and found.done == (again == 0)


@given(st.lists(st.booleans(), min_size=1, max_size=20))
def test_a_pod_that_is_driven_by_its_plans_comes_to_rest(successes: list[bool]) -> None:
    """A runtime that does what it is told: whatever the containers do, each plan leads on, and in the end there is
    nothing to do."""
    of = pod(container("a"), initContainers=[container("i"), container("s", **SIDECAR)], restartPolicy="OnFailure")
    outcomes = itertools.chain(successes, itertools.repeat(True))
    boxes, seen, backoffs, now = [], [], BackOff[tuple[str, str, str]](10.0, 300.0), NOW
    for _ in range(200):
        view = observed(*seen, sandboxes=tuple(boxes))
        found = plan(of, view, backoffs=backoffs, now=now)
        if found.done:
            break
        if found.create_sandbox:
            boxes.append(sandbox(len(boxes)))
        for start in found.starts:
            if start.name == "s":
                seen.append(ran("s", restarts=start.restart_count))
            else:
                code = 0 if next(outcomes) else 1
                seen.append(exited(start.name, code, restarts=start.restart_count, finished=now))
        now = max(now + 1, found.wake_at or 0.0)
    else:
        raise AssertionError("never done")
    assert {c.name for c in seen} == {"a", "i", "s"}
