"""The controllers that run, as data: under which name, as which service account, recording events as whom.

Accounts are those of upstream's bootstrap policy (``system:controller:…`` roles), so that the same RBAC holds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pybernetes.controllers.admissionpolicystatus.loop import ValidatingAdmissionPolicyStatusController
from pybernetes.controllers.bootstraptoken.loop import BootstrapSignerController, TokenCleanerController
from pybernetes.controllers.certificates.loop import (
    CSRApprovingController,
    CSRCleanerController,
    CSRSigningController,
)
from pybernetes.controllers.clusterroleaggregation.loop import ClusterRoleAggregationController
from pybernetes.controllers.controller import Context, Controller
from pybernetes.controllers.cronjob.loop import CronJobController
from pybernetes.controllers.daemonset.loop import DaemonSetController
from pybernetes.controllers.deployment.loop import DeploymentController
from pybernetes.controllers.disruption.loop import DisruptionController
from pybernetes.controllers.endpoints.loop import EndpointsController
from pybernetes.controllers.endpointslice.loop import EndpointSliceController
from pybernetes.controllers.endpointslicemirroring.loop import EndpointSliceMirroringController
from pybernetes.controllers.garbagecollector.loop import GarbageCollector
from pybernetes.controllers.job.loop import JobController
from pybernetes.controllers.namespace.loop import NamespaceController
from pybernetes.controllers.nodeipam.loop import NodeIPAMController
from pybernetes.controllers.nodelifecycle.loop import NodeLifecycleController
from pybernetes.controllers.podgc.loop import PodGCController
from pybernetes.controllers.pvcprotection.loop import PVCProtectionController
from pybernetes.controllers.pvprotection.loop import PVProtectionController
from pybernetes.controllers.replicaset.loop import ReplicaSetController, ReplicationControllerController
from pybernetes.controllers.resourcequota.loop import ResourceQuotaController
from pybernetes.controllers.rootca.loop import RootCAController
from pybernetes.controllers.serviceaccount.loop import ServiceAccountController
from pybernetes.controllers.serviceaccounttoken.loop import ServiceAccountTokenController
from pybernetes.controllers.statefulset.loop import StatefulSetController
from pybernetes.controllers.tainteviction.loop import TaintEvictionController
from pybernetes.controllers.ttlafterfinished.loop import TTLAfterFinishedController
from pybernetes.controllers.vacprotection.loop import VACProtectionController


@dataclass(frozen=True, slots=True)
class ControllerSpec:
    name: str
    """As upstream's ``--controllers`` flag names it."""
    account: str
    """The service account in kube-system that it writes as; empty for system:kube-controller-manager itself."""
    component: str
    """The source of its events."""
    make: Callable[[Context], Controller]


CONTROLLERS: tuple[ControllerSpec, ...] = (
    ControllerSpec("deployment-controller", "deployment-controller", "deployment-controller", DeploymentController),
    ControllerSpec("replicaset-controller", "replicaset-controller", "replicaset-controller", ReplicaSetController),
    ControllerSpec(
        "replicationcontroller-controller",
        "replication-controller",
        "replication-controller",
        ReplicationControllerController,
    ),
    ControllerSpec("endpoints-controller", "endpoint-controller", "endpoint-controller", EndpointsController),
    ControllerSpec(
        "endpointslice-controller", "endpointslice-controller", "endpoint-slice-controller", EndpointSliceController
    ),
    ControllerSpec(
        "endpointslice-mirroring-controller",
        "endpointslicemirroring-controller",
        "endpoint-slice-mirroring-controller",
        EndpointSliceMirroringController,
    ),
    ControllerSpec(
        "serviceaccount-controller", "service-account-controller", "serviceaccount-controller", ServiceAccountController
    ),
    ControllerSpec(
        "root-ca-certificate-publisher-controller",
        "root-ca-cert-publisher",
        "root-ca-cert-publisher",
        RootCAController,
    ),
    # As upstream: who makes service accounts' tokens cannot be one.
    ControllerSpec(
        "serviceaccount-token-controller", "", "serviceaccount-token-controller", ServiceAccountTokenController
    ),
    ControllerSpec("token-cleaner-controller", "token-cleaner", "token-cleaner", TokenCleanerController),
    ControllerSpec("bootstrap-signer-controller", "bootstrap-signer", "bootstrap-signer", BootstrapSignerController),
    ControllerSpec("node-ipam-controller", "node-controller", "cidrAllocator", NodeIPAMController),
    ControllerSpec("node-lifecycle-controller", "node-controller", "node-controller", NodeLifecycleController),
    ControllerSpec(
        "taint-eviction-controller", "node-controller", "taint-eviction-controller", TaintEvictionController
    ),
    ControllerSpec(
        "pod-garbage-collector-controller", "pod-garbage-collector", "pod-garbage-collector", PodGCController
    ),
    ControllerSpec("namespace-controller", "namespace-controller", "namespace-controller", NamespaceController),
    ControllerSpec(
        "garbage-collector-controller", "generic-garbage-collector", "garbage-collector-controller", GarbageCollector
    ),
    ControllerSpec(
        "clusterrole-aggregation-controller",
        "clusterrole-aggregation-controller",
        "clusterrole-aggregation-controller",
        ClusterRoleAggregationController,
    ),
    ControllerSpec("daemonset-controller", "daemon-set-controller", "daemonset-controller", DaemonSetController),
    ControllerSpec("statefulset-controller", "statefulset-controller", "statefulset-controller", StatefulSetController),
    ControllerSpec("job-controller", "job-controller", "job-controller", JobController),
    ControllerSpec("cronjob-controller", "cronjob-controller", "cronjob-controller", CronJobController),
    ControllerSpec(
        "ttl-after-finished-controller",
        "ttl-after-finished-controller",
        "ttl-after-finished-controller",
        TTLAfterFinishedController,
    ),
    ControllerSpec(
        "validatingadmissionpolicy-status-controller",
        "validatingadmissionpolicy-status-controller",
        "validatingadmissionpolicy-status-controller",
        ValidatingAdmissionPolicyStatusController,
    ),
    ControllerSpec(
        "resourcequota-controller", "resourcequota-controller", "resourcequota-controller", ResourceQuotaController
    ),
    ControllerSpec("disruption-controller", "disruption-controller", "controllermanager", DisruptionController),
    ControllerSpec(
        "persistentvolumeclaim-protection-controller",
        "pvc-protection-controller",
        "pvc-protection-controller",
        PVCProtectionController,
    ),
    ControllerSpec(
        "persistentvolume-protection-controller",
        "pv-protection-controller",
        "pv-protection-controller",
        PVProtectionController,
    ),
    ControllerSpec(
        "volumeattributesclass-protection-controller",
        "volumeattributesclass-protection-controller",
        "volumeattributesclass-protection-controller",
        VACProtectionController,
    ),
    ControllerSpec(
        "certificatesigningrequest-approving-controller",
        "certificate-controller",
        "certificate-controller",
        CSRApprovingController,
    ),
    ControllerSpec(
        "certificatesigningrequest-signing-controller",
        "certificate-controller",
        "certificate-controller",
        CSRSigningController,
    ),
    ControllerSpec(
        "certificatesigningrequest-cleaner-controller",
        "certificate-controller",
        "certificate-controller",
        CSRCleanerController,
    ),
)
