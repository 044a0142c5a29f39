"""The options of requests, parsed from queries and bodies, with upstream's checks. Pure."""

from __future__ import annotations

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


def _integer(query: Mapping[str, str], name: str) -> int | None:
    text = query.get(name)
    if not text:
        return None
    try:
        return int(text)
    except ValueError:
        raise BadRequest(f'strconv.ParseInt: parsing "{text}": invalid syntax') from None


def revision(text: str) -> int:
    """A resourceVersion as a number; `BadRequest` where it is none."""
    try:
        value = int(text)
    except ValueError:
        value = -1
    if value < 0:
        raise BadRequest(f'invalid resource version "{text}": strconv.ParseUint: parsing "{text}": invalid syntax')
    return value


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
    check_list_options(options)
    return options


def _refuse(kind: str, faults: Sequence[field.FieldError]) -> NoReturn:
    raise errors.invalid(_META, kind, "", faults)


def check_list_options(options: ListOptions) -> None:
    """The rules between a list's parameters (upstream's ValidateListOptions)."""
    match, version = options.resource_version_match, options.resource_version
    match_path = field.Path("resourceVersionMatch")
    faults: list[field.FieldError] = []
    if options.watch:
        initial = options.send_initial_events
        if initial is None:
            if match:
                faults.append(
                    field.forbidden(
                        match_path, "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"
                    )
                )
        else:
            if match != NOT_OLDER_THAN:
                faults.append(
                    field.forbidden(
                        match_path,
                        "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
                    )
                    if not match
                    else field.not_supported(match_path, match, [NOT_OLDER_THAN])
                )
            if initial and not options.allow_watch_bookmarks:
                faults.append(
                    field.forbidden(
                        field.Path("sendInitialEvents"), "sendInitialEvents requires allowWatchBookmarks to be set"
                    )
                )
    else:
        if options.send_initial_events is not None:
            faults.append(field.forbidden(field.Path("sendInitialEvents"), "sendInitialEvents is forbidden for list"))
        if match:
            if not version:
                faults.append(
                    field.forbidden(match_path, "resourceVersionMatch is forbidden unless resourceVersion is provided")
                )
            if options.continue_token:
                faults.append(
                    field.forbidden(match_path, "resourceVersionMatch is forbidden when continue is provided")
                )
            if match not in (EXACT, NOT_OLDER_THAN):
                faults.append(field.not_supported(match_path, match, [EXACT, NOT_OLDER_THAN]))
            elif match == EXACT and version == "0":
                faults.append(
                    field.forbidden(match_path, 'resourceVersionMatch "exact" is forbidden for resourceVersion "0"')
                )
    if faults:
        _refuse("ListOptions", faults)


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


def delete_options(query: Mapping[str, str], body: Object | None) -> tuple[DeleteOptions, bool]:
    """The options of a deletion and whether it is a dry run. A body, where there is one, replaces the query."""
    source: Mapping[str, Any]
    if body:
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
            raise BadRequest(f"json: cannot unmarshal into Go struct field DeleteOptions.{name}")
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
