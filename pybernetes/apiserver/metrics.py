"""The API server's own metrics, under upstream's names, in a registry of their own.

Requests are counted in plain dictionaries and lists, and made into metrics when somebody scrapes.
"""

from __future__ import annotations

import itertools
from bisect import bisect_left
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

_DURATION_BUCKETS = (0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 2.0, 4.0, 10.0, 30.0, 60.0)

RequestLabels = tuple[str, str, str, str, str, str]
"""(verb, group, version, resource, subresource, scope)."""

_LABELS = ("verb", "group", "version", "resource", "subresource", "scope")
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
        self.inflight = Gauge(
            "apiserver_current_inflight_requests", "Requests being served.", ("request_kind",), registry=self.registry
        )
        self.long_running = Gauge(
            "apiserver_longrunning_requests", "Watches and connections being served.", registry=self.registry
        )
        self.watch_events = Counter("apiserver_watch_events", "Events sent to watchers.", registry=self.registry)
        self.terminated_watchers = Counter(
            "apiserver_terminated_watchers", "Watchers dropped for being too slow.", registry=self.registry
        )

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
            total.add_metric((*labels, str(code)), count)
        duration = HistogramMetricFamily(
            "apiserver_request_duration_seconds",
            "How long requests took, watches and connections aside.",
            labels=_LABELS,
        )
        for labels, durations in self._durations.items():
            sums = list(itertools.accumulate(durations.buckets))
            bounds = [*(str(b) for b in _DURATION_BUCKETS), "+Inf"]
            duration.add_metric(labels, list(zip(bounds, sums, strict=True)), durations.sum)
        return [total, duration]

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
