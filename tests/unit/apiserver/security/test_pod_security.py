"""The Pod Security Standards, and how namespaces choose among them."""

from __future__ import annotations

from typing import Any

import pytest

from pybernetes.api import errors
from pybernetes.api.meta import Object
from pybernetes.api.resources import DEPLOYMENTS, NAMESPACES, PODS
from pybernetes.apiserver.admission.pod_security import PodSecurity
from pybernetes.apiserver.admission.pod_security_checks import Level, describe, violations
from pybernetes.apiserver.interfaces import RequestInfo
from tests.unit.apiserver.security.admitting import admit, pod, request
from tests.unit.apiserver.security.memory_reader import MemoryReader

GOOD: Object = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]},
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}


def container(name: str = "c", **context: Any) -> Object:
    return {"name": name, "securityContext": {**GOOD, **context}}


def told(wanted: Object, level: Level, minor: int = 1000) -> str:
    return describe(violations(wanted, level, minor))


def test_good_pods_pass_everywhere() -> None:
    wanted = pod(containers=[container()], volumes=[{"name": "v", "emptyDir": {}}])
    assert told(wanted, "restricted") == told(wanted, "baseline") == ""
    assert told(pod(hostNetwork=True), "privileged") == ""


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        ({"hostNetwork": True, "hostPID": True}, "host namespaces (hostNetwork=true, hostPID=true)"),
        (
            {"containers": [container(privileged=True)]},
            'privileged (container "c" must not set securityContext.privileged=true)',
        ),
        (
            {"containers": [container("a", privileged=True), container("b", privileged=True)]},
            'privileged (containers "a", "b" must not set securityContext.privileged=true)',
        ),
        (
            {"containers": [container(capabilities={"drop": ["ALL"], "add": ["NET_ADMIN", "CHOWN"]})]},
            'non-default capabilities (container "c" must not include "NET_ADMIN" in securityContext.capabilities.add)',
        ),
        ({"volumes": [{"name": "v", "hostPath": {"path": "/"}}]}, 'hostPath volumes (volume "v")'),
        (
            {"containers": [{**container(), "ports": [{"hostPort": 80}, {"hostPort": 443}]}]},
            'hostPort (container "c" uses hostPorts 443, 80)',
        ),
        (
            {"containers": [{**container(), "livenessProbe": {"httpGet": {"host": "10.0.0.1"}}}]},
            'probe or lifecycle host (container "c" uses probe or lifecycle host "10.0.0.1")',
        ),
        (
            {"containers": [container(procMount="Unmasked")]},
            'procMount (container "c" must not set securityContext.procMount to "Unmasked")',
        ),
        (
            {"securityContext": {"seLinuxOptions": {"type": "spc_t", "user": "u"}}},
            'seLinuxOptions (pod set forbidden securityContext.seLinuxOptions: type "spc_t"; user may not be set)',
        ),
        (
            {"containers": [container(seccompProfile={"type": "Unconfined"})]},
            'seccompProfile (container "c" must not set securityContext.seccompProfile.type to "Unconfined")',
        ),
        ({"securityContext": {"sysctls": [{"name": "kernel.msgmax"}]}}, "forbidden sysctls (kernel.msgmax)"),
        (
            {"securityContext": {"windowsOptions": {"hostProcess": True}}},
            "hostProcess (pod must not set securityContext.windowsOptions.hostProcess=true)",
        ),
        (
            {"securityContext": {"appArmorProfile": {"type": "Unconfined"}}},
            'forbidden AppArmor profile (pod must not set AppArmor profile type to "Unconfined")',
        ),
    ],
)
def test_baseline(spec: Any, text: str) -> None:
    wanted = pod(**{"containers": [container()], **spec})
    assert told(wanted, "baseline") == text
    assert told(wanted, "restricted") != ""


def test_what_restricted_says_of_a_plain_pod() -> None:
    assert told(pod(), "restricted") == (
        'allowPrivilegeEscalation != false (container "c" must set securityContext.allowPrivilegeEscalation=false), '
        'unrestricted capabilities (container "c" must set securityContext.capabilities.drop=["ALL"]), '
        'runAsNonRoot != true (pod or container "c" must set securityContext.runAsNonRoot=true), '
        'seccompProfile (pod or container "c" must set securityContext.seccompProfile.type to "RuntimeDefault" or '
        '"Localhost")'
    )


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        (
            {"volumes": [{"name": "v", "hostPath": {"path": "/"}}]},
            'restricted volume types (volume "v" uses restricted volume type "hostPath")',
        ),
        ({"securityContext": {"runAsUser": 0}}, "runAsUser=0 (pod must not set runAsUser=0)"),
        (
            {"containers": [container(runAsNonRoot=False)]},
            'runAsNonRoot != true (container "c" must not set securityContext.runAsNonRoot=false)',
        ),
        (
            {"containers": [container(capabilities={"add": ["CHOWN"]})]},
            'unrestricted capabilities (container "c" must set securityContext.capabilities.drop=["ALL"]; '
            'container "c" must not include "CHOWN" in securityContext.capabilities.add)',
        ),
    ],
)
def test_restricted(spec: Any, text: str) -> None:
    assert told(pod(**{"containers": [container()], **spec}), "restricted") == text


def test_a_user_namespace_relaxes() -> None:
    wanted = pod(containers=[container(runAsNonRoot=None, runAsUser=0, procMount="Unmasked")], hostUsers=False)
    assert told(wanted, "baseline") == ""
    assert "runAs" not in told(wanted, "restricted") and "procMount" in told(wanted, "restricted")


def test_older_versions_know_fewer_checks() -> None:
    wanted = pod(containers=[{**container(), "livenessProbe": {"httpGet": {"host": "x"}}}])
    assert told(wanted, "baseline", 33) == ""
    assert told(wanted, "baseline", 34) != ""


def label(reader: MemoryReader, **labels: str) -> PodSecurity:
    prefixed = {f"pod-security.kubernetes.io/{k.replace('_', '-')}": v for k, v in labels.items()}
    reader.make(NAMESPACES, "shop", metadata={"labels": prefixed})
    return PodSecurity(reader)


async def test_enforcement(reader: MemoryReader) -> None:
    await admit(label(reader), request("CREATE", PODS, pod(hostNetwork=True)))
    plugin = label(reader, enforce="baseline", enforce_version="v1.30")
    await admit(plugin, request("CREATE", PODS, pod()))
    with pytest.raises(errors.Forbidden) as refused:
        await admit(plugin, request("CREATE", PODS, pod(hostNetwork=True)))
    assert refused.value.message == (
        'pods "web" is forbidden: violates PodSecurity "baseline:v1.30": host namespaces (hostNetwork=true)'
    )


async def test_the_audit_log_is_told(reader: MemoryReader) -> None:
    plugin = label(reader, enforce="privileged", audit="baseline", **{"audit-version": "v1.30"})
    for resource, wanted in (
        (PODS, pod(hostPID=True)),
        (DEPLOYMENTS, {"metadata": {"name": "d"}, "spec": {"template": pod(hostPID=True)}}),
    ):
        asked = request("CREATE", resource, wanted)
        asked.info = RequestInfo("create", "", asked.user, annotations={})
        await admit(plugin, asked)
        annotations = dict(asked.info.annotations or {})
        assert annotations.pop("pod-security.kubernetes.io/audit-violations") == (
            'would violate PodSecurity "baseline:v1.30": host namespaces (hostPID=true)'
        )
        enforced = {"pod-security.kubernetes.io/enforce-policy": "privileged:latest"}
        assert annotations == (enforced if resource is PODS else {}) and not asked.warnings


def test_an_older_restricted_keeps_what_baseline_says() -> None:
    wanted = pod(containers=[container(capabilities={"add": ["SYS_ADMIN"]}, allowPrivilegeEscalation=True)])
    assert told(wanted, "restricted", 7).startswith("non-default capabilities")
    assert told(wanted, "restricted").startswith("allowPrivilegeEscalation != false")


async def test_warnings(reader: MemoryReader) -> None:
    plugin = label(reader, warn="restricted")
    asked = request("CREATE", PODS, pod())
    await admit(plugin, asked)
    assert len(asked.warnings) == 1 and asked.warnings[0].startswith('would violate PodSecurity "restricted:latest": ')
    template: Object = {"metadata": {"name": "d"}, "spec": {"template": {"spec": {"containers": [{"name": "c"}]}}}}
    asked = request("CREATE", DEPLOYMENTS, template)
    await admit(plugin, asked)
    assert len(asked.warnings) == 1


async def test_labels_of_namespaces(reader: MemoryReader) -> None:
    def namespace(**labels: str) -> Object:
        prefixed = {f"pod-security.kubernetes.io/{k}": v for k, v in labels.items()}
        return {"metadata": {"name": "shop", "labels": prefixed}}

    plugin = PodSecurity(reader)
    await admit(plugin, request("CREATE", NAMESPACES, namespace(enforce="restricted")))
    with pytest.raises(errors.Invalid) as refused:
        await admit(plugin, request("CREATE", NAMESPACES, namespace(enforce="strict")))
    assert refused.value.message == (
        'Namespace "shop" is invalid: metadata.labels[pod-security.kubernetes.io/enforce]: Invalid value: "strict": '
        "must be one of privileged, baseline, restricted"
    )
    bad = namespace(enforce="strict")
    await admit(plugin, request("UPDATE", NAMESPACES, bad, old=bad))

    for name in ("b", "a"):
        reader.make(PODS, name, "shop", spec=pod(hostNetwork=True)["spec"])
    reader.make(PODS, "fine", "shop", spec=pod()["spec"])
    asked = request("UPDATE", NAMESPACES, namespace(enforce="baseline"), old=namespace())
    await admit(plugin, asked)
    assert asked.warnings == [
        'existing pods in namespace "shop" violate the new PodSecurity enforce level "baseline:latest"',
        "a (and 1 other pod): host namespaces",
    ]
