"""Flow control of one server: classifies requests, and lets each take its seats or sends it away.

It follows the FlowSchemas and PriorityLevelConfigurations in the watch cache; the two mandatory ones of each rule even
where they are not stored. `classify` remembers: the common request costs a look into a dictionary, and `Level.try_take`
a comparison. What the server's own components ask in the process does not come through here.

One event loop owns it. Bounds: the memory of classifications; the rest is bounded in `seats`.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pybernetes.api.errors import ApiError
from pybernetes.api.meta import Object, name_of
from pybernetes.api.resources import FLOWSCHEMAS, PRIORITYLEVELCONFIGURATIONS, Resource
from pybernetes.api.user import User
from pybernetes.apiserver.flowcontrol import policy, work
from pybernetes.apiserver.flowcontrol.matching import Digest, in_order, matches
from pybernetes.apiserver.flowcontrol.seats import Level, Pool, Queuing, Rejected, Waiter
from pybernetes.apiserver.interfaces import ObservableReader, RequestInfo

SEATS = 600
"""Of a server, as upstream: 400 requests in flight and 200 mutating ones."""

WAIT_PART = 0.25
"""Of the time a request has, the part that it may wait for its seats."""

_CLASSES_MAX = 8192
_RETRY_AFTER_SECONDS_MAX = 32

Sizes = Callable[[Resource], tuple[int, int]]
"""How many objects of a kind there are, and the bytes of an average one."""


@dataclass(eq=False, slots=True)
class Schema:
    """A FlowSchema that is in force, and what became of its requests."""

    name: str
    uid: str
    spec: Object
    level: Level
    headers: bytes
    """The two headers that answers carry, ready to send."""
    dispatched: int = 0
    waiting: int = 0

    def header_names(self) -> dict[str, str]:
        """The headers by name, for answers that are streams."""
        return {"X-Kubernetes-PF-FlowSchema-UID": self.uid, "X-Kubernetes-PF-PriorityLevel-UID": self.level.uid}


@dataclass(eq=False, slots=True)
class Flow:
    """A request's class: requests of one flow compete with each other first."""

    schema: Schema
    level: Level
    distinguisher: str

    def hash(self) -> int:
        digest = hashlib.sha256(f"{self.schema.name}\0{self.distinguisher}".encode()).digest()
        return int.from_bytes(digest[:8], "little")


class Overloaded(ApiError):
    """429 as flow control says it: in plain words, not as a Status."""

    status_code = 429
    reason = "TooManyRequests"

    def __init__(self, retry_after_seconds: int) -> None:
        super().__init__(
            "Too many requests, please try again later.", details={"retryAfterSeconds": retry_after_seconds}
        )


class RetryAfter:
    """How many seconds clients of a level are told to wait: doubled while many are sent away, slowly less after.

    Source: upstream's dropped_requests_tracker.go.
    """

    def __init__(self) -> None:
        self.seconds = 1
        self._second = 0
        self._count = 0
        self._history: list[tuple[int, int]] = []
        self._raised = 0

    def note(self, now: float) -> int:
        """Notes a request that is sent away, and returns what to tell it."""
        second = int(now)
        if second == self._second:
            self._count += 1
            return self.seconds
        history = [*self._history, (self._second, self._count)]
        self._history = [(s, c) for s, c in history if second - s <= _RETRY_AFTER_SECONDS_MAX]
        self._second, self._count = second, 1
        recent = sum(c for s, c in self._history if second - s <= self.seconds)
        if second - self._raised >= self.seconds and recent >= 3 * self.seconds:
            self.seconds = min(2 * self.seconds, _RETRY_AFTER_SECONDS_MAX)
            self._raised = second
        elif recent < self.seconds and self.seconds > 1:
            self.seconds -= 1
        return self.seconds


class FlowControl:
    def __init__(
        self,
        reader: ObservableReader,
        sizes: Sizes,
        *,
        seats: int = SEATS,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.pool = Pool(now)
        self.schemas: list[Schema] = []
        self.wanted: frozenset[str] = frozenset()
        """Names of the levels that are configured; others are there until they are idle."""
        self.rejected: dict[tuple[str, str, str], int] = {}
        """Counts by (level, schema, reason)."""
        self.waited: dict[tuple[str, str], tuple[int, float]] = {}
        """(requests, seconds in all) by (level, schema), of those that waited and were served."""
        self._reader = reader
        self._sizes = sizes
        self._seats = seats
        self._retry_after: dict[str, RetryAfter] = {}
        self._classes: dict[tuple[str, tuple[str, ...], str, str, str, str, str], Flow] = {}
        self._unsubscribe: list[Callable[[], None]] = []

    # ---- configuration

    def start(self) -> None:
        """Takes on what is configured, and follows it from now on."""
        self._digest()
        for resource in (FLOWSCHEMAS, PRIORITYLEVELCONFIGURATIONS):
            self._unsubscribe.append(self._reader.subscribe(resource, self._changed))

    def stop(self) -> None:
        for unsubscribe in self._unsubscribe:
            unsubscribe()
        self._unsubscribe.clear()

    def _changed(self, old: Object | None, new: Object | None) -> None:
        if old is None or new is None or old.get("spec") != new.get("spec"):
            self._digest()

    def _digest(self) -> None:
        """All the configuration anew, as upstream does it."""
        wanted = {name_of(p): p for p in policy.priority_levels() if name_of(p) in policy.MANDATORY}
        wanted.update((name_of(p), p) for p in self._reader.list(PRIORITYLEVELCONFIGURATIONS))
        self.wanted = frozenset(wanted)
        pool = self.pool
        for name in [n for n, level in pool.levels.items() if n not in wanted and level.idle()]:
            del pool.levels[name]
        shares = {name: _shares(config) for name, config in wanted.items()}
        for name, level in pool.levels.items():
            if name not in wanted:
                # Not wanted any more but busy: it keeps its seats until it is idle.
                shares[name] = level.nominal / self._seats
        total = sum(v for v in shares.values()) or 1
        for name, config in wanted.items():
            _configure(pool.level(name), config, math.ceil(self._seats * shares[name] / total), self._seats)
        pool.settle()
        self._classes.clear()
        self.schemas = self._in_force(wanted)
        # What is no more is not counted any further: whoever makes and deletes schemas must not fill the memory.
        names = {schema.name for schema in self.schemas}
        self.rejected = {key: count for key, count in self.rejected.items() if key[1] in names}
        self.waited = {key: times for key, times in self.waited.items() if key[1] in names}
        self._retry_after = {name: retry for name, retry in self._retry_after.items() if name in pool.levels}

    def _in_force(self, levels: Mapping[str, Object]) -> list[Schema]:
        """The schemas whose level exists, in order, the mandatory ones in any case."""
        before = {s.name: s for s in self.schemas}
        stored = {name_of(s): s for s in self._reader.list(FLOWSCHEMAS)}
        usable = [s for s in stored.values() if _level_of(s) in levels]
        missing = [
            s
            for s in policy.flow_schemas()
            if name_of(s) in policy.MANDATORY and not any(s2 is stored.get(name_of(s)) for s2 in usable)
        ]
        found = []
        for schema in in_order([*usable, *missing]):
            level = self.pool.level(_level_of(schema))
            uid = schema["metadata"].get("uid", "")
            headers = b"X-Kubernetes-PF-FlowSchema-UID: %b\r\nX-Kubernetes-PF-PriorityLevel-UID: %b\r\n" % (
                uid.encode(),
                level.uid.encode(),
            )
            known = before.get(name_of(schema))
            if known is None:
                known = Schema(name_of(schema), uid, schema["spec"], level, headers)
            else:
                # The same object: requests under way count on it.
                known.uid, known.spec, known.level, known.headers = uid, schema["spec"], level, headers
            found.append(known)
        return found

    # ---- classification

    def classify(self, info: RequestInfo) -> Flow:
        """The request's class. Its verb and its user are known."""
        resource = info.resource
        user = info.user
        if resource is None:
            key = (user.name, user.groups, info.verb, "", info.path, "", "")
        else:
            key = (user.name, user.groups, info.verb, resource.group, resource.plural, info.subresource, info.namespace)
        flow = self._classes.get(key)
        if flow is None:
            flow = self._classify(info, user)
            if len(self._classes) >= _CLASSES_MAX:
                self._classes.clear()
            if resource is not None or len(info.path) < 256:
                self._classes[key] = flow
        return flow

    def _classify(self, info: RequestInfo, user: User) -> Flow:
        resource = info.resource
        if resource is None:
            digest = Digest(user, info.verb, path=info.path)
        else:
            name = f"{resource.plural}/{info.subresource}" if info.subresource else resource.plural
            digest = Digest(user, info.verb, resource.group, name, info.namespace)
        schema = next((s for s in self.schemas if matches({"spec": s.spec}, digest)), None)
        if schema is None:
            # Who is in no group at all is caught too.
            schema = next(s for s in self.schemas if s.name == "catch-all")
        method = (schema.spec.get("distinguisherMethod") or {}).get("type")
        distinguisher = user.name if method == "ByUser" else info.namespace if method == "ByNamespace" else ""
        return Flow(schema, schema.level, distinguisher)

    def width(self, flow: Flow, info: RequestInfo) -> int:
        """The seats of a list, or of a watch that begins with one."""
        resource = info.resource
        if flow.level.exempt or resource is None:
            return 1
        query = info.query
        if info.verb == "watch" and query.get("sendInitialEvents", "false") in ("false", "0"):
            return 1
        count, average = self._sizes(resource)
        widest = work.seats_max(flow.level.nominal)
        one = "metadata.name=" in query.get("fieldSelector", "")
        return work.list_width(query, count, average, widest, one=one)

    # ---- overload

    async def wait(self, flow: Flow, width: int, seconds: float, queued: Callable[[Waiter], None]) -> Waiter:
        """Takes seats of a level that `Level.try_take` did not give, within a quarter of the `seconds` that the
        request has; see `Level.wait`. Raises `Overloaded`. Cancelled, it has taken nothing."""
        level, schema = flow.level, flow.schema
        started = self.pool.now()
        schema.waiting += 1
        try:
            waiter = await level.wait(width, flow.hash(), seconds * WAIT_PART, queued)
        except asyncio.CancelledError:
            self._count(schema, "cancelled")
            raise
        except Rejected as error:
            self._count(schema, error.reason)
            raise Overloaded(self._retry_after.setdefault(level.name, RetryAfter()).note(self.pool.now())) from error
        finally:
            schema.waiting -= 1
        count, total = self.waited.get((level.name, schema.name), (0, 0.0))
        self.waited[level.name, schema.name] = (count + 1, total + self.pool.now() - started)
        return waiter

    def _count(self, schema: Schema, reason: str) -> None:
        key = (schema.level.name, schema.name, reason)
        self.rejected[key] = self.rejected.get(key, 0) + 1


def _level_of(schema: Object) -> str:
    name: str = ((schema.get("spec") or {}).get("priorityLevelConfiguration") or {}).get("name") or ""
    return name


def _limits(config: Object) -> Object:
    spec = config.get("spec") or {}
    limits: Object = spec.get("exempt" if spec.get("type") == "Exempt" else "limited") or {}
    return limits


def _shares(config: Object) -> float:
    return float(_limits(config).get("nominalConcurrencyShares") or 0)


def _configure(level: Level, config: Object, nominal: int, server_seats: int) -> None:
    spec, limits = config.get("spec") or {}, _limits(config)
    lent = round(nominal * (limits.get("lendablePercent") or 0) / 100)
    borrowing = limits.get("borrowingLimitPercent")
    most = server_seats if borrowing is None else nominal + round(nominal * borrowing / 100)
    queuing = (limits.get("limitResponse") or {}).get("queuing")
    level.uid = config["metadata"].get("uid", "")
    level.configure(
        exempt=spec.get("type") == "Exempt",
        nominal=nominal,
        own=nominal - lent,
        most=most,
        queuing=Queuing(queuing["queues"], queuing["handSize"], queuing["queueLengthLimit"]) if queuing else None,
    )
