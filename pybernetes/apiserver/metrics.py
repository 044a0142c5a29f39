"""The API server's own metrics, under upstream's names, in a registry of their own.

Children are kept by their label values, so that a request costs a dictionary look-up and an addition.
"""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric

_DURATION_BUCKETS = (0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 2.0, 4.0, 10.0, 30.0, 60.0)

RequestLabels = tuple[str, str, str, str, str, str]
"""(verb, group, version, resource, subresource, scope)."""

_CHILDREN_MAX = 4096


class _Snapshot:
    """Gauges that are asked for at scrape time."""

    def __init__(self, collect: Callable[[], list[Metric]]) -> None:
        self.collect = collect


class Metrics:
    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._total = Counter(
            "apiserver_request_total",
            "Requests by verb, resource and HTTP code.",
            ("verb", "group", "version", "resource", "subresource", "scope", "code"),
            registry=self.registry,
        )
        self._duration = Histogram(
            "apiserver_request_duration_seconds",
            "How long requests took, watches and connections aside.",
            ("verb", "group", "version", "resource", "subresource", "scope"),
            buckets=_DURATION_BUCKETS,
            registry=self.registry,
        )
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
        self._counts: dict[tuple[RequestLabels, int], Counter] = {}
        self._durations: dict[RequestLabels, Histogram] = {}

    def observe(self, labels: RequestLabels, code: int, seconds: float | None) -> None:
        """One request served; `seconds` is None for long-running ones."""
        key = (labels, code)
        counter = self._counts.get(key)
        if counter is None:
            if len(self._counts) >= _CHILDREN_MAX:
                self._counts.clear()
            counter = self._counts[key] = self._total.labels(*labels, str(code))
        counter.inc()
        if seconds is not None:
            histogram = self._durations.get(labels)
            if histogram is None:
                if len(self._durations) >= _CHILDREN_MAX:
                    self._durations.clear()
                histogram = self._durations[labels] = self._duration.labels(*labels)
            histogram.observe(seconds)

    def add_objects(self, counts: Callable[[], dict[str, int]]) -> None:
        """``apiserver_storage_objects``, by resource as upstream names it, counted at scrape time."""

        def collect() -> list[Metric]:
            family = GaugeMetricFamily("apiserver_storage_objects", "Stored objects by resource.", labels=("resource",))
            for resource, count in counts().items():
                family.add_metric((resource,), count)
            return [family]

        self.registry.register(_Snapshot(collect))

    def expose(self) -> bytes:
        """The Prometheus text format."""
        return generate_latest(self.registry)
