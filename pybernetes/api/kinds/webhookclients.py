"""How the API server reaches a webhook: the client configurations of admission webhooks and of conversions.

Source of rules and texts: ``k8s.io/apiserver/pkg/util/webhook/validation.go``. Pure.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from pybernetes.api import names
from pybernetes.api.kinds.faults import Faults
from pybernetes.api.meta import Object

REVIEW_VERSIONS = ("v1", "v1beta1")
_FORM = "; desired format: https://host[/path]"


def client_config(faults: Faults, path: str, config: Object) -> None:
    """Either a URL or a service."""
    url, service = config.get("url"), config.get("service")
    if (url is None) == (service is None):
        faults.required(path, "exactly one of url or service is required")
    elif url is not None:
        webhook_url(faults, f"{path}.url", url)
    elif service is not None:
        webhook_service(faults, f"{path}.service", service)


def webhook_url(faults: Faults, path: str, url: str) -> None:
    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
    except ValueError as e:
        # The reason is the parser's own, as upstream's is Go's.
        faults.required(path, f"url must be a valid URL: {e}{_FORM}")
        return
    if parts.scheme != "https":
        faults.invalid(path, parts.scheme, f"'https' is the only allowed URL scheme{_FORM}")
    if not host:
        faults.invalid(path, host, f"host must be specified{_FORM}")
    if "@" in parts.netloc:
        user = parts.netloc.rpartition("@")[0]
        faults.invalid(path, user, "user information is not permitted in the URL")
    if parts.fragment:
        faults.invalid(path, parts.fragment, "fragments are not permitted in the URL")
    if parts.query:
        faults.invalid(path, parts.query, "query parameters are not permitted in the URL")


def webhook_service(faults: Faults, path: str, service: Object) -> None:
    for field in ("name", "namespace"):
        if not service.get(field):
            faults.required(f"{path}.{field}", f"service {field} is required")
    port = service.get("port") or 0
    if messages := names.port_number(port):
        faults.invalid(f"{path}.port", port, "port is not valid: " + ",".join(messages))
    where = service.get("path")
    if where is None or where in ("", "/"):
        return
    at = f"{path}.path"
    if where == "//":
        faults.invalid(at, where, "segment[0] may not be empty")
        return
    if not where.startswith("/"):
        faults.invalid(at, where, "must start with a '/'")
    for i, step in enumerate(where[1:].removesuffix("/").split("/")):
        if not step:
            faults.invalid(at, where, f"segment[{i}] may not be empty")
            continue
        for message in names.dns_subdomain(step):
            faults.invalid(at, where, f"segment[{i}]: {message}")


def review_versions(faults: Faults, path: str, versions: list[str]) -> None:
    """The versions of reviews that a webhook takes, of which the API server must know one."""
    if not versions:
        faults.required(path, f"must specify one of {', '.join(REVIEW_VERSIONS)}")
        return
    for i, version in enumerate(versions):
        if version in versions[:i]:
            faults.invalid(f"{path}[{i}]", version, "duplicate version")
            continue
        for message in names.dns1035_label(version):
            faults.invalid(f"{path}[{i}]", version, message)
    if not any(version in REVIEW_VERSIONS for version in versions):
        faults.invalid(path, versions, f"must include at least one of {', '.join(REVIEW_VERSIONS)}")
