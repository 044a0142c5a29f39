"""What a Job's podFailurePolicy says about a failed pod. Pure (KEP-3329)."""

from __future__ import annotations

from dataclasses import dataclass

from pybernetes.api.meta import Object, name_of, namespace_of


@dataclass(frozen=True, slots=True)
class Verdict:
    action: str = "Count"
    """``FailJob``, ``FailIndex``, ``Ignore`` or ``Count``."""
    message: str = ""
    """For FailJob: why."""


def judge(job: Object, pod: Object) -> Verdict:
    """The action of the first rule that matches."""
    policy = job["spec"].get("podFailurePolicy") or {}
    where = f"{namespace_of(pod)}/{name_of(pod)}"
    for i, rule in enumerate(policy.get("rules") or ()):
        action = str(rule.get("action"))
        if rule.get("onExitCodes"):
            found = _exit_code(rule["onExitCodes"], pod)
            if found is not None:
                container, code = found
                return Verdict(
                    action,
                    f"Container {container} for pod {where} failed with exit code {code} "
                    f"matching {action} rule at index {i}",
                )
        elif rule.get("onPodConditions"):
            type_ = _condition(rule["onPodConditions"], pod)
            if type_ is not None:
                return Verdict(action, f"Pod {where} has condition {type_} matching {action} rule at index {i}")
    return Verdict()


def _exit_code(requirement: Object, pod: Object) -> tuple[str, int] | None:
    status = pod.get("status") or {}
    values = requirement.get("values") or ()
    for field in ("containerStatuses", "initContainerStatuses"):
        for container in status.get(field) or ():
            if requirement.get("containerName") and container.get("name") != requirement["containerName"]:
                continue
            terminated = (container.get("state") or {}).get("terminated")
            if not terminated or not terminated.get("exitCode"):
                continue
            if (terminated["exitCode"] in values) is (requirement.get("operator") == "In"):
                return str(container.get("name")), int(terminated["exitCode"])
    return None


def _condition(patterns: list[Object], pod: Object) -> str | None:
    present = {(c.get("type"), c.get("status")) for c in (pod.get("status") or {}).get("conditions") or ()}
    for pattern in patterns:
        if (pattern.get("type"), pattern.get("status") or "True") in present:
            return str(pattern["type"])
    return None
