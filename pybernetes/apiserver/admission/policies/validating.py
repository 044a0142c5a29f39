"""ValidatingAdmissionPolicy: what expressions say of a request, denied, warned of or audited as bindings ask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import orjson
import structlog

from pybernetes.api import errors
from pybernetes.api.cel.errors import EvaluationError
from pybernetes.api.cel.expression import Input
from pybernetes.api.resources import VALIDATINGADMISSIONPOLICIES, VALIDATINGADMISSIONPOLICYBINDINGS
from pybernetes.apiserver.admission.dynamic.conditions import NoVerdict
from pybernetes.apiserver.admission.dynamic.views import Views
from pybernetes.apiserver.admission.plugin import refuse
from pybernetes.apiserver.admission.policies.definitions import (
    AuditAnnotation,
    Binding,
    ConfigurationError,
    Policy,
    Validation,
)
from pybernetes.apiserver.admission.policies.index import Hook
from pybernetes.apiserver.admission.policies.plugin import PolicyPlugin
from pybernetes.apiserver.interfaces import AdmissionRequest

log = structlog.get_logger(__name__)

_MESSAGE_BYTES_MAX = 5 * 1024
_ANNOTATION_BYTES_MAX = 10 * 1024
_FAILURE_ANNOTATION = "validation.policy.admission.k8s.io/validation_failure"

_REASONS: dict[str, type[errors.ApiError]] = {
    "Forbidden": errors.Forbidden,
    "Unauthorized": errors.Unauthorized,
    "RequestEntityTooLarge": errors.RequestEntityTooLarge,
    "Invalid": errors.Invalid,
}


@dataclass(frozen=True, slots=True)
class Failure:
    """A validation that did not hold, or had no value."""

    message: str
    reason: str = "Invalid"
    position: int = 0


@dataclass(frozen=True, slots=True)
class Denial:
    policy: Policy
    binding: Binding | None
    failure: Failure

    def text(self) -> str:
        bound = f" with binding '{self.binding.name}'" if self.binding is not None else ""
        return f"ValidatingAdmissionPolicy '{self.policy.name}'{bound} denied request: {self.failure.message}"


class ValidatingAdmissionPolicy(PolicyPlugin):
    name = "ValidatingAdmissionPolicy"
    _policies = VALIDATINGADMISSIONPOLICIES
    _bindings = VALIDATINGADMISSIONPOLICYBINDINGS

    async def validate(self, request: AdmissionRequest) -> None:
        views = Views(request)
        denials: list[Denial] = []
        for hook in self.hooks(request):
            denials += await self._judge(hook, request, views)
        if denials:
            raise _refusal(request, denials[0])

    async def _judge(self, hook: Hook, request: AdmissionRequest, views: Views) -> list[Denial]:
        policy = hook.policy
        denials: list[Denial] = []
        annotations: dict[str, list[str]] = {}
        async for binding, params in self.bound(hook, request):
            if isinstance(params, ConfigurationError):
                if not policy.fails_open:
                    denials.append(Denial(policy, binding if params.of == "binding" else None, Failure(str(params))))
                continue
            for param in params:
                values = self.input(hook, views, param)
                failures = _evaluate(policy, values)
                if failures is None:
                    continue
                for failure in failures:
                    denials += self._act(policy, binding, failure, request)
                for annotation in policy.annotations:
                    denials += _annotate(policy, binding, annotation, values, annotations)
        for key, texts in annotations.items():
            request.annotate(f"{policy.name}/{key}", ", ".join(texts))
        return denials

    @staticmethod
    def _act(policy: Policy, binding: Binding, failure: Failure, request: AdmissionRequest) -> list[Denial]:
        denials = []
        for action in binding.actions:
            if action == "Deny":
                denials.append(Denial(policy, binding, failure))
            elif action == "Warn":
                request.warnings.append(
                    f"Validation failed for ValidatingAdmissionPolicy '{policy.name}' with binding '{binding.name}': "
                    f"{failure.message}"
                )
            elif action == "Audit":
                noted = {
                    "message": failure.message,
                    "policy": policy.name,
                    "binding": binding.name,
                    "expressionIndex": failure.position,
                    "validationActions": list(binding.actions),
                }
                request.annotate(_FAILURE_ANNOTATION, orjson.dumps([noted]).decode())
        return denials


def _evaluate(policy: Policy, values: Input) -> Sequence[Failure] | None:
    """What does not hold; None where the match conditions say that the policy is not for this request."""
    if policy.conditions is not None:
        try:
            if not policy.conditions.match(values):
                return None
        except NoVerdict as error:
            return [Failure(str(error))]
    failures = []
    for position, validation in enumerate(policy.validations):
        try:
            if validation.program.evaluate(values):
                continue
        except EvaluationError as error:
            if not policy.fails_open:
                failures.append(Failure(str(error), "", position))
            continue
        failures.append(Failure(_message(validation, values), validation.reason, position))
    return failures


def _message(validation: Validation, values: Input) -> str:
    text = ""
    if validation.message_program is not None:
        try:
            text = str(validation.message_program.evaluate(values)).strip()
        except EvaluationError as error:
            log.debug("messageExpression failed", error=str(error))
        if "\n" in text or len(text.encode()) > _MESSAGE_BYTES_MAX:
            text = ""
    return text or validation.message or f"failed expression: {validation.program.expression.text.strip()}"


def _annotate(
    policy: Policy, binding: Binding, annotation: AuditAnnotation, values: Input, found: dict[str, list[str]]
) -> list[Denial]:
    """Adds the annotation's value to what is `found`; a failure is a denial, as the failure policy says."""
    try:
        value = annotation.program.evaluate(values)
    except EvaluationError as error:
        return [] if policy.fails_open else [Denial(policy, binding, Failure(str(error)))]
    text = str(value or "").strip()[:_ANNOTATION_BYTES_MAX]
    texts = found.setdefault(annotation.key, [])
    if text and text not in texts:
        texts.append(text)
    return []


def _refusal(request: AdmissionRequest, denial: Denial) -> errors.ApiError:
    text = denial.text()
    forbidden = refuse(request, text)
    kind = _REASONS.get(denial.failure.reason or "Invalid", errors.Invalid)
    return kind(forbidden.message, details={**(forbidden.details or {}), "causes": [{"message": text}]})
