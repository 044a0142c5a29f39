"""Probes: one timer for each probe of each running container.

`ProbeManager.sync` is told a pod's state and starts and ends probes accordingly; `results` gives the verdicts. A
verdict that changes wakes the pod's worker. Semantics and texts are upstream's (``pkg/kubelet/prober``,
``pkg/probe``): startup first, then liveness and readiness; a liveness or startup probe that failed for good rests until
there is a new container.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Literal

import structlog

from pybernetes.api.meta import Object, is_deleting, uid_of
from pybernetes.client.events import WARNING, EventRecorder
from pybernetes.kubelet import spec
from pybernetes.kubelet.httpget import HTTPFailure, HTTPGetter, action_headers, action_url, dial_error
from pybernetes.kubelet.identity import container_reference
from pybernetes.kubelet.observed import ObservedContainer, ObservedPod
from pybernetes.kubelet.plan import ProbeResults
from pybernetes.kubelet.runtime import ContainerRuntime, RuntimeFailure
from pybernetes.lib.clock import Clock
from pybernetes.lib.tasks import TaskSet

log = structlog.get_logger(__name__)

ProbeKind = Literal["startup", "liveness", "readiness"]
_KINDS: tuple[ProbeKind, ...] = ("startup", "liveness", "readiness")
_FIELDS = {"startup": "startupProbe", "liveness": "livenessProbe", "readiness": "readinessProbe"}
_USER_AGENT = "kube-probe/1.37"
_OUTPUT_LIMIT = 10 * 1024

GRPCCheck = Callable[[str, int, str, float], Awaitable[str | None]]
"""(host, port, service, timeout in seconds) to None for healthy, else what is wrong."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One probe's outcome. `ok` is None where the probe itself could not be made, which counts for nothing."""

    ok: bool | None
    output: str = ""
    warning: bool = False


class Prober:
    """Makes single probes."""

    def __init__(self, runtime: ContainerRuntime, http: HTTPGetter, grpc_check: GRPCCheck) -> None:
        self._runtime = runtime
        self._http = http
        self._grpc = grpc_check

    async def probe(self, probe: Object, container: Object, container_id: str, pod_ip: str) -> Outcome:
        timeout = float(probe.get("timeoutSeconds") or 1)
        try:
            if probe.get("exec"):
                return await self._exec(probe["exec"].get("command") or [], container_id, timeout)
            if probe.get("httpGet"):
                return await self._get(probe["httpGet"], container, pod_ip, timeout)
            if probe.get("tcpSocket"):
                action = probe["tcpSocket"]
                host = action.get("host") or pod_ip
                return await _connect(host, spec.resolve_port(action.get("port"), container), timeout)
            if probe.get("grpc"):
                action = probe["grpc"]
                problem = await self._grpc(pod_ip, int(action["port"]), action.get("service") or "", timeout)
                return Outcome(problem is None, problem or "service healthy")
        except ValueError as error:
            return Outcome(None, str(error))
        return Outcome(None, f"missing probe handler for {container['name']}")

    async def _exec(self, command: list[str], container_id: str, timeout: float) -> Outcome:
        try:
            result = await self._runtime.exec_sync(container_id, command, timeout)
        except RuntimeFailure as failure:
            if failure.timed_out:
                text = f'command timed out: "{" ".join(command)}" timed out after {timeout:g}s'
                return Outcome(False, text)
            return Outcome(None, str(failure))
        output = (result.stdout + result.stderr)[:_OUTPUT_LIMIT].decode("utf-8", "replace")
        return Outcome(result.exit_code == 0, output)

    async def _get(self, action: Object, container: Object, pod_ip: str, timeout: float) -> Outcome:
        headers = action_headers(action.get("httpHeaders") or (), _USER_AGENT)
        try:
            answer = await self._http.get(action_url(action, container, pod_ip), headers, timeout)
        except HTTPFailure as failure:
            return Outcome(False, str(failure))
        if answer.redirected_away:
            return Outcome(True, f"Probe terminated redirects, Response body: {answer.body}", warning=True)
        if 200 <= answer.status < 400:
            return Outcome(True, answer.body)
        return Outcome(False, f"HTTP probe failed with statuscode: {answer.status}")


async def _connect(host: str, port: int, timeout: float) -> Outcome:
    try:
        async with asyncio.timeout(timeout):
            _, writer = await asyncio.open_connection(host, port)
    except (OSError, TimeoutError) as error:
        return Outcome(False, dial_error(error, host, port))
    writer.close()
    return Outcome(True)


@dataclass(slots=True)
class _Verdicts:
    """The verdicts on one container, and the task of each of its probes."""

    started: asyncio.Event
    values: dict[ProbeKind, bool | None] = field(default_factory=dict)
    tasks: dict[ProbeKind, asyncio.Task[None]] = field(default_factory=dict)

    def results(self) -> ProbeResults:
        return ProbeResults(self.values.get("startup"), self.values.get("liveness"), self.values.get("readiness"))


class ProbeManager:
    """The probes of all containers of a node."""

    def __init__(self, prober: Prober, recorder: EventRecorder, clock: Clock) -> None:
        self._prober = prober
        self._recorder = recorder
        self._clock = clock
        self._pods: dict[str, dict[str, _Verdicts]] = {}
        self._addresses: dict[str, str] = {}
        self._tasks = TaskSet("probes")
        self._began_at = clock.now()

    def statistics(self) -> dict[str, int]:
        return {"containers": sum(len(c) for c in self._pods.values()), "probes": len(self._tasks)}

    def results(self, uid: str) -> dict[str, ProbeResults]:
        """Verdicts by container id."""
        return {id_: v.results() for id_, v in self._pods.get(uid, {}).items()}

    def sync(self, pod: Object, observed: ObservedPod, pod_ip: str, wake: Callable[[], None]) -> None:
        """Starts the probes of containers that run, ends those of containers that do not. While a pod is being deleted
        only readiness goes on."""
        uid = uid_of(pod)
        if pod_ip:
            self._addresses[uid] = pod_ip
        known = self._pods.setdefault(uid, {})
        running: set[str] = set()
        for kind, container in spec.all_containers(pod):
            if kind == "ephemeral" or (kind == "init" and not spec.is_sidecar(container)):
                continue
            if not any(container.get(f) for f in _FIELDS.values()):
                continue
            latest = observed.latest(container["name"])
            if latest is None or not latest.running:
                continue
            running.add(latest.id)
            if latest.id not in known:
                known[latest.id] = self._start(pod, container, latest, wake)
        for id_ in [i for i in known if i not in running]:
            self._end(known.pop(id_))
        if is_deleting(pod):
            for verdicts in known.values():
                for which in ("startup", "liveness"):
                    task = verdicts.tasks.pop(which, None)
                    if task is not None:
                        task.cancel()
                verdicts.values.pop("liveness", None)
        if not known:
            del self._pods[uid]

    def remove(self, uid: str) -> None:
        for verdicts in self._pods.pop(uid, {}).values():
            self._end(verdicts)
        self._addresses.pop(uid, None)

    async def close(self) -> None:
        self._pods.clear()
        await self._tasks.cancel()

    def _end(self, verdicts: _Verdicts) -> None:
        for task in verdicts.tasks.values():
            task.cancel()

    def _start(self, pod: Object, container: Object, latest: ObservedContainer, wake: Callable[[], None]) -> _Verdicts:
        verdicts = _Verdicts(asyncio.Event())
        if not container.get("startupProbe"):
            verdicts.started.set()
        for kind in _KINDS:
            probe = container.get(_FIELDS[kind])
            if probe:
                verdicts.tasks[kind] = self._tasks.start(
                    self._run(kind, probe, pod, container, latest, verdicts, wake),
                    name=f"{kind}/{uid_of(pod)}/{container['name']}",
                )
        return verdicts

    async def _run(
        self,
        kind: ProbeKind,
        probe: Object,
        pod: Object,
        container: Object,
        latest: ObservedContainer,
        verdicts: _Verdicts,
        wake: Callable[[], None],
    ) -> None:
        if kind != "startup":
            await verdicts.started.wait()
        period = float(probe.get("periodSeconds") or 10)
        delay = latest.status.started_at + float(probe.get("initialDelaySeconds") or 0) - self._clock.now()
        if latest.status.started_at < self._began_at and self._clock.now() - self._began_at < period and delay < 0:
            # The kubelet has just started and found the container running: do not probe everything at once.
            delay = random.uniform(0, period)
        if delay > 0:
            await self._clock.sleep(delay)
        successes = failures = 0
        success_threshold = int(probe.get("successThreshold") or 1)
        failure_threshold = int(probe.get("failureThreshold") or 3)
        tick = self._clock.monotonic()
        while True:
            outcome = await self._prober.probe(probe, container, latest.id, self._addresses.get(uid_of(pod), ""))
            self._tell(kind, pod, container, outcome)
            if outcome.ok is True:
                successes, failures = successes + 1, 0
                if successes >= success_threshold:
                    self._decide(kind, True, verdicts, wake)
                    if kind == "startup":
                        verdicts.started.set()
                        return
            elif outcome.ok is False:
                successes, failures = 0, failures + 1
                if failures >= failure_threshold:
                    self._decide(kind, False, verdicts, wake)
                    if kind != "readiness":
                        return
            tick += period
            late = self._clock.monotonic() - tick
            if late > 0:
                tick += period * (late // period)
            await self._clock.sleep(max(0.0, tick - self._clock.monotonic()))

    def _decide(self, kind: ProbeKind, value: bool, verdicts: _Verdicts, wake: Callable[[], None]) -> None:
        if verdicts.values.get(kind) is not value:
            verdicts.values[kind] = value
            wake()

    def _tell(self, kind: ProbeKind, pod: Object, container: Object, outcome: Outcome) -> None:
        if outcome.ok is True and not outcome.warning:
            return
        about = container_reference(pod, container["name"])
        title = kind.capitalize()
        if outcome.ok is None:
            self._recorder.event(
                about, WARNING, "Unhealthy", f"{title} probe errored and resulted in unknown state: {outcome.output}"
            )
        elif outcome.warning:
            self._recorder.event(about, WARNING, "ProbeWarning", f"{title} probe warning: {outcome.output}")
        else:
            self._recorder.event(about, WARNING, "Unhealthy", f"{title} probe failed: {outcome.output}")
