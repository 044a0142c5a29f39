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
from pybernetes.api.kinds.strategy import Strategy
from pybernetes.api.meta import Object

WEBHOOK_TIMEOUT_SECONDS = 10
_FAILURE_POLICIES = ("Fail", "Ignore")
_MATCH_POLICIES = ("Equivalent", "Exact")
_OPERATIONS = ("*", "CONNECT", "CREATE", "DELETE", "UPDATE")
_SCOPES = ("*", "Cluster", "Namespaced")
_REVIEW_VERSIONS = ("v1", "v1beta1")


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
            if name and name in seen:
                faults.duplicate(f"{at}.name", name)
            seen.add(name)
        return faults

    def _webhook(self, faults: Faults, path: str, webhook: Object) -> None:
        name = webhook.get("name") or ""
        if not name:
            faults.required(f"{path}.name")
        else:
            faults.each(f"{path}.name", name, names.dns_subdomain(name))
            if len(name.split(".")) < 3:
                faults.invalid(
                    f"{path}.name", name, "should be a domain with at least three segments separated by dots"
                )
        rules(faults, f"{path}.rules", webhook.get("rules") or [])
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
        if self._mutating and again is not None and again not in ("IfNeeded", "Never"):
            faults.not_supported(f"{path}.reinvocationPolicy", again, ("IfNeeded", "Never"))
        _review_versions(faults, f"{path}.admissionReviewVersions", webhook.get("admissionReviewVersions") or [])
        _client_config(faults, f"{path}.clientConfig", webhook.get("clientConfig") or {})
        conditions = webhook.get("matchConditions") or []
        _match_conditions(faults, f"{path}.matchConditions", conditions)
        expressions.conditions(faults, f"{path}.matchConditions", conditions)


def _review_versions(faults: Faults, path: str, versions: list[str]) -> None:
    if not versions:
        faults.required(path, f"must specify one of {', '.join(_REVIEW_VERSIONS)}")
        return
    for i, version in enumerate(versions):
        if version in versions[:i]:
            faults.invalid(f"{path}[{i}]", version, "duplicate version")
        for message in names.dns1035_label(version):
            faults.invalid(f"{path}[{i}]", version, message)
    if not any(version in _REVIEW_VERSIONS for version in versions):
        faults.invalid(path, versions, f"must include at least one of {', '.join(_REVIEW_VERSIONS)}")


def _client_config(faults: Faults, path: str, config: Object) -> None:
    url, service = config.get("url"), config.get("service")
    if (url is None) == (service is None):
        faults.required(path, "exactly one of url or service is required")
    elif url is not None:
        _url(faults, f"{path}.url", url)
    elif service is not None:
        for field in ("name", "namespace"):
            if not service.get(field):
                faults.required(f"{path}.service.{field}", f"service {field} is required")
        port = service.get("port") or 0
        for message in names.port_number(port):
            faults.invalid(f"{path}.service.port", port, f"port is not valid: {message}")
        where = service.get("path")
        if where is not None and not where.startswith("/"):
            faults.invalid(f"{path}.service.path", where, "must start with a '/'")


def _url(faults: Faults, path: str, url: str) -> None:
    form = "; desired format: https://host[/path]"
    if not url.startswith("https://"):
        faults.invalid(
            path, url.partition("://")[0] if "://" in url else "", f"'https' is the only allowed URL scheme{form}"
        )
        return
    rest = url.removeprefix("https://")
    host = rest.partition("/")[0]
    if not host:
        faults.invalid(path, host, f"host must be specified{form}")
    if "@" in host:
        faults.invalid(path, host.partition("@")[0], "user information is not permitted in the URL")
    if "#" in rest:
        faults.invalid(path, rest.partition("#")[2], "fragments are not permitted in the URL")
    if "?" in rest:
        faults.invalid(path, rest.partition("?")[2], "query parameters are not permitted in the URL")


def rules(faults: Faults, path: str, items: list[Object]) -> None:
    """RuleWithOperations of webhooks and policies."""
    for i, rule in enumerate(items):
        at = f"{path}[{i}]"
        operations = rule.get("operations") or []
        if not operations:
            faults.required(f"{at}.operations")
        if len(operations) > 1 and "*" in operations:
            faults.invalid(f"{at}.operations", operations, "if '*' is present, must not specify other operations")
        for j, operation in enumerate(operations):
            if operation not in _OPERATIONS:
                faults.not_supported(f"{at}.operations[{j}]", operation, _OPERATIONS)
        for field, text in (("apiGroups", "apiGroups"), ("apiVersions", "apiVersions"), ("resources", "resources")):
            values = rule.get(field) or []
            if not values:
                faults.required(f"{at}.{field}")
            if len(values) > 1 and "*" in values and field != "resources":
                faults.invalid(f"{at}.{field}", values, f"if '*' is present, must not specify other {_PLURAL[text]}")
            for j, value in enumerate(values):
                if not value and field != "apiGroups":
                    faults.required(f"{at}.{field}[{j}]")
        scope = rule.get("scope")
        if scope is not None and scope not in _SCOPES:
            faults.not_supported(f"{at}.scope", scope, _SCOPES)


_PLURAL = {"apiGroups": "API groups", "apiVersions": "API versions", "resources": "resources"}


def _match_conditions(faults: Faults, path: str, conditions: list[Object]) -> None:
    if len(conditions) > 64:
        faults.too_many(path, len(conditions), 64)
    seen: set[str] = set()
    for i, condition in enumerate(conditions):
        at, name = f"{path}[{i}]", condition.get("name") or ""
        if not (condition.get("expression") or "").strip():
            faults.required(f"{at}.expression")
        if not name:
            faults.required(f"{at}.name")
            continue
        faults.each(f"{at}.name", name, names.qualified_name(name))
        if name in seen:
            faults.duplicate(f"{at}.name", name)
        seen.add(name)


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
        constraints = spec.get("matchConstraints")
        if spec.get("failurePolicy") not in _FAILURE_POLICIES:
            faults.one_of("spec.failurePolicy", spec.get("failurePolicy"), _FAILURE_POLICIES)
        kind = spec.get("paramKind")
        if kind is not None:
            for field in ("apiVersion", "kind"):
                if not kind.get(field):
                    faults.required(f"spec.paramKind.{field}")
        if constraints is None:
            faults.required("spec.matchConstraints")
        else:
            if not constraints.get("resourceRules"):
                faults.required("spec.matchConstraints.resourceRules")
            _matching(faults, "spec.matchConstraints", constraints)
        _match_conditions(faults, "spec.matchConditions", spec.get("matchConditions") or [])
        expressions.policy(faults, spec)
        if self.resource.kind.startswith("Mutating"):
            self._mutations(faults, spec)
        else:
            self._validations(faults, spec)
        return faults

    @staticmethod
    def _validations(faults: Faults, spec: Object) -> None:
        if not spec.get("validations") and not spec.get("auditAnnotations"):
            faults.required("spec.validations", "validations or auditAnnotations must be defined")
        for i, validation in enumerate(spec.get("validations") or ()):
            at = f"spec.validations[{i}]"
            if not (validation.get("expression") or "").strip():
                faults.required(f"{at}.expression", "expression is not specified")
            message, reason = validation.get("message"), validation.get("reason")
            if message is not None and message and not message.strip():
                faults.invalid(f"{at}.message", message, "message must be non-empty if specified")
            reasons = ("Forbidden", "Invalid", "RequestEntityTooLarge", "Unauthorized")
            if reason is not None and reason not in reasons:
                faults.not_supported(f"{at}.reason", reason, reasons)

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


def _default_matching(matching: Object) -> None:
    if matching.get("matchPolicy") is None:
        matching["matchPolicy"] = "Equivalent"
    for name in ("namespaceSelector", "objectSelector"):
        if matching.get(name) is None:
            matching[name] = {}
    for name in ("resourceRules", "excludeResourceRules"):
        _default_rules(matching.get(name))


def _matching(faults: Faults, path: str, matching: Object) -> None:
    for field in ("namespaceSelector", "objectSelector"):
        label_selector(faults, f"{path}.{field}", matching.get(field))
    for field in ("resourceRules", "excludeResourceRules"):
        rules(faults, f"{path}.{field}", matching.get(field) or [])
    policy = matching.get("matchPolicy")
    if policy is not None and policy not in _MATCH_POLICIES:
        faults.not_supported(f"{path}.matchPolicy", policy, _MATCH_POLICIES)


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
        else:
            faults.each("spec.policyName", policy, names.dns_subdomain(policy))
        reference = spec.get("paramRef")
        if reference is not None:
            name, selector = reference.get("name"), reference.get("selector")
            if name and selector is not None:
                faults.forbidden("spec.paramRef.name", "name and selector are mutually exclusive")
            elif not name and selector is None:
                faults.required("spec.paramRef", "one of name or selector must be specified")
            action = reference.get("parameterNotFoundAction")
            if action not in ("Allow", "Deny"):
                faults.one_of("spec.paramRef.parameterNotFoundAction", action, ("Deny", "Allow"))
        if spec.get("matchResources") is not None:
            _matching(faults, "spec.matchResources", spec["matchResources"])
        if self.resource.kind.startswith("Validating"):
            self._actions(faults, spec.get("validationActions") or [])
        return faults

    @staticmethod
    def _actions(faults: Faults, actions: list[str]) -> None:
        at, supported = "spec.validationActions", ("Audit", "Deny", "Warn")
        if not actions:
            faults.required(at, "at least one validation action is required")
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
