"""Watches Deployments, their ReplicaSets and (for Recreate) the end of pods, and applies the plan.

A key is planned only when the ReplicaSet informer shows the last writes made for it, so that no bound of a roll-out
is judged by old sizes.
"""

from __future__ import annotations

from pybernetes.api import errors
from pybernetes.api.meta import (
    Object,
    controller_of,
    key_of,
    labels_of,
    metadata,
    name_of,
    namespace_of,
    new_controller_ref,
    object_reference,
    uid_of,
)
from pybernetes.api.resources import DEPLOYMENTS, PODS, REPLICASETS
from pybernetes.client.events import NORMAL, WARNING
from pybernetes.controllers import pods as podstate
from pybernetes.controllers.adoption import may_adopt
from pybernetes.controllers.claims import plan_claims, with_owner
from pybernetes.controllers.controller import Context, QueueController, is_namespace_terminating
from pybernetes.controllers.deployment import model
from pybernetes.controllers.deployment.plan import (
    CreateReplicaSet,
    DeleteReplicaSet,
    UpdateReplicaSet,
    UpdateStatus,
    collision,
    create_failed,
    plan,
)
from pybernetes.controllers.freshness import Freshness
from pybernetes.controllers.podevents import OwnerEvents
from pybernetes.controllers.selection import SELECTOR_INDEX, is_empty, matcher, selectors_by_pair

STALE_RETRY_SECONDS = 30.0


class DeploymentController(QueueController):
    name = "deployment"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._deployments = self.watch(DEPLOYMENTS)
        self._sets = self.watch(REPLICASETS)
        self._pods = self.watch(PODS)
        self._deployments.cache.add_index(SELECTOR_INDEX, selectors_by_pair)
        self._sets.cache.add_index(podstate.CONTROLLER_INDEX, podstate.by_controller, podstate.owners_part)
        self._pods.cache.add_index(podstate.CONTROLLER_INDEX, podstate.by_controller, podstate.owners_part)
        self._written = Freshness(self._sets, context.clock)
        self._deployments.add_handler(self._on_deployment)
        self._events_of_sets = OwnerEvents(DEPLOYMENTS, self._deployments.cache, self.queue.add)
        self._sets.add_handler(self._events_of_sets)
        self._pods.add_handler(self._on_pod)

    def _on_deployment(self, old: Object | None, new: Object | None) -> None:
        obj = new or old
        assert obj is not None
        if new is None or (old is not None and uid_of(old) != uid_of(new)):
            self._written.forget(key_of(obj))
        self.queue.add(key_of(obj))

    def _on_pod(self, old: Object | None, new: Object | None) -> None:
        # Recreate waits for the old pods' end; nothing else here depends on pods.
        if old is None or not (new is None or podstate.is_terminal(new)):
            return
        ref = controller_of(old)
        if ref is None or ref.get("kind") != "ReplicaSet":
            return
        rs = self._sets.cache.get(f"{namespace_of(old)}/{ref['name']}")
        key = self._events_of_sets.owner_key(rs) if rs is not None and uid_of(rs) == ref.get("uid") else None
        d = self._deployments.cache.get(key) if key is not None else None
        if d is not None and not model.is_rolling_update(d):
            self.queue.add(key_of(d))

    async def reconcile(self, key: str) -> None:
        d = self._deployments.cache.get(key)
        if d is None:
            self._written.forget(key)
            return
        if is_empty(d["spec"].get("selector")):
            await self._refuse(d)
            return
        if not self._written.is_fresh(key):
            self.queue.add_after(key, STALE_RETRY_SECONDS)
            return
        sets = await self._claim(key, d)
        pods = {} if model.is_rolling_update(d) else {uid_of(rs): self._pods_of(rs) for rs in sets}
        now = self.now()
        planned = plan(d, sets, pods, now)
        about = object_reference(d, "apps/v1", "Deployment")
        for action in planned.actions:
            match action:
                case CreateReplicaSet():
                    if not await self._create(key, d, action, about):
                        return
                case UpdateReplicaSet(obj, event):
                    self._written.wrote(key, await self.client.update(REPLICASETS, obj))
                    if event:
                        self.events.event(about, NORMAL, "ScalingReplicaSet", event)
                case DeleteReplicaSet(obj):
                    await self._delete(key, obj)
                case UpdateStatus(obj):
                    await self._write_status(obj)
        if planned.check_again_at is not None:
            self.queue.add_after(key, max(1.0, planned.check_again_at - now))

    def _pods_of(self, rs: Object) -> list[Object]:
        return self._pods.cache.by_index(podstate.CONTROLLER_INDEX, uid_of(rs))

    async def _refuse(self, d: Object) -> None:
        self.events.event(
            object_reference(d, "apps/v1", "Deployment"),
            WARNING,
            "SelectingAll",
            "This deployment is selecting all pods. A non-empty selector is required.",
        )
        generation = metadata(d).get("generation")
        status = d.get("status") or {}
        if int(status.get("observedGeneration") or 0) < int(generation or 0):
            await self._write_status({**d, "status": {**status, "observedGeneration": generation}})

    async def _write_status(self, obj: Object) -> None:
        try:
            await self.client.update(DEPLOYMENTS, obj, subresource="status")
        except errors.NotFound:
            # Deleted in between: nobody reads its status any more.
            return

    async def _claim(self, key: str, d: Object) -> list[Object]:
        """The ReplicaSets that are ours, after adopting and releasing."""
        cache = self._sets.cache
        matches = matcher(d["spec"].get("selector"))
        orphans = [
            rs
            for rs in cache.by_index(podstate.CONTROLLER_INDEX, f"orphans/{namespace_of(d)}")
            if matches(labels_of(rs))
        ]
        claims = plan_claims(d, [*cache.by_index(podstate.CONTROLLER_INDEX, uid_of(d)), *orphans], matches)
        owned = list(claims.owned)
        for release in claims.release:
            try:
                rs = await self.client.patch(
                    REPLICASETS, name_of(release.obj), release.patch(), namespace_of(release.obj)
                )
            except (errors.NotFound, errors.Invalid):
                continue
            self._written.wrote(key, rs)
        if claims.adopt and await may_adopt(self.client, DEPLOYMENTS, d):
            ref = new_controller_ref(d, "apps/v1", "Deployment")
            for adopt in claims.adopt:
                try:
                    rs = await self.client.patch(
                        REPLICASETS, name_of(adopt.obj), adopt.patch(ref), namespace_of(adopt.obj)
                    )
                except errors.NotFound:
                    continue
                self._written.wrote(key, rs)
                owned.append(rs if metadata(rs).get("uid") else with_owner(adopt.obj, ref))
        return owned

    async def _create(self, key: str, d: Object, action: CreateReplicaSet, about: Object) -> bool:
        """Whether the new ReplicaSet is there and the pass may go on."""
        wanted = action.obj
        try:
            created = await self.client.create(REPLICASETS, wanted, namespace_of(d))
        except errors.AlreadyExists:
            try:
                existing = await self.client.get(REPLICASETS, name_of(wanted), namespace_of(d))
            except errors.NotFound:
                self.queue.add_rate_limited(key)
                return False
            owner = controller_of(existing)
            if (
                owner is not None
                and owner.get("uid") == uid_of(d)
                and model.same_template(existing["spec"]["template"], d["spec"]["template"])
            ):
                # Ours, made by a pass whose answer was lost.
                self._written.wrote(key, existing)
                self.queue.add(key)
                return False
            await self._write_status(collision(d).obj)
            return False
        except errors.ApiError as error:
            if is_namespace_terminating(error):
                return False
            message, update = create_failed(d, name_of(wanted), error.message, self.now())
            self.events.event(about, WARNING, "ReplicaSetCreateError", message)
            if update is not None:
                await self._write_status(update.obj)
            raise
        self._written.wrote(key, created)
        if action.event:
            self.events.event(about, NORMAL, "ScalingReplicaSet", action.event)
        return True

    async def _delete(self, key: str, rs: Object) -> None:
        try:
            await self.client.delete(REPLICASETS, name_of(rs), namespace_of(rs), uid=uid_of(rs))
        except errors.NotFound:
            return
        self._written.deleted(key, rs)
