"""Volumes, environment, names and security contexts, as containers see them."""

from __future__ import annotations

import base64
import stat
from typing import Any

import pytest

from pybernetes.api.meta import Object, clone, uid_of
from pybernetes.api.resources import (
    CONFIGMAPS,
    PERSISTENTVOLUMECLAIMS,
    PERSISTENTVOLUMES,
    PODS,
    SECRETS,
    SERVICES,
)
from tests.integration.kubelet.conftest import Machine
from tests.support.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def config_map(machine: Machine, name: str, **data: str) -> Object:
    return await machine.create(CONFIGMAPS, {"metadata": {"name": name}, "data": data})


async def secret(machine: Machine, name: str, **data: str) -> Object:
    encoded = {k: base64.b64encode(v.encode()).decode() for k, v in data.items()}
    return await machine.create(SECRETS, {"metadata": {"name": name}, "data": encoded})


def mount(name: str, path: str, **fields: Any) -> Object:
    return {"name": name, "mountPath": path, **fields}


async def shows(machine: Machine, pod: str, path: str, text: str, seconds: float = 15.0) -> None:
    """Waits until a file in the container reads so."""

    async def look() -> bool:
        return await machine.exec(pod, "cat", path) == text

    await until(look, seconds, f"{path} in {pod} reads {text!r}")


async def test_config_maps_and_secrets_as_files_follow_their_objects(machine: Machine) -> None:
    await config_map(machine, "files", a="one", b="two")
    await secret(machine, "hidden", password="s3cret")
    await machine.pod(
        "files",
        {
            "volumeMounts": [
                mount("all", "/all"),
                mount("some", "/some"),
                mount("hidden", "/hidden"),
                mount("all", "/single/a", subPath="a"),
            ]
        },
        volumes=[
            {"name": "all", "configMap": {"name": "files"}},
            {
                "name": "some",
                "configMap": {"name": "files", "items": [{"key": "b", "path": "deep/er/b", "mode": 0o400}]},
            },
            {"name": "hidden", "secret": {"secretName": "hidden", "defaultMode": 0o440}},
        ],
    )
    await machine.running("files")
    assert await machine.exec("files", "cat", "/all/a", "/some/deep/er/b", "/hidden/password") == "onetwos3cret"
    assert (await machine.exec("files", "stat", "-Lc", "%a", "/some/deep/er/b", "/hidden/password")).split() == [
        "400",
        "440",
    ]
    assert await machine.exec("files", "cat", "/single/a") == "one"
    assert await machine.exec("files", "sh", "-c", "echo x > /all/a 2>/dev/null || echo refused") == "refused\n"

    changed = clone(machine.get(CONFIGMAPS, "files"))
    changed["data"] = {"a": "newer", "c": "three"}
    await machine.admin.update(CONFIGMAPS, changed)
    await shows(machine, "files", "/all/a", "newer")
    assert (await machine.exec("files", "ls", "/all")).split() == ["a", "c"]
    # A file mounted by its subPath does not follow, as upstream documents.
    assert await machine.exec("files", "cat", "/single/a") == "one"
    # The other volume's key is gone now: it stays as it was, and an event says why.
    await machine.until(lambda: machine.events("files", "FailedMount"))
    assert machine.events("files", "FailedMount") == [
        'MountVolume.SetUp failed for volume "some" : references non-existent config key: b'
    ]
    assert await machine.exec("files", "cat", "/some/deep/er/b") == "two"


async def test_a_pod_waits_for_its_config_map(machine: Machine) -> None:
    await machine.pod(
        "waits",
        {"volumeMounts": [mount("config", "/config")]},
        volumes=[{"name": "config", "configMap": {"name": "later"}}],
    )
    await machine.until(lambda: machine.events("waits", "FailedMount"))
    assert machine.events("waits", "FailedMount") == [
        'MountVolume.SetUp failed for volume "config" : configmap "later" not found'
    ]
    assert machine.container("waits")["state"] == {"waiting": {"reason": "ContainerCreating"}}
    assert machine.status("waits")["phase"] == "Pending" and "podIP" not in machine.status("waits")
    await config_map(machine, "later", key="value")
    await machine.running("waits")
    assert await machine.exec("waits", "cat", "/config/key") == "value"


async def test_empty_dirs_are_shared_and_end_with_the_pod(machine: Machine) -> None:
    pod = await machine.pod(
        "shared",
        {"volumeMounts": [mount("disk", "/left"), mount("memory", "/memory")]},
        {"name": "other", "volumeMounts": [mount("disk", "/right", readOnly=True)]},
        volumes=[
            {"name": "disk", "emptyDir": {}},
            {"name": "memory", "emptyDir": {"medium": "Memory", "sizeLimit": "4Mi"}},
        ],
    )
    await machine.running("shared")
    await machine.exec("shared", "sh", "-c", "echo hello > /left/file")
    assert await machine.exec("shared", "cat", "/right/file", container="other") == "hello\n"
    refused = await machine.exec("shared", "sh", "-c", "touch /right/x 2>&1 || true", container="other")
    assert "Read-only file system" in refused
    table = await machine.exec("shared", "grep", " /memory ", "/proc/mounts")
    assert table.startswith("tmpfs /memory tmpfs") and "size=4096k" in table
    directory = machine.config.root_directory / "pods" / uid_of(pod)
    assert directory.is_dir()
    # A container that comes back finds its files.
    await machine.exec("shared", "sh", "-c", "kill -9 $(pidof sleep) || true")
    await machine.until(lambda: machine.container("shared")["restartCount"] == 1)
    await machine.running("shared")
    assert await machine.exec("shared", "cat", "/left/file") == "hello\n"
    await machine.delete("shared")
    await machine.drained_of(uid_of(pod))
    assert not directory.exists()


async def test_host_paths_are_checked(machine: Machine) -> None:
    base = machine.config.root_directory.parent
    (base / "a-file").write_text("from the node")
    await machine.pod(
        "hostpath",
        {"volumeMounts": [mount("file", "/file"), mount("made", "/made")]},
        volumes=[
            {"name": "file", "hostPath": {"path": str(base / "a-file"), "type": "File"}},
            {"name": "made", "hostPath": {"path": str(base / "made"), "type": "DirectoryOrCreate"}},
        ],
    )
    await machine.running("hostpath")
    assert await machine.exec("hostpath", "cat", "/file") == "from the node"
    assert stat.S_IMODE((base / "made").stat().st_mode) == 0o755
    await machine.delete("hostpath")
    assert (base / "made").is_dir()
    await machine.pod(
        "badpath",
        {"volumeMounts": [mount("file", "/file")]},
        volumes=[{"name": "file", "hostPath": {"path": str(base / "a-file"), "type": "Directory"}}],
    )
    await machine.until(lambda: machine.events("badpath", "FailedMount"))
    assert machine.events("badpath", "FailedMount") == [
        f'MountVolume.SetUp failed for volume "file" : hostPath type check failed: {base}/a-file is not a directory'
    ]
    await machine.delete("badpath")


async def test_the_downward_api(machine: Machine) -> None:
    env = [
        {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}
        for name, path in {
            "NAME": "metadata.name",
            "SPACE": "metadata.namespace",
            "IP": "status.podIP",
            "HOST": "status.hostIP",
            "NODE": "spec.nodeName",
            "TIER": "metadata.labels['tier']",
        }.items()
    ]
    resource = {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}}
    env.append({"name": "MEMORY", "valueFrom": resource})
    env.append({"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "requests.cpu"}}})
    items = [
        {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}},
        {"path": "memory", "resourceFieldRef": {"resource": "limits.memory", "containerName": "main"}},
    ]
    await machine.pod(
        "downward",
        {
            "env": env,
            "volumeMounts": [mount("info", "/info")],
            "resources": {"limits": {"memory": "64Mi"}, "requests": {"cpu": "250m"}},
        },
        metadata={"labels": {"tier": "front", "a": 'q"uote'.replace('"', ".")}},
        volumes=[{"name": "info", "downwardAPI": {"items": items}}],
    )
    status = await machine.running("downward")
    seen = dict(line.split("=", 1) for line in (await machine.exec("downward", "env")).splitlines())
    wanted = {
        "NAME": "downward",
        "SPACE": "default",
        "IP": status["podIP"],
        "HOST": "192.0.2.7",
        "NODE": "node-1",
        "TIER": "front",
        "MEMORY": "64",
        "CPU": "1",
    }
    assert {k: seen.get(k) for k in wanted} == wanted
    assert await machine.exec("downward", "cat", "/info/memory") == str(64 << 20)
    assert await machine.exec("downward", "cat", "/info/labels") == 'a="q.uote"\ntier="front"'
    await machine.admin.patch(PODS, "downward", {"metadata": {"labels": {"tier": "back"}}}, "default")
    await shows(machine, "downward", "/info/labels", 'a="q.uote"\ntier="back"')


async def test_a_projected_token_is_the_pods_own(machine: Machine) -> None:
    if machine.get(CONFIGMAPS, "kube-root-ca.crt") is None:
        await config_map(machine, "kube-root-ca.crt", **{"ca.crt": "the CA"})
    pod = await machine.pod("token", automountServiceAccountToken=True)
    await machine.running("token")
    path = "/var/run/secrets/kubernetes.io/serviceaccount"
    assert (await machine.exec("token", "ls", path)).split() == ["ca.crt", "namespace", "token"]
    assert await machine.exec("token", "cat", f"{path}/namespace") == "default"
    token = await machine.exec("token", "cat", f"{path}/token")
    payload = token.split(".")[1]
    claims = base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)).decode()
    assert uid_of(pod) in claims
    assert "tmpfs" in await machine.exec("token", "sh", "-c", f"grep {path} /proc/mounts")


async def test_claims_on_the_nodes_storage(machine: Machine) -> None:
    path = machine.config.root_directory.parent / "claimed"
    await machine.create(
        PERSISTENTVOLUMES,
        {
            "metadata": {"name": "disk"},
            "spec": {
                "capacity": {"storage": "1Gi"},
                "accessModes": ["ReadWriteOnce"],
                "hostPath": {"path": str(path), "type": "DirectoryOrCreate"},
                "storageClassName": "",
                "claimRef": {"namespace": "default", "name": "claim"},
            },
        },
        "",
    )
    await machine.create(
        PERSISTENTVOLUMECLAIMS,
        {
            "metadata": {"name": "claim"},
            "spec": {
                "accessModes": ["ReadWriteOnce"],
                "storageClassName": "",
                "volumeName": "disk",
                "resources": {"requests": {"storage": "1Gi"}},
            },
        },
    )
    await machine.pod(
        "claims",
        {"volumeMounts": [mount("data", "/data", subPathExpr="$(WHERE)")], "env": [{"name": "WHERE", "value": "sub"}]},
        volumes=[{"name": "data", "persistentVolumeClaim": {"claimName": "claim"}}],
        securityContext={"fsGroup": 4242},
    )
    await machine.until(lambda: machine.events("claims", "FailedMount"))
    assert machine.events("claims", "FailedMount")[0].startswith('MountVolume.SetUp failed for volume "data" : PVC')
    claim = machine.get(PERSISTENTVOLUMECLAIMS, "claim")
    assert claim is not None
    await machine.admin.patch(
        PERSISTENTVOLUMECLAIMS, "claim", {"status": {"phase": "Bound"}}, "default", subresource="status"
    )
    await machine.running("claims")
    await machine.exec("claims", "sh", "-c", "echo kept > /data/file")
    assert (path / "sub" / "file").read_text() == "kept\n"
    assert path.stat().st_gid == 4242
    await machine.delete("claims")
    assert (path / "sub" / "file").read_text() == "kept\n"


async def test_the_environment(machine: Machine) -> None:
    await config_map(machine, "settings", COLOUR="red", SIZE="large")
    await secret(machine, "keys", KEY="value")
    await machine.create(
        SERVICES,
        {"metadata": {"name": "my-db"}, "spec": {"ports": [{"port": 5432, "name": "sql"}], "clusterIP": "10.96.7.7"}},
    )
    await machine.pod(
        "environment",
        {
            "env": [
                {"name": "GREETING", "value": "hello $(COLOUR) $$(COLOUR) $(NOBODY) at $(MY_DB_SERVICE_HOST)"},
                {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "KEY"}}},
                {"name": "NONE", "valueFrom": {"configMapKeyRef": {"name": "no", "key": "no", "optional": True}}},
            ],
            "envFrom": [
                {"configMapRef": {"name": "settings"}},
                {"prefix": "S_", "secretRef": {"name": "keys"}},
                {"configMapRef": {"name": "absent", "optional": True}},
            ],
            "command": ["/sbin/init", "--", "sleep", "1000"],
        },
    )
    await machine.running("environment")
    seen = dict(line.split("=", 1) for line in (await machine.exec("environment", "env")).splitlines())
    wanted = {
        "COLOUR": "red",
        "SIZE": "large",
        "S_KEY": "value",
        "KEY": "value",
        "GREETING": "hello red $(COLOUR) $(NOBODY) at 10.96.7.7",
        "MY_DB_SERVICE_PORT_SQL": "5432",
        "MY_DB_PORT_5432_TCP": "tcp://10.96.7.7:5432",
        "KUBERNETES_SERVICE_HOST": "10.96.0.1",
    }
    assert {k: seen.get(k) for k in wanted} == wanted
    assert "NONE" not in seen


async def test_a_missing_key_is_a_config_error_until_it_is_there(machine: Machine) -> None:
    await config_map(machine, "partial", there="yes")
    reference = {"configMapKeyRef": {"name": "partial", "key": "missing"}}
    await machine.pod("unready", {"env": [{"name": "X", "valueFrom": reference}]})
    waiting = await machine.until(
        lambda: (
            (w := machine.container("unready").get("state", {}).get("waiting", {})).get("reason")
            == "CreateContainerConfigError"
            and w
        )
    )
    assert waiting["message"] == "couldn't find key missing in ConfigMap default/partial"
    await machine.until(lambda: machine.events("unready", "Failed") == [f"Error: {waiting['message']}"])
    await machine.admin.patch(CONFIGMAPS, "partial", {"data": {"missing": "no more"}}, "default")
    await machine.running("unready")


async def test_names(machine: Machine) -> None:
    await machine.pod(
        "names",
        hostname="web-0",
        subdomain="web",
        hostAliases=[{"ip": "10.1.2.3", "hostnames": ["foo.local", "bar.local"]}],
        dnsConfig={"searches": ["example.org"], "options": [{"name": "ndots", "value": "2"}, {"name": "edns0"}]},
    )
    status = await machine.running("names")
    assert await machine.exec("names", "hostname") == "web-0\n"
    hosts = (await machine.exec("names", "cat", "/etc/hosts")).splitlines()
    assert hosts[0] == "# Kubernetes-managed hosts file."
    assert f"{status['podIP']}\tweb-0.web.default.svc.cluster.local\tweb-0" in hosts
    assert hosts[-2:] == ["# Entries added by HostAliases.", "10.1.2.3\tfoo.local\tbar.local"]
    resolver = (await machine.exec("names", "cat", "/etc/resolv.conf")).splitlines()
    assert "nameserver 10.96.0.10" in resolver
    search = next(line for line in resolver if line.startswith("search ")).split()[1:]
    assert search[:3] == ["default.svc.cluster.local", "svc.cluster.local", "cluster.local"]
    assert search[-1] == "example.org"
    assert "options ndots:2 edns0" in resolver


async def test_security_contexts(machine: Machine) -> None:
    await machine.pod(
        "confined",
        {
            "securityContext": {
                "runAsUser": 1234,
                "readOnlyRootFilesystem": True,
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
                "seccompProfile": {"type": "RuntimeDefault"},
            }
        },
        {"name": "free", "securityContext": {"privileged": True}},
        securityContext={"runAsGroup": 5678, "supplementalGroups": [99]},
    )
    await machine.running("confined")
    assert await machine.exec("confined", "id", "-u") == "1234\n"
    assert await machine.exec("confined", "id", "-G") == "5678 99\n"
    process = dict(
        line.split(":\t", 1) for line in (await machine.exec("confined", "cat", "/proc/self/status")).splitlines()
    )
    assert int(process["CapEff"], 16) == 0
    assert process["NoNewPrivs"] == "1" and process["Seccomp"] == "2"
    assert "Read-only" in await machine.exec("confined", "sh", "-c", "touch /x 2>&1 || true")
    assert await machine.exec("confined", "sh", "-c", "wc -c < /proc/kcore 2>/dev/null || echo masked") in (
        "0\n",
        "masked\n",
    )
    free = await machine.exec("confined", "cat", "/proc/self/status", container="free")
    assert "Seccomp:\t0" in free and "CapEff:\t0000000000000000" not in free


async def test_run_as_non_root_is_checked(machine: Machine) -> None:
    pod = await machine.pod("nonroot", {"securityContext": {"runAsNonRoot": True}})
    waiting = await machine.until(
        lambda: (
            (w := machine.container("nonroot").get("state", {}).get("waiting", {})).get("reason")
            == "CreateContainerConfigError"
            and w
        )
    )
    assert waiting["message"] == (
        f'container has runAsNonRoot and image will run as root (pod: "nonroot_default({uid_of(pod)})", '
        "container: main)"
    )


async def test_namespaces_are_shared_as_asked(machine: Machine) -> None:
    await machine.pod("together", {"script": "exec sleep 77"}, {"name": "other"}, shareProcessNamespace=True)
    await machine.running("together")
    assert "sleep 77" in await machine.exec("together", "ps", container="other")
    await machine.pod("onnode", hostNetwork=True, dnsPolicy="ClusterFirstWithHostNet")
    status = await machine.running("onnode")
    assert status["podIP"] == "192.0.2.7"
    assert "192.0.2.7" in await machine.exec("onnode", "ip", "addr")
    assert "nameserver 10.96.0.10" in await machine.exec("onnode", "cat", "/etc/resolv.conf")
