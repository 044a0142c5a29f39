"""The smaller admission plugins, one by one."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest

from pybernetes.api import errors
from pybernetes.api.meta import Object
from pybernetes.api.resources import (
    CERTIFICATESIGNINGREQUESTS,
    CONFIGMAPS,
    INGRESSCLASSES,
    INGRESSES,
    LOCALSUBJECTACCESSREVIEWS,
    NAMESPACES,
    NODES,
    PERSISTENTVOLUMECLAIMS,
    PERSISTENTVOLUMES,
    PODS,
    PRIORITYCLASSES,
    RUNTIMECLASSES,
    SECRETS,
    SERVICEACCOUNTS,
    STORAGECLASSES,
)
from pybernetes.apiserver.admission.certificates import (
    CertificateApproval,
    CertificateSigning,
    CertificateSubjectRestriction,
)
from pybernetes.apiserver.admission.default_toleration_seconds import DefaultTolerationSeconds
from pybernetes.apiserver.admission.ingress_class import DefaultIngressClass
from pybernetes.apiserver.admission.namespace_lifecycle import NamespaceLifecycle
from pybernetes.apiserver.admission.pod_resize_validator import PodResizeValidator
from pybernetes.apiserver.admission.pod_topology_labels import PodTopologyLabels
from pybernetes.apiserver.admission.priority import Priority
from pybernetes.apiserver.admission.runtime_class import RuntimeClass
from pybernetes.apiserver.admission.service_account import MOUNT_PATH, ServiceAccount
from pybernetes.apiserver.admission.storage import (
    DefaultStorageClass,
    PersistentVolumeClaimResize,
    StorageObjectInUseProtection,
)
from pybernetes.apiserver.admission.taint_nodes_by_condition import TaintNodesByCondition
from pybernetes.apiserver.authorization import AlwaysAllow
from pybernetes.apiserver.interfaces import Attributes, Decision
from tests.support.waiting import until
from tests.unit.apiserver.security.admitting import admit, pod, request
from tests.unit.apiserver.security.memory_reader import MemoryReader

# NamespaceLifecycle


def lifecycle(reader: MemoryReader) -> NamespaceLifecycle:
    return NamespaceLifecycle(reader)


async def test_an_unknown_namespace(reader: MemoryReader) -> None:
    with pytest.raises(errors.NotFound, match=r'^namespaces "shop" not found$'):
        await admit(lifecycle(reader), request("CREATE", CONFIGMAPS, {"metadata": {"name": "c"}}))
    # The store knows it already, the cache not yet.
    reader.arriving.append((NAMESPACES, {"metadata": {"name": "shop"}}))
    await admit(lifecycle(reader), request("CREATE", CONFIGMAPS, {"metadata": {"name": "c"}}))
    # Who asks what he may do must not learn which namespaces there are.
    await admit(lifecycle(reader), request("CREATE", LOCALSUBJECTACCESSREVIEWS, {"metadata": {}}))


async def test_a_namespace_that_goes(reader: MemoryReader) -> None:
    reader.make(NAMESPACES, "shop", status={"phase": "Terminating"})
    with pytest.raises(errors.Forbidden) as refused:
        await admit(lifecycle(reader), request("CREATE", CONFIGMAPS, {"metadata": {"name": "c"}}))
    assert refused.value.message == (
        'configmaps "c" is forbidden: unable to create new content in namespace shop because it is being terminated'
    )
    assert refused.value.details is not None
    assert refused.value.details["causes"] == [
        {
            "reason": "NamespaceTerminating",
            "message": "namespace shop is being terminated",
            "field": "metadata.namespace",
        }
    ]
    old = {"metadata": {"name": "c"}}
    await admit(lifecycle(reader), request("UPDATE", CONFIGMAPS, old, old=old))
    await admit(lifecycle(reader), request("DELETE", CONFIGMAPS, old=old))


@pytest.mark.parametrize("name", ["default", "kube-system", "kube-public"])
async def test_immortal_namespaces(reader: MemoryReader, name: str) -> None:
    with pytest.raises(errors.Forbidden, match=f'namespaces "{name}" is forbidden: this namespace may not be deleted'):
        await admit(lifecycle(reader), request("DELETE", NAMESPACES, old={"metadata": {"name": name}}))
    await admit(lifecycle(reader), request("DELETE", NAMESPACES, old={"metadata": {"name": "shop"}}))


# ServiceAccount


@pytest.fixture
def account(reader: MemoryReader) -> Object:
    return reader.make(SERVICEACCOUNTS, "default", "shop")


async def test_the_token_is_mounted(reader: MemoryReader, account: Object) -> None:
    wanted = pod(initContainers=[{"name": "i"}], volumes=[{"name": "v", "emptyDir": {}}])
    made = await admit(ServiceAccount(reader), request("CREATE", PODS, wanted))
    spec = made["spec"]
    assert spec["serviceAccountName"] == spec["serviceAccount"] == "default"
    own, volume = spec["volumes"]
    assert own == {"name": "v", "emptyDir": {}}
    assert re.fullmatch(r"kube-api-access-[bcdfghjklmnpqrstvwxz2456789]{5}", volume["name"])
    assert volume["projected"] == {
        "defaultMode": 420,
        "sources": [
            {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
            {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
            {
                "downwardAPI": {
                    "items": [
                        {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}
                    ]
                }
            },
        ],
    }
    mount = {"name": volume["name"], "readOnly": True, "mountPath": MOUNT_PATH}
    assert spec["containers"][0]["volumeMounts"] == [mount]
    assert spec["initContainers"][0]["volumeMounts"] == [mount]


async def test_a_mount_of_ones_own_is_left(reader: MemoryReader, account: Object) -> None:
    mine = {"name": "v", "mountPath": MOUNT_PATH}
    wanted = pod(containers=[{"name": "c", "volumeMounts": [mine]}])
    made = await admit(ServiceAccount(reader), request("CREATE", PODS, wanted))
    assert made["spec"]["containers"][0]["volumeMounts"] == [mine]
    assert "volumes" not in made["spec"]


@pytest.mark.parametrize(
    ("of_pod", "of_account", "mounted"),
    [(None, None, True), (None, False, False), (True, False, True), (False, None, False), (False, True, False)],
)
async def test_automount(reader: MemoryReader, of_pod: bool | None, of_account: bool | None, mounted: bool) -> None:
    fields = {} if of_account is None else {"automountServiceAccountToken": of_account}
    reader.make(SERVICEACCOUNTS, "default", "shop", **fields)
    wanted = pod(**({} if of_pod is None else {"automountServiceAccountToken": of_pod}))
    made = await admit(ServiceAccount(reader), request("CREATE", PODS, wanted))
    assert bool(made["spec"].get("volumes")) is mounted


async def test_pull_secrets_come_from_the_account(reader: MemoryReader) -> None:
    reader.make(SERVICEACCOUNTS, "default", "shop", imagePullSecrets=[{"name": "r"}])
    plugin = ServiceAccount(reader)
    made = await admit(plugin, request("CREATE", PODS, pod()))
    assert made["spec"]["imagePullSecrets"] == [{"name": "r"}]
    made = await admit(plugin, request("CREATE", PODS, pod(imagePullSecrets=[{"name": "own"}])))
    assert made["spec"]["imagePullSecrets"] == [{"name": "own"}]


async def test_a_missing_account(reader: MemoryReader, account: Object) -> None:
    with pytest.raises(errors.Forbidden) as refused:
        await admit(ServiceAccount(reader), request("CREATE", PODS, pod(serviceAccountName="robot")))
    assert refused.value.message == (
        'pods "web" is forbidden: error looking up service account shop/robot: serviceaccount "robot" not found'
    )
    generated = pod("", serviceAccountName="robot")
    generated["metadata"]["generateName"] = "web-"
    with pytest.raises(errors.Forbidden, match=r'^pods "web-" is forbidden'):
        await admit(ServiceAccount(reader), request("CREATE", PODS, generated))


async def test_the_default_account_may_be_late(reader: MemoryReader) -> None:
    plugin = ServiceAccount(reader)
    waiting = asyncio.create_task(admit(plugin, request("CREATE", PODS, pod())))
    await until(lambda: plugin._waiters)
    reader.make(SERVICEACCOUNTS, "default", "shop")
    made = await waiting
    assert made["spec"]["serviceAccountName"] == "default"
    assert not plugin._waiters


async def test_it_is_not_waited_for_forever(reader: MemoryReader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pybernetes.apiserver.admission.service_account._DEFAULT_ACCOUNT_WAIT_SECONDS", 0.01)
    plugin = ServiceAccount(reader)
    with pytest.raises(errors.Forbidden, match='serviceaccount "default" not found'):
        await admit(plugin, request("CREATE", PODS, pod()))
    assert not plugin._waiters and plugin._waiting == 0


async def test_mirror_pods(reader: MemoryReader) -> None:
    mirror = pod()
    mirror["metadata"]["annotations"] = {"kubernetes.io/config.mirror": "x"}
    assert await admit(ServiceAccount(reader), request("CREATE", PODS, mirror)) == mirror
    mirror["spec"]["serviceAccountName"] = "default"
    with pytest.raises(errors.Forbidden, match="a mirror pod may not reference service accounts"):
        await admit(ServiceAccount(reader), request("CREATE", PODS, mirror))


async def test_mountable_secrets(reader: MemoryReader) -> None:
    annotations = {"kubernetes.io/enforce-mountable-secrets": "true"}
    reader.make(SERVICEACCOUNTS, "default", "shop", metadata={"annotations": annotations}, secrets=[{"name": "ok"}])
    reader.make(SECRETS, "ok", "shop")
    plugin = ServiceAccount(reader)
    await admit(plugin, request("CREATE", PODS, pod(volumes=[{"name": "v", "secret": {"secretName": "ok"}}])))
    with pytest.raises(
        errors.Forbidden, match=r'secret\.secretName="other" is not allowed because service account default'
    ):
        await admit(plugin, request("CREATE", PODS, pod(volumes=[{"name": "v", "secret": {"secretName": "other"}}])))


# DefaultTolerationSeconds, TaintNodesByCondition


def default_tolerations() -> list[Object]:
    return [
        {"key": f"node.kubernetes.io/{what}", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}
        for what in ("not-ready", "unreachable")
    ]


async def test_default_tolerations() -> None:
    plugin = DefaultTolerationSeconds()
    made = await admit(plugin, request("CREATE", PODS, pod()))
    assert made["spec"]["tolerations"] == default_tolerations()
    own = {"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5}
    made = await admit(plugin, request("CREATE", PODS, pod(tolerations=[own])))
    assert made["spec"]["tolerations"] == [own, default_tolerations()[1]]
    everything = {"operator": "Exists"}
    made = await admit(plugin, request("CREATE", PODS, pod(tolerations=[everything])))
    assert made["spec"]["tolerations"] == [everything]


async def test_new_nodes_are_tainted() -> None:
    taint = {"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}
    made = await admit(TaintNodesByCondition(), request("CREATE", NODES, {"metadata": {"name": "n"}}))
    assert made["spec"]["taints"] == [taint]
    again = await admit(TaintNodesByCondition(), request("CREATE", NODES, made))
    assert again["spec"]["taints"] == [taint]
    old = {"metadata": {"name": "n"}, "spec": {}}
    assert await admit(TaintNodesByCondition(), request("UPDATE", NODES, old, old=old)) == old


# Priority


async def test_priorities(reader: MemoryReader) -> None:
    plugin = Priority(reader)
    made = await admit(plugin, request("CREATE", PODS, pod()))
    assert (made["spec"]["priority"], made["spec"]["preemptionPolicy"]) == (0, "PreemptLowerPriority")
    assert "priorityClassName" not in made["spec"]
    reader.make(PRIORITYCLASSES, "high", value=1000, preemptionPolicy="Never")
    made = await admit(plugin, request("CREATE", PODS, pod(priorityClassName="high")))
    assert (made["spec"]["priority"], made["spec"]["preemptionPolicy"]) == (1000, "Never")
    reader.make(PRIORITYCLASSES, "usual", value=7, globalDefault=True)
    made = await admit(plugin, request("CREATE", PODS, pod()))
    assert (made["spec"]["priority"], made["spec"]["priorityClassName"]) == (7, "usual")
    with pytest.raises(errors.Forbidden, match="no PriorityClass with name none was found"):
        await admit(plugin, request("CREATE", PODS, pod(priorityClassName="none")))
    with pytest.raises(errors.Forbidden, match=r"the integer value of priority \(5\) must not be provided in pod spec"):
        await admit(plugin, request("CREATE", PODS, pod(priority=5)))
    wish = {"metadata": {"name": "second"}, "globalDefault": True}
    with pytest.raises(errors.Forbidden, match="PriorityClass usual is already marked as default"):
        await admit(plugin, request("CREATE", PRIORITYCLASSES, wish))


async def test_an_update_keeps_the_priority(reader: MemoryReader) -> None:
    old = pod(priority=1000, preemptionPolicy="Never")
    made = await admit(Priority(reader), request("UPDATE", PODS, pod(), old=old))
    assert (made["spec"]["priority"], made["spec"]["preemptionPolicy"]) == (1000, "Never")


# Classes


async def test_the_default_storage_class(reader: MemoryReader) -> None:
    plugin = DefaultStorageClass(reader)
    claim: Object = {"metadata": {"name": "c"}, "spec": {}}
    assert await admit(plugin, request("CREATE", PERSISTENTVOLUMECLAIMS, claim)) == claim
    mark = {"storageclass.kubernetes.io/is-default-class": "true"}
    for name, time in (("old", "2026-01-01T00:00:00Z"), ("b", "2026-02-01T00:00:00Z"), ("a", "2026-02-01T00:00:00Z")):
        reader.make(STORAGECLASSES, name, metadata={"annotations": mark, "creationTimestamp": time})
    reader.make(STORAGECLASSES, "unmarked", metadata={"creationTimestamp": "2026-03-01T00:00:00Z"})
    made = await admit(plugin, request("CREATE", PERSISTENTVOLUMECLAIMS, claim))
    assert made["spec"]["storageClassName"] == "a"
    none: Object = {"metadata": {"name": "c"}, "spec": {"storageClassName": ""}}
    assert await admit(plugin, request("CREATE", PERSISTENTVOLUMECLAIMS, none)) == none


async def test_the_default_ingress_class(reader: MemoryReader) -> None:
    mark = {"ingressclass.kubernetes.io/is-default-class": "true"}
    reader.make(INGRESSCLASSES, "nginx", metadata={"annotations": mark})
    plugin = DefaultIngressClass(reader)
    made = await admit(plugin, request("CREATE", INGRESSES, {"metadata": {"name": "i"}}))
    assert made["spec"]["ingressClassName"] == "nginx"
    own: Object = {"metadata": {"name": "i", "annotations": {"kubernetes.io/ingress.class": "x"}}, "spec": {}}
    assert await admit(plugin, request("CREATE", INGRESSES, own)) == own


async def test_finalizers_that_protect() -> None:
    plugin = StorageObjectInUseProtection()
    for resource, finalizer in (
        (PERSISTENTVOLUMECLAIMS, "kubernetes.io/pvc-protection"),
        (PERSISTENTVOLUMES, "kubernetes.io/pv-protection"),
    ):
        made = await admit(plugin, request("CREATE", resource, {"metadata": {"name": "x", "finalizers": ["a/b"]}}))
        assert made["metadata"]["finalizers"] == ["a/b", finalizer]
        assert await admit(plugin, request("CREATE", resource, made)) == made


async def test_growing_claims(reader: MemoryReader) -> None:
    def claim(size: str, class_: str = "grows", phase: str = "Bound") -> Object:
        spec = {"storageClassName": class_, "resources": {"requests": {"storage": size}}}
        return {"metadata": {"name": "c"}, "spec": spec, "status": {"phase": phase}}

    reader.make(STORAGECLASSES, "grows", allowVolumeExpansion=True)
    reader.make(STORAGECLASSES, "fixed")
    plugin = PersistentVolumeClaimResize(reader)

    async def grow(old: Object, new: Object) -> None:
        await admit(plugin, request("UPDATE", PERSISTENTVOLUMECLAIMS, new, old=old))

    await grow(claim("1Gi"), claim("2Gi"))
    await grow(claim("1Gi", "fixed"), claim("1024Mi", "fixed"))
    with pytest.raises(errors.Forbidden, match="must support resize"):
        await grow(claim("1Gi", "fixed"), claim("2Gi", "fixed"))
    with pytest.raises(errors.Forbidden, match="Only bound persistent volume claims can be expanded"):
        await grow(claim("1Gi", phase="Pending"), claim("2Gi"))


async def test_runtime_classes(reader: MemoryReader) -> None:
    reader.make(
        RUNTIMECLASSES,
        "vm",
        handler="vm",
        overhead={"podFixed": {"cpu": "250m"}},
        scheduling={"nodeSelector": {"vm": "yes"}, "tolerations": [{"key": "vm", "operator": "Exists"}]},
    )
    plugin = RuntimeClass(reader)
    made = await admit(plugin, request("CREATE", PODS, pod(runtimeClassName="vm", nodeSelector={"a": "b"})))
    assert made["spec"]["overhead"] == {"cpu": "250m"}
    assert made["spec"]["nodeSelector"] == {"a": "b", "vm": "yes"}
    assert made["spec"]["tolerations"] == [{"key": "vm", "operator": "Exists"}]
    with pytest.raises(errors.Forbidden, match='pod rejected: RuntimeClass "none" not found'):
        await admit(plugin, request("CREATE", PODS, pod(runtimeClassName="none")))
    with pytest.raises(errors.Forbidden, match="Pod's Overhead doesn't match"):
        await admit(plugin, request("CREATE", PODS, pod(runtimeClassName="vm", overhead={"cpu": "1"})))
    with pytest.raises(errors.Forbidden, match="Pod Overhead set without corresponding RuntimeClass"):
        await admit(plugin, request("CREATE", PODS, pod(overhead={"cpu": "1"})))
    with pytest.raises(errors.Forbidden, match=r"conflict: runtimeClass\.scheduling\.nodeSelector"):
        await admit(plugin, request("CREATE", PODS, pod(runtimeClassName="vm", nodeSelector={"vm": "no"})))


# Certificates


class OnlyFor:
    """Allows one verb on one signer name."""

    def __init__(self, verb: str, name: str) -> None:
        self.verb, self.name = verb, name

    def authorize(self, attributes: Attributes) -> Decision:
        asked = (attributes.group, attributes.resource, attributes.verb, attributes.name)
        return Decision(asked == ("certificates.k8s.io", "signers", self.verb, self.name))


def csr(signer: str = "example.com/a", **status: Any) -> Object:
    return {"metadata": {"name": "r"}, "spec": {"signerName": signer}, "status": status}


async def test_who_may_approve_and_sign() -> None:
    approval = request("UPDATE", CERTIFICATESIGNINGREQUESTS, csr(), old=csr(), subresource="approval")
    for name in ("example.com/a", "example.com/*"):
        await CertificateApproval(OnlyFor("approve", name)).validate(approval)
    with pytest.raises(errors.Forbidden, match=r'not permitted to approve requests with signerName "example\.com/a"'):
        await CertificateApproval(OnlyFor("approve", "example.com/b")).validate(approval)
    issued = csr(certificate="x")
    signing = request("UPDATE", CERTIFICATESIGNINGREQUESTS, issued, old=csr(), subresource="status")
    await CertificateSigning(OnlyFor("sign", "example.com/*")).validate(signing)
    with pytest.raises(errors.Forbidden, match="user not permitted to sign requests"):
        await CertificateSigning(OnlyFor("approve", "example.com/a")).validate(signing)
    unchanged = request("UPDATE", CERTIFICATESIGNINGREQUESTS, issued, old=issued, subresource="status")
    await CertificateSigning(OnlyFor("nothing", "")).validate(unchanged)
    await CertificateSigning(AlwaysAllow()).validate(signing)


async def test_nobody_asks_for_masters() -> None:
    import base64

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    def wish(organization: str, signer: str) -> Object:
        names = [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization),
            x509.NameAttribute(NameOID.COMMON_NAME, "x"),
        ]
        key = ec.generate_private_key(ec.SECP256R1())
        signed = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(names)).sign(key, hashes.SHA256())
        made = csr(signer)
        made["spec"]["request"] = base64.b64encode(signed.public_bytes(serialization.Encoding.PEM)).decode()
        return made

    plugin, client = CertificateSubjectRestriction(), "kubernetes.io/kube-apiserver-client"
    await admit(plugin, request("CREATE", CERTIFICATESIGNINGREQUESTS, wish("devs", client)))
    await admit(plugin, request("CREATE", CERTIFICATESIGNINGREQUESTS, wish("system:masters", "example.com/a")))
    with pytest.raises(errors.Forbidden, match="signer with system:masters group is not allowed"):
        await admit(plugin, request("CREATE", CERTIFICATESIGNINGREQUESTS, wish("system:masters", client)))


# PodTopologyLabels, PodResizeValidator


async def test_a_bound_pod_is_labelled_as_its_node(reader: MemoryReader) -> None:
    zone, region = {"topology.kubernetes.io/zone": "z"}, {"topology.kubernetes.io/region": "r"}
    reader.make(NODES, "n1", metadata={"labels": {**zone, **region, "x": "y"}})
    plugin = PodTopologyLabels(reader)
    binding = {"metadata": {"name": "web"}, "target": {"kind": "Node", "name": "n1"}}
    made = await admit(plugin, request("CREATE", PODS, binding, subresource="binding"))
    assert made["metadata"]["labels"] == {**zone, **region}
    made = await admit(plugin, request("CREATE", PODS, pod(nodeName="n1")))
    assert made["metadata"]["labels"] == {**zone, **region}
    made = await admit(plugin, request("CREATE", PODS, pod(nodeName="n2")))
    assert "labels" not in made["metadata"]


async def test_a_pod_is_not_resized_beyond_its_node(reader: MemoryReader) -> None:
    def sized(cpu: str, generation: int = 2) -> Object:
        made = pod(nodeName="n1", containers=[{"name": "c", "resources": {"requests": {"cpu": cpu, "memory": "1Gi"}}}])
        made["metadata"]["generation"] = generation
        return made

    def resize(cpu: str) -> Any:
        return admit(plugin, request("UPDATE", PODS, sized(cpu), old=sized("1", 1), subresource="resize"))

    plugin = PodResizeValidator(reader)
    with pytest.raises(errors.Forbidden, match=r'^pods "web" is forbidden: node "n1" not found$'):
        await resize("1")
    allocatable = {"cpu": "2", "memory": "1Gi"}
    reader.make(NODES, "n1", metadata={"labels": {"kubernetes.io/os": "linux"}}, status={"allocatable": allocatable})
    await resize("2")
    with pytest.raises(errors.Forbidden, match="resources: cpu, requested: 2500, allocatable: 2000"):
        await resize("2500m")
    reader.make(NODES, "n1", status={"allocatable": allocatable})
    with pytest.raises(errors.Forbidden, match="resize is only supported on linux nodes"):
        await resize("2")
