"""Who each pod of a StatefulSet is: its name, labels, host name, volumes and claims. Pure.

Source: upstream's ``pkg/controller/statefulset/stateful_set_utils.go``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from pybernetes.api.meta import Object, clone, labels_of, metadata, name_of, namespace_of, new_controller_ref, uid_of
from pybernetes.controllers import pods as podstate
from pybernetes.controllers.history import HASH_LABEL

POD_NAME_LABEL = "statefulset.kubernetes.io/pod-name"
POD_INDEX_LABEL = "apps.kubernetes.io/pod-index"

_ORDINAL = re.compile(r"(.*)-([0-9]+)")


def replicas(sts: Object) -> int:
    value = sts["spec"].get("replicas")
    return 1 if value is None else int(value)


def start_ordinal(sts: Object) -> int:
    return int((sts["spec"].get("ordinals") or {}).get("start") or 0)


def ordinal_of(sts: Object, pod: Object) -> int | None:
    """The pod's ordinal, None where its name is not one of this set's."""
    match = _ORDINAL.fullmatch(name_of(pod))
    if match is None or match.group(1) != name_of(sts):
        return None
    return int(match.group(2))


def claim_name(sts: Object, template: Object, ordinal: int) -> str:
    return f"{name_of(template)}-{name_of(sts)}-{ordinal}"


def claim_templates(sts: Object) -> Sequence[Object]:
    return sts["spec"].get("volumeClaimTemplates") or ()


def claims(sts: Object, ordinal: int) -> list[Object]:
    """The PersistentVolumeClaims of one pod, as they are created."""
    found: list[Object] = []
    for template in claim_templates(sts):
        claim = {k: clone(v) for k, v in template.items() if k != "status"}
        meta = metadata(template)
        claim |= {"apiVersion": "v1", "kind": "PersistentVolumeClaim"}
        claim["metadata"] = {
            "name": claim_name(sts, template, ordinal),
            "namespace": namespace_of(sts),
            "labels": {**(meta.get("labels") or {}), **(sts["spec"]["selector"].get("matchLabels") or {})},
        }
        if meta.get("annotations"):
            claim["metadata"]["annotations"] = dict(meta["annotations"])
        found.append(claim)
    return found


def _volumes(sts: Object, spec: Object, ordinal: int) -> list[Object]:
    own = [
        {"name": name_of(t), "persistentVolumeClaim": {"claimName": claim_name(sts, t, ordinal)}}
        for t in claim_templates(sts)
    ]
    names = {v["name"] for v in own}
    return [*own, *(v for v in spec.get("volumes") or () if v.get("name") not in names)]


def identity_labels(sts: Object, ordinal: int) -> dict[str, str]:
    return {POD_NAME_LABEL: f"{name_of(sts)}-{ordinal}", POD_INDEX_LABEL: str(ordinal)}


def new_pod(sts: Object, template: Object, revision: str, ordinal: int) -> Object:
    """The pod of an ordinal, of the template of a revision."""
    ref = new_controller_ref(sts, "apps/v1", "StatefulSet")
    pod = podstate.from_template(template, ref, namespace_of(sts))
    pod["metadata"]["name"] = f"{name_of(sts)}-{ordinal}"
    pod["metadata"]["labels"] = {**labels_of(pod), **identity_labels(sts, ordinal), HASH_LABEL: revision}
    pod["spec"]["hostname"] = name_of(pod)
    if sts["spec"].get("serviceName"):
        pod["spec"]["subdomain"] = sts["spec"]["serviceName"]
    if volumes := _volumes(sts, pod["spec"], ordinal):
        pod["spec"]["volumes"] = volumes
    return pod


def retention(sts: Object) -> tuple[bool, bool]:
    """(claims go when the set is deleted, claims go when it is scaled down)."""
    policy = sts["spec"].get("persistentVolumeClaimRetentionPolicy") or {}
    return policy.get("whenDeleted") == "Delete", policy.get("whenScaled") == "Delete"


def wanted_claim_owners(sts: Object, pod: Object | None, claim: Object, *, condemned: bool) -> list[Object] | None:
    """The claim's owner references as the retention policy wants them, None where they are so."""
    when_deleted, when_scaled = retention(sts)
    present = list(metadata(claim).get("ownerReferences") or ())
    pod_uid = uid_of(pod) if pod is not None else ""

    def is_ours(ref: Object) -> bool:
        return ref.get("kind") in ("StatefulSet", "Pod") and ref.get("uid") in (uid_of(sts), pod_uid)

    wanted = [r for r in present if not is_ours(r)]
    if condemned and when_scaled:
        if pod is not None:
            wanted.append({"apiVersion": "v1", "kind": "Pod", "name": name_of(pod), "uid": pod_uid})
    elif when_deleted:
        wanted.append({"apiVersion": "apps/v1", "kind": "StatefulSet", "name": name_of(sts), "uid": uid_of(sts)})
    ours_now = [(r.get("kind"), r.get("uid")) for r in present if is_ours(r)]
    ours_wanted = [(r["kind"], r["uid"]) for r in wanted if is_ours(r)]
    return None if ours_now == ours_wanted else wanted
