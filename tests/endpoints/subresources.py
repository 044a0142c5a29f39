"""What must hold of subresources, and of kinds that are not stored: reviews and component statuses."""

from __future__ import annotations

import copy
from typing import Any

from tests.endpoints.rows import Place
from tests.endpoints.verbs import MODIFIED, revision
from tests.endpoints.walker import Fault, Kind, Walker, expect, expect_in, holds, merged

_PODS = Place("", "v1", "pods", "", True, False)
_BUDGETS = Place("policy", "v1", "poddisruptionbudgets", "", True, False)
_SPEC_FIELDS = ("spec", "data", "webhooks", "rules", "value")


def _spec(obj: Any) -> dict[str, Any]:
    return {key: obj[key] for key in _SPEC_FIELDS if key in obj}


# ---- status


async def status_get(w: Walker, k: Kind) -> None:
    made = await w.make(k)
    name = made["metadata"]["name"]
    expect("what a GET of the status answers", await w.ask("GET", k.path(name, "status")), made)
    written = await w.patch(k.path(name, "status"), k.sample.status, "merge")
    expect("what a GET of the status answers", await w.ask("GET", k.path(name, "status")), written)
    await w.refused("GET", k.path("absent", "status"), status=404, reason="NotFound")


async def status_put(w: Walker, k: Kind) -> None:
    made = await w.make(k)
    name = made["metadata"]["name"]
    path = k.path(name, "status")
    wanted = merged(merged(made, k.sample.status), {"metadata": {"labels": {"walked": "status"}}})
    if "metadata" not in k.sample.change:
        wanted = merged(wanted, k.sample.change)
    answer = await w.ask("PUT", path, wanted)
    holds("the status", k.sample.status, answer)
    expect("the spec, which is not to be changed here", _spec(answer), _spec(made))
    expect("the generation", answer["metadata"].get("generation"), made["metadata"].get("generation"))
    expect("what a GET answers", await w.ask("GET", k.path(name)), answer)
    if revision(answer) <= revision(made):
        raise Fault("the resource version did not grow")
    stale = merged(made, k.sample.status)
    await w.refused("PUT", path, stale, status=409, reason="Conflict", text=MODIFIED)
    absent = merged(w.body(k), k.sample.status)
    await w.refused("PUT", k.path(absent["metadata"]["name"], "status"), absent, status=404, reason="NotFound")


async def status_patch(w: Walker, k: Kind) -> None:
    made = await w.make(k)
    name = made["metadata"]["name"]
    path = k.path(name, "status")
    for form in ("merge", "strategic", "json"):
        body: Any = copy.deepcopy(k.sample.status)
        if form == "json":
            current = await w.ask("GET", path)
            value = merged(current.get("status") or {}, body["status"])
            body = [{"op": "add", "path": "/status", "value": value}]
        elif "metadata" not in k.sample.change:
            body = merged(body, k.sample.change)
        answer = await w.patch(path, body, form)
        holds(f"the status after a {form} patch", k.sample.status, answer)
        expect("the spec, which is not to be changed here", _spec(answer), _spec(made))
        expect("what a GET answers", await w.ask("GET", k.path(name)), answer)
    applied = {"apiVersion": k.api_version, "kind": k.kind, "metadata": {"name": name}, **k.sample.status}
    other = (await w.make(k))["metadata"]["name"]
    applied["metadata"]["name"] = other
    answer = await w.patch(k.path(other, "status"), applied, "apply", fieldManager="walk", force="true")
    holds("the status after an apply", k.sample.status, answer)
    owned = [
        (m["manager"], m["operation"], m.get("subresource")) for m in answer["metadata"].get("managedFields") or ()
    ]
    # Who approves is no matter of the status: its conditions are nobody's there.
    if ("walk", "Apply", "status") not in owned and k.kind != "CertificateSigningRequest":
        raise Fault(f"the managers after an apply of the status are {owned}")
    missing = merged(applied, {"metadata": {"name": "absent"}})
    refusal = await w.patch(k.path("absent", "status"), missing, "apply", status=404, fieldManager="walk")
    expect("the reason", refusal["reason"], "NotFound")


# ---- scale


async def scale_get(w: Walker, k: Kind) -> None:
    made = await w.make(k)
    name = made["metadata"]["name"]
    await w.patch(k.path(name), {"spec": {"replicas": 6}}, "merge")
    scale = await w.ask("GET", k.path(name, "scale"))
    expect("the kind", (scale["apiVersion"], scale["kind"]), ("autoscaling/v1", "Scale"))
    expect("spec.replicas", scale["spec"]["replicas"], 6)
    expect("status", scale["status"], {"replicas": 0, "selector": "app=walked"})
    expect("the uid", scale["metadata"]["uid"], made["metadata"]["uid"])
    await w.refused("GET", k.path("absent", "scale"), status=404, reason="NotFound")


async def scale_put(w: Walker, k: Kind) -> None:
    made = await w.make(k)
    name = made["metadata"]["name"]
    scale = await w.ask("GET", k.path(name, "scale"))
    answer = await w.ask("PUT", k.path(name, "scale"), merged(scale, {"spec": {"replicas": 4}}))
    expect("spec.replicas in the answer", answer["spec"]["replicas"], 4)
    owner = await w.ask("GET", k.path(name))
    expect("spec.replicas of the object", owner["spec"]["replicas"], 4)
    expect("its generation", owner["metadata"].get("generation"), 2)
    await w.refused(
        "PUT",
        k.path(name, "scale"),
        merged(scale, {"spec": {"replicas": 5}}),
        status=409,
        reason="Conflict",
        text=MODIFIED,
    )
    negative = merged(answer, {"spec": {"replicas": -1}})
    text = "must be greater than or equal to 0"
    await w.refused("PUT", k.path(name, "scale"), negative, status=422, reason="Invalid", text=text)


async def scale_patch(w: Walker, k: Kind) -> None:
    name = (await w.make(k))["metadata"]["name"]
    path = k.path(name, "scale")
    apply = {"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": name}, "spec": {"replicas": 5}}
    bodies: dict[str, Any] = {
        "merge": {"spec": {"replicas": 2}},
        "strategic": {"spec": {"replicas": 3}},
        "json": [{"op": "replace", "path": "/spec/replicas", "value": 4}],
        "apply": apply,
    }
    for wanted, (form, body) in enumerate(bodies.items(), 2):
        more = {"fieldManager": "walk", "force": "true"} if form == "apply" else {}
        answer = await w.patch(path, body, form, **more)
        expect(f"spec.replicas after a {form} patch", answer["spec"]["replicas"], wanted)
        expect("spec.replicas of the object", (await w.ask("GET", k.path(name)))["spec"]["replicas"], wanted)
    managed = (await w.ask("GET", k.path(name)))["metadata"].get("managedFields") or ()
    owners = [m for m in managed if (m["manager"], m["operation"], m.get("subresource")) == ("walk", "Apply", "scale")]
    expect(
        "the fields that the applier of the scale owns",
        [m["fieldsV1"] for m in owners],
        [{"f:spec": {"f:replicas": {}}}],
    )


# ---- pods


async def pod_binding(w: Walker, k: Kind) -> None:
    pods = w.kind(_PODS)
    name = (await w.make(pods))["metadata"]["name"]
    body = {
        "apiVersion": "v1", "kind": "Binding",
        "metadata": {"name": name, "annotations": {"walked": "yes"}},
        "target": {"apiVersion": "v1", "kind": "Node", "name": "n9"},
    }  # fmt: skip
    path = k.collection if k.kind == "Binding" else k.path(name, "binding")
    wrong = {**body, "target": {"kind": "Pod", "name": "n9"}}
    await w.refused("POST", path, wrong, status=422, reason="Invalid")
    answer = await w.ask("POST", path, body, status=201)
    expect("the answer", (answer["kind"], answer["status"], answer["code"]), ("Status", "Success", 201))
    bound = await w.ask("GET", pods.path(name))
    expect("spec.nodeName", bound["spec"].get("nodeName"), "n9")
    expect("the annotation", (bound["metadata"].get("annotations") or {}).get("walked"), "yes")
    scheduled = [c["status"] for c in bound["status"].get("conditions", ()) if c["type"] == "PodScheduled"]
    expect("the condition PodScheduled", scheduled, ["True"])
    text = 'is already assigned to node "n9"'
    await w.refused("POST", path, body, status=409, reason="Conflict", text=text)


async def pod_eviction(w: Walker, k: Kind) -> None:
    pods, budgets = w.kind(_PODS), w.kind(_BUDGETS)
    name = (await w.make(pods))["metadata"]["name"]
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": k.namespace}}
    dry = {**body, "deleteOptions": {"dryRun": ["All"]}}
    await w.ask("POST", k.path(name, "eviction"), dry, status=201)
    await w.ask("GET", pods.path(name))
    answer = await w.ask("POST", k.path(name, "eviction"), body, status=201)
    expect("the answer", (answer["kind"], answer["status"], answer["code"]), ("Status", "Success", 201))
    await w.ask("GET", pods.path(name), status=404)
    await w.refused("POST", k.path(name, "eviction"), body, status=404, reason="NotFound")
    # A budget that is used up keeps a running pod.
    word = w.word()
    guarded = await w.make(pods, word)
    name = guarded["metadata"]["name"]
    ready = {"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}}
    await w.patch(pods.path(name, "status"), ready, "merge")
    budget = await w.make(budgets)
    spent = {"spec": {"selector": {"matchLabels": {"app": None, "walk": word}}}}
    await w.patch(budgets.path(budget["metadata"]["name"]), spent, "merge")
    state = {
        "observedGeneration": 2,
        "disruptionsAllowed": 0,
        "currentHealthy": 1,
        "desiredHealthy": 1,
        "expectedPods": 1,
    }
    await w.patch(budgets.path(budget["metadata"]["name"], "status"), {"status": state}, "merge")
    body["metadata"] = {"name": name, "namespace": k.namespace}
    text = "Cannot evict pod as it would violate the pod's disruption budget."
    await w.refused("POST", k.path(name, "eviction"), body, status=429, reason="TooManyRequests", text=text)
    await w.patch(budgets.path(budget["metadata"]["name"], "status"), {"status": {"disruptionsAllowed": 1}}, "merge")
    await w.ask("POST", k.path(name, "eviction"), body, status=201)
    left = await w.ask("GET", budgets.path(budget["metadata"]["name"]))
    expect("the disruptions that are left", left["status"]["disruptionsAllowed"], 0)


_DEBUGGER = {"name": "debugger", "image": "example.com/debug:1"}


async def ephemeral_get(w: Walker, k: Kind) -> None:
    made = await w.make(k)
    got = await w.ask("GET", k.path(made["metadata"]["name"], "ephemeralcontainers"))
    expect("what a GET answers", got, made)


async def ephemeral_put(w: Walker, k: Kind) -> None:
    made = await w.make(k)
    path = k.path(made["metadata"]["name"], "ephemeralcontainers")
    body = merged(made, {"spec": {"ephemeralContainers": [_DEBUGGER], "activeDeadlineSeconds": 7}})
    answer = await w.ask("PUT", path, body)
    holds("the ephemeral containers", [_DEBUGGER], answer["spec"].get("ephemeralContainers"))
    expect("the rest of the spec", answer["spec"].get("activeDeadlineSeconds"), None)
    expect("what a GET answers", await w.ask("GET", k.path(made["metadata"]["name"])), answer)
    gone = merged(answer, {"spec": {"ephemeralContainers": None}})
    text = 'existing ephemeral containers "debugger" may not be removed'
    await w.refused("PUT", path, gone, status=422, reason="Invalid", text=text)
    plain = await w.make(k)
    direct = merged(plain, {"spec": {"ephemeralContainers": [_DEBUGGER]}})
    await w.refused("PUT", k.path(plain["metadata"]["name"]), direct, status=422, reason="Invalid")


async def ephemeral_patch(w: Walker, k: Kind) -> None:
    for form in ("strategic", "merge", "json"):
        made = await w.make(k)
        path = k.path(made["metadata"]["name"], "ephemeralcontainers")
        body: Any = {"spec": {"ephemeralContainers": [_DEBUGGER]}}
        if form == "json":
            body = [{"op": "add", "path": "/spec/ephemeralContainers", "value": [_DEBUGGER]}]
        answer = await w.patch(path, body, form)
        holds("the ephemeral containers", [_DEBUGGER], answer["spec"].get("ephemeralContainers"))
        if form == "strategic":
            second = {**_DEBUGGER, "name": "second"}
            answer = await w.patch(path, {"spec": {"ephemeralContainers": [second]}}, form)
            names = sorted(c["name"] for c in answer["spec"]["ephemeralContainers"])
            expect("the names, merged by their key", names, ["debugger", "second"])


_MORE_CPU = {"spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": "20m"}}}]}}


async def resize_get(w: Walker, k: Kind) -> None:
    made = await w.make(k)
    expect("what a GET answers", await w.ask("GET", k.path(made["metadata"]["name"], "resize")), made)


async def resize_put(w: Walker, k: Kind) -> None:
    made = await w.make(k)
    name = made["metadata"]["name"]
    wanted = copy.deepcopy(made)
    wanted["spec"]["containers"][0]["resources"] = {"requests": {"cpu": "20m"}}
    direct = await w.ask("PUT", k.path(name), wanted, status=422)
    expect_in("the message", "pod updates may not change fields other than", direct["message"])
    answer = await w.ask("PUT", k.path(name, "resize"), wanted)
    expect("the request", answer["spec"]["containers"][0]["resources"], {"requests": {"cpu": "20m"}})
    expect("what a GET answers", await w.ask("GET", k.path(name)), answer)
    expect("the generation", answer["metadata"].get("generation"), 2)
    image = copy.deepcopy(answer)
    image["spec"]["containers"][0]["image"] = "example.com/other:1"
    kept = await w.ask("PUT", k.path(name, "resize"), image)
    expect("the image, which is not to be changed here", kept["spec"], answer["spec"])


async def resize_patch(w: Walker, k: Kind) -> None:
    for form in ("strategic", "json"):
        name = (await w.make(k))["metadata"]["name"]
        body: Any = _MORE_CPU
        if form == "json":
            body = [{"op": "replace", "path": "/spec/containers/0/resources/requests/cpu", "value": "20m"}]
        answer = await w.patch(k.path(name, "resize"), body, form)
        expect("the request", answer["spec"]["containers"][0]["resources"]["requests"]["cpu"], "20m")
        expect("what a GET answers", await w.ask("GET", k.path(name)), answer)


# ---- namespaces, accounts, certificates


async def namespace_finalize(w: Walker, k: Kind) -> None:
    made = await w.make(k)
    name = made["metadata"]["name"]
    going = await w.ask("DELETE", k.path(name))
    expect("the phase", going["status"]["phase"], "Terminating")
    expect("the finalizers", (await w.ask("GET", k.path(name)))["spec"]["finalizers"], ["kubernetes"])
    ordinary = merged(going, {"spec": {"finalizers": None}})
    await w.ask("PUT", k.path(name), ordinary)
    expect("the finalizers after an update", (await w.ask("GET", k.path(name)))["spec"]["finalizers"], ["kubernetes"])
    configmap = {"metadata": {"name": "late"}}
    late = await w.ask("POST", f"/api/v1/namespaces/{name}/configmaps", configmap, status=403)
    expect_in("the message", "because it is being terminated", late["message"])
    await w.ask("PUT", k.path(name, "finalize"), ordinary)
    await w.ask("GET", k.path(name), status=404)


async def account_token(w: Walker, k: Kind) -> None:
    account = await w.make(k)
    name = account["metadata"]["name"]
    body = {
        "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
        "spec": {"audiences": [], "expirationSeconds": 1200},
    }  # fmt: skip
    made = await w.ask("POST", k.path(name, "token"), body, status=201)
    expect("the kind", (made["apiVersion"], made["kind"]), ("authentication.k8s.io/v1", "TokenRequest"))
    token = made["status"]["token"]
    if not made["status"].get("expirationTimestamp"):
        raise Fault("the token has no expirationTimestamp")
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token}}
    reviewed = await w.ask("POST", "/apis/authentication.k8s.io/v1/tokenreviews", review, status=201)
    expect("the token's user", reviewed["status"]["user"]["username"], f"system:serviceaccount:{k.namespace}:{name}")
    short = merged(body, {"spec": {"expirationSeconds": 1}})
    text = "may not specify a duration less than 10 minutes"
    await w.refused("POST", k.path(name, "token"), short, status=422, reason="Invalid", text=text)
    await w.refused("POST", k.path("absent", "token"), body, status=404, reason="NotFound")
    await w.ask("DELETE", k.path(name))
    late = await w.ask("POST", "/apis/authentication.k8s.io/v1/tokenreviews", review, status=201)
    expect("whether the token outlives its account", late["status"].get("authenticated", False), False)


def _approval(obj: Any) -> Any:
    condition = {"type": "Approved", "status": "True", "reason": "Walked", "message": "by the walk"}
    return merged(obj, {"status": {"conditions": [condition]}})


async def approval_get(w: Walker, k: Kind) -> None:
    made = await w.make(k)
    expect("what a GET answers", await w.ask("GET", k.path(made["metadata"]["name"], "approval")), made)


def _approved(answer: Any) -> None:
    found = [(c["type"], c["status"], bool(c.get("lastUpdateTime"))) for c in answer["status"]["conditions"]]
    expect("the conditions", found, [("Approved", "True", True)])


async def approval_put(w: Walker, k: Kind) -> None:
    made = await w.make(k)
    name = made["metadata"]["name"]
    text = 'status.conditions: Forbidden: updates may not add a condition of type "Approved"'
    await w.refused("PUT", k.path(name, "status"), _approval(made), status=422, reason="Invalid", text=text)
    answer = await w.ask("PUT", k.path(name, "approval"), _approval(made))
    _approved(answer)
    expect("what a GET answers", await w.ask("GET", k.path(name)), answer)


async def approval_patch(w: Walker, k: Kind) -> None:
    for form in ("merge", "strategic", "json", "apply"):
        made = await w.make(k)
        name = made["metadata"]["name"]
        body: Any = _approval({})
        more: dict[str, str] = {}
        if form == "json":
            body = [{"op": "add", "path": "/status", "value": body["status"]}]
        elif form == "apply":
            body = {"apiVersion": k.api_version, "kind": k.kind, "metadata": {"name": name}, **body}
            more = {"fieldManager": "walk"}
        answer = await w.patch(k.path(name, "approval"), body, form, **more)
        _approved(answer)
        expect("what a GET answers", await w.ask("GET", k.path(name)), answer)


# ---- component statuses and reviews


async def component_list(w: Walker, k: Kind) -> None:
    found = await w.ask("GET", k.everywhere)
    expect("the kind", (found["apiVersion"], found["kind"]), ("v1", "ComponentStatusList"))
    healthy = {o["metadata"]["name"]: [c["status"] for c in o["conditions"]] for o in found["items"]}
    # The walk's server has no controllers, and says that its scheduler works.
    expect("the components", healthy, {"controller-manager": ["False"], "scheduler": ["True"], "etcd-0": ["True"]})
    named = await w.ask("GET", k.everywhere, fieldSelector="metadata.name=scheduler")
    expect("what a name selects", [o["metadata"]["name"] for o in named["items"]], ["scheduler"])
    one = await w.ask("GET", k.everywhere, labelSelector="no=such")
    expect("what no label selects", one["items"], [])


async def component_get(w: Walker, k: Kind) -> None:
    got = await w.ask("GET", f"{k.everywhere}/scheduler")
    expect("the kind", (got["apiVersion"], got["kind"]), ("v1", "ComponentStatus"))
    expect("its conditions", got["conditions"], [{"type": "Healthy", "status": "True", "message": "ok"}])
    await w.refused("GET", f"{k.everywhere}/absent", status=404, reason="NotFound")


_ACCESS = {"resourceAttributes": {"verb": "get", "resource": "pods"}}


async def _review(w: Walker, k: Kind, spec: Any) -> Any:
    body = {"apiVersion": k.api_version, "kind": k.kind, "spec": spec}
    answer = await w.ask("POST", k.collection, body, status=201)
    expect("the kind", (answer["apiVersion"], answer["kind"]), (k.api_version, k.kind))
    return answer["status"]


async def self_subject_review(w: Walker, k: Kind) -> None:
    status = await _review(w, k, None)
    expect("the user", status["userInfo"]["username"], "kubernetes-admin")
    if "system:masters" not in status["userInfo"]["groups"]:
        raise Fault(f"the groups are {status['userInfo']['groups']}")


async def token_review(w: Walker, k: Kind) -> None:
    status = await _review(w, k, {"token": "walked"})
    expect("whether a wrong token is somebody's", status.get("authenticated", False), False)
    path = f"/api/v1/namespaces/{w.namespace}/serviceaccounts/default/token"
    token = (await w.ask("POST", path, {"spec": {}}, status=201))["status"]["token"]
    status = await _review(w, k, {"token": token})
    expect("whether a right one is", status.get("authenticated"), True)
    expect("whose", status["user"]["username"], f"system:serviceaccount:{w.namespace}:default")
    await w.refused("POST", k.collection, {"spec": {}}, status=400, reason="BadRequest")


async def self_access_review(w: Walker, k: Kind) -> None:
    expect("whether an administrator may", (await _review(w, k, _ACCESS))["allowed"], True)
    as_other = {"Impersonate-User": "nobody"}
    body = {"apiVersion": k.api_version, "kind": k.kind, "spec": _ACCESS}
    answer = await w.ask("POST", k.collection, body, status=201, headers=as_other)
    expect("whether somebody else may", answer["status"]["allowed"], False)


async def access_review(w: Walker, k: Kind) -> None:
    expect("whether a stranger may", (await _review(w, k, {**_ACCESS, "user": "nobody"}))["allowed"], False)
    masters = {**_ACCESS, "user": "somebody", "groups": ["system:masters"]}
    expect("whether a master may", (await _review(w, k, masters))["allowed"], True)
    await w.refused("POST", k.collection, {"spec": {"user": "a"}}, status=422, reason="Invalid")


async def local_access_review(w: Walker, k: Kind) -> None:
    attributes = {**_ACCESS["resourceAttributes"], "namespace": k.namespace}
    spec = {"resourceAttributes": attributes, "user": "walked"}
    expect("whether a stranger may", (await _review(w, k, spec))["allowed"], False)
    bindings = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{k.namespace}/rolebindings"
    binding = {
        "metadata": {"name": w.word()},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "walked"}],
    }
    await w.ask("POST", bindings, binding, status=201)
    expect("whether he may once he is bound", (await _review(w, k, spec))["allowed"], True)
    await w.ask("DELETE", f"{bindings}/{binding['metadata']['name']}")
    elsewhere = {"resourceAttributes": {**attributes, "namespace": "other"}, "user": "walked"}
    text = 'spec.resourceAttributes.namespace: Invalid value: "other": must match metadata.namespace'
    await w.refused("POST", k.collection, {"spec": elsewhere}, status=422, reason="Invalid", text=text)


async def rules_review(w: Walker, k: Kind) -> None:
    status = await _review(w, k, {"namespace": w.namespace})
    everything = [r for r in status["resourceRules"] if r["verbs"] == ["*"] and r["resources"] == ["*"]]
    if not everything:
        raise Fault("an administrator's rules do not allow everything")
    await w.refused("POST", k.collection, {"spec": {}}, status=400, reason="BadRequest")
