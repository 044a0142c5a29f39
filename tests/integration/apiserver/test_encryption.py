"""Secrets at rest: what a running server leaves on the disk."""

from __future__ import annotations

import base64
import os
from pathlib import Path

import pytest

from pybernetes.apiserver.encryption.config import EncryptionConfig, parse
from pybernetes.apiserver.encryption.store import EncryptedStore, EncryptionFailed
from pybernetes.apiserver.pki import ClusterPKI
from pybernetes.store.sqlite import SQLiteStore
from tests.integration.apiserver.conftest import running

SECRETS_PATH = "/api/v1/namespaces/default/secrets"
MARK = b"correct-horse-battery-staple"
KEYS = {"key1": os.urandom(32), "key2": os.urandom(32)}


def config(*names: str) -> EncryptionConfig:
    keys = [{"name": name, "secret": base64.b64encode(KEYS[name]).decode()} for name in names]
    return parse(
        {
            "apiVersion": "apiserver.config.k8s.io/v1",
            "kind": "EncryptionConfiguration",
            "resources": [{"resources": ["secrets"], "providers": [{"aescbc": {"keys": keys}}, {"identity": {}}]}],
        }
    )


def on_disk(directory: Path) -> bytes:
    return b"".join(p.read_bytes() for p in sorted(directory.rglob("*")) if p.is_file())


def secret(name: str) -> dict[str, object]:
    return {"metadata": {"name": name}, "data": {"k": base64.b64encode(MARK).decode()}}


async def test_no_secret_lies_open_on_the_disk(pki: ClusterPKI, tmp_path: Path) -> None:
    data, text = tmp_path / "store", base64.b64encode(MARK)
    store = EncryptedStore(await SQLiteStore.open(data), config("key1"))
    async with running(pki, tmp_path, store) as server:
        made = await server.post(SECRETS_PATH, secret("s"))
        assert made.status == 201 and made.json["data"]["k"] == text.decode()
        assert (await server.post("/api/v1/namespaces/default/configmaps", secret("open"))).status == 201
        assert (await server.get(SECRETS_PATH + "/s")).json["data"]["k"] == text.decode()
        watched = await server.get(SECRETS_PATH, watch=1, timeoutSeconds=1, resourceVersion=0)
        assert text in watched.body
        raw = on_disk(data)
        assert b"k8s:enc:aescbc:v1:key1:" in raw
        # Once, in the config map, which is not configured.
        assert raw.count(text) == 1
    await store.close()


async def test_rotating_keys(pki: ClusterPKI, tmp_path: Path) -> None:
    data = tmp_path / "store"
    store: SQLiteStore | EncryptedStore = await SQLiteStore.open(data)
    async with running(pki, tmp_path, store) as server:
        await server.post(SECRETS_PATH, secret("s"))
    await store.close()
    for names in (("key1",), ("key2", "key1")):
        inner = await SQLiteStore.open(data)
        store = EncryptedStore(inner, config(*names))
        async with running(pki, tmp_path, store) as server:
            have = await server.get(SECRETS_PATH + "/s")
            assert base64.b64decode(have.json["data"]["k"]) == MARK
            # As `kubectl get secrets -o json | kubectl replace -f -` does: nothing changes but the key.
            again = await server.put(SECRETS_PATH + "/s", have.json)
            assert again.json["metadata"]["resourceVersion"] != have.json["metadata"]["resourceVersion"]
            same = await server.put(SECRETS_PATH + "/s", again.json)
            assert same.json["metadata"]["resourceVersion"] == again.json["metadata"]["resourceVersion"]
            kept = await inner.range("/registry/core/secrets/default/s")
            assert kept.items[0].value.startswith(f"k8s:enc:aescbc:v1:{names[0]}:".encode())
        await store.close()


async def test_a_server_without_the_key_does_not_start(pki: ClusterPKI, tmp_path: Path) -> None:
    data = tmp_path / "store"
    store = EncryptedStore(await SQLiteStore.open(data), config("key1"))
    async with running(pki, tmp_path, store) as server:
        await server.post(SECRETS_PATH, secret("s"))
    await store.close()
    store = EncryptedStore(await SQLiteStore.open(data), config("key2"))
    with pytest.raises(EncryptionFailed, match="/registry/core/secrets/default/s"):
        async with running(pki, tmp_path, store):
            raise AssertionError("it has started")
    await store.close()
