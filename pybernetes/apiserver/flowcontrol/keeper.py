"""Keeps the default configuration of flow control in the API, and the conditions of FlowSchemas.

The two mandatory levels and schemas always are as `policy` has them. The suggested ones are created where they are
missing, and brought back to the default while the annotation ``apf.kubernetes.io/autoupdate-spec`` says so: whoever
sets it to ``false``, or changed an object that does not have it, has it his way. Source: the page of flow control,
"Maintenance of the Mandatory and Suggested Configuration Objects", and upstream's ``pkg/apis/flowcontrol/ensurer``.

`plan` is pure. `reconcile` carries it out once; `PolicyKeeper.run` does whenever something changes, until cancelled.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import structlog

from pybernetes.api import errors
from pybernetes.api.kinds.registry import strategy_for
from pybernetes.api.meta import Object, clone, name_of
from pybernetes.api.resources import FLOWSCHEMAS, PRIORITYLEVELCONFIGURATIONS, Resource
from pybernetes.api.time import format_time
from pybernetes.apiserver.flowcontrol import policy
from pybernetes.apiserver.interfaces import ObservableReader
from pybernetes.client.interface import Client
from pybernetes.lib.clock import Clock

_AUTOUPDATE = policy.AUTOUPDATE
_RETRY_SECONDS = (0.1, 1.0, 5.0, 30.0)
_PARALLEL_WRITES = 16

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Create:
    resource: Resource
    obj: Object


@dataclass(frozen=True, slots=True)
class Update:
    resource: Resource
    obj: Object


@dataclass(frozen=True, slots=True)
class Delete:
    """A default of an earlier version that is none any more."""

    resource: Resource
    obj: Object


@dataclass(frozen=True, slots=True)
class SetCondition:
    """Says of a FlowSchema whether its level exists."""

    obj: Object


Action = Create | Update | Delete | SetCondition


def plan(levels: Iterable[Object], schemas: Iterable[Object], now: float) -> list[Action]:
    """What to do so that the stored objects are as they should be."""
    actions: list[Action] = []
    stored_levels, stored_schemas = _by_name(levels), _by_name(schemas)
    wanted_levels = _by_name(_defaulted(PRIORITYLEVELCONFIGURATIONS, policy.priority_levels()))
    wanted_schemas = _by_name(_defaulted(FLOWSCHEMAS, policy.flow_schemas()))
    for resource, stored, wanted in (
        (PRIORITYLEVELCONFIGURATIONS, stored_levels, wanted_levels),
        (FLOWSCHEMAS, stored_schemas, wanted_schemas),
    ):
        for name, default in wanted.items():
            have = stored.get(name)
            if have is None:
                actions.append(Create(resource, default))
            elif (changed := _brought_back(have, default)) is not None:
                actions.append(Update(resource, changed))
        actions += [Delete(resource, o) for name, o in stored.items() if name not in wanted and _annotated(o) == "true"]
    there = wanted_levels.keys() | stored_levels.keys()
    for schema in stored_schemas.values():
        if (told := _with_condition(schema, there, now)) is not None:
            actions.append(SetCondition(told))
    return actions


def _by_name(objects: Iterable[Object]) -> dict[str, Object]:
    return {name_of(o): o for o in objects}


def _defaulted(resource: Resource, objects: Iterable[Object]) -> Iterable[Object]:
    strategy = strategy_for(resource)
    for obj in objects:
        strategy.default(obj)
        yield obj


def _annotated(obj: Object) -> str:
    value: str = (obj["metadata"].get("annotations") or {}).get(_AUTOUPDATE) or ""
    return value


def _brought_back(have: Object, default: Object) -> Object | None:
    """The object as it should be, None where it is so."""
    said = _annotated(have)
    mandatory = name_of(have) in policy.MANDATORY
    if mandatory:
        automatic = True
    elif said in ("true", "false"):
        automatic = said == "true"
    else:
        # Nobody said: it is the default's as long as nobody has changed it.
        automatic = have["metadata"].get("generation") == 1
    annotation = "true" if automatic else "false"
    same_spec = not automatic or have.get("spec") == default["spec"]
    if same_spec and said == annotation:
        return None
    changed: Object = clone(have)
    meta = changed["metadata"]
    meta["annotations"] = {**(meta.get("annotations") or {}), _AUTOUPDATE: annotation}
    if not same_spec:
        changed["spec"] = default["spec"]
    return changed


def _with_condition(schema: Object, levels: Iterable[str], now: float) -> Object | None:
    """The FlowSchema with a true Dangling condition, None where it has it."""
    level = ((schema.get("spec") or {}).get("priorityLevelConfiguration") or {}).get("name") or ""
    text = f'This FlowSchema references the PriorityLevelConfiguration object named "{level}" '
    if level in levels:
        status, reason, message = "False", "Found", text + "and it exists"
    else:
        status, reason, message = "True", "NotFound", text + "but there is no such object"
    conditions = list((schema.get("status") or {}).get("conditions") or ())
    old: Object = next((c for c in conditions if c.get("type") == "Dangling"), {})
    if old.get("status") == status and old.get("reason") == reason and old.get("message") == message:
        return None
    since = old.get("lastTransitionTime") if old.get("status") == status else format_time(now)
    new = {"type": "Dangling", "status": status, "lastTransitionTime": since, "reason": reason, "message": message}
    changed: Object = clone(schema)
    changed["status"] = {"conditions": [*(c for c in conditions if c.get("type") != "Dangling"), new]}
    return changed


async def reconcile(client: Client, clock: Clock) -> None:
    """Makes the configuration true, as the API has it now. Raises `ApiError`."""
    for _ in range(2):
        # The second time for the conditions of what the first has created.
        listed = [(await client.list(r)).items for r in (PRIORITYLEVELCONFIGURATIONS, FLOWSCHEMAS)]
        if not await carry_out(client, plan(listed[0], listed[1], clock.now())):
            return


async def carry_out(client: Client, actions: Sequence[Action]) -> bool:
    """Whether there was anything to do. An object that changed or went meanwhile is left for the next time."""
    limit = asyncio.Semaphore(_PARALLEL_WRITES)

    async def one(action: Action) -> None:
        async with limit:
            try:
                match action:
                    case Create(resource, obj):
                        await client.create(resource, obj)
                    case Update(resource, obj):
                        await client.update(resource, obj)
                    case Delete(resource, obj):
                        await client.delete(resource, name_of(obj), uid=obj["metadata"]["uid"])
                    case SetCondition(obj):
                        await client.update(FLOWSCHEMAS, obj, subresource="status")
            except (errors.AlreadyExists, errors.Conflict, errors.NotFound) as error:
                log.debug("changed meanwhile", error=error.message)

    async with asyncio.TaskGroup() as group:
        for action in actions:
            group.create_task(one(action))
    return bool(actions)


class PolicyKeeper:
    """Keeps the configuration true: `run` until cancelled."""

    def __init__(self, client: Client, reader: ObservableReader, clock: Clock) -> None:
        self._client = client
        self._reader = reader
        self._clock = clock
        self._changed = asyncio.Event()

    async def run(self) -> None:
        """A failed write is tried again with back-off. Cancellation leaves nothing."""
        resources = (PRIORITYLEVELCONFIGURATIONS, FLOWSCHEMAS)
        unsubscribe: list[Callable[[], None]] = [self._reader.subscribe(r, self._note) for r in resources]
        try:
            failures = 0
            while True:
                await self._changed.wait()
                self._changed.clear()
                levels, schemas = (self._reader.list(r) for r in resources)
                try:
                    await carry_out(self._client, plan(levels, schemas, self._clock.now()))
                    failures = 0
                except* errors.ApiError as group:
                    log.warning("flow control's configuration could not be kept", error=str(group.exceptions[0]))
                    failures += 1
                if failures:
                    await self._clock.sleep(_RETRY_SECONDS[min(failures, len(_RETRY_SECONDS)) - 1])
                    self._changed.set()
        finally:
            for stop in unsubscribe:
                stop()

    def _note(self, old: Mapping[str, object] | None, new: Mapping[str, object] | None) -> None:
        self._changed.set()
