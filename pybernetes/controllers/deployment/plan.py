"""What a Deployment needs done now: ReplicaSets to create, write or delete, and the status to be. Pure.

`plan` looks at the whole at once and yields at most one write for each ReplicaSet and one for the Deployment. It is
right only on ReplicaSets that show the controller's own earlier writes; the loop sees to that.
Source of the behaviour: upstream's ``pkg/controller/deployment``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pybernetes.api.meta import (
    Object,
    annotations_of,
    clone,
    is_deleting,
    labels_of,
    metadata,
    name_of,
    namespace_of,
    new_controller_ref,
    uid_of,
)
from pybernetes.controllers import pods as podstate
from pybernetes.controllers.deployment import model, scaling
from pybernetes.controllers.deployment import status as st
from pybernetes.controllers.hashing import object_hash


@dataclass(frozen=True, slots=True)
class CreateReplicaSet:
    obj: Object
    event: str = ""
    """Recorded as ScalingReplicaSet once it is done; empty for none."""


@dataclass(frozen=True, slots=True)
class UpdateReplicaSet:
    """Replaces the ReplicaSet; its resourceVersion is the precondition."""

    obj: Object
    event: str = ""


@dataclass(frozen=True, slots=True)
class DeleteReplicaSet:
    obj: Object


@dataclass(frozen=True, slots=True)
class UpdateStatus:
    """Writes annotations and status of the Deployment through its status subresource."""

    obj: Object


Action = CreateReplicaSet | UpdateReplicaSet | DeleteReplicaSet | UpdateStatus


@dataclass(frozen=True, slots=True)
class Plan:
    actions: tuple[Action, ...]
    """In order; a failed one stops the rest."""
    check_again_at: float | None
    """When the progress deadline has to be judged (epoch seconds)."""


def plan(d: Object, sets: Sequence[Object], pods: Mapping[str, Sequence[Object]], now: float) -> Plan:
    """`sets` are the ReplicaSets that the Deployment owns, `pods` their pods by ReplicaSet uid (looked at by
    Recreate only)."""
    return _Pass(d, sets, pods, now).result()


def hash_of(d: Object) -> str:
    """The pod-template-hash of the Deployment's template."""
    template = model.template_without_hash(d["spec"]["template"])
    return object_hash(template, (d.get("status") or {}).get("collisionCount"))


def collision(d: Object) -> UpdateStatus:
    """The answer to another ReplicaSet having the new one's name: count it, so that the next name differs."""
    status = {**(d.get("status") or {})}
    status["collisionCount"] = int(status.get("collisionCount") or 0) + 1
    return UpdateStatus({**d, "status": status})


def create_failed(d: Object, name: str, why: str, now: float) -> tuple[str, UpdateStatus | None]:
    """The event's text, and the status with the failure where it has to be written."""
    message = f'Failed to create new replica set "{name}": {why}'
    if not model.has_progress_deadline(d):
        return message, None
    status = clone(d.get("status") or {})
    st.set_condition(status, st.new_condition(st.PROGRESSING, "False", st.REPLICA_SET_CREATE_ERROR, message, now))
    return message, UpdateStatus({**d, "status": status}) if status != (d.get("status") or {}) else None


class _Pass:
    """One look at one Deployment: working copies of its ReplicaSets, changed as decisions fall."""

    def __init__(self, d: Object, sets: Sequence[Object], pods: Mapping[str, Sequence[Object]], now: float) -> None:
        self.d = d
        self.now = now
        self.pods = pods
        self.observed = {uid_of(rs): rs for rs in sets}
        self.working: dict[str, Object] = dict(self.observed)
        self.events: dict[str, str] = {}
        self.created: Object | None = None
        self.deletions: list[Object] = []
        self.annotations = dict(annotations_of(d))
        self.before: Object = d.get("status") or {}
        self.status: Object = clone(self.before)
        found = model.find_new(d, sets)
        self.new_uid = uid_of(found) if found is not None else None

    # Views of the working copies.

    @property
    def new(self) -> Object | None:
        if self.created is not None:
            return self.created
        return self.working[self.new_uid] if self.new_uid is not None else None

    @property
    def old(self) -> list[Object]:
        return [rs for uid, rs in self.working.items() if uid != self.new_uid]

    @property
    def sets(self) -> list[Object]:
        return [*self.old, *([self.new] if self.new is not None else [])]

    # Decisions.

    def result(self) -> Plan:
        if is_deleting(self.d):
            self.status = st.count(self.d, self.status, self.sets, self.new, self.now)
            return self._collect()
        self._mark_paused()
        if self.d["spec"].get("paused") or scaling.was_scaled(self.d, list(self.observed.values())):
            self._adapt_existing()
            self._resize(scaling.scaled_sizes(self.d, self.new, self.old))
            if self.d["spec"].get("paused"):
                self._clean_up()
            self.status = st.count(self.d, self.status, self.sets, self.new, self.now)
            return self._collect()
        if model.is_rolling_update(self.d):
            self._roll()
        else:
            self._recreate()
        self.status = st.roll_out(self.d, self.before, self.status, self.sets, self.new, self.now)
        return self._collect()

    def _mark_paused(self) -> None:
        if not model.has_progress_deadline(self.d):
            return
        condition = st.find(self.status, st.PROGRESSING)
        reason = condition.get("reason") if condition is not None else None
        if reason == st.DEADLINE_EXCEEDED:
            return
        paused = bool(self.d["spec"].get("paused"))
        if paused and reason != st.PAUSED:
            why, text = st.PAUSED, "Deployment is paused"
        elif not paused and reason == st.PAUSED:
            why, text = st.RESUMED, "Deployment is resumed"
        else:
            return
        st.set_condition(self.status, st.new_condition(st.PROGRESSING, "Unknown", why, text, self.now))

    def _roll(self) -> None:
        self._adapt_existing()
        if self.new is None:
            self._create()
        else:
            new = self.new
            size, wanted = model.replicas(new), model.replicas(self.d)
            if size > wanted:
                target = wanted
            elif size < wanted:
                target = scaling.new_size(self.d, self.sets, size)
            else:
                target = size
            if target != size:
                self._resize({uid_of(new): target})
                return
        if self._resize(scaling.shrink_old(self.d, self.new, self.old)):
            return
        if st.is_complete(self.d, self.before):
            self._clean_up()

    def _recreate(self) -> None:
        self._adapt_existing()
        if self._resize({uid_of(rs): 0 for rs in model.active(self.old)}):
            return
        if self._old_pods_exist():
            return
        if self.new is None:
            self._create()
        else:
            self._resize({uid_of(self.new): model.replicas(self.d)})
        if st.is_complete(self.d, self.before):
            self._clean_up()

    def _old_pods_exist(self) -> bool:
        if model.total_status(self.old, "replicas"):
            return True
        return any(
            not podstate.is_terminal(pod) for uid, pods in self.pods.items() if uid != self.new_uid for pod in pods
        )

    def _clean_up(self) -> None:
        """Deletes superseded ReplicaSets beyond the history limit, oldest revision first."""
        limit = self.d["spec"].get("revisionHistoryLimit")
        if limit is None or int(limit) == model.NO_LIMIT:
            return
        candidates = [rs for rs in self.old if not is_deleting(rs)]
        surplus = len(candidates) - int(limit)
        if surplus <= 0:
            return
        candidates.sort(key=lambda rs: (model.revision_of(rs), model.created_at(rs)))
        self.deletions += [rs for rs in candidates[:surplus] if model.is_cleanable(rs)]

    # Changes to working copies.

    def _annotated(self, rs: Object, annotations: dict[str, str]) -> Object:
        return {**rs, "metadata": {**metadata(rs), "annotations": annotations}}

    def _inherit(self, annotations: dict[str, str]) -> None:
        for key, value in annotations_of(self.d).items():
            if key not in model.NOT_COPIED:
                annotations[key] = value

    def _bounds(self, annotations: dict[str, str]) -> None:
        wanted = model.replicas(self.d)
        annotations[model.DESIRED_REPLICAS] = str(wanted)
        annotations[model.MAX_REPLICAS] = str(wanted + model.max_surge(self.d))

    def _next_revision(self) -> int:
        return max((model.revision_of(rs) for rs in self.old), default=0) + 1

    def _adapt_existing(self) -> None:
        """Brings the existing new ReplicaSet's annotations, revision and minReadySeconds up to date."""
        new = self.new
        if new is None:
            return
        annotations = dict(annotations_of(new))
        self._inherit(annotations)
        revision, previous = self._next_revision(), model.revision_of(new)
        if previous < revision:
            if previous:
                annotations[model.REVISION_HISTORY] = _with_revision(
                    annotations.get(model.REVISION_HISTORY, ""), str(previous)
                )
            annotations[model.REVISION] = str(revision)
        changed = new
        if annotations != annotations_of(new):
            changed = self._annotated(new, annotations)
        if model.min_ready_seconds(new) != model.min_ready_seconds(self.d):
            changed = {**changed, "spec": {**changed["spec"], "minReadySeconds": model.min_ready_seconds(self.d)}}
        self.working[uid_of(new)] = changed
        self.annotations[model.REVISION] = annotations.get(model.REVISION, str(revision))
        if model.has_progress_deadline(self.d) and st.find(self.status, st.PROGRESSING) is None:
            text = f'Found new replica set "{name_of(new)}"'
            st.set_condition(
                self.status, st.new_condition(st.PROGRESSING, "True", st.FOUND_NEW_REPLICA_SET, text, self.now)
            )

    def _create(self) -> None:
        d = self.d
        digest = hash_of(d)
        template = clone(d["spec"]["template"])
        template.setdefault("metadata", {})["labels"] = {**labels_of(template), model.HASH_LABEL: digest}
        selector = clone(d["spec"].get("selector") or {})
        selector["matchLabels"] = {**(selector.get("matchLabels") or {}), model.HASH_LABEL: digest}
        annotations: dict[str, str] = {}
        self._inherit(annotations)
        annotations[model.REVISION] = str(self._next_revision())
        self._bounds(annotations)
        size = scaling.new_size(d, self.old, 0)
        spec: Object = {"replicas": size, "selector": selector, "template": template}
        if model.min_ready_seconds(d):
            spec["minReadySeconds"] = model.min_ready_seconds(d)
        self.created = {
            "apiVersion": "apps/v1",
            "kind": "ReplicaSet",
            "metadata": {
                "name": f"{name_of(d)}-{digest}",
                "namespace": namespace_of(d),
                "labels": dict(template["metadata"]["labels"]),
                "annotations": annotations,
                "ownerReferences": [new_controller_ref(d, "apps/v1", "Deployment")],
            },
            "spec": spec,
        }
        self.annotations[model.REVISION] = annotations[model.REVISION]
        if model.has_progress_deadline(d):
            text = f'Created new replica set "{name_of(self.created)}"'
            st.set_condition(
                self.status, st.new_condition(st.PROGRESSING, "True", st.NEW_REPLICA_SET_CREATED, text, self.now)
            )

    def _resize(self, sizes: scaling.Sizes) -> bool:
        """Gives ReplicaSets their sizes and bounds; whether anything changed."""
        changed = False
        for uid, size in sizes.items():
            rs = self.working[uid]
            before = model.replicas(rs)
            annotations = dict(annotations_of(rs))
            self._bounds(annotations)
            if annotations != annotations_of(rs):
                rs = self._annotated(rs, annotations)
                changed = True
            if size != before:
                rs = {**rs, "spec": {**rs["spec"], "replicas": size}}
                direction = "up" if size > before else "down"
                self.events[uid] = f"Scaled {direction} replica set {name_of(rs)} from {before} to {size}"
                changed = True
            self.working[uid] = rs
        return changed

    def _collect(self) -> Plan:
        actions: list[Action] = []
        if self.created is not None:
            size = model.replicas(self.created)
            event = f"Scaled up replica set {name_of(self.created)} from 0 to {size}" if size else ""
            actions.append(CreateReplicaSet(self.created, event))
        for uid, rs in self.working.items():
            if rs is not self.observed[uid]:
                actions.append(UpdateReplicaSet(rs, self.events.get(uid, "")))
        actions += [DeleteReplicaSet(rs) for rs in self.deletions]
        if self.status != self.before or self.annotations != annotations_of(self.d):
            updated = self._annotated(self.d, self.annotations) if self.annotations else self.d
            actions.append(UpdateStatus({**updated, "status": self.status}))
        due = st.deadline_at(self.d, self.status)
        # One second on: the condition's time is cut to the second.
        return Plan(tuple(actions), None if due is None or st.is_complete(self.d, self.status) else due + 1)


def _with_revision(history: str, revision: str) -> str:
    """The comma-separated history with one more, its oldest dropped where it would grow too long."""
    entries = [*history.split(","), revision] if history else [revision]
    while len(",".join(entries)) > model.REVISION_HISTORY_LIMIT_CHARS:
        entries.pop(0)
    return ",".join(entries)
