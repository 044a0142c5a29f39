"""Pods: what upstream fills in, and what it refuses with which words."""

from __future__ import annotations

import time
from typing import Any

import pytest

from pybernetes.api.errors import invalid
from pybernetes.api.kinds.podspec.defaults import pull_policy
from pybernetes.api.kinds.podspec.qos import compute_qos_class
from pybernetes.api.kinds.registry import strategy_for
from pybernetes.api.meta import clone
from pybernetes.api.resources import PODS
from tests.unit.api.kinds.build import created, faults, pod, status_faults, template

STRATEGY = strategy_for(PODS)


def container(**fields: Any) -> dict[str, Any]:
    return {"name": "web", "image": "nginx:1.25", **fields}


def test_defaults_of_the_smallest_pod() -> None:
    assert created(PODS, pod())["spec"] == {
        "containers": [
            {
                "name": "web",
                "image": "nginx:1.25",
                "resources": {},
                "terminationMessagePath": "/dev/termination-log",
                "terminationMessagePolicy": "File",
                "imagePullPolicy": "IfNotPresent",
            }
        ],
        "restartPolicy": "Always",
        "terminationGracePeriodSeconds": 30,
        "dnsPolicy": "ClusterFirst",
        "securityContext": {},
        "schedulerName": "default-scheduler",
        "enableServiceLinks": True,
    }


def test_status_at_creation() -> None:
    obj = pod()
    obj["status"] = {"phase": "Running", "podIP": "10.0.0.9"}
    assert created(PODS, obj)["status"] == {"phase": "Pending", "qosClass": "BestEffort"}


def test_a_gated_pod_says_so_in_its_status() -> None:
    (condition,) = created(PODS, pod(schedulingGates=[{"name": "example.com/quota"}]))["status"]["conditions"]
    assert (condition["type"], condition["status"], condition["reason"]) == (
        "PodScheduled",
        "False",
        "SchedulingGated",
    )


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("nginx", "Always"),
        ("nginx:latest", "Always"),
        ("nginx:1.25", "IfNotPresent"),
        ("localhost:5000/nginx", "Always"),
        ("localhost:5000/nginx:1", "IfNotPresent"),
        ("nginx@sha256:" + "a" * 64, "IfNotPresent"),
        ("nginx:latest@sha256:" + "a" * 64, "Always"),
    ],
)
def test_pull_policy_comes_from_the_tag(image: str, policy: str) -> None:
    assert pull_policy(image) == policy


def test_requests_default_to_limits_and_quantities_become_canonical() -> None:
    resources = {"limits": {"cpu": "1000m", "memory": "1024Mi"}, "requests": {"cpu": 0.25}}
    spec = created(PODS, pod(containers=[container(resources=resources)]))["spec"]
    assert spec["containers"][0]["resources"] == {
        "limits": {"cpu": "1", "memory": "1Gi"},
        "requests": {"cpu": "250m", "memory": "1Gi"},
    }


def test_a_template_gets_no_requests_and_no_service_links() -> None:
    from pybernetes.api.kinds.podspec.defaults import default_template

    obj = template(containers=[container(resources={"limits": {"cpu": "1"}})])
    default_template(obj)
    assert "requests" not in obj["spec"]["containers"][0]["resources"]
    assert "enableServiceLinks" not in obj["spec"]


def test_probe_defaults() -> None:
    probe = {"httpGet": {"port": 8080}}
    spec = created(PODS, pod(containers=[container(readinessProbe=probe)]))["spec"]
    assert spec["containers"][0]["readinessProbe"] == {
        "httpGet": {"port": 8080, "path": "/", "scheme": "HTTP"},
        "timeoutSeconds": 1,
        "periodSeconds": 10,
        "successThreshold": 1,
        "failureThreshold": 3,
    }


@pytest.mark.parametrize(
    ("volume", "defaulted"),
    [
        ({"name": "v"}, {"name": "v", "emptyDir": {}}),
        (
            {"name": "v", "secret": {"secretName": "s"}},
            {"name": "v", "secret": {"secretName": "s", "defaultMode": 420}},
        ),
        ({"name": "v", "hostPath": {"path": "/x"}}, {"name": "v", "hostPath": {"path": "/x", "type": ""}}),
        (
            {"name": "v", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}},
            {
                "name": "v",
                "projected": {
                    "sources": [{"serviceAccountToken": {"path": "token", "expirationSeconds": 3600}}],
                    "defaultMode": 420,
                },
            },
        ),
        (
            {"name": "v", "downwardAPI": {"items": [{"path": "l", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
            {
                "name": "v",
                "downwardAPI": {
                    "items": [{"path": "l", "fieldRef": {"fieldPath": "metadata.labels", "apiVersion": "v1"}}],
                    "defaultMode": 420,
                },
            },
        ),
    ],
)
def test_volume_defaults(volume: dict[str, Any], defaulted: dict[str, Any]) -> None:
    assert created(PODS, pod(volumes=[volume]))["spec"]["volumes"] == [defaulted]


def test_the_deprecated_service_account_is_an_alias() -> None:
    spec = created(PODS, pod(serviceAccount="builder"))["spec"]
    assert spec["serviceAccountName"] == spec["serviceAccount"] == "builder"


def test_host_network_gives_host_ports() -> None:
    spec = created(PODS, pod(hostNetwork=True, containers=[container(ports=[{"containerPort": 80}])]))["spec"]
    assert spec["containers"][0]["ports"] == [{"containerPort": 80, "protocol": "TCP", "hostPort": 80}]


def test_a_false_plain_field_is_left_out() -> None:
    spec = created(PODS, pod(hostNetwork=False, containers=[container(stdin=False, tty=True)]))["spec"]
    assert "hostNetwork" not in spec
    assert "stdin" not in spec["containers"][0]
    assert spec["containers"][0]["tty"] is True


LABEL = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with "
    "an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)


@pytest.mark.parametrize(
    ("spec", "errors"),
    [
        ({"containers": []}, ["spec.containers: Required value"]),
        ({"containers": [{"name": "web"}]}, ["spec.containers[0].image: Required value"]),
        (
            {"containers": [container(name="Web_1")]},
            [f'spec.containers[0].name: Invalid value: "Web_1": {LABEL}'],
        ),
        ({"containers": [container(), container()]}, ['spec.containers[1].name: Duplicate value: "web"']),
        (
            {"restartPolicy": "Sometimes"},
            [
                'spec.restartPolicy: Unsupported value: "Sometimes": supported values: "Always", "OnFailure", "Never"',
            ],
        ),
        (
            {"dnsPolicy": "None"},
            ["spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None"],
        ),
        (
            {"containers": [container(ports=[{"containerPort": 70000}])]},
            ["spec.containers[0].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive"],
        ),
        (
            {"containers": [container(ports=[{"containerPort": 80, "protocol": "tcp"}])]},
            ['spec.containers[0].ports[0].protocol: Unsupported value: "tcp": supported values: "SCTP", "TCP", "UDP"'],
        ),
        (
            {"containers": [container(volumeMounts=[{"name": "data", "mountPath": "/data"}])]},
            ['spec.containers[0].volumeMounts[0].name: Not found: "data"'],
        ),
        (
            {
                "containers": [
                    container(resources={"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}),
                ]
            },
            ['spec.containers[0].resources.requests: Invalid value: "2": must be less than or equal to cpu limit of 1'],
        ),
        (
            {"containers": [container(resources={"requests": {"cpu": "-1"}})]},
            ['spec.containers[0].resources.requests[cpu]: Invalid value: "-1": must be greater than or equal to 0'],
        ),
        (
            {"containers": [container(resources={"limits": {"gpu": "1"}})]},
            [
                'spec.containers[0].resources.limits[gpu]: Invalid value: "gpu": '
                "must be a standard resource type or fully qualified",
                'spec.containers[0].resources.limits[gpu]: Invalid value: "gpu": '
                "must be a standard resource for containers",
                'spec.containers[0].resources.requests[gpu]: Invalid value: "gpu": '
                "must be a standard resource type or fully qualified",
                'spec.containers[0].resources.requests[gpu]: Invalid value: "gpu": '
                "must be a standard resource for containers",
            ],
        ),
        (
            {"containers": [container(resources={"requests": {"example.com/gpu": "1"}})]},
            ["spec.containers[0].resources.limits: Required value: Limit must be set for non overcommitable resources"],
        ),
        (
            {"containers": [container(livenessProbe={"exec": {"command": ["a"]}, "successThreshold": 2})]},
            ["spec.containers[0].livenessProbe.successThreshold: Invalid value: 2: must be 1"],
        ),
        (
            {"containers": [container(livenessProbe={"periodSeconds": 5})]},
            ["spec.containers[0].livenessProbe: Required value: must specify a handler type"],
        ),
        (
            {"containers": [container(livenessProbe={"tcpSocket": {"port": 1}, "exec": {"command": ["a"]}})]},
            ["spec.containers[0].livenessProbe.tcpSocket: Forbidden: may not specify more than 1 handler type"],
        ),
        (
            {"containers": [container(env=[{"name": "A=B", "value": "x"}])]},
            [
                'spec.containers[0].env[0].name: Invalid value: "A=B": a valid environment variable name must consist '
                "only of printable ASCII characters other than '='"
            ],
        ),
        (
            {"containers": [container(env=[{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "spec.nope"}}}])]},
            [
                'spec.containers[0].env[0].valueFrom.fieldRef.fieldPath: Invalid value: "spec.nope": '
                "error converting fieldPath: field label not supported: spec.nope"
            ],
        ),
        (
            {
                "containers": [
                    container(env=[{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels"}}}])
                ]
            },
            [
                'spec.containers[0].env[0].valueFrom.fieldRef.fieldPath: Unsupported value: "metadata.labels": '
                'supported values: "metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", '
                '"spec.serviceAccountName", "status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs"'
            ],
        ),
        (
            {"volumes": [{"name": "a", "emptyDir": {}, "hostPath": {"path": "/x"}}]},
            ["spec.volumes[0].hostPath: Forbidden: may not specify more than 1 volume type"],
        ),
        (
            {"volumes": [{"name": "a", "configMap": {"name": "c", "items": [{"key": "k", "path": "../x"}]}}]},
            ["spec.volumes[0].configMap.items[0].path: Invalid value: \"../x\": must not contain '..'"],
        ),
        (
            {"tolerations": [{"operator": "Equal", "value": "x"}]},
            [
                'spec.tolerations[0].operator: Invalid value: "Equal": operator must be Exists when `key` is empty, '
                'which means "match all values and all keys"'
            ],
        ),
        (
            {"topologySpreadConstraints": [{"maxSkew": 0, "topologyKey": "zone", "whenUnsatisfiable": "Never"}]},
            [
                "spec.topologySpreadConstraints[0].maxSkew: Invalid value: 0: must be greater than zero",
                'spec.topologySpreadConstraints[0].whenUnsatisfiable: Unsupported value: "Never": '
                'supported values: "DoNotSchedule", "ScheduleAnyway"',
            ],
        ),
        (
            {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {}}}},
            [
                "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms: "
                "Required value: must have at least one node selector term"
            ],
        ),
        (
            {"activeDeadlineSeconds": 0},
            ["spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive"],
        ),
        (
            {"initContainers": [container(name="init", livenessProbe={"exec": {"command": ["a"]}})]},
            [
                "spec.initContainers[0].livenessProbe: Forbidden: "
                "may not be set for init containers without restartPolicy=Always"
            ],
        ),
        (
            {"ephemeralContainers": [{"name": "debug", "image": "busybox:1"}]},
            ["spec.ephemeralContainers: Forbidden: cannot be set on create"],
        ),
        (
            {"nodeName": "n1", "schedulingGates": [{"name": "example.com/g"}]},
            ["spec.nodeName: Forbidden: cannot be set until all schedulingGates have been cleared"],
        ),
        (
            {"securityContext": {"runAsUser": -1}},
            ["spec.securityContext.runAsUser: Invalid value: -1: must be between 0 and 2147483647, inclusive"],
        ),
        (
            {"hostAliases": [{"ip": "nope", "hostnames": ["a"]}]},
            [
                'spec.hostAliases[0].ip: Invalid value: "nope": must be a valid IP address, '
                "(e.g. 10.9.8.7 or 2001:db8::ffff)"
            ],
        ),
        (
            {
                "hostNetwork": True,
                "containers": [container(ports=[{"containerPort": 80, "hostPort": 8080}])],
            },
            [
                "spec.containers[0].ports[0].hostPort: Invalid value: 8080: "
                "must match `containerPort` when `hostNetwork` is true"
            ],
        ),
        (
            {"containers": [container(image=" nginx")]},
            ['spec.containers[0].image: Invalid value: " nginx": must not have leading or trailing whitespace'],
        ),
    ],
)
def test_refused(spec: dict[str, Any], errors: list[str]) -> None:
    assert faults(PODS, pod(**spec)) == errors


def test_all_faults_come_at_once() -> None:
    obj = pod(containers=[{"name": "a"}, {"name": "B", "image": "x:1"}], dnsPolicy="Nope")
    assert len(faults(PODS, obj)) == 3


def test_the_message_that_a_user_reads() -> None:
    obj = created(PODS, pod(containers=[{"name": "web"}]))
    error = invalid("", "Pod", "web", STRATEGY.validate_create(obj))
    assert error.message == 'Pod "web" is invalid: spec.containers[0].image: Required value'


def test_a_sidecar_may_have_probes_and_hooks() -> None:
    sidecar = container(
        name="log",
        restartPolicy="Always",
        startupProbe={"tcpSocket": {"port": 1}},
        lifecycle={"preStop": {"sleep": {"seconds": 5}}},
    )
    assert faults(PODS, pod(initContainers=[sidecar])) == []


def test_sleeping_longer_than_the_grace_period_is_refused() -> None:
    hook = container(lifecycle={"preStop": {"sleep": {"seconds": 31}}})
    assert faults(PODS, pod(containers=[hook])) == [
        "spec.containers[0].lifecycle.preStop.sleep: Invalid value: 31: "
        "must be non-negative and less than terminationGracePeriodSeconds (30)"
    ]


@pytest.mark.parametrize(
    ("resources", "qos"),
    [
        ([{}], "BestEffort"),
        ([{"requests": {"cpu": "1"}}], "Burstable"),
        ([{"limits": {"cpu": "1", "memory": "1Gi"}}], "Guaranteed"),
        ([{"limits": {"cpu": "1"}}], "Burstable"),
        ([{"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}}], "Burstable"),
        ([{"limits": {"cpu": "1", "memory": "1Gi"}}, {}], "Burstable"),
        ([{"requests": {"example.com/gpu": "1"}, "limits": {"example.com/gpu": "1"}}], "BestEffort"),
    ],
)
def test_qos_class(resources: list[dict[str, Any]], qos: str) -> None:
    items = [container(name=f"c{i}", resources=r) for i, r in enumerate(resources)]
    assert compute_qos_class(created(PODS, pod(containers=items))["spec"]) == qos


def test_pod_level_requests_default_from_containers_and_limits() -> None:
    obj = pod(
        resources={"limits": {"cpu": "2", "memory": "1Gi"}},
        containers=[container(resources={"requests": {"cpu": "500m"}})],
    )
    assert created(PODS, obj)["spec"]["resources"]["requests"] == {"cpu": "500m", "memory": "1Gi"}


def test_selectable_fields() -> None:
    obj = created(PODS, pod(nodeName="n1", hostNetwork=True, serviceAccountName="sa"))
    obj["status"]["podIP"] = "10.1.0.5"
    assert STRATEGY.selectable_fields(obj) == {
        "metadata.name": "web",
        "metadata.namespace": "default",
        "spec.nodeName": "n1",
        "spec.restartPolicy": "Always",
        "spec.schedulerName": "default-scheduler",
        "spec.serviceAccountName": "sa",
        "spec.hostNetwork": "true",
        "status.phase": "Pending",
        "status.podIP": "10.1.0.5",
        "status.nominatedNodeName": "",
    }
    assert "spec.nodeName" in STRATEGY.selectable_field_names()


@pytest.mark.parametrize(
    ("spec", "phase", "requested", "period"),
    [
        ({}, "Pending", None, 0),
        ({"nodeName": "n"}, "Running", None, 30),
        ({"nodeName": "n"}, "Running", 5, 5),
        ({"nodeName": "n"}, "Running", 0, 0),
        ({"nodeName": "n", "terminationGracePeriodSeconds": -1}, "Running", None, 1),
        ({"nodeName": "n"}, "Succeeded", 5, 0),
    ],
)
def test_grace_period(spec: dict[str, Any], phase: str, requested: int | None, period: int) -> None:
    obj = created(PODS, pod(**spec))
    obj["status"]["phase"] = phase
    assert STRATEGY.grace_period_seconds(obj, requested) == period


def test_match_label_keys_become_requirements() -> None:
    constraint = {
        "maxSkew": 1,
        "topologyKey": "zone",
        "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"tier": "web"}},
        "matchLabelKeys": ["app", "absent"],
    }
    (out,) = created(PODS, pod(topologySpreadConstraints=[constraint]))["spec"]["topologySpreadConstraints"]
    assert out["labelSelector"]["matchExpressions"] == [{"key": "app", "operator": "In", "values": ["web"]}]


def test_warnings_of_doubtful_pods() -> None:
    obj = created(
        PODS,
        pod(
            nodeSelector={"beta.kubernetes.io/os": "linux"},
            containers=[
                container(
                    env=[{"name": "A", "value": "1"}, {"name": "A", "value": "2"}],
                    resources={"requests": {"memory": "100m"}},
                    ports=[{"containerPort": 80}, {"containerPort": 80}],
                )
            ],
        ),
    )
    assert STRATEGY.warnings(obj, None) == [
        'spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use "kubernetes.io/os" instead',
        'spec.containers[0].resources.requests[memory]: fractional byte value "100m" is invalid, must be an integer',
        'spec.containers[0].env[1]: hides previous definition of "A", which may be dropped when using apply',
        "spec.containers[0].ports[1]: duplicate port definition with spec.containers[0].ports[0]",
    ]


def test_an_env_that_builds_on_the_one_before_is_no_fault() -> None:
    obj = created(PODS, pod(containers=[container(env=[{"name": "A", "value": "1"}, {"name": "A", "value": "$(A)2"}])]))
    assert STRATEGY.warnings(obj, None) == []


def test_a_finished_container_does_not_come_back() -> None:
    old = created(PODS, pod(restartPolicy="Never"))
    old["status"]["containerStatuses"] = [{"name": "web", "state": {"terminated": {"exitCode": 0}}}]
    new = clone(old)
    new["status"]["containerStatuses"] = [{"name": "web", "state": {"running": {}}}]
    assert status_faults(PODS, new, old) == [
        "status.containerStatuses[0].state: Forbidden: may not be transitioned to non-terminated state"
    ]


def test_a_status_update_leaves_the_spec_alone_and_keeps_the_qos_class() -> None:
    old = created(PODS, pod())
    new = clone(old)
    new["spec"]["nodeName"] = "elsewhere"
    new["status"] = {"phase": "Running"}
    STRATEGY.prepare_for_status_update(new, old)
    assert new["spec"] == old["spec"]
    assert new["status"] == {"phase": "Running", "qosClass": "BestEffort"}


def test_speed() -> None:
    """Far below half a millisecond a pod: a hundred times what it takes would fail, noise would not."""
    obj = pod(containers=[container(ports=[{"containerPort": 80}], env=[{"name": "A", "value": "b"}])])

    def once() -> float:
        start = time.perf_counter()
        for _ in range(50):
            faults(PODS, obj)
        return (time.perf_counter() - start) / 50

    assert min(once() for _ in range(5)) < 500e-6
