"""The API server's own metrics, under upstream's names, in a registry of their own.

Requests are counted in plain dictionaries and lists, and made into metrics when somebody scrapes.
"""

from __future__ import annotations

import itertools
from bisect import bisect_left
from collections.abc import Callable, Mapping

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
    SummaryMetricFamily,
)

from pybernetes.api.resources import Resource
from pybernetes.apiserver.flowcontrol.control import FlowControl

_DURATION_BUCKETS = (
    0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0, 20.0,
    30.0, 45.0, 60.0,
)  # fmt: skip

RequestLabels = tuple[str, str, str, str, str, str, str]
"""(verb, dry run, group, version, resource, subresource, scope)."""

_LABELS = ("verb", "dry_run", "group", "version", "resource", "subresource", "scope", "component")
_WITHOUT_DRY_RUN = tuple(name for name in _LABELS if name != "dry_run")
_COMPONENT = "apiserver"
_VERBS = {"CREATE": "POST", "UPDATE": "PUT"}
"""Verbs that upstream's metrics name by their HTTP method."""
_CONNECTIONS = frozenset(("exec", "attach", "portforward", "proxy"))
_FLOW = ("priority_level", "flow_schema")
_CHILDREN_MAX = 4096


class _Collector:
    """Metrics that are put together at scrape time."""

    def __init__(self, collect: Callable[[], list[Metric]]) -> None:
        self.collect = collect


class _Durations:
    """One histogram's counts: by bucket, and in all."""

    __slots__ = ("buckets", "sum")

    def __init__(self) -> None:
        self.buckets = [0] * (len(_DURATION_BUCKETS) + 1)
        self.sum = 0.0


class Metrics:
    """One event loop owns it: nothing is locked on the way of a request."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._counts: dict[tuple[RequestLabels, int], int] = {}
        self._durations: dict[RequestLabels, _Durations] = {}
        self.registry.register(_Collector(self._requests))
        self._long_running: dict[RequestLabels, int] = {}
        self._terminations: dict[tuple[RequestLabels, int], int] = {}
        self._watch_events: dict[Resource, int] = {}
        self._terminated_watchers: dict[Resource, int] = {}
        self.registry.register(_Collector(self._long))
        self.registry.register(_Collector(self._watches))
        ProcessCollector(registry=self.registry)

    def long_running(self, labels: RequestLabels, change: int) -> None:
        """A watch or a connection has begun (1) or ended (-1)."""
        self._long_running[labels] = self._long_running.get(labels, 0) + change
        if not self._long_running[labels]:
            del self._long_running[labels]

    def terminated(self, labels: RequestLabels, code: int) -> None:
        """The server ended a request to protect itself: sent it away, or was too slow for it."""
        if len(self._terminations) < _CHILDREN_MAX:
            self._terminations[labels, code] = self._terminations.get((labels, code), 0) + 1

    def sent_events(self, resource: Resource, count: int) -> None:
        self._watch_events[resource] = self._watch_events.get(resource, 0) + count

    def dropped_watcher(self, resource: Resource) -> None:
        """A watcher was too slow."""
        self._terminated_watchers[resource] = self._terminated_watchers.get(resource, 0) + 1

    def observe(self, labels: RequestLabels, code: int, seconds: float | None) -> None:
        """One request served; `seconds` is None for long-running ones."""
        key = (labels, code)
        counts = self._counts
        count = counts.get(key)
        if count is None:
            if len(counts) >= _CHILDREN_MAX:
                # Labels come from served resources alone; this many would be a fault, and must not fill the memory.
                counts.clear()
            counts[key] = 1
        else:
            counts[key] = count + 1
        if seconds is not None:
            durations = self._durations.get(labels)
            if durations is None:
                if len(self._durations) >= _CHILDREN_MAX:
                    self._durations.clear()
                durations = self._durations[labels] = _Durations()
            durations.buckets[bisect_left(_DURATION_BUCKETS, seconds)] += 1
            durations.sum += seconds

    def _requests(self) -> list[Metric]:
        total = CounterMetricFamily(
            "apiserver_request_total", "Requests by verb, resource and HTTP code.", labels=(*_LABELS, "code")
        )
        for (labels, code), count in self._counts.items():
            total.add_metric((*_shown(labels), str(code)), count)
        duration = HistogramMetricFamily(
            "apiserver_request_duration_seconds",
            "How long requests took, watches and connections aside.",
            labels=_LABELS,
        )
        for labels, durations in self._durations.items():
            sums = list(itertools.accumulate(durations.buckets))
            bounds = [*(str(b) for b in _DURATION_BUCKETS), "+Inf"]
            duration.add_metric(_shown(labels), list(zip(bounds, sums, strict=True)), durations.sum)
        return [total, duration]

    def _long(self) -> list[Metric]:
        running = GaugeMetricFamily(
            "apiserver_longrunning_requests", "Watches and connections being served.", labels=_WITHOUT_DRY_RUN
        )
        for labels, count in self._long_running.items():
            running.add_metric(_shown(labels, dry_run=False), count)
        ended = CounterMetricFamily(
            "apiserver_request_terminations_total",
            "Requests that the server ended in self-defence.",
            labels=(*_WITHOUT_DRY_RUN, "code"),
        )
        for (labels, code), count in self._terminations.items():
            ended.add_metric((*_shown(labels, dry_run=False), str(code)), count)
        return [running, ended]

    def _watches(self) -> list[Metric]:
        events = CounterMetricFamily(
            "apiserver_watch_events_total", "Events sent to watchers.", labels=("group", "version", "resource")
        )
        for resource, count in self._watch_events.items():
            events.add_metric((resource.group, resource.version, resource.plural), count)
        dropped = CounterMetricFamily(
            "apiserver_terminated_watchers_total",
            "Watchers dropped for being too slow.",
            labels=("group", "resource"),
        )
        for resource, count in self._terminated_watchers.items():
            dropped.add_metric((resource.group, resource.plural), count)
        return [events, dropped]

    def add_inflight(self, counts: Callable[[], Mapping[str, int]]) -> None:
        """``apiserver_current_inflight_requests``, by kind of request, counted at scrape time."""

        def collect() -> list[Metric]:
            family = GaugeMetricFamily(
                "apiserver_current_inflight_requests", "Requests being served.", labels=("request_kind",)
            )
            for kind, count in counts().items():
                family.add_metric((kind,), count)
            return [family]

        self.registry.register(_Collector(collect))

    def add_flow_control(self, control: FlowControl) -> None:
        """The ``apiserver_flowcontrol_…`` metrics, read at scrape time."""
        self.registry.register(_Collector(lambda: _flow_control(control)))

    def add_objects(self, counts: Callable[[], dict[str, int]]) -> None:
        """``apiserver_storage_objects``, by resource as upstream names it, counted at scrape time."""

        def collect() -> list[Metric]:
            family = GaugeMetricFamily("apiserver_storage_objects", "Stored objects by resource.", labels=("resource",))
            for resource, count in counts().items():
                family.add_metric((resource,), count)
            return [family]

        self.registry.register(_Collector(collect))

    def expose(self) -> bytes:
        """The Prometheus text format."""
        return generate_latest(self.registry)


def _shown(labels: RequestLabels, *, dry_run: bool = True) -> tuple[str, ...]:
    """The labels as upstream's metrics have them."""
    verb, dry, group, version, resource, subresource, scope = labels
    verb = "CONNECT" if subresource in _CONNECTIONS else _VERBS.get(verb, verb)
    if verb == "POST":
        scope = "resource"
    rest = (group, version, resource, subresource, scope, _COMPONENT)
    return (verb, dry, *rest) if dry_run else (verb, *rest)


def _flow_control(control: FlowControl) -> list[Metric]:
    dispatched = CounterMetricFamily(
        "apiserver_flowcontrol_dispatched_requests_total", "Requests that were given seats.", labels=_FLOW
    )
    waiting = GaugeMetricFamily("apiserver_flowcontrol_current_inqueue_requests", "Requests in queues.", labels=_FLOW)
    for schema in control.schemas:
        names = (schema.level.name, schema.name)
        dispatched.add_metric(names, schema.dispatched)
        waiting.add_metric(names, schema.waiting)
    rejected = CounterMetricFamily(
        "apiserver_flowcontrol_rejected_requests_total", "Requests that were sent away.", labels=(*_FLOW, "reason")
    )
    for key, count in control.rejected.items():
        rejected.add_metric(key, count)
    waited = SummaryMetricFamily(
        "apiserver_flowcontrol_request_wait_duration_seconds",
        "How long requests that were served have waited in queues.",
        labels=_FLOW,
    )
    for names, (requests, seconds) in control.waited.items():
        waited.add_metric(names, requests, seconds)
    gauges = {
        "nominal_limit_seats": ("Seats that a level has nominally.", "nominal"),
        "lower_limit_seats": ("Seats that a level does not lend.", "own"),
        "upper_limit_seats": ("Seats that a level may have with all that it borrows.", "most"),
        "current_executing_seats": ("Seats in use.", "in_use"),
    }
    found: list[Metric] = [dispatched, waiting, rejected, waited]
    for name, (text, attribute) in gauges.items():
        family = GaugeMetricFamily(f"apiserver_flowcontrol_{name}", text, labels=("priority_level",))
        for level in control.pool.levels.values():
            family.add_metric((level.name,), getattr(level, attribute))
        found.append(family)
    return found
