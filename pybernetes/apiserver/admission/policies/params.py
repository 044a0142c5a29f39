"""The objects that a binding gives its policy as parameters."""

from __future__ import annotations

from pybernetes.api import selectors
from pybernetes.api.meta import Object, labels_of
from pybernetes.apiserver.admission.policies.definitions import Binding, ConfigurationError, Policy, param_resource
from pybernetes.apiserver.interfaces import ObservableReader


async def params_for(policy: Policy, binding: Binding, namespace: str, reader: ObservableReader) -> list[Object | None]:
    """One policy evaluation each; a single None where there are none to use. Raises `ConfigurationError`."""
    kind, reference = policy.param_kind, binding.param_ref
    if kind is None:
        return [None]
    resource = param_resource(kind)
    if resource is None:
        raise ConfigurationError(
            f"failed to find resource referenced by paramKind: '{kind.get('apiVersion')}, Kind={kind.get('kind')}'",
            "policy",
        )
    if reference is None:
        return [None]
    where = str(reference.get("namespace") or "")
    if resource.namespaced:
        where = where or namespace
        if not where:
            raise ConfigurationError(
                "cannot use namespaced paramRef in policy binding that matches cluster-scoped resources"
            )
    elif where:
        raise ConfigurationError("paramRef.namespace must not be provided for a cluster-scoped `paramKind`")
    found: list[Object | None]
    if reference.get("name"):
        one = await reader.find(resource, where, str(reference["name"]))
        found = [one] if one is not None else []
    else:
        selector = selectors.from_label_selector(reference.get("selector") or {})
        found = [o for o in reader.list(resource, where) if selector.matches(labels_of(o))]
    if not found and reference.get("parameterNotFoundAction") == "Deny":
        raise ConfigurationError("no params found for policy binding with `Deny` parameterNotFoundAction")
    return found
