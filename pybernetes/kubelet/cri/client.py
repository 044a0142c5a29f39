"""`CRIRuntime`: the kubelet's `ContainerRuntime` over CRI v1, on a runtime's Unix socket.

Stateless but for the ids of containers whose cgroup ran out of memory, of which the latest are remembered: the event
and the exit travel by different ways, and the exit's status may be read before CRI has noted why. Any number of calls
may run at once on one event loop. Every call has a deadline; a call that is cancelled may have taken effect.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any, TypeVar, cast

import structlog
from google.protobuf.message import Message

from pybernetes.kubelet import runtime as rt
from pybernetes.kubelet.cri import convert
from pybernetes.kubelet.cri import runtime_v1_pb2 as pb
from pybernetes.kubelet.cri.channel import Channel
from pybernetes.kubelet.cri.events import containerd_events, cri_events

M = TypeVar("M", bound=Message)

# The kubelet's --runtime-request-timeout, and twice that where upstream's client takes twice that.
REQUEST_DEADLINE_SECONDS = 120.0
SANDBOX_DEADLINE_SECONDS = 240.0
PULL_DEADLINE_SECONDS = 3600.0
_RECONNECT_MIN_SECONDS = 0.05
_RECONNECT_MAX_SECONDS = 2.0
_OOM_REMEMBERED = 1024

log = structlog.get_logger(__name__)


class CRIRuntime:
    """A container runtime behind the CRI socket at `socket_path`. Make it in the event loop that uses it and
    `close` it there."""

    def __init__(self, socket_path: str) -> None:
        self._channel = Channel(socket_path)
        self._out_of_memory: OrderedDict[str, None] = OrderedDict()

    async def close(self) -> None:
        await self._channel.close()

    async def _runtime(
        self, method: str, request: Message, answer: type[M], deadline_seconds: float = REQUEST_DEADLINE_SECONDS
    ) -> M:
        return await self._channel.call(
            f"/runtime.v1.RuntimeService/{method}", request, answer, deadline_seconds=deadline_seconds
        )

    async def _image(
        self, method: str, request: Message, answer: type[M], deadline_seconds: float = REQUEST_DEADLINE_SECONDS
    ) -> M:
        return await self._channel.call(
            f"/runtime.v1.ImageService/{method}", request, answer, deadline_seconds=deadline_seconds
        )

    # --- the runtime itself

    async def version(self) -> rt.RuntimeVersion:
        answer = await self._runtime("Version", pb.VersionRequest(), pb.VersionResponse)
        return rt.RuntimeVersion(answer.runtime_name, answer.runtime_version, answer.runtime_api_version)

    async def conditions(self) -> Sequence[rt.RuntimeCondition]:
        answer = await self._runtime("Status", pb.StatusRequest(), pb.StatusResponse)
        return [rt.RuntimeCondition(c.type, c.status, c.reason, c.message) for c in answer.status.conditions]

    # --- sandboxes

    async def run_sandbox(self, config: rt.SandboxConfig, runtime_handler: str = "") -> str:
        request = pb.RunPodSandboxRequest(config=convert.sandbox_config(config), runtime_handler=runtime_handler)
        answer = await self._runtime("RunPodSandbox", request, pb.RunPodSandboxResponse, SANDBOX_DEADLINE_SECONDS)
        return answer.pod_sandbox_id

    async def stop_sandbox(self, sandbox_id: str) -> None:
        request = pb.StopPodSandboxRequest(pod_sandbox_id=sandbox_id)
        await self._runtime("StopPodSandbox", request, pb.StopPodSandboxResponse)

    async def remove_sandbox(self, sandbox_id: str) -> None:
        request = pb.RemovePodSandboxRequest(pod_sandbox_id=sandbox_id)
        await self._runtime("RemovePodSandbox", request, pb.RemovePodSandboxResponse)

    async def sandbox_status(self, sandbox_id: str) -> rt.SandboxStatus:
        # Verbose, since only there stands the network namespace.
        request = pb.PodSandboxStatusRequest(pod_sandbox_id=sandbox_id, verbose=True)
        answer = await self._runtime("PodSandboxStatus", request, pb.PodSandboxStatusResponse)
        return convert.sandbox_status(answer)

    async def list_sandboxes(self, labels: Mapping[str, str] | None = None) -> Sequence[rt.SandboxSummary]:
        request = pb.ListPodSandboxRequest(filter=pb.PodSandboxFilter(label_selector=dict(labels or {})))
        answer = await self._runtime("ListPodSandbox", request, pb.ListPodSandboxResponse)
        return [convert.sandbox_summary(s) for s in answer.items]

    # --- containers

    async def create_container(
        self, sandbox_id: str, config: rt.ContainerConfig, sandbox_config: rt.SandboxConfig
    ) -> str:
        request = pb.CreateContainerRequest(
            pod_sandbox_id=sandbox_id,
            config=convert.container_config(config),
            sandbox_config=convert.sandbox_config(sandbox_config),
        )
        answer = await self._runtime("CreateContainer", request, pb.CreateContainerResponse)
        return answer.container_id

    async def start_container(self, container_id: str) -> None:
        request = pb.StartContainerRequest(container_id=container_id)
        await self._runtime("StartContainer", request, pb.StartContainerResponse)

    async def stop_container(self, container_id: str, timeout_seconds: int) -> None:
        """Returns when the container has ended: by its stop signal, or killed after `timeout_seconds`."""
        request = pb.StopContainerRequest(container_id=container_id, timeout=timeout_seconds)
        await self._runtime(
            "StopContainer", request, pb.StopContainerResponse, REQUEST_DEADLINE_SECONDS + timeout_seconds
        )

    async def remove_container(self, container_id: str) -> None:
        request = pb.RemoveContainerRequest(container_id=container_id)
        await self._runtime("RemoveContainer", request, pb.RemoveContainerResponse)
        self._out_of_memory.pop(container_id, None)

    async def container_status(self, container_id: str) -> rt.ContainerStatus:
        request = pb.ContainerStatusRequest(container_id=container_id)
        answer = await self._runtime("ContainerStatus", request, pb.ContainerStatusResponse)
        status = convert.container_status(answer.status)
        if (
            status.state is rt.ContainerState.EXITED
            and status.exit_code != 0
            and status.reason in ("", "Error")
            and container_id in self._out_of_memory
        ):
            return replace(status, reason="OOMKilled")
        return status

    async def list_containers(
        self, *, sandbox_id: str = "", labels: Mapping[str, str] | None = None
    ) -> Sequence[rt.ContainerSummary]:
        request = pb.ListContainersRequest(
            filter=pb.ContainerFilter(pod_sandbox_id=sandbox_id, label_selector=dict(labels or {}))
        )
        answer = await self._runtime("ListContainers", request, pb.ListContainersResponse)
        return [convert.container_summary(c) for c in answer.containers]

    async def update_container_resources(self, container_id: str, resources: rt.LinuxResources) -> None:
        request = pb.UpdateContainerResourcesRequest(container_id=container_id, linux=convert.resources(resources))
        await self._runtime("UpdateContainerResources", request, pb.UpdateContainerResourcesResponse)

    async def container_pid(self, container_id: str) -> int:
        request = pb.ContainerStatusRequest(container_id=container_id, verbose=True)
        return convert.container_pid(await self._runtime("ContainerStatus", request, pb.ContainerStatusResponse))

    async def container_usage(self, labels: Mapping[str, str] | None = None) -> Sequence[rt.ContainerUsage]:
        request = pb.ListContainerStatsRequest(filter=pb.ContainerStatsFilter(label_selector=dict(labels or {})))
        answer = await self._runtime("ListContainerStats", request, pb.ListContainerStatsResponse)
        return [convert.usage(s) for s in answer.stats]

    # --- commands and streams

    async def exec_sync(self, container_id: str, command: Sequence[str], timeout_seconds: float) -> rt.ExecResult:
        """Runs a command to its end. CRI counts whole seconds: a part of one is rounded up. `timeout_seconds` of
        zero or less means no limit of the command's own, only the call's deadline. Raises `RuntimeFailure`, with
        ``timed_out`` where the limit passed; the runtime kills the command then."""
        limit = max(0, math.ceil(timeout_seconds))
        request = pb.ExecSyncRequest(container_id=container_id, cmd=command, timeout=limit)
        answer = await self._runtime("ExecSync", request, pb.ExecSyncResponse, REQUEST_DEADLINE_SECONDS + limit)
        return rt.ExecResult(answer.exit_code, answer.stdout, answer.stderr)

    async def exec(
        self, container_id: str, command: Sequence[str], *, tty: bool, stdin: bool, stdout: bool, stderr: bool
    ) -> str:
        request = pb.ExecRequest(
            container_id=container_id, cmd=command, tty=tty, stdin=stdin, stdout=stdout, stderr=stderr
        )
        return (await self._runtime("Exec", request, pb.ExecResponse)).url

    async def attach(self, container_id: str, *, tty: bool, stdin: bool, stdout: bool, stderr: bool) -> str:
        request = pb.AttachRequest(container_id=container_id, tty=tty, stdin=stdin, stdout=stdout, stderr=stderr)
        return (await self._runtime("Attach", request, pb.AttachResponse)).url

    async def port_forward(self, sandbox_id: str, ports: Sequence[int]) -> str:
        request = pb.PortForwardRequest(pod_sandbox_id=sandbox_id, port=ports)
        return (await self._runtime("PortForward", request, pb.PortForwardResponse)).url

    async def reopen_container_log(self, container_id: str) -> None:
        request = pb.ReopenContainerLogRequest(container_id=container_id)
        await self._runtime("ReopenContainerLog", request, pb.ReopenContainerLogResponse)

    # --- images

    async def pull_image(
        self, image: str, auth: rt.RegistryAuth | None = None, sandbox_config: rt.SandboxConfig | None = None
    ) -> str:
        request = pb.PullImageRequest(
            image=pb.ImageSpec(image=image, user_specified_image=image),
            auth=convert.auth(auth),
            sandbox_config=None if sandbox_config is None else convert.sandbox_config(sandbox_config),
        )
        return (await self._image("PullImage", request, pb.PullImageResponse, PULL_DEADLINE_SECONDS)).image_ref

    async def image_status(self, image: str) -> rt.ImageStatus | None:
        request = pb.ImageStatusRequest(image=pb.ImageSpec(image=image))
        answer = await self._image("ImageStatus", request, pb.ImageStatusResponse)
        return convert.image_status(answer.image) if answer.HasField("image") and answer.image.id else None

    async def list_images(self) -> Sequence[rt.ImageStatus]:
        answer = await self._image("ListImages", pb.ListImagesRequest(), pb.ListImagesResponse)
        return [convert.image_status(image) for image in answer.images]

    async def remove_image(self, image: str) -> None:
        request = pb.RemoveImageRequest(image=pb.ImageSpec(image=image))
        await self._image("RemoveImage", request, pb.RemoveImageResponse)

    async def image_filesystem_bytes(self) -> int:
        """Bytes that images and writable layers use on the runtime's file systems, together."""
        answer = await self._image("ImageFsInfo", pb.ImageFsInfoRequest(), pb.ImageFsInfoResponse)
        return sum(fs.used_bytes.value for fs in answer.image_filesystems)

    # --- events

    async def events(self) -> AsyncIterator[rt.RuntimeEvent]:
        """RESYNC, then events as they come; after a break RESYNC again, when the runtime is back. A STOPPED event
        comes when the status already says so. Every call has a subscription of its own, ended by closing the
        iterator (``aclosing``)."""
        pause = _RECONNECT_MIN_SECONDS
        while True:
            try:
                name = (await self.version()).name
                # containerd's own events: they exist in every version, tell of OOM, and can be waited for.
                stream = (
                    containerd_events(self._channel, self._note_out_of_memory)
                    if name == "containerd"
                    else cri_events(self._channel)
                )
                async with aclosing(cast(Any, stream)) as events:
                    async for event in events:
                        if event.kind is not rt.EventKind.RESYNC:
                            # Only a stream that brings something has recovered.
                            pause = _RECONNECT_MIN_SECONDS
                        yield event
            except rt.RuntimeFailure as error:
                log.info("runtime events interrupted", error=str(error), retry_s=pause)
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(pause * 2, _RECONNECT_MAX_SECONDS)

    def _note_out_of_memory(self, container_id: str) -> None:
        self._out_of_memory[container_id] = None
        self._out_of_memory.move_to_end(container_id)
        while len(self._out_of_memory) > _OOM_REMEMBERED:
            self._out_of_memory.popitem(last=False)
