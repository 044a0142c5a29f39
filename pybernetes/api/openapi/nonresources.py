"""The operations that concern no resource: discovery, version, log files, the service account issuer. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from pybernetes.api.openapi.operations import Operation, Parameter, Path, camel, tag_of
from pybernetes.api.resources import Resource

_DISCOVERY = ("application/json", "application/yaml", "application/vnd.kubernetes.protobuf")
_JSON = ("application/json",)
_LOG_PATH = Parameter("logpath", "string", "The path of the log file.", in_path=True)


def _get(path: str, id: str, tag: str, description: str, answer: str = "", media: tuple[str, ...] = _JSON) -> Path:
    operation = Operation(
        "get", id, "", description, None, tag, answer=("", "v1", answer) if answer else None,
        consumes=media, produces=media,
    )  # fmt: skip
    return Path(path, [], [operation])


def discovery(group: str | None, version: str = "") -> Path:
    """A discovery document's path: of a version, of a group, or with None of all groups."""
    if group is None:
        return _get("/apis/", "getAPIVersions", "apis", "get available API versions", "APIGroupList", _DISCOVERY)
    if not version:
        if not group:
            return _get("/api/", "getCoreAPIVersions", "core", "get available API versions", "APIVersions", _DISCOVERY)
        tag = tag_of(group, "")
        return _get(
            f"/apis/{group}/", f"get{camel(group)}APIGroup", tag, "get information of a group", "APIGroup", _DISCOVERY
        )
    path = f"/apis/{group}/{version}/" if group else f"/api/{version}/"
    name = f"get{camel(group)}{version[:1].upper()}{version[1:]}APIResources"
    return _get(path, name, tag_of(group, version), "get available resources", "APIResourceList", _DISCOVERY)


def _logs() -> list[Path]:
    tag = "logs"
    listing = Operation("get", "logFileListHandler", "", "", None, tag, codes=(), consumes=(), produces=())
    file = Operation("get", "logFileHandler", "", "", None, tag, codes=(), consumes=(), produces=())
    return [Path("/logs/", [], [listing]), Path("/logs/{logpath}", [_LOG_PATH], [file])]


def _issuer(what: str, path: str, tag: str, description: str, media: str) -> Path:
    return _get(path, f"getServiceAccountIssuerOpenID{what}", tag, description, "", (media,))


def documents(resources: Iterable[Resource]) -> dict[str, list[Path]]:
    """The paths of each document of OpenAPI v3 that has no resources in it, by the document's own path."""
    found: dict[str, list[Path]] = {
        ".well-known/openid-configuration": [
            _issuer(
                "Configuration", "/.well-known/openid-configuration/", "WellKnown",
                "get service account issuer OpenID configuration, also known as the 'OIDC discovery doc'",
                "application/json",
            )
        ],
        "api": [discovery("")],
        "apis": [discovery(None)],
        "logs": _logs(),
        "openid/v1/jwks": [
            _issuer(
                "Keyset", "/openid/v1/jwks/", "openid",
                "get service account issuer OpenID JSON Web Key Set (contains public token verification keys)",
                "application/jwk-set+json",
            )
        ],
        "version": [
            _get(
                "/version/", "getCodeVersion", "version", "get the version information for this server", "version.Info"
            )
        ],
    }  # fmt: skip
    for group in dict.fromkeys(r.group for r in resources):
        if group:
            found[f"apis/{group}"] = [discovery(group)]
    return found
