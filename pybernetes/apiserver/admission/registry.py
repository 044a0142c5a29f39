"""The admission plugins in the order they run: upstream's recommended order (``AllOrderedPlugins``), as data.

Of its default set is left out what has no meaning here, since its kinds are not served: ClusterTrustBundleAttest, and
what belongs to feature gates that are off (pod groups, workloads of Jobs, declared features of nodes). Upstream's
optional plugins are not there either, but for NodeRestriction, which every installer turns on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pybernetes.api.user import User
from pybernetes.apiserver.admission.certificates import (
    CertificateApproval,
    CertificateRequester,
    CertificateSigning,
    CertificateSubjectRestriction,
)
from pybernetes.apiserver.admission.default_toleration_seconds import DefaultTolerationSeconds
from pybernetes.apiserver.admission.ingress_class import DefaultIngressClass
from pybernetes.apiserver.admission.limit_ranger import LimitRanger
from pybernetes.apiserver.admission.namespace_lifecycle import NamespaceLifecycle
from pybernetes.apiserver.admission.node_restriction import NodeRestriction
from pybernetes.apiserver.admission.plugin import Plugin
from pybernetes.apiserver.admission.pod_resize_validator import PodResizeValidator
from pybernetes.apiserver.admission.pod_security import PodSecurity
from pybernetes.apiserver.admission.pod_topology_labels import PodTopologyLabels
from pybernetes.apiserver.admission.policies.mutating import MutatingAdmissionPolicy
from pybernetes.apiserver.admission.policies.validating import ValidatingAdmissionPolicy
from pybernetes.apiserver.admission.priority import Priority
from pybernetes.apiserver.admission.rbac_escalation import RBACEscalation
from pybernetes.apiserver.admission.resource_quota import ResourceQuota
from pybernetes.apiserver.admission.runtime_class import RuntimeClass
from pybernetes.apiserver.admission.service_account import ServiceAccount
from pybernetes.apiserver.admission.storage import (
    DefaultStorageClass,
    PersistentVolumeClaimResize,
    StorageObjectInUseProtection,
)
from pybernetes.apiserver.admission.taint_nodes_by_condition import TaintNodesByCondition
from pybernetes.apiserver.admission.webhooks.caller import WebhookCaller
from pybernetes.apiserver.admission.webhooks.plugins import MutatingAdmissionWebhook, ValidatingAdmissionWebhook
from pybernetes.apiserver.interfaces import Authorizer, ObservableReader
from pybernetes.apiserver.rbac import RBACAuthorizer
from pybernetes.client.interface import Client
from pybernetes.lib.clock import Clock


@dataclass(frozen=True, slots=True)
class Context:
    """What plugins are made of."""

    reader: ObservableReader
    client_for: Callable[[User], Client]
    client: Client
    """As system:apiserver."""
    authorizer: Authorizer
    rbac: RBACAuthorizer
    clock: Clock
    webhooks: WebhookCaller


PLUGINS: tuple[tuple[str, Callable[[Context], Plugin]], ...] = (
    ("NamespaceLifecycle", lambda c: NamespaceLifecycle(c.reader)),
    ("LimitRanger", lambda c: LimitRanger(c.reader)),
    ("ServiceAccount", lambda c: ServiceAccount(c.reader)),
    ("NodeRestriction", lambda c: NodeRestriction(c.reader, c.authorizer)),
    ("TaintNodesByCondition", lambda c: TaintNodesByCondition()),
    ("PodSecurity", lambda c: PodSecurity(c.reader)),
    ("Priority", lambda c: Priority(c.reader)),
    ("DefaultTolerationSeconds", lambda c: DefaultTolerationSeconds()),
    ("DefaultStorageClass", lambda c: DefaultStorageClass(c.reader)),
    ("StorageObjectInUseProtection", lambda c: StorageObjectInUseProtection()),
    ("PersistentVolumeClaimResize", lambda c: PersistentVolumeClaimResize(c.reader)),
    ("RuntimeClass", lambda c: RuntimeClass(c.reader)),
    ("CertificateApproval", lambda c: CertificateApproval(c.authorizer)),
    ("CertificateSigning", lambda c: CertificateSigning(c.authorizer)),
    ("CertificateSubjectRestriction", lambda c: CertificateSubjectRestriction()),
    ("DefaultIngressClass", lambda c: DefaultIngressClass(c.reader)),
    ("PodTopologyLabels", lambda c: PodTopologyLabels(c.reader)),
    ("PodResizeValidator", lambda c: PodResizeValidator(c.reader)),
    ("MutatingAdmissionPolicy", lambda c: MutatingAdmissionPolicy(c.reader, c.authorizer)),
    ("MutatingAdmissionWebhook", lambda c: MutatingAdmissionWebhook(c.reader, c.webhooks, c.authorizer)),
    ("ValidatingAdmissionPolicy", lambda c: ValidatingAdmissionPolicy(c.reader, c.authorizer)),
    ("ValidatingAdmissionWebhook", lambda c: ValidatingAdmissionWebhook(c.reader, c.webhooks, c.authorizer)),
    # Nothing may refuse after the quota was charged.
    ("ResourceQuota", lambda c: ResourceQuota(c.reader, c.clock)),
)
"""(name, maker) of every plugin that is on by default."""


def make_plugins(context: Context, disabled: Sequence[str] = ()) -> tuple[Plugin, ...]:
    """The plugins in order, without the `disabled` ones. ValueError for a name that is none."""
    unknown = set(disabled) - {name for name, _ in PLUGINS}
    if unknown:
        raise ValueError(f"unknown admission plugins: {', '.join(sorted(unknown))}")
    chosen = [make(context) for name, make in PLUGINS if name not in disabled]
    # Not to be disabled: without the first, whoever may write roles could give himself any right; without the last,
    # after all others that mutate, whoever may ask for a certificate could ask as anybody.
    return (RBACEscalation(context.rbac, context.authorizer), *chosen, CertificateRequester())
