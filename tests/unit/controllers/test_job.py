from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pybernetes.api.meta import Object, clone, name_of, uid_of
from pybernetes.api.time import format_time
from pybernetes.controllers import pods as podstate
from pybernetes.controllers.job import indexes, model
from pybernetes.controllers.job.plan import NewPod, Plan, plan
from tests.unit.controllers.objects import NOW, owner_ref


def job(**spec: Any) -> Object:
    template = {"metadata": {"labels": {"app": "j"}}, "spec": {"restartPolicy": "Never", "containers": [{"name": "c"}]}}
    return {
        "metadata": {"name": "j", "namespace": "default", "uid": "uid-j"},
        "spec": {"parallelism": 1, "completions": 1, "backoffLimit": 6, "template": template, **spec},
        "status": {},
    }


class World:
    """A Job and its pods, and everybody who acts on them."""

    def __init__(self, j: Object) -> None:
        self.job = j
        self.pods: dict[str, Object] = {}
        self.now = NOW
        self.made = 0
        self.events: list[tuple[str, str, str]] = []
        self.deferred: list[str] = []
        """Pods whose finalizer was to go when the controller was cut off."""
        self._serial = itertools.count()

    def step(self, *, cut_off: bool = False) -> Plan:
        """One pass; `cut_off` ends it after the status is written."""
        planned = plan(self.job, list(self.pods.values()), self.now)
        for new in planned.create:
            self.made += 1
            made = model.new_pod(self.job, owner_ref("Job", "j", "uid-j", "batch/v1"), new.index, new.failures)
            uid = f"p{next(self._serial)}"
            made["metadata"] |= {"name": uid, "uid": uid, "creationTimestamp": format_time(self.now)}
            made["status"] = {"phase": "Running"}
            self.pods[uid] = made
        for doomed in planned.delete:
            self.change(doomed, deletionTimestamp=format_time(self.now))
        self.job = {**self.job, "status": clone(planned.status)}
        self.events += planned.events
        if not cut_off:
            for pod in planned.release:
                self.change(pod, finalizers=[])
                self.vanish(uid_of(pod))
        return planned

    def change(self, pod: Object, **meta: Any) -> None:
        now = self.pods[uid_of(pod)]
        self.pods[uid_of(pod)] = {**now, "metadata": {**now["metadata"], **meta}}

    def vanish(self, uid: str) -> None:
        """A deleted pod without finalizers that has ended is gone."""
        pod = self.pods.get(uid)
        leaves = pod and pod["metadata"].get("deletionTimestamp") and not pod["metadata"]["finalizers"]
        if pod and leaves and podstate.is_terminal(pod):
            del self.pods[uid]

    def end(self, n: int, phase: str, **status: Any) -> None:
        running = [p for p in self.pods.values() if not podstate.is_terminal(p)]
        if running:
            pod = running[n % len(running)]
            self.now += 1
            containers = [{"name": "c", "state": {"terminated": {"finishedAt": format_time(self.now), **status}}}]
            ended = {**pod["status"], "phase": phase, "containerStatuses": containers}
            self.pods[uid_of(pod)] = {**pod, "status": ended}
            self.vanish(uid_of(pod))

    def status(self, field: str) -> Any:
        return self.job["status"].get(field)

    def condition(self, type_: str) -> Object | None:
        return model.condition(self.job["status"], type_)


def run(world: World, phase: str = "Succeeded", rounds: int = 40) -> None:
    for _ in range(rounds):
        world.step()
        world.end(0, phase)
        world.now += 700


def test_a_job_by_the_letter() -> None:
    world = World(job())
    assert world.step().create == [NewPod()]
    assert (world.status("active"), world.status("startTime")) == (1, format_time(NOW))
    (pod,) = world.pods.values()
    assert pod["metadata"]["finalizers"] == ["batch.kubernetes.io/job-tracking"]
    assert pod["metadata"]["generateName"] == "j-"
    world.end(0, "Succeeded")
    world.step()
    assert world.status("uncountedTerminatedPods") == {"succeeded": ["p0"]}
    assert world.condition("SuccessCriteriaMet") and not world.condition("Complete")
    world.step()
    complete = world.condition("Complete")
    assert complete is not None
    assert (complete["reason"], complete["message"]) == (
        "CompletionsReached",
        "Reached expected number of succeeded pods",
    )
    assert (world.status("succeeded"), world.status("active"), world.status("uncountedTerminatedPods")) == (1, None, {})
    assert world.status("completionTime")
    assert world.events == [("Normal", "Completed", "Job completed")]
    assert plan(world.job, list(world.pods.values()), world.now).status == world.job["status"]


STEPS = st.lists(
    st.tuples(st.sampled_from(["step", "cut", "succeed", "succeed", "fail", "evict", "wait"]), st.integers(0, 9)),
    max_size=60,
)


@settings(deadline=None, max_examples=150)
@given(st.integers(0, 5), st.integers(0, 4), st.booleans(), STEPS)
def test_every_end_is_counted_once(
    completions: int, parallelism: int, indexed: bool, steps: list[tuple[str, int]]
) -> None:
    mode = "Indexed" if indexed else "NonIndexed"
    world = World(job(completions=completions, parallelism=parallelism, completionMode=mode, backoffLimit=1000))
    for what, n in steps:
        match what:
            case "step" | "cut":
                world.step(cut_off=what == "cut")
                active = [p for p in world.pods.values() if podstate.is_active(p)]
                assert len(active) <= parallelism
                if indexed:
                    held = [model.index_of(p) for p in active]
                    assert len(held) == len(set(held))
            case "succeed":
                world.end(n, "Succeeded")
            case "fail":
                world.end(n, "Failed", exitCode=1)
            case "evict":
                if world.pods:
                    world.change(
                        list(world.pods.values())[n % len(world.pods)], deletionTimestamp="2026-01-01T00:00:00Z"
                    )
            case "wait":
                world.now += 700
    if not parallelism and completions:
        world.job["spec"]["parallelism"] = 1
    run(world)
    assert world.condition("Complete")
    assert (world.status("succeeded") or 0) == completions
    succeeded_or_failed = (world.status("succeeded") or 0) + (world.status("failed") or 0)
    if indexed:
        assert indexes.parse(world.status("completedIndexes"), 99) == set(range(completions))
        assert succeeded_or_failed <= world.made
    else:
        assert succeeded_or_failed == world.made
    assert not any(model.is_tracked(p) for p in world.pods.values())


def test_backoff_then_failure() -> None:
    world = World(job(backoffLimit=2))
    made_at = []
    for _ in range(3):
        while not world.step().create:
            world.now += 1
        made_at.append(world.now)
        world.end(0, "Failed", exitCode=1)
        world.step()
    assert made_at[1] - made_at[0] >= 10 and made_at[2] - made_at[1] >= 20
    world.step()
    world.step()
    failed = world.condition("Failed")
    assert failed is not None
    assert (failed["reason"], failed["message"]) == (
        "BackoffLimitExceeded",
        "Job has reached the specified backoff limit",
    )
    assert world.status("failed") == 3
    assert world.events[-1] == ("Warning", "BackoffLimitExceeded", "Job has reached the specified backoff limit")


def test_restarts_count_with_on_failure() -> None:
    j = job(backoffLimit=3)
    j["spec"]["template"]["spec"]["restartPolicy"] = "OnFailure"
    world = World(j)
    world.step()
    (pod,) = world.pods.values()
    pod["status"]["containerStatuses"] = [{"name": "c", "restartCount": 3}]
    assert len(world.step().delete) == 1
    assert world.condition("FailureTarget")


def test_deadline() -> None:
    world = World(job(activeDeadlineSeconds=30))
    assert world.step().check_again_at == NOW + 30
    world.now = NOW + 30
    assert len(world.step().delete) == 1
    target = world.condition("FailureTarget")
    assert target is not None
    assert (target["reason"], target["message"]) == (
        "DeadlineExceeded",
        "Job was active longer than specified deadline",
    )
    assert not world.condition("Failed"), "not before its pods have ended"
    world.end(0, "Failed")
    for _ in range(3):
        world.step()
    assert world.condition("Failed")


def test_suspend_and_resume() -> None:
    world = World(job(suspend=True, parallelism=2, completions=2))
    assert world.step().create == []
    assert world.condition("Suspended") and not world.status("startTime")
    world.job["spec"]["suspend"] = False
    assert len(world.step().create) == 2
    assert world.status("startTime") and not world.condition("Suspended")
    world.job["spec"]["suspend"] = True
    assert len(world.step().delete) == 2
    assert [e[1] for e in world.events] == ["Suspended", "Resumed", "Suspended"]


def test_without_completions_one_success_is_enough() -> None:
    world = World(job(completions=None, parallelism=3))
    world.step()
    world.end(0, "Succeeded")
    assert world.step().create == []
    run(world, rounds=6)
    assert world.condition("Complete") and world.made == 3 and world.status("succeeded") == 3


def test_indexed_pods_know_their_index() -> None:
    world = World(job(completions=3, parallelism=3, completionMode="Indexed"))
    assert [n.index for n in world.step().create] == [0, 1, 2]
    pod = world.pods["p1"]
    assert pod["metadata"]["generateName"] == "j-1-" and pod["spec"]["hostname"] == "j-1"
    assert pod["metadata"]["annotations"]["batch.kubernetes.io/job-completion-index"] == "1"
    assert pod["metadata"]["labels"]["batch.kubernetes.io/job-completion-index"] == "1"
    assert pod["spec"]["containers"][0]["env"][0]["name"] == "JOB_COMPLETION_INDEX"


def test_backoff_limit_per_index() -> None:
    world = World(
        job(completions=2, parallelism=2, completionMode="Indexed", backoffLimitPerIndex=1, backoffLimit=2**31 - 1)
    )
    world.step()
    for _ in range(40):
        bad = [
            i
            for i, p in enumerate(x for x in world.pods.values() if not podstate.is_terminal(x))
            if model.index_of(p) == 0
        ]
        if bad:
            world.end(bad[0], "Failed", exitCode=1)
        else:
            world.end(0, "Succeeded")
        world.now += 700
        world.step()
    assert (world.status("completedIndexes"), world.status("failedIndexes")) == ("1", "0")
    assert (world.condition("Failed") or {})["reason"] == "FailedIndexes"
    assert world.made == 3


def test_success_policy() -> None:
    rules = {"rules": [{"succeededIndexes": "1"}]}
    world = World(job(completions=3, parallelism=3, completionMode="Indexed", successPolicy=rules))
    world.step()
    world.end(1, "Succeeded")
    assert len(world.step().delete) == 2
    met = world.condition("SuccessCriteriaMet")
    assert met is not None and (met["reason"], met["message"]) == ("SuccessPolicy", "Matched rules at index 0")


@pytest.mark.parametrize(
    ("action", "failed", "ended"), [("FailJob", 1, True), ("Ignore", None, False), ("Count", 1, False)]
)
def test_failure_policy(action: str, failed: int | None, ended: bool) -> None:
    rule = {"action": action, "onExitCodes": {"operator": "In", "values": [42]}}
    world = World(job(podFailurePolicy={"rules": [rule]}, podReplacementPolicy="Failed"))
    world.step()
    world.end(0, "Failed", exitCode=42)
    for _ in range(4):
        world.step()
    assert world.status("failed") == failed
    target = world.condition("FailureTarget")
    assert (target is not None) is ended
    if target:
        assert target["reason"] == "PodFailurePolicy"
        assert target["message"] == (
            "Container c for pod default/p0 failed with exit code 42 matching FailJob rule at index 0"
        )


def test_pods_that_fail_by_condition() -> None:
    rule = {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
    world = World(job(podFailurePolicy={"rules": [rule]}, podReplacementPolicy="Failed"))
    world.step()
    world.pods["p0"]["status"]["conditions"] = [{"type": "DisruptionTarget", "status": "True"}]
    world.end(0, "Failed")
    world.step()
    world.step()
    assert world.status("failed") is None and not world.condition("FailureTarget")


@given(st.sets(st.integers(0, 40)))
def test_indexes_survive_the_round_trip(found: set[int]) -> None:
    assert indexes.parse(indexes.render(found), 41) == found


def test_indexes_as_upstream_writes_them() -> None:
    assert indexes.render([0, 1, 2, 5, 7, 8]) == "0-2,5,7,8"
    assert indexes.parse("0-2,x,5-99", 7) == {0, 1, 2, 5, 6}
    assert name_of(job()) == "j"
