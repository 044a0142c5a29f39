"""The seams inside the API server: what authentication, authorization, admission, the registry and the special
handlers expect of each other.

A request walks: authenticate -> authorize -> (decode, default) -> mutate -> validate -> admit -> store -> encode.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from aiohttp import web
from cryptography import x509

from pybernetes.api import errors
from pybernetes.api.meta import Object
from pybernetes.api.resources import Resource
from pybernetes.api.user import User
from pybernetes.apiserver.options import DeleteOptions
from pybernetes.lib.records import record

Verb = Literal["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"]


@dataclass(slots=True)
class RequestInfo:
    """A request, parsed: what is asked of which resource, by whom. For a path that is no resource, `resource` is
    None and `path` and the lower-case HTTP method in `verb` say what is asked."""

    verb: str
    path: str
    user: User
    resource: Resource | None = None
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    subpath: str = ""
    """What follows a ``proxy`` subresource, with its leading slash."""
    query: Mapping[str, str] = field(default_factory=dict)
    """The raw query; repeated parameters only in `query_lists`."""
    query_lists: Mapping[str, Sequence[str]] = field(default_factory=dict)
    user_agent: str = ""
    dry_run: bool = False
    warnings: list[str] = field(default_factory=list)
    """Collected for Warning headers."""
    field_manager: str = ""
    """Who is noted as the manager of what this request writes; empty for the user agent's name."""
    spec_text: bytes = b""
    """The JSON of the spec, decoded and defaulted, of the object to be written, where it is known."""
    annotations: dict[str, str] | None = None
    """Noted in the audit log; None where the request is not audited."""


class ObjectReader(Protocol):
    """Reads from the watch cache, synchronously. What it returns is shared: never mutate it."""

    def get(self, resource: Resource, namespace: str, name: str) -> Object | None: ...
    def list(self, resource: Resource, namespace: str = "") -> Sequence[Object]: ...


class ObservableReader(ObjectReader, Protocol):
    """An `ObjectReader` that also tells of changes, for indexes kept incrementally (RBAC rules, the node
    authorizer's graph) and for the few waits that admission has."""

    def subscribe(
        self, resource: Resource, handler: Callable[[Object | None, Object | None], None]
    ) -> Callable[[], None]:
        """Calls ``handler(old, new)`` synchronously after every change the cache takes in, once `get` shows it:
        old is None for an addition, new is None for a deletion. What is there already is replayed as additions
        before `subscribe` returns. Handlers are quick and do not raise. Returns the unsubscription."""
        ...

    async def find(self, resource: Resource, namespace: str, name: str) -> Object | None:
        """`get`, and where nothing is there, once more when the cache shows all that is committed by now: for what
        a client may have made a moment ago. Raises ApiError where the store does not answer."""
        ...


class Authenticator(Protocol):
    async def authenticate(self, headers: Mapping[str, str], peer_certificate: x509.Certificate | None) -> User | None:
        """The user of the request's credentials, None where it has none (anonymous). Raises `Unauthorized` where
        it has some that do not hold."""
        ...

    async def impersonate(self, user: User, headers: Mapping[str, str]) -> User:
        """Who `user` acts as by the request's ``Impersonate-`` headers. Asked only where there are some. Raises
        `Forbidden` where that is not allowed."""
        ...


@record
class Attributes:
    """What authorization judges."""

    user: User
    verb: str
    namespace: str = ""
    group: str = ""
    version: str = ""
    resource: str = ""
    subresource: str = ""
    name: str = ""
    path: str = ""
    """For non-resource requests."""
    field_selector: str | None = None
    """Of a list, watch or deletecollection; None where the asker does not say."""
    label_selector: str = ""
    """Of a list, watch or deletecollection."""
    about_resource: bool = False
    """Set where a resource is meant even though none is named."""

    @property
    def is_resource_request(self) -> bool:
        return bool(self.resource) or self.about_resource


@dataclass(frozen=True, slots=True)
class Decision:
    allowed: bool
    reason: str = ""
    denied: bool = False
    """Whether it is refused for good, whatever others think; else not allowed means no opinion."""


class Undecided(errors.Forbidden):
    """An authorizer cannot say before it has asked others: wait for `ask`, then ask it again. Unheeded, it is a
    refusal."""

    def __init__(self, message: str, ask: Callable[[], Awaitable[None]]) -> None:
        super().__init__(message)
        self.ask = ask


class Authorizer(Protocol):
    def authorize(self, attributes: Attributes) -> Decision:
        """At once. Raises `Undecided`."""
        ...


AdmissionOperation = Literal["CREATE", "UPDATE", "DELETE", "CONNECT"]


@dataclass(frozen=True, slots=True)
class Rider:
    """A write of another object that happens together with a request's own, in one transaction, or not at all."""

    resource: Resource
    namespace: str
    name: str
    obj: Object
    """Private; the cache's once it is written."""
    revision: int
    """The one that it replaces."""


class Charge(Protocol):
    """What a request costs others (a ResourceQuota), to be written with the request's own object."""

    riders: Sequence[Rider]

    async def renew(self) -> None:
        """A rider's object has changed: looks again. Raises `Forbidden` where it does not allow the request now."""
        ...

    def release(self) -> None:
        """The request is over, written or not. Idempotent."""
        ...


class Reinvocation(Protocol):
    """Whether mutation is to run a second time, since something was changed that others had seen."""

    wanted: bool
    again: bool
    """Whether this is the second time."""


@dataclass(slots=True)
class AdmissionRequest:
    """What admission sees. `object` is private and may be changed by mutating plugins, in place; `old` is shared.
    Both are in the stored version."""

    operation: AdmissionOperation
    resource: Resource
    namespace: str
    name: str
    subresource: str
    user: User
    object: Object | None
    old: Object | None
    dry_run: bool
    warnings: list[str]
    info: RequestInfo | None = None
    """The request that this is about: which version was asked for, with which query. None where there is none."""
    options: DeleteOptions | None = None
    """Of a deletion."""
    charge: Charge | None = None
    """Set by a validating plugin. The registry writes the riders and releases it."""
    reinvocation: Reinvocation | None = None
    """Set by a mutating plugin."""

    def annotate(self, key: str, value: str) -> None:
        """Notes something in the audit log. The first value of a key stays."""
        if self.info is not None and self.info.annotations is not None:
            self.info.annotations.setdefault(key, value)


class AdmissionPlugin(Protocol):
    """One plugin. `mutate` and `validate` raise `Forbidden` (or another ApiError) to refuse."""

    name: str
    mutates: bool
    """Whether `mutate` ever does anything."""
    validates: bool

    def handles(self, operation: AdmissionOperation, resource: Resource, subresource: str) -> bool:
        """Whether the plugin may have anything to do for such requests. Asked once and remembered, until the plugin
        calls what `listen` gave it."""
        ...

    def listen(self, changed: Callable[[], None]) -> None:
        """`changed` is to be called whenever an answer of `handles` is another than before."""
        ...

    def close(self) -> None: ...

    async def mutate(self, request: AdmissionRequest) -> None: ...
    async def validate(self, request: AdmissionRequest) -> None: ...


ObjectHandler = Callable[[RequestInfo, Object], Awaitable[Object]]
"""Handles a creation that stores nothing of its own kind (reviews, tokens, bindings): (request, body) -> answer."""

ConnectHandler = Callable[[RequestInfo, web.BaseRequest], Awaitable[web.StreamResponse]]
"""Handles a request that is no object at all: exec, attach, portforward, log, proxy."""

HandlerKey = tuple[str, str, str]
"""(group, plural, subresource)."""
