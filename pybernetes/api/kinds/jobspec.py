"""Validation of a JobSpec, which jobs and cron jobs share: modes, failure and success policies, index intervals.

Source of rules and texts: ``pkg/apis/batch/validation/validation.go``. Pure.
"""

from __future__ import annotations

import json
from typing import Any

from pybernetes.api import names
from pybernetes.api.field import OMITTED
from pybernetes.api.kinds.faults import Faults
from pybernetes.api.kinds.podspec.validation import pod_template
from pybernetes.api.kinds.prefixed import domain_prefixed_path
from pybernetes.api.meta import Object

MAX_INDEXED_PARALLELISM = 100_000
MAX_FAILED_INDEXES = 100_000
COMPLETIONS_SOFT_LIMIT = 100_000
_LIMIT_BEYOND = 10_000
_MAX_MANAGED_BY_BYTES = 63
_MAX_POLICY_RULES = 20
_MAX_CONDITION_PATTERNS = 20
_MAX_EXIT_CODES = 255
_MAX_INDEXES_BYTES = 64 * 1024
_COUNTS = ("parallelism", "completions", "activeDeadlineSeconds", "backoffLimit", "ttlSecondsAfterFinished")
_ACTIONS = ("Count", "FailIndex", "FailJob", "Ignore")
_STATES = ("False", "True", "Unknown")
_OPERATORS = ("In", "NotIn")
_INDEXED = "when completion mode is Indexed"


def job_spec(faults: Faults, path: str, spec: Object) -> None:
    """A JobSpec but for its selector, which a CronJob's template has not yet."""
    for name in _COUNTS:
        faults.not_negative(f"{path}.{name}", spec.get(name))
    per_index, failed, mode = (spec.get(k) for k in ("backoffLimitPerIndex", "maxFailedIndexes", "completionMode"))
    faults.not_negative(f"{path}.backoffLimitPerIndex", per_index)
    if failed is not None:
        faults.not_negative(f"{path}.maxFailedIndexes", failed)
        if per_index is None:
            faults.required(f"{path}.backoffLimitPerIndex", "when maxFailedIndexes is specified")
    manager = spec.get("managedBy")
    if manager is not None:
        domain_prefixed_path(faults, f"{path}.managedBy", manager)
        if len(manager.encode()) > _MAX_MANAGED_BY_BYTES:
            faults.too_long(f"{path}.managedBy", _MAX_MANAGED_BY_BYTES)
    if mode is not None and mode not in ("NonIndexed", "Indexed"):
        faults.not_supported(f"{path}.completionMode", mode, ("NonIndexed", "Indexed"))
    if mode == "Indexed":
        _indexed(faults, path, spec)
    elif mode in (None, "NonIndexed"):
        for name, value in (("backoffLimitPerIndex", per_index), ("maxFailedIndexes", failed)):
            if value is not None:
                faults.invalid(f"{path}.{name}", value, "requires indexed completion mode")
    failure = spec.get("podFailurePolicy")
    if failure is not None:
        _failure_policy(faults, f"{path}.podFailurePolicy", failure, spec)
    success = spec.get("successPolicy")
    if success is not None and mode != "Indexed":
        faults.invalid(f"{path}.successPolicy", success, "requires indexed completion mode")
    elif success is not None:
        _success_policy(faults, f"{path}.successPolicy", success, spec)
    replacement = spec.get("podReplacementPolicy")
    supported = ("Failed",) if failure is not None else ("Failed", "TerminatingOrFailed")
    if replacement is not None and replacement not in supported:
        faults.not_supported(f"{path}.podReplacementPolicy", replacement, supported)
    template = spec.get("template") or {}
    pod_template(faults, f"{path}.template", template)
    policy, at = (template.get("spec") or {}).get("restartPolicy"), f"{path}.template.spec.restartPolicy"
    if not policy or policy == "Always":
        # Always is what the defaults say: nobody need have chosen it.
        faults.required(at, 'valid values: "OnFailure", "Never"')
    elif policy not in ("OnFailure", "Never"):
        faults.not_supported(at, policy, ("OnFailure", "Never"))
    elif failure is not None and policy != "Never":
        faults.invalid(at, policy, 'only "Never" is supported when podFailurePolicy is specified')


def _indexed(faults: Faults, path: str, spec: Object) -> None:
    completions, parallelism, failed = (spec.get(k) for k in ("completions", "parallelism", "maxFailedIndexes"))
    if completions is None:
        faults.required(f"{path}.completions", _INDEXED)
    if parallelism is not None and parallelism > MAX_INDEXED_PARALLELISM:
        text = f"must be less than or equal to {MAX_INDEXED_PARALLELISM} {_INDEXED}"
        faults.invalid(f"{path}.parallelism", parallelism, text)
    if completions is not None and failed is not None and failed > completions:
        faults.invalid(f"{path}.maxFailedIndexes", failed, "must be less than or equal to completions")
    if failed is not None and failed > MAX_FAILED_INDEXES:
        faults.invalid(f"{path}.maxFailedIndexes", failed, f"must be less than or equal to {MAX_FAILED_INDEXES}")
    if completions is None or completions <= COMPLETIONS_SOFT_LIMIT or spec.get("backoffLimitPerIndex") is None:
        return
    if failed is None:
        text = f"must be specified when completions is above {COMPLETIONS_SOFT_LIMIT}"
        faults.required(f"{path}.maxFailedIndexes", text)
    text = (
        f"must be less than or equal to {_LIMIT_BEYOND} when completions are above {COMPLETIONS_SOFT_LIMIT} and used "
        "with backoff limit per index"
    )
    for name, value in (("parallelism", parallelism), ("maxFailedIndexes", failed)):
        if value is not None and value > _LIMIT_BEYOND:
            faults.invalid(f"{path}.{name}", value, text)


def _one_of(faults: Faults, path: str, value: str | None, supported: tuple[str, ...]) -> None:
    """A required value out of a few, which this group names in its own way."""
    if not value:
        faults.required(path, f"valid values: [{' '.join(map(json.dumps, supported))}]")
    elif value not in supported:
        faults.not_supported(path, value, supported)


def _failure_policy(faults: Faults, path: str, policy: Object, spec: Object) -> None:
    rules = policy.get("rules") or []
    if len(rules) > _MAX_POLICY_RULES:
        faults.too_many(f"{path}.rules", len(rules), _MAX_POLICY_RULES)
    pod = ((spec.get("template") or {}).get("spec")) or {}
    known = {c.get("name") for f in ("containers", "initContainers") for c in pod.get(f) or ()}
    for i, rule in enumerate(rules):
        at, action = f"{path}.rules[{i}]", rule.get("action")
        if action == "FailIndex":
            if spec.get("backoffLimitPerIndex") is None:
                faults.invalid(f"{at}.action", action, "requires the backoffLimitPerIndex to be set")
        else:
            _one_of(faults, f"{at}.action", action, _ACTIONS)
        codes, conditions = rule.get("onExitCodes"), rule.get("onPodConditions")
        if codes is not None:
            _exit_codes(faults, f"{at}.onExitCodes", codes, known)
        if conditions:
            _conditions(faults, f"{at}.onPodConditions", conditions)
        if codes is not None and conditions:
            faults.invalid(at, OMITTED, "specifying both OnExitCodes and OnPodConditions is not supported")
        if codes is None and not conditions:
            faults.invalid(at, OMITTED, "specifying one of OnExitCodes and OnPodConditions is required")


def _conditions(faults: Faults, path: str, patterns: list[Object]) -> None:
    if len(patterns) > _MAX_CONDITION_PATTERNS:
        faults.too_many(path, len(patterns), _MAX_CONDITION_PATTERNS)
    for j, pattern in enumerate(patterns):
        kind = pattern.get("type") or ""
        faults.each(f"{path}[{j}].type", kind, names.qualified_name(kind))
        _one_of(faults, f"{path}[{j}].status", pattern.get("status"), _STATES)


def _exit_codes(faults: Faults, path: str, codes: Object, known: set[Any]) -> None:
    operator, values, container = codes.get("operator"), codes.get("values") or [], codes.get("containerName")
    _one_of(faults, f"{path}.operator", operator, _OPERATORS)
    if container is not None and container not in known:
        text = "must be one of the container or initContainer names in the pod template"
        faults.invalid(f"{path}.containerName", container, text)
    if not values:
        faults.invalid(f"{path}.values", values, "at least one value is required")
    elif len(values) > _MAX_EXIT_CODES:
        faults.too_many(f"{path}.values", len(values), _MAX_EXIT_CODES)
    seen: set[int] = set()
    for i, value in enumerate(values):
        if operator == "In" and value == 0:
            faults.invalid(f"{path}.values[{i}]", value, "must not be 0 for the In operator")
        if value in seen:
            faults.duplicate(f"{path}.values[{i}]", value)
        seen.add(value)
    if values != sorted(values):
        faults.invalid(f"{path}.values", values, "must be ordered")


def _success_policy(faults: Faults, path: str, policy: Object, spec: Object) -> None:
    rules, completions = policy.get("rules") or [], spec.get("completions") or 0
    if not rules:
        faults.required(f"{path}.rules", "at least one rules must be specified when the successPolicy is specified")
    if len(rules) > _MAX_POLICY_RULES:
        faults.too_many(f"{path}.rules", len(rules), _MAX_POLICY_RULES)
    for i, rule in enumerate(rules):
        at, count, indexes = f"{path}.rules[{i}]", rule.get("succeededCount"), rule.get("succeededIndexes")
        if count is None and indexes is None:
            faults.required(at, "at least one of succeededCount or succeededIndexes must be specified")
        total = 0
        if indexes is not None:
            if len(indexes.encode()) > _MAX_INDEXES_BYTES:
                faults.too_long(f"{at}.succeededIndexes", _MAX_INDEXES_BYTES)
            try:
                total = sum(last - first + 1 for first, last in parse_indexes(indexes, completions))
            except IndexesError as e:
                faults.invalid(f"{at}.succeededIndexes", indexes, f"error parsing succeededIndexes: {e}")
        if count is not None:
            faults.not_negative(f"{at}.succeededCount", count)
            if count > completions:
                text = f"must be less than or equal to {completions} (the number of specified completions)"
                faults.invalid(f"{at}.succeededCount", count, text)
            if indexes is not None and count > total:
                text = (
                    f"must be less than or equal to {total} (the number of indexes in the specified succeededIndexes "
                    "field)"
                )
                faults.invalid(f"{at}.succeededCount", count, text)


class IndexesError(ValueError):
    """A list of index intervals that cannot be understood."""


def parse_indexes(text: str, completions: int) -> list[tuple[int, int]]:
    """The intervals of ``1,3-5,7``, both ends included, all below `completions`. Raises `IndexesError`."""
    intervals: list[tuple[int, int]] = []
    for part in text.split(",") if text else ():
        first, last = parse_interval(part, completions)
        if intervals and intervals[-1][1] >= first:
            raise IndexesError(f"non-increasing order, previous: {intervals[-1][1]}, current: {first}")
        intervals.append((first, last))
    return intervals


def parse_interval(text: str, completions: int) -> tuple[int, int]:
    """One interval of `parse_indexes`."""
    ends = text.split("-")
    if len(ends) > 2:
        raise IndexesError(
            f"the fragment {json.dumps(text)} violates the requirement that an index interval can have at most two "
            "parts separated by '-'"
        )
    numbers = []
    for end in ends:
        digits = end.removeprefix("+")
        if not (digits.isascii() and digits.isdigit()) or len(digits) > 18:
            raise IndexesError(f"cannot convert string to integer for index: {json.dumps(end)}")
        numbers.append(int(digits))
        if numbers[-1] >= completions:
            raise IndexesError(f"too large index: {json.dumps(end)}")
    if len(numbers) == 2 and numbers[0] >= numbers[1]:
        raise IndexesError(f"non-increasing order, previous: {numbers[0]}, current: {numbers[1]}")
    return numbers[0], numbers[-1]
