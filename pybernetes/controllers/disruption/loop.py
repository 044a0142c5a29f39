"""Watches PodDisruptionBudgets, pods and their controllers, and keeps the budgets' status true."""

from __future__ import annotations

from pybernetes.api import errors
from pybernetes.api.meta import (
    Object,
    controller_of,
    key_of,
    labels_of,
    name_of,
    namespace_of,
    object_reference,
    uid_of,
)
from pybernetes.api.resources import (
    DEPLOYMENTS,
    PODDISRUPTIONBUDGETS,
    PODS,
    REPLICASETS,
    REPLICATIONCONTROLLERS,
    STATEFULSETS,
    Resource,
)
from pybernetes.api.selectors import from_label_selector
from pybernetes.api.time import format_time
from pybernetes.client.events import NORMAL, WARNING
from pybernetes.controllers.controller import Context, QueueController, updated_status
from pybernetes.controllers.disruption.plan import Scale, failed, needs_scale, plan, stale_condition_at
from pybernetes.controllers.selection import (
    POD_LABEL_INDEX,
    SELECTOR_INDEX,
    labels_part,
    pods_by_label,
    selected,
    selecting,
    selectors_by_pair,
)

_STALE = "stale:"
_UNMANAGED = (
    "Pods selected by this PodDisruptionBudget (selector: {selector}) were found to be unmanaged. As a result, the "
    "status of the PDB cannot be calculated correctly, which may result in undefined behavior. To account for these "
    'pods please set ".spec.minAvailable" field of the PDB to an integer value.'
)


class CannotTell(Exception):
    """The scale of a pod's controller cannot be found out."""


class DisruptionController(QueueController):
    name = "disruption"
    workers = 2

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._budgets = self.watch(PODDISRUPTIONBUDGETS)
        self._pods = self.watch(PODS)
        self._budgets.cache.add_index(SELECTOR_INDEX, selectors_by_pair)
        self._pods.cache.add_index(POD_LABEL_INDEX, pods_by_label, labels_part)
        self._scaled = {r: self.watch(r) for r in (REPLICASETS, DEPLOYMENTS, STATEFULSETS, REPLICATIONCONTROLLERS)}
        self._budgets.add_handler(self._on_budget)
        self._pods.add_handler(self._on_pod)
        for informer in self._scaled.values():
            informer.add_handler(self._on_scaled)

    def _on_budget(self, old: Object | None, new: Object | None) -> None:
        obj = new or old
        assert obj is not None
        self.queue.add(key_of(obj))

    def _on_pod(self, old: Object | None, new: Object | None) -> None:
        for pod in (old, new):
            if pod is not None and (pod is new or new is None or labels_of(pod) != labels_of(new)):
                for budget in selecting(self._budgets.cache, namespace_of(pod), labels_of(pod)):
                    self.queue.add(key_of(budget))
        if new is not None and (due := stale_condition_at(new)) is not None:
            self.queue.add_after(_STALE + key_of(new), max(0.1, due - self.now()))

    def _on_scaled(self, old: Object | None, new: Object | None) -> None:
        if old is None or new is None or old["spec"].get("replicas") == new["spec"].get("replicas"):
            return
        template = new["spec"].get("template") or {}
        for budget in selecting(self._budgets.cache, namespace_of(new), labels_of(template)):
            self.queue.add(key_of(budget))

    async def reconcile(self, key: str) -> None:
        if key.startswith(_STALE):
            await self._take_back(key)
            return
        pdb = self._budgets.cache.get(key)
        if pdb is None:
            return
        about = object_reference(pdb, "policy/v1", "PodDisruptionBudget")
        pods = selected(self._pods.cache, namespace_of(pdb), pdb["spec"].get("selector"))
        if not pods:
            self.events.event(about, NORMAL, "NoPods", "No matching pods found")
        now = self.now()
        scale: Scale | CannotTell | errors.ApiError = Scale(0)
        if needs_scale(pdb):
            try:
                scale = await self._scale(pods)
            except (CannotTell, errors.ApiError) as error:
                scale = error
            if isinstance(scale, Scale) and scale.unmanaged:
                selector = str(from_label_selector(pdb["spec"].get("selector")))
                self.events.event(about, WARNING, "UnmanagedPods", _UNMANAGED.format(selector=selector))

        def wanted() -> Scale:
            if isinstance(scale, Scale):
                return scale
            raise scale

        try:
            planned = plan(pdb, pods, wanted, now)
            status = planned.status
            if planned.check_again_at is not None:
                self.queue.add_after(key, max(0.1, planned.check_again_at - now))
        except (CannotTell, errors.ApiError, ValueError) as error:
            text = f"Failed to calculate the number of expected pods: {error}"
            self.events.event(about, WARNING, "CalculateExpectedPodCountFailed", text)
            status = failed(pdb, str(error), now)
        if status == (pdb.get("status") or {}):
            return
        try:
            await self.client.update(PODDISRUPTIONBUDGETS, updated_status(pdb, status), subresource="status")
        except errors.NotFound:
            return

    async def _scale(self, pods: list[Object]) -> Scale:
        """The sum of what the pods' controllers want, each counted once. Raises `CannotTell`, ApiError."""
        wanted: dict[str, int] = {}
        unmanaged = 0
        for pod in pods:
            ref = controller_of(pod)
            if ref is None:
                unmanaged += 1
            elif ref["uid"] not in wanted:
                uid, replicas = await self._replicas(namespace_of(pod), ref)
                wanted[ref["uid"]] = 0
                wanted[uid] = replicas
        return Scale(sum(wanted.values()), unmanaged)

    async def _replicas(self, namespace: str, ref: Object) -> tuple[str, int]:
        """(uid of the controller at the top, how many pods it wants)."""
        resource = self.context.catalog.by_kind(str(ref.get("apiVersion")), str(ref.get("kind")))
        informer = self._scaled.get(resource) if resource is not None else None
        if informer is not None:
            obj = informer.cache.get(f"{namespace}/{ref['name']}")
            if obj is None or uid_of(obj) != ref["uid"]:
                # Just gone: it wants nothing any more.
                return str(ref["uid"]), 0
            above = controller_of(obj)
            if resource == REPLICASETS and above is not None and above.get("kind") == "Deployment":
                return await self._replicas(namespace, above)
            replicas = obj["spec"].get("replicas")
            return uid_of(obj), 1 if replicas is None else int(replicas)
        if resource is None:
            raise CannotTell(f'no matches for kind "{ref.get("kind")}" in version "{ref.get("apiVersion")}"')
        return await self._replicas_by_scale(resource, namespace, ref)

    async def _replicas_by_scale(self, resource: Resource, namespace: str, ref: Object) -> tuple[str, int]:
        try:
            scale = await self.client.get(resource, str(ref["name"]), namespace, subresource="scale")
        except errors.NotFound as error:
            raise CannotTell(f"{resource.group_resource} does not implement the scale subresource") from error
        return str(ref["uid"]), int((scale.get("spec") or {}).get("replicas") or 0)

    async def _take_back(self, key: str) -> None:
        pod = self._pods.cache.get(key.removeprefix(_STALE))
        due = stale_condition_at(pod) if pod is not None else None
        if pod is None or due is None:
            return
        now = self.now()
        if due > now:
            self.queue.add_after(key, due - now)
            return
        condition = {"type": "DisruptionTarget", "status": "False", "lastTransitionTime": format_time(now)}
        patch = {"metadata": {"uid": uid_of(pod)}, "status": {"conditions": [condition]}}
        try:
            await self.client.patch(PODS, name_of(pod), patch, namespace_of(pod), subresource="status")
        except errors.NotFound:
            return
