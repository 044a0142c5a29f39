"""Validation of volumes: exactly one source each, and the rules of every source.

Source of rules and texts: ``pkg/apis/core/validation/validation.go``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

from pybernetes.api import names
from pybernetes.api.kinds.amounts import amount, quantity_fault
from pybernetes.api.kinds.claims import claim_spec, template_meta
from pybernetes.api.kinds.faults import Faults, in_range
from pybernetes.api.kinds.labels import label_selector
from pybernetes.api.kinds.podspec.containers import (
    PULL_POLICIES,
    VOLUME_FIELDS,
    field_selector,
    resource_field_selector,
)
from pybernetes.api.kinds.podspec.paths import backsteps, descending_path, file_mode, local_path
from pybernetes.api.kinds.prefixed import signer_name
from pybernetes.api.meta import Object

ONE_TYPE = "may not specify more than 1 volume type"


_dns_label = lru_cache(maxsize=4096)(lambda value: tuple(names.dns_label(value)))


def volumes(faults: Faults, path: str, items: list[Object], pod_name: str, *, is_pod: bool) -> dict[str, Object]:
    """Checks ``spec.volumes`` and returns the valid ones by name. `pod_name` is empty inside a template."""
    found: dict[str, Object] = {}
    created = {f"{pod_name}-{v.get('name')}" for v in items if v.get("ephemeral") is not None} if pod_name else set()
    for i, volume in enumerate(items):
        at, before = f"{path}[{i}]", len(faults)
        _source(faults, at, volume, pod_name, is_pod)
        name = volume.get("name") or ""
        if not name:
            faults.required(f"{at}.name")
        else:
            messages = _dns_label(name)
            if messages:
                faults.each(f"{at}.name", name, messages)
        if name in found:
            faults.duplicate(f"{at}.name", name)
        if len(faults) == before:
            found[name] = volume
        claim = (volume.get("persistentVolumeClaim") or {}).get("claimName")
        if claim in created:
            faults.invalid(
                f"{at}.persistentVolumeClaim.claimName",
                claim,
                "must not reference a PVC that gets created for an ephemeral volume",
            )
    return found


def _source(faults: Faults, path: str, volume: Object, pod_name: str, is_pod: bool) -> None:
    count = 0
    kinds = [kind for kind in volume if kind in _SOURCES and volume[kind] is not None]
    if len(kinds) > 1:
        kinds = [kind for kind in _SOURCES if kind in kinds]
    for kind in kinds:
        source = volume[kind]
        if count:
            faults.forbidden(f"{path}.{_SPELLED_WHEN_TOO_MANY.get(kind, kind)}", ONE_TYPE)
        else:
            _SOURCES[kind](faults, f"{path}.{_SPELLED.get(kind, kind)}", source)
        count += 1
        if kind == "iscsi":
            initiator_length(faults, f"{path}.name", volume.get("name") or "", volume.get("name") or "", source)
        if count > 1:
            continue
        if kind == "ephemeral" and pod_name and volume.get("name"):
            claim = f"{pod_name}-{volume['name']}"
            for message in names.dns_subdomain(claim):
                faults.invalid(f"{path}.name", volume["name"], f'PVC name "{claim}": {message}')
        if kind == "image" and is_pod and not source.get("reference"):
            faults.required(f"{path}.image.reference")
    if not count:
        faults.required(path, "must specify a volume type")


_SPELLED = {"gcePersistentDisk": "persistentDisk"}
_SPELLED_WHEN_TOO_MANY = {"cephfs": "cephFS", "downwardAPI": "downwarAPI"}
"""Paths that upstream spells otherwise than the fields they name."""


def requires(*fields: str) -> Callable[[Faults, str, Object], None]:
    """A check that some fields are set."""

    def check(faults: Faults, path: str, source: Object) -> None:
        for name in fields:
            if not source.get(name):
                faults.required(f"{path}.{name}")

    return check


def _empty_dir(faults: Faults, path: str, source: Object) -> None:
    limit = source.get("sizeLimit")
    if limit is None:
        return
    value = amount(limit)
    if value is None:
        faults.invalid(f"{path}.sizeLimit", limit, quantity_fault())
    elif value < 0:
        faults.forbidden(f"{path}.sizeLimit", "SizeLimit field must be a valid resource quantity")


_HOST_PATH_TYPES = (
    "", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket",
)  # fmt: skip


def host_path(faults: Faults, path: str, source: Object) -> None:
    if not source.get("path"):
        faults.required(f"{path}.path")
        return
    backsteps(faults, f"{path}.path", source["path"])
    kind = source.get("type")
    if kind is not None and kind not in _HOST_PATH_TYPES:
        faults.not_supported(f"{path}.type", kind, _HOST_PATH_TYPES)


def _git_repo(faults: Faults, path: str, source: Object) -> None:
    if not source.get("repository"):
        faults.required(f"{path}.repository")
    descending_path(faults, f"{path}.directory", source.get("directory") or "")


def partitioned(name: str) -> Callable[[Faults, str, Object], None]:
    """A cloud disk, with the field that names it and an optional partition."""

    def check(faults: Faults, path: str, source: Object) -> None:
        if not source.get(name):
            faults.required(f"{path}.{name}")
        partition = source.get("partition") or 0
        if not 0 <= partition <= 255:
            faults.invalid(f"{path}.partition", partition, in_range(1, 255))

    return check


def _key_to_path(faults: Faults, path: str, item: Object) -> None:
    if not item.get("key"):
        faults.required(f"{path}.key")
    if not item.get("path"):
        faults.required(f"{path}.path")
    local_path(faults, f"{path}.path", item.get("path") or "")
    file_mode(faults, f"{path}.mode", item.get("mode"))


def _files(name: str) -> Callable[[Faults, str, Object], None]:
    """A secret or config map volume: the field that names the object, a mode, and items."""

    def check(faults: Faults, path: str, source: Object) -> None:
        if not source.get(name):
            faults.required(f"{path}.{name}")
        file_mode(faults, f"{path}.defaultMode", source.get("defaultMode"))
        for i, item in enumerate(source.get("items") or ()):
            _key_to_path(faults, f"{path}.items[{i}]", item)

    return check


def nfs(faults: Faults, path: str, source: Object) -> None:
    requires("server", "path")(faults, path, source)
    if not (source.get("path") or "").startswith("/"):
        faults.invalid(f"{path}.path", source.get("path") or "", "must be an absolute path")


_IQN = re.compile(r"iqn\.\d{4}-\d{2}\.([A-Za-z0-9\-.]+)(:[^,;*&$|\s]+)$", re.ASCII)
_EUI = re.compile(r"eui.[A-Za-z0-9]{16}", re.ASCII)
_NAA = re.compile(r"naa.[A-Za-z0-9]{32}", re.ASCII)


def _iscsi_name(faults: Faults, path: str, name: str, *, persistent: bool) -> None:
    if not name.startswith(("iqn", "eui", "naa")):
        faults.invalid(path, name, "must be valid format" + ("" if persistent else " starting with iqn, eui, or naa"))
        return
    pattern = {"iqn": _IQN, "eui": _EUI, "naa": _NAA}[name[:3]]
    if not (pattern.search(name) if pattern is _IQN else pattern.fullmatch(name)):
        faults.invalid(path, name, "must be valid format")


def initiator_length(faults: Faults, path: str, shown: str, name: str, source: Object) -> None:
    """A volume's name and its portal make up the name of an interface, where an initiator is given."""
    if source.get("initiatorName") is not None and len(f"{name}:{source.get('targetPortal') or ''}".encode()) > 64:
        faults.invalid(
            path,
            shown,
            "Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters if iscsi.initiatorName is "
            "specified.",
        )


def iscsi(faults: Faults, path: str, source: Object, *, persistent: bool = False) -> None:
    if not source.get("targetPortal"):
        faults.required(f"{path}.targetPortal")
    if not source.get("iqn"):
        faults.required(f"{path}.iqn")
    else:
        _iscsi_name(faults, f"{path}.iqn", source["iqn"], persistent=persistent)
    lun = source.get("lun") or 0
    if not 0 <= lun <= 255:
        faults.invalid(f"{path}.lun", lun, in_range(0, 255))
    if (source.get("chapAuthDiscovery") or source.get("chapAuthSession")) and source.get("secretRef") is None:
        faults.required(f"{path}.secretRef")
    if persistent:
        _secret(faults, path, source, ("name",))
    if source.get("initiatorName") is not None:
        _iscsi_name(faults, f"{path}.initiatorname", source["initiatorName"], persistent=persistent)


def fc(faults: Faults, path: str, source: Object) -> None:
    wwns, wwids, lun = source.get("targetWWNs"), source.get("wwids"), source.get("lun")
    if not wwns and not wwids:
        faults.required(f"{path}.targetWWNs", "must specify either targetWWNs or wwids, but not both")
    if wwns and wwids:
        faults.invalid(f"{path}.targetWWNs", wwns, "targetWWNs and wwids can not be specified simultaneously")
    if wwns:
        if lun is None:
            faults.required(f"{path}.lun", "lun is required if targetWWNs is specified")
        elif not 0 <= lun <= 255:
            faults.invalid(f"{path}.lun", lun, in_range(0, 255))


def flocker(faults: Faults, path: str, source: Object) -> None:
    name, uid = source.get("datasetName") or "", source.get("datasetUUID")
    if not name and not uid:
        faults.required(path, "one of datasetName and datasetUUID is required")
    if name and uid:
        faults.invalid(path, "resource", "datasetName and datasetUUID can not be specified simultaneously")
    if "/" in name:
        faults.invalid(f"{path}.datasetName", name, "must not contain '/'")


def flex(faults: Faults, path: str, source: Object) -> None:
    if not source.get("driver"):
        faults.required(f"{path}.driver")
    for key in source.get("options") or ():
        domain = "." + key.partition("/")[0].lower()
        if domain.endswith((".kubernetes.io", ".k8s.io")):
            faults.invalid(f"{path}.options[{key}]", key, "kubernetes.io and k8s.io namespaces are reserved")


def azure_disk(faults: Faults, path: str, source: Object) -> None:
    requires("diskName", "diskURI")(faults, path, source)
    for name, supported in (
        ("cachingMode", ("None", "ReadOnly", "ReadWrite")),
        ("kind", ("Dedicated", "Managed", "Shared")),
    ):
        value = source.get(name)
        if value is not None and value not in supported:
            faults.not_supported(f"{path}.{name}", value, supported)

    uri = source.get("diskURI") or ""
    if source.get("kind") == "Managed":
        if not uri.startswith("/subscriptions/"):
            faults.not_supported(f"{path}.diskURI", uri, (_MANAGED_DISK,))
    elif source.get("kind") is not None and not uri.startswith("https://"):
        faults.not_supported(f"{path}.diskURI", uri, (_BLOB_DISK,))


_MANAGED_DISK = (
    "/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}"
)  # fmt: skip
_BLOB_DISK = "https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd"


def quobyte(faults: Faults, path: str, source: Object) -> None:
    registry, form = source.get("registry") or "", "must be a host:port pair or multiple pairs separated by commas"
    if not registry:
        faults.required(f"{path}.registry", form)
    elif len(source.get("tenant") or "") >= 65:
        faults.required(f"{path}.tenant", "must be a UUID and may not exceed a length of 64 characters")
    else:
        for pair in registry.split(","):
            host, colon, _ = pair.rpartition(":")
            if not colon or (":" in host and not (host.startswith("[") and host.endswith("]"))):
                faults.invalid(f"{path}.registry", registry, form)
    if not source.get("volume"):
        faults.required(f"{path}.volume")


def _secret(faults: Faults, path: str, source: Object, fields: tuple[str, ...]) -> None:
    """A reference to a secret, where there is one."""
    reference = source.get("secretRef")
    if reference is None:
        return
    for name in fields:
        if not reference.get(name):
            faults.required(f"{path}.secretRef.{name}")


def cinder(faults: Faults, path: str, source: Object, *, persistent: bool = False) -> None:
    if not source.get("volumeID"):
        faults.required(f"{path}.volumeID")
    _secret(faults, path, source, ("name", "namespace") if persistent else ("name",))


def storage_os(faults: Faults, path: str, source: Object, *, persistent: bool = False) -> None:
    name, namespace = source.get("volumeName") or "", source.get("volumeNamespace")
    if not name:
        faults.required(f"{path}.volumeName")
    else:
        faults.each(f"{path}.volumeName", name, names.dns_label(name))
    if namespace:
        faults.each(f"{path}.volumeNamespace", namespace, names.dns_label(namespace))
    _secret(faults, path, source, ("name", "namespace") if persistent else ("name",))


def scale_io(faults: Faults, path: str, source: Object) -> None:
    requires("gateway", "system", "volumeName")(faults, path, source)


def csi_inline(faults: Faults, path: str, source: Object) -> None:
    csi_driver_name(faults, f"{path}.driver", source.get("driver") or "")
    reference = source.get("nodePublishSecretRef")
    if reference is None:
        return
    if not reference.get("name"):
        faults.required(f"{path}.nodePublishSecretRef.name")
    else:
        faults.each(f"{path}.name", reference["name"], names.dns_subdomain(reference["name"]))


def csi_driver_name(faults: Faults, path: str, name: str) -> None:
    if not name:
        faults.required(path)
    if len(name) > 63:
        faults.too_long(path, 63)
    faults.each(path, name, names.dns_subdomain(name.lower()))


def _downward_file(faults: Faults, path: str, item: Object) -> None:
    # Upstream gives no index here: the path is the volume's.
    if not item.get("path"):
        faults.required(f"{path}.path")
    local_path(faults, f"{path}.path", item.get("path") or "")
    if item.get("fieldRef") is not None:
        field_selector(faults, f"{path}.fieldRef", item["fieldRef"], VOLUME_FIELDS)
        if item.get("resourceFieldRef") is not None:
            faults.invalid(path, "resource", "fieldRef and resourceFieldRef can not be specified simultaneously")
    elif item.get("resourceFieldRef") is not None:
        resource_field_selector(faults, f"{path}.resourceFieldRef", item["resourceFieldRef"], volume=True)
    else:
        faults.required(path, "one of fieldRef and resourceFieldRef is required")
    file_mode(faults, f"{path}.mode", item.get("mode"))


def _downward(faults: Faults, path: str, source: Object) -> None:
    file_mode(faults, f"{path}.defaultMode", source.get("defaultMode"))
    for item in source.get("items") or ():
        _downward_file(faults, path, item)


def _projected(faults: Faults, path: str, source: Object) -> None:
    file_mode(faults, f"{path}.defaultMode", source.get("defaultMode"))
    seen: set[str] = set()

    def unique(target: str, shown: str) -> None:
        if target and target in seen:
            faults.invalid(path, shown, "conflicting duplicate paths")
        seen.add(target)

    for i, part in enumerate(source.get("sources") or ()):
        at, count = f"{path}.sources[{i}]", 0
        for kind in ("secret", "configMap"):
            files = part.get(kind)
            if files is None:
                continue
            count += 1
            if not files.get("name"):
                faults.required(f"{at}.{kind}.name")
            for j, item in enumerate(files.get("items") or ()):
                _key_to_path(faults, f"{at}.{kind}.items[{j}]", item)
                unique(item.get("path") or "", files.get("name") or "")
        downward = part.get("downwardAPI")
        if downward is not None:
            count += 1
            for item in downward.get("items") or ():
                _downward_file(faults, f"{at}.downwardAPI", item)
                unique(item.get("path") or "", item.get("path") or "")
        token = part.get("serviceAccountToken")
        if token is not None:
            count += 1
            _token(faults, path, f"{at}.serviceAccountToken", token)
        bundle = part.get("clusterTrustBundle")
        if bundle is not None:
            count += 1
            _trust_bundle(faults, f"{at}.clusterTrustBundle", bundle)
            unique(bundle.get("path") or "", bundle.get("path") or "")
        certificate = part.get("podCertificate")
        if certificate is not None:
            count += 1
            _pod_certificate(faults, f"{at}.podCertificate", certificate)
        if count > 1:
            faults.forbidden(at, "may not specify more than 1 volume type per source")


def _token(faults: Faults, volume_path: str, path: str, token: Object) -> None:
    seconds = token.get("expirationSeconds") or 0
    if seconds < 600:
        faults.invalid(f"{path}.expirationSeconds", seconds, "may not specify a duration less than 10 minutes")
    if seconds > 1 << 32:
        faults.invalid(f"{path}.expirationSeconds", seconds, "may not specify a duration larger than 2^32 seconds")
    if not token.get("path"):
        faults.required(f"{volume_path}.path")
    else:
        local_path(faults, f"{volume_path}.path", token["path"])


def _trust_bundle(faults: Faults, path: str, bundle: Object) -> None:
    name, signer = bundle.get("name"), bundle.get("signerName")
    if name is not None and signer is not None:
        faults.invalid(path, bundle, "only one of name and signerName may be used")
    elif name is not None:
        if not name:
            faults.required(f"{path}.name", "must be a valid object name")
        for message in names.dns_subdomain(name.rpartition(":")[2]):
            faults.invalid(f"{path}.name", name, f"not a valid clustertrustbundlename: {message}")
        if bundle.get("labelSelector") is not None:
            faults.invalid(
                f"{path}.labelSelector", bundle["labelSelector"], "labelSelector must be unset if name is specified"
            )
    elif signer is not None:
        if not signer:
            faults.required(f"{path}.signerName", "must be a valid signer name")
        signer_name(faults, f"{path}.signerName", signer)
        label_selector(faults, f"{path}.labelSelector", bundle.get("labelSelector"))
    else:
        faults.required(path, "either name or signerName must be specified")
    if not bundle.get("path"):
        faults.required(f"{path}.path")
    local_path(faults, f"{path}.path", bundle.get("path") or "")


def _pod_certificate(faults: Faults, path: str, certificate: Object) -> None:
    signer_name(faults, f"{path}.signerName", certificate.get("signerName") or "")
    if not certificate.get("keyType"):
        faults.required(f"{path}.keyType")
    for name in ("credentialBundlePath", "keyPath", "certificateChainPath"):
        if certificate.get(name):
            local_path(faults, f"{path}.{name}", certificate[name])


def _ephemeral(faults: Faults, path: str, source: Object) -> None:
    template = source.get("volumeClaimTemplate")
    if template is None:
        faults.required(f"{path}.volumeClaimTemplate")
    else:
        template_meta(faults, f"{path}.volumeClaimTemplate.metadata", template.get("metadata") or {})
        claim_spec(faults, f"{path}.volumeClaimTemplate.spec", template.get("spec") or {})


def _image(faults: Faults, path: str, source: Object) -> None:
    if source.get("pullPolicy") not in PULL_POLICIES:
        faults.one_of(f"{path}.pullPolicy", source.get("pullPolicy"), PULL_POLICIES)


_SOURCES: dict[str, Callable[[Faults, str, Object], None]] = {
    "emptyDir": _empty_dir,
    "hostPath": host_path,
    "gitRepo": _git_repo,
    "gcePersistentDisk": partitioned("pdName"),
    "awsElasticBlockStore": partitioned("volumeID"),
    "secret": _files("secretName"),
    "nfs": nfs,
    "iscsi": iscsi,
    "glusterfs": requires("endpoints", "path"),
    "flocker": flocker,
    "persistentVolumeClaim": requires("claimName"),
    "rbd": requires("monitors", "image"),
    "cinder": cinder,
    "cephfs": requires("monitors"),
    "quobyte": quobyte,
    "downwardAPI": _downward,
    "fc": fc,
    "flexVolume": flex,
    "configMap": _files("name"),
    "azureFile": requires("secretName", "shareName"),
    "vsphereVolume": requires("volumePath"),
    "photonPersistentDisk": requires("pdID"),
    "portworxVolume": requires("volumeID"),
    "azureDisk": azure_disk,
    "storageos": storage_os,
    "projected": _projected,
    "scaleIO": scale_io,
    "csi": csi_inline,
    "ephemeral": _ephemeral,
    "image": _image,
}
"""In the order in which upstream looks at them."""
