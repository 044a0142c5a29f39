"""What must hold of discovery, the version and the log files: the rows without an action."""

from __future__ import annotations

from yarl import URL

from tests.endpoints.rows import Row, place, rows
from tests.endpoints.walker import Fault, Walker, expect

NOT_SERVED = ("internal.apiserver.k8s.io", "storagemigration.k8s.io")
"""Groups whose group document is stable while all of their versions are alpha or beta, and so off by default."""

_VERBS = {
    "list": ("list", "watch"), "get": ("get",), "post": ("create",), "put": ("update",), "patch": ("patch",),
    "delete": ("delete",), "deletecollection": ("deletecollection",),
}  # fmt: skip
_CONNECT = {"GET": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


def _known() -> dict[tuple[str, str], dict[str, set[str]]]:
    """Verbs of the resources and subresources of each group and version, as the rows have them."""
    found: dict[tuple[str, str], dict[str, set[str]]] = {}
    for row in rows():
        where = place(row.path)
        if where is None:
            continue
        name = f"{where.plural}/{where.subresource}" if where.subresource else where.plural
        verbs = found.setdefault((where.group, where.version), {}).setdefault(name, set())
        if row.action == "connect":
            verbs.add(_CONNECT.get(row.method, row.method.lower()))
        else:
            verbs.update(_VERBS[row.action])
    # A component's status is made up when it is asked for: there is nothing to watch.
    found["", "v1"]["componentstatuses"].discard("watch")
    return found


async def _raw(w: Walker, path: str) -> tuple[int, str]:
    """Status code and Location of a path that is sent as it is."""
    url = URL(w.server.url + path, encoded=True)
    async with w.server.session.get(url, allow_redirects=False) as response:
        return response.status, response.headers.get("Location", "")


async def document(w: Walker, row: Row) -> None:
    parts = row.path.strip("/").split("/")
    known = _known()
    match parts:
        case ["api"]:
            got = await w.ask("GET", row.path)
            expect("the answer", (got["kind"], got["versions"]), ("APIVersions", ["v1"]))
        case ["apis"]:
            got = await w.ask("GET", row.path)
            expect("the kind", (got["apiVersion"], got["kind"]), ("v1", "APIGroupList"))
            names = {g["name"] for g in got["groups"] if not g["name"].endswith("example.com")}
            expect("the groups", names, {group for group, _ in known if group})
            for group in got["groups"]:
                one = await w.ask("GET", f"/apis/{group['name']}")
                expect(f"the group {group['name']}", {"kind": "APIGroup", "apiVersion": "v1", **group}, one)
        case ["apis", group] if group in NOT_SERVED:
            answer = await w.answer("GET", row.path, status=404)
            expect("the answer", answer.body, b"404 page not found\n")
            for version in ("v1alpha1", "v1beta1", "v1"):
                await w.answer("GET", f"/apis/{group}/{version}", status=404)
        case ["apis", group]:
            got = await w.ask("GET", row.path)
            expect("the kind", (got["apiVersion"], got["kind"], got["name"]), ("v1", "APIGroup", group))
            versions = {v for g, v in known if g == group}
            expect("the versions", {v["version"] for v in got["versions"]}, versions)
            preferred = max(versions)
            expect("the preferred version", got["preferredVersion"]["version"], preferred)
        case ["api", version] | ["apis", _, version]:
            group = parts[1] if parts[0] == "apis" else ""
            got = await w.ask("GET", row.path)
            expect(
                "the kind", (got["kind"], got["groupVersion"]), ("APIResourceList", f"{group}/{version}".lstrip("/"))
            )
            found = {r["name"]: set(r["verbs"]) for r in got["resources"]}
            expect("the resources", set(found), set(known[group, version]))
            for name, verbs in known[group, version].items():
                expect(f"the verbs of {name}", found[name] - {"head", "options"}, verbs - {"head", "options"})
        case ["version"]:
            got = await w.ask("GET", row.path)
            expect("the version", (got["major"], got["minor"]), ("1", "37"))
            expect("its name", got["gitVersion"].split(".")[:2], ["v1", "37"])
        case ["logs"]:
            listed = await w.answer("GET", row.path, status=200)
            if b'<a href="walked.log">walked.log</a>' not in listed.body:
                raise Fault(f"the list of log files is {listed.body[:200]!r}")
            expect("its type", listed.headers["Content-Type"], "text/html; charset=utf-8")
            expect("where /logs leads", await _raw(w, "/logs"), (301, "logs/"))
        case ["logs", "{logpath}"]:
            read = await w.answer("GET", "/logs/walked.log", status=200)
            expect("the file", read.body, b"walked\n")
            await w.answer("GET", "/logs/absent.log", status=404)
            expect("what lies above", await _raw(w, "/logs/%2e%2e/secret"), (400, ""))
        case _:
            raise Fault("no check for this path")
