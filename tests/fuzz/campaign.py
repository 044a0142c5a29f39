"""A campaign: rounds of requests from all sources, tidied up in between, and what must never happen.

- no answer of the 500s, but for the few that upstream gives as well;
- no answer that takes longer than `ANSWER_SECONDS_MAX`, no lost connection, no dead process;
- no growth: once everything that was made is gone again, the process holds about what it held half-way.
"""

from __future__ import annotations

import http.client
import math
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pybernetes.api.resources import BUILTIN, Resource
from tests.fuzz.sources import NAMESPACE, SOURCES
from tests.fuzz.target import Request, Target, fuzzed_server

ROUND_REQUESTS = 2000
GROWTH_BYTES_MAX = 12 << 20
"""Between the middle of a campaign and its end: at first the process imports, compiles and fills its caches."""
DESCRIPTORS_MAX = 8
"""More than at first, by the end."""
FAILURES_MAX = 50
"""A campaign that found as many ends."""

_TIDIED = [r for r in BUILTIN if "list" in r.verbs and "delete" in r.verbs and r.storage_plural == ""]

EXPECTED = (
    b"resourceVersion should not be set on objects to be created",
    b"Too large resource version",
)
"""What upstream answers with 500 and 504."""


@dataclass(slots=True)
class Failure:
    request: Request
    what: str
    fault: str = ""

    def __str__(self) -> str:
        return f"{self.request}\n  -> {self.what}\n{self.fault}"


@dataclass(slots=True)
class Report:
    seed: int
    sent: int = 0
    seconds: float = 0.0
    slowest_seconds: float = 0.0
    codes: Counter[int] = field(default_factory=Counter)
    sources: Counter[str] = field(default_factory=Counter)
    failures: list[Failure] = field(default_factory=list)
    memory_bytes: list[int] = field(default_factory=list)
    """Resident after each round, everything made in it gone again."""
    descriptors: list[int] = field(default_factory=list)

    @property
    def growth_bytes(self) -> int:
        return self.memory_bytes[-1] - self.memory_bytes[len(self.memory_bytes) // 2]

    @property
    def more_descriptors(self) -> int:
        return self.descriptors[-1] - self.descriptors[0]

    def faults(self) -> list[str]:
        found = [str(f) for f in self.failures]
        if self.growth_bytes > GROWTH_BYTES_MAX:
            found.append(f"memory after each round, MiB: {[b >> 20 for b in self.memory_bytes]}")
        if self.more_descriptors > DESCRIPTORS_MAX:
            found.append(f"descriptors after each round: {self.descriptors}")
        return found

    def __str__(self) -> str:
        codes = ", ".join(f"{code}: {n}" for code, n in sorted(self.codes.items()))
        sources = ", ".join(f"{name}: {n}" for name, n in self.sources.items())
        return (
            f"{self.sent} requests in {self.seconds:.0f} s, seed {self.seed} ({sources})\n"
            f"answers by code: {codes}\n"
            f"slowest answer: {self.slowest_seconds:.2f} s; memory after each round, MiB: "
            f"{[b >> 20 for b in self.memory_bytes]}; descriptors: {self.descriptors}\n"
            f"{len(self.failures)} failures"
        )


class Campaign:
    def __init__(self, target: Target, seed: int, progress: Callable[[str], None]) -> None:
        self._target = target
        self._progress = progress
        self._known: set[str] = set()
        self._seen: set[tuple[str, str]] = set()
        self.report = Report(seed)

    def run(self, requests: int, seconds: float = math.inf) -> Report:
        """Ends after that many requests, or with the round in which that many seconds are over."""
        started = time.monotonic()
        self._prepare()
        round_number = 0
        while (
            self.report.sent < requests
            and len(self.report.failures) < FAILURES_MAX
            and time.monotonic() - started < seconds
        ):
            wanted = min(ROUND_REQUESTS, requests - self.report.sent)
            for name, (source, share) in SOURCES.items():
                # Not hash(): it differs from process to process.
                own = self.report.seed * 1_000_003 + round_number * 101 + list(SOURCES).index(name)
                for request in source(own, max(1, round(wanted * share))):
                    self._send(request)
                    if not self._target.alive:
                        self.report.seconds = time.monotonic() - started
                        return self.report
            self._tidy()
            self.report.memory_bytes.append(self._target.memory_bytes())
            self.report.descriptors.append(self._target.descriptors())
            round_number += 1
            self._progress(f"{self.report.sent} sent, {self.report.memory_bytes[-1] >> 20} MiB, "
                           f"{len(self.report.failures)} failures")  # fmt: skip
        self.report.seconds = time.monotonic() - started
        return self.report

    def _send(self, request: Request) -> None:
        report = self.report
        report.sent += 1
        report.sources[request.source] += 1
        try:
            answer = self._target.send(request)
        except (OSError, http.client.HTTPException) as error:
            self._fail(request, f"no answer: {type(error).__name__}: {error}")
            return
        report.codes[answer.status] += 1
        report.slowest_seconds = max(report.slowest_seconds, answer.seconds)
        if answer.status >= 500 and not any(text in answer.body for text in EXPECTED):
            self._fail(request, f"{answer.status} {answer.body[:500]!r}")
        elif answer.status == 429:
            self._fail(request, f"429 to a client that sends one request at a time: {answer.body[:300]!r}")

    def _fail(self, request: Request, what: str) -> None:
        """Of failures that end in the same place one is kept."""
        fault = self._target.last_fault()
        # The exception's last line without what it tells of values, and where it was raised.
        where = [line for line in fault.splitlines() if line.lstrip().startswith("File ")][-1:]
        key = (what[:3], "".join(where) or what[:100])
        if key not in self._seen:
            self._seen.add(key)
            self.report.failures.append(Failure(request, what, fault))
            self._progress(str(self.report.failures[-1]))

    # ---- tidying up

    def _prepare(self) -> None:
        self._target.ask("POST", "/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
        accounts = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts"
        self._target.ask("POST", accounts, {"metadata": {"name": "default"}})
        for resource in _TIDIED:
            self._known.update(o["metadata"]["uid"] for o in self._listed(resource))

    def _listed(self, resource: Resource) -> list[Any]:
        found: list[Any] = self._target.ask("GET", resource.path()).json["items"]
        return found

    def _tidy(self) -> None:
        """Removes what the requests made. What cannot be removed is a failure."""
        for resource in _TIDIED:
            for o in self._listed(resource):
                if o["metadata"]["uid"] not in self._known:
                    self._remove(resource, o)
        left = [
            f"{r.plural}/{o['metadata']['name']}"
            for r in _TIDIED
            for o in self._listed(r)
            if o["metadata"]["uid"] not in self._known
        ]
        if left:
            request = Request("own", "DELETE", "/", ())
            self._fail(request, f"cannot be removed: {left[:5]}")

    def _remove(self, resource: Resource, o: Any) -> None:
        meta = o["metadata"]
        # Names of roles and requests for certificates may hold anything but slashes and percent signs.
        path = resource.path(meta.get("namespace", ""), quote(meta["name"], safe=""))
        self._target.ask("DELETE", path, {"gracePeriodSeconds": 0, "propagationPolicy": "Background"})
        if resource.kind == "Namespace":
            self._target.ask("PUT", f"{path}/finalize", {**o, "spec": {}, "metadata": {"name": meta["name"]}})
        patch = {"metadata": {"finalizers": None}}
        answer = self._target.ask("PATCH", path, patch, "application/merge-patch+json")
        if answer.status == 200:
            self._target.ask("DELETE", path, {"gracePeriodSeconds": 0})


def fuzz(
    directory: Path,
    requests: int,
    seed: int,
    seconds: float = math.inf,
    progress: Callable[[str], None] = lambda _: None,
) -> Report:
    with fuzzed_server(directory) as target:
        campaign = Campaign(target, seed, progress)
        report = campaign.run(requests, seconds)
        if not target.alive:
            request = Request("own", "GET", "/", ())
            report.failures.append(Failure(request, f"the server ended: {target.process.poll()}", target.last_fault()))
        return report
