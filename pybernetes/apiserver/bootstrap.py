"""What a cluster holds before anybody asked for anything: namespaces, the kubernetes Service, default policy.

`bootstrap` runs at every start and is idempotent, also while another server does the same: it reads, and writes only
what is missing. `KubernetesService` keeps ``default/kubernetes`` and its endpoints true for as long as the server
runs, woken by changes of those objects and of the live servers alone. Both go through the API as system:apiserver.
"""

from __future__ import annotations

import asyncio
import base64
import ipaddress
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import structlog

from pybernetes.api import errors
from pybernetes.api.meta import Object, clone, metadata, name_of, namespace_of
from pybernetes.api.resources import (
    CONFIGMAPS,
    ENDPOINTS,
    ENDPOINTSLICES,
    NAMESPACES,
    PRIORITYCLASSES,
    ROLEBINDINGS,
    ROLES,
    SERVICECIDRS,
    SERVICES,
    Resource,
)
from pybernetes.api.user import ANONYMOUS, AUTHENTICATED, SYSTEM_MASTERS, User
from pybernetes.apiserver import rbac_bootstrap
from pybernetes.apiserver.authenticators.front_proxy import FrontProxyConfig
from pybernetes.apiserver.flowcontrol import keeper
from pybernetes.apiserver.interfaces import ObservableReader
from pybernetes.apiserver.masterleases import MasterLeases
from pybernetes.client.interface import Client
from pybernetes.lib.clock import Clock, SystemClock

log = structlog.get_logger(__name__)

APISERVER_USER = User("system:apiserver", "", (SYSTEM_MASTERS, AUTHENTICATED))
"""The user as which the API server makes its own objects."""

START_HOOKS = (
    "start-system-namespaces-controller",
    "rbac/bootstrap-roles",
    "scheduling/bootstrap-system-priority-classes",
    "priority-and-fairness-config-producer",
    "bootstrap-controller",
)
"""What `bootstrap` does, as upstream's health checks name it."""

NAMESPACES_AT_START = ("default", "kube-node-lease", "kube-public", "kube-system")
_PARALLEL_WRITES = 32
"""Writes under way at once: enough to share the store's commits."""
_RETRY_SECONDS = (0.2, 1.0, 5.0)
_RECONCILE_TRIES = 5


@dataclass(frozen=True, slots=True)
class BootstrapConfig:
    """`advertise_addresses` and `advertise_port` are where pods reach this API server."""

    advertise_addresses: Sequence[str]
    advertise_port: int
    service_cidr: str = "10.96.0.0/12"
    cluster_domain: str = "cluster.local"
    dns: bool = True
    client_ca_pem: bytes = b""
    """Published for aggregated API servers in ``kube-system/extension-apiserver-authentication``."""
    front_proxy: FrontProxyConfig | None = None
    """Published there too."""

    @property
    def service_ip(self) -> str:
        """The first address of the range: the kubernetes Service's."""
        return str(ipaddress.ip_network(self.service_cidr)[1])

    @property
    def dns_ip(self) -> str:
        """The tenth address of the range: the DNS Service's."""
        return str(ipaddress.ip_network(self.service_cidr)[10])


async def bootstrap(client: Client, config: BootstrapConfig, servers: Sequence[str] | None = None) -> None:
    """Makes everything of a fresh cluster that is not there. Cancelled, it leaves what it has made; run again, it
    goes on. `servers` are the addresses of all live servers, where there may be others. Raises ApiError."""
    try:
        await _create_missing(client, NAMESPACES, [namespace_object(name) for name in NAMESPACES_AT_START])
        await _create_policy(client, config)
    except BaseExceptionGroup as group:
        raise _first(group) from group
    # The Services come last: the API server's own must get the first address, and does, since both name theirs.
    for attempt in range(_RECONCILE_TRIES):
        try:
            await reconcile_kubernetes_service(client, config, servers)
            if config.dns and await _get(client, SERVICES, "kube-dns", "kube-system") is None:
                await client.create(SERVICES, dns_service(config), "kube-system")
            return
        except (errors.AlreadyExists, errors.Conflict, errors.Invalid):
            # Another server does the same at this moment. `Invalid`: its Service has the address that ours names.
            if attempt == _RECONCILE_TRIES - 1:
                raise


async def _create_policy(client: Client, config: BootstrapConfig) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(rbac_bootstrap.reconcile(client))
        group.create_task(_create_missing(client, PRIORITYCLASSES, priority_classes()))
        group.create_task(keeper.reconcile(client, SystemClock()))
        group.create_task(_create_missing(client, SERVICECIDRS, [service_cidr(config)]))
        if config.client_ca_pem:
            group.create_task(_publish(client, authentication_config_map(config)))
            group.create_task(_create_missing(client, CONFIGMAPS, [cluster_info(config)]))
            group.create_task(_create_missing(client, ROLES, [cluster_info_role()]))
            group.create_task(_create_missing(client, ROLEBINDINGS, [cluster_info_binding()]))


async def _publish(client: Client, wanted: Object) -> None:
    """Creates a ConfigMap, or brings the data of one that is there in line: what it says may change between starts."""
    have = await _get(client, CONFIGMAPS, name_of(wanted), namespace_of(wanted))
    if have is None:
        await _create_missing(client, CONFIGMAPS, [wanted])
    elif have.get("data") != wanted["data"]:
        await client.update(CONFIGMAPS, {**have, "data": wanted["data"]})


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first error inside a group of errors, however deep."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


async def _create_missing(client: Client, resource: Resource, wanted: Iterable[Object]) -> None:
    """Creates what is not there by name; leaves the rest as it is."""
    objects = list(wanted)
    namespaces = {namespace_of(o) for o in objects}
    namespace = namespaces.pop() if len(namespaces) == 1 else ""
    existing = {(namespace_of(o), name_of(o)) for o in (await client.list(resource, namespace)).items}
    limit = asyncio.Semaphore(_PARALLEL_WRITES)

    async def create(obj: Object) -> None:
        async with limit:
            try:
                await client.create(resource, obj, namespace_of(obj))
            except errors.AlreadyExists:
                log.debug("made by somebody else meanwhile", resource=resource.plural, name=name_of(obj))

    async with asyncio.TaskGroup() as group:
        for obj in objects:
            if (namespace_of(obj), name_of(obj)) not in existing:
                group.create_task(create(obj))


def namespace_object(name: str) -> Object:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def priority_classes() -> list[Object]:
    """The two priority classes of the system itself."""
    return [
        {
            "apiVersion": "scheduling.k8s.io/v1",
            "kind": "PriorityClass",
            "metadata": {"name": name},
            "value": value,
            "globalDefault": False,
            "description": description,
            "preemptionPolicy": "PreemptLowerPriority",
        }
        for name, value, description in (
            (
                "system-node-critical",
                2_000_001_000,
                "Used for system critical pods that must not be moved from their current node.",
            ),
            (
                "system-cluster-critical",
                2_000_000_000,
                "Used for system critical pods that must run in the cluster, but can be moved to another node if "
                "necessary.",
            ),
        )
    ]


def service_cidr(config: BootstrapConfig) -> Object:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "ServiceCIDR",
        "metadata": {"name": "kubernetes"},
        "spec": {"cidrs": [config.service_cidr]},
    }


def authentication_config_map(config: BootstrapConfig) -> Object:
    data = {"client-ca-file": config.client_ca_pem.decode()}
    proxy = config.front_proxy
    if proxy is not None:
        data["requestheader-client-ca-file"] = proxy.ca_pem.decode()
        for key, names in (
            ("allowed-names", proxy.allowed_names),
            ("username-headers", proxy.username_headers),
            ("uid-headers", proxy.uid_headers),
            ("group-headers", proxy.group_headers),
            ("extra-headers-prefix", proxy.extra_prefixes),
        ):
            data[f"requestheader-{key}"] = json.dumps(list(names), separators=(",", ":"))
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "extension-apiserver-authentication", "namespace": "kube-system"},
        "data": data,
    }


_CLUSTER_INFO_ROLE = "kubeadm:bootstrap-signer-clusterinfo"
"""Under kubeadm's name, since clients that join look for what kubeadm makes."""


def cluster_info(config: BootstrapConfig) -> Object:
    """``kube-public/cluster-info``: where the API server is and whom it is signed by, for nodes that are to join. The
    bootstrap signer adds signatures to it."""
    host = config.advertise_addresses[0]
    server = f"https://{f'[{host}]' if ':' in host else host}:{config.advertise_port}"
    authority = base64.b64encode(config.client_ca_pem).decode()
    kubeconfig = (
        f"apiVersion: v1\nclusters:\n- cluster:\n    certificate-authority-data: {authority}\n    server: {server}\n"
        '  name: ""\ncontexts: null\ncurrent-context: ""\nkind: Config\npreferences: {}\nusers: null\n'
    )
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "cluster-info", "namespace": "kube-public"},
        "data": {"kubeconfig": kubeconfig},
    }


def cluster_info_role() -> Object:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": {"name": _CLUSTER_INFO_ROLE, "namespace": "kube-public"},
        "rules": [
            {"apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["cluster-info"], "verbs": ["get"]}
        ],
    }


def cluster_info_binding() -> Object:
    """Anybody may read it, as with kubeadm: there is nothing secret in it."""
    group = "rbac.authorization.k8s.io"
    return {
        "apiVersion": f"{group}/v1",
        "kind": "RoleBinding",
        "metadata": {"name": _CLUSTER_INFO_ROLE, "namespace": "kube-public"},
        "roleRef": {"apiGroup": group, "kind": "Role", "name": _CLUSTER_INFO_ROLE},
        "subjects": [{"apiGroup": group, "kind": "User", "name": ANONYMOUS}],
    }


def dns_service(config: BootstrapConfig) -> Object:
    """The cluster's DNS, under the name that everybody knows. No selector: every node answers for itself."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": "kube-dns",
            "namespace": "kube-system",
            "labels": {
                "k8s-app": "kube-dns",
                "kubernetes.io/cluster-service": "true",
                "kubernetes.io/name": "CoreDNS",
            },
        },
        "spec": {
            "type": "ClusterIP",
            "clusterIP": config.dns_ip,
            "clusterIPs": [config.dns_ip],
            "ports": [
                {"name": "dns", "port": 53, "protocol": "UDP", "targetPort": 53},
                {"name": "dns-tcp", "port": 53, "protocol": "TCP", "targetPort": 53},
            ],
        },
    }


def kubernetes_service(config: BootstrapConfig) -> Object:
    """``default/kubernetes``."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": "kubernetes",
            "namespace": "default",
            "labels": {"component": "apiserver", "provider": "kubernetes"},
        },
        "spec": {
            "type": "ClusterIP",
            "clusterIP": config.service_ip,
            "clusterIPs": [config.service_ip],
            "sessionAffinity": "None",
            "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": config.advertise_port}],
        },
    }


def kubernetes_endpoints(config: BootstrapConfig, servers: Sequence[str]) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Endpoints",
        "metadata": {
            "name": "kubernetes",
            "namespace": "default",
            "labels": {"endpointslice.kubernetes.io/skip-mirror": "true"},
        },
        "subsets": [
            {
                "addresses": [{"ip": ip} for ip in sorted(servers)],
                "ports": [{"name": "https", "port": config.advertise_port, "protocol": "TCP"}],
            }
        ],
    }


def kubernetes_endpoint_slice(config: BootstrapConfig, servers: Sequence[str]) -> Object:
    addresses = sorted(servers)
    version = ipaddress.ip_address(addresses[0]).version
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": "kubernetes",
            "namespace": "default",
            "labels": {"kubernetes.io/service-name": "kubernetes"},
        },
        "addressType": f"IPv{version}",
        "endpoints": [{"addresses": [ip], "conditions": {"ready": True}} for ip in addresses],
        "ports": [{"name": "https", "port": config.advertise_port, "protocol": "TCP"}],
    }


def reachable_addresses(config: BootstrapConfig) -> list[str]:
    """The advertised addresses of the service range's family, but loopback ones: no pod could reach those, and a
    server that has no other has no nodes."""
    version = ipaddress.ip_network(config.service_cidr).version
    addresses = [ipaddress.ip_address(a) for a in config.advertise_addresses]
    return [str(a) for a in addresses if a.version == version and not a.is_loopback]


def plan_kubernetes_service(
    config: BootstrapConfig,
    servers: Sequence[str],
    service: Object | None,
    endpoints: Object | None,
    endpoint_slice: Object | None,
) -> list[tuple[Resource, Object]]:
    """The objects to create or update, by resource; those that exist carry their resourceVersion. `servers` are the
    addresses of the live servers, which are all reached at the same port."""
    planned: list[tuple[Resource, Object]] = []
    wanted = kubernetes_service(config)
    if service is None:
        planned.append((SERVICES, wanted))
    elif [_port(p) for p in (service.get("spec") or {}).get("ports") or ()] != [
        _port(p) for p in wanted["spec"]["ports"]
    ]:
        changed = clone(service)
        changed["spec"]["ports"] = wanted["spec"]["ports"]
        planned.append((SERVICES, changed))
    if not servers:
        return planned
    for resource, have, want, fields in (
        (ENDPOINTS, endpoints, kubernetes_endpoints(config, servers), ("subsets",)),
        (
            ENDPOINTSLICES,
            endpoint_slice,
            kubernetes_endpoint_slice(config, servers),
            ("addressType", "endpoints", "ports"),
        ),
    ):
        if have is None:
            planned.append((resource, want))
            continue
        labels = metadata(have).get("labels") or {}
        if all(have.get(f) == want.get(f) for f in fields) and metadata(want)["labels"].items() <= labels.items():
            continue
        changed = clone(have)
        changed["metadata"]["labels"] = {**labels, **metadata(want)["labels"]}
        for f in fields:
            changed[f] = want[f]
        planned.append((resource, changed))
    return planned


def _port(port: Object) -> tuple[object, ...]:
    return port.get("name"), port.get("port"), port.get("protocol", "TCP"), port.get("targetPort")


async def reconcile_kubernetes_service(
    client: Client, config: BootstrapConfig, servers: Sequence[str] | None = None
) -> None:
    """Makes the kubernetes Service, Endpoints and EndpointSlice true; without `servers` this one is alone. Raises
    ApiError."""
    if servers is None:
        servers = reachable_addresses(config)
    have = {r: await _get(client, r, "kubernetes", "default") for r in (SERVICES, ENDPOINTS, ENDPOINTSLICES)}
    for resource, obj in plan_kubernetes_service(
        config, servers, have[SERVICES], have[ENDPOINTS], have[ENDPOINTSLICES]
    ):
        if have[resource] is None:
            await client.create(resource, obj, "default")
        else:
            await client.update(resource, obj)


async def _get(client: Client, resource: Resource, name: str, namespace: str) -> Object | None:
    try:
        return await client.get(resource, name, namespace)
    except errors.NotFound:
        return None


class KubernetesService:
    """Keeps the kubernetes Service and its endpoints true: `run` until cancelled. Without `servers` this one is
    alone."""

    def __init__(
        self,
        client: Client,
        reader: ObservableReader,
        config: BootstrapConfig,
        clock: Clock,
        servers: MasterLeases | None = None,
    ) -> None:
        self._servers = servers
        self._client = client
        self._reader = reader
        self._config = config
        self._clock = clock
        self._changed = asyncio.Event()

    async def run(self) -> None:
        """Follows the three objects; a failed write is tried again with back-off. Cancellation leaves nothing."""
        unsubscribe: list[Callable[[], None]] = [
            self._reader.subscribe(resource, self._note) for resource in (SERVICES, ENDPOINTS, ENDPOINTSLICES)
        ]
        if self._servers is not None:
            unsubscribe.append(self._servers.subscribe(self._changed.set))
        try:
            failures = 0
            while True:
                await self._changed.wait()
                self._changed.clear()
                try:
                    servers = self._servers.addresses() if self._servers is not None else None
                    await reconcile_kubernetes_service(self._client, self._config, servers)
                    failures = 0
                except (errors.Conflict, errors.AlreadyExists):
                    # Another server was quicker: its write will be seen.
                    self._changed.set()
                except errors.ApiError as error:
                    log.warning("the kubernetes service could not be reconciled", error=str(error))
                    await self._clock.sleep(_RETRY_SECONDS[min(failures, len(_RETRY_SECONDS) - 1)])
                    failures += 1
                    self._changed.set()
        finally:
            for stop in unsubscribe:
                stop()

    def _note(self, old: Object | None, new: Object | None) -> None:
        obj = new or old
        if obj is not None and name_of(obj) == "kubernetes" and namespace_of(obj) == "default":
            self._changed.set()
