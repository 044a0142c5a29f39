"""The gRPC channel to a runtime's socket: every call has a deadline, every failure becomes a `RuntimeFailure`.

A call that finds no server fails at once instead of waiting for one: whoever must outlast a restart of the runtime
retries with its own back-off. The channel reconnects by itself. One event loop owns a channel.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar, cast

import grpc
import grpc.aio
from google.protobuf.message import Message

from pybernetes.kubelet.runtime import RuntimeFailure

M = TypeVar("M", bound=Message)

# A message as large as upstream's client takes: a list of many containers with large annotations is one message.
_MESSAGE_LIMIT_BYTES = 16 * 1024 * 1024

_OPTIONS = (
    ("grpc.max_receive_message_length", _MESSAGE_LIMIT_BYTES),
    ("grpc.max_send_message_length", _MESSAGE_LIMIT_BYTES),
    # After a restart of the runtime the socket is back within a second: do not back off for minutes.
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 1000),
    # No proxy of the environment's ever applies to a local socket.
    ("grpc.enable_http_proxy", 0),
    # Sockets of several runtimes in one process (tests, several nodes) share no connection.
    ("grpc.use_local_subchannel_pool", 1),
)


def failure_of(error: grpc.aio.AioRpcError) -> RuntimeFailure:
    """The runtime's own words, without gRPC's wrapping."""
    code = error.code()
    details = error.details() or code.name
    return RuntimeFailure(
        details,
        not_found=code is grpc.StatusCode.NOT_FOUND,
        timed_out=code is grpc.StatusCode.DEADLINE_EXCEEDED,
    )


class Channel:
    """A connection to one Unix socket."""

    def __init__(self, socket_path: str) -> None:
        self.socket_path = socket_path
        self._channel = grpc.aio.insecure_channel(f"unix:{socket_path}", options=_OPTIONS)
        self._methods: dict[str, Any] = {}

    async def call(
        self,
        method: str,
        request: Message,
        answer: type[M],
        *,
        deadline_seconds: float,
        metadata: Sequence[tuple[str, str]] = (),
    ) -> M:
        """One request and its answer; `method` is ``/package.Service/Method``. Raises `RuntimeFailure`. Cancelled,
        it cancels the call, which the runtime may nevertheless have carried out."""
        stub = self._methods.get(method)
        if stub is None:
            stub = self._methods[method] = self._channel.unary_unary(
                method, request_serializer=_serialize, response_deserializer=answer.FromString
            )
        try:
            return cast(M, await stub(request, timeout=deadline_seconds, metadata=tuple(metadata)))
        except grpc.aio.AioRpcError as error:
            raise failure_of(error) from error

    def stream(
        self, method: str, request: Message, answer: type[M], *, metadata: Sequence[tuple[str, str]] = ()
    ) -> Any:
        """A call with a stream of answers (`async for`), without a deadline; ``cancel`` it to end it. It raises
        grpc's own error, for `failure_of`."""
        return self._channel.unary_stream(
            method, request_serializer=_serialize, response_deserializer=answer.FromString
        )(request, metadata=tuple(metadata))

    async def close(self) -> None:
        await self._channel.close()


def _serialize(message: Message) -> bytes:
    return message.SerializeToString()
