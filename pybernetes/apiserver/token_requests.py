"""The ``serviceaccounts/token`` subresource: a token on request, bound to what the request names.

Source: KEP-1205; upstream's ``pkg/registry/core/serviceaccount/storage/token.go``.
"""

from __future__ import annotations

import uuid

from pybernetes.api import errors, field
from pybernetes.api.meta import Object, metadata, name_of, uid_of
from pybernetes.api.resources import NODES, PODS, SECRETS, SERVICEACCOUNTS, Resource
from pybernetes.api.time import format_time
from pybernetes.apiserver.interfaces import ObservableReader, RequestInfo
from pybernetes.apiserver.tokens import ServiceAccountTokens
from pybernetes.lib.clock import Clock

DEFAULT_EXPIRATION_SECONDS = 3600
MIN_EXPIRATION_SECONDS = 600
MAX_EXPIRATION_SECONDS = 1 << 32
WARN_ONLY_EXPIRATION_SECONDS = 3607
"""What the ServiceAccount admission plugin asks for. A token asked for with exactly this lives for a year, and
warns after this time, so that old clients that never read the file again keep working (upstream's
--service-account-extend-token-expiration)."""
EXTENDED_EXPIRATION_SECONDS = 365 * 24 * 3600


class TokenRequests:
    """The ``serviceaccounts/token`` subresource: an `ObjectHandler`."""

    def __init__(self, tokens: ServiceAccountTokens, reader: ObservableReader, clock: Clock) -> None:
        self._tokens = tokens
        self._reader = reader
        self._clock = clock

    async def create(self, info: RequestInfo, body: Object) -> Object:
        """Issues a token. Raises NotFound, BadRequest, Conflict, Invalid."""
        self._validate(info, body)
        spec = body.get("spec") or {}
        account = await self._reader.find(SERVICEACCOUNTS, info.namespace, info.name)
        if account is None:
            raise errors.not_found("", "serviceaccounts", info.name)
        requested = int(spec.get("expirationSeconds") or DEFAULT_EXPIRATION_SECONDS)
        audiences = [str(a) for a in spec.get("audiences") or ()] or list(self._tokens.audiences)
        pod, secret, node = await self._bound(info, spec.get("boundObjectRef"))

        lifetime, warn_after = requested, None
        if requested == WARN_ONLY_EXPIRATION_SECONDS and pod and set(audiences) <= set(self._tokens.audiences):
            lifetime, warn_after = EXTENDED_EXPIRATION_SECONDS, requested
        now = self._clock.now()
        token_id = str(uuid.uuid4())
        if info.annotations is not None:
            info.annotations["authentication.kubernetes.io/issued-credential-id"] = f"JTI={token_id}"
        token = self._tokens.sign(
            info.namespace,
            info.name,
            uid_of(account),
            audiences=audiences,
            lifetime_seconds=lifetime,
            warn_after_seconds=warn_after,
            pod=pod,
            secret=secret,
            node=node,
            token_id=token_id,
        )
        return {
            "kind": "TokenRequest",
            "apiVersion": "authentication.k8s.io/v1",
            "metadata": {
                "name": info.name,
                "namespace": info.namespace,
                "creationTimestamp": format_time(now),
            },
            "spec": {
                "audiences": audiences,
                "expirationSeconds": requested,
                "boundObjectRef": spec.get("boundObjectRef"),
            },
            # The time asked for, even where the token lives longer: the kubelet renews by it.
            "status": {"token": token, "expirationTimestamp": format_time(now + requested)},
        }

    def _validate(self, info: RequestInfo, body: Object) -> None:
        faults: list[field.FieldError] = []
        meta, at = metadata(body), field.Path("metadata")
        if meta.get("name") and meta["name"] != info.name:
            faults.append(
                field.invalid(at.child("name"), meta["name"], "must match the service account name if specified")
            )
        if meta.get("namespace") and meta["namespace"] != info.namespace:
            faults.append(
                field.invalid(
                    at.child("namespace"), meta["namespace"], "must match the service account namespace if specified"
                )
            )
        seconds = (body.get("spec") or {}).get("expirationSeconds")
        where = field.Path("spec").child("expirationSeconds")
        if seconds is not None and int(seconds) < MIN_EXPIRATION_SECONDS:
            faults.append(field.invalid(where, seconds, "may not specify a duration less than 10 minutes"))
        elif seconds is not None and int(seconds) > MAX_EXPIRATION_SECONDS:
            faults.append(field.invalid(where, seconds, "may not specify a duration larger than 2^32 seconds"))
        if faults:
            raise errors.invalid("authentication.k8s.io", "TokenRequest", info.name, faults)

    async def _bound(
        self, info: RequestInfo, reference: Object | None
    ) -> tuple[tuple[str, str] | None, tuple[str, str] | None, tuple[str, str] | None]:
        """(pod, secret, node) that the token is to be bound to, each (name, uid)."""
        if not reference:
            return None, None, None
        kind = (str(reference.get("apiVersion") or ""), str(reference.get("kind") or ""))
        name = str(reference.get("name") or "")
        if kind == ("v1", "Pod"):
            pod = await self._existing(PODS, info.namespace, name, reference)
            spec = pod.get("spec") or {}
            if spec.get("serviceAccountName") != info.name:
                raise errors.BadRequest(
                    f'cannot bind token for serviceaccount "{info.name}" to pod running with different '
                    "serviceaccount name."
                )
            node: tuple[str, str] | None = None
            if spec.get("nodeName"):
                # The node may be gone already: the claim is information, not a binding.
                bound_node = self._reader.get(NODES, "", spec["nodeName"])
                node = (spec["nodeName"], uid_of(bound_node) if bound_node else "")
            return (name, uid_of(pod)), None, node
        if kind == ("v1", "Secret"):
            secret = await self._existing(SECRETS, info.namespace, name, reference)
            return None, (name, uid_of(secret)), None
        if kind == ("v1", "Node"):
            bound = await self._existing(NODES, "", name, reference)
            return None, None, (name, uid_of(bound))
        group_version, kind_name = kind
        group, sep, version = group_version.rpartition("/")
        shown = f"{group if sep else ''}/{version}, Kind={kind_name}"
        raise errors.BadRequest(f"cannot bind token to object of type {shown}")

    async def _existing(self, resource: Resource, namespace: str, name: str, reference: Object) -> Object:
        obj = await self._reader.find(resource, namespace, name)
        if obj is None:
            raise errors.not_found("", resource.plural, name)
        assert name_of(obj) == name
        wanted = str(reference.get("uid") or "")
        if wanted and wanted != uid_of(obj):
            raise errors.conflict(
                "",
                # The kind, where others have the plural: so does upstream here.
                resource.kind,
                name,
                f"the UID in the bound object reference ({wanted}) does not match the UID in record. The object might "
                "have been deleted and then recreated",
            )
        return obj
