"""What must hold of the verbs on a resource itself, the same for every kind."""

from __future__ import annotations

from typing import Any

from tests.endpoints.walker import Fault, Kind, Walker, expect, expect_in, holds, merged

MODIFIED = "the object has been modified; please apply your changes to the latest version and try again"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
PARTIAL = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"
PARTIAL_LIST = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"

MADE_BY_UPDATE = {
    ("", "endpoints"), ("", "events"), ("", "limitranges"), ("", "services"), ("coordination.k8s.io", "leases"),
    ("events.k8s.io", "events"), ("rbac.authorization.k8s.io", "clusterrolebindings"),
    ("rbac.authorization.k8s.io", "clusterroles"), ("rbac.authorization.k8s.io", "rolebindings"),
    ("rbac.authorization.k8s.io", "roles"),
}  # fmt: skip
"""Resources whose objects an update may make."""


def labels(obj: Any) -> dict[str, str]:
    return dict(obj["metadata"].get("labels") or {})


def revision(obj: Any) -> int:
    return int(obj["metadata"]["resourceVersion"])


HELD = {
    "Namespace", "PersistentVolume", "PersistentVolumeClaim", "VolumeAttributesClass", "CustomResourceDefinition",
    "Job", "ReplicationController",
}  # fmt: skip
"""Kinds whose objects a finalizer of the system's own holds back, until a controller has tidied up; for the last two
only where no propagation policy is asked for."""


async def clear(w: Walker, k: Kind, name: str) -> None:
    await w.patch(k.path(name), {"metadata": {"finalizers": None}}, "merge")


async def tidy(w: Walker, k: Kind, going: Any) -> None:
    """Does what the controller would that holds an object back."""
    if not going["metadata"].get("deletionTimestamp"):
        raise Fault("what is held back got no deletionTimestamp")
    name = going["metadata"]["name"]
    if k.kind == "Namespace":
        await w.ask("PUT", k.path(name, "finalize"), merged(going, {"spec": {"finalizers": None}}))
    else:
        await clear(w, k, name)


async def post(w: Walker, k: Kind) -> None:
    body = w.body(k)
    name = body["metadata"]["name"]
    dry = await w.ask("POST", k.collection, body, status=201, dryRun="All")
    expect("the dry run's name", dry["metadata"]["name"], name)
    await w.ask("GET", k.path(name), status=404)
    since = await w.revision(k)
    async with w.watch(
        k.collection, resourceVersion=since, labelSelector=f"walk={body['metadata']['labels']['walk']}"
    ) as events:
        made = await w.ask("POST", k.collection, body, status=201)
        expect("apiVersion and kind", (made["apiVersion"], made["kind"]), (k.api_version, k.kind))
        meta = made["metadata"]
        expect("the namespace", meta.get("namespace", ""), k.namespace)
        for field in ("uid", "creationTimestamp", "resourceVersion"):
            if not meta.get(field):
                raise Fault(f"metadata.{field} is missing")
        wanted = {key: value for key, value in body.items() if key != "stringData"}
        holds("what was made", wanted, made)
        expect("metadata.generation", meta.get("generation"), 1 if k.sample.counts else meta.get("generation"))
        expect("what a GET answers", await w.ask("GET", k.path(name)), made)
        expect("what a watch shows", await events.next("ADDED"), made)
    exists = f'{k.group_resource} "{name}" already exists'
    await w.refused("POST", k.collection, body, status=409, reason="AlreadyExists", text=exists)
    unknown = {**w.body(k), "walked": True}
    strict = 'strict decoding error: unknown field "walked"'
    await w.refused(
        "POST", k.collection, unknown, status=400, reason="BadRequest", text=strict, fieldValidation="Strict"
    )
    warned = await w.answer("POST", k.collection, unknown, status=201, fieldValidation="Warn")
    warnings = [value for name, value in warned.headers.items() if name == "Warning"]
    expect_in("the warnings", 'unknown field \\"walked\\"', " ".join(warnings))
    await w.refused("POST", k.collection, {**body, "kind": "Walk"}, status=400, reason="BadRequest")
    nameless = w.body(k)
    del nameless["metadata"]["name"]
    text = f'{k.group_kind} "" is invalid: '
    await w.refused("POST", k.collection, nameless, status=422, reason="Invalid", text=text)
    if k.sample.make is None and k.sample.name("x") == "x" and k.kind != "Event":
        nameless["metadata"]["generateName"] = "generated-"
        generated = (await w.ask("POST", k.collection, nameless, status=201))["metadata"]["name"]
        if not generated.startswith("generated-") or len(generated) <= len("generated-"):
            raise Fault(f"the generated name is {generated!r}")
    if k.namespace:
        elsewhere = w.body(k, namespace="elsewhere")
        mismatch = "the namespace of the provided object does not match the namespace sent on the request"
        await w.refused("POST", k.collection, elsewhere, status=400, reason="BadRequest", text=mismatch)


async def get(w: Walker, k: Kind) -> None:
    made = await w.make(k)
    name = made["metadata"]["name"]
    expect("what a GET answers", await w.ask("GET", k.path(name)), made)
    absent = await w.refused(
        "GET", k.path("absent"), status=404, reason="NotFound", text=f'{k.group_resource} "absent" not found'
    )
    details = {"name": "absent", "kind": k.place.plural, **({"group": k.group} if k.group else {})}
    expect("the Status' details", absent["details"], details)
    partial = await w.ask("GET", k.path(name), headers={"Accept": PARTIAL})
    expect(
        "the partial object's kind",
        (partial["apiVersion"], partial["kind"]),
        ("meta.k8s.io/v1", "PartialObjectMetadata"),
    )
    expect("its metadata", partial["metadata"], made["metadata"])
    expect("what else it has", set(partial), {"apiVersion", "kind", "metadata"})
    shown = await w.ask("GET", k.path(name), headers={"Accept": TABLE})
    expect("the table's kind", (shown["apiVersion"], shown["kind"]), ("meta.k8s.io/v1", "Table"))
    expect("the table's rows", [row["object"]["metadata"]["name"] for row in shown["rows"]], [name])
    expect("the row's cells", len(shown["rows"][0]["cells"]), len(shown["columnDefinitions"]))
    await w.refused("GET", k.path(name), status=406, reason="NotAcceptable", headers={"Accept": "text/html"})


async def _list(w: Walker, k: Kind, path: str) -> None:
    words = [w.word(), w.word()]
    made = [await w.make(k, word) for word in words]
    selector = f"walk in ({','.join(words)})"
    found = await w.ask("GET", path, labelSelector=selector)
    expect("the list's kind", (found["apiVersion"], found["kind"]), (k.api_version, k.kind + "List"))
    names = sorted(o["metadata"]["name"] for o in found["items"])
    expect("the names that the label selects", names, sorted(o["metadata"]["name"] for o in made))
    by_name = {o["metadata"]["name"]: o for o in found["items"]}
    for o in made:
        holds(
            "what is listed", {key: o[key] for key in o.keys() - {"apiVersion", "kind"}}, by_name[o["metadata"]["name"]]
        )
    one = await w.ask("GET", path, labelSelector=f"walk={words[0]}")
    expect("what one label selects", [o["metadata"]["uid"] for o in one["items"]], [made[0]["metadata"]["uid"]])
    field = await w.ask("GET", path, fieldSelector=f"metadata.name={made[1]['metadata']['name']}")
    expect("what a name selects", [o["metadata"]["uid"] for o in field["items"]], [made[1]["metadata"]["uid"]])
    await w.refused("GET", path, status=400, reason="BadRequest", fieldSelector="walked.field=1")
    first = await w.ask("GET", path, labelSelector=selector, limit=1)
    expect("the length of a page", len(first["items"]), 1)
    if not first["metadata"].get("continue"):
        raise Fault("the first page names no continuation")
    second = await w.ask("GET", path, labelSelector=selector, limit=1, **{"continue": first["metadata"]["continue"]})
    expect("both pages", sorted(o["metadata"]["name"] for o in first["items"] + second["items"]), names)
    expect("the last page's continuation", second["metadata"].get("continue", ""), "")
    shown = await w.ask("GET", path, labelSelector=selector, headers={"Accept": TABLE})
    expect("the table's length", len(shown["rows"]), 2)
    partial = await w.ask("GET", path, labelSelector=selector, headers={"Accept": PARTIAL_LIST})
    expect("the partial list", (partial["kind"], len(partial["items"])), ("PartialObjectMetadataList", 2))
    since = found["metadata"]["resourceVersion"]
    word = w.word()
    async with w.watch(path, resourceVersion=since, labelSelector=f"walk={word}") as events:
        new = await w.make(k, word)
        name = new["metadata"]["name"]
        expect("the event of its creation", await events.next("ADDED"), new)
        changed = await w.patch(k.path(name), {"metadata": {"labels": {"walked": "yes"}}}, "merge")
        expect("the event of its change", await events.next("MODIFIED"), changed)
        await w.patch(k.path(name), {"metadata": {"labels": {"walk": "away"}}}, "merge")
        left = await events.next("DELETED")
        expect("who left the selection", left["metadata"]["uid"], new["metadata"]["uid"])
    async with w.watch(path, labelSelector=f"walk={words[0]}") as events:
        expect("the first event of a watch from nowhere", await events.next("ADDED"), made[0])
    async with w.watch(path, PARTIAL, labelSelector=f"walk={words[0]}") as events:
        shown = await events.next("ADDED")
        expect("the kind of an event's object", shown["kind"], "PartialObjectMetadata")
        expect("its metadata", shown["metadata"], made[0]["metadata"])
    async with w.watch(path, TABLE, labelSelector=selector) as events:
        first, second = await events.next("ADDED"), await events.next("ADDED")
        expect("the kinds of the events' objects", (first["kind"], second["kind"]), ("Table", "Table"))
        expect("whether columns come once", (bool(first["columnDefinitions"]), second["columnDefinitions"]), (True, []))
        expect("the rows' lengths", [len(first["rows"]), len(second["rows"])], [1, 1])


async def list_here(w: Walker, k: Kind) -> None:
    await _list(w, k, k.collection)


async def list_everywhere(w: Walker, k: Kind) -> None:
    await _list(w, k, k.everywhere)


async def put(w: Walker, k: Kind) -> None:
    made = await w.make(k)
    name = made["metadata"]["name"]
    path = k.path(name)
    change = {"metadata": {"labels": {"walked": "put"}}}
    async with w.watch(
        k.collection, resourceVersion=made["metadata"]["resourceVersion"], fieldSelector=f"metadata.name={name}"
    ) as events:
        answer = await w.ask("PUT", path, merged(made, change))
        expect("the event of the change", await events.next("MODIFIED"), answer)
    holds("what was changed", change, answer)
    # An EndpointSlice counts changes of its labels too.
    counted = 2 if k.kind == "EndpointSlice" else made["metadata"].get("generation")
    expect("the generation after a label changed", answer["metadata"].get("generation"), counted)
    for field in ("uid", "creationTimestamp", "name"):
        expect(f"metadata.{field}", answer["metadata"][field], made["metadata"][field])
    if revision(answer) <= revision(made):
        raise Fault("the resource version did not grow")
    expect("what a GET answers", await w.ask("GET", path), answer)
    again = await w.ask("PUT", path, answer)
    expect("the resource version after no change", revision(again), revision(answer))
    own = await w.ask("PUT", path, merged(answer, k.sample.change))
    holds("what was changed", k.sample.change, own)
    if k.sample.counts and "metadata" not in k.sample.change:
        expect("the generation after a change", own["metadata"].get("generation"), 2)
    stale = merged(made, {"metadata": {"labels": {"walked": "stale"}}})
    await w.refused("PUT", path, stale, status=409, reason="Conflict", text=MODIFIED)
    dry = await w.ask("PUT", path, merged(own, {"metadata": {"labels": {"walked": "dry"}}}), dryRun="All")
    expect("the dry run's label", labels(dry).get("walked"), "dry")
    expect("what a GET answers after a dry run", await w.ask("GET", path), own)
    other = merged(own, {"metadata": {"name": name + "x"}})
    text = f"the name of the object ({name}x) does not match the name on the URL ({name})"
    await w.refused("PUT", path, other, status=400, reason="BadRequest", text=text)
    if k.sample.status:
        tried = await w.ask("PUT", path, merged(own, k.sample.status))
        expect("the status, which is not to be changed here", tried.get("status"), own.get("status"))
    if k.sample.fixed:
        await w.refused("PUT", path, merged(own, k.sample.fixed), status=422, reason="Invalid")
        expect("what a GET answers after a refusal", await w.ask("GET", path), own)
    body = w.body(k)
    absent = k.path(body["metadata"]["name"])
    if (k.place.group, k.place.plural) in MADE_BY_UPDATE:
        await w.ask("PUT", absent, body, status=201)
    else:
        await w.refused("PUT", absent, body, status=404, reason="NotFound")


async def patch(w: Walker, k: Kind) -> None:
    made = await w.make(k)
    name = made["metadata"]["name"]
    path = k.path(name)
    # JSON patch: a test that holds, a change; and a test that does not.
    operations = [
        {"op": "test", "path": "/metadata/name", "value": name},
        {"op": "add", "path": "/metadata/labels/walked", "value": "json"},
    ]
    answer = await w.patch(path, operations, "json")
    expect("the label after a JSON patch", labels(answer).get("walked"), "json")
    expect("what a GET answers", await w.ask("GET", path), answer)
    failing = [{"op": "test", "path": "/metadata/name", "value": "other"}, *operations[1:]]
    await _patch_refused(w, path, failing, "json", 422, "Invalid")
    # Merge patch: a list is replaced, null removes.
    await w.patch(path, {"metadata": {"finalizers": ["example.com/a"]}}, "merge")
    answer = await w.patch(
        path,
        merged({"metadata": {"finalizers": ["example.com/b"], "labels": {"walked": None}}}, k.sample.change),
        "merge",
    )
    expect("the finalizers after a merge patch", answer["metadata"].get("finalizers"), ["example.com/b"])
    expect("the label after a merge patch", labels(answer).get("walked"), None)
    holds("what was changed", k.sample.change, answer)
    if k.sample.counts and "metadata" not in k.sample.change:
        expect("the generation after a change", answer["metadata"].get("generation"), 2)
    expect("what a GET answers", await w.ask("GET", path), answer)
    # Strategic merge patch: a list that is a set is merged, and has a directive to remove from it.
    answer = await w.patch(path, {"metadata": {"finalizers": ["example.com/c"]}}, "strategic")
    expect(
        "the finalizers after a strategic merge patch",
        sorted(answer["metadata"]["finalizers"]),
        ["example.com/b", "example.com/c"],
    )
    answer = await w.patch(path, {"metadata": {"$deleteFromPrimitiveList/finalizers": ["example.com/b"]}}, "strategic")
    expect("the finalizers after the directive", answer["metadata"].get("finalizers"), ["example.com/c"])
    expect("what a GET answers", await w.ask("GET", path), answer)
    await clear(w, k, name)
    unknown = {"metadata": {"labels": {"walked": "unknown"}}, "walked": 1}
    await _patch_refused(w, path, unknown, "merge", 422, "Invalid", fieldValidation="Strict")
    if k.sample.fixed:
        await _patch_refused(w, path, k.sample.fixed, "merge", 422, "Invalid")
    stale = {"metadata": {"resourceVersion": made["metadata"]["resourceVersion"], "labels": {"walked": "stale"}}}
    await _patch_refused(w, path, stale, "merge", 409, "Conflict", text=MODIFIED)
    await _patch_refused(w, k.path("absent"), {"metadata": {"labels": {"a": "b"}}}, "merge", 404, "NotFound")
    await w.refused(
        "PATCH", path, b"{}", status=415, reason="UnsupportedMediaType", headers={"Content-Type": "application/json"}
    )
    await _apply(w, k)


async def _patch_refused(
    w: Walker, path: str, body: Any, form: str, status: int, reason: str, text: str = "", **query: Any
) -> None:
    answer = await w.patch(path, body, form, status=status, **query)
    expect("the Status' reason", answer.get("reason"), reason)
    expect_in("the Status' message", text, answer.get("message", ""))


async def _apply(w: Walker, k: Kind) -> None:
    """Server-side apply: makes, is idempotent, tracks who owns what, refuses to take, takes with force."""
    body = w.body(k, annotations={"walked": "one"})
    name = body["metadata"]["name"]
    path = k.path(name)
    text = "fieldManager: Required value: is required for apply patch"
    await _patch_refused(w, path, body, "apply", 422, "Invalid", text)
    made = await w.patch(path, body, "apply", status=201, fieldManager="one")
    holds("what was applied", {key: v for key, v in body.items() if key != "stringData"}, made)
    managers = [(m["manager"], m["operation"]) for m in made["metadata"].get("managedFields") or ()]
    expect("the managers", managers, [("one", "Apply")])
    again = await w.patch(path, body, "apply", fieldManager="one")
    expect("the object after it was applied again", again, made)
    theirs = {
        "apiVersion": k.api_version, "kind": k.kind,
        "metadata": {"name": name, "annotations": {"walked": "two", "more": "yes"}},
    }  # fmt: skip
    if k.namespace and k.kind == "Event":
        theirs["metadata"]["namespace"] = k.namespace
    conflict = 'conflict with "one": .metadata.annotations.walked'
    await _patch_refused(w, path, theirs, "apply", 409, "Conflict", conflict, fieldManager="two")
    taken = await w.patch(path, theirs, "apply", fieldManager="two", force="true")
    holds("the annotations", {"walked": "two", "more": "yes"}, taken["metadata"]["annotations"])
    expect("what a GET answers", await w.ask("GET", path), taken)
    del theirs["metadata"]["annotations"]["more"]
    less = await w.patch(path, theirs, "apply", fieldManager="two")
    holds(
        "the annotations, one of them applied no more", {"walked": "two", "more": None}, less["metadata"]["annotations"]
    )


async def delete(w: Walker, k: Kind) -> None:
    made = await w.make(k)
    name, uid = made["metadata"]["name"], made["metadata"]["uid"]
    path = k.path(name)
    await w.ask("DELETE", path, dryRun="All")
    expect("what a GET answers after a dry run", await w.ask("GET", path), made)
    wrong = {"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": {"uid": "other"}}
    await w.refused("DELETE", path, wrong, status=409, reason="Conflict")
    async with w.watch(
        k.collection, resourceVersion=made["metadata"]["resourceVersion"], fieldSelector=f"metadata.name={name}"
    ) as events:
        right = {**wrong, "preconditions": {"uid": uid}}
        answer = await w.ask("DELETE", path, right)
        if answer["kind"] == "Status":
            expect("the Status", answer["status"], "Success")
            expect("the Status' details", (answer["details"]["name"], answer["details"]["uid"]), (name, uid))
        else:
            expect("the object in the answer", (answer["kind"], answer["metadata"]["uid"]), (k.kind, uid))
        if k.kind in HELD:
            await tidy(w, k, await events.next("MODIFIED"))
        gone = await events.next("DELETED")
        expect("who is gone", gone["metadata"]["uid"], uid)
        if revision(gone) <= revision(made):
            raise Fault("a deletion's event has the resource version of the deletion")
    await w.refused("GET", path, status=404, reason="NotFound")
    await w.refused("DELETE", path, status=404, reason="NotFound", text=f'{k.group_resource} "{name}" not found')
    kept = await w.make(k, finalizers=["example.com/walk"])
    path = k.path(kept["metadata"]["name"])
    # In answer to a background deletion, an object that stays for its finalizers is what is answered.
    going = await w.ask("DELETE", path)
    if k.kind in HELD - {"Namespace"}:
        going = await w.patch(path, {"metadata": {"finalizers": ["example.com/walk"]}}, "merge")
    expect("the kind of what is held back", going["kind"], k.kind)
    if not going["metadata"].get("deletionTimestamp"):
        raise Fault("an object with a finalizer got no deletionTimestamp")
    holds("what a GET answers", {"metadata": {"finalizers": ["example.com/walk"]}}, await w.ask("GET", path))
    await clear(w, k, kept["metadata"]["name"])
    if k.kind == "Namespace":
        await tidy(w, k, await w.ask("GET", path))
    await w.ask("GET", path, status=404)


async def deletecollection(w: Walker, k: Kind) -> None:
    word, other = w.word(), w.word()
    group = {"walk": word, "walked": "together"}
    for _ in range(2):
        body = w.body(k)
        body["metadata"]["labels"] = group
        await w.ask("POST", k.collection, body, status=201)
    stays = await w.make(k, other)
    await w.ask("DELETE", k.collection, labelSelector=f"walk={word}", dryRun="All")
    expect(
        "how many are left after a dry run",
        len((await w.ask("GET", k.collection, labelSelector=f"walk={word}"))["items"]),
        2,
    )
    answer = await w.ask("DELETE", k.collection, labelSelector=f"walk={word}")
    expect("the answer's kind", answer["kind"], k.kind + "List")
    expect("how many were deleted", len(answer["items"]), 2)
    if k.kind in HELD:
        for going in (await w.ask("GET", k.collection, labelSelector=f"walk={word}"))["items"]:
            await tidy(w, k, going)
    expect("how many are left", (await w.ask("GET", k.collection, labelSelector=f"walk={word}"))["items"], [])
    expect("whom it did not concern", await w.ask("GET", k.path(stays["metadata"]["name"])), stays)
