"""Lifecycle hooks of containers: exec, httpGet, sleep (KEP-3960), tcpSocket."""

from __future__ import annotations

import asyncio

from pybernetes.api.meta import Object
from pybernetes.kubelet import spec
from pybernetes.kubelet.httpget import HTTPFailure, HTTPGetter, action_headers, action_url, dial_error
from pybernetes.kubelet.runtime import ContainerRuntime, RuntimeFailure
from pybernetes.lib.clock import Clock

_USER_AGENT = "kube-lifecycle/1.37"
_HTTP_TIMEOUT_SECONDS = 600.0


class HookFailed(Exception):
    """The hook failed; the text is for an event."""


class HookRunner:
    def __init__(self, runtime: ContainerRuntime, http: HTTPGetter, clock: Clock) -> None:
        self._runtime = runtime
        self._http = http
        self._clock = clock

    async def run(self, hook: Object, container: Object, container_id: str, pod_ip: str) -> None:
        """Runs one handler to its end; the caller bounds its time. Raises `HookFailed`."""
        if hook.get("exec"):
            await self._exec(hook["exec"].get("command") or [], container_id)
        elif hook.get("httpGet"):
            action = hook["httpGet"]
            try:
                answer = await self._http.get(
                    action_url(action, container, pod_ip),
                    action_headers(action.get("httpHeaders") or (), _USER_AGENT),
                    _HTTP_TIMEOUT_SECONDS,
                )
            except (HTTPFailure, ValueError) as error:
                raise HookFailed(str(error)) from error
            if answer.status >= 400:
                raise HookFailed(f"HTTP lifecycle hook failed with statuscode: {answer.status}")
        elif hook.get("sleep"):
            await self._clock.sleep(float(hook["sleep"].get("seconds") or 0))
        elif hook.get("tcpSocket"):
            action = hook["tcpSocket"]
            try:
                host, port = action.get("host") or pod_ip, spec.resolve_port(action.get("port"), container)
            except ValueError as error:
                raise HookFailed(str(error)) from error
            try:
                _, writer = await asyncio.open_connection(host, port)
            except OSError as error:
                raise HookFailed(dial_error(error, host, port)) from error
            writer.close()
        else:
            raise HookFailed("invalid handler")

    async def _exec(self, command: list[str], container_id: str) -> None:
        try:
            result = await self._runtime.exec_sync(container_id, command, 0)
        except RuntimeFailure as failure:
            raise HookFailed(str(failure)) from failure
        if result.exit_code != 0:
            output = (result.stdout + result.stderr).decode("utf-8", "replace")
            raise HookFailed(f"command '{' '.join(command)}' exited with {result.exit_code}: {output}")
