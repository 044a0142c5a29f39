"""A campaign: rounds of requests from all sources, several under way at once, tidied up in between, and what must
never happen.

- no answer of the 500s, but for the few that upstream gives as well, and nothing logged as an error;
- no answer that takes longer than `ANSWER_SECONDS_MAX`, no lost connection, no dead process;
- no growth: once everything that was made is gone again, the process holds about what it held half-way.

The same seed gives the same cases, dealt to the clients in the same order; with one client they are sent in that order
too. A failure names its request, and where only the log tells of it, the requests that were under way.
"""

from __future__ import annotations

import hashlib
import http.client
import math
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pybernetes.api.resources import BUILTIN, Resource
from tests.fuzz.client import ANSWER_SECONDS_MAX, Answer, Client, Hang
from tests.fuzz.generation import ROUND_REQUESTS, rounds
from tests.fuzz.report import Failure, Report
from tests.fuzz.request import Case, Raw, Request
from tests.fuzz.sources import NAMESPACE, POLICY_NAMESPACE
from tests.fuzz.target import Held, Logged, Target, fuzzed_server

CLIENTS = 8
FAILURES_MAX = 50
"""A campaign that found as many ends."""
_SETTLE_SECONDS = 10.0
"""How long connections and tasks of clients that went away may take to end."""

_TIDIED = [r for r in BUILTIN if "list" in r.verbs and "delete" in r.verbs and r.storage_plural == ""]

EXPECTED = (
    b"resourceVersion should not be set on objects to be created",
    b"Too large resource version",
    b"without impersonating a user",
    b"error dialing backend",
    b"error trying to reach service",
    b"no endpoints available for service",
)
"""What upstream answers with 500, 503 and 504."""


class Campaign:
    """Owns the clients' threads. `report` is changed under `_lock`."""

    def __init__(self, target: Target, seed: int, progress: Callable[[str], None], clients: int = CLIENTS) -> None:
        self._target = target
        self._progress = progress
        self._known: set[str] = set()
        self._seen: set[tuple[str, str]] = set()
        self._lock = threading.Lock()
        self._logged: dict[str, Logged] = {}
        """What was logged about requests whose answers are still to come, by audit ID."""
        self._under_way: dict[int, Request | Raw] = {}
        self._digest = hashlib.sha256()
        self._clients = [target.client() for _ in range(clients)]
        self.report = Report(seed, clients)

    def run(self, requests: int, seconds: float = math.inf) -> Report:
        """Ends with the round in which that many requests are sent or that many seconds are over."""
        report = self.report
        started = time.monotonic()
        self._prepare()
        with rounds(report.seed, min(ROUND_REQUESTS, requests)) as generated:
            for cases in generated:
                self._round(cases)
                report.seconds = time.monotonic() - started
                if not self._target.alive:
                    break
                self._tidy()
                report.held.append(self._settled())
                report.seconds = time.monotonic() - started
                self._progress(f"{report.sent} sent, {report.held[-1]}, {len(report.failures)} failures")
                if report.sent >= requests or len(report.failures) >= FAILURES_MAX or report.seconds > seconds:
                    break
        report.digest = self._digest.hexdigest()[:16]
        return report

    def _round(self, cases: list[Case]) -> None:
        waiting: queue.SimpleQueue[Case] = queue.SimpleQueue()
        for case in cases:
            self._digest.update(repr(case).encode("utf-8", "surrogatepass"))
            waiting.put(case)

        def work(client: Client) -> None:
            while self._target.alive:
                try:
                    case = waiting.get_nowait()
                except queue.Empty:
                    break
                self._send(client, case)
            client.close()

        with ThreadPoolExecutor(len(self._clients)) as threads:
            for done in [threads.submit(work, client) for client in self._clients]:
                done.result()
        with self._lock:
            self._hear()
            for audit_id, logged in self._logged.items():
                self._fail(Request("own", "", audit_id), "logged, and answered with no fault", logged)
            self._logged.clear()

    def _send(self, client: Client, case: Case) -> None:
        answer: Any = None
        for one in case:
            if isinstance(one, Request):
                one = one.settled(answer)
            with self._lock:
                self._under_way[id(client)] = one
            try:
                answers = [client.send(one)] if isinstance(one, Request) else client.send_raw(one)
            except Hang as hang:
                answers = []
                with self._lock:
                    self._fail(one, f"hang: {hang}")
            except (OSError, http.client.HTTPException) as error:
                answers = []
                with self._lock:
                    self._fail(one, f"no answer: {type(error).__name__}: {error}")
            with self._lock:
                self._hear()
                del self._under_way[id(client)]
                self._note(one, answers)
            answer = answers[-1].found if answers and len(case) > 1 else None

    def _note(self, one: Request | Raw, answers: list[Answer]) -> None:
        report = self.report
        report.sent += max(1, len(answers))
        report.sources[one.source] += max(1, len(answers))
        if not answers:
            report.unanswered += 1
        for answer in answers:
            if answer.left and not answer.status:
                report.unanswered += 1
                continue
            report.codes[answer.status] += 1
            report.slowest_seconds = max(report.slowest_seconds, answer.seconds if not answer.left else 0.0)
            logged = self._logged.pop(answer.audit_id, None)
            is_fault = answer.status >= 500 and not _is_expected(one, answer)
            report.expected_faults += answer.status >= 500 and not is_fault
            if logged is not None or is_fault:
                self._fail(one, f"{answer.status} {answer.body[:500]!r}", logged)
            elif answer.status == 429 and b"disruption budget" not in answer.body:
                self._fail(one, f"429 to a few clients: {answer.body[:300]!r}")
            elif answer.seconds > ANSWER_SECONDS_MAX:
                self._fail(one, f"an answer took {answer.seconds:.1f} s")

    def _hear(self) -> None:
        """Takes what was logged: about requests that are still to be answered, or about none."""
        for logged in self._target.newly_logged():
            if logged.audit_id:
                self._logged[logged.audit_id] = logged
            else:
                under_way = "\n".join(str(one) for one in self._under_way.values())
                self._fail(Request("own", "", "?"), f"logged; under way were:\n{under_way}", logged)

    def _fail(self, one: Request | Raw, what: str, logged: Logged | None = None) -> None:
        """Of failures that end in the same place one is kept."""
        key = (what[:3], logged.where if logged is not None else what[:100])
        if key not in self._seen:
            self._seen.add(key)
            self.report.failures.append(Failure(one, what, logged.fault if logged is not None else ""))
            self._progress(str(self.report.failures[-1]))

    # ---- tidying up

    def _prepare(self) -> None:
        for name in (NAMESPACE, POLICY_NAMESPACE):
            self._target.ask("POST", "/api/v1/namespaces", {"metadata": {"name": name, "labels": {"fuzz": name}}})
            accounts = f"/api/v1/namespaces/{name}/serviceaccounts"
            self._target.ask("POST", accounts, {"metadata": {"name": "default"}})
        for resource in _TIDIED:
            self._known.update(o["metadata"]["uid"] for o in self._listed(resource))

    def _listed(self, resource: Resource) -> list[Any]:
        found: list[Any] = self._target.ask("GET", resource.path()).json["items"]
        return found

    def _left(self) -> list[tuple[Resource, Any]]:
        return [(r, o) for r in _TIDIED for o in self._listed(r) if o["metadata"]["uid"] not in self._known]

    def _tidy(self) -> None:
        """Removes what the requests made. What cannot be removed is a failure."""
        with ThreadPoolExecutor(len(self._clients)) as threads:
            for done in [threads.submit(self._remove, *found) for found in self._left()]:
                done.result()
        left = [f"{r.plural}/{o['metadata']['name']}" for r, o in self._left()]
        if left:
            with self._lock:
                self._fail(Request("own", "DELETE", "/"), f"cannot be removed: {left[:5]}")

    def _remove(self, resource: Resource, o: Any) -> None:
        meta = o["metadata"]
        # Names of roles and requests for certificates may hold anything but slashes and percent signs.
        path = resource.path(meta.get("namespace", ""), quote(meta["name"], safe=""))
        ask = self._target.ask
        ask("DELETE", path, {"gracePeriodSeconds": 0, "propagationPolicy": "Background"})
        if resource.kind == "Namespace":
            ask("PUT", f"{path}/finalize", {**o, "spec": {}, "metadata": {"name": meta["name"]}})
        patch = {"metadata": {"finalizers": None}}
        answer = ask("PATCH", path, patch, "application/merge-patch+json")
        if answer.status == 200:
            ask("DELETE", path, {"gracePeriodSeconds": 0})

    def _settled(self) -> Held:
        """What is held once the connections of clients that went away have ended."""
        self._target.hang_up()
        until = time.monotonic() + _SETTLE_SECONDS
        before = self._target.held()
        while True:
            held = self._target.held()
            if (held.tasks, held.descriptors) == (before.tasks, before.descriptors) or time.monotonic() > until:
                return held
            before = held


def _is_expected(one: Request | Raw, answer: Answer) -> bool:
    if isinstance(one, Request) and one.method == "HEAD":  # it has no body to tell
        given = {name: value for name, value in one.headers if name.startswith("Impersonate-")}
        return any(given.values()) and not given.get("Impersonate-User")
    if isinstance(one, Request) and answer.status == 504 and any(key == "timeout" for key, _ in one.query):
        return True  # the client's own limit
    return any(text in answer.body for text in EXPECTED)


def fuzz(
    directory: Path,
    requests: int,
    seed: int,
    seconds: float = math.inf,
    progress: Callable[[str], None] = lambda _: None,
    clients: int = CLIENTS,
) -> Report:
    with fuzzed_server(directory) as target:
        campaign = Campaign(target, seed, progress, clients)
        report = campaign.run(requests, seconds)
        if not target.alive:
            tail = target.log.read_bytes()[-2000:].decode(errors="replace")
            report.failures.append(Failure(Request("own", "", "?"), f"the server ended: {target.process.poll()}", tail))
        return report
