"""Watches ReplicaSets (or ReplicationControllers) and their pods, and applies the plan.

Handlers add the owner's key; one key is worked on by one worker. Between creations and the moment the pod informer
shows them, a key only has its status written (`Freshness`).
"""

from __future__ import annotations

from pybernetes.api import errors
from pybernetes.api.meta import (
    Object,
    controller_of,
    key_of,
    name_of,
    namespace_of,
    new_controller_ref,
    object_reference,
    uid_of,
)
from pybernetes.api.resources import PODS
from pybernetes.client.events import NORMAL, WARNING
from pybernetes.client.informer import by_owner_uid
from pybernetes.controllers import pods as podstate
from pybernetes.controllers.adoption import claim_pods
from pybernetes.controllers.batches import all_at_once, slow_start
from pybernetes.controllers.controller import Context, QueueController, is_namespace_terminating, updated_status
from pybernetes.controllers.freshness import Freshness
from pybernetes.controllers.podevents import OwnerEvents
from pybernetes.controllers.replicaset.plan import (
    REPLICA_SET,
    REPLICATION_CONTROLLER,
    Flavor,
    new_pod,
    next_available_at,
    plan_scaling,
    plan_status,
)
from pybernetes.controllers.selection import SELECTOR_INDEX, selectors_by_pair

OWNER_INDEX = "controllers/owner"
STALE_RETRY_SECONDS = 30.0


class ReplicaController(QueueController):
    """Keeps as many pods as each object of its flavor asks for."""

    flavor: Flavor

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.name = self.flavor.resource.singular
        self._sets = self.watch(self.flavor.resource)
        self._pods = self.watch(PODS)
        self._sets.cache.add_index(SELECTOR_INDEX, selectors_by_pair)
        self._sets.cache.add_index(OWNER_INDEX, by_owner_uid)
        self._pods.cache.add_index(podstate.CONTROLLER_INDEX, podstate.by_controller, podstate.owners_part)
        self._written = Freshness(self._pods, context.clock)
        self._sets.add_handler(self._on_set)
        self._pods.add_handler(OwnerEvents(self.flavor.resource, self._sets.cache, self.queue.add))

    def _on_set(self, old: Object | None, new: Object | None) -> None:
        obj = new or old
        assert obj is not None
        if new is None or (old is not None and uid_of(old) != uid_of(new)):
            self._written.forget(key_of(obj))
        self.queue.add(key_of(obj))

    async def reconcile(self, key: str) -> None:
        rs = self._sets.cache.get(key)
        if rs is None:
            self._written.forget(key)
            return
        fresh = self._written.is_fresh(key)
        if not fresh:
            self.queue.add_after(key, STALE_RETRY_SECONDS)
        owned = await claim_pods(self.client, self._pods.cache, self.flavor.resource, rs, self.flavor.selector(rs))
        active = [p for p in owned if podstate.is_active(p)]
        failure: tuple[str, str] | None = None
        error: errors.ApiError | None = None
        if fresh:
            scaling = plan_scaling(rs, active, lambda: self._related(rs), self.now())
            if scaling.create:
                error = await self._create(key, rs, scaling.create)
            elif scaling.delete:
                error = await self._delete(key, rs, list(scaling.delete))
            if error is not None:
                reason = "FailedCreate" if scaling.create else "FailedDelete"
                failure = (reason, error.message)
        now = self.now()
        terminating = sum(1 for p in owned if podstate.is_terminating(p))
        status = plan_status(self.flavor, rs, active, terminating, failure, now)
        if status != (rs.get("status") or {}):
            try:
                await self.client.update(self.flavor.resource, updated_status(rs, status), subresource="status")
            except errors.NotFound:
                return
        if error is not None:
            raise error
        due = next_available_at(rs, active, now)
        if due is not None:
            self.queue.add_after(key, due - now)

    def _related(self, rs: Object) -> list[Object]:
        """The pods of all ReplicaSets with this one's controller."""
        ref = controller_of(rs)
        siblings = [rs]
        if ref is not None:
            siblings = [
                s
                for s in self._sets.cache.by_index(OWNER_INDEX, ref["uid"])
                if (controller_of(s) or {}).get("uid") == ref["uid"]
            ]
        return [p for s in siblings for p in self._pods.cache.by_index(podstate.CONTROLLER_INDEX, uid_of(s))]

    async def _create(self, key: str, rs: Object, count: int) -> errors.ApiError | None:
        about = object_reference(rs, self.flavor.api_version, self.flavor.kind)
        ref = new_controller_ref(rs, self.flavor.api_version, self.flavor.kind)

        async def create(_: int) -> None:
            try:
                created = await self.client.create(PODS, new_pod(rs, ref), namespace_of(rs))
            except errors.ApiError as error:
                if is_namespace_terminating(error):
                    return
                self.events.event(about, WARNING, "FailedCreate", f"Error creating: {error.message}")
                raise
            self._written.wrote(key, created)
            self.events.event(about, NORMAL, "SuccessfulCreate", f"Created pod: {name_of(created)}")

        _, error = await slow_start(list(range(count)), create)
        return error

    async def _delete(self, key: str, rs: Object, pods: list[Object]) -> errors.ApiError | None:
        about = object_reference(rs, self.flavor.api_version, self.flavor.kind)

        async def delete(pod: Object) -> None:
            try:
                await self.client.delete(PODS, name_of(pod), namespace_of(pod), uid=uid_of(pod))
            except (errors.NotFound, errors.Conflict):
                # Gone already, or another pod of that name: the watch will tell.
                return
            except errors.ApiError as error:
                self.events.event(about, WARNING, "FailedDelete", f"Error deleting: {error.message}")
                raise
            self._written.deleted(key, pod)
            self.events.event(about, NORMAL, "SuccessfulDelete", f"Deleted pod: {name_of(pod)}")

        return await all_at_once(pods, delete)


class ReplicaSetController(ReplicaController):
    flavor = REPLICA_SET


class ReplicationControllerController(ReplicaController):
    flavor = REPLICATION_CONTROLLER
