"""The API's errors, all on one page. Each knows its HTTP status, reason and details, as upstream's
``k8s.io/apimachinery/pkg/api/errors`` documents them, and turns into and from a ``v1.Status`` object.

Callers catch types (``except NotFound``) and never compare status numbers.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from pybernetes.api.field import FieldError
from pybernetes.api.meta import Object


class ApiError(Exception):
    """An answer other than success, with the ``v1.Status`` that says why.

    `details` is the Status' details object: ``name``, ``group``, ``kind`` (the resource's plural, as upstream
    prints it there), ``uid``, ``causes``, ``retryAfterSeconds``.
    """

    status_code: ClassVar[int] = 500
    reason: ClassVar[str] = "InternalError"

    def __init__(self, message: str, *, details: Object | None = None, code: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.details = details
        self.code = code or self.status_code

    @property
    def retry_after_seconds(self) -> int | None:
        value = (self.details or {}).get("retryAfterSeconds")
        return int(value) if value else None

    def to_status(self) -> Object:
        status: Object = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
        }
        if self.reason:
            status["reason"] = self.reason
        if self.details is not None:
            status["details"] = self.details
        status["code"] = self.code
        return status


class BadRequest(ApiError):
    status_code = 400
    reason = "BadRequest"


class Unauthorized(ApiError):
    status_code = 401
    reason = "Unauthorized"


class Forbidden(ApiError):
    status_code = 403
    reason = "Forbidden"


class NotFound(ApiError):
    status_code = 404
    reason = "NotFound"


class MethodNotAllowed(ApiError):
    status_code = 405
    reason = "MethodNotAllowed"


class NotAcceptable(ApiError):
    status_code = 406
    reason = "NotAcceptable"


class AlreadyExists(ApiError):
    status_code = 409
    reason = "AlreadyExists"


class Conflict(ApiError):
    """The object changed under the caller, or a precondition failed: read again and retry."""

    status_code = 409
    reason = "Conflict"


class Gone(ApiError):
    status_code = 410
    reason = "Gone"


class Expired(ApiError):
    """The resource version asked for is too old: list again and watch from there."""

    status_code = 410
    reason = "Expired"


class RequestEntityTooLarge(ApiError):
    status_code = 413
    reason = "RequestEntityTooLarge"


class UnsupportedMediaType(ApiError):
    status_code = 415
    reason = "UnsupportedMediaType"


class Invalid(ApiError):
    """Validation failed; `details.causes` lists every fault with its field's path."""

    status_code = 422
    reason = "Invalid"


class TooManyRequests(ApiError):
    status_code = 429
    reason = "TooManyRequests"


class InternalError(ApiError):
    status_code = 500
    reason = "InternalError"


class ServiceUnavailable(ApiError):
    status_code = 503
    reason = "ServiceUnavailable"


class GatewayTimeout(ApiError):
    """The server could not answer in time; the request may or may not have been carried out."""

    status_code = 504
    reason = "Timeout"


class TransportError(ApiError):
    """The server could not be reached, or broke off; nobody knows whether the request was carried out."""

    status_code = 503
    reason = "ServiceUnavailable"


_BY_REASON: dict[str, type[ApiError]] = {
    cls.reason: cls
    for cls in (
        BadRequest, Unauthorized, Forbidden, NotFound, MethodNotAllowed, NotAcceptable, AlreadyExists, Conflict,
        Gone, Expired, RequestEntityTooLarge, UnsupportedMediaType, Invalid, TooManyRequests, InternalError,
        ServiceUnavailable, GatewayTimeout,
    )
}  # fmt: skip
_BY_CODE: dict[int, type[ApiError]] = {
    400: BadRequest, 401: Unauthorized, 403: Forbidden, 404: NotFound, 405: MethodNotAllowed, 406: NotAcceptable,
    409: Conflict, 410: Gone, 413: RequestEntityTooLarge, 415: UnsupportedMediaType, 422: Invalid,
    429: TooManyRequests, 500: InternalError, 503: ServiceUnavailable, 504: GatewayTimeout,
}  # fmt: skip


def from_status(status: Object, code: int = 0) -> ApiError:
    """The typed error that a ``v1.Status`` (or, with an empty one, an HTTP code) stands for."""
    code = int(status.get("code") or code or 500)
    cls = _BY_REASON.get(str(status.get("reason") or "")) or _BY_CODE.get(code, ApiError)
    return cls(str(status.get("message") or f"HTTP {code}"), details=status.get("details"), code=code)


def _details(group: str, plural: str, name: str = "") -> Object:
    details: Object = {}
    if name:
        details["name"] = name
    if group:
        details["group"] = group
    details["kind"] = plural
    return details


def _qualified(group: str, plural: str) -> str:
    return f"{plural}.{group}" if group else plural


def not_found(group: str, plural: str, name: str) -> NotFound:
    return NotFound(f'{_qualified(group, plural)} "{name}" not found', details=_details(group, plural, name))


def already_exists(group: str, plural: str, name: str) -> AlreadyExists:
    return AlreadyExists(f'{_qualified(group, plural)} "{name}" already exists', details=_details(group, plural, name))


def conflict(group: str, plural: str, name: str, why: str) -> Conflict:
    return Conflict(
        f'Operation cannot be fulfilled on {_qualified(group, plural)} "{name}": {why}',
        details=_details(group, plural, name),
    )


MODIFIED = "the object has been modified; please apply your changes to the latest version and try again"


def forbidden(group: str, plural: str, name: str, why: str) -> Forbidden:
    what = f'{_qualified(group, plural)} "{name}"' if name else _qualified(group, plural)
    return Forbidden(f"{what} is forbidden: {why}", details=_details(group, plural, name))


def invalid(group: str, kind: str, name: str, errors: Iterable[FieldError]) -> Invalid:
    """All field errors at once, worded as upstream's NewInvalid."""
    faults = list(errors)
    assert faults, "an Invalid needs at least one field error"
    causes: list[dict[str, Any]] = [{"reason": e.type, "message": e.body(), "field": e.field} for e in faults]
    text = str(faults[0]) if len(faults) == 1 else "[" + ", ".join(dict.fromkeys(str(e) for e in faults)) + "]"
    subject = f"{kind}.{group}" if group else kind
    return Invalid(f'{subject} "{name}" is invalid: {text}', details={**_details(group, kind, name), "causes": causes})
