"""AdmissionReview: the request that a webhook gets and what its answer means. Pure.

Source: the API reference of admission.k8s.io/v1 and upstream's ``plugin/webhook/request``.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from pybernetes.api import errors
from pybernetes.api.meta import Object
from pybernetes.api.resources import Resource
from pybernetes.apiserver.admission.dynamic.views import Views, request_fields

GROUP = "admission.k8s.io"
VERSIONS = ("v1", "v1beta1")


class InvalidReview(Exception):
    """An answer that is no answer to what was asked."""


class Denied(errors.ApiError):
    """A webhook's refusal, with the Status that the webhook gave."""

    def __init__(self, status: Object) -> None:
        super().__init__(str(status["message"]), details=status.get("details"), code=int(status["code"]))
        self._status = status

    def to_status(self) -> Object:
        return self._status


@dataclass(slots=True)
class Verdict:
    allowed: bool
    status: Object = field(default_factory=dict)
    patch: list[Any] | None = None
    warnings: list[str] = field(default_factory=list)
    annotations: dict[str, str] = field(default_factory=dict)


def build(views: Views, resource: Resource, uid: str, version: str) -> bytes:
    """The body for a webhook that wants to see the request in the version of `resource`."""
    view = views.of(resource)
    body = {"uid": uid, **request_fields(views, resource), "object": view.object, "oldObject": view.old}
    return orjson.dumps({"kind": "AdmissionReview", "apiVersion": f"{GROUP}/{version}", "request": body})


def understand(answer: bytes, uid: str, version: str, *, mutating: bool) -> Verdict:
    """What a webhook's answer says. Raises `InvalidReview`."""
    try:
        review = orjson.loads(answer)
    except orjson.JSONDecodeError as error:
        raise InvalidReview(f"couldn't parse the response as JSON: {error}") from error
    if not isinstance(review, dict):
        raise InvalidReview("the response is no object")
    response = review.get("response")
    if not isinstance(response, dict):
        raise InvalidReview("webhook response was absent")
    if version == "v1":
        _check_identity(review, response, uid, version)
        _check_patch(response, mutating)
    status = response.get("status")
    verdict = Verdict(
        bool(response.get("allowed")),
        dict(status) if isinstance(status, Mapping) else {},
        warnings=[str(w) for w in response.get("warnings") or ()],
        annotations={str(k): str(v) for k, v in (response.get("auditAnnotations") or {}).items()},
    )
    if mutating and response.get("patch"):
        if response.get("patchType", "JSONPatch") != "JSONPatch":
            raise InvalidReview(f"unsupported patch type {_quoted(response.get('patchType'))}")
        verdict.patch = _patch(response["patch"])
    return verdict


def _check_identity(review: Object, response: Object, uid: str, version: str) -> None:
    if response.get("uid") != uid:
        raise InvalidReview(f"expected response.uid={_quoted(uid)}, got {_quoted(response.get('uid') or '')}")
    wanted, group_version = f"{GROUP}/{version}, Kind=AdmissionReview", str(review.get("apiVersion") or "")
    got = f"{group_version or '/'}, Kind={review.get('kind') or ''}"
    if got != wanted:
        raise InvalidReview(f"expected webhook response of {wanted}, got {got}")


def _check_patch(response: Object, mutating: bool) -> None:
    patch, kind = response.get("patch"), response.get("patchType")
    if not mutating:
        if patch:
            raise InvalidReview("validating webhook may not return response.patch")
        if kind is not None:
            raise InvalidReview("validating webhook may not return response.patchType")
    elif patch and kind is None:
        raise InvalidReview("webhook returned response.patch but not response.patchType")
    elif not patch and kind is not None:
        raise InvalidReview("webhook returned response.patchType but not response.patch")
    elif kind == "":
        raise InvalidReview('webhook returned invalid response.patchType of ""')


def _patch(text: Any) -> list[Any]:
    try:
        operations = orjson.loads(base64.b64decode(str(text), validate=True))
    except (binascii.Error, ValueError) as error:
        raise errors.InternalError(f"Internal error occurred: {error}") from error
    if not isinstance(operations, list):
        raise errors.InternalError("Internal error occurred: json: cannot unmarshal into Go value of type []Operation")
    return operations


def _quoted(value: object) -> str:
    return f'"{value}"'


def denial(webhook: str, status: Mapping[str, Any]) -> Denied:
    """The refusal in the words that clients see."""
    result: Object = {"kind": "Status", "apiVersion": "v1", "metadata": {}, **status}
    code = result.get("code")
    result["code"] = code if isinstance(code, int) and code >= 400 else 400
    if result.get("status") in (None, "", "Success"):
        result["status"] = "Failure"
    said = result.get("message") or result.get("reason")
    result["message"] = f'admission webhook "{webhook}" denied the request' + (
        f": {said}" if said else " without explanation"
    )
    return Denied(result)
