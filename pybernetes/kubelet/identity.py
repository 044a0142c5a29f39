"""How the kubelet recognises its own sandboxes and containers in the runtime.

The kubelet keeps no files about containers: what it needs to adopt them after a restart travels in the runtime's
labels and annotations, under the names upstream uses (``k8s.io/kubernetes/pkg/kubelet/types`` and kuberuntime).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from pybernetes.api.meta import Object, metadata, name_of, namespace_of, uid_of

POD_NAME = "io.kubernetes.pod.name"
POD_NAMESPACE = "io.kubernetes.pod.namespace"
POD_UID = "io.kubernetes.pod.uid"
CONTAINER_NAME = "io.kubernetes.container.name"

CONTAINER_HASH = "io.kubernetes.container.hash"
RESTART_COUNT = "io.kubernetes.container.restartCount"
TERMINATION_MESSAGE_PATH = "io.kubernetes.container.terminationMessagePath"
TERMINATION_MESSAGE_POLICY = "io.kubernetes.container.terminationMessagePolicy"
PRE_STOP = "io.kubernetes.container.preStopHandler"
PORTS = "io.kubernetes.container.ports"
POD_DELETION_GRACE = "io.kubernetes.pod.deletionGracePeriod"
POD_TERMINATION_GRACE = "io.kubernetes.pod.terminationGracePeriod"


def spec_hash(container: Mapping[str, Any]) -> str:
    """Changes exactly when a running container must be replaced: when its name or image changes, as upstream."""
    picked = {"name": container.get("name"), "image": container.get("image")}
    return hashlib.sha256(orjson.dumps(picked, option=orjson.OPT_SORT_KEYS)).hexdigest()[:8]


def sandbox_labels(pod: Object) -> dict[str, str]:
    return {
        **{k: str(v) for k, v in (metadata(pod).get("labels") or {}).items()},
        POD_NAME: name_of(pod),
        POD_NAMESPACE: namespace_of(pod),
        POD_UID: uid_of(pod),
    }


def container_labels(pod: Object, container: Object) -> dict[str, str]:
    return {
        POD_NAME: name_of(pod),
        POD_NAMESPACE: namespace_of(pod),
        POD_UID: uid_of(pod),
        CONTAINER_NAME: container["name"],
    }


def container_annotations(pod: Object, container: Object, restart_count: int) -> dict[str, str]:
    """Everything that killing and reporting the container needs, should the pod be gone by then."""
    values = {
        CONTAINER_HASH: spec_hash(container),
        RESTART_COUNT: str(restart_count),
        TERMINATION_MESSAGE_PATH: container.get("terminationMessagePath") or "/dev/termination-log",
        TERMINATION_MESSAGE_POLICY: container.get("terminationMessagePolicy") or "File",
    }
    spec = pod.get("spec") or {}
    if spec.get("terminationGracePeriodSeconds") is not None:
        values[POD_TERMINATION_GRACE] = str(spec["terminationGracePeriodSeconds"])
    if metadata(pod).get("deletionGracePeriodSeconds") is not None:
        values[POD_DELETION_GRACE] = str(metadata(pod)["deletionGracePeriodSeconds"])
    pre_stop = (container.get("lifecycle") or {}).get("preStop")
    if pre_stop:
        values[PRE_STOP] = orjson.dumps(pre_stop).decode()
    if container.get("ports"):
        values[PORTS] = orjson.dumps(container["ports"]).decode()
    return values


def restore_pod(labels: Mapping[str, str], containers: list[tuple[Mapping[str, str], Mapping[str, str]]]) -> Object:
    """A pod good enough to be killed, from a sandbox's or container's labels and its containers' (labels,
    annotations)."""
    spec_containers: list[Object] = []
    grace: int | None = None
    for container, notes in containers:
        spec: Object = {
            "name": container.get(CONTAINER_NAME, ""),
            "terminationMessagePath": notes.get(TERMINATION_MESSAGE_PATH, ""),
        }
        if notes.get(PRE_STOP):
            spec["lifecycle"] = {"preStop": orjson.loads(notes[PRE_STOP])}
        if notes.get(PORTS):
            spec["ports"] = orjson.loads(notes[PORTS])
        if not any(c["name"] == spec["name"] for c in spec_containers):
            spec_containers.append(spec)
        text = notes.get(POD_DELETION_GRACE) or notes.get(POD_TERMINATION_GRACE)
        if text and text.isdigit():
            grace = int(text)
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": labels.get(POD_NAME, ""),
            "namespace": labels.get(POD_NAMESPACE, ""),
            "uid": labels.get(POD_UID, ""),
        },
        "spec": {
            "containers": spec_containers,
            "terminationGracePeriodSeconds": 30 if grace is None else grace,
            "restartPolicy": "Never",
        },
    }


def pod_reference(pod: Object) -> Object:
    """The object reference under which events about the pod are recorded."""
    reference: Object = {
        "apiVersion": "v1",
        "kind": "Pod",
        "name": name_of(pod),
        "namespace": namespace_of(pod),
        "uid": uid_of(pod),
    }
    if metadata(pod).get("resourceVersion"):
        reference["resourceVersion"] = metadata(pod)["resourceVersion"]
    return reference


def container_reference(pod: Object, container_name: str) -> Object:
    """As `pod_reference`, pointing at one container: ``spec.containers{web}``."""
    spec = pod.get("spec") or {}
    reference = pod_reference(pod)
    for field in ("containers", "initContainers", "ephemeralContainers"):
        if any(c.get("name") == container_name for c in spec.get(field) or ()):
            reference["fieldPath"] = f"spec.{field}{{{container_name}}}"
            break
    return reference


def format_pod(pod: Object) -> str:
    """``name_namespace(uid)``: how messages name a pod."""
    return f"{name_of(pod)}_{namespace_of(pod)}({uid_of(pod)})"


def pod_log_directory(log_directory: Path, pod: Object) -> Path:
    return log_directory / f"{namespace_of(pod)}_{name_of(pod)}_{uid_of(pod)}"


def pod_directory(root: Path, uid: str) -> Path:
    return root / "pods" / uid


def termination_file(root: Path, uid: str, container: str, restart_count: int) -> Path:
    """The file mounted at a container's terminationMessagePath."""
    return pod_directory(root, uid) / "containers" / container / f"termination-{restart_count}"
