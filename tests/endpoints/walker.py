"""What the checks share: requests that must end in a certain way, comparison, watches, and objects to try things on.

A walker belongs to one event loop and one server. Every check makes objects of its own, told apart by their label
``walk``, so that one that fails spoils no other.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from tests.endpoints.objects import SAMPLES, Object, Sample
from tests.endpoints.rows import Place
from tests.integration.apiserver.conftest import Answer, Server

EVENT_SECONDS = 5.0
_NONE = Sample({}, {})
"""For kinds that are not stored."""
FORMS = {
    "json": "application/json-patch+json",
    "merge": "application/merge-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "apply": "application/apply-patch+yaml",
}


class Fault(Exception):
    """What a check found wrong."""


def expect(what: str, got: Any, wanted: Any) -> None:
    if got != wanted:
        raise Fault(f"{what} is {_short(got)}, not {_short(wanted)}")


def expect_in(what: str, part: str, whole: str) -> None:
    if part not in whole:
        raise Fault(f"{what} is {_short(whole)}, without {part!r}")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 300 else text[:300] + "…"


def holds(what: str, wanted: Any, got: Any) -> None:
    """All of `wanted` is in `got`: objects may have more fields, lists no more items; None means absent."""
    if isinstance(wanted, dict):
        if not isinstance(got, dict):
            raise Fault(f"{what} is {_short(got)}, not an object")
        for key, value in wanted.items():
            if value is None:
                expect(f"{what}.{key}", got.get(key), None)
            else:
                holds(f"{what}.{key}", value, got.get(key))
    elif isinstance(wanted, list):
        expect(f"the length of {what}", len(got) if isinstance(got, list) else got, len(wanted))
        for i, value in enumerate(wanted):
            holds(f"{what}[{i}]", value, got[i])
    else:
        expect(what, got, wanted)


def merged(obj: Any, change: Any) -> Any:
    """RFC 7396, on plain data."""
    if not isinstance(change, dict):
        return change
    out = dict(obj) if isinstance(obj, dict) else {}
    for key, value in change.items():
        if value is None:
            out.pop(key, None)
        else:
            out[key] = merged(out.get(key), value)
    return out


@dataclass(frozen=True, slots=True)
class Kind:
    """One resource as the checks see it."""

    place: Place
    kind: str
    namespace: str
    """Where its objects are tried out; empty for kinds of the cluster."""
    sample: Sample

    @property
    def api_version(self) -> str:
        return f"{self.place.group}/{self.place.version}" if self.place.group else self.place.version

    @property
    def group(self) -> str:
        """The group that messages name: events of either group are stored as the core group's."""
        return "" if self.kind == "Event" else self.place.group

    @property
    def group_resource(self) -> str:
        return f"{self.place.plural}.{self.group}" if self.group else self.place.plural

    @property
    def group_kind(self) -> str:
        return f"{self.kind}.{self.group}" if self.group else self.kind

    @property
    def everywhere(self) -> str:
        return f"/{'apis' if self.place.group else 'api'}/{self.api_version}/{self.place.plural}"

    @property
    def collection(self) -> str:
        if not self.namespace:
            return self.everywhere
        head, _, plural = self.everywhere.rpartition("/")
        return f"{head}/namespaces/{self.namespace}/{plural}"

    def path(self, name: str, subresource: str = "") -> str:
        return f"{self.collection}/{name}" + (f"/{subresource}" if subresource else "")


class Events:
    """The events of one watch, as they come."""

    def __init__(self, content: Any) -> None:
        self._content = content

    async def next(self, kind: str) -> Any:
        """The object of the next event, which must be of that type."""
        try:
            async with asyncio.timeout(EVENT_SECONDS):
                line = await self._content.readline()
        except TimeoutError:
            raise Fault(f"no {kind} event within {EVENT_SECONDS:g} s") from None
        if not line:
            raise Fault(f"the watch ended instead of a {kind} event")
        event = json.loads(line)
        expect("the event's type", event["type"], kind)
        return event["object"]


class Walker:
    def __init__(self, server: Server, namespace: str) -> None:
        self.server = server
        self.namespace = namespace
        self._serial = itertools.count(1)

    def word(self) -> str:
        """A name that was not used before."""
        return f"w{next(self._serial):05d}"

    def kind(self, place: Place) -> Kind:
        found = next(r for r in self.server.api.kinds if (r.group, r.version, r.plural) == place.key)
        return Kind(place, found.kind, self.namespace if found.namespaced else "", SAMPLES.get(place.key, _NONE))

    # ---- requests

    async def answer(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        status: int,
        headers: Mapping[str, str] | None = None,
        **query: Any,
    ) -> Answer:
        """The answer, whose status code must be that."""
        answer = await self.server.request(method, path, body, headers=headers, **query)
        if answer.status != status:
            shown = "&".join(f"{k}={v}" for k, v in query.items())
            raise Fault(
                f"{method} {path}{'?' + shown if shown else ''} answers {answer.status}, not {status}: "
                + answer.body[:400].decode(errors="replace")
            )
        return answer

    async def ask(self, method: str, path: str, body: Any = None, *, status: int = 200, **more: Any) -> Any:
        return (await self.answer(method, path, body, status=status, **more)).json

    async def patch(self, path: str, body: Any, form: str, *, status: int = 200, **query: Any) -> Any:
        data, headers = json.dumps(body).encode(), {"Content-Type": FORMS[form]}
        return await self.ask("PATCH", path, data, status=status, headers=headers, **query)

    async def refused(
        self, method: str, path: str, body: Any = None, *, status: int, reason: str, text: str = "", **more: Any
    ) -> Any:
        """A request that must fail, with a Status of that reason whose message has that text in it."""
        answer = await self.ask(method, path, body, status=status, **more)
        expect("the Status' kind", answer.get("kind"), "Status")
        expect("the Status' code", answer.get("code"), status)
        expect("the Status' reason", answer.get("reason"), reason)
        expect_in("the Status' message", text, answer.get("message", ""))
        return answer

    async def revision(self, kind: Kind) -> str:
        return str((await self.ask("GET", kind.collection, limit=1))["metadata"]["resourceVersion"])

    @asynccontextmanager
    async def watch(self, path: str, accept: str = "application/json", **query: Any) -> AsyncIterator[Events]:
        parameters = {"watch": "1", "timeoutSeconds": "30", **{k: str(v) for k, v in query.items()}}
        headers = {"Accept": accept}
        async with self.server.session.get(self.server.url + path, params=parameters, headers=headers) as response:
            expect("the watch's status code", response.status, 200)
            yield Events(response.content)

    # ---- objects

    def body(self, kind: Kind, word: str = "", **meta: Any) -> Object:
        word = word or self.word()
        name = kind.sample.name(word)
        metadata = {"name": name, "labels": {"walk": word}, **meta}
        if kind.kind == "Event":
            metadata.setdefault("namespace", kind.namespace)
        made = {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata, **kind.sample.body_for(name)}
        for reference in ("involvedObject", "regarding"):
            if reference in made:
                made[reference] = {**made[reference], "namespace": kind.namespace, "name": "walked"}
        return made

    async def make(self, kind: Kind, word: str = "", **meta: Any) -> Any:
        return await self.ask("POST", kind.collection, self.body(kind, word, **meta), status=201)
