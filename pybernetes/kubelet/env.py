"""The environment of a container: ``envFrom``, ``env`` with its references and expansion, and service variables.

Order and texts are upstream's (``pkg/kubelet/kubelet_pods.go``, ``pkg/kubelet/envvars``).
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence

from pybernetes.api import errors
from pybernetes.api.meta import Object, name_of, namespace_of
from pybernetes.api.resources import CONFIGMAPS, SECRETS, Resource
from pybernetes.kubelet.downward import FieldPathError, PodFacts, field_value, resource_value
from pybernetes.kubelet.objects import SharedObjects


class ContainerConfigError(Exception):
    """The container cannot be made as its spec asks; the text is the one of CreateContainerConfigError."""


def expand(text: str, values: Mapping[str, str]) -> str:
    """Replaces ``$(NAME)``; ``$$`` stands for ``$``; a name that is not known stays as it is."""
    if "$" not in text:
        return text
    out: list[str] = []
    at, end = 0, len(text)
    while at < end:
        char = text[at]
        if char != "$" or at + 1 == end:
            out.append(char)
            at += 1
            continue
        following = text[at + 1]
        if following == "$":
            out.append("$")
            at += 2
        elif following == "(" and (close := text.find(")", at + 2)) != -1:
            name = text[at + 2 : close]
            out.append(values.get(name, f"$({name})"))
            at = close + 1
        else:
            out.append("$" + (following if following != "(" else ""))
            at += 2 if following != "(" else 1
    return "".join(out)


def service_variables(service: Object) -> dict[str, str]:
    """The variables that tell of one Service: host and ports, and the older ``docker links`` form."""
    own = service.get("spec") or {}
    ip = own.get("clusterIP") or ""
    ports = own.get("ports") or ()
    if not ip or ip == "None" or not ports:
        return {}
    prefix = name_of(service).upper().replace("-", "_")
    found = {f"{prefix}_SERVICE_HOST": ip, f"{prefix}_SERVICE_PORT": str(ports[0]["port"])}
    for port in ports:
        if port.get("name"):
            found[f"{prefix}_SERVICE_PORT_{port['name'].upper().replace('-', '_')}"] = str(port["port"])
    host = f"[{ip}]" if ":" in ip else ip
    for index, port in enumerate(ports):
        protocol = (port.get("protocol") or "TCP").lower()
        url = f"{protocol}://{host}:{port['port']}"
        if index == 0:
            found[f"{prefix}_PORT"] = url
        base = f"{prefix}_PORT_{port['port']}_{protocol.upper()}"
        found[base] = url
        found[f"{base}_PROTO"] = protocol
        found[f"{base}_PORT"] = str(port["port"])
        found[f"{base}_ADDR"] = ip
    return found


def services_environment(pod: Object, services: Iterable[Object]) -> dict[str, str]:
    """Variables of the API server's Service and, with ``enableServiceLinks``, of those in the pod's namespace."""
    links = (pod.get("spec") or {}).get("enableServiceLinks", True)
    namespace = namespace_of(pod)
    chosen: dict[str, Object] = {}
    for service in services:
        name, where = name_of(service), namespace_of(service)
        if (where == namespace and links is not False) or (
            where == "default" and name == "kubernetes" and name not in chosen
        ):
            chosen[name] = service
    found: dict[str, str] = {}
    for name in sorted(chosen):
        found.update(service_variables(chosen[name]))
    return found


async def container_environment(
    pod: Object, container: Object, objects: SharedObjects, services: Iterable[Object], facts: PodFacts
) -> list[tuple[str, str]]:
    """The variables in order. Raises `ContainerConfigError`, and API errors where the server cannot be asked."""
    service_env = services_environment(pod, services)
    values: dict[str, str] = {}
    for source in container.get("envFrom") or ():
        values.update(await _env_from(pod, source, objects))
    for variable in container.get("env") or ():
        name = variable["name"]
        if variable.get("value"):
            values[name] = expand(str(variable["value"]), {**service_env, **values})
        elif variable.get("valueFrom"):
            value = await _value_from(pod, container, variable["valueFrom"], objects, facts)
            if value is not None:
                values[name] = value
        else:
            values[name] = ""
    for name, value in service_env.items():
        values.setdefault(name, value)
    return list(values.items())


async def _read(objects: SharedObjects, resource: Resource, namespace: str, name: str) -> Object | None:
    try:
        return await objects.get(resource, namespace, name)
    except errors.NotFound:
        return None


async def _env_from(pod: Object, source: Object, objects: SharedObjects) -> dict[str, str]:
    prefix = source.get("prefix") or ""
    namespace = namespace_of(pod)
    for field, resource in (("configMapRef", CONFIGMAPS), ("secretRef", SECRETS)):
        reference = source.get(field)
        if reference is None:
            continue
        found = await _read(objects, resource, namespace, reference["name"])
        if found is None:
            if reference.get("optional"):
                return {}
            raise ContainerConfigError(f'{resource.singular} "{reference["name"]}" not found')
        data = found.get("data") or {}
        if resource is SECRETS:
            data = {k: base64.b64decode(v).decode("utf-8", "replace") for k, v in data.items()}
        # What is no name of a variable at all is left out, as upstream does.
        return {prefix + k: str(v) for k, v in sorted(data.items()) if "=" not in k}
    return {}


async def _value_from(
    pod: Object, container: Object, source: Object, objects: SharedObjects, facts: PodFacts
) -> str | None:
    """The value, None where an optional reference leads nowhere."""
    try:
        if source.get("fieldRef"):
            return field_value(pod, source["fieldRef"]["fieldPath"], facts)
        if source.get("resourceFieldRef"):
            return resource_value(pod, source["resourceFieldRef"], container, facts)
    except FieldPathError as error:
        raise ContainerConfigError(str(error)) from error
    namespace = namespace_of(pod)
    for field, resource in (("configMapKeyRef", CONFIGMAPS), ("secretKeyRef", SECRETS)):
        reference = source.get(field)
        if reference is None:
            continue
        name, key, optional = reference["name"], reference["key"], reference.get("optional")
        found = await _read(objects, resource, namespace, name)
        if found is None:
            if optional:
                return None
            raise ContainerConfigError(f'{resource.singular} "{name}" not found')
        data = found.get("data") or {}
        if key not in data:
            if optional:
                return None
            raise ContainerConfigError(f"couldn't find key {key} in {resource.kind} {namespace}/{name}")
        value = str(data[key])
        return base64.b64decode(value).decode("utf-8", "replace") if resource is SECRETS else value
    return None


def expand_all(texts: Sequence[str], environment: Sequence[tuple[str, str]]) -> list[str]:
    values = dict(environment)
    return [expand(text, values) for text in texts]
