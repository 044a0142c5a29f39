"""Ways to show who one is, on a running server: identity providers, webhooks, bootstrap and legacy tokens, proxies."""

from __future__ import annotations

import base64
import json
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import jwt
import pytest
import yaml
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import rsa

from pybernetes.api.meta import labels_of
from pybernetes.api.resources import SECRETS, SERVICEACCOUNTS
from pybernetes.api.time import format_time
from pybernetes.api.user import User
from pybernetes.apiserver.authenticators import authentication_config, static_tokens
from pybernetes.apiserver.authenticators.authentication_config import AuthenticationConfigError
from pybernetes.apiserver.authenticators.front_proxy import FrontProxyConfig
from pybernetes.apiserver.authenticators.legacy_tokens import LAST_USED, LegacyTokenSigner
from pybernetes.apiserver.outbound import load_webhook
from pybernetes.apiserver.pki import ClusterPKI, server_context, write_private
from pybernetes.apiserver.security import TokenWebhookConfig
from tests.integration.apiserver.conftest import Answer, Server, listening_socket, running
from tests.integration.apiserver.test_security_http import ask, context_of
from tests.support.waiting import until

SELF = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
REVIEWS = "/apis/authentication.k8s.io/v1/tokenreviews"


async def who(server: Server, context: ssl.SSLContext, token: str = "", **headers: str) -> Answer:
    """The server's word on who asks with a token."""
    if token:
        headers["Authorization"] = f"Bearer {token}"
    return await ask(server, context, "POST", SELF, {}, **headers)


@asynccontextmanager
async def peer(
    pki: ClusterPKI, directory: Path, routes: dict[tuple[str, str], Callable[[web.Request], Any]]
) -> AsyncIterator[str]:
    """An HTTPS server on loopback; its URL."""
    pair = pki.issue_serving("peer", ["127.0.0.1"])
    write_private(directory / "peer.crt", pair.certificate_pem)
    write_private(directory / "peer.key", pair.key_pem)
    app = web.Application()
    for (method, path), handler in routes.items():
        app.router.add_route(method, path, handler)
    runner = web.AppRunner(app)
    await runner.setup()
    sock = listening_socket()
    tls = server_context(directory / "peer.crt", directory / "peer.key", None)
    await web.SockSite(runner, sock, ssl_context=tls).start()
    try:
        yield f"https://127.0.0.1:{sock.getsockname()[1]}"
    finally:
        await runner.cleanup()


class Issuer:
    """An identity provider: its keys, its documents, how often they were asked for."""

    def __init__(self) -> None:
        self.url = ""
        self.keys: dict[str, rsa.RSAPrivateKey] = {}
        self.fetches = 0
        self.add("k1")

    def add(self, key_id: str) -> None:
        self.keys[key_id] = rsa.generate_private_key(65537, 2048)

    async def discovery(self, request: web.Request) -> web.Response:
        return web.json_response({"issuer": self.url, "jwks_uri": f"{self.url}/keys"})

    async def jwks(self, request: web.Request) -> web.Response:
        self.fetches += 1
        listed = []
        for key_id, key in self.keys.items():
            jwk = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key()))
            listed.append({**jwk, "kid": key_id, "use": "sig"})
        return web.json_response({"keys": listed})

    def token(self, key_id: str = "k1", algorithm: str = "RS256", **claims: Any) -> str:
        whole = {"iss": self.url, "aud": "p8s", "sub": "1", "exp": int(time.time()) + 600, **claims}
        return jwt.encode(whole, self.keys[key_id], algorithm=algorithm, headers={"kid": key_id})


@asynccontextmanager
async def issuing(pki: ClusterPKI, directory: Path) -> AsyncIterator[Issuer]:
    issuer = Issuer()
    routes = {("GET", "/.well-known/openid-configuration"): issuer.discovery, ("GET", "/keys"): issuer.jwks}
    async with peer(pki, directory, routes) as issuer.url:
        yield issuer


def flags(issuer: Issuer, ca: ClusterPKI, **more: Any) -> Any:
    given: dict[str, Any] = {
        "issuer_url": issuer.url,
        "client_id": "p8s",
        "ca_pem": ca.ca_pem.decode(),
        "username_claim": "email",
        "username_prefix": "",
        "groups_claim": "groups",
        "groups_prefix": "oidc:",
        "required_claims": {"tenant": "acme"},
        "signing_algorithms": [],
    }
    return authentication_config.from_flags(**{**given, **more})


async def test_an_identity_provider(pki: ClusterPKI, tmp_path: Path) -> None:
    nobody = context_of(pki, tmp_path, None)
    good = {"email": "jane@example.com", "email_verified": True, "groups": ["devs"], "tenant": "acme"}
    async with (
        issuing(pki, tmp_path) as issuer,
        running(pki, tmp_path, security={"jwt_issuers": [flags(issuer, pki)]}) as server,
    ):
        answer = await who(server, nobody, issuer.token(**good))
        assert answer.status == 201, answer.body
        assert answer.json["status"]["userInfo"] == {
            "username": "jane@example.com",
            "groups": ["oidc:devs", "system:authenticated"],
        }
        review = await server.post(REVIEWS, {"spec": {"token": issuer.token(**good)}})
        assert review.json["status"]["user"]["username"] == "jane@example.com"
        for bad, why in (
            ({**good, "aud": "other"}, 'expected audience in ["p8s"] got ["other"]'),
            ({**good, "exp": int(time.time()) - 1}, "oidc: token is expired"),
            ({**good, "email_verified": False}, "oidc: email not verified"),
            ({**good, "tenant": "other"}, "required claim tenant value does not match. Got = other, want = acme"),
            ({**good, "groups": 7}, 'parse groups claim "groups"'),
        ):
            token = issuer.token(**bad)
            assert (await who(server, nobody, token)).status == 401, why
            assert why in (await server.post(REVIEWS, {"spec": {"token": token}})).json["status"]["error"]
        assert (await who(server, nobody, issuer.token(algorithm="RS512", **good))).status == 401
        forged = jwt.encode({**good, "iss": issuer.url, "aud": "p8s", "exp": int(time.time()) + 60}, "x" * 32, "HS256")
        assert (await who(server, nobody, forged)).status == 401
        assert issuer.fetches == 1


async def test_an_identity_providers_new_key(pki: ClusterPKI, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pybernetes.apiserver.authenticators.jwt_issuers.REFETCH_SECONDS", 0.0)
    nobody = context_of(pki, tmp_path, None)
    good = {"email": "jane@example.com", "tenant": "acme"}
    async with (
        issuing(pki, tmp_path) as issuer,
        running(pki, tmp_path, security={"jwt_issuers": [flags(issuer, pki)]}) as server,
    ):
        assert (await who(server, nobody, issuer.token(**good))).status == 201
        issuer.add("k2")
        assert (await who(server, nobody, issuer.token("k2", **good))).status == 201
        assert issuer.fetches == 2


async def test_unknown_keys_do_not_make_the_server_fetch_again_and_again(pki: ClusterPKI, tmp_path: Path) -> None:
    nobody = context_of(pki, tmp_path, None)
    async with (
        issuing(pki, tmp_path) as issuer,
        running(pki, tmp_path, security={"jwt_issuers": [flags(issuer, pki)]}) as server,
    ):
        stranger = Issuer()
        stranger.url = issuer.url
        for i in range(5):
            stranger.add(f"x{i}")
            assert (await who(server, nobody, stranger.token(f"x{i}", email="a@b"))).status == 401
        assert issuer.fetches == 1


async def test_an_identity_provider_by_file(pki: ClusterPKI, tmp_path: Path) -> None:
    nobody = context_of(pki, tmp_path, None)
    async with issuing(pki, tmp_path) as issuer:
        path = tmp_path / "authentication.yaml"
        path.write_text(
            yaml.safe_dump(
                {
                    "apiVersion": "apiserver.config.k8s.io/v1",
                    "kind": "AuthenticationConfiguration",
                    "jwt": [
                        {
                            "issuer": {
                                "url": issuer.url,
                                "audiences": ["p8s", "other"],
                                "audienceMatchPolicy": "MatchAny",
                                "certificateAuthority": pki.ca_pem.decode(),
                            },
                            "claimMappings": {
                                "username": {"claim": "sub", "prefix": "corp:"},
                                "groups": {"claim": "role", "prefix": ""},
                                "uid": {"claim": "uid"},
                            },
                        }
                    ],
                    "anonymous": {"enabled": True, "conditions": [{"path": "/livez"}]},
                }
            )
        )
        config = authentication_config.load(path, [])
        security = {"jwt_issuers": config.issuers, "anonymous": config.anonymous}
        async with running(pki, tmp_path, security=security) as server:
            answer = await who(server, nobody, issuer.token(algorithm="RS512", uid="7", role="ops", jti="j1"))
            assert answer.json["status"]["userInfo"] == {
                "username": "corp:1",
                "uid": "7",
                "groups": ["ops", "system:authenticated"],
                "extra": {"authentication.kubernetes.io/credential-id": ["JTI=j1"]},
            }
            assert (await ask(server, nobody, "GET", "/livez")).status == 200
            assert (await ask(server, nobody, "GET", "/readyz")).status == 401


async def test_expressions_over_claims(pki: ClusterPKI, tmp_path: Path) -> None:
    nobody = context_of(pki, tmp_path, None)
    async with issuing(pki, tmp_path) as issuer:
        body = {
            "apiVersion": "apiserver.config.k8s.io/v1",
            "kind": "AuthenticationConfiguration",
            "jwt": [
                {
                    "issuer": {
                        "url": issuer.url,
                        "audiences": ["p8s"],
                        "certificateAuthority": pki.ca_pem.decode(),
                    },
                    "claimValidationRules": [
                        {"expression": "claims.exp - claims.iat <= 3600", "message": "too long a life"},
                    ],
                    "claimMappings": {
                        "username": {"expression": "claims.email_verified ? claims.email : 'nobody:' + claims.sub"},
                        "groups": {"expression": "claims.roles.split(',').map(r, 'role:' + r)"},
                        "uid": {"expression": "claims.sub"},
                        "extra": [{"key": "example.com/tenant", "valueExpression": "claims.?tenant.orValue('')"}],
                    },
                    "userValidationRules": [
                        {"expression": "!user.username.startsWith('system:')", "message": "reserved"},
                        {"expression": "user.groups.all(g, g != 'role:root')", "message": "no root"},
                    ],
                }
            ],
        }
        issuers = authentication_config.parse(body, []).issuers
        async with running(pki, tmp_path, security={"jwt_issuers": issuers}) as server:
            good = {"email": "jane@example.com", "email_verified": True, "roles": "dev,ops", "iat": int(time.time())}
            answer = await who(server, nobody, issuer.token(tenant="acme", **good))
            assert answer.json["status"]["userInfo"] == {
                "username": "jane@example.com",
                "uid": "1",
                "groups": ["role:dev", "role:ops", "system:authenticated"],
                "extra": {"example.com/tenant": ["acme"]},
            }
            assert "extra" not in (await who(server, nobody, issuer.token(**good))).json["status"]["userInfo"]
            for change, why in (
                ({"iat": 0}, "validation expression 'claims.exp - claims.iat <= 3600' failed: too long a life"),
                ({"email": "system:admin"}, "failed: reserved"),
                ({"roles": "root"}, "failed: no root"),
                ({"roles": 7}, "no such overload"),
            ):
                told = await server.post(REVIEWS, {"spec": {"token": issuer.token(**{**good, **change})}})
                assert why in told.json["status"]["error"].replace("No matching overloads found", "no such overload")


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"issuer": {"url": "http://a", "audiences": ["x"]}}, "jwt[0].issuer.url: Invalid value"),
        ({"issuer": {"url": "https://a"}}, "at least one jwt[0].issuer.audiences is required"),
        ({"issuer": {"url": "https://me", "audiences": ["x"]}}, "URL must not overlap with disallowed issuers: [https"),
        ({"claimMappings": {}}, "jwt[0].claimMappings.username: Required value: claim or expression is required"),
        ({"claimMappings": {"username": {"claim": "sub"}}}, "prefix is required when claim is set"),
        (
            {"claimMappings": {"username": {"expression": "claims."}}},
            'jwt[0].claimMappings.username.expression: Invalid value: "claims.": compilation failed: ERROR: <input>:1',
        ),
        ({"claimMappings": {"username": {"expression": "1 + 1"}}}, "must evaluate to string"),
        ({"claimMappings": {"username": {"expression": "claims.email"}}}, "claims.email_verified must be used in"),
        ({"userValidationRules": [{"expression": "user.username"}, {}]}, "userValidationRules[1].expression: Required"),
        ({"claimValidationRules": [{"expression": "'a'"}]}, "must evaluate to bool"),
        ({"other": 1}, 'strict decoding error: unknown field "jwt[0].other"'),
    ],
)
def test_faults_of_the_file(change: dict[str, Any], fault: str) -> None:
    issuer = {
        "issuer": {"url": "https://a", "audiences": ["x"]},
        "claimMappings": {"username": {"claim": "sub", "prefix": ""}},
        **change,
    }
    body = {"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthenticationConfiguration", "jwt": [issuer]}
    with pytest.raises(AuthenticationConfigError) as refused:
        authentication_config.parse(body, ["https://me"])
    assert fault in str(refused.value)


# A webhook


async def test_a_webhook_knows_tokens(pki: ClusterPKI, tmp_path: Path) -> None:
    nobody = context_of(pki, tmp_path, None)
    asked: list[dict[str, Any]] = []

    async def review(request: web.Request) -> web.Response:
        assert request.headers["Authorization"] == "Bearer hook"
        body = await request.json()
        asked.append(body)
        if body["spec"]["token"] == "good":
            user = {"username": "wanda", "uid": "1", "groups": ["hooked"], "extra": {"a": ["b"]}}
            status: dict[str, Any] = {"authenticated": True, "user": user}
        else:
            status = {"authenticated": False, "error": "never seen"}
        return web.json_response({**body, "status": status})

    async with peer(pki, tmp_path, {("POST", "/review"): review}) as url:
        path = tmp_path / "webhook.yaml"
        path.write_text(
            yaml.safe_dump(
                {
                    "clusters": [{"name": "c", "cluster": {"server": url + "/review", "certificate-authority": "ca"}}],
                    "users": [{"name": "u", "user": {"token": "hook"}}],
                    "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
                    "current-context": "x",
                }
            )
        )
        (tmp_path / "ca").write_bytes(pki.ca_pem)
        hook = TokenWebhookConfig(load_webhook(path))
        async with running(pki, tmp_path, security={"token_webhook": hook}) as server:
            for _ in range(3):
                answer = await who(server, nobody, "good")
                assert answer.json["status"]["userInfo"] == {
                    "username": "wanda",
                    "uid": "1",
                    "groups": ["hooked", "system:authenticated"],
                    "extra": {"a": ["b"]},
                }
                assert (await who(server, nobody, "bad")).status == 401
            assert [(b["apiVersion"], b["spec"]["token"]) for b in asked] == [
                ("authentication.k8s.io/v1beta1", "good"),
                ("authentication.k8s.io/v1beta1", "bad"),
            ]
            told = await server.post(REVIEWS, {"spec": {"token": "bad"}})
            assert told.json["status"] == {"user": {}, "error": "[invalid bearer token, never seen]"}


# Tokens that are Secrets


def encoded(**values: str) -> dict[str, str]:
    return {key.replace("_", "-"): base64.b64encode(value.encode()).decode() for key, value in values.items()}


async def test_bootstrap_tokens(server: Server, pki: ClusterPKI, tmp_path: Path) -> None:
    nobody = context_of(pki, tmp_path, None)
    token = "abcdef.0123456789abcdef"
    assert (await who(server, nobody, token)).status == 401
    data = encoded(
        token_id="abcdef",
        token_secret="0123456789abcdef",
        usage_bootstrap_authentication="true",
        auth_extra_groups="system:bootstrappers:workers",
        expiration=format_time(time.time() + 600),
    )
    secret = {"metadata": {"name": "bootstrap-token-abcdef"}, "type": "bootstrap.kubernetes.io/token", "data": data}
    made = await server.admin.create(SECRETS, secret, "kube-system")
    answer = await who(server, nobody, token)
    assert answer.json["status"]["userInfo"] == {
        "username": "system:bootstrap:abcdef",
        "groups": ["system:bootstrappers", "system:bootstrappers:workers", "system:authenticated"],
    }
    assert (await who(server, nobody, "abcdef.0123456789abcdeX")).status == 401
    for change in (
        encoded(expiration=format_time(time.time() - 1)),
        encoded(expiration="tomorrow"),
        encoded(usage_bootstrap_authentication="false"),
        encoded(auth_extra_groups="system:masters"),
        encoded(token_id="other1"),
    ):
        made = await server.admin.update(SECRETS, {**made, "data": {**data, **change}})
        assert (await who(server, nobody, token)).status == 401, change


async def test_legacy_tokens(server: Server, pki: ClusterPKI, tmp_path: Path) -> None:
    nobody = context_of(pki, tmp_path, None)
    account = await server.admin.create(SERVICEACCOUNTS, {"metadata": {"name": "robot"}}, "default")
    token = LegacyTokenSigner(pki.service_account_key_pem()).sign("default", "robot", account["metadata"]["uid"], "t")
    assert (await who(server, nobody, token)).status == 401
    secret = {
        "metadata": {"name": "t", "annotations": {"kubernetes.io/service-account.name": "robot"}},
        "type": "kubernetes.io/service-account-token",
        "data": encoded(token=token),
    }
    await server.admin.create(SECRETS, secret, "default")
    answer = await who(server, nobody, token)
    assert answer.json["status"]["userInfo"]["username"] == "system:serviceaccount:default:robot"

    def noted() -> bool:
        have = server.api.reader.get(SECRETS, "default", "t")
        return have is not None and labels_of(have).get(LAST_USED) == time.strftime("%Y-%m-%d", time.gmtime())

    await until(noted, 5)
    invalid = {"metadata": {"labels": {"kubernetes.io/legacy-token-invalid-since": "2026-01-01"}}}
    await server.patch("/api/v1/namespaces/default/secrets/t", invalid)
    told = await server.post(REVIEWS, {"spec": {"token": token}})
    assert "has been marked invalid" in told.json["status"]["error"]
    await server.admin.delete(SECRETS, "t", "default")
    assert (await who(server, nobody, token)).status == 401


# Others


async def test_a_front_proxy_says_who_asks(pki: ClusterPKI, tmp_path: Path) -> None:
    proxies = ClusterPKI.ensure(tmp_path / "proxies")
    config = FrontProxyConfig(proxies.ca_pem, ("aggregator",))
    proxy = context_of(pki, tmp_path, proxies.issue_client("aggregator"))
    stranger = context_of(pki, tmp_path, proxies.issue_client("kubernetes-admin", ["system:masters"]))
    alice = context_of(pki, tmp_path, pki.issue_client("alice"))
    async with running(pki, tmp_path, security={"front_proxy": config}) as server:
        named = {"X-Remote-User": "bob", "X-Remote-Group": "devs", "X-Remote-Extra-Scopes%2fx": "a"}
        answer = await who(server, proxy, **named)
        assert answer.json["status"]["userInfo"] == {
            "username": "bob",
            "groups": ["devs", "system:authenticated"],
            "extra": {"scopes/x": ["a"]},
        }
        # The headers of anybody else are worth nothing, and the proxies' CA names no clients.
        assert (await who(server, alice, **named)).json["status"]["userInfo"]["username"] == "alice"
        assert (await who(server, stranger, **named)).status == 401
        assert (await who(server, stranger)).status == 401
        assert (await who(server, proxy)).status == 401


async def test_an_issuer_that_nobody_can_discover(pki: ClusterPKI, tmp_path: Path) -> None:
    async with running(pki, tmp_path, security={"issuer": "cluster.local"}) as server:
        assert (await server.get("/.well-known/openid-configuration")).status == 404
        assert (await server.get("/openid/v1/jwks")).status == 404
    elsewhere = {"issuer": "https://issuer.example.com", "jwks_uri": "https://keys.example.com/k"}
    async with running(pki, tmp_path, security=elsewhere) as server:
        document = await server.get("/.well-known/openid-configuration")
        assert (document.json["issuer"], document.json["jwks_uri"]) == tuple(elsewhere.values())
        assert document.headers["Cache-Control"] == "public, max-age=3600"


async def test_tokens_of_a_file(pki: ClusterPKI, tmp_path: Path) -> None:
    path = tmp_path / "tokens.csv"
    path.write_text('# comment\ns3cret,ops,7,"a,b"\nplain,viewer,8\n')
    users = static_tokens.load(path)
    assert users["plain"] == User("viewer", "8")
    nobody = context_of(pki, tmp_path, None)
    async with running(pki, tmp_path, security={"static_tokens": users}) as server:
        answer = await who(server, nobody, "s3cret")
        assert answer.json["status"]["userInfo"] == {
            "username": "ops",
            "uid": "7",
            "groups": ["a", "b", "system:authenticated"],
        }
    path.write_text("a,b\n")
    with pytest.raises(static_tokens.TokenFileError, match="at least 3 columns"):
        static_tokens.load(path)
