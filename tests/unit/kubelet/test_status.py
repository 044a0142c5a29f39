"""A pod's status: phase, conditions, containers, and the patch that tells it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pybernetes.api.meta import Object
from pybernetes.api.time import format_time
from pybernetes.kubelet.observed import ObservedPod
from pybernetes.kubelet.plan import ProbeResults
from pybernetes.kubelet.runtime import ContainerState
from pybernetes.kubelet.status import StatusInputs, generate, patch_for
from pybernetes.kubelet.statuswriter import without_nulls
from tests.unit.kubelet.builders import NOW, UID, container, exited, observed, pod, ran, sandbox

EMPTY = ObservedPod(UID)
SIDECAR = {"restartPolicy": "Always"}
PROBED = {"readinessProbe": {"exec": {}}}


def status(of: Object, seen: ObservedPod = EMPTY, **fields: Any) -> Object:
    return generate(StatusInputs(of, seen, fields.pop("now", NOW), ("192.0.2.7",), **fields))


def of_container(found: Object, name: str = "main", kind: str = "containerStatuses") -> Object:
    return next(c for c in found[kind] if c["name"] == name)


def conditions(found: Object) -> dict[str, tuple[str, str, str]]:
    return {c["type"]: (c["status"], c.get("reason", ""), c.get("message", "")) for c in found["conditions"]}


def test_a_pod_that_has_nothing_yet() -> None:
    found = status(pod(meta={"generation": 3}))
    assert found["phase"] == "Pending" and found["observedGeneration"] == 3
    assert found["startTime"] == format_time(NOW) and found["hostIP"] == "192.0.2.7" and "podIP" not in found
    assert of_container(found) == {
        "name": "main",
        "image": "main:1",
        "imageID": "",
        "restartCount": 0,
        "state": {"waiting": {"reason": "ContainerCreating"}},
        "lastState": {},
        "ready": False,
        "started": False,
    }
    unready = ("False", "ContainersNotReady", "containers with unready status: [main]")
    assert conditions(found) == {
        "PodReadyToStartContainers": ("False", "", ""),
        "Initialized": ("True", "", ""),
        "Ready": unready,
        "ContainersReady": unready,
        "PodScheduled": ("True", "", ""),
    }
    assert all(c["observedGeneration"] == 3 and c["lastProbeTime"] is None for c in found["conditions"])


def test_a_pod_that_runs() -> None:
    found = status(pod(), observed(ran(restarts=2)))
    assert found["phase"] == "Running"
    assert found["podIP"] == "10.0.0.1" and found["podIPs"] == [{"ip": "10.0.0.1"}]
    main = of_container(found)
    assert main["ready"] is True and main["started"] is True and main["restartCount"] == 2
    assert main["containerID"] == "containerd://main-s0-2" and main["imageID"] == "ref"
    assert main["state"] == {"running": {"startedAt": format_time(NOW - 47)}}
    assert {t: c[0] for t, c in conditions(found).items()} == dict.fromkeys(conditions(found), "True")


def test_times_of_conditions_change_with_their_status_only() -> None:
    first = status(pod(), observed(ran()))
    later = status(pod(), observed(ran()), old=first, now=NOW + 60)
    assert later == first
    down = status(pod(), observed(exited(code=1)), old=first, now=NOW + 60)
    times = {c["type"]: c["lastTransitionTime"] for c in down["conditions"]}
    assert times["Ready"] == format_time(NOW + 60) and times["Initialized"] == format_time(NOW)


def test_readiness_waits_for_its_probe() -> None:
    of, seen = pod(container(**PROBED)), observed(ran())
    id_ = seen.containers[0].id
    assert of_container(status(of, seen))["ready"] is False
    assert of_container(status(of, seen, probes={id_: ProbeResults(readiness=True)}))["ready"] is True
    before = status(of, seen, probes={id_: ProbeResults(readiness=True)})
    # A kubelet that starts anew has no verdict yet: what was told of this very container holds.
    assert of_container(status(of, seen, old=before))["ready"] is True
    assert of_container(status(of, observed(ran(restarts=1)), old=before))["ready"] is False
    assert of_container(status(of, seen, old=before, probes={id_: ProbeResults(readiness=False)}))["ready"] is False


def test_startup_comes_before_readiness() -> None:
    of, seen = pod(container(startupProbe={"exec": {}})), observed(ran())
    id_ = seen.containers[0].id
    main = of_container(status(of, seen))
    assert (main["started"], main["ready"]) == (False, False)
    main = of_container(status(of, seen, probes={id_: ProbeResults(startup=True)}))
    assert (main["started"], main["ready"]) == (True, True)


def test_a_readiness_gate_is_somebody_elses_condition() -> None:
    gates = {"readinessGates": [{"conditionType": "example.com/ok"}]}
    found = status(pod(**gates), observed(ran()))
    assert conditions(found)["ContainersReady"][0] == "True"
    assert conditions(found)["Ready"] == (
        "False",
        "ReadinessGatesNotReady",
        'corresponding condition of pod readiness gate "example.com/ok" does not exist.',
    )
    no = {"conditions": [{"type": "example.com/ok", "status": "False"}]}
    assert conditions(status(pod(**gates, status=no), observed(ran())))["Ready"][2] == (
        'the status of pod readiness gate "example.com/ok" is not "True", but False'
    )
    yes = {"conditions": [{"type": "example.com/ok", "status": "True"}]}
    assert conditions(status(pod(**gates, status=yes), observed(ran())))["Ready"][0] == "True"


def test_how_a_container_ended() -> None:
    found = status(pod(), observed(exited(code=3, message="last words"), ran(restarts=1)))
    main = of_container(found)
    assert main["restartCount"] == 1 and "running" in main["state"]
    assert main["lastState"] == {
        "terminated": {
            "exitCode": 3,
            "reason": "Error",
            "message": "last words",
            "startedAt": format_time(NOW - 49),
            "finishedAt": format_time(NOW - 5),
            "containerID": "containerd://main-s0-0",
        }
    }


def test_why_a_container_waits() -> None:
    waiting = {"main": ("CrashLoopBackOff", "back-off 10s")}
    found = status(pod(), observed(exited(code=1)), waiting=waiting)
    main = of_container(found)
    assert main["state"] == {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}}
    assert main["lastState"]["terminated"]["exitCode"] == 1
    # It ran once and comes again: the pod is running, if not well.
    assert found["phase"] == "Running"
    pulling = status(pod(), observed(), waiting={"main": ("ErrImagePull", "no")})
    assert pulling["phase"] == "Pending"
    # What is over stays told as it ended.
    never = status(pod(restartPolicy="Never"), observed(exited(code=1)), waiting=waiting)
    assert of_container(never)["state"]["terminated"]["exitCode"] == 1


@pytest.mark.parametrize(
    ("policy", "codes", "phase"),
    [
        ("Always", (0, 0), "Running"),
        ("OnFailure", (0, 0), "Succeeded"),
        ("OnFailure", (0, 1), "Running"),
        ("Never", (0, 0), "Succeeded"),
        ("Never", (0, 1), "Failed"),
    ],
)
def test_phases_of_containers_that_ended(policy: str, codes: tuple[int, int], phase: str) -> None:
    of = pod(container("a"), container("b"), restartPolicy=policy)
    found = status(of, observed(exited("a", codes[0]), exited("b", codes[1])))
    assert found["phase"] == phase
    if phase == "Succeeded":
        assert conditions(found)["Ready"] == ("False", "PodCompleted", "")
        assert conditions(found)["Initialized"] == ("True", "PodCompleted", "")
    if phase == "Failed":
        assert conditions(found)["ContainersReady"] == ("False", "PodFailed", "")


def test_phases_of_initialisation() -> None:
    of = pod(initContainers=[container("one"), container("two")])
    found = status(of, observed(ran("one")))
    assert found["phase"] == "Pending"
    assert of_container(found)["state"] == {"waiting": {"reason": "PodInitializing"}}
    assert conditions(found)["Initialized"] == (
        "False",
        "ContainersNotInitialized",
        "containers with incomplete status: [one two]",
    )
    found = status(of, observed(exited("one"), ran("two")))
    assert conditions(found)["Initialized"][2] == "containers with incomplete status: [two]"
    assert of_container(found, "one", "initContainerStatuses")["ready"] is True
    assert status(of, observed(exited("one"), exited("two"), ran()))["phase"] == "Running"
    assert status(of, observed(exited("one", 1)))["phase"] == "Pending"
    never = pod(initContainers=[container("one")], restartPolicy="Never")
    assert status(never, observed(exited("one", 1)))["phase"] == "Failed"


def test_sidecars_count_for_readiness() -> None:
    of = pod(initContainers=[container("side", **SIDECAR, **PROBED)])
    seen = observed(ran("side"), ran())
    found = status(of, seen)
    assert found["phase"] == "Running"
    assert conditions(found)["Ready"][2] == "containers with unready status: [side]"
    side = next(c.id for c in seen.containers if c.name == "side")
    assert conditions(status(of, seen, probes={side: ProbeResults(readiness=True)}))["Ready"][0] == "True"


def test_an_end_is_told_when_it_has_come() -> None:
    running = status(pod(), observed(ran()))
    late = ("DeadlineExceeded", "too long")
    found = status(pod(), observed(ran()), old=running, failed=late)
    assert found["phase"] == "Running" and "reason" not in found
    assert conditions(found)["Ready"] == ("False", "PodFailed", "")
    found = status(pod(), observed(exited(code=137)), old=found, failed=late)
    assert (found["phase"], found["reason"], found["message"]) == ("Failed", *late)


def test_a_terminal_phase_stays() -> None:
    of = pod(restartPolicy="Never")
    done = status(of, observed(exited()))
    assert done["phase"] == "Succeeded"
    # The runtime forgets: nothing of what was told is lost.
    after = status(of, EMPTY, old=done, stopped=True)
    assert after["phase"] == "Succeeded"
    assert of_container(after)["state"] == of_container(done)["state"]
    assert after["podIP"] == "10.0.0.1"


def test_a_deleted_pod_ends_by_its_exit_codes() -> None:
    of = pod(meta={"deletionTimestamp": "2026-01-01T00:00:00Z"})
    well = status(of, observed(exited(), sandboxes=(sandbox(ready=False),)), stopped=True)
    assert well["phase"] == "Succeeded"
    badly = status(of, observed(exited(code=137), sandboxes=(sandbox(ready=False),)), stopped=True)
    assert badly["phase"] == "Failed"
    assert conditions(badly)["PodReadyToStartContainers"][0] == "False"
    never_ran = status(of, EMPTY, stopped=True)
    assert never_ran["phase"] == "Failed"


def test_a_container_that_vanished_is_told_as_lost() -> None:
    running = status(pod(), observed(ran()))
    found = of_container(status(pod(), observed(), old=running))
    assert found["lastState"]["terminated"]["reason"] == "ContainerStatusUnknown"
    assert found["lastState"]["terminated"]["exitCode"] == 137 and found["restartCount"] == 1
    gone = of_container(status(pod(), EMPTY, old=running, stopped=True))
    assert gone["state"]["terminated"]["reason"] == "ContainerStatusUnknown"


def test_the_nodes_network_is_the_pods() -> None:
    found = status(pod(hostNetwork=True), observed(ran(), sandboxes=(sandbox(ips=()),)))
    assert found["podIP"] == "192.0.2.7"


# The patch.


def merged(sent: Object, patch: Object) -> Object:
    """What a strategic merge of the patch makes of a status."""
    result = dict(sent)
    for key, value in patch["status"].items():
        if value is None:
            result.pop(key, None)
        elif key == "conditions":
            known = {c["type"]: dict(c) for c in sent.get("conditions") or ()}
            for condition in value:
                target = known.setdefault(condition["type"], {})
                for field, part in condition.items():
                    target[field] = part
                    if part is None:
                        del target[field]
            result["conditions"] = list(known.values())
        elif key in ("podIPs", "hostIPs"):
            result[key] = [v for v in value if "$patch" not in v]
        else:
            result[key] = value
    return result


SITUATIONS = [
    EMPTY,
    observed(),
    observed(ran()),
    observed(ran(restarts=1), exited(code=1)),
    observed(exited(code=1)),
    observed(exited()),
    observed(ran(), sandboxes=(sandbox(ips=("10.0.0.9",)),)),
    observed(ran(state=ContainerState.CREATED)),
]


@given(st.sampled_from(SITUATIONS), st.sampled_from(SITUATIONS), st.booleans(), st.booleans())
def test_the_patch_makes_one_status_of_the_other(
    before: ObservedPod, after: ObservedPod, ready: bool, waits: bool
) -> None:
    of = pod(container(**PROBED))
    probes = {c.id: ProbeResults(readiness=ready) for c in after.containers}
    first = without_nulls(status(of, before))
    waiting = {"main": ("CrashLoopBackOff", "back-off")} if waits else {}
    second = without_nulls(status(of, after, old=first, probes=probes, waiting=waiting, now=NOW + 9))
    others = {"type": "example.com/ok", "status": "True"}
    sent = {**first, "conditions": [*first["conditions"], others]}
    patch = patch_for(of, second, sent)
    if patch is None:
        assert second == first
        return
    assert patch["metadata"] == {"uid": UID}
    result = merged(sent, patch)
    assert others in result["conditions"]
    result["conditions"] = [c for c in result["conditions"] if c != others]
    assert result == second
    assert patch_for(of, second, second) is None


def test_only_what_changed_is_sent() -> None:
    of = pod(container(**PROBED))
    seen = observed(ran())
    id_ = seen.containers[0].id
    first = without_nulls(status(of, seen, probes={id_: ProbeResults(readiness=True)}))
    second = without_nulls(status(of, seen, old=first, probes={id_: ProbeResults(readiness=False)}, now=NOW + 5))
    patch = patch_for(of, second, first)
    assert patch is not None
    assert set(patch["status"]) == {"conditions", "containerStatuses"}
    assert {c["type"] for c in patch["status"]["conditions"]} == {"Ready", "ContainersReady"}


def test_inputs_are_not_changed() -> None:
    inputs = StatusInputs(pod(), observed(exited(code=1)), NOW, ("192.0.2.7",), old=status(pod(), observed(ran())))
    copy = repr(inputs)
    generate(replace(inputs, waiting={"main": ("X", "y")}))
    assert repr(inputs) == copy
