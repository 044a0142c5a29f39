"""``apiserver.config.k8s.io AuthorizationConfiguration`` files: who is asked who may do what, in order.

Checked with upstream's texts. A webhook is told where it is by a file of kubeconfig form. Left out, and refused with
a message that says so: ``InClusterConfig``, which is for servers that run in the cluster that they serve. Pure but for
`load`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import yaml

from pybernetes.api import field, names
from pybernetes.api.field import FieldError
from pybernetes.api.meta import Object
from pybernetes.api.time import parse_duration
from pybernetes.apiserver.expressions import Expression, ExpressionError
from pybernetes.apiserver.outbound import WebhookConfig, load_webhook

AuthorizationMode = Literal["Node", "RBAC", "AlwaysAllow", "AlwaysDeny"]
FailurePolicy = Literal["NoOpinion", "Deny"]
_VERSIONS = tuple(f"apiserver.config.k8s.io/{v}" for v in ("v1", "v1beta1", "v1alpha1"))
_TIMEOUT_SECONDS_MAX = 30.0


class AuthorizationConfigError(ValueError):
    """The configuration cannot be used; the message says why."""


@dataclass(frozen=True, slots=True)
class AuthorizationWebhook:
    """A webhook that decides."""

    webhook: WebhookConfig
    name: str = "default"
    version: str = "v1beta1"
    """Of the SubjectAccessReview: ``v1`` or ``v1beta1``."""
    authorized_seconds: float = 300.0
    unauthorized_seconds: float = 30.0
    failure_policy: FailurePolicy = "NoOpinion"
    """What counts where it cannot be reached, or a condition cannot be evaluated."""
    conditions: tuple[Expression, ...] = ()
    """It is asked only where all of them hold."""
    timeout_seconds: float = _TIMEOUT_SECONDS_MAX


Authorizers = Sequence[AuthorizationMode | AuthorizationWebhook]


def load(path: Path) -> Authorizers:
    """Raises `AuthorizationConfigError`, OSError."""
    try:
        body = yaml.load(path.read_bytes(), Loader=yaml.CSafeLoader)
        return parse(body, load_webhook)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise AuthorizationConfigError(f"{path}: {error}") from error
    except AuthorizationConfigError as error:
        raise AuthorizationConfigError(f"invalid authorization configuration in {path}: {error}") from error


def parse(body: Any, load_file: Callable[[Path], WebhookConfig]) -> Authorizers:
    """Raises `AuthorizationConfigError`, and what `load_file` raises."""
    if not isinstance(body, dict) or body.get("kind") != "AuthorizationConfiguration":
        raise AuthorizationConfigError("not an AuthorizationConfiguration")
    if body.get("apiVersion") not in _VERSIONS:
        raise AuthorizationConfigError(
            f'no kind "AuthorizationConfiguration" is registered for version "{body.get("apiVersion")}"'
        )
    _known(body, {"apiVersion", "kind", "authorizers"}, "")
    listed = body.get("authorizers") or []
    for i, one in enumerate(listed):
        _check_shape(one, f"authorizers[{i}].")
    faults = _validate(listed)
    if faults:
        raise AuthorizationConfigError("; ".join(str(f) for f in faults))
    made: list[AuthorizationMode | AuthorizationWebhook] = []
    for i, one in enumerate(listed):
        if one["type"] == "Webhook":
            at = field.Path("authorizers").index(i).child("webhook")
            made.append(_webhook(one["name"], one["webhook"], at, load_file))
        else:
            made.append(one["type"])
    return tuple(made)


def _webhook(
    name: str, body: Object, at: field.Path, load_file: Callable[[Path], WebhookConfig]
) -> AuthorizationWebhook:
    connection = body["connectionInfo"]
    if connection["type"] != "KubeConfigFile":
        raise AuthorizationConfigError(f"{at.child('connectionInfo').child('type')}: only KubeConfigFile is supported")
    conditions = []
    for i, condition in enumerate(body.get("matchConditions") or ()):
        text, where = condition.get("expression") or "", at.child("matchConditions").index(i).child("expression")
        try:
            conditions.append(Expression(text, "request", "bool"))
        except ExpressionError as error:
            raise AuthorizationConfigError(str(field.invalid(where, text, str(error)))) from error
    return AuthorizationWebhook(
        load_file(Path(connection["kubeConfigFile"])),
        name,
        body["subjectAccessReviewVersion"],
        _seconds(body, "authorizedTTL", 300.0) if body.get("cacheAuthorizedRequests") is not False else 0.0,
        _seconds(body, "unauthorizedTTL", 30.0) if body.get("cacheUnauthorizedRequests") is not False else 0.0,
        body["failurePolicy"],
        tuple(conditions),
        _seconds(body, "timeout", 0.0),
    )


def _known(value: Any, fields: set[str], at: str) -> None:
    if not isinstance(value, dict):
        raise AuthorizationConfigError(f"{at.rstrip('.') or 'the file'}: an object is wanted")
    unknown = sorted(str(key) for key in value.keys() - fields)
    if unknown:
        raise AuthorizationConfigError(
            "strict decoding error: " + ", ".join(f'unknown field "{at}{name}"' for name in unknown)
        )


_WEBHOOK_FIELDS = {
    "authorizedTTL", "unauthorizedTTL", "timeout", "subjectAccessReviewVersion",
    "matchConditionSubjectAccessReviewVersion", "failurePolicy", "connectionInfo", "matchConditions",
    "cacheAuthorizedRequests", "cacheUnauthorizedRequests",
}  # fmt: skip


def _check_shape(one: Any, at: str) -> None:
    _known(one, {"type", "name", "webhook"}, at)
    webhook = one.get("webhook")
    if webhook is None:
        return
    _known(webhook, _WEBHOOK_FIELDS, f"{at}webhook.")
    _known(webhook.get("connectionInfo") or {}, {"type", "kubeConfigFile"}, f"{at}webhook.connectionInfo.")
    for i, condition in enumerate(webhook.get("matchConditions") or ()):
        _known(condition, {"expression"}, f"{at}webhook.matchConditions[{i}].")


def _validate(listed: Sequence[Object]) -> list[FieldError]:
    root = field.Path("authorizers")
    if not listed:
        return [field.required(root, "at least one authorization mode must be defined")]
    faults: list[FieldError] = []
    known = (*get_args(AuthorizationMode), "Webhook")
    types: set[str] = set()
    seen: set[str] = set()
    for i, one in enumerate(listed):
        at, kind, name = root.index(i), one.get("type") or "", one.get("name") or ""
        if not kind:
            faults.append(field.required(at.child("type")))
        elif kind not in known:
            faults.append(field.not_supported(at.child("type"), kind, known))
        elif kind in types and kind != "Webhook":
            faults.append(field.duplicate(at.child("type"), kind))
        types.add(kind)
        if not name:
            faults.append(field.required(at.child("name")))
        elif messages := names.dns_subdomain(name):
            text = "authorizer name is invalid: " + ", ".join(messages)
            faults.append(field.invalid(at.child("name"), name, text))
        elif name in seen:
            faults.append(field.duplicate(at.child("name"), name))
        seen.add(name)
        webhook = one.get("webhook")
        if kind == "Webhook" and webhook is None:
            faults.append(field.required(at.child("webhook"), "required when type=Webhook"))
        elif kind != "Webhook" and webhook is not None:
            text = "may only be specified when type=Webhook"
            faults.append(field.invalid(at.child("webhook"), "non-null", text))
        elif webhook is not None:
            faults += _webhook_faults(webhook, at.child("webhook"))
    return faults


def _webhook_faults(webhook: Object, at: field.Path) -> list[FieldError]:
    faults: list[FieldError] = []
    timeout = _seconds(webhook, "timeout", 0.0)
    if not webhook.get("timeout"):
        faults.append(field.required(at.child("timeout")))
    elif not 0 < timeout <= _TIMEOUT_SECONDS_MAX:
        faults.append(field.invalid(at.child("timeout"), webhook["timeout"], "must be > 0s and <= 30s"))
    for name in ("authorizedTTL", "unauthorizedTTL"):
        if _seconds(webhook, name, 1.0) <= 0:
            faults.append(field.invalid(at.child(name), webhook[name], "must be > 0s"))
    for name, known in (
        ("subjectAccessReviewVersion", ("v1", "v1beta1")),
        ("failurePolicy", get_args(FailurePolicy)),
    ):
        value = webhook.get(name) or ""
        if not value:
            faults.append(field.required(at.child(name)))
        elif value not in known:
            faults.append(field.not_supported(at.child(name), value, known))
    version = webhook.get("matchConditionSubjectAccessReviewVersion") or ""
    where = at.child("matchConditionSubjectAccessReviewVersion")
    if webhook.get("matchConditions") and not version:
        faults.append(field.required(where, "required if match conditions are specified"))
    elif version not in ("", "v1"):
        faults.append(field.not_supported(where, version, ("v1",)))
    connection, where = webhook.get("connectionInfo") or {}, at.child("connectionInfo")
    kind = connection.get("type") or ""
    if not kind:
        faults.append(field.required(where.child("type")))
    elif kind not in ("InClusterConfig", "KubeConfigFile"):
        faults.append(field.not_supported(where.child("type"), kind, ("InClusterConfig", "KubeConfigFile")))
    elif kind == "KubeConfigFile" and not connection.get("kubeConfigFile"):
        faults.append(field.required(where.child("kubeConfigFile")))
    return faults


def _seconds(body: Object, name: str, default: float) -> float:
    """A duration of the file; below 0 for one that is none, so that validation tells."""
    value = body.get(name)
    if value is None:
        return default
    try:
        return parse_duration(str(value))
    except ValueError:
        return -1.0
