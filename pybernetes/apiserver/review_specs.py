"""What access reviews ask about: checked with upstream's texts, and made into what authorization judges. Pure.

Source: upstream's ``pkg/apis/authorization/validation`` and ``pkg/registry/authorization/util``; KEP-4601 (selectors).
"""

from __future__ import annotations

from collections.abc import Sequence

from pybernetes.api import errors, field, names, selectors
from pybernetes.api.field import FieldError
from pybernetes.api.meta import Object, metadata
from pybernetes.api.user import User
from pybernetes.apiserver.interfaces import Attributes

GROUP = "authorization.k8s.io"
_IGNORED_METADATA = ("managedFields", "creationTimestamp")


def validate(body: Object, kind: str, namespace: str = "") -> None:
    """`namespace` is that of a LocalSubjectAccessReview's request. Raises `Invalid`."""
    spec, at = body.get("spec") or {}, field.Path("spec")
    resource, path = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    faults: list[FieldError] = []
    if resource is not None and path is not None:
        text = "cannot be specified in combination with resourceAttributes"
        faults.append(field.invalid(at.child("nonResourceAttributes"), path, text))
    if resource is None and path is None:
        text = "exactly one of nonResourceAttributes or resourceAttributes must be specified"
        faults.append(field.invalid(at.child("resourceAttributes"), None, text))
    if resource is not None:
        faults += _selector_faults(resource, at.child("resourceAttributes"))
    if kind != "SelfSubjectAccessReview" and not spec.get("user") and not spec.get("groups"):
        faults.append(field.invalid(at.child("user"), "", "at least one of user or group must be specified"))
    local = kind == "LocalSubjectAccessReview"
    ignored = (*_IGNORED_METADATA, "namespace") if local else _IGNORED_METADATA
    meta = {key: value for key, value in metadata(body).items() if value and key not in ignored}
    if meta:
        text = "must be empty except for namespace" if local else "must be empty"
        faults.append(field.invalid(field.Path("metadata"), meta, text))
    if local:
        if resource is not None and (resource.get("namespace") or "") != namespace:
            where = field.Path("spec.resourceAttributes.namespace")
            faults.append(field.invalid(where, resource.get("namespace") or "", "must match metadata.namespace"))
        if path is not None:
            where = field.Path("spec.nonResourceAttributes")
            faults.append(field.invalid(where, path, "disallowed on this kind of request"))
    if faults:
        raise errors.invalid(GROUP, kind, "", faults)


def _selector_faults(resource: Object, at: field.Path) -> list[FieldError]:
    faults: list[FieldError] = []
    for name in ("fieldSelector", "labelSelector"):
        selector, where = resource.get(name), at.child(name)
        if selector is None:
            continue
        raw, requirements = selector.get("rawSelector") or "", selector.get("requirements") or ()
        if raw and requirements:
            text = "may not specified at the same time as requirements"
            faults.append(field.invalid(where.child("rawSelector"), raw, text))
        if not raw and not requirements:
            text = f"when {where} is specified, requirements or rawSelector is required"
            faults.append(field.required(where.child("requirements"), text))
        for i, requirement in enumerate(requirements):
            faults += _requirement_faults(requirement, where.child("requirements").index(i), name == "labelSelector")
    return faults


def _requirement_faults(requirement: Object, at: field.Path, is_label: bool) -> list[FieldError]:
    """Operators that are not known are let pass: a newer client may know them."""
    faults: list[FieldError] = []
    key, values = requirement.get("key") or "", requirement.get("values") or ()
    operator = requirement.get("operator")
    if operator in ("In", "NotIn") and not values:
        text = "must be specified when `operator` is 'In' or 'NotIn'"
        faults.append(field.required(at.child("values"), text))
    elif operator in ("Exists", "DoesNotExist") and values:
        text = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
        faults.append(field.forbidden(at.child("values"), text))
    if is_label:
        faults += [field.invalid(at.child("key"), key, message) for message in names.qualified_name(key)]
        for i, value in enumerate(values):
            messages = names.label_value(value)
            faults += [field.invalid(at.child("values").index(i), value, message) for message in messages]
    elif not key:
        faults.append(field.required(at.child("key"), "must be specified"))
    return faults


def attributes(spec: Object, user: User) -> tuple[Attributes, str]:
    """(what is asked, what of it could not be understood) of a validated review."""
    asked = spec.get("resourceAttributes")
    if asked is None:
        path = spec["nonResourceAttributes"]
        return Attributes(user=user, verb=str(path.get("verb") or ""), path=str(path.get("path") or "")), ""
    fields, fields_whole = _field_selector(asked.get("fieldSelector"))
    faults = []
    if not fields_whole:
        ignored = "partially ignored" if fields else "ignored"
        faults.append(f"spec.resourceAttributes.fieldSelector {ignored} due to parse error")
    labels, labels_whole = _label_selector(asked.get("labelSelector"))
    if not labels_whole:
        ignored = "partially ignored" if labels else "ignored"
        faults.append(f"spec.resourceAttributes.labelSelector {ignored} due to parse error")
    return (
        Attributes(
            user=user,
            verb=str(asked.get("verb") or ""),
            namespace=str(asked.get("namespace") or ""),
            group=str(asked.get("group") or ""),
            version=str(asked.get("version") or "*"),
            resource=str(asked.get("resource") or ""),
            subresource=str(asked.get("subresource") or ""),
            name=str(asked.get("name") or ""),
            field_selector=fields,
            label_selector=labels,
            # One that names no resource is about resources all the same: nothing allows it but "*".
            about_resource=True,
        ),
        "; ".join(faults),
    )


def _field_selector(selector: Object | None) -> tuple[str, bool]:
    """(as a request's query would carry it, whether all of it was understood)."""
    if selector is None:
        return "", True
    if selector.get("rawSelector"):
        try:
            return str(selectors.parse_field_selector(selector["rawSelector"])), True
        except selectors.SelectorError:
            return "", False
    terms: list[selectors.FieldRequirement] = []
    whole = True
    for requirement in selector.get("requirements") or ():
        operator = requirement.get("operator")
        values: Sequence[str] = requirement.get("values") or ()
        if operator not in ("In", "NotIn") or len(values) != 1:
            whole = False
        else:
            terms.append(selectors.FieldRequirement(str(requirement.get("key")), values[0], operator == "NotIn"))
    return str(selectors.FieldSelector(tuple(terms))), whole


def _label_selector(selector: Object | None) -> tuple[str, bool]:
    """(as a request's query would carry it, whether all of it was understood)."""
    if selector is None:
        return "", True
    if selector.get("rawSelector"):
        try:
            return str(selectors.parse_label_selector(selector["rawSelector"])), True
        except selectors.SelectorError:
            return "", False
    requirements = selector.get("requirements") or ()
    known = [r for r in requirements if r.get("operator") in ("In", "NotIn", "Exists", "DoesNotExist")]
    return str(selectors.from_label_selector({"matchExpressions": known})), len(known) == len(requirements)
