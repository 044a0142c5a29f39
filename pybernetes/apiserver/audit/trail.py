"""What the audit log tells of a request: ``audit.k8s.io/v1 Event`` objects, one a stage.

`AuditTrail.begin` judges a request by the policy and returns the `Record` that follows it, or None for one that is
not told about. A record only notes what it is told, on the event loop; the events are put together and encoded where
the log writes them, on the log's own thread. So a `Moment` never changes once it is handed over.

Bodies are told as they were sent: a request's without the defaults that it got.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Protocol

import orjson

from pybernetes.api import errors, protobuf
from pybernetes.api.meta import Object
from pybernetes.api.schema import text
from pybernetes.api.time import format_micro_time
from pybernetes.api.user import User
from pybernetes.apiserver.audit.policy import (
    LEVEL_NAMES,
    PANIC,
    REQUEST_RECEIVED,
    RESPONSE_COMPLETE,
    RESPONSE_STARTED,
    Level,
    Policy,
    Subject,
    Verdict,
)
from pybernetes.lib.clock import Clock

_USER_AGENT_MAX = 1024
_TRUNCATED = "...TRUNCATED"


class Sink(Protocol):
    """Takes moments, at once, and writes their events when it can."""

    def put(self, moment: Moment) -> None: ...


@dataclass(frozen=True, slots=True)
class Asked:
    """A request's head, as the trail needs it. Resource requests have a `resource`."""

    audit_id: str
    verb: str
    uri: str
    path: str
    user: User
    source_ips: tuple[str, ...]
    user_agent: str
    received: float
    group: str = ""
    version: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    kind: str = ""
    """The kind that its body is decoded as, for bodies that are protobuf."""
    api_version: str = ""


@dataclass(frozen=True, slots=True)
class Body:
    """Bytes on the wire and their media type."""

    content: bytes
    media_type: str = "application/json"


@dataclass(frozen=True, slots=True)
class Moment:
    """One event to be, with all that it is made of."""

    asked: Asked
    verdict: Verdict
    stage: str
    time: float
    code: int = 0
    message: str = ""
    impersonated: User | None = None
    request: Body | None = None
    response: Body | None = None
    annotations: tuple[tuple[str, str], ...] = ()

    def encode(self) -> bytes:
        """The event as one line of JSON, without its newline."""
        asked, level = self.asked, self.verdict.level
        event: Object = {
            "kind": "Event",
            "apiVersion": "audit.k8s.io/v1",
            "level": LEVEL_NAMES[level],
            "auditID": asked.audit_id,
            "stage": self.stage,
            "requestURI": asked.uri,
            "verb": asked.verb,
            "user": _user(asked.user),
        }
        if self.impersonated is not None:
            event["impersonatedUser"] = _user(self.impersonated)
        if asked.source_ips:
            event["sourceIPs"] = list(asked.source_ips)
        if asked.user_agent:
            event["userAgent"] = asked.user_agent
        sent = _object(self.request, asked) if self.request is not None else None
        if asked.resource:
            event["objectRef"] = _reference(asked, sent)
        status = self._status()
        if status is not None:
            event["responseStatus"] = status
        if sent is not None and level >= Level.REQUEST:
            event["requestObject"] = self._shown(sent)
        if self.response is not None and level >= Level.REQUEST_RESPONSE:
            answer = _object(self.response, asked)
            if answer is not None:
                event["responseObject"] = self._shown(answer)
        event["requestReceivedTimestamp"] = format_micro_time(asked.received)
        event["stageTimestamp"] = format_micro_time(self.time)
        if self.annotations:
            event["annotations"] = dict(self.annotations)
        try:
            return orjson.dumps(event, default=str)
        except TypeError:
            # Header bytes that are no UTF-8 must not keep a request out of the log.
            return json.dumps(event, default=str).encode()

    def _status(self) -> Object | None:
        if self.stage == REQUEST_RECEIVED:
            return None
        status: Object = {"metadata": {}}
        if self.response is not None and self.response.content[:24].find(b'"Status"') > 0:
            told = orjson.loads(self.response.content)
            for key in ("status", "message", "reason", "details"):
                if told.get(key):
                    status[key] = told[key]
        if self.stage == PANIC:
            status |= {"status": "Failure", "reason": "InternalError"}
        if self.message:
            status["message"] = self.message
        status["code"] = self.code
        return status

    def _shown(self, value: Any) -> Any:
        if not self.verdict.omit_managed_fields or not isinstance(value, dict):
            return value
        for obj in (value, *(value.get("items") or ()), *(r.get("object") or {} for r in value.get("rows") or ())):
            if isinstance(obj, dict) and isinstance(obj.get("metadata"), dict):
                obj["metadata"].pop("managedFields", None)
        return value


class Record:
    """A request on its way. `began` tells of its arrival, `started` of the head of a long answer, one of `completed`
    and `panicked` of its end; whatever is told after the end is not heard."""

    __slots__ = ("_asked", "_clock", "_ended", "_sink", "_verdict", "annotations", "code", "impersonated", "request")

    def __init__(self, sink: Sink, clock: Clock, asked: Asked, verdict: Verdict) -> None:
        self._sink = sink
        self._clock = clock
        self._asked = asked
        self._verdict = verdict
        self._ended = False
        self.annotations: dict[str, str] = {}
        self.impersonated: User | None = None
        self.request: Body | None = None
        """The body, once it is read."""
        self.code = 0
        """Of the answer's head, once it has left."""

    @property
    def wants_response(self) -> bool:
        return self._verdict.level >= Level.REQUEST_RESPONSE

    def began(self) -> None:
        self._tell(REQUEST_RECEIVED, self._asked.received)

    def started(self, code: int) -> None:
        """The head of a long-running answer leaves."""
        if not self.code:
            self.code = code
            self._tell(RESPONSE_STARTED, self._clock.now(), code)

    def completed(self, code: int, response: Body | None = None) -> None:
        """The answer is there, or a long one has ended."""
        if self._ended:
            return
        self._ended = True
        if response is not None and not self.wants_response and b'"Status"' not in response.content[:24]:
            response = None
        self._tell(RESPONSE_COMPLETE, self._clock.now(), self.code or code, response=response)

    def closed_early(self) -> None:
        """The client went away before its answer."""
        if not self._ended:
            self._ended = True
            self._tell(RESPONSE_COMPLETE, self._clock.now(), self.code or 200, "Connection closed early")

    def panicked(self, why: str) -> None:
        """The server failed."""
        if not self._ended:
            self._ended = True
            self._tell(PANIC, self._clock.now(), 500, f"APIServer panic'd: {why}")

    def _tell(self, stage: str, now: float, code: int = 0, message: str = "", response: Body | None = None) -> None:
        if stage in self._verdict.omit_stages:
            return
        request = None if stage == REQUEST_RECEIVED else self.request
        annotations = tuple(self.annotations.items())
        self._sink.put(
            Moment(
                self._asked, self._verdict, stage, now, code, message, self.impersonated, request, response, annotations
            )
        )


class AuditTrail:
    """Begins records. One event loop owns it."""

    def __init__(self, policy: Policy, sink: Sink, clock: Clock) -> None:
        self._policy = policy
        self._sink = sink
        self._clock = clock

    def now(self) -> float:
        return self._clock.now()

    def begin(self, asked: Asked) -> Record | None:
        """The record of a request, which has told of its arrival; None for one that the policy leaves out."""
        verdict = self._judge(asked)
        if verdict is None:
            return None
        record = Record(self._sink, self._clock, asked, verdict)
        record.began()
        return record

    def refused(self, asked: Asked, code: int, message: str) -> None:
        """Tells of a request that did not get past authentication."""
        verdict = self._judge(asked)
        if verdict is not None and RESPONSE_STARTED not in verdict.omit_stages:
            self._sink.put(Moment(asked, verdict, RESPONSE_STARTED, self._clock.now(), code, message))

    def _judge(self, asked: Asked) -> Verdict | None:
        return self._policy.judge(
            Subject(
                asked.user.name, asked.user.groups, asked.verb, asked.path, bool(asked.resource), asked.group,
                asked.resource, asked.subresource, asked.namespace, asked.name,
            )
        )  # fmt: skip


def shown_agent(user_agent: str) -> str:
    """A user agent, cut where it is very long."""
    return user_agent if len(user_agent) <= _USER_AGENT_MAX else user_agent[:_USER_AGENT_MAX] + _TRUNCATED


def _user(user: User) -> Object:
    shown: Object = {}
    if user.name:
        shown["username"] = user.name
    if user.uid:
        shown["uid"] = user.uid
    if user.groups:
        shown["groups"] = list(user.groups)
    if user.extra:
        shown["extra"] = {key: list(values) for key, values in user.extra.items()}
    return shown


def _reference(asked: Asked, sent: Any) -> Object:
    meta = sent.get("metadata") if isinstance(sent, dict) else None
    if not isinstance(meta, dict) or asked.verb == "patch":
        meta = {}
    reference = {
        "resource": asked.resource,
        "namespace": asked.namespace or meta.get("namespace"),
        "name": asked.name or meta.get("name"),
        "uid": meta.get("uid"),
        "apiGroup": asked.group,
        "apiVersion": asked.version,
        "resourceVersion": meta.get("resourceVersion"),
        "subresource": asked.subresource,
    }
    return {key: value for key, value in reference.items() if value}


def _object(body: Body, asked: Asked) -> Any:
    """A body decoded; None for one that is none (an answer had told so) or whose type is unknown."""
    if not body.content:
        return None
    try:
        if "json" in body.media_type:
            return orjson.loads(body.content)
        if "yaml" in body.media_type:
            # As the request was read: what aliases grow into is bounded.
            return text.parse_yaml(body.content).value
        if body.media_type == protobuf.CONTENT_TYPE and asked.kind:
            return protobuf.decode(body.content, asked.api_version, asked.kind)
    except (ValueError, errors.ApiError):
        return None
    return None
