"""Service-account tokens: bound, checked at every use, refused once what they hang on is gone."""

from __future__ import annotations

import base64
import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from pybernetes.api import errors
from pybernetes.api.meta import Object
from pybernetes.api.resources import NODES, PODS, SECRETS, SERVICEACCOUNTS
from pybernetes.api.time import format_time, parse_time
from pybernetes.api.user import User
from pybernetes.apiserver.interfaces import RequestInfo
from pybernetes.apiserver.token_requests import TokenRequests
from pybernetes.apiserver.tokens import CLUSTER_ISSUER, LEEWAY_SECONDS, InvalidToken, NotOurToken, ServiceAccountTokens
from pybernetes.lib.clock import ManualClock
from tests.unit.apiserver.security.memory_reader import MemoryReader


def key_pem() -> bytes:
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


@pytest.fixture
def tokens(reader: MemoryReader, clock: ManualClock) -> ServiceAccountTokens:
    reader.make(SERVICEACCOUNTS, "robot", "shop")
    return ServiceAccountTokens(key_pem(), reader, clock)


@pytest.fixture
def requests(tokens: ServiceAccountTokens, reader: MemoryReader, clock: ManualClock) -> TokenRequests:
    return TokenRequests(tokens, reader, clock)


async def request(requests: TokenRequests, spec: Object | None = None, account: str = "robot", **meta: str) -> Object:
    info = RequestInfo("create", "", User("x"), SERVICEACCOUNTS, "shop", account, "token")
    return await requests.create(info, {"metadata": meta, "spec": spec or {}})


def claims(token: str) -> Any:
    payload = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))


async def test_a_token_is_its_account(requests: TokenRequests, tokens: ServiceAccountTokens) -> None:
    answer = await request(requests)
    user, audiences = tokens.verify(answer["status"]["token"])
    assert user.name == "system:serviceaccount:shop:robot"
    assert user.groups == ("system:serviceaccounts", "system:serviceaccounts:shop", "system:authenticated")
    assert user.extra["authentication.kubernetes.io/credential-id"][0].startswith("JTI=")
    assert audiences == (CLUSTER_ISSUER,)
    assert answer["spec"]["expirationSeconds"] == 3600


async def test_it_ends(requests: TokenRequests, tokens: ServiceAccountTokens, clock: ManualClock) -> None:
    answer = await request(requests, {"expirationSeconds": 600})
    token = answer["status"]["token"]
    assert answer["status"]["expirationTimestamp"] == format_time(clock.now() + 600)
    clock.advance(600 + LEEWAY_SECONDS)
    tokens.verify(token)
    clock.advance(1)
    with pytest.raises(InvalidToken, match="expired"):
        tokens.verify(token)


async def test_audiences(requests: TokenRequests, tokens: ServiceAccountTokens) -> None:
    token = (await request(requests, {"audiences": ["vault"]}))["status"]["token"]
    with pytest.raises(InvalidToken, match="audiences"):
        tokens.verify(token)
    assert tokens.verify(token, frozenset({"vault", "other"}))[1] == ("vault",)


async def test_an_account_made_anew_is_another(
    requests: TokenRequests, tokens: ServiceAccountTokens, reader: MemoryReader
) -> None:
    token = (await request(requests))["status"]["token"]
    tokens.verify(token)
    reader.remove(SERVICEACCOUNTS, "shop", "robot")
    with pytest.raises(InvalidToken, match='serviceaccounts "robot" not found'):
        tokens.verify(token)
    reader.make(SERVICEACCOUNTS, "robot", "shop")
    with pytest.raises(InvalidToken, match="does not match claim"):
        tokens.verify(token)


async def test_bound_to_a_pod(
    requests: TokenRequests, tokens: ServiceAccountTokens, reader: MemoryReader, clock: ManualClock
) -> None:
    node = reader.make(NODES, "n1")
    pod = reader.make(PODS, "web", "shop", spec={"serviceAccountName": "robot", "nodeName": "n1"})
    reference = {"apiVersion": "v1", "kind": "Pod", "name": "web", "uid": pod["metadata"]["uid"]}
    token = (await request(requests, {"boundObjectRef": reference}))["status"]["token"]
    user, _ = tokens.verify(token)
    assert user.extra["authentication.kubernetes.io/pod-name"] == ("web",)
    assert user.extra["authentication.kubernetes.io/pod-uid"] == (pod["metadata"]["uid"],)
    assert user.extra["authentication.kubernetes.io/node-name"] == ("n1",)
    assert user.extra["authentication.kubernetes.io/node-uid"] == (node["metadata"]["uid"],)

    deleting = {**pod, "metadata": {**pod["metadata"], "deletionTimestamp": format_time(clock.now() + 30)}}
    reader.put(PODS, deleting)
    clock.advance(60)
    tokens.verify(token)
    clock.advance(60)
    with pytest.raises(InvalidToken):
        tokens.verify(token)
    reader.remove(PODS, "shop", "web")
    with pytest.raises(InvalidToken, match="has been invalidated"):
        tokens.verify(token)


async def test_the_kubelets_token_lives_a_year_and_warns(requests: TokenRequests, reader: MemoryReader) -> None:
    reader.make(PODS, "web", "shop", spec={"serviceAccountName": "robot"})
    reference = {"apiVersion": "v1", "kind": "Pod", "name": "web"}
    answer = await request(requests, {"boundObjectRef": reference, "expirationSeconds": 3607})
    said = claims(answer["status"]["token"])
    assert said["exp"] - said["iat"] == 365 * 24 * 3600
    assert said["kubernetes.io"]["warnafter"] == said["iat"] + 3607
    assert parse_time(answer["status"]["expirationTimestamp"]) == said["iat"] + 3607


async def test_bound_to_a_secret_and_to_a_node(
    requests: TokenRequests, tokens: ServiceAccountTokens, reader: MemoryReader
) -> None:
    reader.make(SECRETS, "s", "shop")
    reader.make(NODES, "n1")
    for kind, name, remove in (("Secret", "s", (SECRETS, "shop", "s")), ("Node", "n1", (NODES, "", "n1"))):
        reference = {"apiVersion": "v1", "kind": kind, "name": name}
        token = (await request(requests, {"boundObjectRef": reference}))["status"]["token"]
        tokens.verify(token)
        reader.remove(*remove)
        with pytest.raises(InvalidToken, match="has been invalidated"):
            tokens.verify(token)


async def test_refusals(requests: TokenRequests, reader: MemoryReader) -> None:
    with pytest.raises(errors.NotFound, match='serviceaccounts "nobody" not found'):
        await request(requests, account="nobody")
    with pytest.raises(errors.Invalid, match="may not specify a duration less than 10 minutes"):
        await request(requests, {"expirationSeconds": 599})
    with pytest.raises(errors.Invalid, match=r"larger than 2\^32 seconds"):
        await request(requests, {"expirationSeconds": 2**32 + 1})
    with pytest.raises(errors.Invalid, match="must match the service account name"):
        await request(requests, {}, "robot", name="other")
    with pytest.raises(errors.NotFound, match='pods "web" not found'):
        await request(requests, {"boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": "web"}})
    reader.make(PODS, "web", "shop", spec={"serviceAccountName": "default"})
    with pytest.raises(errors.BadRequest, match="to pod running with different serviceaccount name"):
        await request(requests, {"boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": "web"}})
    reader.make(PODS, "mine", "shop", spec={"serviceAccountName": "robot"})
    with pytest.raises(errors.Conflict, match="does not match the UID in record"):
        await request(requests, {"boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": "mine", "uid": "z"}})
    with pytest.raises(errors.BadRequest, match="cannot bind token to object of type apps/v1, Kind=Deployment"):
        await request(requests, {"boundObjectRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"}})


async def test_forgeries(requests: TokenRequests, tokens: ServiceAccountTokens) -> None:
    token = (await request(requests))["status"]["token"]
    said = claims(token)
    head, body, signature = token.split(".")
    bad_signature = signature[:-4] + ("AAAA" if signature[-4:] != "AAAA" else "BBBB")
    with pytest.raises(InvalidToken):
        tokens.verify(f"{head}.{body}.{bad_signature}")
    other_key = serialization.load_pem_private_key(key_pem(), None)
    with pytest.raises(InvalidToken):
        tokens.verify(jwt.encode(said, other_key, algorithm="ES256"))
    # An unsigned token, and one signed with the public key as if it were a secret.
    with pytest.raises((InvalidToken, NotOurToken)):
        tokens.verify(jwt.encode(said, None, algorithm="none"))
    with pytest.raises(InvalidToken):
        tokens.verify(jwt.encode(said, "x" * 64, algorithm="HS256"))
    with pytest.raises(NotOurToken):
        tokens.verify(jwt.encode({**said, "iss": "https://elsewhere"}, other_key, algorithm="ES256"))
    for garbage in ("", "a", "a.b.c", "x" * 100_000):
        with pytest.raises(NotOurToken):
            tokens.verify(garbage)


async def test_others_can_verify_by_the_documents(requests: TokenRequests, tokens: ServiceAccountTokens) -> None:
    token = (await request(requests))["status"]["token"]
    jwk = tokens.jwks()["keys"][0]
    assert jwt.get_unverified_header(token)["kid"] == jwk["kid"]
    key = jwt.PyJWK(jwk)
    assert jwt.decode(token, key, audience=CLUSTER_ISSUER, options={"verify_exp": False, "verify_nbf": False})
    document = tokens.openid_configuration()
    assert document["jwks_uri"] == CLUSTER_ISSUER + "/openid/v1/jwks"


async def test_the_cache_is_bounded(requests: TokenRequests, tokens: ServiceAccountTokens, monkeypatch: Any) -> None:
    monkeypatch.setattr("pybernetes.apiserver.tokens._CACHE_SIZE", 3)
    issued = [(await request(requests))["status"]["token"] for _ in range(5)]
    for token in issued:
        tokens.verify(token)
    assert tokens.statistics()["cached"] == 3
    tokens.verify(issued[0])
