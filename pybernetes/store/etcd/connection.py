"""Calls to an etcd cluster of several members: which one is asked, when to ask another, what its errors mean.

All calls go to one member for as long as that answers; one that fails, or cannot be reached, is left for the next. A
call is repeated only where that is certain to be right: the request never left (no connection), etcd says that it did
nothing with it, or doing it twice is doing it once. A write that was sent and got no answer is `OutcomeUnknown`.

One event loop owns a connection. Every call has a deadline and all its repetitions a common one. A member that takes
longer than `SLOW_SECONDS` over a call is asked how it is (which needs neither its disk nor the others); without an
answer it is left, and all calls that it has end as if the connection had broken. Connections are watched by HTTP/2
pings too.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import grpc
import grpc.aio
import structlog
from google.protobuf.message import Message

from pybernetes.store.etcd import rpc_pb2 as pb
from pybernetes.store.etcd.config import EtcdConfig
from pybernetes.store.interface import (
    Compacted,
    FutureRevision,
    OutcomeUnknown,
    StoreClosed,
    StoreError,
    StoreFull,
    StoreUnavailable,
)

M = TypeVar("M", bound=Message)

CONNECT_SECONDS = 2.0
"""A member that has not taken the connection by then is left for the next."""
RETRY_SECONDS = 6.0
"""How long a call may be repeated: longer than etcd takes to elect a leader."""
SLOW_SECONDS = 1.0
_BACKOFF_FIRST_SECONDS = 0.05
_BACKOFF_MAX_SECONDS = 1.0

_OPTIONS = (
    # A page of a large store is one message.
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    # What is repeated is decided here.
    ("grpc.enable_retries", 0),
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 1000),
    # etcd allows a ping every five seconds.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    # Servers of one process (tests) share no connection.
    ("grpc.use_local_subchannel_pool", 1),
)

# Messages by which etcd says that it did nothing with the request (api/v3rpc/rpctypes).
_NOT_DONE = ("etcdserver: no leader", "etcdserver: too many requests")
_TOKEN_ENDED = (
    "etcdserver: invalid auth token",
    "etcdserver: revision of auth store is old",
    "etcdserver: user name is empty",
)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Method(Generic[M]):
    """A unary method. `repeatable`: doing it twice is doing it once."""

    path: str
    answer: type[M]
    repeatable: bool
    deadline_seconds: float


RANGE = Method("/etcdserverpb.KV/Range", pb.RangeResponse, True, 30.0)
REVISION = Method("/etcdserverpb.KV/Range", pb.RangeResponse, True, 2.0)
# etcd gives up on a request itself after five seconds and two election timeouts.
TXN = Method("/etcdserverpb.KV/Txn", pb.TxnResponse, False, 7.0)
COMPACT = Method("/etcdserverpb.KV/Compact", pb.CompactionResponse, True, 30.0)
LEASE_GRANT = Method("/etcdserverpb.Lease/LeaseGrant", pb.LeaseGrantResponse, True, 10.0)
LEASE_REVOKE = Method("/etcdserverpb.Lease/LeaseRevoke", pb.LeaseRevokeResponse, True, 10.0)
STATUS = Method("/etcdserverpb.Maintenance/Status", pb.StatusResponse, True, 5.0)
_PROBE = Method("/etcdserverpb.Maintenance/Status", pb.StatusResponse, True, SLOW_SECONDS)
_AUTHENTICATE = Method("/etcdserverpb.Auth/Authenticate", pb.AuthenticateResponse, True, 5.0)
_WATCH = "/etcdserverpb.Watch/Watch"

WatchCall = Any
"""grpc.aio's stream of WatchRequest and WatchResponse."""


class Abandoned(Exception):
    """A call was given up since its member answers nothing any more."""


class Member:
    """One endpoint and the channel to it."""

    def __init__(self, address: str, credentials: grpc.ChannelCredentials | None) -> None:
        self.address = address
        if credentials is None:
            self.channel = grpc.aio.insecure_channel(address, options=_OPTIONS)
        else:
            self.channel = grpc.aio.secure_channel(address, credentials, options=_OPTIONS)
        self._stubs: dict[str, Any] = {}
        self._calls: set[Any] = set()
        self._times_abandoned = 0

    async def call(self, method: Method[M], request: Message, metadata: Any) -> M:
        """Raises grpc's own error, `Abandoned`."""
        stub = self._stubs.get(method.path)
        if stub is None:
            stub = self._stubs[method.path] = self.channel.unary_unary(
                method.path, request_serializer=_serialize, response_deserializer=method.answer.FromString
            )
        call = stub(request, timeout=method.deadline_seconds, metadata=metadata)
        times_abandoned = self._times_abandoned
        self._calls.add(call)
        try:
            answer: M = await call
        except asyncio.CancelledError:
            # grpc.aio raises this for who awaits a call that somebody has cancelled, too.
            task = asyncio.current_task()
            if times_abandoned != self._times_abandoned and task is not None and not task.cancelling():
                raise Abandoned("the member answers nothing any more") from None
            raise
        finally:
            self._calls.discard(call)
        return answer

    def abandon(self) -> None:
        """Gives up all calls under way."""
        self._times_abandoned += 1
        for call in list(self._calls):
            call.cancel()

    def watch(self, metadata: Any) -> WatchCall:
        return self.channel.stream_stream(
            _WATCH, request_serializer=_serialize, response_deserializer=pb.WatchResponse.FromString
        )(metadata=metadata)

    async def connected(self) -> bool:
        """Waits, at most `CONNECT_SECONDS`, for a connection; False where there is none. With one it does not yield."""
        state = self.channel.get_state(try_to_connect=True)
        if state is grpc.ChannelConnectivity.READY:
            return True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CONNECT_SECONDS):
                while state in (grpc.ChannelConnectivity.IDLE, grpc.ChannelConnectivity.CONNECTING):
                    await self.channel.wait_for_state_change(state)
                    state = self.channel.get_state(try_to_connect=True)
        return state is grpc.ChannelConnectivity.READY


class Connection:
    """Calls to the cluster. `close` it in the loop that made it."""

    def __init__(self, config: EtcdConfig) -> None:
        credentials = None
        if config.tls is not None:
            credentials = grpc.ssl_channel_credentials(config.tls.ca, config.tls.key, config.tls.certificate)
        self._config = config
        self._members = [Member(address, credentials) for address in config.endpoints]
        self._current = 0
        self._metadata: tuple[tuple[str, str], ...] = (("hasleader", "true"),)
        self._token = ""
        self._login = asyncio.Lock()
        self.retry_seconds = RETRY_SECONDS
        self._probes: dict[Member, asyncio.Task[None]] = {}
        self.on_abandoned: Callable[[Member], None] | None = None
        """Told of a member that answers nothing any more."""
        self._closed = False

    async def close(self) -> None:
        self._closed = True
        probes = list(self._probes.values())
        for probe in probes:
            probe.cancel()
        await asyncio.gather(*probes, return_exceptions=True)
        for member in self._members:
            await member.channel.close()

    def failed(self, member: Member) -> None:
        """Takes the next member from now on, where this is still the one."""
        if self._members[self._current] is member:
            self._current = (self._current + 1) % len(self._members)

    async def call(self, method: Method[M], request: Message) -> M:
        """One request, its answer. Raises `StoreUnavailable`, `OutcomeUnknown` and the store's other errors."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self.retry_seconds
        backoff = _BACKOFF_FIRST_SECONDS
        while True:
            member = await self.member(until)
            token = self._token
            if not token and self._config.user:
                token = await self._authenticate(member, "")
            slow = loop.call_later(SLOW_SECONDS, self._suspect, member)
            try:
                return await member.call(method, request, self._metadata)
            except grpc.aio.AioRpcError as error:
                self._raise_if_final(method, member, token, error)
                if loop.time() > until:
                    raise StoreUnavailable(f"etcd at {member.address}: {_text(error)}") from error
                if _details(error) in _TOKEN_ENDED:
                    await self._authenticate(member, token)
                    until = min(until, loop.time() + CONNECT_SECONDS)
                    continue
                self.failed(member)
            except Abandoned as error:
                if not method.repeatable:
                    raise OutcomeUnknown(f"etcd at {member.address} has not answered a write: {error}") from error
            except asyncio.CancelledError:
                if self._closed:
                    raise StoreClosed("the store is closed") from None
                raise
            finally:
                slow.cancel()
            await asyncio.sleep(backoff)
            backoff = min(backoff * 2, _BACKOFF_MAX_SECONDS)

    def _suspect(self, member: Member) -> None:
        """Asks a member that is slow whether it is there at all."""
        if not self._closed and len(self._members) > 1 and member not in self._probes:
            task = asyncio.get_running_loop().create_task(self._probe(member), name="store/etcd-probe")
            self._probes[member] = task
            task.add_done_callback(lambda _: self._probes.pop(member))

    async def _probe(self, member: Member) -> None:
        try:
            await member.call(_PROBE, pb.StatusRequest(), self._metadata)
        except Abandoned:
            return
        except grpc.aio.AioRpcError as error:
            log.warning("an etcd member does not answer", member=member.address, error=_text(error))
            self.failed(member)
            member.abandon()
            if self.on_abandoned is not None:
                self.on_abandoned(member)

    def _raise_if_final(self, method: Method[M], member: Member, token: str, error: grpc.aio.AioRpcError) -> None:
        """Raises the store's error, unless the call may be repeated."""
        code, details = error.code(), _details(error)
        if self._closed:
            raise StoreClosed("the store is closed") from error
        if details in _NOT_DONE or (details in _TOKEN_ENDED and token):
            return
        if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED):
            if method.repeatable:
                return
            self.failed(member)
            raise OutcomeUnknown(f"etcd at {member.address} has not answered a write: {_text(error)}") from error
        raise store_error(member, error) from error

    async def member(self, until: float) -> Member:
        """A member with a connection, found by the loop's time `until`. Raises `StoreUnavailable`."""
        if self._closed:
            raise StoreClosed("the store is closed")
        member = self._members[self._current]
        if await member.connected():
            return member
        backoff = _BACKOFF_FIRST_SECONDS
        while True:
            for _ in self._members:
                member = self._members[self._current]
                if await member.connected():
                    return member
                if self._closed:
                    raise StoreClosed("the store is closed")
                self.failed(member)
            if asyncio.get_running_loop().time() >= until:
                reason = await self._reason(member)
                raise StoreUnavailable(f"etcd cannot be reached at {', '.join(self._config.endpoints)}: {reason}")
            await asyncio.sleep(backoff)
            backoff = min(backoff * 2, _BACKOFF_MAX_SECONDS)

    async def _reason(self, member: Member) -> str:
        """Why a connection fails, in gRPC's words: only a call gets to hear them."""
        try:
            await member.call(STATUS, pb.StatusRequest(), self._metadata)
        except (grpc.aio.AioRpcError, Abandoned) as error:
            return _text(error)
        return "too slow"

    async def _authenticate(self, member: Member, ended: str) -> str:
        """Gets a token in place of the one that `ended`. Raises StoreError where user or password are wrong."""
        async with self._login:
            if self._token != ended:
                return self._token
            request = pb.AuthenticateRequest(name=self._config.user, password=self._config.password)
            try:
                self._token = (await member.call(_AUTHENTICATE, request, ())).token
            except Abandoned as error:
                raise StoreUnavailable(f"etcd at {member.address}: {error}") from error
            except grpc.aio.AioRpcError as error:
                if error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
                    self.failed(member)
                    raise StoreUnavailable(f"etcd at {member.address}: {_text(error)}") from error
                raise store_error(member, error) from error
            self._metadata = (("hasleader", "true"), ("token", self._token))
            return self._token

    async def watch(self) -> tuple[Member, WatchCall]:
        """A new stream of watches, and the member it goes to. Raises `StoreUnavailable`."""
        member = await self.member(asyncio.get_running_loop().time() + self.retry_seconds)
        if self._config.user and not self._token:
            await self._authenticate(member, "")
        return member, member.watch(self._metadata)

    async def watch_refused(self, member: Member, reason: str) -> None:
        """What follows when a watch ended with this reason: a new token, or another member the next time."""
        if self._config.user and any(text in reason for text in (*_TOKEN_ENDED, "permission denied")):
            await self._authenticate(member, self._token)
        else:
            self.failed(member)


def store_error(member: Member, error: grpc.aio.AioRpcError) -> StoreError:
    """The store's error for etcd's. `Compacted` comes without its revision: etcd does not tell it here."""
    details = _details(error)
    if details == "etcdserver: mvcc: required revision has been compacted":
        return Compacted(0)
    if details == "etcdserver: mvcc: required revision is a future revision":
        return FutureRevision("the revision has not happened yet")
    if details == "etcdserver: mvcc: database space exceeded":
        return StoreFull(
            f"etcd at {member.address} has reached its space quota; compact and defragment it, then disarm its alarm"
        )
    return StoreError(f"etcd at {member.address}: {_text(error)}")


def _details(error: grpc.aio.AioRpcError) -> str:
    return error.details() or ""


def _text(error: grpc.aio.AioRpcError | Abandoned) -> str:
    return str(error) if isinstance(error, Abandoned) else _details(error) or str(error.code().name)


def _serialize(message: Message) -> bytes:
    return message.SerializeToString()
