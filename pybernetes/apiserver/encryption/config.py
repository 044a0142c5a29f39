"""``apiserver.config.k8s.io/v1 EncryptionConfiguration``: read, checked with upstream's texts, and made into chains of
providers by resource. Pure but for `load`. What a fault shows of a key is its name, never the key.

The kms providers are not there: they need a key service of the user's own, spoken to over gRPC.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from pybernetes.api import field
from pybernetes.api.field import FieldError
from pybernetes.api.meta import Object
from pybernetes.apiserver.encryption.providers import (
    KEY_BYTES,
    SEALERS,
    Chain,
    Identity,
    Keyed,
    Provider,
    UnsupportedProvider,
)

_VERSION = "apiserver.config.k8s.io/v1"
_PROVIDERS = ("kms", "aesgcm", "aescbc", "secretbox", "identity")
_NO_REST = ("apiserveripinfo", "serviceipallocations", "servicenodeportallocations")
_OVERLAP = (
    "using overlapping resources such as 'secrets' and '*.' in the same resource list is not allowed as they will be "
    "masked"
)
_EVENTS = (
    "'*.events.k8s.io' objects are stored using the 'events' API group in etcd. Use 'events' instead in the config file"
)


class EncryptionConfigError(ValueError):
    """The configuration cannot be used; the message says why."""


class EncryptionConfig:
    """Which providers a stored kind has."""

    def __init__(self, chains: Sequence[tuple[frozenset[tuple[str, str]], Chain]]) -> None:
        self._chains = tuple(chains)

    def chain_for(self, group: str, plural: str) -> Chain | None:
        """The first entry that names the resource: itself, all of its group, or all there is."""
        names = {(plural, group), ("*", group), ("*", "*")}
        for resources, chain in self._chains:
            if not names.isdisjoint(resources):
                return chain
        return None


def load(path: Path) -> EncryptionConfig:
    """Raises `EncryptionConfigError`, OSError."""
    try:
        body = yaml.load(path.read_bytes(), Loader=yaml.CSafeLoader)
    except (yaml.YAMLError, UnicodeDecodeError):
        # The parser's own message would repeat a piece of the file, which holds keys.
        raise EncryptionConfigError(f"error decoding encryption provider configuration file {path}") from None
    try:
        return parse(body)
    except EncryptionConfigError as error:
        raise EncryptionConfigError(f"invalid encryption configuration in {path}: {error}") from error


def parse(body: Any) -> EncryptionConfig:
    """Raises `EncryptionConfigError`."""
    if not isinstance(body, dict) or body.get("kind") != "EncryptionConfiguration":
        raise EncryptionConfigError(f"not an EncryptionConfiguration of {_VERSION}")
    if body.get("apiVersion") != _VERSION:
        raise EncryptionConfigError(
            f'no kind "EncryptionConfiguration" is registered for version "{body.get("apiVersion")}"'
        )
    _check_shape(body)
    faults = validate(body)
    if faults:
        raise EncryptionConfigError("; ".join(str(f) for f in faults))
    try:
        return EncryptionConfig(
            [
                (frozenset(_group_resource(r) for r in entry["resources"]), Chain(_providers(entry["providers"])))
                for entry in body["resources"]
            ]
        )
    except UnsupportedProvider as error:
        raise EncryptionConfigError(str(error)) from error


def _check_shape(body: Mapping[str, Any]) -> None:
    """Strict decoding: unknown fields and wrong types are faults."""
    _known(body, {"apiVersion", "kind", "resources", "metadata"}, "")
    for i, entry in enumerate(_list(body.get("resources"), "resources")):
        at = f"resources[{i}]"
        _known(entry, {"resources", "providers"}, at + ".")
        if not all(isinstance(r, str) for r in _list(entry.get("resources"), f"{at}.resources")):
            raise EncryptionConfigError(f"{at}.resources: a list of strings is wanted")
        for j, provider in enumerate(_list(entry.get("providers"), f"{at}.providers")):
            where = f"{at}.providers[{j}]"
            _known(provider, set(_PROVIDERS), where + ".")
            for name in ("aescbc", "aesgcm", "secretbox"):
                if provider.get(name) is None:
                    continue
                _known(provider[name], {"keys"}, f"{where}.{name}.")
                for k, key in enumerate(_list(provider[name].get("keys"), f"{where}.{name}.keys")):
                    _known(key, {"name", "secret"}, f"{where}.{name}.keys[{k}].")


def _known(value: Any, fields: set[str], at: str) -> None:
    if not isinstance(value, dict):
        raise EncryptionConfigError(f"{at.rstrip('.') or 'the file'}: an object is wanted")
    unknown = sorted(str(key) for key in value.keys() - fields)
    if unknown:
        raise EncryptionConfigError(
            "strict decoding error: " + ", ".join(f'unknown field "{at}{name}"' for name in unknown)
        )


def _list(value: Any, at: str) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise EncryptionConfigError(f"{at}: a list is wanted")
    return value


def _group_resource(text: str) -> tuple[str, str]:
    """(resource, group) of ``deployments.apps``, ``secrets``, ``*.``, ``*.*``."""
    resource, _, group = text.partition(".")
    return resource, group


def _providers(listed: Sequence[Object]) -> list[Provider]:
    made: list[Provider] = []
    for provider in listed:
        kind = next(name for name in _PROVIDERS if name in provider)
        if kind == "identity":
            made.append(Identity())
            continue
        if kind == "kms":
            raise UnsupportedProvider(
                "the kms provider is not supported: use aescbc, aesgcm or secretbox with keys of your own"
            )
        for key in provider[kind]["keys"]:
            made.append(Keyed(kind, key["name"], SEALERS[kind](base64.b64decode(key["secret"]))))
    return made


def validate(body: Object) -> list[FieldError]:
    """Every fault, worded as upstream."""
    root = field.Path("resources")
    entries = body.get("resources") or []
    if not entries:
        return [field.required(root, "at least one resources is required")]
    faults: list[FieldError] = []
    for i, entry in enumerate(entries):
        at, providers_at = root.index(i).child("resources"), root.index(i).child("providers")
        resources, providers = entry.get("resources") or [], entry.get("providers") or []
        if not resources:
            faults.append(field.required(at, f"at least one {at} is required"))
        faults += _overlaps(resources, at)
        faults += [fault for j, name in enumerate(resources) for fault in _name_faults(name, at.index(j))]
        if not providers:
            faults.append(field.required(providers_at, f"at least one {providers_at} is required"))
        for j, provider in enumerate(providers):
            faults += _provider_faults(provider, providers_at.index(j))
    return faults


def _overlaps(resources: Sequence[str], at: field.Path) -> list[FieldError]:
    faults: list[FieldError] = []
    pairs = [_group_resource(r) for r in resources]
    if len(set(pairs)) < len(pairs):
        faults.append(field.invalid(at, list(resources), "the same resource cannot be specified multiple times"))
    masks = any(a != b and (a == ("*", "*") or (a[1] == b[1] and "*" in (a[0], b[0]))) for a in pairs for b in pairs)
    if masks:
        faults.append(field.invalid(at, list(resources), _OVERLAP))
    return faults


def _name_faults(name: str, at: field.Path) -> list[FieldError]:
    resource, group = _group_resource(name)
    if name != name.lower():
        return [field.invalid(at, name, "resource name should not contain capital letters")]
    if name == "*":
        text = "use '*.' to encrypt all the resources from core API group or *.* to encrypt all resources"
        return [field.invalid(at, name, text)]
    if name in _NO_REST:
        return [field.invalid(at, name, "resources which do not have REST API/s cannot be encrypted")]
    if group == "events.k8s.io":
        return [field.invalid(at, name, _EVENTS)]
    if group == "extensions":
        return [field.invalid(at, name, "'extensions' group has been removed and cannot be used for encryption")]
    if group == "*" and resource != "*":
        return [field.invalid(at, name, "encrypting the same resource across groups is not supported")]
    return []


def _provider_faults(provider: Object, at: field.Path) -> list[FieldError]:
    found = [name for name in _PROVIDERS if provider.get(name) is not None]
    if not found:
        text = "provider does not contain any of the expected providers: KMS, AESGCM, AESCBC, Secretbox, Identity"
        return [field.invalid(at, sorted(provider), text)]
    if len(found) > 1:
        text = "more than one provider specified in a single element, should split into different list elements"
        return [field.invalid(at, found, text)]
    if found[0] not in SEALERS:
        return []
    keys_at = at.child(found[0]).child("keys")
    keys = provider[found[0]].get("keys") or []
    if not keys:
        return [field.required(keys_at, "at least one keys is required")]
    return [fault for i, key in enumerate(keys) for fault in _key_faults(key, keys_at.index(i), KEY_BYTES[found[0]])]


def _key_faults(key: Object, at: field.Path, lengths: Sequence[int]) -> list[FieldError]:
    faults: list[FieldError] = []
    if not key.get("name"):
        faults.append(field.required(at.child("name"), "name is a mandatory field for a key"))
    secret = key.get("secret")
    if not secret:
        faults.append(field.required(at.child("secret"), "secret is a mandatory field for a key"))
        return faults
    try:
        length = len(base64.b64decode(str(secret), validate=True))
    except binascii.Error:
        faults.append(field.invalid(at.child("secret"), "REDACTED", "secrets must be base64 encoded"))
        return faults
    if length not in lengths:
        wanted = "[" + " ".join(str(n) for n in lengths) + "]"
        text = f"secret is not of the expected length, got {length}, expected one of {wanted}"
        faults.append(field.invalid(at.child("secret"), "REDACTED", text))
    return faults
