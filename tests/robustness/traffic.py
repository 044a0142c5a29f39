"""The clients: they talk HTTPS to the servers like anyone, and record every operation with what came of it.

All write the same few ConfigMaps, so that they are in each other's way: `Swapper` reads and swaps, `Patcher` patches,
creates and deletes blindly, `Reader` reads in every way there is, `Watcher` follows. A request that gets no answer in
time, or an answer that says nothing certain, is recorded as unknown and never tried again under the same name.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import random
from collections.abc import Sequence
from typing import Any

import aiohttp

from tests.robustness.history import INITIAL_END, OK, REFUSED, UNKNOWN, Record, Recorder
from tests.robustness.processes import ServerProcess

NAMESPACE = "robust"
PATH = f"/api/v1/namespaces/{NAMESPACE}/configmaps"
FOREIGN = "kube-root-ca.crt"
"""Lies in every namespace and is none of ours."""
SENTINELS = ("the-end-left", "the-end-right")
SIDES = ("left", "right")
REQUEST_SECONDS = 6.0
_NAMES = [f"shared-{i}" for i in range(6)]
_OWN_NAMES = 400
_RETRY_SECONDS = 0.05
_FAILED = (aiohttp.ClientError, TimeoutError, OSError, json.JSONDecodeError)


class Interrupted(Exception):
    """A list or a watch did not come to its end."""


class Client:
    """One client of one server; where that one does not answer, the next is taken."""

    def __init__(self, name: str, servers: Sequence[ServerProcess], recorder: Recorder, chance: random.Random) -> None:
        self.name = name
        self.recorder = recorder
        self.chance = chance
        self._servers = itertools.cycle(servers)
        self._server = next(self._servers)
        self._session: aiohttp.ClientSession | None = None
        self._serial = itertools.count(1)
        self.think_seconds = 0.01

    async def run(self) -> None:
        """Works until cancelled."""
        try:
            while True:
                await self.step()
                await asyncio.sleep(self.chance.uniform(0.2, 1.8) * self.think_seconds)
        finally:
            await self.close()

    async def step(self) -> None:
        raise NotImplementedError

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    @property
    def session(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(ssl=self._server.context(), limit=0)
            timeout = aiohttp.ClientTimeout(total=REQUEST_SECONDS)
            self._session = aiohttp.ClientSession(self._server.url, connector=connector, timeout=timeout)
        return self._session

    async def another_server(self) -> None:
        await self.close()
        self._server = next(self._servers)
        await asyncio.sleep(_RETRY_SECONDS)

    # --- requests ------------------------------------------------------------------------------------------------

    def new_write(self) -> str:
        return f"{self.name}-{next(self._serial)}"

    def body(self, name: str, write: str, revision: int = 0, side: str = "") -> dict[str, Any]:
        metadata: dict[str, Any] = {"name": name, "labels": {"side": side or self.chance.choice(SIDES)}}
        if revision:
            metadata["resourceVersion"] = str(revision)
        return {"metadata": metadata, "data": {"write": write, "pad": "x" * self.chance.choice((0, 0, 200, 3000))}}

    async def create(self, name: str, side: str = "") -> Record:
        write = self.new_write()
        body = self.body(name, write, side=side)
        return await self._write("create", "POST", PATH, {"name": name, "write": write}, body)

    async def update(self, name: str, expected: int) -> Record:
        write = self.new_write()
        args = {"name": name, "write": write, "expected": expected}
        return await self._write("update", "PUT", f"{PATH}/{name}", args, self.body(name, write, expected))

    async def patch(self, name: str) -> Record:
        write = self.new_write()
        body: dict[str, Any] = {"data": {"write": write}}
        if self.chance.random() < 0.5:
            body["metadata"] = {"labels": {"side": self.chance.choice(SIDES)}}
        return await self._write("patch", "PATCH", f"{PATH}/{name}", {"name": name, "write": write}, body)

    async def apply(self, name: str) -> Record:
        write = self.new_write()
        body = {"apiVersion": "v1", "kind": "ConfigMap", **self.body(name, write)}
        args = {"name": name, "write": write}
        return await self._write("apply", "PATCH", f"{PATH}/{name}", args, body, fieldManager=self.name, force="true")

    async def dry(self, name: str) -> Record:
        """A write that is not to happen, of any kind."""
        write = self.new_write()
        args, dry = {"name": name, "write": write}, {"dryRun": "All"}
        method = self.chance.choice(("POST", "PATCH", "DELETE"))
        if method == "POST":
            return await self._write("dry", method, PATH, args, self.body(name, write), **dry)
        body = {"data": {"write": write}} if method == "PATCH" else None
        return await self._write("dry", method, f"{PATH}/{name}", args, body, **dry)

    async def delete(self, name: str, expected: int = 0) -> Record:
        body: dict[str, Any] = {"preconditions": {"resourceVersion": str(expected)}} if expected else {}
        return await self._write("delete", "DELETE", f"{PATH}/{name}", {"name": name, "expected": expected}, body)

    async def _write(self, op: str, method: str, path: str, args: dict[str, Any], body: Any, **params: str) -> Record:
        kind = "application/json"
        if method == "PATCH":
            # JSON is YAML.
            kind = "application/apply-patch+yaml" if op == "apply" else "application/merge-patch+json"
        record = await self._request(op, method, path, args, body=body, headers={"Content-Type": kind}, params=params)
        if record.outcome == UNKNOWN:
            await self.another_server()
        return record

    async def get(self, name: str, *, fresh: bool = True) -> Record:
        params = {} if fresh else {"resourceVersion": "0"}
        record = await self._request("get", "GET", f"{PATH}/{name}", {"name": name, "fresh": fresh}, params=params)
        if record.outcome == UNKNOWN:
            await self.another_server()
        return record

    async def _request(
        self,
        op: str,
        method: str,
        path: str,
        args: dict[str, Any],
        *,
        body: Any = None,
        headers: dict[str, str] | None = None,
        params: dict[str, str] | None = None,
    ) -> Record:
        """Does one request for one object and records it. Cancelled, it is recorded as unknown."""
        data = json.dumps(body).encode() if body is not None else None
        start = self.recorder.now()
        outcome, status, reason, result = UNKNOWN, 0, "cancelled", {}
        try:
            async with self.session.request(method, path, data=data, headers=headers, params=params) as response:
                status, answer = response.status, await response.json(content_type=None)
                if status < 300:
                    outcome, reason, result = OK, "", _seen(op, answer)
                else:
                    # "Too many requests" was turned away at the door; 408 was not necessarily.
                    outcome = REFUSED if status < 500 and status != 408 else UNKNOWN
                    reason = f"{answer.get('reason', '')}: {answer.get('message', '')}"
        except _FAILED as error:
            outcome, reason, result = UNKNOWN, f"{type(error).__name__}: {error}", {}
        finally:
            end = self.recorder.now()
            record = Record(self.name, op, start, end, outcome, args, result, status, reason)
            self.recorder.add(record)
        return record

    # --- lists ---------------------------------------------------------------------------------------------------

    async def list(
        self,
        *,
        fresh: bool = True,
        at: int = 0,
        not_older: int = 0,
        limit: int = 0,
        pause: float = 0.0,
        side: str = "",
    ) -> Record:
        """All pages of a list, with a pause between them. Raises `Interrupted` where not even one page came."""
        params: dict[str, str] = {"limit": str(limit)} if limit else {}
        if side:
            params["labelSelector"] = f"side={side}"
        if not_older:
            params |= {"resourceVersion": str(not_older), "resourceVersionMatch": "NotOlderThan"}
        elif at:
            params |= {"resourceVersion": str(at), "resourceVersionMatch": "Exact"}
        elif not fresh:
            params["resourceVersion"] = "0"
        start = self.recorder.now()
        end, pages, items, whole = start, [], [], False
        reason = ""
        while True:
            try:
                async with self.session.get(PATH, params=params) as response:
                    answer = await response.json(content_type=None)
                    if response.status != 200:
                        reason = f"{response.status} {answer.get('message', '')}"
                        break
            except _FAILED as error:
                reason = f"{type(error).__name__}: {error}"
                break
            if not pages:
                end = self.recorder.now()
            pages.append(int(answer["metadata"]["resourceVersion"]))
            items += [_item(o) for o in answer["items"] if o["metadata"]["name"] != FOREIGN]
            if not (following := answer["metadata"].get("continue")):
                whole = True
                break
            params = {k: v for k, v in params.items() if k in ("limit", "labelSelector")} | {"continue": following}
            await asyncio.sleep(pause)
        if not pages:
            await self.another_server()
            raise Interrupted(reason)
        result = {"revision": pages[0], "pages": pages, "items": items, "whole": whole}
        # The first page's time is the list's: the others only show the same revision.
        args = {"fresh": fresh and not at and not not_older, "at": at, "limit": limit, "side": side}
        args["not_older"] = not_older
        record = Record(self.name, "list", start, end, OK, args, result, 200, reason)
        self.recorder.add(record)
        return record


class Swapper(Client):
    """Reads an object and swaps it for another, as a controller does."""

    async def step(self) -> None:
        name = self.chance.choice(_NAMES)
        read = await self.get(name, fresh=self.chance.random() < 0.7)
        if read.outcome == OK:
            if self.chance.random() < 0.12:
                await self.delete(name, read.result["revision"])
            else:
                await self.update(name, read.result["revision"])
        elif read.outcome == REFUSED:
            await self.create(name)


class Patcher(Client):
    """Writes without looking: patches, applies, makes and removes; a third is its own and is never touched again."""

    async def step(self) -> None:
        dice = self.chance.random()
        name = self.chance.choice(_NAMES)
        if dice < 0.3:
            await self.create(f"own-{self.name}-{self.chance.randrange(_OWN_NAMES)}")
        elif dice < 0.55:
            await self.patch(name)
        elif dice < 0.75:
            await self.apply(name)
        elif dice < 0.83:
            await self.create(name)
        elif dice < 0.9:
            await self.dry(name)
        else:
            await self.delete(name)


class Reader(Client):
    """Reads one object or lists all, now, from the cache, as of a revision, in pages."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.think_seconds = 0.015
        self._revisions: list[int] = []

    async def step(self) -> None:
        dice = self.chance.random()
        if dice < 0.6:
            await self.get(self.chance.choice(_NAMES), fresh=self.chance.random() < 0.8)
            return
        try:
            if dice < 0.65:
                record = await self.list(side=self.chance.choice(("", *SIDES)))
            elif dice < 0.7:
                record = await self.list(not_older=max(self._revisions, default=1))
            elif dice < 0.78:
                record = await self.list(fresh=False)
            elif dice < 0.92 or not self._revisions:
                limit, side = self.chance.choice((1, 3, 20)), self.chance.choice(("", "", *SIDES))
                record = await self.list(limit=limit, side=side, pause=self.chance.uniform(0, 0.02))
            else:
                record = await self.list(at=self.chance.choice(self._revisions))
        except Interrupted:
            return
        self._revisions = [*self._revisions[-5:], record.result["revision"]]


class Watcher(Client):
    """Lists and follows, with streams that it breaks off every so often and goes on from what it has seen."""

    def __init__(self, *args: Any, streaming: bool = False, side: str = "", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._streaming = streaming
        self._side = side
        self._revision = 0
        self._listed = False
        self._until: int | None = None
        self._stream: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Works until `finish` has come true, or cancelled."""
        try:
            while self._until is None or self._revision < self._until:
                await self.step()
        finally:
            await self.close()

    def finish(self, revision: int) -> None:
        """The watcher ends once it has seen this revision."""
        self._until = revision

    async def step(self) -> None:
        if not self._revision and not self._streaming:
            try:
                self._revision = (await self.list(side=self._side)).result["revision"]
            except Interrupted:
                return
            self._listed = True
        if not await self._follow():
            await self.another_server()

    async def _follow(self) -> bool:
        """One stream; whether it ended as streams may. A 410 makes the next step begin anew."""
        initial = self._streaming and not self._revision
        seconds = self.chance.uniform(0.2, 3.0)
        params = {"watch": "true", "allowWatchBookmarks": "true"}
        if initial:
            params |= {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan"}
        else:
            params["resourceVersion"] = str(self._revision)
        if self._side:
            params["labelSelector"] = f"side={self._side}"
        if self.chance.random() < 0.5:
            # The server ends this one, with a bookmark; the client's own end is only for when it does not.
            params["timeoutSeconds"] = str(self.chance.choice((1, 2)))
            seconds = 5.0
        args = {"from": self._revision, "initial": initial, "listed": self._listed, "side": self._side}
        self._listed = False
        events: list[list[Any]] = []
        start, end, good = self.recorder.now(), "broken off", True
        try:
            async with (
                asyncio.timeout(seconds),
                self.session.get(
                    PATH, params=params, timeout=aiohttp.ClientTimeout(total=None, sock_connect=REQUEST_SECONDS)
                ) as response,
            ):
                if response.status != 200:
                    end, good = f"{response.status} {await response.text()}"[:300], False
                    if response.status == 410:
                        self._revision = 0
                else:
                    end, good = await self._read(response, events)
        except TimeoutError:
            pass
        except _FAILED as error:
            end, good = f"{type(error).__name__}: {error}", False
        finally:
            self._record(start, args, events, end)
        return good

    async def _read(self, response: aiohttp.ClientResponse, events: list[list[Any]]) -> tuple[str, bool]:
        # A line may be longer than aiohttp's limit for lines.
        rest = b""
        async for chunk in response.content.iter_any():
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                event = json.loads(line)
                if event["type"] == "ERROR":
                    if event["object"].get("code") == 410:
                        self._revision = 0
                    return f"error {event['object'].get('code')} {event['object'].get('message')}", False
                if seen := _event(self.recorder.now(), event):
                    events.append(seen)
            if self._until is not None and events and events[-1][3] >= self._until:
                return "the end", True
        return "closed", True

    def _record(self, start: float, args: dict[str, Any], events: list[list[Any]], end: str) -> None:
        if args["initial"] and not any(e[1] == INITIAL_END for e in events):
            # The initial events did not come to their end: nothing can be built on them.
            return
        result = {"events": events, "end": end}
        self.recorder.add(Record(self.name, "watch", start, self.recorder.now(), OK, args, result))
        if not end.startswith(("410", "error 410")):
            following = [e[3] for e in events]
            if args["initial"]:
                ends = next(i for i, e in enumerate(events) if e[1] == INITIAL_END)
                following = following[ends:]
            self._revision = max([self._revision, *following])


def _seen(op: str, answer: dict[str, Any]) -> dict[str, Any]:
    """What the record keeps of a good answer."""
    if op == "dry":
        return {}
    if op == "delete":
        # The answer is a Status that names what is gone.
        return {"uid": answer["details"]["uid"]}
    metadata = answer["metadata"]
    seen = {"revision": int(metadata["resourceVersion"]), "uid": metadata["uid"]}
    if op == "get":
        seen["write"] = answer["data"]["write"]
    return seen


def _item(obj: dict[str, Any]) -> list[Any]:
    return [obj["metadata"]["name"], int(obj["metadata"]["resourceVersion"]), obj["data"]["write"]]


def _event(now: float, event: dict[str, Any]) -> list[Any] | None:
    obj = event["object"]
    metadata = obj["metadata"]
    if event["type"] == "BOOKMARK":
        ends = (metadata.get("annotations") or {}).get("k8s.io/initial-events-end") == "true"
        return [now, INITIAL_END if ends else "BOOKMARK", "", int(metadata["resourceVersion"]), ""]
    if metadata["name"] == FOREIGN:
        return None
    return [now, event["type"], *_item(obj)]
