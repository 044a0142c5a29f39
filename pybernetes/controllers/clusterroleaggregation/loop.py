"""Watches ClusterRoles and keeps the aggregated ones true."""

from __future__ import annotations

from pybernetes.api import errors
from pybernetes.api.meta import Object, labels_of, name_of
from pybernetes.api.resources import CLUSTERROLES
from pybernetes.controllers.clusterroleaggregation.plan import aggregated_rules, is_aggregated
from pybernetes.controllers.controller import Context, QueueController

AGGREGATED_INDEX = "controllers/aggregated"


def by_aggregated(role: Object) -> list[str]:
    return ["yes"] if is_aggregated(role) else []


class ClusterRoleAggregationController(QueueController):
    name = "clusterroleaggregation"
    workers = 2

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._roles = self.watch(CLUSTERROLES)
        self._roles.cache.add_index(AGGREGATED_INDEX, by_aggregated)
        self._roles.add_handler(self._on_role)

    def _on_role(self, old: Object | None, new: Object | None) -> None:
        if old is not None and new is not None and _traits(old) == _traits(new):
            return
        for role in self._roles.cache.by_index(AGGREGATED_INDEX, "yes"):
            self.queue.add(name_of(role))

    async def reconcile(self, key: str) -> None:
        role = self._roles.cache.get(key)
        if role is None or not is_aggregated(role):
            return
        rules = aggregated_rules(role, self._roles.cache)
        if rules == (role.get("rules") or []):
            return
        try:
            await self.client.update(CLUSTERROLES, {**role, "rules": rules})
        except errors.NotFound:
            return


def _traits(role: Object) -> object:
    """What aggregation depends on."""
    return labels_of(role), role.get("rules"), role.get("aggregationRule")
