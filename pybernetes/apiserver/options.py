"""The options of requests, parsed from queries and bodies, with upstream's checks. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from pybernetes.api import errors, field
from pybernetes.api.errors import BadRequest
from pybernetes.api.meta import Object
from pybernetes.api.schema.decode import FieldValidation

_FIELD_VALIDATIONS: dict[str, FieldValidation] = {"Ignore": "Ignore", "Warn": "Warn", "Strict": "Strict"}
EXACT = "Exact"
NOT_OLDER_THAN = "NotOlderThan"
_PROPAGATIONS = ("Foreground", "Background", "Orphan")
_META = "meta.k8s.io"


@dataclass(slots=True)
class ListOptions:
    label_selector: str = ""
    field_selector: str = ""
    limit: int = 0
    continue_token: str = ""
    resource_version: str = ""
    resource_version_match: str = ""
    timeout_seconds: int | None = None
    watch: bool = False
    allow_watch_bookmarks: bool = False
    send_initial_events: bool | None = None


@dataclass(slots=True)
class WriteOptions:
    """Of create, update and patch. The dry run is in the RequestInfo."""

    field_validation: FieldValidation = "Warn"
    field_manager: str = ""
    force: bool = False


@dataclass(slots=True)
class DeleteOptions:
    grace_period_seconds: int | None = None
    propagation_policy: str | None = None
    orphan_dependents: bool | None = None
    uid: str = ""
    resource_version: str = ""


NO_LIST_OPTIONS = ListOptions()
NO_WRITE_OPTIONS = WriteOptions()


def flag(query: Mapping[str, str], name: str) -> bool:
    """A boolean parameter as upstream reads it: present and neither ``0`` nor ``false``."""
    value = query.get(name)
    return value is not None and value.lower() not in ("0", "false")


_DIGITS_MAX = 40
"""A longer number is out of range whatever it says, and is not parsed: that would take its square in time."""
_INT64_MAX = 2**63 - 1
_UINT64_MAX = 2**64 - 1


def _integer(query: Mapping[str, str], name: str) -> int | None:
    """A 64-bit number, in Go's syntax and with its words for what is none."""
    text = query.get(name)
    if not text:
        return None
    digits = text[1:] if text[0] in "+-" else text
    if not (digits.isascii() and digits.isdigit()):
        raise BadRequest(f"strconv.ParseInt: parsing {quote(text)}: invalid syntax")
    value = int(text) if len(digits) <= _DIGITS_MAX else _UINT64_MAX
    if not -_INT64_MAX - 1 <= value <= _INT64_MAX:
        raise BadRequest(f"strconv.ParseInt: parsing {quote(text)}: value out of range")
    return value


def revision(text: str) -> int:
    """A resourceVersion as a number; `BadRequest` where it is none."""
    fault = ""
    if not (text.isascii() and text.isdigit()):
        fault = "invalid syntax"
    elif len(text) > _DIGITS_MAX or int(text) > _UINT64_MAX:
        fault = "value out of range"
    if fault:
        why = f"strconv.ParseUint: parsing {quote(text)}: {fault}"
        raise BadRequest(f"invalid resource version: resourceVersion: Invalid value: {quote(text)}: {why}")
    return int(text)


def quote(text: str) -> str:
    """A string as Go's ``%q`` shows it."""
    return json.dumps(text, ensure_ascii=False)


def list_options(query: Mapping[str, str], *, watch: bool = False) -> ListOptions:
    """Raises `Invalid` and `BadRequest`."""
    if not query:
        return NO_LIST_OPTIONS if not watch else ListOptions(watch=True)
    options = ListOptions(
        label_selector=query.get("labelSelector", ""),
        field_selector=query.get("fieldSelector", ""),
        limit=max(0, _integer(query, "limit") or 0),
        continue_token=query.get("continue", ""),
        resource_version=query.get("resourceVersion", ""),
        resource_version_match=query.get("resourceVersionMatch", ""),
        timeout_seconds=_integer(query, "timeoutSeconds"),
        watch=watch or flag(query, "watch"),
        allow_watch_bookmarks=flag(query, "allowWatchBookmarks"),
        send_initial_events=flag(query, "sendInitialEvents") if "sendInitialEvents" in query else None,
    )
    unsaid = options.send_initial_events is None and not options.resource_version_match
    if options.watch and unsaid and options.resource_version in ("", "0"):
        # A watch from nowhere begins with what is there (upstream's SetListOptionsDefaults, KEP-3157).
        options.send_initial_events = True
        options.resource_version_match = NOT_OLDER_THAN
    check_list_options(options)
    return options


def _refuse(kind: str, faults: Sequence[field.FieldError]) -> NoReturn:
    raise errors.invalid(_META, kind, "", faults)


def check_list_options(options: ListOptions) -> None:
    """The rules between a list's or a watch's parameters, with the words of upstream's ValidateListOptions."""
    match, version = options.resource_version_match, options.resource_version
    match_path, initial_path = field.Path("resourceVersionMatch"), field.Path("sendInitialEvents")
    faults: list[field.FieldError] = []
    if options.watch:
        initial = options.send_initial_events
        if initial is not None and match != NOT_OLDER_THAN:
            why = f"sendInitialEvents requires setting resourceVersionMatch to {NOT_OLDER_THAN}"
            faults.append(field.forbidden(match_path, why))
        if match:
            if initial is None:
                why = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"
                faults.append(field.forbidden(match_path, why))
            if match != NOT_OLDER_THAN:
                faults.append(field.not_supported(match_path, match, [NOT_OLDER_THAN]))
            if options.continue_token:
                faults.append(_forbidden_with_continue(match_path))
    else:
        if match:
            if not version:
                why = "resourceVersionMatch is forbidden unless resourceVersion is provided"
                faults.append(field.forbidden(match_path, why))
            if options.continue_token:
                faults.append(_forbidden_with_continue(match_path))
            if match not in (EXACT, NOT_OLDER_THAN):
                faults.append(field.not_supported(match_path, match, [EXACT, NOT_OLDER_THAN, ""]))
            if match == EXACT and version == "0":
                why = 'resourceVersionMatch "exact" is forbidden for resourceVersion "0"'
                faults.append(field.forbidden(match_path, why))
        if options.send_initial_events is not None:
            faults.append(field.forbidden(initial_path, "sendInitialEvents is forbidden for list"))
    if faults:
        _refuse("ListOptions", faults)


def _forbidden_with_continue(path: field.Path) -> field.FieldError:
    return field.forbidden(path, "resourceVersionMatch is forbidden when continue is provided")


def dry_run(query: Mapping[str, str], values: Sequence[str], kind: str) -> bool:
    """Whether the request is a dry run; only ``All`` is known."""
    if "dryRun" not in query:
        return False
    if any(v != "All" for v in values):
        path = field.Path("dryRun")
        _refuse(kind, [field.not_supported(path, list(values), ["All"])])
    return True


def write_options(query: Mapping[str, str], kind: str) -> WriteOptions:
    """`kind` is CreateOptions, UpdateOptions or PatchOptions, for the error's text."""
    if not query:
        return NO_WRITE_OPTIONS
    asked = query.get("fieldValidation") or "Warn"
    validation = _FIELD_VALIDATIONS.get(asked)
    manager = query.get("fieldManager", "")
    faults: list[field.FieldError] = []
    if validation is None:
        faults.append(field.not_supported(field.Path("fieldValidation"), asked, _FIELD_VALIDATIONS))
    if len(manager) > 128:
        faults.append(field.too_long(field.Path("fieldManager"), 128))
    if not manager.isprintable():
        faults.append(field.invalid(field.Path("fieldManager"), manager, "should only contain printable characters"))
    if faults or validation is None:
        _refuse(kind, faults)
    return WriteOptions(validation, manager, flag(query, "force"))


_JSON_NAMES: dict[type, str] = {str: "string", bool: "bool", list: "array", dict: "object"}
_GO_TYPES = {int: "int64", str: "v1.DeletionPropagation", bool: "bool"}


def delete_options(query: Mapping[str, str], body: Object | None) -> tuple[DeleteOptions, bool]:
    """The options of a deletion and whether it is a dry run. A body, where there is one, replaces the query."""
    source: Mapping[str, Any]
    if body is not None:
        source = body
        dry_values = body.get("dryRun") or []
        preconditions = body.get("preconditions") or {}
    else:
        grace = _integer(query, "gracePeriodSeconds")
        source = {
            "gracePeriodSeconds": grace,
            "propagationPolicy": query.get("propagationPolicy"),
            "orphanDependents": flag(query, "orphanDependents") if "orphanDependents" in query else None,
        }
        dry_values = [query["dryRun"]] if query.get("dryRun") else []
        preconditions = {}
    for name, kind in (("gracePeriodSeconds", int), ("propagationPolicy", str), ("orphanDependents", bool)):
        value = source.get(name)
        if value is not None and (not isinstance(value, kind) or (kind is int and isinstance(value, bool))):
            raise BadRequest(
                f"json: cannot unmarshal {_JSON_NAMES.get(type(value), 'number')} into Go struct field "
                f"DeleteOptions.{name} of type {_GO_TYPES[kind]}"
            )
    if not isinstance(dry_values, list) or not isinstance(preconditions, dict):
        raise BadRequest("json: cannot unmarshal into Go value of type v1.DeleteOptions")
    options = DeleteOptions(
        source.get("gracePeriodSeconds"),
        source.get("propagationPolicy"),
        source.get("orphanDependents"),
        str(preconditions.get("uid") or ""),
        str(preconditions.get("resourceVersion") or ""),
    )
    faults: list[field.FieldError] = []
    path = field.Path("propagationPolicy")
    if options.orphan_dependents is not None and options.propagation_policy is not None:
        faults.append(
            field.invalid(
                path, options.propagation_policy, "orphanDependents and deletionPropagation cannot be both set"
            )
        )
    if options.propagation_policy is not None and options.propagation_policy not in _PROPAGATIONS:
        faults.append(field.not_supported(path, options.propagation_policy, [*_PROPAGATIONS, "nil"]))
    if any(v != "All" for v in dry_values):
        faults.append(field.not_supported(field.Path("dryRun"), dry_values, ["All"]))
    if faults:
        _refuse("DeleteOptions", faults)
    return options, bool(dry_values)
