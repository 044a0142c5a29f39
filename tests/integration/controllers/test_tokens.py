"""Tokens that are Secrets, against the API server: filled, signed with, and gone when it is time."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time

import pytest

from pybernetes.api import resources as r
from pybernetes.api.meta import Object, annotations_of, name_of
from pybernetes.api.time import format_time
from pybernetes.apiserver.authenticators.legacy_tokens import LegacyTokenSigner
from pybernetes.apiserver.pki import ClusterPKI
from pybernetes.controllers.manager import ControllerConfig
from tests.integration.controllers.conftest import ROOT_CA, World

TOKEN = "kubernetes.io/service-account-token"
SYSTEM, PUBLIC = "kube-system", "kube-public"


@pytest.fixture
def config(pki: ClusterPKI) -> ControllerConfig:
    signer = LegacyTokenSigner(pki.service_account_key_pem())
    return ControllerConfig(root_ca_pem=ROOT_CA, sign_legacy_token=signer.sign)


def plain(data: dict[str, str], key: str) -> str:
    return base64.b64decode(data.get(key, "")).decode()


def encoded(**values: str) -> dict[str, str]:
    return {key.replace("_", "-"): base64.b64encode(value.encode()).decode() for key, value in values.items()}


def bootstrap_token(token_id: str, **values: str) -> dict[str, str]:
    secret = {"token_id": token_id, "token_secret": "0123456789abcdef", "usage_bootstrap_signing": "true"}
    return encoded(**{**secret, **values})


def deletions(world: World) -> list[str]:
    """The names of Secrets that have gone since."""
    gone: list[str] = []

    def note(old: Object | None, new: Object | None) -> None:
        if old is not None and new is None:
            gone.append(name_of(old))

    world.api.reader.subscribe(r.SECRETS, note)
    return gone


async def asks_for(world: World, name: str, account: str) -> None:
    meta = {"annotations": {"kubernetes.io/service-account.name": account}}
    await world.create(r.SECRETS, name, type=TOKEN, meta=meta)


async def test_a_token_secret_is_filled_and_goes_with_its_account(world: World, pki: ClusterPKI) -> None:
    account = await world.create(r.SERVICEACCOUNTS, "robot")
    await asks_for(world, "t", "robot")
    secret = await world.until(lambda: (world.get(r.SECRETS, "t") or {}).get("data") and world.get(r.SECRETS, "t"))
    assert plain(secret["data"], "namespace") == "default" and plain(secret["data"], "ca.crt") == ROOT_CA
    token = plain(secret["data"], "token")
    assert LegacyTokenSigner(pki.service_account_key_pem()).is_ours(token)
    assert annotations_of(secret)["kubernetes.io/service-account.uid"] == account["metadata"]["uid"]
    review = {"spec": {"token": token}}
    answer = await world.admin.create(r.TOKENREVIEWS, review)
    assert answer["status"]["user"]["username"] == "system:serviceaccount:default:robot"
    await world.admin.delete(r.SERVICEACCOUNTS, "robot", "default")
    await world.until(lambda: world.get(r.SECRETS, "t") is None)
    answer = await world.admin.create(r.TOKENREVIEWS, review)
    assert "authenticated" not in answer["status"]


async def test_a_token_secret_of_nobody_goes(world: World) -> None:
    gone = deletions(world)
    await asks_for(world, "t", "nobody")
    await world.until(lambda: gone == ["t"])


async def test_an_account_forgets_a_secret_that_is_gone(world: World) -> None:
    await world.create(r.SERVICEACCOUNTS, "robot", secrets=[{"name": "t"}, {"name": "other"}])
    await asks_for(world, "t", "robot")
    await world.until(lambda: (world.get(r.SECRETS, "t") or {}).get("data"))
    await world.admin.delete(r.SECRETS, "t", "default")
    await world.until(lambda: (world.get(r.SERVICEACCOUNTS, "robot") or {}).get("secrets") == [{"name": "other"}])


async def test_an_expired_bootstrap_token_goes(world: World) -> None:
    kind = "bootstrap.kubernetes.io/token"
    gone = deletions(world)
    soon = bootstrap_token("aaaaaa", expiration=format_time(time.time() + 1.5))
    await world.create(r.SECRETS, "bootstrap-token-bbbbbb", SYSTEM, type=kind, data=bootstrap_token("bbbbbb"))
    await world.create(r.SECRETS, "bootstrap-token-aaaaaa", SYSTEM, type=kind, data=soon)
    await world.until(lambda: gone == ["bootstrap-token-aaaaaa"])
    assert world.get(r.SECRETS, "bootstrap-token-bbbbbb", SYSTEM)


async def test_cluster_info_is_signed_with_every_token_that_may(world: World) -> None:
    kubeconfig = "apiVersion: v1\nkind: Config\n"
    await world.create(r.CONFIGMAPS, "cluster-info", PUBLIC, data={"kubeconfig": kubeconfig})
    kind = "bootstrap.kubernetes.io/token"
    await world.create(r.SECRETS, "bootstrap-token-aaaaaa", SYSTEM, type=kind, data=bootstrap_token("aaaaaa"))
    off = bootstrap_token("bbbbbb", usage_bootstrap_signing="false")
    await world.create(r.SECRETS, "bootstrap-token-bbbbbb", SYSTEM, type=kind, data=off)

    def signatures() -> dict[str, str]:
        data = (world.get(r.CONFIGMAPS, "cluster-info", PUBLIC) or {}).get("data") or {}
        return {key: value for key, value in data.items() if key.startswith("jws-")}

    await world.until(lambda: list(signatures()) == ["jws-kubeconfig-aaaaaa"])
    head, _, code = signatures()["jws-kubeconfig-aaaaaa"].split(".")
    signed = head + "." + base64.urlsafe_b64encode(kubeconfig.encode()).rstrip(b"=").decode()
    wanted = hmac.new(b"0123456789abcdef", signed.encode(), hashlib.sha256).digest()
    assert base64.urlsafe_b64decode(code + "=" * (-len(code) % 4)) == wanted
    await world.admin.delete(r.SECRETS, "bootstrap-token-aaaaaa", SYSTEM)
    await world.until(lambda: not signatures())
