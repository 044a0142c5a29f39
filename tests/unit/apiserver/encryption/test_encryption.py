"""Encryption at rest: the configuration, the stored forms, and the store in between."""

from __future__ import annotations

import base64
import os
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from pybernetes.apiserver.encryption.config import EncryptionConfig, EncryptionConfigError, parse
from pybernetes.apiserver.encryption.providers import EncryptionError
from pybernetes.apiserver.encryption.store import EncryptedStore, EncryptionFailed
from pybernetes.store.interface import Compare, Delete, Put, prefix_end
from pybernetes.store.memory import MemoryStore

KEY1, KEY2 = os.urandom(32), os.urandom(32)
SECRET = "/registry/core/secrets/default/s"


def keys(*named: tuple[str, bytes]) -> dict[str, Any]:
    return {"keys": [{"name": name, "secret": base64.b64encode(key).decode()} for name, key in named]}


def config(*providers: dict[str, Any], resources: tuple[str, ...] = ("secrets",)) -> EncryptionConfig:
    return parse(body({"resources": list(resources), "providers": list(providers)}))


def body(*entries: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "EncryptionConfiguration",
        "resources": list(entries),
    }


@pytest.mark.parametrize("provider", ["aescbc", "aesgcm", "secretbox"])
def test_what_is_sealed_is_opened_and_nothing_else(provider: str) -> None:
    chain = config({provider: keys(("key1", KEY1))}).chain_for("", "secrets")
    assert chain is not None
    for length in (1, 15, 16, 17, 4096):
        value = os.urandom(length)
        sealed = chain.seal(value, SECRET)
        assert sealed.startswith(f"k8s:enc:{provider}:v1:key1:".encode())
        assert length == 1 or value not in sealed
        assert chain.open(sealed, SECRET) == (value, False)
        assert chain.seal(value, SECRET) != sealed
    if provider != "aescbc":
        with pytest.raises(EncryptionError):
            chain.open(sealed[:-1] + bytes([sealed[-1] ^ 1]), SECRET)
    with pytest.raises(EncryptionError, match="no matching prefix found"):
        chain.open(b'{"kind":"Secret"}', SECRET)


def test_gcm_ties_a_value_to_its_key_in_the_store() -> None:
    chain = config({"aesgcm": keys(("k", KEY1))}).chain_for("", "secrets")
    assert chain is not None
    sealed = chain.seal(b"value", SECRET)
    with pytest.raises(EncryptionError, match="message authentication failed"):
        chain.open(sealed, "/registry/core/secrets/default/other")
    # The form is upstream's: nonce, then what any AES-GCM makes of it.
    at = len(b"k8s:enc:aesgcm:v1:k:")
    assert AESGCM(KEY1).decrypt(sealed[at : at + 12], sealed[at + 12 :], SECRET.encode()) == b"value"


def test_rotation() -> None:
    old = config({"aescbc": keys(("key1", KEY1))}).chain_for("", "secrets")
    both = config({"aescbc": keys(("key2", KEY2), ("key1", KEY1))}, {"identity": {}}).chain_for("", "secrets")
    new = config({"aescbc": keys(("key2", KEY2))}).chain_for("", "secrets")
    assert old is not None and both is not None and new is not None
    sealed = old.seal(b"v", SECRET)
    assert both.open(sealed, SECRET) == (b"v", True)
    assert both.open(b"plain", SECRET) == (b"plain", True)
    assert new.open(both.seal(b"v", SECRET), SECRET) == (b"v", False)
    with pytest.raises(EncryptionError):
        new.open(sealed, SECRET)
    identity = config({"identity": {}}).chain_for("", "secrets")
    assert identity is not None
    with pytest.raises(EncryptionError, match="identity transformer tried to read encrypted data"):
        identity.open(sealed, SECRET)


def test_which_resources() -> None:
    some = {"aescbc": keys(("k", KEY1))}
    made = parse(
        body(
            {"resources": ["secrets", "deployments.apps"], "providers": [some]},
            {"resources": ["*.batch"], "providers": [{"identity": {}}]},
            {"resources": ["*."], "providers": [some]},
        )
    )
    found = {name: made.chain_for(group, name) is not None for group, name in [
        ("", "secrets"), ("", "configmaps"), ("apps", "deployments"), ("apps", "daemonsets"), ("batch", "jobs"),
    ]}  # fmt: skip
    assert found == {"secrets": True, "configmaps": True, "deployments": True, "daemonsets": False, "jobs": True}
    assert config(some, resources=("*.*",)).chain_for("example.com", "things") is not None


@pytest.mark.parametrize(
    ("entry", "fault"),
    [
        ({"providers": [{"identity": {}}]}, "at least one resources[0].resources is required"),
        ({"resources": ["secrets"]}, "at least one resources[0].providers is required"),
        ({"resources": ["*"], "providers": [{"identity": {}}]}, "use '*.' to encrypt all the resources"),
        ({"resources": ["Secrets"], "providers": [{"identity": {}}]}, "should not contain capital letters"),
        ({"resources": ["secrets", "*."], "providers": [{"identity": {}}]}, "will be masked"),
        ({"resources": ["secrets", "secrets"], "providers": [{"identity": {}}]}, "cannot be specified multiple"),
        ({"resources": ["events.events.k8s.io"], "providers": [{"identity": {}}]}, "Use 'events' instead"),
        ({"resources": ["secrets.*"], "providers": [{"identity": {}}]}, "across groups is not supported"),
        ({"resources": ["secrets"], "providers": [{}]}, "does not contain any of the expected providers"),
        (
            {"resources": ["secrets"], "providers": [{"identity": {}, "aescbc": keys(("a", KEY1))}]},
            "more than one provider specified",
        ),
        ({"resources": ["secrets"], "providers": [{"aescbc": {"keys": []}}]}, "at least one keys is required"),
        (
            {"resources": ["secrets"], "providers": [{"aescbc": keys(("a", b"short"))}]},
            'resources[0].providers[0].aescbc.keys[0].secret: Invalid value: "REDACTED": secret is not of the '
            "expected length, got 5, expected one of [16 24 32]",
        ),
        ({"resources": ["secrets"], "providers": [{"rot13": {}}]}, 'unknown field "resources[0].providers[0].rot13"'),
        (
            {"resources": ["secrets"], "providers": [{"kms": {"name": "x", "endpoint": "unix:///x"}}]},
            "the kms provider is not supported",
        ),
    ],
)
def test_faults(entry: dict[str, Any], fault: str) -> None:
    with pytest.raises(EncryptionConfigError) as refused:
        parse(body(entry))
    assert fault in str(refused.value)


def test_no_fault_tells_a_key() -> None:
    with pytest.raises(EncryptionConfigError) as refused:
        parse(body({"resources": ["secrets"], "providers": [{"secretbox": keys(("a", b"0123456789"))}]}))
    assert base64.b64encode(b"0123456789").decode() not in str(refused.value)


async def test_the_store_seals_what_is_configured_and_nothing_else() -> None:
    inner = MemoryStore()
    store = EncryptedStore(inner, config({"aesgcm": keys(("k", KEY1))}))
    watch = await store.watch("/registry/", prefix_end("/registry/"))
    maps = "/registry/core/configmaps/default/m"
    await store.txn([Compare(SECRET, 0), Compare(maps, 0)], [Put(SECRET, b"s"), Put(maps, b"m")])
    raw = await inner.range("/registry/", prefix_end("/registry/"))
    assert raw.items[0].value == b"m"
    assert raw.items[1].value.startswith(b"k8s:enc:aesgcm:v1:k:")
    assert [kv.value for kv in (await store.range("/registry/", prefix_end("/registry/"))).items] == [b"m", b"s"]
    failed = await store.txn([Compare(SECRET, 0)], [Put(SECRET, b"t")])
    assert failed.current[0] is not None and failed.current[0].value == b"s"
    await store.txn([], [Delete(SECRET)])
    events = [*(await anext(watch)).events, *(await anext(watch)).events]
    assert [(e.key, e.value) for e in events] == [(SECRET, b"s"), (maps, b"m"), (SECRET, None)]
    assert events[-1].previous is not None and events[-1].previous.value == b"s"
    await watch.close()
    await store.close()


async def test_a_value_of_an_older_key_is_stale_until_it_is_written() -> None:
    inner = MemoryStore()
    await EncryptedStore(inner, config({"aescbc": keys(("key1", KEY1))})).txn([], [Put(SECRET, b"s")])
    store = EncryptedStore(inner, config({"aescbc": keys(("key2", KEY2), ("key1", KEY1))}))
    await store.range(SECRET)
    assert store.is_stale(SECRET)
    watch = await store.watch(SECRET)
    await store.txn([], [Put(SECRET, b"s")])
    await anext(watch)
    assert not store.is_stale(SECRET)
    with pytest.raises(EncryptionFailed, match="no matching prefix"):
        await EncryptedStore(inner, config({"aescbc": keys(("key1", KEY1))})).range(SECRET)
    await watch.close()
    await store.close()
