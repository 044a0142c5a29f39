"""Pods: what Windows, annotations and overlapping paths add to the rules; warnings; statuses."""

from __future__ import annotations

from typing import Any

import pytest

from pybernetes.api import resources as r
from pybernetes.api.meta import Object
from pybernetes.api.resources import Resource
from tests.unit.api.kinds.build import changed, faults, pod, stated, warned

WEB: Object = {"name": "web", "image": "nginx:1.25"}
PROFILES = "container.apparmor.security.beta.kubernetes.io"


def with_web(**fields: Any) -> Object:
    return pod(containers=[{**WEB, **fields}])


def annotated(key: str, value: str, **spec: Any) -> Object:
    obj = pod(**spec)
    obj["metadata"]["annotations"] = {key: value}
    return obj


def with_volume(**source: Any) -> Object:
    return pod(volumes=[{"name": "v", **source}])


@pytest.mark.parametrize(
    ("resource", "obj", "errors"),
    [
        (
            r.PODS,
            pod(os={"name": "windows"}, hostPID=True, securityContext={"runAsUser": 1, "seLinuxOptions": {}}),
            [
                "spec.securityContext.seLinuxOptions: Forbidden: cannot be set for a windows pod",
                "spec.hostPID: Forbidden: cannot be set for a windows pod",
                "spec.securityContext.runAsUser: Forbidden: cannot be set for a windows pod",
            ],
        ),
        (
            r.PODS,
            pod(os={"name": "linux"}, securityContext={"windowsOptions": {"runAsUserName": "a"}}),
            [
                "spec.securityContext.windowsOptions: Forbidden: windows options cannot be set for a linux pod",
            ],
        ),
        (
            r.PODS,
            with_web(securityContext={"windowsOptions": {"hostProcess": True}}),
            [
                "spec.hostNetwork: Invalid value: false: hostNetwork must be true if pod contains any hostProcess "
                "containers",
            ],
        ),
        (
            r.PODS,
            pod(securityContext={"windowsOptions": {"gmsaCredentialSpec": "", "runAsUserName": ""}}),
            [
                'spec.securityContext.windowsOptions.gmsaCredentialSpec: Invalid value: "": gmsaCredentialSpec '
                "cannot be an empty string",
                'spec.securityContext.windowsOptions.runAsUserName: Invalid value: "": runAsUserName cannot be an '
                "empty string",
            ],
        ),
        (
            r.PODS,
            pod(os={"name": "plan9"}),
            [
                'spec.os: Unsupported value: "plan9": supported values: "linux", "windows"',
            ],
        ),
        (
            r.PODS,
            pod(os={"name": ""}),
            [
                "spec.os.name: Required value: cannot be empty",
            ],
        ),
    ],
)
def test_windows(resource: Resource, obj: Object, errors: list[str]) -> None:
    assert faults(resource, obj) == errors


@pytest.mark.parametrize(
    ("resource", "obj", "errors"),
    [
        (r.PODS, annotated("controller.kubernetes.io/pod-deletion-cost", "-7"), []),
        (
            r.PODS,
            annotated("controller.kubernetes.io/pod-deletion-cost", "+1"),
            [
                'metadata.annotations[controller.kubernetes.io/pod-deletion-cost]: Invalid value: "+1": must be a '
                "32bit integer",
            ],
        ),
        (
            r.PODS,
            annotated("kubernetes.io/config.mirror", "x"),
            [
                'metadata.annotations[kubernetes.io/config.mirror]: Invalid value: "x": must set spec.nodeName if '
                "mirror pod annotation is set",
            ],
        ),
        (
            r.PODS,
            annotated(f"{PROFILES}/nope", "runtime/default"),
            [
                'metadata.annotations[container.apparmor.security.beta.kubernetes.io/nope]: Invalid value: "nope": '
                "container not found",
            ],
        ),
        (
            r.PODS,
            annotated(f"{PROFILES}/web", "bad"),
            [
                'metadata.annotations[container.apparmor.security.beta.kubernetes.io/web]: Invalid value: "bad": '
                'invalid AppArmor profile name: "bad"',
            ],
        ),
    ],
)
def test_annotations(resource: Resource, obj: Object, errors: list[str]) -> None:
    assert faults(resource, obj) == errors


@pytest.mark.parametrize(
    ("resource", "obj", "errors"),
    [
        (
            r.PODS,
            pod(containers=[]),
            [
                "spec.containers: Required value",
            ],
        ),
        (
            r.PODS,
            pod(containers=[WEB, WEB]),
            [
                'spec.containers[1].name: Duplicate value: "web"',
            ],
        ),
        (
            r.PODS,
            pod(restartPolicy="Sometimes", dnsPolicy="x"),
            [
                'spec.restartPolicy: Unsupported value: "Sometimes": supported values: "Always", "OnFailure", "Never"',
                'spec.dnsPolicy: Unsupported value: "x": supported values: "ClusterFirstWithHostNet", '
                '"ClusterFirst", "Default", "None"',
            ],
        ),
        (
            r.PODS,
            pod(activeDeadlineSeconds=0, hostname="A", subdomain="b.c"),
            [
                "spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive",
                'spec.hostname: Invalid value: "A": a lowercase RFC 1123 label must consist of lower case '
                "alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. "
                "'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')",
                'spec.subdomain: Invalid value: "b.c": must not contain dots',
            ],
        ),
        (
            r.PODS,
            pod(hostUsers=False, hostNetwork=True),
            [
                "spec.hostNetwork: Forbidden: when `pod.Spec.HostUsers` is false",
            ],
        ),
        (
            r.PODS,
            pod(nodeName="n", schedulingGates=[{"name": "example.com/gate"}]),
            [
                "spec.nodeName: Forbidden: cannot be set until all schedulingGates have been cleared",
            ],
        ),
        (
            r.PODS,
            pod(dnsPolicy="None"),
            [
                "spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None",
            ],
        ),
        (
            r.PODS,
            pod(hostAliases=[{"ip": "x", "hostnames": ["-"]}]),
            [
                'spec.hostAliases[0].ip: Invalid value: "x": must be a valid IP address, (e.g. 10.9.8.7 or '
                "2001:db8::ffff)",
                'spec.hostAliases[0].hostnames[0]: Invalid value: "-": a lowercase RFC 1123 subdomain must consist '
                "of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric "
                "character (e.g. 'example.com', regex used for validation is "
                "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
            ],
        ),
        (
            r.PODS,
            pod(readinessGates=[{"conditionType": ""}]),
            [
                'spec.readinessGates[0].conditionType: Invalid value: "": name part must be non-empty',
                'spec.readinessGates[0].conditionType: Invalid value: "": name part must consist of alphanumeric '
                "characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. "
                "'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
                "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')",
            ],
        ),
        (
            r.PODS,
            pod(
                tolerations=[
                    {"operator": "Exists", "key": "a", "value": "b"},
                    {"effect": "NoSchedule", "tolerationSeconds": 1},
                ]
            ),
            [
                "spec.tolerations[0].operator: Invalid value: \"b\": value must be empty when `operator` is 'Exists'",
                'spec.tolerations[1].operator: Invalid value: "": operator must be Exists when `key` is empty, '
                'which means "match all values and all keys"',
                "spec.tolerations[1].effect: Invalid value: \"NoSchedule\": effect must be 'NoExecute' when "
                "`tolerationSeconds` is set",
            ],
        ),
        (
            r.PODS,
            pod(topologySpreadConstraints=[{"maxSkew": 0, "topologyKey": "", "whenUnsatisfiable": "x"}]),
            [
                "spec.topologySpreadConstraints[0].maxSkew: Invalid value: 0: must be greater than zero",
                "spec.topologySpreadConstraints[0].topologyKey: Required value: can not be empty",
                'spec.topologySpreadConstraints[0].whenUnsatisfiable: Unsupported value: "x": supported values: '
                '"DoNotSchedule", "ScheduleAnyway"',
            ],
        ),
    ],
)
def test_specs(resource: Resource, obj: Object, errors: list[str]) -> None:
    assert faults(resource, obj) == errors


@pytest.mark.parametrize(
    ("resource", "obj", "texts"),
    [
        (
            r.PODS,
            annotated("seccomp.security.alpha.kubernetes.io/pod", "runtime/default"),
            [
                "metadata.annotations[seccomp.security.alpha.kubernetes.io/pod]: non-functional in v1.27+; use the "
                '"seccompProfile" field instead',
            ],
        ),
        (
            r.PODS,
            pod(nodeSelector={"beta.kubernetes.io/os": "linux"}, terminationGracePeriodSeconds=-1),
            [
                'spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use "kubernetes.io/os" instead',
                "spec.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated "
                "as 1",
            ],
        ),
        (
            r.PODS,
            pod(imagePullSecrets=[{"name": ""}, {"name": ""}], hostAliases=[{"ip": "1.2.3.4"}, {"ip": "01.2.3.4"}]),
            [
                'spec.hostAliases[1].ip: non-standard IP address "01.2.3.4" will be considered invalid in a future '
                'Kubernetes release: use "1.2.3.4"',
                'spec.imagePullSecrets[1].name: duplicate name ""',
                'spec.imagePullSecrets[0].name: invalid empty name ""',
                'spec.imagePullSecrets[1].name: invalid empty name ""',
            ],
        ),
        (
            r.PODS,
            with_web(env=[{"name": "A", "value": "1"}, {"name": "A", "value": "$(A)2"}, {"name": "A", "value": "3"}]),
            [
                'spec.containers[0].env[2]: hides previous definition of "A", which may be dropped when using apply',
            ],
        ),
        (
            r.PODS,
            with_web(ports=[{"containerPort": 80}, {"containerPort": 80}, {"containerPort": 80, "hostPort": 8080}]),
            [
                "spec.containers[0].ports[1]: duplicate port definition with spec.containers[0].ports[0]",
                "spec.containers[0].ports[2]: overlapping port definition with spec.containers[0].ports[0]",
                "spec.containers[0].ports[2]: overlapping port definition with spec.containers[0].ports[1]",
            ],
        ),
        (
            r.PODS,
            with_web(resources={"requests": {"memory": "1m"}}),
            [
                'spec.containers[0].resources.requests[memory]: fractional byte value "1m" is invalid, must be an '
                "integer",
            ],
        ),
        (
            r.PODS,
            with_volume(gitRepo={"repository": "r"}),
            [
                "spec.volumes[0].gitRepo: deprecated in v1.11, and disabled by default in v1.33+",
            ],
        ),
        (
            r.PODS,
            with_volume(
                projected={
                    "sources": [
                        {"configMap": {"name": "a", "items": [{"key": "k", "path": "x/y"}]}},
                        {"secret": {"name": "b", "items": [{"key": "k", "path": "x"}]}},
                    ]
                }
            ),
            [
                'volume "v" (Projected): overlapping paths: "x" (Secret "b") with "x/y" (ConfigMap "a")',
            ],
        ),
        (
            r.PODS,
            with_volume(secret={"secretName": "s", "items": [{"key": "a", "path": "p"}, {"key": "b", "path": "p/"}]}),
            [
                'volume "v" (Secret "s"): overlapping paths: "p" with "p"',
            ],
        ),
        (
            r.PODS,
            pod(
                affinity={
                    kind: {
                        "requiredDuringSchedulingIgnoredDuringExecution": [
                            {"topologyKey": "zone", "labelSelector": {}},
                            {"topologyKey": "zone"},
                        ],
                        "preferredDuringSchedulingIgnoredDuringExecution": [
                            {"weight": 1, "podAffinityTerm": {"topologyKey": "zone"}},
                        ],
                    }
                    for kind in ("podAffinity", "podAntiAffinity")
                }
            ),
            [
                f"spec.affinity.{kind}.{term}: a null labelSelector results in matching no pod"
                for kind in ("podAffinity", "podAntiAffinity")
                for term in (
                    "requiredDuringSchedulingIgnoredDuringExecution[1].labelSelector",
                    "preferredDuringSchedulingIgnoredDuringExecution[0].podAffinityTerm.labelSelector",
                )
            ],
        ),
    ],
)
def test_warnings(resource: Resource, obj: Object, texts: list[str]) -> None:
    assert warned(resource, obj) == texts


@pytest.mark.parametrize(
    ("resource", "old", "new", "errors"),
    [
        (r.PODS, pod(), with_web(image="nginx:1.26"), []),
        (r.PODS, pod(), pod(hostNetwork=False), []),
        (
            r.PODS,
            pod(),
            with_web(image=" "),
            [
                'spec.containers[0].image: Invalid value: " ": must not have leading or trailing whitespace',
                'spec.containers[0].image: Invalid value: " ": must not have leading or trailing whitespace',
            ],
        ),
        (
            r.PODS,
            pod(activeDeadlineSeconds=5),
            pod(activeDeadlineSeconds=9),
            [
                "spec.activeDeadlineSeconds: Invalid value: 9: must be less than or equal to previous value",
            ],
        ),
        (
            r.PODS,
            pod(activeDeadlineSeconds=5),
            pod(),
            [
                'spec.activeDeadlineSeconds: Invalid value: "null": must not update from a positive integer to nil '
                "value",
            ],
        ),
        (
            r.PODS,
            pod(tolerations=[{"key": "a", "operator": "Exists"}]),
            pod(),
            [
                "spec.tolerations: Forbidden: existing toleration can not be modified except its tolerationSeconds",
            ],
        ),
        (
            r.PODS,
            pod(),
            pod(schedulingGates=[{"name": "a"}]),
            [
                "spec.schedulingGates[0].name: Forbidden: only deletion is allowed, but found new scheduling gate 'a'",
            ],
        ),
    ],
)
def test_updates(resource: Resource, old: Object, new: Object, errors: list[str]) -> None:
    assert changed(resource, old, new) == errors


@pytest.mark.parametrize(
    ("resource", "obj", "status", "errors"),
    [
        (
            r.PODS,
            pod(),
            {"phase": "Running", "podIP": "x", "podIPs": [{"ip": "x"}]},
            [
                'status.podIPs[0]: Invalid value: "x": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)',
            ],
        ),
        (
            r.PODS,
            pod(),
            {"conditions": [{"type": "Ready", "status": "x"}], "nominatedNodeName": "A"},
            [
                'status.nominatedNodeName: Invalid value: "A": a lowercase RFC 1123 subdomain must consist of '
                "lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric "
                "character (e.g. 'example.com', regex used for validation is "
                "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
            ],
        ),
    ],
)
def test_statuses(resource: Resource, obj: Object, status: Object, errors: list[str]) -> None:
    assert stated(resource, obj, status) == errors
