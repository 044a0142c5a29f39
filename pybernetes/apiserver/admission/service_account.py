"""ServiceAccount: every pod runs as a service account of its namespace, and gets its token mounted.

Source: https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/, KEP-1205, KEP-2799.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from functools import lru_cache

from pybernetes.api.meta import Object, annotations_of, clone, name_of, namespace_of
from pybernetes.api.resources import PODS, SERVICEACCOUNTS
from pybernetes.apiserver.admission.plugin import Plugin, is_for, refuse
from pybernetes.apiserver.interfaces import AdmissionRequest, ObservableReader
from pybernetes.apiserver.node_authorizer import MIRROR_POD, containers_of, secret_names
from pybernetes.apiserver.token_requests import WARN_ONLY_EXPIRATION_SECONDS

DEFAULT = "default"
MOUNT_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"
VOLUME_PREFIX = "kube-api-access-"
ENFORCE_MOUNTABLE_SECRETS = "kubernetes.io/enforce-mountable-secrets"

# What Kubernetes makes random names of: no vowels, nothing that looks alike.
_SUFFIX_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
_DEFAULT_ACCOUNT_WAIT_SECONDS = 1.5
"""How long a pod waits for the default account of a namespace that was just made; upstream tries ten times."""
_MAX_WAITERS = 1024


class ServiceAccount(Plugin):
    """Sets ``serviceAccountName``, pull secrets, and the projected token volume; refuses unknown accounts."""

    name = "ServiceAccount"
    operations = ("CREATE", "UPDATE")
    resources = (("pods", ""), ("pods", "ephemeralcontainers"))

    def __init__(self, reader: ObservableReader) -> None:
        self._reader = reader
        self._waiters: dict[tuple[str, str], list[asyncio.Future[None]]] = {}
        self._waiting = 0
        self._unsubscribe: Callable[[], None] = reader.subscribe(SERVICEACCOUNTS, self._account_changed)

    def close(self) -> None:
        self._unsubscribe()

    def _account_changed(self, old: Object | None, new: Object | None) -> None:
        if old is None and new is not None and self._waiters:
            for future in self._waiters.pop((namespace_of(new), name_of(new)), ()):
                if not future.done():
                    future.set_result(None)

    async def mutate(self, request: AdmissionRequest) -> None:
        pod = request.object
        if request.operation != "CREATE" or not is_for(request, PODS) or pod is None:
            return
        if MIRROR_POD in annotations_of(pod):
            # The kubelet made it of a file; a changed copy would not be the same pod. `validate` judges it.
            return
        spec = pod.setdefault("spec", {})
        if not spec.get("serviceAccountName"):
            spec["serviceAccountName"] = spec.get("serviceAccount") or DEFAULT
        # The deprecated field says the same, as upstream's conversion fills it in.
        spec["serviceAccount"] = spec["serviceAccountName"]
        account = await self._account(request, spec["serviceAccountName"])
        if _should_automount(account, spec):
            self._mount_token(request.namespace, spec)
        if not spec.get("imagePullSecrets") and account.get("imagePullSecrets"):
            spec["imagePullSecrets"] = clone(account["imagePullSecrets"])

    async def validate(self, request: AdmissionRequest) -> None:
        pod = request.object
        if pod is None or not is_for(request, PODS, "", "ephemeralcontainers"):
            return
        spec = pod.get("spec") or {}
        if request.operation == "UPDATE" and request.subresource == "ephemeralcontainers":
            account = self._reader.get(SERVICEACCOUNTS, request.namespace, spec.get("serviceAccountName") or DEFAULT)
            if account is not None and _enforces_secrets(account):
                self._limit_secrets(request, account, pod)
            return
        if request.operation != "CREATE" or request.subresource:
            return
        if MIRROR_POD in annotations_of(pod):
            if spec.get("serviceAccountName"):
                raise refuse(request, "a mirror pod may not reference service accounts")
            if any(secret_names(pod)):
                raise refuse(request, "a mirror pod may not reference secrets")
            for volume in spec.get("volumes") or ():
                if any(
                    source.get("serviceAccountToken") for source in (volume.get("projected") or {}).get("sources") or ()
                ):
                    raise refuse(request, "a mirror pod may not use ServiceAccountToken volume projections")
            return
        if not spec.get("serviceAccountName"):
            raise refuse(request, "no service account specified for pod")
        account = await self._account(request, spec["serviceAccountName"])
        if _enforces_secrets(account):
            self._limit_secrets(request, account, pod)

    async def _account(self, request: AdmissionRequest, name: str) -> Object:
        account = self._reader.get(SERVICEACCOUNTS, request.namespace, name)
        if account is None:
            account = await self._reader.find(SERVICEACCOUNTS, request.namespace, name)
        if account is None and name == DEFAULT and self._waiting < _MAX_WAITERS:
            # The namespace may have been made a moment ago: its default account is on its way.
            await self._wait(request.namespace, name)
            account = self._reader.get(SERVICEACCOUNTS, request.namespace, name)
        if account is None:
            raise refuse(
                request,
                f'error looking up service account {request.namespace}/{name}: serviceaccount "{name}" not found',
            )
        return account

    async def _wait(self, namespace: str, name: str) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        key = (namespace, name)
        self._waiters.setdefault(key, []).append(future)
        self._waiting += 1
        try:
            async with asyncio.timeout(_DEFAULT_ACCOUNT_WAIT_SECONDS):
                await future
        except TimeoutError:
            return
        finally:
            self._waiting -= 1
            waiters = self._waiters.get(key)
            if waiters is not None:
                if future in waiters:
                    waiters.remove(future)
                if not waiters:
                    del self._waiters[key]

    def _mount_token(self, namespace: str, spec: Object) -> None:
        """Mounts the token, the CA and the namespace into every container that has nothing at that path."""
        volumes = spec.get("volumes") or []
        taken = {volume.get("name") for volume in volumes}
        # A pod that brings such a volume itself keeps it.
        existing = next((str(v["name"]) for v in volumes if _is_token_volume(v)), "")
        name, tries = existing, 0
        while not name or (name in taken and not existing):
            name = _volume_name(namespace, str(spec.get("serviceAccountName")), tries)
            tries += 1
        needed = False
        for kind in ("initContainers", "containers"):
            # The containers may be those of a template that others use too: changed ones are new ones.
            containers = spec.get(kind) or []
            for i, container in enumerate(containers):
                mounts = container.get("volumeMounts") or []
                if any(mount.get("mountPath") == MOUNT_PATH for mount in mounts):
                    continue
                mounts = [*mounts, {"name": name, "readOnly": True, "mountPath": MOUNT_PATH}]
                containers = [*containers[:i], {**container, "volumeMounts": mounts}, *containers[i + 1 :]]
                needed = True
            if containers:
                spec[kind] = containers
        if needed and not existing:
            spec["volumes"] = [*volumes, {"name": name, "projected": token_projection()}]

    def _limit_secrets(self, request: AdmissionRequest, account: Object, pod: Object) -> None:
        """The (deprecated) annotation's rule: only secrets that the account lists."""
        name = name_of(account)
        mountable = {secret.get("name") for secret in account.get("secrets") or ()}
        spec = pod.get("spec") or {}
        for volume in spec.get("volumes") or ():
            secret = (volume.get("secret") or {}).get("secretName")
            if secret is not None and secret not in mountable:
                raise refuse(
                    request,
                    f'volume with secret.secretName="{secret}" is not allowed because service account {name} does not '
                    "reference that secret",
                )
        for container in containers_of(pod):
            for variable in container.get("env") or ():
                reference = (variable.get("valueFrom") or {}).get("secretKeyRef")
                if reference and reference.get("name") not in mountable:
                    raise refuse(
                        request,
                        f"container {container.get('name')} with envVar {variable.get('name')} referencing "
                        f'secret.secretName="{reference.get("name")}" is not allowed because service account {name} '
                        "does not reference that secret",
                    )
        pull = {secret.get("name") for secret in account.get("imagePullSecrets") or ()}
        for index, reference in enumerate(spec.get("imagePullSecrets") or ()):
            if reference.get("name") not in pull:
                raise refuse(
                    request,
                    f'imagePullSecrets[{index}].name="{reference.get("name")}" is not allowed because service account '
                    f"{name} does not reference that imagePullSecret",
                )


@lru_cache(maxsize=4096)
def _volume_name(namespace: str, account: str, tries: int) -> str:
    """Upstream's suffix is random. Here it is an account's own, so that pods of one template have one spec: the
    server keeps, judges and completes equal specs once."""
    source = random.Random(f"{namespace}/{account}")
    for _ in range(tries + 1):
        name = VOLUME_PREFIX + "".join(source.choices(_SUFFIX_ALPHABET, k=5))
    return name


def token_projection() -> Object:
    """The projected volume source that upstream's plugin mounts."""
    return {
        "defaultMode": 0o644,
        "sources": [
            {"serviceAccountToken": {"expirationSeconds": WARN_ONLY_EXPIRATION_SECONDS, "path": "token"}},
            {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
            {
                "downwardAPI": {
                    "items": [
                        {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}
                    ]
                }
            },
        ],
    }


def _is_token_volume(volume: Object) -> bool:
    return str(volume.get("name") or "").startswith(VOLUME_PREFIX)


def _should_automount(account: Object, spec: Object) -> bool:
    # The pod's word goes before the account's; without either it is mounted.
    for wish in (spec.get("automountServiceAccountToken"), account.get("automountServiceAccountToken")):
        if wish is not None:
            return bool(wish)
    return True


def _enforces_secrets(account: Object) -> bool:
    return annotations_of(account).get(ENFORCE_MOUNTABLE_SECRETS, "").lower() in ("1", "t", "true")
