"""MutatingAdmissionWebhook and ValidatingAdmissionWebhook: requests are shown to the webhooks that are for them.

Mutating webhooks are called one after the other, each seeing what those before it made; validating ones all at once,
of whose refusals the first one counts. What a webhook that fails means, its failurePolicy says.

Source: https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/ and upstream's
``plugin/webhook/mutating`` and ``plugin/webhook/validating``.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Mapping, Sequence

import orjson
import structlog

from pybernetes.api import errors
from pybernetes.api.meta import clone, labels_of
from pybernetes.api.patch import json_patch
from pybernetes.api.resources import (
    MUTATINGWEBHOOKCONFIGURATIONS,
    NAMESPACES,
    VALIDATINGWEBHOOKCONFIGURATIONS,
    Resource,
)
from pybernetes.apiserver.admission.dynamic.conditions import NoVerdict
from pybernetes.apiserver.admission.dynamic.matching import Invocation, namespace_of_request
from pybernetes.apiserver.admission.dynamic.reinvocation import reinvocation_of
from pybernetes.apiserver.admission.dynamic.situation import situation
from pybernetes.apiserver.admission.dynamic.views import Views
from pybernetes.apiserver.admission.plugin import Plugin
from pybernetes.apiserver.admission.webhooks import review
from pybernetes.apiserver.admission.webhooks.caller import CallFailed, WebhookCaller
from pybernetes.apiserver.admission.webhooks.configuration import Called, Webhook, WebhookIndex
from pybernetes.apiserver.interfaces import AdmissionOperation, AdmissionRequest, Authorizer, ObservableReader

log = structlog.get_logger(__name__)

_MUTATING = "mutation.webhook.admission.k8s.io"
_VALIDATING = "validating.webhook.admission.k8s.io"


class _Webhooks(Plugin):
    """What both plugins share."""

    _resource: Resource

    def __init__(self, reader: ObservableReader, caller: WebhookCaller, authorizer: Authorizer) -> None:
        self._reader = reader
        self._caller = caller
        self._authorizer = authorizer
        self._changed: Callable[[], None] = lambda: None
        self._index = WebhookIndex(reader, self._resource, lambda: self._changed())

    def listen(self, changed: Callable[[], None]) -> None:
        self._changed = changed

    def close(self) -> None:
        self._index.close()

    def handles(self, operation: AdmissionOperation, resource: Resource, subresource: str) -> bool:
        return self._index.concerns(operation, resource, subresource)

    def _called(self, request: AdmissionRequest) -> Sequence[Called]:
        asked = request.info.resource if request.info is not None else None
        return self._index.called(request.operation, asked or request.resource, request.subresource)

    def _is_for(self, webhook: Webhook, invocation: Invocation, request: AdmissionRequest, views: Views) -> bool:
        """Whether this very request is meant. Raises Forbidden where its matchConditions cannot tell."""
        if not webhook.criteria.selects(request, invocation, self._namespace_labels):
            return False
        if webhook.conditions is None:
            return True
        try:
            return webhook.conditions.match(situation(views, invocation.resource, self._authorizer))
        except NoVerdict as error:
            log.warning("failed evaluating match conditions, failing closed", webhook=webhook.name, error=str(error))
            group, plural = request.resource.group, request.resource.plural
            raise errors.forbidden(group, plural, request.name, str(error)) from error

    def _namespace_labels(self, request: AdmissionRequest) -> Mapping[str, str]:
        found = namespace_of_request(request, lambda name: self._reader.get(NAMESPACES, "", name))
        return labels_of(found) if found is not None else {}

    async def _call(
        self, webhook: Webhook, invocation: Invocation, request: AdmissionRequest, views: Views, *, mutating: bool
    ) -> review.Verdict | None:
        """The webhook's verdict; None where it gave none and fails open. Raises ApiError."""
        if request.dry_run and not webhook.allows_dry_run:
            raise errors.BadRequest(f'admission webhook "{webhook.name}" does not support dry run')
        uid = str(uuid.uuid4())
        body = review.build(views, invocation.resource, uid, webhook.version)
        try:
            answer = await self._caller.call(webhook.target, body, webhook.timeout_seconds)
        except CallFailed as error:
            self._failed(webhook, f"failed to call webhook: {error}", error)
            return None
        try:
            return review.understand(answer, uid, webhook.version, mutating=mutating)
        except review.InvalidReview as error:
            self._failed(webhook, f"received invalid webhook response: {error}", error)
            return None

    @staticmethod
    def _failed(webhook: Webhook, why: str, cause: Exception) -> None:
        """Raises InternalError, unless the webhook fails open."""
        if webhook.fails_open:
            log.warning("failed calling webhook, failing open", webhook=webhook.name, error=why)
            return
        log.warning("failed calling webhook, failing closed", webhook=webhook.name, error=why)
        message = f'failed calling webhook "{webhook.name}": {why}'
        raise errors.InternalError(
            f"Internal error occurred: {message}", details={"causes": [{"message": message}]}
        ) from cause

    @staticmethod
    def _note(webhook: Webhook, request: AdmissionRequest, verdict: review.Verdict) -> None:
        request.warnings.extend(verdict.warnings)
        for key, value in verdict.annotations.items():
            request.annotate(f"{webhook.name}/{key}", value)
        if not verdict.allowed:
            raise review.denial(webhook.name, verdict.status)


class MutatingAdmissionWebhook(_Webhooks):
    name = "MutatingAdmissionWebhook"
    _resource = MUTATINGWEBHOOKCONFIGURATIONS

    async def mutate(self, request: AdmissionRequest) -> None:
        memory = reinvocation_of(request)
        turn = memory.begin(self.name, request.object)
        views = Views(request)
        for position, (webhook, invocation) in enumerate(self._called(request)):
            if memory.again and webhook.uid not in turn.due:
                continue
            if not self._is_for(webhook, invocation, request, views):
                continue
            verdict = await self._call(webhook, invocation, request, views, mutating=True)
            place = f"{_MUTATING}/round_{int(memory.again)}_index_{position}"
            mutated = False
            if verdict is None:
                request.annotate(f"failed-open.{place}", webhook.name)
            else:
                self._note(webhook, request, verdict)
                mutated = bool(verdict.patch) and self._apply(webhook, invocation, views, verdict.patch or [])
            noted = {"configuration": webhook.configuration, "webhook": webhook.name, "mutated": mutated}
            request.annotate(place, orjson.dumps(noted).decode())
            if mutated:
                views = Views(request)
                turn.changed()
                memory.wanted = True
            if webhook.reinvoked:
                turn.seen.add(webhook.uid)
        memory.end(self.name, request.object)

    @staticmethod
    def _apply(webhook: Webhook, invocation: Invocation, views: Views, patch: list[object]) -> bool:
        view = views.of(invocation.resource)
        if view.object is None or views.request.object is None:
            raise _internal(
                f'admission webhook "{webhook.name}" attempted to modify the object, which is not supported for this '
                "operation"
            )
        try:
            patched = json_patch.apply(clone(view.object), patch)
            return views.replace(view, patched)
        except errors.Invalid as error:
            # What the client of a patch is not told, the author of a webhook has to know.
            raise _internal(str(error.__cause__ or error)) from error
        except errors.ApiError as error:
            raise _internal(str(error)) from error


class ValidatingAdmissionWebhook(_Webhooks):
    name = "ValidatingAdmissionWebhook"
    _resource = VALIDATINGWEBHOOKCONFIGURATIONS

    async def validate(self, request: AdmissionRequest) -> None:
        views = Views(request)
        due = [
            (position, webhook, invocation)
            for position, (webhook, invocation) in enumerate(self._called(request))
            if self._is_for(webhook, invocation, request, views)
        ]
        if len(due) == 1:
            await self._judge(*due[0], request, views)
            return
        tasks = [asyncio.create_task(self._judge(*one, request, views)) for one in due]
        try:
            # All are heard to their end, as upstream does; of several refusals the first in order counts.
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        except asyncio.CancelledError:
            for task in tasks:
                task.cancel()
            raise
        for outcome in outcomes:
            if outcome is not None:
                raise outcome

    async def _judge(
        self, position: int, webhook: Webhook, invocation: Invocation, request: AdmissionRequest, views: Views
    ) -> None:
        verdict = await self._call(webhook, invocation, request, views, mutating=False)
        if verdict is None:
            request.annotate(f"failed-open.{_VALIDATING}/round_0_index_{position}", webhook.name)
        else:
            self._note(webhook, request, verdict)


def _internal(why: str) -> errors.InternalError:
    return errors.InternalError(f"Internal error occurred: {why}", details={"causes": [{"message": why}]})
