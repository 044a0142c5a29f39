"""The HTTP side of things: negotiation, methods, unknown paths, health, documents, identity, what errors give away."""

from __future__ import annotations

import asyncio
import gzip
import json
import ssl
from typing import Any

import aiohttp
import pytest
import yaml

from pybernetes.apiserver import registry as registry_module
from pybernetes.apiserver.pki import ClusterPKI, client_context
from tests.integration.apiserver.conftest import Server
from tests.integration.apiserver.test_crud import MAPS, config_map
from tests.integration.apiserver.test_lists_and_watches import make_maps

TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"


async def accept(server: Server, path: str, header: str, **query: Any) -> Any:
    return await server.request("GET", path, headers={"Accept": header}, **query)


async def test_forms_of_an_answer(server: Server) -> None:
    await make_maps(server, 2)
    for header in (
        "",
        "*/*",
        "application/*",
        "application/json",
        "application/vnd.kubernetes.protobuf,application/json",
    ):
        answer = await accept(server, f"{MAPS}/m000", header)
        assert answer.status == 200 and answer.headers["Content-Type"] == "application/json"
    assert yaml.safe_load((await accept(server, f"{MAPS}/m000", "application/yaml")).body)["data"] == {"i": "0"}
    for header in ("text/html", "application/vnd.kubernetes.protobuf", "application/json;as=Chair;v=v1;g=meta.k8s.io"):
        answer = await accept(server, MAPS, header)
        assert answer.status == 406 and answer.json["reason"] == "NotAcceptable"

    table = (await accept(server, MAPS, TABLE)).json
    assert table["kind"] == "Table" and [r["cells"][0] for r in table["rows"]] == ["m000", "m001"]
    assert table["rows"][0]["object"]["kind"] == "PartialObjectMetadata"
    table = (await accept(server, MAPS, TABLE, includeObject="Object")).json
    assert table["rows"][0]["object"]["data"] == {"i": "0"}
    assert (await accept(server, MAPS, TABLE, includeObject="Half")).status == 400
    one = (await accept(server, f"{MAPS}/m001", TABLE)).json
    assert one["kind"] == "Table" and len(one["rows"]) == 1
    assert (await accept(server, f"{MAPS}/none", TABLE)).json["kind"] == "Status"

    partial = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"
    meta = (await accept(server, f"{MAPS}/m001", partial)).json
    assert meta["kind"] == "PartialObjectMetadata" and "data" not in meta and meta["metadata"]["name"] == "m001"
    metas = (await accept(server, MAPS, partial.replace("Metadata", "MetadataList"))).json
    assert metas["kind"] == "PartialObjectMetadataList" and len(metas["items"]) == 2


async def test_pretty_answers(server: Server) -> None:
    await server.post(MAPS, config_map("a"))
    plain = (await server.get(f"{MAPS}/a")).body
    pretty = (await server.get(f"{MAPS}/a", pretty="true")).body
    assert b"\n" not in plain and b'\n  "kind"' in pretty and json.loads(plain) == json.loads(pretty)
    curl = await server.request("GET", f"{MAPS}/a", headers={"User-Agent": "curl/8.0"})
    assert curl.body == pretty


async def test_big_answers_are_compressed_on_request(server: Server) -> None:
    await server.post(MAPS, config_map("a", x="y" * 300_000))
    connector = aiohttp.TCPConnector(ssl=client_context(server.pki.ca_path, *server.pki.paths("admin")))
    async with aiohttp.ClientSession(connector=connector, auto_decompress=False) as session:
        async with session.get(server.url + MAPS, headers={"Accept-Encoding": "gzip"}) as response:
            assert response.headers["Content-Encoding"] == "gzip"
            assert len(json.loads(gzip.decompress(await response.read()))["items"]) == 1
        async with session.get(server.url + MAPS, headers={"Accept-Encoding": "identity"}) as response:
            assert "Content-Encoding" not in response.headers
            assert len(await response.read()) > 300_000


async def test_methods_and_paths_that_are_not_served(server: Server) -> None:
    for method, path in (
        ("POST", f"{MAPS}/a"), ("PUT", MAPS), ("PATCH", MAPS), ("POST", "/api/v1/configmaps"),
        ("DELETE", "/api/v1/namespaces"),
        ("GET", "/api/v1/namespaces/default/bindings"), ("GET", "/api/v1/namespaces/default/pods/p/eviction"),
        ("POST", "/version"), ("POST", "/apis"),
    ):  # fmt: skip
        answer = await server.request(method, path)
        assert answer.status == 405, (method, path, answer.body)
        assert answer.json["message"] == "the server does not allow this method on the requested resource"
    for path in (
        "/api/v1/chairs",
        "/apis/apps/v1/chairs",
        f"{MAPS}/a/status",
        "/api/v1/namespaces/default/nodes",
        f"{MAPS}/a/b/c",
    ):
        answer = await server.get(path)
        assert answer.status == 404 and answer.json["message"] == "the server could not find the requested resource", (
            path
        )
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        answer = await server.request(method, "/apis/nobody.example/v1/namespaces/default/chairs/a")
        assert answer.status == 404 and answer.body == b"404 page not found\n", method
    for path in ("/nothing", "/apis/nobody.example/v1/chairs", "/apis/nobody.example", "/api/v9", "/livez/nothing"):
        answer = await server.get(path)
        assert answer.status == 404 and answer.body == b"404 page not found\n", path


async def test_what_is_never_read_has_no_table(server: Server) -> None:
    table = "application/json;as=Table;v=v1;g=meta.k8s.io"
    review = {"spec": {"nonResourceAttributes": {"verb": "get", "path": "/"}}}
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    body = json.dumps(review).encode()
    refused = await server.request("POST", path, body, headers={"Accept": table, "Content-Type": "application/json"})
    assert refused.status == 406 and refused.json["reason"] == "NotAcceptable"
    either = {"Accept": f"{table},application/json", "Content-Type": "application/json"}
    answer = await server.request("POST", path, body, headers=either)
    assert answer.status == 201 and answer.json["kind"] == "SelfSubjectAccessReview"


async def test_names_in_paths_are_decoded(server: Server) -> None:
    role = {"metadata": {"name": "a:b/c"}, "rules": []}
    answer = await server.post("/apis/rbac.authorization.k8s.io/v1/clusterroles", {**role, "metadata": {"name": "a:b"}})
    assert answer.status == 201
    assert (await server.get("/apis/rbac.authorization.k8s.io/v1/clusterroles/a%3Ab")).status == 200


async def test_the_deprecated_watch_path(server: Server) -> None:
    await make_maps(server, 2)
    async with server.session.get(server.url + "/api/v1/watch/namespaces/default/configmaps/m001") as response:
        event = json.loads(await response.content.readline())
    assert event["object"]["metadata"]["name"] == "m001"


async def test_health(server: Server) -> None:
    for path in ("/healthz", "/livez", "/readyz", "/readyz/ping", "/readyz/", "/livez/etcd"):
        answer = await server.get(path)
        assert answer.status == 200 and answer.body == b"ok", path
    common = "[+]ping ok\n[+]log ok\n[+]etcd ok\n"
    ready = "[+]etcd-readiness ok\n[+]informer-sync ok\n[+]shutdown ok\n"
    for kind, lines in (("livez", common), ("healthz", common), ("readyz", common + ready)):
        for query in ("verbose", "verbose=", "verbose=true"):
            assert (await server.get(f"/{kind}?{query}")).body.decode() == f"{lines}{kind} check passed\n"
    head = await server.request("HEAD", "/readyz")
    assert head.status == 200 and head.headers["X-Content-Type-Options"] == "nosniff"
    done = server.api.start_hook("late")
    for kind in ("livez", "readyz", "healthz"):
        failed = await server.get(f"/{kind}")
        assert failed.status == 500 and failed.headers["Content-Type"] == "text/plain; charset=utf-8"
        assert "[-]poststarthook/late failed: reason withheld\n" in failed.body.decode()
        assert failed.body.decode().endswith(f"\n{kind} check failed\n")
    one = await server.get("/livez/poststarthook/late")
    assert one.status == 500 and one.body == b"internal server error: not finished\n"
    excluded = await server.get("/livez?verbose&exclude=poststarthook/late&exclude=x&exclude=a")
    assert excluded.body.decode() == (
        f"{common}[+]poststarthook/late excluded: ok\n"
        'warn: some health checks cannot be excluded: no matches for "a","x"\nlivez check passed\n'
    )
    done()
    assert (await server.get("/readyz")).status == 200
    assert (await server.get("/livez/poststarthook/late")).body == b"ok"


async def test_metrics(server: Server) -> None:
    await server.get(MAPS)
    await server.post(MAPS, config_map("dry"), dryRun="All")
    text = (await server.get("/metrics")).body.decode()
    for labels in (
        'code="200",component="apiserver",dry_run="",group="",resource="configmaps",scope="namespace",'
        'subresource="",verb="LIST",version="v1"',
        'code="201",component="apiserver",dry_run="All",group="",resource="configmaps",scope="resource",'
        'subresource="",verb="POST",version="v1"',
    ):
        assert f"apiserver_request_total{{{labels}}} 1.0" in text
    for name in (
        "apiserver_request_duration_seconds_bucket",
        'apiserver_storage_objects{resource="core/configmaps"}',
        'apiserver_current_inflight_requests{request_kind="readOnly"} 1.0',
        'apiserver_flowcontrol_nominal_limit_seats{priority_level="workload-low"} 245.0',
        'apiserver_flowcontrol_dispatched_requests_total{flow_schema="exempt",priority_level="exempt"}',
        "process_resident_memory_bytes",
    ):
        assert name in text, name


async def test_discovery(server: Server) -> None:
    assert (await server.get("/api")).json["versions"] == ["v1"]
    groups = {g["name"]: g for g in (await server.get("/apis")).json["groups"]}
    assert groups["autoscaling"]["preferredVersion"]["version"] == "v2"
    listed = {r["name"]: r for r in (await server.get("/apis/apps/v1")).json["resources"]}
    assert listed["deployments"]["shortNames"] == ["deploy"] and "deployments/scale" in listed
    header = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"
    answer = await accept(server, "/apis", header)
    assert answer.json["kind"] == "APIGroupDiscoveryList"
    assert answer.headers["Content-Type"] == "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    again = await server.request("GET", "/apis", headers={"Accept": header, "If-None-Match": answer.headers["Etag"]})
    assert again.status == 304 and again.body == b""


async def test_openapi(server: Server) -> None:
    index = (await server.get("/openapi/v3")).json["paths"]
    url = index["apis/apps/v1"]["serverRelativeURL"]
    path, _, hash_ = url.partition("?hash=")
    document = await server.get(path, hash=hash_)
    assert "io.k8s.api.apps.v1.Deployment" in document.json["components"]["schemas"]
    assert "immutable" in document.headers["Cache-Control"]
    v2 = await server.get("/openapi/v2")
    assert v2.json["swagger"] == "2.0"
    protobuf = await accept(server, "/openapi/v2", "application/com.github.proto-openapi.spec.v2@v1.0+protobuf")
    assert protobuf.status == 200 and protobuf.body[:1] != b"{"


async def test_openapi_documents_are_kept_by_their_hash(server: Server) -> None:
    index = await server.get("/openapi/v3")
    url = index.json["paths"]["version"]["serverRelativeURL"]
    path, _, hash_ = url.partition("?hash=")
    named = await server.get(path, hash=hash_)
    assert named.headers["Cache-Control"] == "public, immutable" and named.headers["Expires"].endswith("GMT")
    plain = await server.get(path)
    assert plain.headers["Cache-Control"] == "no-cache, private" and plain.headers["Etag"] == f'"{hash_}"'
    async with server.session.get(server.url + path, params={"hash": "OLD"}, allow_redirects=False) as moved:
        assert (moved.status, moved.headers["Location"]) == (301, url)
    for tag in (f'"{hash_}"', f'W/"{hash_}"', f'"other", "{hash_}"', "*"):
        assert (await server.request("GET", path, headers={"If-None-Match": tag})).status == 304, tag
    assert (await server.request("GET", path, headers={"If-None-Match": '"other"'})).status == 200
    assert (await accept(server, path, "application/com.github.proto-openapi.spec.v3.v1.0+protobuf")).status == 406
    assert (await server.get("/openapi/v3/apis/nothing/v1")).status == 404


async def test_discovery_that_is_no_longer_served(server: Server) -> None:
    beta = "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList"
    assert (await accept(server, "/apis", f"{beta},application/json")).json["kind"] == "APIGroupList"
    assert (await accept(server, "/apis", beta)).status == 406
    assert (await accept(server, "/apis", "application/yaml")).body.startswith(b"apiVersion: v1\n")


async def test_the_index_names_what_there_is(server: Server) -> None:
    paths = (await server.get("/")).json["paths"]
    wanted = {"/api", "/api/v1", "/apis", "/apis/apps", "/apis/apps/v1", "/livez/ping", "/openapi/v3", "/version"}
    assert wanted <= set(paths) and paths == sorted(paths)
    for path in paths:
        assert (await server.get(path)).status == 200, path


async def test_the_issuers_documents(server: Server) -> None:
    configuration = (await server.get("/.well-known/openid-configuration")).json
    assert configuration["jwks_uri"].endswith("/openid/v1/jwks")
    keys = await server.get("/openid/v1/jwks")
    assert keys.json["keys"] and keys.headers["Content-Type"] == "application/jwk-set+json"


# ---- identity


async def test_who_nobody_is(server: Server, pki: ClusterPKI) -> None:
    context = ssl.create_default_context(cafile=str(pki.ca_path))
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session:
        async with session.get(server.url + "/version") as response:
            assert response.status == 200
        async with session.get(server.url + MAPS) as response:
            assert response.status == 403
            assert (await response.json())["message"] == (
                'configmaps is forbidden: User "system:anonymous" cannot list resource "configmaps" in API group "" '
                'in the namespace "default"'
            )
        async with session.get(server.url + MAPS, headers={"Authorization": "Bearer nonsense"}) as response:
            assert response.status == 401
            answer = await response.json()
            assert answer["message"] == "Unauthorized" and answer["reason"] == "Unauthorized"
        async with session.get(server.url + "/metrics") as response:
            assert response.status == 403


async def test_roles_are_enforced_at_once(server: Server) -> None:
    headers = {"Impersonate-User": "jane"}
    path = "/apis/rbac.authorization.k8s.io/v1/namespaces/default"
    assert (await server.request("GET", MAPS, headers=headers)).status == 403
    rules = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list"]}]
    await server.post(f"{path}/roles", {"metadata": {"name": "r"}, "rules": rules})
    binding = {
        "metadata": {"name": "b"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "jane"}],
    }
    assert (await server.post(f"{path}/rolebindings", binding)).status == 201
    assert (await server.request("GET", MAPS, headers=headers)).status == 200
    assert (await server.request("GET", f"{MAPS}/a", headers=headers)).status == 403
    await server.delete(f"{path}/rolebindings/b")
    assert (await server.request("GET", MAPS, headers=headers)).status == 403


# ---- faults


async def test_an_unexpected_error_gives_nothing_away(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("the secret is swordfish")

    monkeypatch.setattr(registry_module.Registry, "get", broken)
    answer = await server.get(f"{MAPS}/a")
    assert answer.status == 500 and answer.json["reason"] == "InternalError"
    assert answer.headers["Audit-Id"] in answer.json["message"]
    text = answer.body.decode()
    assert "swordfish" not in text and "Traceback" not in text and "RuntimeError" not in text


async def test_every_answer_has_an_audit_id(server: Server) -> None:
    first, second = await server.get(MAPS), await server.get("/nothing")
    assert first.headers["Audit-Id"] != second.headers["Audit-Id"]
    told = await server.request("GET", MAPS, headers={"Audit-ID": "mine"})
    assert told.headers["Audit-Id"] == "mine"


async def test_headers_cannot_be_injected(server: Server) -> None:
    """Texts of clients end in warnings; none may end a header."""
    answer = await server.post(MAPS, {**config_map("a"), "x\r\nInjected: yes": 1})
    assert answer.status == 201 and "Injected" not in answer.headers


async def test_a_closed_store_is_told_as_unavailable(server: Server) -> None:
    await server.store.close()
    answer = await server.post(MAPS, config_map("a"))
    assert answer.status == 503 and answer.json["reason"] == "ServiceUnavailable"


async def test_requests_in_flight_finish_when_the_server_stops(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    entered, go_on = asyncio.Event(), asyncio.Event()
    original = registry_module.Registry.create

    async def slow(self: Any, *arguments: Any) -> Any:
        entered.set()
        await go_on.wait()
        return await original(self, *arguments)

    monkeypatch.setattr(registry_module.Registry, "create", slow)
    writing = asyncio.create_task(server.post(MAPS, config_map("a")))
    await entered.wait()
    stopping = asyncio.create_task(server.api.stop())
    await asyncio.sleep(0)
    go_on.set()
    assert (await writing).status == 201
    await stopping
    with pytest.raises(aiohttp.ClientError):
        await server.get(MAPS)


# ---- methods, warnings and forms that are refused


async def test_head_and_options(server: Server) -> None:
    """Upstream's router knows neither of them for resources and discovery; what bypasses it answers HEAD."""
    for path in ("/api/v1/nodes", "/api/v1/namespaces/default", "/apis", "/api/v1", "/version"):
        for method in ("HEAD", "OPTIONS"):
            assert (await server.request(method, path)).status == 405, (method, path)
    for path in ("/healthz", "/livez", "/metrics", "/openapi/v2"):
        answer = await server.request("HEAD", path)
        assert answer.status == 200 and answer.body == b"", path


async def test_deprecated_kinds_warn(server: Server) -> None:
    wanted = '299 - "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"'
    path = "/api/v1/namespaces/default/endpoints"
    for answer in (
        await server.get(path),
        await server.get(f"{path}/kubernetes"),
        await server.post(path, {"metadata": {"name": "a"}}),
        await server.get(f"{path}/none"),
    ):
        assert answer.headers["Warning"] == wanted, answer.status
    status = await server.get("/api/v1/componentstatuses")
    assert status.headers["Warning"] == '299 - "v1 ComponentStatus is deprecated in v1.19+"'
    assert "Warning" not in (await server.get("/api/v1/pods")).headers


async def test_lists_are_no_single_objects(server: Server) -> None:
    one = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"
    answer = await accept(server, "/api/v1/namespaces", one)
    text = "you requested PartialObjectMetadata, but the requested object is a list (*v1.NamespaceList)"
    assert (answer.status, answer.json["message"]) == (406, text)
    many = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"
    answer = await accept(server, "/api/v1/namespaces/default", many)
    text = "you requested PartialObjectMetadataList, but the requested object is not a list (*v1.Namespace)"
    assert (answer.status, answer.json["message"]) == (406, text)
    both = await accept(server, "/api/v1/namespaces", f"{many},application/json")
    assert both.json["kind"] == "PartialObjectMetadataList"


async def test_yaml_is_no_form_of_a_watch(server: Server) -> None:
    text = "only the following media types are accepted: application/json;stream=watch"
    for header in ("application/yaml", "application/yaml, application/json;q=0.5"):
        answer = await server.request("GET", "/api/v1/pods", headers={"Accept": header}, watch=1, timeoutSeconds=1)
        assert answer.status == 406 and text.encode() in answer.body


@pytest.mark.parametrize(
    "path",
    [
        "admissionregistration.k8s.io/v1beta1",
        "admissionregistration.k8s.io/v1alpha1/mutatingadmissionpolicies",
        "apps/v1beta1",
        "batch/v1beta1/cronjobs",
        "certificates.k8s.io/v1alpha1",
        "certificates.k8s.io/v1beta1/clustertrustbundles",
        "coordination.k8s.io/v1alpha2/leasecandidates",
        "flowcontrol.apiserver.k8s.io/v1beta3/flowschemas",
        "internal.apiserver.k8s.io",
        "internal.apiserver.k8s.io/v1alpha1/storageversions",
        "networking.k8s.io/v1beta1/servicecidrs",
        "resource.k8s.io/v1beta1",
        "resource.k8s.io/v1beta2/resourceclaims",
        "resource.k8s.io/v1alpha3/devicetaintrules",
        "scheduling.k8s.io/v1alpha1/workloads",
        "storage.k8s.io/v1beta1/volumeattributesclasses",
        "storagemigration.k8s.io",
        "storagemigration.k8s.io/v1beta1/storageversionmigrations",
    ],
)
async def test_alpha_and_beta_versions_are_off(server: Server, path: str) -> None:
    """As upstream's default: the version is in no list, and a request for it finds nothing."""
    answer = await server.get(f"/apis/{path}")
    assert (answer.status, answer.body) == (404, b"404 page not found\n")
    group, _, rest = path.partition("/")
    groups = {g["name"]: {v["version"] for v in g["versions"]} for g in (await server.get("/apis")).json["groups"]}
    assert rest.partition("/")[0] not in groups.get(group, set()) and all(
        version.startswith("v") and version[1:].isdigit() for versions in groups.values() for version in versions
    )
