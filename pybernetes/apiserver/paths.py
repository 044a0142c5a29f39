"""From a URL's path to what it asks for, by hand: the hottest parsing of all. Pure.

Source: upstream's ``k8s.io/apiserver/pkg/endpoints/request.RequestInfoFactory``.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import unquote

from pybernetes.api.resources import Resource
from pybernetes.apiserver.served import ServedKinds

_NAMESPACE_SUBRESOURCES = frozenset(("status", "finalize"))


@dataclass(frozen=True, slots=True)
class Target:
    """A path, taken apart. `resource` is None where the path is below no served group and version
    (`known_version` False) or names no resource of it."""

    resource: Resource | None
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    subpath: str = ""
    watch: bool = False
    """The deprecated ``/watch/`` form."""
    known_version: bool = False
    plural: str = ""
    """What was asked for, whether served or not; empty for a group or version as such."""


NOT_A_RESOURCE = Target(None)


def parse(path: str, kinds: ServedKinds) -> Target:
    """`path` is the raw path without its query, percent-encoding and all."""
    parts = path.split("/")
    # parts[0] is what precedes the leading slash.
    if len(parts) > 3 and parts[1] == "api":
        group, version, at = "", parts[2], 3
    elif len(parts) > 4 and parts[1] == "apis":
        group, version, at = parts[2], parts[3], 4
    else:
        return NOT_A_RESOURCE
    if not kinds.has_version(group, version):
        return NOT_A_RESOURCE
    rest = parts[at:]
    if rest[-1] == "":
        rest.pop()
    if not rest:
        return NOT_A_RESOURCE
    if "%" in path:
        rest = [unquote(p) for p in rest]
    watch = rest[0] == "watch" and len(rest) > 1
    if watch:
        rest = rest[1:]
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 2 and (group or rest[2] not in _NAMESPACE_SUBRESOURCES):
        namespace = rest[1]
        rest = rest[2:]
    plural = rest[0]
    resource = kinds.lookup(group, version, plural)
    if resource is None or (namespace and not resource.namespaced) or (len(rest) > 1 and not rest[1]):
        return Target(None, namespace, known_version=True, plural=plural)
    count = len(rest)
    if count == 1:
        return Target(resource, namespace, watch=watch, known_version=True, plural=plural)
    if resource.namespaced and not namespace:
        return Target(None, known_version=True, plural=plural)
    name = rest[1]
    if count == 2:
        return Target(resource, namespace, name, watch=watch, known_version=True, plural=plural)
    subresource = rest[2]
    if count > 3:
        if subresource != "proxy":
            return Target(None, namespace, known_version=True, plural=plural)
        return Target(resource, namespace, name, subresource, "/" + "/".join(rest[3:]), False, True, plural)
    subpath = "/" if subresource == "proxy" and path.endswith("/") else ""
    return Target(resource, namespace, name, subresource, subpath, False, True, plural)
