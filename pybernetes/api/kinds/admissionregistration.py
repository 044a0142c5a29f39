"""Webhook configurations and admission policies, with their bindings. Expressions are compiled by the API server.

Source of defaults, rules and texts: ``pkg/apis/admissionregistration``.
"""

from __future__ import annotations

from pybernetes.api import names
from pybernetes.api.field import FieldError
from pybernetes.api.kinds import expressions
from pybernetes.api.kinds.equality import semantic_equal
from pybernetes.api.kinds.faults import Faults
from pybernetes.api.kinds.labels import label_selector
from pybernetes.api.kinds.prefixed import fully_qualified_name
from pybernetes.api.kinds.strategy import Strategy
from pybernetes.api.kinds.webhookclients import client_config, review_versions
from pybernetes.api.meta import Object, name_of

WEBHOOK_TIMEOUT_SECONDS = 10
_FAILURE_POLICIES = ("Fail", "Ignore")
_MATCH_POLICIES = ("Equivalent", "Exact")
_OPERATIONS = ("*", "CONNECT", "CREATE", "DELETE", "UPDATE")
_SCOPES = ("*", "Cluster", "Namespaced")
_REINVOCATION = ("IfNeeded", "Never")
_REASONS = ("Forbidden", "Invalid", "RequestEntityTooLarge", "Unauthorized")
MAX_MATCH_CONDITIONS = 64
MAX_AUDIT_ANNOTATIONS = 20


def _default_rules(rules: list[Object] | None) -> None:
    for rule in rules or ():
        if rule.get("scope") is None:
            rule["scope"] = "*"


class WebhookConfigurationStrategy(Strategy):
    has_generation = True
    allow_unconditional_update = False

    @property
    def _mutating(self) -> bool:
        return self.resource.kind.startswith("Mutating")

    def default(self, obj: Object) -> None:
        for webhook in obj.get("webhooks") or ():
            if webhook.get("failurePolicy") is None:
                webhook["failurePolicy"] = "Fail"
            if webhook.get("matchPolicy") is None:
                webhook["matchPolicy"] = "Equivalent"
            for name in ("namespaceSelector", "objectSelector"):
                if webhook.get(name) is None:
                    webhook[name] = {}
            if webhook.get("timeoutSeconds") is None:
                webhook["timeoutSeconds"] = WEBHOOK_TIMEOUT_SECONDS
            if self._mutating and webhook.get("reinvocationPolicy") is None:
                webhook["reinvocationPolicy"] = "Never"
            _default_rules(webhook.get("rules"))
            service = (webhook.get("clientConfig") or {}).get("service")
            if service is not None and service.get("port") is None:
                service["port"] = 443

    def raises_generation(self, obj: Object, old: Object) -> bool:
        return not semantic_equal(obj.get("webhooks"), old.get("webhooks"))

    def validate_create(self, obj: Object) -> list[FieldError]:
        faults = Faults()
        seen: set[str] = set()
        for i, webhook in enumerate(obj.get("webhooks") or ()):
            at, name = f"webhooks[{i}]", webhook.get("name") or ""
            self._webhook(faults, at, webhook)
            review_versions(faults, f"{at}.admissionReviewVersions", webhook.get("admissionReviewVersions") or [])
            if name and name in seen:
                faults.duplicate(f"{at}.name", name)
            seen.add(name)
        return faults

    def _webhook(self, faults: Faults, path: str, webhook: Object) -> None:
        fully_qualified_name(faults, f"{path}.name", webhook.get("name") or "")
        for i, rule in enumerate(webhook.get("rules") or ()):
            _rule(faults, f"{path}.rules[{i}]", rule)
        for field, supported in (("failurePolicy", _FAILURE_POLICIES), ("matchPolicy", _MATCH_POLICIES)):
            value = webhook.get(field)
            if value is not None and value not in supported:
                faults.not_supported(f"{path}.{field}", value, supported)
        effects = webhook.get("sideEffects")
        if effects is None:
            faults.required(f"{path}.sideEffects", "must specify one of None, NoneOnDryRun")
        elif effects not in ("None", "NoneOnDryRun"):
            faults.not_supported(f"{path}.sideEffects", effects, ("None", "NoneOnDryRun"))
        timeout = webhook.get("timeoutSeconds")
        if timeout is not None and not 1 <= timeout <= 30:
            faults.invalid(f"{path}.timeoutSeconds", timeout, "the timeout value must be between 1 and 30 seconds")
        for field in ("namespaceSelector", "objectSelector"):
            label_selector(faults, f"{path}.{field}", webhook.get(field))
        again = webhook.get("reinvocationPolicy")
        if self._mutating and again is not None and again not in _REINVOCATION:
            faults.not_supported(f"{path}.reinvocationPolicy", again, _REINVOCATION)
        client_config(faults, f"{path}.clientConfig", webhook.get("clientConfig") or {})
        conditions = webhook.get("matchConditions") or []
        _match_conditions(faults, f"{path}.matchConditions", conditions)
        expressions.conditions(faults, f"{path}.matchConditions", conditions)


def _rule(faults: Faults, path: str, rule: Object) -> None:
    """A RuleWithOperations, of webhooks and policies."""
    operations = rule.get("operations") or []
    if not operations:
        faults.required(f"{path}.operations")
    if len(operations) > 1 and "*" in operations:
        faults.invalid(f"{path}.operations", operations, "if '*' is present, must not specify other operations")
    for i, operation in enumerate(operations):
        if operation not in _OPERATIONS:
            faults.not_supported(f"{path}.operations[{i}]", operation, _OPERATIONS)
    for field, what in (("apiGroups", "API groups"), ("apiVersions", "API versions")):
        values = rule.get(field) or []
        if not values:
            faults.required(f"{path}.{field}")
        if len(values) > 1 and "*" in values:
            faults.invalid(f"{path}.{field}", values, f"if '*' is present, must not specify other {what}")
        for i, value in enumerate(values):
            if not value and field == "apiVersions":
                faults.required(f"{path}.{field}[{i}]")
    _resources(faults, f"{path}.resources", rule.get("resources") or [])
    scope = rule.get("scope")
    if scope is not None and scope not in _SCOPES:
        faults.not_supported(f"{path}.scope", scope, _SCOPES)


def _resources(faults: Faults, path: str, resources: list[str]) -> None:
    """``pods``, ``pods/status``, ``pods/*``, ``*/scale``, ``*`` and ``*/*``: none may cover another."""
    if not resources:
        faults.required(path)
    whole: set[str] = set()
    everywhere: set[str] = set()
    plain = False
    for i, name in enumerate(resources):
        if not name:
            faults.required(f"{path}[{i}]")
            continue
        resource, slash, part = name.partition("/")
        if not slash:
            plain = name != "*"
            continue
        if resource in whole:
            faults.invalid(f"{path}[{i}]", name, f"if '{resource}/*' is present, must not specify {name}")
        if part in everywhere:
            faults.invalid(f"{path}[{i}]", name, f"if '*/{part}' is present, must not specify {name}")
        if part == "*":
            whole.add(resource)
        if resource == "*":
            everywhere.add(part)
    if len(resources) > 1 and "*/*" in resources:
        faults.invalid(path, resources, "if '*/*' is present, must not specify other resources")
    if "*" in resources and plain:
        faults.invalid(path, resources, "if '*' is present, must not specify other resources without subresources")


def _match_conditions(faults: Faults, path: str, conditions: list[Object]) -> None:
    if len(conditions) > MAX_MATCH_CONDITIONS:
        faults.too_many(path, len(conditions), MAX_MATCH_CONDITIONS)
    seen: set[str] = set()
    for i, condition in enumerate(conditions):
        at, name = f"{path}[{i}]", condition.get("name") or ""
        if _is_blank(condition.get("expression")):
            faults.required(f"{at}.expression")
        if not name:
            faults.required(f"{at}.name")
            continue
        faults.each(f"{at}.name", name, names.qualified_name(name))
        if name in seen:
            faults.duplicate(f"{at}.name", name)
        seen.add(name)


def _is_blank(text: str | None) -> bool:
    return not (text or "").strip()


class AdmissionPolicyStrategy(Strategy):
    """ValidatingAdmissionPolicy and MutatingAdmissionPolicy."""

    has_generation = True
    allow_unconditional_update = False

    def default(self, obj: Object) -> None:
        spec = obj.setdefault("spec", {})
        if spec.get("failurePolicy") is None:
            spec["failurePolicy"] = "Fail"
        if spec.get("matchConstraints") is not None:
            _default_matching(spec["matchConstraints"])

    def validate_create(self, obj: Object) -> list[FieldError]:
        faults = Faults()
        spec = obj.get("spec") or {}
        faults.one_of("spec.failurePolicy", spec.get("failurePolicy"), _FAILURE_POLICIES)
        if spec.get("paramKind") is not None:
            _param_kind(faults, "spec.paramKind", spec["paramKind"])
        constraints = spec.get("matchConstraints")
        if constraints is None:
            faults.required("spec.matchConstraints")
        else:
            _matching(faults, "spec.matchConstraints", constraints)
            if not constraints.get("resourceRules"):
                faults.required("spec.matchConstraints.resourceRules")
        _match_conditions(faults, "spec.matchConditions", spec.get("matchConditions") or [])
        expressions.policy(faults, spec)
        if self.resource.kind.startswith("Mutating"):
            self._mutations(faults, spec)
        else:
            self._validations(faults, name_of(obj), spec)
        return faults

    @staticmethod
    def _validations(faults: Faults, name: str, spec: Object) -> None:
        validations, annotations = spec.get("validations") or [], spec.get("auditAnnotations") or []
        if not validations and not annotations:
            for field in ("validations", "auditAnnotations"):
                faults.required(f"spec.{field}", "validations or auditAnnotations must contain at least one item")
            return
        for i, validation in enumerate(validations):
            _validation(faults, f"spec.validations[{i}]", validation)
        if len(annotations) > MAX_AUDIT_ANNOTATIONS:
            faults.invalid(
                "spec.auditAnnotations",
                annotations,
                f"must not have more than {MAX_AUDIT_ANNOTATIONS} auditAnnotations",
            )
        seen: set[str] = set()
        for i, annotation in enumerate(annotations):
            at, key = f"spec.auditAnnotations[{i}]", annotation.get("key") or ""
            faults.each(f"{at}.key", key, names.qualified_name(f"{name}/{key}" if name else key))
            if _is_blank(annotation.get("valueExpression")):
                faults.required(f"{at}.valueExpression", "valueExpression is not specified")
            if key in seen:
                faults.duplicate(f"{at}.key", key)
            seen.add(key)

    def validate_status_update(self, obj: Object, old: Object) -> list[FieldError]:
        faults = Faults()
        typed = (obj.get("status") or {}).get("typeChecking") or {}
        for i, warning in enumerate(typed.get("expressionWarnings") or ()):
            for field in ("fieldRef", "warning"):
                if not warning.get(field):
                    faults.required(f"status.typeChecking.expressionWarnings[{i}].{field}")
        return faults

    @staticmethod
    def _mutations(faults: Faults, spec: Object) -> None:
        if not spec.get("mutations"):
            faults.required("spec.mutations", "mutations must contain at least one item")
        if spec.get("reinvocationPolicy") not in ("IfNeeded", "Never"):
            faults.one_of("spec.reinvocationPolicy", spec.get("reinvocationPolicy"), ("IfNeeded", "Never"))
        for i, mutation in enumerate(spec.get("mutations") or ()):
            at, kind = f"spec.mutations[{i}]", mutation.get("patchType")
            if kind not in ("ApplyConfiguration", "JSONPatch"):
                faults.one_of(f"{at}.patchType", kind, ("ApplyConfiguration", "JSONPatch"))
                continue
            field = "applyConfiguration" if kind == "ApplyConfiguration" else "jsonPatch"
            if not ((mutation.get(field) or {}).get("expression") or "").strip():
                faults.required(f"{at}.{field}.expression", "expression is not specified")


def _param_kind(faults: Faults, path: str, reference: Object) -> None:
    api_version, kind = reference.get("apiVersion") or "", reference.get("kind") or ""
    at = f"{path}.apiVersion"
    if not api_version:
        faults.required(at)
    elif api_version.count("/") > 1:
        faults.invalid(at, api_version, f"unexpected GroupVersion string: {api_version}")
    else:
        group, _, version = api_version.rpartition("/")
        if group and (messages := names.dns_subdomain(group)):
            faults.invalid(at, group, ",".join(messages))
        if not version:
            faults.invalid(at, api_version, "version must be specified")
        elif messages := names.dns1035_label(version):
            faults.invalid(at, version, ",".join(messages))
    if not kind:
        faults.required(f"{path}.kind")
    elif messages := names.dns1035_label(kind.lower()):
        faults.invalid(f"{path}.kind", kind, "may have mixed case, but should otherwise match: " + ",".join(messages))


def _validation(faults: Faults, path: str, validation: Object) -> None:
    expression, message = (validation.get("expression") or "").strip(), validation.get("message") or ""
    if not expression:
        faults.required(f"{path}.expression", "expression is not specified")
    by_expression = validation.get("messageExpression")
    if by_expression and _is_blank(by_expression):
        faults.invalid(f"{path}.messageExpression", by_expression, "must be non-empty if specified")
    text = message.strip()
    if message and not text:
        faults.invalid(f"{path}.message", message, "message must be non-empty if specified")
    elif "\n" in text or "\r" in text:
        faults.invalid(f"{path}.message", message, "message must not contain line breaks")
    elif not text and ("\n" in expression or "\r" in expression):
        faults.required(f"{path}.message", "message must be specified if expression contains line breaks")
    reason = validation.get("reason")
    if reason is not None and reason not in _REASONS:
        faults.not_supported(f"{path}.reason", reason, _REASONS)


def _default_matching(matching: Object) -> None:
    if matching.get("matchPolicy") is None:
        matching["matchPolicy"] = "Equivalent"
    for name in ("namespaceSelector", "objectSelector"):
        if matching.get(name) is None:
            matching[name] = {}
    for name in ("resourceRules", "excludeResourceRules"):
        _default_rules(matching.get(name))


def _matching(faults: Faults, path: str, matching: Object) -> None:
    faults.one_of(f"{path}.matchPolicy", matching.get("matchPolicy"), _MATCH_POLICIES)
    for field in ("namespaceSelector", "objectSelector"):
        if matching.get(field) is None:
            faults.required(f"{path}.{field}")
        else:
            label_selector(faults, f"{path}.{field}", matching[field])
    for field in ("resourceRules", "excludeResourceRules"):
        for i, rule in enumerate(matching.get(field) or ()):
            at, names_seen = f"{path}.{field}[{i}]", set()
            for j, name in enumerate(rule.get("resourceNames") or ()):
                faults.each(f"{at}.resourceNames[{j}]", name, names.path_segment_name(name))
                if name in names_seen:
                    faults.duplicate(f"{at}.resourceNames[{j}]", name)
                names_seen.add(name)
            _rule(faults, at, rule)


class PolicyBindingStrategy(Strategy):
    """ValidatingAdmissionPolicyBinding and MutatingAdmissionPolicyBinding."""

    has_generation = True
    allow_unconditional_update = False

    def default(self, obj: Object) -> None:
        matching = obj.setdefault("spec", {}).get("matchResources")
        if matching is not None:
            _default_matching(matching)

    def validate_create(self, obj: Object) -> list[FieldError]:
        faults = Faults()
        spec = obj.get("spec") or {}
        policy = spec.get("policyName") or ""
        if not policy:
            faults.required("spec.policyName")
        faults.each("spec.policyName", policy, names.dns_subdomain(policy))
        if spec.get("paramRef") is not None:
            _param_ref(faults, "spec.paramRef", spec["paramRef"])
        if spec.get("matchResources") is not None:
            # The path is spelled so upstream.
            _matching(faults, "spec.matchResouces", spec["matchResources"])
        if self.resource.kind.startswith("Validating"):
            self._actions(faults, spec.get("validationActions") or [])
        return faults

    @staticmethod
    def _actions(faults: Faults, actions: list[str]) -> None:
        at, supported = "spec.validationActions", ("Audit", "Deny", "Warn")
        for i, action in enumerate(actions):
            if action not in supported:
                faults.not_supported(f"{at}[{i}]", action, supported)
            if action in actions[:i]:
                faults.duplicate(f"{at}[{i}]", action)
        if "Deny" in actions and "Warn" in actions:
            faults.invalid(
                at,
                actions,
                "must not contain both Deny and Warn (repeating the same validation failure information in the API "
                "response and headers serves no purpose)",
            )
        if not actions:
            faults.required(at, "at least one validation action is required")


def _param_ref(faults: Faults, path: str, reference: Object) -> None:
    name, selector = reference.get("name"), reference.get("selector")
    if name:
        faults.each(f"{path}.name", name, names.path_segment_name(name))
        if selector is not None:
            faults.forbidden(f"{path}.name", "name and selector are mutually exclusive")
    if selector is not None:
        label_selector(faults, f"{path}.selector", selector)
        if name:
            faults.forbidden(f"{path}.selector", "name and selector are mutually exclusive")
    if not name and selector is None:
        faults.required(path, "one of name or selector must be specified")
    faults.one_of(f"{path}.parameterNotFoundAction", reference.get("parameterNotFoundAction"), ("Allow", "Deny"))
