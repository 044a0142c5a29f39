"""One watch on one gRPC stream: etcd's answers put together into whole revisions. Ends with the error that ended it."""

from __future__ import annotations

import asyncio

import grpc
import grpc.aio

from pybernetes.store.etcd import rpc_pb2 as pb
from pybernetes.store.etcd.connection import Connection, Member, WatchCall
from pybernetes.store.interface import Compacted, StoreError, StoreUnavailable

CREATE_SECONDS = 5.0


class WatchStream:
    """Make it with `open`, read it with `next`, `cancel` it."""

    def __init__(self, member: Member, call: WatchCall) -> None:
        self.member = member
        self._call = call
        self._cancelled = False

    @classmethod
    async def open(cls, connection: Connection, start: bytes, end: bytes, from_revision: int) -> WatchStream:
        """A watch of [start, end) from the revision on. Raises `Compacted` with etcd's own compact revision,
        `StoreUnavailable`, StoreError."""
        member, call = await connection.watch()
        stream = cls(member, call)
        request = pb.WatchCreateRequest(
            key=start, range_end=end, start_revision=from_revision, prev_kv=True, fragment=True
        )
        try:
            async with asyncio.timeout(CREATE_SECONDS):
                await call.write(pb.WatchRequest(create_request=request))
                answer = await stream._read()
        except TimeoutError as error:
            stream.cancel()
            connection.failed(member)
            raise StoreUnavailable(f"etcd at {member.address} has not answered a watch") from error
        except (asyncio.InvalidStateError, grpc.aio.AioRpcError) as error:
            stream.cancel()
            connection.failed(member)
            raise StoreUnavailable(f"etcd at {member.address}: {error}") from error
        except StoreError as error:
            stream.cancel()
            await connection.watch_refused(member, str(error))
            raise
        assert answer.created
        return stream

    async def next(self) -> pb.WatchResponse:
        """The next answer with events, whole. Raises `Compacted`, `StoreUnavailable`, StoreError."""
        whole: pb.WatchResponse | None = None
        while True:
            answer = await self._read()
            if whole is None:
                whole = answer
            else:
                whole.events.extend(answer.events)
            if answer.fragment:
                continue
            if whole.events:
                return whole
            whole = None

    async def _read(self) -> pb.WatchResponse:
        try:
            answer = await self._call.read()
        except grpc.aio.AioRpcError as error:
            raise StoreUnavailable(f"etcd at {self.member.address}: {error.details() or error.code().name}") from error
        except asyncio.CancelledError:
            # grpc.aio raises this for the reader of a call that somebody has cancelled too.
            task = asyncio.current_task()
            if self._cancelled and task is not None and not task.cancelling():
                raise StoreUnavailable(f"the watch at {self.member.address} was given up") from None
            raise
        if answer is grpc.aio.EOF:
            raise StoreUnavailable(f"etcd at {self.member.address} has ended a watch: {await self._call.details()}")
        if answer.canceled:
            if answer.compact_revision:
                raise Compacted(answer.compact_revision)
            raise StoreError(f"etcd at {self.member.address} has ended a watch: {answer.cancel_reason}")
        assert isinstance(answer, pb.WatchResponse)
        return answer

    def cancel(self) -> None:
        """Ends the watch; who reads it is told `StoreUnavailable`."""
        self._cancelled = True
        self._call.cancel()

    async def close(self) -> None:
        """Cancels, and waits for the call's end."""
        self.cancel()
        await self._call.code()
