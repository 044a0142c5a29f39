"""Discovery: which groups, versions and resources there are, in the three forms that clients ask for.

Pure functions of the served resources, in any order; the callers cache what they get. Built-in resources are
`pybernetes.api.resources.BUILTIN`, custom ones join by being in the iterable. A group's preferred version is the one
that comes first.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Sequence

from pybernetes.api.meta import Object
from pybernetes.api.resources import Resource, Subresource

_PRIORITY = (
    "apiregistration.k8s.io",
    "apps",
    "events.k8s.io",
    "authentication.k8s.io",
    "authorization.k8s.io",
    "autoscaling",
    "batch",
    "certificates.k8s.io",
    "networking.k8s.io",
    "policy",
    "rbac.authorization.k8s.io",
    "storage.k8s.io",
    "admissionregistration.k8s.io",
    "apiextensions.k8s.io",
    "scheduling.k8s.io",
    "coordination.k8s.io",
    "node.k8s.io",
    "discovery.k8s.io",
    "resource.k8s.io",
    "flowcontrol.apiserver.k8s.io",
)
"""The built-in groups by falling priority; others come after them, by name. Clients that find a name in several groups
take the first."""
_HASH_BYTES = 8
_RANK = {group: rank for rank, group in enumerate(_PRIORITY)}


def _group_version(group: str, version: str) -> str:
    return f"{group}/{version}" if group else version


def _versions(resources: Iterable[Resource]) -> dict[str, list[str]]:
    """Versions by group: groups by priority, versions in the order of their first resource."""
    found: dict[str, dict[str, None]] = {}
    for r in resources:
        found.setdefault(r.group, {})[r.version] = None
    return {group: list(found[group]) for group in sorted(found, key=_rank)}


def _rank(group: str) -> tuple[int, str]:
    return _RANK.get(group, len(_RANK)), group


def api_versions(resources: Iterable[Resource], server_address: str) -> Object:
    """The answer of ``/api``. `server_address` is ``host:port`` as clients reach it."""
    return {
        "kind": "APIVersions",
        "versions": _versions(resources).get("", []),
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": server_address}],
    }


def _group(group: str, versions: Sequence[str]) -> Object:
    entries = [{"groupVersion": _group_version(group, v), "version": v} for v in versions]
    return {"name": group, "versions": entries, "preferredVersion": entries[0]}


def api_group_list(resources: Iterable[Resource]) -> Object:
    """The answer of ``/apis``."""
    groups = [_group(g, versions) for g, versions in _versions(resources).items() if g]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}


def api_group(resources: Iterable[Resource], group: str) -> Object | None:
    """The answer of ``/apis/GROUP``, None for a group that is not served."""
    versions = _versions(resources).get(group)
    if not group or versions is None:
        return None
    return {"kind": "APIGroup", "apiVersion": "v1", **_group(group, versions)}


def storage_version_hash(r: Resource) -> str:
    """By which clients see that the stored form of a kind changed: it names the stored group, version and kind."""
    stored = f"{r.group}/{r.version}/{r.kind}"
    return base64.b64encode(hashlib.sha256(stored.encode()).digest()[:_HASH_BYTES]).decode()


def _resource_entry(r: Resource, stored: Resource) -> Object:
    entry: Object = {
        "name": r.plural,
        "singularName": r.singular,
        "namespaced": r.namespaced,
        "kind": r.kind,
        "verbs": sorted(r.verbs),
    }
    if r.short_names:
        entry["shortNames"] = list(r.short_names)
    if r.categories:
        entry["categories"] = list(r.categories)
    if "watch" in r.verbs:
        entry["storageVersionHash"] = storage_version_hash(stored)
    return entry


def _subresource_entry(r: Resource, s: Subresource) -> Object:
    entry: Object = {"name": f"{r.plural}/{s.name}", "singularName": "", "namespaced": r.namespaced}
    if (s.group, s.version) not in (("", ""), (r.group, r.version)):
        entry |= {"group": s.group, "version": s.version}
    return {**entry, "kind": s.kind, "verbs": sorted(s.verbs)}


def api_resource_list(resources: Iterable[Resource], group: str, version: str) -> Object | None:
    """The answer of ``/api/v1`` and ``/apis/GROUP/VERSION``, None for a version that is not served."""
    found: list[Resource] = []
    stored: dict[str, Resource] = {}
    for r in resources:
        # Of several served versions of one stored kind the first is the stored one.
        stored.setdefault(r.storage_id, r)
        if (r.group, r.version) == (group, version):
            found.append(r)
    if not found:
        return None
    entries: list[Object] = []
    for r in found:
        if r.verbs:
            entries.append(_resource_entry(r, stored[r.storage_id]))
        entries.extend(_subresource_entry(r, s) for s in r.subresources)
    answer: Object = {"kind": "APIResourceList"}
    if group:
        answer["apiVersion"] = "v1"
    return {
        **answer,
        "groupVersion": _group_version(group, version),
        "resources": sorted(entries, key=lambda e: str(e["name"])),
    }


def _kind(group: str, version: str, kind: str) -> Object:
    return {"group": group, "version": version, "kind": kind}


def _discovered(r: Resource) -> Object:
    entry: Object = {
        "resource": r.plural,
        "responseKind": _kind(r.group, r.version, r.kind),
        "scope": "Namespaced" if r.namespaced else "Cluster",
        "singularResource": r.singular,
        "verbs": sorted(r.verbs),
    }
    if r.short_names:
        entry["shortNames"] = list(r.short_names)
    if r.categories:
        entry["categories"] = list(r.categories)
    if r.subresources:
        entry["subresources"] = [
            {
                "subresource": s.name,
                "responseKind": _kind(s.group if s.version else r.group, s.version or r.version, s.kind),
                "verbs": sorted(s.verbs),
            }
            for s in sorted(r.subresources, key=lambda s: s.name)
        ]
    return entry


def aggregated(resources: Iterable[Resource], *, core: bool) -> Object:
    """The answer of ``/api`` (with `core`) and ``/apis`` to a client that asks for an APIGroupDiscoveryList of
    ``apidiscovery.k8s.io``: everything at once."""
    by_group: dict[str, dict[str, list[Resource]]] = {}
    for r in resources:
        if (r.group == "") is core:
            by_group.setdefault(r.group, {}).setdefault(r.version, []).append(r)
    items: list[Object] = []
    for group in sorted(by_group, key=_rank):
        versions = by_group[group]
        items.append(
            {
                "metadata": {"name": group} if group else {},
                "versions": [
                    {
                        "version": v,
                        "resources": [_discovered(r) for r in sorted(found, key=lambda r: r.plural)],
                        "freshness": "Current",
                    }
                    for v, found in versions.items()
                ],
            }
        )
    return {
        "kind": "APIGroupDiscoveryList",
        "apiVersion": "apidiscovery.k8s.io/v2",
        "metadata": {},
        "items": items,
    }
