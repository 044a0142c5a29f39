"""The downward API: what a pod may learn of itself, as text. Pure.

Source: "Downward API" in the Kubernetes documentation; ``pkg/fieldpath`` and ``pkg/api/v1/resource`` upstream.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pybernetes.api.meta import Object, annotations_of, labels_of, name_of, namespace_of, uid_of
from pybernetes.api.quantity import Quantity, parse
from pybernetes.kubelet import spec

_SUBSCRIPT = re.compile(r"^metadata\.(labels|annotations)\['(.*)'\]$")


class FieldPathError(ValueError):
    """The field cannot be given."""


@dataclass(frozen=True, slots=True)
class PodFacts:
    """What only the node knows of a pod."""

    node_name: str
    host_ips: Sequence[str]
    pod_ips: Sequence[str]
    allocatable: Mapping[str, str]
    """The node's allocatable resources: the limit of a container that has none."""


def _quote(text: str) -> str:
    """A value between double quotes, escaped as Go's %q does it for printable text."""
    out = ['"']
    for char in text:
        if char in ('"', "\\"):
            out.append("\\" + char)
        elif char == "\n":
            out.append("\\n")
        elif char == "\t":
            out.append("\\t")
        elif char == "\r":
            out.append("\\r")
        elif ord(char) < 0x20 or ord(char) == 0x7F:
            out.append(f"\\x{ord(char):02x}")
        else:
            out.append(char)
    out.append('"')
    return "".join(out)


def format_map(values: Mapping[str, str]) -> str:
    """``key="value"`` lines in the keys' order: how labels and annotations appear in a file."""
    return "\n".join(f"{key}={_quote(str(values[key]))}" for key in sorted(values))


def field_value(pod: Object, path: str, facts: PodFacts) -> str:
    """The text of a ``fieldRef``. Raises `FieldPathError`."""
    subscript = _SUBSCRIPT.match(path)
    if subscript is not None:
        values = labels_of(pod) if subscript[1] == "labels" else annotations_of(pod)
        return str(values.get(subscript[2], ""))
    own = pod.get("spec") or {}
    match path:
        case "metadata.name":
            return name_of(pod)
        case "metadata.namespace":
            return namespace_of(pod)
        case "metadata.uid":
            return uid_of(pod)
        case "metadata.labels":
            return format_map(labels_of(pod))
        case "metadata.annotations":
            return format_map(annotations_of(pod))
        case "spec.nodeName":
            return str(own.get("nodeName") or facts.node_name)
        case "spec.serviceAccountName":
            return str(own.get("serviceAccountName") or "")
        case "spec.restartPolicy":
            return spec.restart_policy(pod)
        case "status.hostIP":
            return facts.host_ips[0] if facts.host_ips else ""
        case "status.hostIPs":
            return ",".join(facts.host_ips)
        case "status.podIP":
            return facts.pod_ips[0] if facts.pod_ips else ""
        case "status.podIPs":
            return ",".join(facts.pod_ips)
    raise FieldPathError(f"unsupported fieldPath: {path}")


def resource_value(pod: Object, reference: Object, container: Object | None, facts: PodFacts) -> str:
    """The text of a ``resourceFieldRef``, rounded up to whole divisors. Raises `FieldPathError`."""
    name = reference.get("containerName")
    if name:
        found = spec.find_container(pod, name)
        if found is None:
            raise FieldPathError(f"container {name} not found")
        container = found[1]
    if container is None:
        raise FieldPathError("container name is required")
    which, _, resource = str(reference.get("resource") or "").partition(".")
    if which not in ("limits", "requests") or not resource:
        raise FieldPathError(f"unsupported container resource : {reference.get('resource')}")
    resources = container.get("resources") or {}
    text = (resources.get(which) or {}).get(resource)
    if text is None and which == "limits" and resource in ("cpu", "memory", "ephemeral-storage"):
        text = facts.allocatable.get(resource)
    amount = parse(str(text)) if text is not None else Quantity.of(0)
    divisor = parse(str(reference.get("divisor") or "1"))
    if not divisor:
        divisor = Quantity.of(1)
    if resource == "cpu":
        return str(-(-amount.milli_value // divisor.milli_value))
    return str(-(-amount.value // max(1, divisor.value)))
