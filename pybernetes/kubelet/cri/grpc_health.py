"""The gRPC health check of probes (``grpc.health.v1.Health/Check``).

HealthCheckRequest has one field, a string numbered 1, and HealthCheckResponse one enumeration numbered 1, so the
well-known wrappers StringValue and Int32Value have the same bytes on the wire and no definition is needed here.
"""

from __future__ import annotations

import asyncio

import grpc
import grpc.aio
from google.protobuf.wrappers_pb2 import Int32Value, StringValue

_STATUS_NAMES = {0: "UNKNOWN", 1: "SERVING", 2: "NOT_SERVING", 3: "SERVICE_UNKNOWN"}
_SERVING = 1


async def check(host: str, port: int, service: str, timeout_seconds: float) -> str | None:
    """None where the service is healthy, else what is wrong, in upstream's words (``pkg/probe/grpc``)."""
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout_seconds
    options = [("grpc.primary_user_agent", "kube-probe/1.37"), ("grpc.enable_http_proxy", 0)]
    async with grpc.aio.insecure_channel(address, options=options) as channel:
        try:
            async with asyncio.timeout(timeout_seconds):
                await channel.channel_ready()
        except TimeoutError:
            return (
                f'timeout: failed to connect service "{address}" within {timeout_seconds:g}s: context deadline exceeded'
            )
        call = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=StringValue.SerializeToString,
            response_deserializer=Int32Value.FromString,
        )
        try:
            answer = await call(StringValue(value=service), timeout=max(0.001, deadline - loop.time()))
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.UNIMPLEMENTED:
                return (
                    "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): "
                    f"{error.details()}"
                )
            if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
                return f"timeout: health rpc did not complete within {timeout_seconds:g}s"
            return (
                f"error: health rpc probe failed: rpc error: code = {_go_code(error.code())} desc = {error.details()}"
            )
    if answer.value != _SERVING:
        return f'service unhealthy (responded with "{_STATUS_NAMES.get(answer.value, str(answer.value))}")'
    return None


def _go_code(code: grpc.StatusCode) -> str:
    """``NOT_FOUND`` as Go prints it: ``NotFound``."""
    return "".join(part.capitalize() for part in code.name.split("_"))
