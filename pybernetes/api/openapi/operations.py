"""The operations of each resource, in a form that both OpenAPI versions are written from. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from pybernetes.api.resources import Resource, Subresource

GroupVersionKind = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter in the query or, with `in_path`, in the path. Types are JSON's."""

    name: str
    type: str
    description: str
    in_path: bool = False
    repeated: bool = False


@dataclass(frozen=True, slots=True)
class Operation:
    """One method on one path. `kind` travels in the body and (but for lists) in the answer; it is None, and `action`
    empty, for what concerns no resource."""

    method: str
    id: str
    action: str
    description: str
    kind: GroupVersionKind | None
    tag: str
    parameters: tuple[Parameter, ...] = ()
    body: GroupVersionKind | None = None
    is_patch: bool = False
    answer: GroupVersionKind | None = None
    codes: tuple[int, ...] = (200,)
    consumes: tuple[str, ...] = ("*/*",)
    produces: tuple[str, ...] = ("application/json", "application/yaml")


@dataclass(slots=True)
class Path:
    path: str
    parameters: list[Parameter] = field(default_factory=list)
    operations: list[Operation] = field(default_factory=list)


PATCH_TYPES = (
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
)
STATUS: GroupVersionKind = ("", "v1", "Status")
WATCH_EVENT: GroupVersionKind = ("", "v1", "WatchEvent")
VERSION_INFO: GroupVersionKind = ("", "v1", "version.Info")
"""What ``/version`` answers: a type that is no kind of any version."""
DELETE_OPTIONS: GroupVersionKind = ("", "v1", "DeleteOptions")

_PRETTY = Parameter("pretty", "string", "Whether the answer is indented, for people to read.")
_NAMESPACE = Parameter("namespace", "string", "The namespace of the objects.", in_path=True)
_PROXY_PATH = Parameter("path", "string", "The path of the request that is passed on.", in_path=True)

_LIST = (
    Parameter("allowWatchBookmarks", "boolean", "Whether a watch may send BOOKMARK events."),
    Parameter("continue", "string", "Where to go on, as the answer before said, when a list comes in parts."),
    Parameter("fieldSelector", "string", "Selects objects by their fields. Defaults to everything."),
    Parameter("labelSelector", "string", "Selects objects by their labels. Defaults to everything."),
    Parameter("limit", "integer", "The most objects that one answer may have; more come with continue."),
    Parameter("resourceVersion", "string", "Which resource versions the answer may show."),
    Parameter("resourceVersionMatch", "string", "How resourceVersion counts for a list: Exact or NotOlderThan."),
    Parameter("sendInitialEvents", "boolean", "Whether a watch starts with the objects that exist, then a bookmark."),
    Parameter("timeoutSeconds", "integer", "When the call ends, whether it is done or not."),
    Parameter("watch", "boolean", "Whether to stream changes instead of listing the objects."),
)
_DRY_RUN = Parameter("dryRun", "string", "Where it is All, every step is done but the storing.")
_FIELD_MANAGER = Parameter("fieldManager", "string", "The name of the program or person that makes the changes.")
_WRITE = (
    _DRY_RUN,
    _FIELD_MANAGER,
    Parameter("fieldValidation", "string", "What unknown and duplicate fields cause: Ignore, Warn or Strict."),
)
_FORCE = Parameter("force", "boolean", "Whether an apply takes over fields that others manage.")
_DELETE = (
    _DRY_RUN,
    Parameter("gracePeriodSeconds", "integer", "How long the deletion may take; zero is at once."),
    Parameter(
        "ignoreStoreReadErrorWithClusterBreakingPotential", "boolean", "Whether to delete even what cannot be read."
    ),
    Parameter("orphanDependents", "boolean", "Deprecated, see propagationPolicy. Whether dependents stay."),
    Parameter("propagationPolicy", "string", "What becomes of dependents: Orphan, Background or Foreground."),
)
_COLLECTION_SELECTORS = tuple(p for p in _LIST if p.name not in ("allowWatchBookmarks", "watch"))

_STREAMS = (
    Parameter("container", "string", "The container. Defaults to the only one of the pod."),
    Parameter("stderr", "boolean", "Whether standard error is redirected."),
    Parameter("stdin", "boolean", "Whether standard input is redirected."),
    Parameter("stdout", "boolean", "Whether standard output is redirected."),
    Parameter("tty", "boolean", "Whether a terminal is allocated."),
)
_CONNECT: dict[str, tuple[Parameter, ...]] = {
    "attach": _STREAMS,
    "exec": (
        Parameter("command", "string", "The command to run, word by word; no shell runs it.", repeated=True),
        *_STREAMS,
    ),
    "portforward": (Parameter("ports", "integer", "Ports to forward, where WebSockets carry them.", repeated=True),),
    "proxy": (Parameter("path", "string", "The path of the request that is passed on."),),
}
_LOG = (
    Parameter("container", "string", "The container. Defaults to the only one of the pod."),
    Parameter("follow", "boolean", "Whether to go on with what is yet to be logged."),
    Parameter("insecureSkipTLSVerifyBackend", "boolean", "Whether to trust the kubelet's certificate unseen."),
    Parameter("limitBytes", "integer", "The most bytes to send."),
    Parameter("previous", "boolean", "Whether to read the terminated container before this one."),
    Parameter("sinceSeconds", "integer", "How old, in seconds, the first line may be."),
    Parameter("sinceTime", "string", "How old, as a time, the first line may be."),
    Parameter("stream", "string", "Which stream to read: All, Stdout or Stderr."),
    Parameter("tailLines", "integer", "How many lines from the end to send."),
    Parameter("timestamps", "boolean", "Whether each line starts with its time."),
)
_CONNECT_METHODS = {
    "create": "post", "get": "get", "delete": "delete", "head": "head", "options": "options", "patch": "patch",
    "update": "put",
}  # fmt: skip


def camel(group: str) -> str:
    name = group.removesuffix(".k8s.io") or "core"
    return "".join(part[:1].upper() + part[1:] for part in name.replace("-", ".").split("."))


def _title(name: str) -> str:
    return name[:1].upper() + name[1:]


def tag_of(group: str, version: str) -> str:
    name = camel(group)
    return f"{name[:1].lower()}{name[1:]}" + (f"_{version}" if version else "")


class _Writer:
    """Writes the paths of one resource."""

    def __init__(self, resource: Resource) -> None:
        self.r = resource
        self.kind: GroupVersionKind = (resource.group, resource.version, resource.kind)
        self.scope = "Namespaced" if resource.namespaced else ""
        self.prefix = camel(resource.group) + _title(resource.version)
        self.tag = tag_of(resource.group, resource.version)

    def name_parameter(self) -> Parameter:
        return Parameter("name", "string", f"The name of the {self.r.kind}.", in_path=True)

    def in_path(self, *more: Parameter) -> list[Parameter]:
        return [*more, *((_NAMESPACE,) if self.r.namespaced else ()), _PRETTY]

    def operation(
        self,
        method: str,
        verb: str,
        what: str,
        action: str,
        description: str,
        *,
        kind: GroupVersionKind | None = None,
        **rest: Any,
    ) -> Operation:
        name = f"{verb}{self.prefix}{what}"
        return Operation(method, name, action, description, kind or self.kind, self.tag, **rest)

    def paths(self) -> Iterator[Path]:
        r, n = self.r, "{namespace}"
        if "list" in r.verbs and r.namespaced:
            yield Path(r.path(), [*_LIST, _PRETTY], [self.list(f"{r.kind}ForAllNamespaces")])
        if operations := list(self.collection()):
            yield Path(r.path(n), self.in_path(), operations)
        if operations := list(self.one()):
            yield Path(r.path(n, "{name}"), self.in_path(self.name_parameter()), operations)
        for s in r.subresources:
            path = r.path(n, "{name}", s.name)
            if s.name in _CONNECT:
                yield from self.connect(path, s)
            elif operations := list(self.subresource(s)):
                yield Path(path, self.in_path(self.name_parameter()), operations)
        if "watch" in r.verbs:
            yield from self.watches()

    def watches(self) -> Iterator[Path]:
        """``/watch/…``: deprecated, a list with the parameter watch does the same."""
        r, n = self.r, "{namespace}"
        own = (_NAMESPACE,) if r.namespaced else ()
        forms = [
            (r.path(n), f"{self.scope}{r.kind}List", "watchlist", own),
            (r.path(n, "{name}"), f"{self.scope}{r.kind}", "watch", (self.name_parameter(), *own)),
        ]
        if r.namespaced:
            forms.insert(0, (r.path(), f"{r.kind}ListForAllNamespaces", "watchlist", ()))
        for path, what, action, parameters in forms:
            head, version, tail = path.partition(f"/{r.version}/")
            changes = "individual changes to a list of" if action == "watchlist" else "changes to an object of kind"
            operation = self.operation(
                "get", "watch", what, action,
                f"watch {changes} {r.kind}. deprecated: use the 'watch' parameter with a list operation instead.",
                answer=WATCH_EVENT,
                produces=("application/json", "application/yaml", "application/json;stream=watch"),
            )  # fmt: skip
            yield Path(f"{head}{version}watch/{tail}", [*_LIST, *parameters, _PRETTY], [operation])

    def list(self, what: str, parameters: tuple[Parameter, ...] = ()) -> Operation:
        r = self.r
        return self.operation(
            "get", "list", what, "list", f"list or watch objects of kind {r.kind}",
            answer=(r.group, r.version, r.list_kind), parameters=parameters,
            produces=("application/json", "application/yaml", "application/json;stream=watch"),
        )  # fmt: skip

    def collection(self) -> Iterator[Operation]:
        r, what = self.r, self.scope + self.r.kind
        if "list" in r.verbs:
            yield self.list(what, _LIST)
        if "create" in r.verbs:
            yield self.operation(
                "post", "create", what, "post", f"create {_article(r.kind)} {r.kind}",
                body=self.kind, answer=self.kind, parameters=_WRITE, codes=(200, 201, 202),
            )  # fmt: skip
        if "deletecollection" in r.verbs:
            yield self.operation(
                "delete", "delete", "Collection" + what, "deletecollection", f"delete collection of {r.kind}",
                body=DELETE_OPTIONS, answer=STATUS,
                parameters=tuple(sorted((*_COLLECTION_SELECTORS, *_DELETE), key=lambda p: p.name)),
            )  # fmt: skip

    def one(self) -> Iterator[Operation]:
        r, what = self.r, self.scope + self.r.kind
        if "get" in r.verbs:
            yield self.operation("get", "read", what, "get", f"read the specified {r.kind}", answer=self.kind)
        yield from self.writes(r.verbs, what, r.kind, self.kind)
        if "delete" in r.verbs:
            yield self.operation(
                "delete", "delete", what, "delete", f"delete {_article(r.kind)} {r.kind}",
                body=DELETE_OPTIONS, answer=STATUS, parameters=_DELETE, codes=(200, 202),
            )  # fmt: skip

    def writes(self, verbs: Iterable[str], what: str, text: str, kind: GroupVersionKind) -> Iterator[Operation]:
        if "update" in verbs:
            yield self.operation(
                "put", "replace", what, "put", f"replace {text}" if " " in text else f"replace the specified {text}",
                kind=kind, body=kind, answer=kind, parameters=_WRITE, codes=(200, 201),
            )  # fmt: skip
        if "patch" in verbs:
            yield self.operation(
                "patch", "patch", what, "patch",
                f"partially update {text}" if " " in text else f"partially update the specified {text}",
                kind=kind, is_patch=True, answer=kind, parameters=(*_WRITE, _FORCE), codes=(200, 201),
                consumes=PATCH_TYPES,
            )  # fmt: skip

    def subresource(self, s: Subresource) -> Iterator[Operation]:
        r = self.r
        kind: GroupVersionKind = (s.group if s.version else r.group, s.version or r.version, s.kind)
        what = f"{self.scope}{r.kind}{_title(s.name)}"
        text = f"{s.name} of the specified {r.kind}"
        if s.name == "log":
            yield self.operation(
                "get", "read", what, "get", f"read {text}", kind=kind, parameters=_LOG,
                produces=("text/plain", "application/json", "application/yaml"),
            )  # fmt: skip
            return
        if "get" in s.verbs:
            yield self.operation("get", "read", what, "get", f"read {text}", kind=kind, answer=kind)
        if "create" in s.verbs:
            yield self.operation(
                "post", "create", what, "post", f"create {s.name} of {_article(r.kind)} {r.kind}",
                kind=kind, body=kind, answer=kind, parameters=_WRITE, codes=(200, 201, 202),
            )  # fmt: skip
        yield from self.writes(s.verbs, what, text, kind)

    def connect(self, path: str, s: Subresource) -> Iterator[Path]:
        r = self.r
        kind: GroupVersionKind = (r.group, r.version, s.kind)
        options = _CONNECT[s.name]
        for tail in ("", "WithPath") if s.name == "proxy" else ("",):
            operations = [
                self.operation(
                    method,
                    "connect",
                    f"{_title(method)}{self.scope}{r.kind}{_title(s.name)}{tail}",
                    "connect",
                    f"connect {method.upper()} requests to {s.name} of {r.kind}",
                    kind=kind,
                    produces=("*/*",),
                )
                for verb, method in sorted(_CONNECT_METHODS.items(), key=lambda item: item[1])
                if verb in s.verbs
            ]
            parameters = [*options, self.name_parameter(), *((_NAMESPACE,) if r.namespaced else ())]
            if tail:
                # The path's parameter takes the name of the query's: the query's stays out.
                parameters = [_PROXY_PATH, *parameters[len(options) :]]
            yield Path(path + ("/{path}" if tail else ""), parameters, operations)


def _article(kind: str) -> str:
    return "an" if kind[:1] in "AEIO" else "a"


def paths(resources: Iterable[Resource]) -> list[Path]:
    """Every path of those resources, sorted; those of the deprecated form of watches too."""
    return sorted((p for r in resources for p in _Writer(r).paths()), key=lambda p: p.path)
