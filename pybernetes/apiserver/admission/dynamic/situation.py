"""A request as the input of CEL expressions."""

from __future__ import annotations

from pybernetes.api.cel.expression import Authorize, Check, Input
from pybernetes.api.meta import Object
from pybernetes.api.resources import Resource
from pybernetes.api.user import User
from pybernetes.apiserver.admission.dynamic.views import Views, request_fields
from pybernetes.apiserver.interfaces import Attributes, Authorizer


def situation(
    views: Views,
    resource: Resource,
    authorizer: Authorizer,
    *,
    namespace: Object | None = None,
    params: Object | None = None,
) -> Input:
    """The request in the version of `resource`, in its namespace, with the parameters of a policy's binding."""
    view = views.of(resource)
    request = views.request
    checked = {
        "group": resource.group,
        "resource": resource.plural,
        "subresource": request.subresource,
        "namespace": request.namespace,
        "name": request.name,
    }
    return Input(
        view.object,
        view.old,
        lambda: request_fields(views, resource),
        namespace,
        params,
        authorize_for(request.user, authorizer),
        {key: value for key, value in checked.items() if value},
    )


def authorize_for(user: User, authorizer: Authorizer) -> Authorize:
    """Answers an expression's checks, each once for one request."""
    known: dict[Check, tuple[bool, str]] = {}

    def authorize(check: Check) -> tuple[bool, str]:
        answer = known.get(check)
        if answer is None:
            who = User(check.user, "", check.groups) if check.user else user
            if check.path:
                attributes = Attributes(who, check.verb, path=check.path)
            else:
                attributes = Attributes(
                    who, check.verb, check.namespace, check.group, "*", check.resource, check.subresource, check.name,
                    field_selector=check.field_selector or None, label_selector=check.label_selector,
                )  # fmt: skip
            decision = authorizer.authorize(attributes)
            answer = known[check] = (decision.allowed, decision.reason)
        return answer

    return authorize
