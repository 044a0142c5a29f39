"""Validation of a whole PodSpec and of a PodTemplateSpec. Pure; every fault at once.

Source of rules and texts: ``pkg/apis/core/validation/validation.go``.
"""

from __future__ import annotations

from functools import lru_cache

from pybernetes.api import names
from pybernetes.api.kinds import labels
from pybernetes.api.kinds.amounts import amount, format_like, show
from pybernetes.api.kinds.faults import Faults, in_range
from pybernetes.api.kinds.podspec import containers, resources, scheduling, security, windows
from pybernetes.api.kinds.podspec.annotations import annotations_and_fields, pod_annotations
from pybernetes.api.kinds.podspec.defaults import POD_LEVEL_RESOURCES, aggregate
from pybernetes.api.kinds.podspec.volumes import volumes
from pybernetes.api.meta import Object, metadata

MAX_INT32 = 2**31 - 1
RESTART_POLICIES = ("Always", "OnFailure", "Never")
DNS_POLICIES = ("ClusterFirstWithHostNet", "ClusterFirst", "Default", "None")
_MAX_NAMESERVERS = 3
_MAX_SEARCH_PATHS = 32
_MAX_SEARCH_CHARACTERS = 2048
_MAX_HOSTNAME = 64

_subdomain = lru_cache(maxsize=4096)(lambda value: tuple(names.dns_subdomain(value)))


def pod_spec(faults: Faults, path: str, spec: Object, *, is_pod: bool, pod_name: str = "") -> None:
    """A PodSpec. `pod_name` names the PVCs of ephemeral volumes, empty inside a template."""
    grace = spec.get("terminationGracePeriodSeconds")
    if grace is None:
        faults.required(f"{path}.terminationGracePeriodSeconds")
    claims = spec.get("resourceClaims") or []
    found = volumes(faults, f"{path}.volumes", spec["volumes"], pod_name, is_pod=is_pod) if spec.get("volumes") else {}
    if claims:
        _resource_claims(faults, f"{path}.resourceClaims", claims)
    pod = containers.PodContext(
        volumes=found,
        claim_names=frozenset(c["name"] for c in claims if c.get("name")),
        grace_period_seconds=grace,
        restart_policy=spec.get("restartPolicy") or "",
        host_users=spec.get("hostUsers") is not False,
        is_pod=is_pod,
    )
    regular = spec.get("containers") or []
    init = spec.get("initContainers") or []
    containers.containers(faults, f"{path}.containers", regular, pod)
    if init:
        containers.init_containers(faults, f"{path}.initContainers", init, regular, pod)
    if spec.get("ephemeralContainers"):
        containers.ephemeral_containers(
            faults, f"{path}.ephemeralContainers", spec["ephemeralContainers"], [*regular, *init], pod
        )
    if spec.get("resources"):
        _pod_resources(faults, f"{path}.resources", spec)
    if spec.get("hostNetwork"):
        _host_ports(faults, path, regular, is_pod)
    policy = spec.get("restartPolicy")
    if policy not in RESTART_POLICIES:
        faults.one_of(f"{path}.restartPolicy", policy, RESTART_POLICIES)
    dns = spec.get("dnsPolicy")
    if dns not in DNS_POLICIES:
        faults.one_of(f"{path}.dnsPolicy", dns, DNS_POLICIES)
    if spec.get("nodeSelector"):
        labels.label_map(faults, f"{path}.nodeSelector", spec["nodeSelector"])
    context = spec.get("securityContext")
    if context or spec.get("shareProcessNamespace"):
        security.pod_security_context(faults, f"{path}.securityContext", context or {}, spec)
    if spec.get("affinity"):
        scheduling.affinity(faults, f"{path}.affinity", spec["affinity"])
    if spec.get("dnsConfig") is not None or dns == "None":
        _dns_config(faults, f"{path}.dnsConfig", spec.get("dnsConfig"), dns or "")
    for i, gate in enumerate(spec.get("readinessGates") or ()):
        kind = gate.get("conditionType") or ""
        faults.each(f"{path}.readinessGates[{i}].conditionType", kind, names.qualified_name(kind))
    if spec.get("schedulingGates"):
        scheduling.scheduling_gates(faults, f"{path}.schedulingGates", spec["schedulingGates"])
    if spec.get("topologySpreadConstraints"):
        scheduling.topology_spread_constraints(
            faults, f"{path}.topologySpreadConstraints", spec["topologySpreadConstraints"]
        )
    if _has_windows_options(spec, context, regular, init):
        windows.host_process(faults, path, spec)
    if spec.get("hostUsers") is False:
        for name, shown in (("hostNetwork", "hostNetwork"), ("hostPID", "HostPID"), ("hostIPC", "HostIPC")):
            if spec.get(name):
                faults.forbidden(f"{path}.{shown}", "when `pod.Spec.HostUsers` is false")
    for name in ("serviceAccountName", "nodeName"):
        if spec.get(name):
            faults.each(f"{path}.{name}", spec[name], _subdomain(spec[name]))
    deadline = spec.get("activeDeadlineSeconds")
    if deadline is not None and not 1 <= deadline <= MAX_INT32:
        faults.invalid(f"{path}.activeDeadlineSeconds", deadline, in_range(1, MAX_INT32))
    for name in ("hostname", "subdomain"):
        if spec.get(name):
            faults.each(f"{path}.{name}", spec[name], names.dns_label(spec[name]))
    if spec.get("hostnameOverride") is not None:
        _hostname_override(faults, path, spec)
    if spec.get("tolerations"):
        scheduling.tolerations(faults, f"{path}.tolerations", spec["tolerations"])
    for i, alias in enumerate(spec.get("hostAliases") or ()):
        ip = alias.get("ip") or ""
        faults.each(f"{path}.hostAliases[{i}].ip", ip, names.is_ip(ip))
        for j, host in enumerate(alias.get("hostnames") or ()):
            faults.each(f"{path}.hostAliases[{i}].hostnames[{j}]", host, names.dns_subdomain(host))
    if spec.get("priorityClassName"):
        faults.each(f"{path}.priorityClassName", spec["priorityClassName"], _subdomain(spec["priorityClassName"]))
    runtime_class = spec.get("runtimeClassName")
    if runtime_class is not None:
        faults.each(f"{path}.runtimeClassName", runtime_class, _subdomain(runtime_class))
    preemption = spec.get("preemptionPolicy")
    if preemption is not None and preemption not in ("PreemptLowerPriority", "Never"):
        faults.one_of(f"{path}.preemptionPolicy", preemption, ("PreemptLowerPriority", "Never"))
    if spec.get("overhead"):
        resources.requirements(faults, f"{path}.overhead", {"limits": spec["overhead"]})
    if spec.get("os") is not None:
        _os(faults, path, spec)


def _has_windows_options(spec: Object, context: Object | None, regular: list[Object], init: list[Object]) -> bool:
    """Whether any security context speaks of Windows: of nearly no pod's."""
    if context and context.get("windowsOptions"):
        return True
    for container in (*regular, *init, *(spec.get("ephemeralContainers") or ())):
        own = container.get("securityContext")
        if own and own.get("windowsOptions"):
            return True
    return False


def _hostname_override(faults: Faults, path: str, spec: Object) -> None:
    """The pod's hostname, whole (KEP-4762)."""
    at, value = f"{path}.hostnameOverride", spec["hostnameOverride"]
    if len(value) > _MAX_HOSTNAME:
        faults.too_long(at, _MAX_HOSTNAME)
    faults.each(at, value, names.dns_subdomain(value))
    if spec.get("hostNetwork"):
        faults.forbidden(at, "may not be set when hostNetwork is true")
    if spec.get("setHostnameAsFQDN"):
        faults.forbidden(at, "may not be set when setHostnameAsFQDN is true")


def pod_template(faults: Faults, path: str, template: Object) -> None:
    """A PodTemplateSpec with its labels and annotations."""
    meta, spec = metadata(template), template.get("spec") or {}
    labels.label_map(faults, f"{path}.labels", meta.get("labels"))
    labels.annotation_map(faults, f"{path}.annotations", meta.get("annotations"))
    pod_annotations(faults, f"{path}.annotations", meta.get("annotations"), spec)
    pod_spec(faults, f"{path}.spec", spec, is_pod=False)
    annotations_and_fields(faults, f"{path}.spec", meta.get("annotations"), spec)
    if spec.get("ephemeralContainers"):
        faults.forbidden(f"{path}.spec.ephemeralContainers", "ephemeral containers not allowed in pod template")


def _host_ports(faults: Faults, path: str, items: list[Object], is_pod: bool) -> None:
    for i, container in enumerate(items):
        for j, port in enumerate(container.get("ports") or ()):
            host, number = port.get("hostPort") or 0, port.get("containerPort") or 0
            if (is_pod or host) and host != number:
                faults.invalid(
                    f"{path}.containers[{i}].ports[{j}].hostPort",
                    host,
                    "must match `containerPort` when `hostNetwork` is true",
                )


def _resource_claims(faults: Faults, path: str, claims: list[Object]) -> None:
    seen: set[str] = set()
    for i, claim in enumerate(claims):
        at, name = f"{path}[{i}]", claim.get("name") or ""
        if not name:
            faults.required(f"{at}.name")
        elif name in seen:
            faults.duplicate(f"{at}.name", name)
        else:
            faults.each(f"{at}.name", name, names.dns_label(name))
            seen.add(name)
        direct, template = claim.get("resourceClaimName"), claim.get("resourceClaimTemplateName")
        if direct is not None and template is not None:
            faults.invalid(
                at, claim, "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified"
            )
        if direct is None and template is None:
            faults.invalid(at, claim, "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`")
        for field, value in (("resourceClaimName", direct), ("resourceClaimTemplateName", template)):
            if value is not None:
                faults.each(f"{at}.{field}", value, names.dns_subdomain(value))


def _pod_resources(faults: Faults, path: str, spec: Object) -> None:
    own: Object = spec["resources"]
    if own.get("claims") is not None:
        faults.forbidden(f"{path}.claims", "claims cannot be set for Resources at pod-level")
    resources.requirements(faults, path, own, name_check=resources.pod_resource_name)
    requests, limits = own.get("requests") or {}, own.get("limits") or {}
    for name, (total, text) in aggregate(spec, "requests").items():
        if name not in POD_LEVEL_RESOURCES and not name.startswith(resources.HUGE_PAGES):
            continue
        have = amount(requests.get(name, "0"))
        if have is not None and total > have:
            faults.invalid(
                f"{path}.requests[{name}]",
                show(requests.get(name, "0")),
                f"must be greater than or equal to aggregate container requests of {format_like(total, text)}",
            )
    for i, container in enumerate(spec.get("containers") or ()):
        for name, text in ((container.get("resources") or {}).get("limits") or {}).items():
            limit, mine = amount(limits.get(name)), amount(text)
            if limit is not None and mine is not None and mine > limit:
                faults.invalid(
                    f"{path}.containers[{i}][{name}].limits",
                    show(text),
                    f"must be less than or equal to pod limits of {show(limits[name])}",
                )


def _dns_config(faults: Faults, path: str, config: Object | None, policy: str) -> None:
    if policy == "None":
        if config is None:
            faults.required(path, "must provide `dnsConfig` when `dnsPolicy` is None")
            return
        if not config.get("nameservers"):
            faults.required(f"{path}.nameservers", "must provide at least one DNS nameserver when `dnsPolicy` is None")
            return
    if config is None:
        return
    servers, searches = config.get("nameservers") or [], config.get("searches") or []
    if len(servers) > _MAX_NAMESERVERS:
        faults.invalid(f"{path}.nameservers", servers, f"must not have more than {_MAX_NAMESERVERS} nameservers")
    for i, server in enumerate(servers):
        faults.each(f"{path}.nameservers[{i}]", server, names.is_ip(server))
    if len(searches) > _MAX_SEARCH_PATHS:
        faults.invalid(f"{path}.searches", searches, f"must not have more than {_MAX_SEARCH_PATHS} search paths")
    if len(" ".join(searches)) > _MAX_SEARCH_CHARACTERS:
        faults.invalid(
            f"{path}.searches",
            searches,
            f"must not have more than {_MAX_SEARCH_CHARACTERS} characters (including spaces) in the search list",
        )
    for i, search in enumerate(searches):
        if search != ".":
            domain = search.removesuffix(".")
            faults.each(f"{path}.searches[{i}]", domain, names.dns_subdomain_with_underscore(domain))
    for i, option in enumerate(config.get("options") or ()):
        if not option.get("name"):
            faults.required(f"{path}.options[{i}]", "must not be empty")


def _os(faults: Faults, path: str, spec: Object) -> None:
    name = spec["os"].get("name")
    if not name:
        faults.required(f"{path}.os.name", "cannot be empty")
    elif name == "linux":
        windows.linux_pod(faults, path, spec)
    elif name == "windows":
        windows.windows_pod(faults, path, spec)
    else:
        faults.not_supported(f"{path}.os", name, ("linux", "windows"))
