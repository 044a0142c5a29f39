"""Flow control as it is now, in tables for people: ``/debug/api_priority_and_fairness/dump_…``.

Paths, columns and layout are those of the page "Flow control" (https://kubernetes.io/docs/reference/debug-cluster/).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from pybernetes.api.time import format_micro_time
from pybernetes.apiserver.endpoints import Endpoints
from pybernetes.apiserver.flowcontrol.control import Flow, FlowControl
from pybernetes.apiserver.flowcontrol.seats import GUESSED_SECONDS, Level, Waiter
from pybernetes.apiserver.interfaces import RequestInfo
from pybernetes.apiserver.replies import Reply, text_reply
from pybernetes.apiserver.requests import Request

PREFIX = "/debug/api_priority_and_fairness/"

_CELL_WIDTH_MIN = 8
_NEVER = "0001-01-01T00:00:00Z"
_LEVEL_COLUMNS = (
    "PriorityLevelName", "ActiveQueues", "IsIdle", "IsQuiescing", "WaitingRequests", "ExecutingRequests",
    "DispatchedRequests", "RejectedRequests", "TimedoutRequests", "CancelledRequests",
)  # fmt: skip
_QUEUE_COLUMNS = (
    "PriorityLevelName", "Index", "PendingRequests", "ExecutingRequests", "SeatsInUse", "NextDispatchR",
    "InitialSeatsSum", "MaxSeatsSum", "TotalWorkSum",
)  # fmt: skip
_REQUEST_COLUMNS = (
    "PriorityLevelName", "FlowSchemaName", "QueueIndex", "RequestIndexInQueue", "FlowDistingsher", "ArriveTime",
    "InitialSeats", "FinalSeats", "AdditionalLatency", "StartTime",
)  # fmt: skip
_DETAIL_COLUMNS = ("UserName", "Verb", "APIPath", "Namespace", "Name", "APIVersion", "Resource", "SubResource")


@dataclass(frozen=True, slots=True)
class Asked:
    """A request under way that has a class. `seats` is 0 while it waits; `arrived` is a time of day."""

    info: RequestInfo
    flow: Flow
    seats: int
    arrived: float
    waiter: Waiter | None


def install(endpoints: Endpoints, control: FlowControl, under_way: Callable[[], Sequence[Asked]]) -> None:
    async def dump_levels(info: RequestInfo, request: Request) -> Reply:
        return text_reply(priority_levels(control, under_way()))

    async def dump_queues(info: RequestInfo, request: Request) -> Reply:
        return text_reply(queues(control))

    async def dump_requests(info: RequestInfo, request: Request) -> Reply:
        details = bool(info.query.get("includeRequestDetails"))
        return text_reply(requests(control, under_way(), details=details))

    endpoints.add(PREFIX + "dump_priority_levels", dump_levels)
    endpoints.add(PREFIX + "dump_queues", dump_queues)
    endpoints.add(PREFIX + "dump_requests", dump_requests)


def priority_levels(control: FlowControl, requests: Iterable[Asked]) -> str:
    executing: dict[str, int] = {}
    for request in requests:
        if request.seats:
            executing[request.flow.level.name] = executing.get(request.flow.level.name, 0) + 1
    rows = []
    for name, level in sorted(control.pool.levels.items()):
        dispatched = sum(s.dispatched for s in control.schemas if s.level is level)
        rejected = {"queue-full": 0, "concurrency-limit": 0, "time-out": 0, "cancelled": 0}
        for (of_level, _, reason), count in control.rejected.items():
            if of_level == name:
                rejected[reason] += count
        active = sum(1 for q in level.queues() if q.waiters)
        gone = rejected["queue-full"] + rejected["concurrency-limit"]
        rows.append(
            (
                name, active, _flag(level.idle()), _flag(name not in control.wanted), level.waiting,
                executing.get(name, 0), dispatched, gone, rejected["time-out"], rejected["cancelled"],
            )
        )  # fmt: skip
    return _table(_LEVEL_COLUMNS, rows)


def queues(control: FlowControl) -> str:
    """Of queues that are in use: the others are not there."""
    rows = []
    for name, level in sorted(control.pool.levels.items()):
        for queue in sorted(level.queues(), key=lambda q: q.number):
            seats = sum(w.width for w in queue.waiters)
            work = f"{seats * GUESSED_SECONDS:.8f}ss"
            executing = queue.executing
            progress = f"{queue.served:.8f}ss"
            rows.append((name, queue.number, len(queue.waiters), executing, executing, progress, seats, seats, work))
    return _table(_QUEUE_COLUMNS, rows)


def requests(control: FlowControl, under_way: Iterable[Asked], *, details: bool) -> str:
    rows = []
    for request in under_way:
        flow, level, waiter = request.flow, request.flow.level, request.waiter
        queue = waiter.queue.number if waiter is not None else -1
        index = _place(level, waiter) if waiter is not None and not request.seats else -1
        width = request.seats or (waiter.width if waiter is not None else 1)
        arrived = format_micro_time(request.arrived)
        started = arrived if request.seats else _NEVER
        row: list[object] = [
            level.name, flow.schema.name, queue, index, flow.distinguisher, arrived, width, 0, "0s", started,
        ]  # fmt: skip
        if details:
            info, resource = request.info, request.info.resource
            row += [info.user.name, info.verb, info.path, info.namespace, info.name]
            row += [resource.version, resource.plural, info.subresource] if resource is not None else ["", "", ""]
        rows.append(row)
    rows.sort(key=lambda r: (str(r[0]), str(r[1])))
    return _table((*_REQUEST_COLUMNS, *_DETAIL_COLUMNS) if details else _REQUEST_COLUMNS, rows)


def _place(level: Level, waiter: Waiter) -> int:
    return list(waiter.queue.waiters).index(waiter) if waiter in waiter.queue.waiters else -1


def _flag(value: bool) -> str:
    return "true" if value else "false"


def _table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Cells end in a comma, but for a row's last, and begin below each other."""
    lines = [[str(cell) for cell in row] for row in (columns, *rows)]
    widths = [max(_CELL_WIDTH_MIN, *(len(line[i]) + 2 for line in lines)) for i in range(len(columns) - 1)]
    return "".join(
        "".join(f"{cell},".ljust(width) for cell, width in zip(line, widths, strict=False)) + line[-1] + "\n"
        for line in lines
    )
