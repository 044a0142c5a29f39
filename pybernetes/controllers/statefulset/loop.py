"""Watches StatefulSets, pods, claims and revisions, and applies the plan one action at a time."""

from __future__ import annotations

from pybernetes.api import errors
from pybernetes.api.meta import (
    Object,
    is_deleting,
    key_of,
    labels_of,
    metadata,
    name_of,
    namespace_of,
    object_reference,
    uid_of,
)
from pybernetes.api.resources import PERSISTENTVOLUMECLAIMS, PODS, STATEFULSETS
from pybernetes.client.events import NORMAL, WARNING
from pybernetes.controllers import history
from pybernetes.controllers import pods as podstate
from pybernetes.controllers.adoption import claim_pods
from pybernetes.controllers.controller import Context, QueueController, is_namespace_terminating, updated_status
from pybernetes.controllers.freshness import Freshness
from pybernetes.controllers.podevents import OwnerEvents
from pybernetes.controllers.selection import SELECTOR_INDEX, selectors_by_pair
from pybernetes.controllers.statefulset import identity
from pybernetes.controllers.statefulset.plan import (
    CreatePod,
    DeletePod,
    EnsureClaims,
    FixLabels,
    Plan,
    next_available_at,
    plan,
)

STALE_RETRY_SECONDS = 30.0


class StatefulSetController(QueueController):
    name = "statefulset"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._sets = self.watch(STATEFULSETS)
        self._pods = self.watch(PODS)
        self._claims = self.watch(PERSISTENTVOLUMECLAIMS)
        self._sets.cache.add_index(SELECTOR_INDEX, selectors_by_pair)
        self._pods.cache.add_index(podstate.CONTROLLER_INDEX, podstate.by_controller, podstate.owners_part)
        self._written = Freshness(self._pods, context.clock)
        self._said = Freshness(self._sets, context.clock)
        self._revisions = history.RevisionKeeper(self, STATEFULSETS)
        self._sets.add_handler(self._on_set)
        self._pods.add_handler(OwnerEvents(STATEFULSETS, self._sets.cache, self.queue.add))

    def _on_set(self, old: Object | None, new: Object | None) -> None:
        obj = new or old
        assert obj is not None
        if new is None or (old is not None and uid_of(old) != uid_of(new)):
            self._forget(key_of(obj))
        self.queue.add(key_of(obj))

    def _forget(self, key: str) -> None:
        self._written.forget(key)
        self._said.forget(key)
        self._revisions.written.forget(key)

    async def reconcile(self, key: str) -> None:
        sts = self._sets.cache.get(key)
        if sts is None:
            self._forget(key)
            return
        # The status too: it says from which revision a missing pod is made.
        if not all(w.is_fresh(key) for w in (self._written, self._said, self._revisions.written)):
            self.queue.add_after(key, STALE_RETRY_SECONDS)
            return
        pods = await claim_pods(
            self.client,
            self._pods.cache,
            STATEFULSETS,
            sts,
            sts["spec"].get("selector"),
            is_member=lambda pod: identity.ordinal_of(sts, pod) is not None,
            adopt_finished=True,
        )
        try:
            revisions = await self._revisions.sync(key, sts)
        except history.Collision:
            status = {**(sts.get("status") or {})}
            status["collisionCount"] = int(status.get("collisionCount") or 0) + 1
            await self._write_status(sts, status)
            return
        known = {name_of(r): r for r in (*revisions.old, revisions.current)}
        update = name_of(revisions.current)
        current = (sts.get("status") or {}).get("currentRevision") or update
        if current not in known:
            current = update
        now = self.now()
        planned = plan(sts, pods, current, update, now)
        try:
            await self._apply(key, sts, planned, known)
        finally:
            # Also where an action failed: what is true of the pods is true of the status.
            await self._write_status(sts, planned.status)
        await self._keep_claims(sts, pods, planned)
        in_use = {labels_of(p).get(history.HASH_LABEL, "") for p in pods} | {current, update}
        await self._revisions.delete(
            key, history.surplus(revisions.old, in_use, sts["spec"].get("revisionHistoryLimit"))
        )
        due = next_available_at(sts, pods, now)
        if due is not None:
            self.queue.add_after(key, due - now)

    async def _write_status(self, sts: Object, status: Object) -> None:
        if status == (sts.get("status") or {}):
            return
        try:
            written = await self.client.update(STATEFULSETS, updated_status(sts, status), subresource="status")
        except errors.NotFound:
            return
        self._said.wrote(key_of(sts), written)

    async def _apply(self, key: str, sts: Object, planned: Plan, revisions: dict[str, Object]) -> None:
        about = object_reference(sts, "apps/v1", "StatefulSet")
        for action in planned.actions:
            match action:
                case CreatePod(ordinal, revision):
                    template = history.template_of(revisions[revision])
                    await self._create_claims(sts, ordinal, about)
                    await self._create_pod(key, sts, identity.new_pod(sts, template, revision, ordinal), about)
                case EnsureClaims(ordinal):
                    await self._create_claims(sts, ordinal, about)
                case DeletePod(pod, reason):
                    if reason:
                        kind = "failed" if reason == "RecreatingFailedPod" else "terminated"
                        text = f"StatefulSet {key} is recreating {kind} Pod {name_of(pod)}"
                        self.events.event(about, WARNING if kind == "failed" else NORMAL, reason, text)
                    await self._delete_pod(key, sts, pod, about)
                case FixLabels(pod, labels):
                    patch = {"metadata": {"uid": uid_of(pod), "labels": labels}}
                    self._written.wrote(key, await self.client.patch(PODS, name_of(pod), patch, namespace_of(pod)))

    async def _create_pod(self, key: str, sts: Object, pod: Object, about: Object) -> None:
        what = f"create Pod {name_of(pod)} in StatefulSet {name_of(sts)}"
        try:
            created = await self.client.create(PODS, pod, namespace_of(sts))
        except errors.AlreadyExists:
            raise
        except errors.ApiError as error:
            if is_namespace_terminating(error):
                return
            self.events.event(about, WARNING, "FailedCreate", f"{what} failed error: {error.message}")
            raise
        self._written.wrote(key, created)
        self.events.event(about, NORMAL, "SuccessfulCreate", f"{what} successful")

    async def _delete_pod(self, key: str, sts: Object, pod: Object, about: Object) -> None:
        what = f"delete Pod {name_of(pod)} in StatefulSet {name_of(sts)}"
        try:
            await self.client.delete(PODS, name_of(pod), namespace_of(pod), uid=uid_of(pod))
        except errors.NotFound:
            return
        except errors.ApiError as error:
            self.events.event(about, WARNING, "FailedDelete", f"{what} failed error: {error.message}")
            raise
        self._written.deleted(key, pod)
        self.events.event(about, NORMAL, "SuccessfulDelete", f"{what} successful")

    async def _create_claims(self, sts: Object, ordinal: int, about: Object) -> None:
        pod_name = f"{name_of(sts)}-{ordinal}"
        for claim in identity.claims(sts, ordinal):
            if key_of(claim) in self._claims.cache:
                continue
            what = f"create Claim {name_of(claim)} Pod {pod_name} in StatefulSet {name_of(sts)}"
            try:
                await self.client.create(PERSISTENTVOLUMECLAIMS, claim, namespace_of(sts))
            except errors.AlreadyExists:
                continue
            except errors.ApiError as error:
                if is_namespace_terminating(error):
                    return
                self.events.event(about, WARNING, "FailedCreate", f"{what} failed error: {error.message}")
                raise
            self.events.event(about, NORMAL, "SuccessfulCreate", f"{what} success")

    async def _keep_claims(self, sts: Object, pods: list[Object], planned: Plan) -> None:
        """Writes the claims' owners as the retention policy wants them."""
        if not identity.claim_templates(sts) or is_deleting(sts):
            return
        condemned = {uid_of(p) for p in planned.condemned}
        for pod in pods:
            ordinal = identity.ordinal_of(sts, pod)
            assert ordinal is not None
            for template in identity.claim_templates(sts):
                claim = self._claims.cache.get(f"{namespace_of(sts)}/{identity.claim_name(sts, template, ordinal)}")
                if claim is None:
                    continue
                owners = identity.wanted_claim_owners(sts, pod, claim, condemned=uid_of(pod) in condemned)
                if owners is None:
                    continue
                try:
                    await self.client.update(
                        PERSISTENTVOLUMECLAIMS,
                        {**claim, "metadata": {**metadata(claim), "ownerReferences": owners}},
                    )
                except errors.NotFound:
                    continue
