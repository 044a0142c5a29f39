"""HTTP: from a request on the wire to an operation, and its answer back. No router and no middlewares: one walk.

authenticate -> parse the path -> authorize -> negotiate -> operate -> write cached bytes

An error anywhere becomes a ``v1.Status``; an unexpected one is logged with an id, and the id is all that the client
sees of it.
"""

from __future__ import annotations

import asyncio
import itertools
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

import structlog
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web_protocol import RequestPayloadError

from pybernetes.api import errors
from pybernetes.api.meta import Object
from pybernetes.api.resources import Resource
from pybernetes.api.schema import text
from pybernetes.api.user import ANONYMOUS, UNAUTHENTICATED, User
from pybernetes.apiserver import encoding, patching, paths
from pybernetes.apiserver import options as parse
from pybernetes.apiserver.deadlines import Deadlines, parse_timeout, too_late
from pybernetes.apiserver.entries import Entry
from pybernetes.apiserver.flowcontrol.control import Flow, FlowControl, Overloaded
from pybernetes.apiserver.flowcontrol.dump import Asked
from pybernetes.apiserver.flowcontrol.seats import Waiter
from pybernetes.apiserver.interfaces import Authenticator, ConnectHandler, HandlerKey, RequestInfo, Undecided
from pybernetes.apiserver.metrics import Metrics, RequestLabels
from pybernetes.apiserver.negotiation import Media, accepts_gzip, negotiate
from pybernetes.apiserver.operations import Operations, Written
from pybernetes.apiserver.options import WriteOptions
from pybernetes.apiserver.paths import Target
from pybernetes.apiserver.rendering import is_read, render_answer, render_list
from pybernetes.apiserver.replies import (
    GZIP_FROM_BYTES,
    Reply,
    add_warnings,
    compress,
    error_reply,
    render,
    text_reply,
)
from pybernetes.apiserver.requests import BODY_BYTES_MAX, Request
from pybernetes.apiserver.store_errors import api_error
from pybernetes.apiserver.watch_stream import WatchStreams
from pybernetes.lib.clock import Clock
from pybernetes.store.interface import StoreError

if TYPE_CHECKING:
    from pybernetes.apiserver.audit.requests import HTTPAudit
    from pybernetes.apiserver.audit.trail import Record

REQUEST_SECONDS_MAX = 60.0
"""How long a request may take, its body's arrival included; watches and connections aside."""

_SHUTDOWN_RETRY_SECONDS = "5"
_SHUTDOWN_TEXT = "The apiserver is shutting down, please try again later.\n"
_HEALTH_PATHS = ("/healthz", "/livez", "/readyz")
_READING = frozenset(("get", "list", "watch", "proxy"))
_ASKED_MAX = 32
"""Questions to authorization webhooks in one request."""
_AUDIT_ID_LENGTH_MAX = 64
_TARGETS_KEPT = 8192
_TARGET_LENGTH_MAX = 512
_NO_QUERY: Mapping[str, str] = {}
_ANONYMOUS = User(ANONYMOUS, "", (UNAUTHENTICATED,))
_CONNECTIONS = frozenset(("exec", "attach", "portforward", "log", "proxy"))
_CONNECT_VERBS = {
    "GET": "get", "HEAD": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete",
    "OPTIONS": "options",
}  # fmt: skip
_PRETTY_AGENTS = ("curl", "Wget", "Mozilla")
_PROTOBUF = "application/vnd.kubernetes.protobuf"
_BODY_TYPES: dict[str, text.MediaType] = {"application/json": "json", "application/yaml": "yaml"}

log = structlog.get_logger(__name__)


NonResource = Callable[[RequestInfo, Request], Any]
"""Answers a path that is no resource: a coroutine function from the request to a response, or None for no such path."""


class HTTPHandler:
    """The aiohttp handler of every connection. One event loop owns it."""

    def __init__(
        self,
        operations: Operations,
        authenticator: Authenticator,
        connect_handlers: Mapping[HandlerKey, ConnectHandler],
        non_resource: NonResource,
        streams: WatchStreams,
        metrics: Metrics,
        clock: Clock,
        *,
        flow_control: FlowControl,
        request_seconds: float = REQUEST_SECONDS_MAX,
        anonymous: bool | frozenset[str] = True,
        audit: HTTPAudit | None = None,
        may_ask: bool = False,
    ) -> None:
        self._operations = operations
        self._authenticator = authenticator
        self._connect_handlers = dict(connect_handlers)
        self._non_resource = non_resource
        self._streams = streams
        self._metrics = metrics
        self._clock = clock
        self._anonymous = anonymous
        self._audit = audit
        # Authorizers that ask others raise `Undecided`; without any, that step is not there.
        self._walk = self._serve_decided if may_ask else self._serve
        self._targets: dict[str, Target] = {}
        self._generation = -1
        self._audit_prefix = str(uuid.uuid4())[:24]
        self._audit_serial = itertools.count()
        self._flow = flow_control
        self._deadlines: Deadlines[_State] = Deadlines(request_seconds)
        self._refusing = False
        metrics.add_inflight(self._inflight_by_kind)

    @property
    def inflight(self) -> int:
        """Requests being served, watches and connections aside."""
        return len(self._deadlines)

    def _inflight_by_kind(self) -> dict[str, int]:
        kinds = [s.info is not None and s.info.verb not in _READING for s in self._deadlines.running()]
        return {"mutating": sum(kinds), "readOnly": len(kinds) - sum(kinds)}

    def under_way(self) -> list[Asked]:
        """The requests that flow control knows of."""
        shift = self._clock.now() - asyncio.get_running_loop().time()
        return [
            Asked(state.info, state.flow, state.seats, started + shift, state.waiter)
            for state, started in self._deadlines.started()
            if state.info is not None and state.flow is not None
        ]

    def refuse(self) -> None:
        """From now on new requests are told that the server is shutting down."""
        self._refusing = True

    def close(self) -> None:
        self._deadlines.close()

    # ---- the walk

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        assert isinstance(request, Request)
        started = time.perf_counter()
        given = request.headers.get("Audit-Id")
        audit_id = _audit_id(given) if given else f"{self._audit_prefix}{next(self._audit_serial):012x}"
        state = _State(request, audit_id, self._deadlines.seconds)
        response: web.StreamResponse
        task = asyncio.current_task()
        assert task is not None
        self._deadlines.enter(state, task, asyncio.get_running_loop().time())
        try:
            response = await self._walk(request, state)
        except Overloaded as error:
            response = text_reply(error.message + "\n", error.code)
            response.add_header("Retry-After", str(error.retry_after_seconds))
            self._metrics.terminated(state.labels(), error.code)
        except errors.ApiError as error:
            response = error_reply(error, state.media_for_errors())
        except web.HTTPRequestEntityTooLarge:
            response = error_reply(errors.RequestEntityTooLarge(f"Request entity too large: limit is {BODY_BYTES_MAX}"))
            response.force_close()
        except StoreError as error:
            response = error_reply(api_error(error))
        except web.HTTPBadRequest as error:  # an upgrade that is none
            response = error_reply(errors.BadRequest(error.text or error.reason), state.media_for_errors())
        except (RequestPayloadError, HttpProcessingError):
            response = error_reply(errors.BadRequest("the body cannot be read"), state.media_for_errors())
            response.force_close()
        except ConnectionError as error:
            log.debug("client went away", path=request.raw_path, error=str(error))
            if state.audit is not None:
                state.audit.closed_early()
            raise
        except asyncio.CancelledError:
            if not state.late:
                if state.audit is not None:
                    state.audit.closed_early()
                raise
            task.uncancel()
            mutating = state.info is not None and state.info.verb not in _READING
            response = error_reply(too_late(mutating=mutating), state.media_for_errors())
            self._metrics.terminated(state.labels(), response.status)
            if not request.content.is_eof():
                response.force_close()
        except Exception as failure:  # noqa: BLE001 - logged, or what was sent was to blame
            if encoding.exceeds_depth(failure):
                response = error_reply(encoding.depth_exceeded(), state.media_for_errors())
            else:
                response = self._panicked(failure, request, state)
        finally:
            self._deadlines.leave(state)
            state.release()
            if state.long_running:
                self._metrics.long_running(state.labels(), -1)
        if self._audit is not None:
            if state.audit is not None:
                self._audit.completed(state.audit, request, response)
            elif state.info is None:
                self._audit.refused(request, state.audit_id, response.status)
        if isinstance(response, Reply):
            response.audit_id = state.audit_id.encode()
            if state.flow is not None:
                response.flow_headers = state.flow.schema.headers
            if self._refusing:
                response.force_close()
            if state.info is not None and state.info.warnings:
                add_warnings(response, state.info.warnings)
            if len(response.body) > GZIP_FROM_BYTES and accepts_gzip(request.headers.get("Accept-Encoding", "")):
                if len(response.body) > 8 * GZIP_FROM_BYTES:
                    await asyncio.to_thread(compress, response)
                else:
                    compress(response)
        self._metrics.observe(
            state.labels(), response.status, None if state.long_running else time.perf_counter() - started
        )
        return response

    @staticmethod
    def _panicked(failure: Exception, request: Request, state: _State) -> Reply:
        if state.audit is not None:
            state.audit.panicked(f"{type(failure).__name__}: {failure}")
        log.exception("request failed", id=state.audit_id, method=request.method, path=request.raw_path)
        return error_reply(
            errors.InternalError(
                f"Internal error occurred: see the API server's log for request {state.audit_id}",
                details={"causes": [{"message": f"request {state.audit_id}"}]},
            )
        )

    async def _serve_decided(self, request: Request, state: _State) -> web.StreamResponse:
        """`_serve`, anew each time that others had to be asked first who may do what: nothing is written by then."""
        for _ in range(_ASKED_MAX):
            try:
                return await self._serve(request, state)
            except Undecided as pending:
                state.release()
                await pending.ask()
        return await self._serve(request, state)

    async def _serve(self, request: Request, state: _State) -> web.StreamResponse:
        raw = request.raw_path
        path, _, query_text = raw.partition("?")
        headers = request.headers
        user = await self._authenticator.authenticate(headers, request.connection.certificate)
        if user is None:
            if self._anonymous is not True and (not self._anonymous or path not in self._anonymous):
                raise errors.Unauthorized("Unauthorized")
            user = _ANONYMOUS
        query: Mapping[str, str] = _NO_QUERY
        query_lists: Mapping[str, Sequence[str]] = {}
        if query_text:
            query, query_lists = parse_query(query_text)
        method = request.method
        target = self._targets.get(path)
        if target is None or self._generation != self._operations.kinds.generation:
            target = self._parse(path)
        info = RequestInfo(
            method.lower(), path, user, target.resource, target.namespace, target.name, target.subresource,
            target.subpath, query, query_lists, headers.get("User-Agent", ""),
        )  # fmt: skip
        state.info = info
        if self._audit is not None:
            state.audit = self._audit.begin(info, request, target, state.audit_id)
        for name in headers:
            if name[0] in "Ii" and name[:12].lower() == "impersonate-":
                info.user = await self._authenticator.impersonate(user, headers)
                if state.audit is not None:
                    state.audit.impersonated = info.user
                break
        if query_text and query.get("timeout") and not _may_last(target, query):
            state.limit_seconds = min(parse_timeout(query["timeout"]) or state.limit_seconds, state.limit_seconds)
            self._deadlines.shorten(state, state.limit_seconds)
        if self._refusing and not path.startswith(_HEALTH_PATHS):
            return _shutting_down()
        if target.resource is None:
            return await self._serve_path(info, request, state, target)
        if target.subresource in _CONNECTIONS:
            return await self._connect(info, request, state)
        info.verb = verb = self._verb(info, method, target)
        flow = state.flow = self._flow.classify(info)
        width = 1 if verb != "list" and verb != "watch" else self._flow.width(flow, info)
        if flow.level.try_take(width):
            state.seats = width
        else:
            await self._queue(state, flow, width)
        flow.schema.dispatched += 1
        self._operations.authorize_request(info)
        state.media = media = self._media(info, request, query)
        match verb:
            case "get":
                answer = await self._operations.get(info, query.get("resourceVersion", ""))
                return self._answer(info, answer, media)
            case "list":
                listing = await self._operations.list(info, parse.list_options(query))
                body, content_type = render_list(info, listing, media, self._clock.now())
                return Reply(body, content_type=content_type)
            case "watch":
                self._long_running(state)
                names = {"Audit-Id": state.audit_id, **flow.schema.header_names()}
                return await self._streams.serve(info, request, media, names, state.release)
            case "delete":
                return await self._delete(info, request, media)
            case "deletecollection":
                return await self._delete_collection(info, request, media)
        written = await self._write(info, request, verb)
        return self._answer(info, written.answer, media, status=201 if written.created else 200)

    def _parse(self, path: str) -> Target:
        """The target of a path, remembered: clients ask for the same few again and again."""
        kinds = self._operations.kinds
        if len(self._targets) >= _TARGETS_KEPT or self._generation != kinds.generation:
            self._targets.clear()
            self._generation = kinds.generation
        target = paths.parse(path, kinds)
        if len(path) <= _TARGET_LENGTH_MAX:
            self._targets[path] = target
        return target

    def _verb(self, info: RequestInfo, method: str, target: Target) -> str:
        """The request's verb. Raises `MethodNotAllowed` and `NotFound`."""
        resource = target.resource
        assert resource is not None
        if resource.deprecation:
            info.warnings.append(resource.deprecation)
        if target.subresource:
            subresource = resource.subresource(target.subresource)
            if subresource is None:
                raise not_served()
            verb = {"GET": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}.get(method)
            if verb is None or verb not in subresource.verbs:
                raise method_not_allowed()
            return verb
        if method == "GET":
            watch = target.watch or parse.flag(info.query, "watch")
            verb = ("watch" if watch else "list") if not target.name or target.watch else "get"
        elif target.name:
            verb = {"PUT": "update", "PATCH": "patch", "DELETE": "delete"}.get(method, "")
        else:
            verb = {"POST": "create", "DELETE": "deletecollection"}.get(method, "")
        if verb not in resource.verbs or (verb == "create" and resource.namespaced and not target.namespace):
            raise method_not_allowed()
        if target.watch and target.name:
            info.query = {**info.query, "fieldSelector": f"metadata.name={target.name}"}
            info.name = ""
        return verb

    # ---- paths that are no resources, and connections

    async def _serve_path(
        self, info: RequestInfo, request: Request, state: _State, target: Target
    ) -> web.StreamResponse:
        if target.known_version:
            # As a resource nobody serves: whoever may not ask for it learns no more than that.
            raise not_served()
        flow = state.flow = self._flow.classify(info)
        if flow.level.try_take(1):
            state.seats = 1
        else:
            await self._queue(state, flow, 1)
        flow.schema.dispatched += 1
        self._operations.authorize(info)
        response: web.StreamResponse | None = await self._non_resource(info, request)
        return response if response is not None else text_reply("404 page not found\n", 404)

    async def _connect(self, info: RequestInfo, request: Request, state: _State) -> web.StreamResponse:
        resource = info.resource
        assert resource is not None
        subresource = resource.subresource(info.subresource)
        if subresource is None:
            raise not_served()
        verb = _CONNECT_VERBS.get(request.method, "")
        if verb not in subresource.verbs:
            raise method_not_allowed()
        info.verb = verb
        self._operations.authorize(info)
        handler = self._connect_handlers.get((resource.group, resource.plural, info.subresource))
        if handler is None:
            raise not_served()
        if info.subresource != "log":
            await self._operations.admit_connection(info)
        self._long_running(state)
        return await handler(info, request)

    async def _queue(self, state: _State, flow: Flow, width: int) -> None:
        """Waits for the request's seats; a client that goes away gives its place up. Raises `Overloaded`."""
        connection = state.request.connection
        task = asyncio.current_task()
        assert task is not None
        connection.disconnected = partial(_drop, task)
        try:
            await self._flow.wait(flow, width, state.limit_seconds, state.queued)
        finally:
            connection.disconnected = None
        state.seats = width

    def _long_running(self, state: _State) -> None:
        """A watch or a connection may last."""
        state.long_running = True
        self._deadlines.leave(state)
        self._metrics.long_running(state.labels(), 1)

    # ---- answers

    @staticmethod
    def _media(info: RequestInfo, request: Request, query: Mapping[str, str]) -> Media:
        media = negotiate(request.headers.get("Accept", ""))
        if media.transform == "Table" and info.verb == "create" and not is_read(info):
            media = negotiate(request.headers.get("Accept", ""), tables=False)
        if "pretty" in query:
            if parse.flag(query, "pretty"):
                return Media(media.type, media.transform, media.version, pretty=True)
        elif request.headers.get("User-Agent", "").startswith(_PRETTY_AGENTS):
            return Media(media.type, media.transform, media.version, pretty=True)
        return media

    def _answer(self, info: RequestInfo, answer: Entry | Object, media: Media, status: int = 200) -> Reply:
        body, content_type = render_answer(info, answer, media, self._clock.now())
        return Reply(body, status=status, content_type=content_type)

    # ---- writes

    async def _write(self, info: RequestInfo, request: Request, verb: str) -> Written:
        query = info.query
        kind = {"create": "CreateOptions", "update": "UpdateOptions", "patch": "PatchOptions"}[verb]
        options = parse.write_options(query, kind)
        info.field_manager = options.field_manager
        info.dry_run = parse.dry_run(query, info.query_lists.get("dryRun", ()), kind)
        if verb == "patch":
            return await self._operations.patch(info, await self._read_patch(request, options), options)
        body = await self._read_object(info, request, options)
        operation = self._operations.create if verb == "create" else self._operations.update
        return await operation(info, body.value, options, body.faults)

    async def _read_object(self, info: RequestInfo, request: Request, options: WriteOptions) -> text.Body:
        what = self._operations.body_type(info)
        if isinstance(what, Resource):
            api_version, kind = what.api_version, what.kind
        else:
            api_version, kind = f"{what[0]}/{what[1]}" if what[0] else what[1], what[2]
        if options.field_validation == "Ignore":
            return await _parse(request, api_version, kind)
        specs = self._operations.recent_specs(what)
        return await _parse(request, api_version, kind, find_duplicates=True, specs=specs)

    async def _read_patch(self, request: Request, options: WriteOptions) -> patching.Patch:
        content_type = request.content_type
        if content_type not in patching.TYPES:
            raise patching.unsupported(content_type)
        return patching.read(content_type, await _read(request), options.field_validation)

    async def _delete_body(self, request: Request) -> Object | None:
        if not request.can_read_body and request.body_read is None:
            return None
        value = (await _parse(request, "v1", "DeleteOptions")).value
        if value.get("kind") not in (None, "", "DeleteOptions"):
            raise errors.BadRequest(f"decoded object cannot be converted to DeleteOptions: kind is {value.get('kind')}")
        return dict(value)

    async def _delete(self, info: RequestInfo, request: Request, media: Media) -> Reply:
        options, info.dry_run = parse.delete_options(info.query, await self._delete_body(request))
        deleted = await self._operations.delete(info, options)
        status = 202 if not deleted.gone and options.orphan_dependents is False else 200
        if deleted.answers_with_object():
            return self._answer(info, deleted.entry, media, status)
        body, content_type = render(deleted.to_status(), Media(media.type, pretty=media.pretty))
        return Reply(body, status=status, content_type=content_type)

    async def _delete_collection(self, info: RequestInfo, request: Request, media: Media) -> Reply:
        list_options = parse.list_options(info.query)
        options, info.dry_run = parse.delete_options(info.query, await self._delete_body(request))
        listing = await self._operations.delete_collection(info, list_options, options)
        body, content_type = render_list(info, listing, media, self._clock.now())
        return Reply(body, content_type=content_type)


async def _read(request: Request) -> bytes:
    """The whole body. How long a client may take for it is the request's deadline."""
    if request.body_read is None and (body := request.arrived()) is not None:
        return body
    request.invite_body()
    return await request.read()


async def _parse(
    request: Request, api_version: str, kind: str, *, find_duplicates: bool = False, specs: Sequence[bytes] = ()
) -> text.Body:
    """The request's body as a plain object, which is empty for no body. Raises `BadRequest` and others."""
    content_type = request.content_type if "Content-Type" in request.headers else "application/json"
    media_type = _BODY_TYPES.get(content_type)
    if media_type is None and content_type != _PROTOBUF:
        raise unsupported_body()
    body = await _read(request)
    if media_type is None:
        # Loaded when the first such body comes.
        from pybernetes.api import protobuf

        return text.Body(protobuf.decode(body, api_version, kind))
    if not body and kind == "DeleteOptions":
        return text.Body({})
    return text.parse_body(body, media_type, kind, find_duplicates=find_duplicates, specs=specs)


class _State:
    """What the walk has found out so far, for errors and metrics."""

    __slots__ = (
        "audit", "audit_id", "flow", "info", "late", "limit_seconds", "long_running", "media", "request", "seats",
        "waiter",
    )  # fmt: skip

    def __init__(self, request: Request, audit_id: str, limit_seconds: float) -> None:
        self.request = request
        self.info: RequestInfo | None = None
        self.media: Media | None = None
        self.long_running = False
        self.late = False
        self.limit_seconds = limit_seconds
        self.flow: Flow | None = None
        self.seats = 0
        self.waiter: Waiter | None = None
        self.audit_id = audit_id
        self.audit: Record | None = None

    def queued(self, waiter: Waiter) -> None:
        self.waiter = waiter

    def release(self) -> None:
        """Gives the request's seats back, where it has some."""
        if self.seats and self.flow is not None:
            width, self.seats = self.seats, 0
            self.flow.level.release(width, self.waiter)

    def media_for_errors(self) -> Media:
        """An error is never transformed to a Table."""
        if self.media is None:
            try:
                self.media = negotiate(self.request.headers.get("Accept", ""))
            except errors.NotAcceptable:
                self.media = Media()
        return Media(self.media.type, pretty=self.media.pretty)

    def labels(self) -> RequestLabels:
        info = self.info
        if info is None or info.resource is None:
            return ((info.verb if info is not None else self.request.method).upper(), "", "", "", "", "", "")
        resource = info.resource
        scope = "resource" if info.name else "namespace" if info.namespace else "cluster"
        dry_run = "All" if info.dry_run else ""
        return (info.verb.upper(), dry_run, resource.group, resource.version, resource.plural, info.subresource, scope)


def parse_query(query: str) -> tuple[dict[str, str], dict[str, list[str]]]:
    """(the first value of each parameter, all values of each)."""
    lists: dict[str, list[str]] = {}
    for key, value in parse_qsl(query, keep_blank_values=True):
        lists.setdefault(key, []).append(value)
    return {k: v[0] for k, v in lists.items()}, lists


def _drop(task: asyncio.Task[Any]) -> None:
    task.cancel()


def _may_last(target: Target, query: Mapping[str, str]) -> bool:
    """Whether a request has no deadline: a watch or a connection."""
    return target.subresource in _CONNECTIONS or target.watch or parse.flag(query, "watch")


def _shutting_down() -> Reply:
    reply = text_reply(_SHUTDOWN_TEXT, 429)
    reply.add_header("Retry-After", _SHUTDOWN_RETRY_SECONDS)
    reply.force_close()
    return reply


def _audit_id(given: str) -> str:
    """A client's own id of its request, which goes into headers and logs: cut to 64 characters, as upstream."""
    return given[:_AUDIT_ID_LENGTH_MAX].encode("ascii", "replace").decode()


def not_served() -> errors.NotFound:
    return errors.NotFound("the server could not find the requested resource", details={})


def method_not_allowed() -> errors.MethodNotAllowed:
    return errors.MethodNotAllowed("the server does not allow this method on the requested resource", details={})


def unsupported_body() -> errors.UnsupportedMediaType:
    return errors.UnsupportedMediaType(
        "the body of the request was in an unknown format - accepted media types include: "
        "application/json, application/yaml, application/vnd.kubernetes.protobuf"
    )
