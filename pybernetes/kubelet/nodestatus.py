"""The Node object as its kubelet wants it: pure functions from facts to labels, status and patches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pybernetes import KUBERNETES_VERSION
from pybernetes.api.meta import Object, get_condition
from pybernetes.api.quantity import canonical
from pybernetes.api.time import format_time
from pybernetes.kubelet.config import KubeletConfig
from pybernetes.kubelet.machine import Machine
from pybernetes.kubelet.runtime import ImageStatus, RuntimeCondition, RuntimeVersion

KUBELET_VERSION = f"{KUBERNETES_VERSION}+p8s"
NOT_READY_TAINT: Object = {"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}
IMAGES_REPORTED = 50
NAMES_PER_IMAGE = 5
NOT_ASKED_YET = "container runtime status check may not have completed yet"
_HUGE_PAGES = ("hugepages-1Gi", "hugepages-2Mi")
_PRESSURES = (
    ("MemoryPressure", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
    ("DiskPressure", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
    ("PIDPressure", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
)


def capacity(config: KubeletConfig, machine: Machine) -> dict[str, str]:
    """What the node has, quantities in the form the API server stores them."""
    return {
        "cpu": canonical(str(machine.cpus)),
        "memory": canonical(f"{machine.memory_bytes // 1024}Ki"),
        "ephemeral-storage": canonical(f"{machine.disk_bytes // 1024}Ki"),
        "pods": canonical(str(config.max_pods)),
        **dict.fromkeys(_HUGE_PAGES, "0"),
    }


def allocatable(config: KubeletConfig, machine: Machine) -> dict[str, str]:
    """What pods may use of it."""
    memory = max(0, machine.memory_bytes - config.memory_reserved_bytes) // 1024
    disk = int(machine.disk_bytes // 1024 * 1024 * (1 - config.ephemeral_storage_reserved_fraction))
    return capacity(config, machine) | {
        "memory": canonical(f"{memory}Ki"),
        "ephemeral-storage": canonical(str(disk)),
    }


def labels(config: KubeletConfig, machine: Machine) -> dict[str, str]:
    return {
        "kubernetes.io/hostname": config.node_name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": machine.architecture,
        "beta.kubernetes.io/os": "linux",
        "beta.kubernetes.io/arch": machine.architecture,
        **config.labels,
    }


def node_annotations(config: KubeletConfig) -> dict[str, str]:
    return {"volumes.kubernetes.io/controller-managed-attach-detach": "true", **config.annotations}


def new_node(config: KubeletConfig, machine: Machine, status: Object) -> Object:
    """The Node to register."""
    taints = [dict(t) for t in config.taints]
    if not any(t.get("key") == NOT_READY_TAINT["key"] and t.get("effect") == "NoSchedule" for t in taints):
        taints.append(dict(NOT_READY_TAINT))
    spec: Object = {"taints": taints}
    if config.provider_id:
        spec["providerID"] = config.provider_id
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": config.node_name,
            "labels": labels(config, machine),
            "annotations": node_annotations(config),
        },
        "spec": spec,
        "status": status,
    }


def metadata_patch(config: KubeletConfig, machine: Machine, node: Object) -> Object | None:
    """What a Node that exists already lacks of its kubelet's labels, annotations and provider; None if nothing."""
    patch: Object = {}
    existing = node.get("metadata") or {}
    for field, wanted in (("labels", labels(config, machine)), ("annotations", node_annotations(config))):
        has = existing.get(field) or {}
        changed = {k: v for k, v in wanted.items() if has.get(k) != v}
        if changed:
            patch.setdefault("metadata", {})[field] = changed
    if config.provider_id and not (node.get("spec") or {}).get("providerID"):
        patch["spec"] = {"providerID": config.provider_id}
    return patch or None


def network_problem(conditions: Sequence[RuntimeCondition] | None) -> str:
    """Why the runtime has no network; empty where it has. None stands for a runtime that was not asked yet."""
    if conditions is None:
        return NOT_ASKED_YET
    network = _condition(conditions, "NetworkReady")
    return "" if network.status else f"container runtime network not ready: {_printed(network)}"


def problems(conditions: Sequence[RuntimeCondition] | None, failure: str = "") -> str:
    """Why the node is not ready, one text as upstream joins them; empty where it is ready."""
    if failure:
        return f"container runtime is down: {failure}"
    if conditions is None:
        return NOT_ASKED_YET
    found = []
    runtime = _condition(conditions, "RuntimeReady")
    if not runtime.status:
        found.append(f"container runtime not ready: {_printed(runtime)}")
    network = network_problem(conditions)
    if network:
        found.append(network)
    return found[0] if len(found) == 1 else f"[{', '.join(found)}]" if found else ""


def _condition(conditions: Sequence[RuntimeCondition], type_: str) -> RuntimeCondition:
    for condition in conditions:
        if condition.type == type_:
            return condition
    return RuntimeCondition(type_, False, "NotReported", "the runtime did not report this condition")


def _printed(condition: RuntimeCondition) -> str:
    status = "true" if condition.status else "false"
    return f"{condition.type}={status} reason:{condition.reason} message:{condition.message}"


def image_list(images: Sequence[ImageStatus]) -> list[Object]:
    """``status.images``: the largest first, at most 50."""
    largest = sorted(images, key=lambda image: (-image.size_bytes, image.id))[:IMAGES_REPORTED]
    return [
        {"names": [*image.digests, *image.tags][:NAMES_PER_IMAGE] or [image.id], "sizeBytes": image.size_bytes}
        for image in largest
    ]


def status(
    config: KubeletConfig,
    machine: Machine,
    version: RuntimeVersion | None,
    images: Sequence[ImageStatus],
    problem: str,
    old: Object,
    now: float,
) -> Object:
    """The whole status that the kubelet reports. `old` is the present one, for the times of conditions' changes;
    `problem` is why the node is not ready."""
    ready = ("False", "KubeletNotReady", problem) if problem else _READY
    return {
        "addresses": [
            {"type": "InternalIP", "address": config.node_ip},
            {"type": "Hostname", "address": config.node_name},
        ],
        "capacity": capacity(config, machine),
        "allocatable": allocatable(config, machine),
        "conditions": [
            *(_reported(old, type_, ("False", reason, message), now) for type_, reason, message in _PRESSURES),
            _reported(old, "Ready", ready, now),
        ],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": config.port}},
        "nodeInfo": {
            "machineID": machine.machine_id,
            "systemUUID": machine.system_uuid,
            "bootID": machine.boot_id,
            "kernelVersion": machine.kernel,
            "osImage": machine.os_image,
            "containerRuntimeVersion": f"{version.name}://{version.version}" if version else "",
            "kubeletVersion": KUBELET_VERSION,
            "kubeProxyVersion": "",
            "operatingSystem": "linux",
            "architecture": machine.architecture,
        },
        "images": image_list(images),
    }


_READY = ("True", "KubeletReady", "kubelet is posting ready status")


def _reported(old: Object, type_: str, wanted: tuple[str, str, str], now: float) -> Object:
    value, reason, message = wanted
    before = get_condition({"status": old}, type_)
    at = format_time(now)
    same = before is not None and before.get("status") == value
    return {
        "type": type_,
        "status": value,
        "lastHeartbeatTime": at,
        "lastTransitionTime": (before or {}).get("lastTransitionTime") or at if same else at,
        "reason": reason,
        "message": message,
    }


def differs(wanted: Object, present: Object) -> bool:
    """Whether the present status is not what is wanted. Times of heartbeats do not count, nor do fields, resources
    and conditions that the kubelet does not report."""
    for field, value in wanted.items():
        there = present.get(field)
        if field == "conditions":
            for condition in value:
                if not _covers(condition, get_condition({"status": present}, condition["type"]) or {}):
                    return True
        elif isinstance(value, Mapping):
            if not _covers(value, there or {}):
                return True
        elif value != (there or []):
            return True
    return False


def _covers(wanted: Mapping[str, Any], present: Mapping[str, Any]) -> bool:
    for key, value in wanted.items():
        if key == "lastHeartbeatTime":
            continue
        there = present.get(key)
        if isinstance(value, Mapping):
            if not _covers(value, there or {}):
                return False
        elif (value or there) and value != there:
            return False
    return True
