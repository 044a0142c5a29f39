"""Environment, downward API and names of pods."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pybernetes.api.meta import Object
from pybernetes.kubelet import dns
from pybernetes.kubelet.config import KubeletConfig
from pybernetes.kubelet.downward import FieldPathError, PodFacts, field_value, format_map, resource_value
from pybernetes.kubelet.env import expand, service_variables, services_environment
from tests.unit.kubelet.builders import container, pod

FACTS = PodFacts("node-1", ("192.0.2.7",), ("10.0.0.1", "fd00::1"), {"cpu": "4", "memory": "8Gi"})


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("plain", "plain"),
        ("$(A)", "one"),
        ("$(A)$(B)", "onetwo"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$one"),
        ("$(NONE)", "$(NONE)"),
        ("$A", "$A"),
        ("$", "$"),
        ("a$", "a$"),
        ("$(A", "$(A"),
        ("$()", "$()"),
        ("x$(A)y$(B)z", "xoneytwoz"),
        ("$($(A))", "$($(A))"),
        ("$$$$", "$$"),
    ],
)
def test_expansion(text: str, result: str) -> None:
    assert expand(text, {"A": "one", "B": "two"}) == result


@given(st.text())
def test_a_text_without_references_only_loses_doubled_dollars(text: str) -> None:
    assert expand(text.replace("$", "$$"), {"A": "x"}) == text


def service(name: str, namespace: str = "ns", ip: str = "10.96.0.9", *ports: Object) -> Object:
    return {
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"clusterIP": ip, "ports": list(ports) or [{"port": 80}]},
    }


def test_service_variables() -> None:
    made = service("my-db", "ns", "10.96.0.9", {"port": 5432, "name": "sql"}, {"port": 53, "protocol": "UDP"})
    assert service_variables(made) == {
        "MY_DB_SERVICE_HOST": "10.96.0.9",
        "MY_DB_SERVICE_PORT": "5432",
        "MY_DB_SERVICE_PORT_SQL": "5432",
        "MY_DB_PORT": "tcp://10.96.0.9:5432",
        "MY_DB_PORT_5432_TCP": "tcp://10.96.0.9:5432",
        "MY_DB_PORT_5432_TCP_PROTO": "tcp",
        "MY_DB_PORT_5432_TCP_PORT": "5432",
        "MY_DB_PORT_5432_TCP_ADDR": "10.96.0.9",
        "MY_DB_PORT_53_UDP": "udp://10.96.0.9:53",
        "MY_DB_PORT_53_UDP_PROTO": "udp",
        "MY_DB_PORT_53_UDP_PORT": "53",
        "MY_DB_PORT_53_UDP_ADDR": "10.96.0.9",
    }
    assert service_variables(service("headless", ip="None")) == {}


def test_which_services_a_pod_hears_of() -> None:
    services = [service("kubernetes", "default"), service("own"), service("other", "elsewhere")]
    assert {k for k in services_environment(pod(), services) if k.endswith("_SERVICE_HOST")} == {
        "KUBERNETES_SERVICE_HOST",
        "OWN_SERVICE_HOST",
    }
    no_links = services_environment(pod(enableServiceLinks=False), services)
    assert {k for k in no_links if k.endswith("_SERVICE_HOST")} == {"KUBERNETES_SERVICE_HOST"}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("metadata.name", "pod"),
        ("metadata.namespace", "ns"),
        ("metadata.uid", "11111111-2222"),
        ("metadata.labels['app.io/x']", "y"),
        ("metadata.labels['none']", ""),
        ("metadata.annotations['a']", "b"),
        ("metadata.labels", 'app.io/x="y"\nz="q"'),
        ("spec.nodeName", "node-1"),
        ("spec.serviceAccountName", "robot"),
        ("status.hostIP", "192.0.2.7"),
        ("status.podIP", "10.0.0.1"),
        ("status.podIPs", "10.0.0.1,fd00::1"),
    ],
)
def test_fields(path: str, value: str) -> None:
    meta = {"labels": {"z": "q", "app.io/x": "y"}, "annotations": {"a": "b"}}
    assert field_value(pod(meta=meta, serviceAccountName="robot"), path, FACTS) == value


def test_a_field_that_is_not_given() -> None:
    with pytest.raises(FieldPathError, match=r"unsupported fieldPath: status\.phase"):
        field_value(pod(), "status.phase", FACTS)


def test_maps_are_quoted() -> None:
    assert format_map({"b": 'say "hi"\n', "a": "back\\slash"}) == 'a="back\\\\slash"\nb="say \\"hi\\"\\n"'


@pytest.mark.parametrize(
    ("reference", "value"),
    [
        ({"resource": "limits.cpu"}, "2"),
        ({"resource": "limits.cpu", "divisor": "1m"}, "1500"),
        ({"resource": "requests.memory"}, str(100 << 20)),
        ({"resource": "requests.memory", "divisor": "1Mi"}, "100"),
        ({"resource": "requests.memory", "divisor": "3Mi"}, "34"),
        ({"resource": "limits.memory", "divisor": "1Gi"}, "8"),
        ({"resource": "requests.cpu"}, "0"),
        ({"resource": "requests.memory", "divisor": "0"}, str(100 << 20)),
    ],
)
def test_resources(reference: Object, value: str) -> None:
    own = container(resources={"limits": {"cpu": "1500m"}, "requests": {"memory": "100Mi"}})
    assert resource_value(pod(own), reference, own, FACTS) == value


# Names.


def config(
    tmp_path: Path, resolv: str = "nameserver 192.0.2.53\nsearch example.net\noptions timeout:1\n"
) -> KubeletConfig:
    (tmp_path / "resolv.conf").write_text(resolv)
    return KubeletConfig(
        "node-1",
        "192.0.2.7",
        tmp_path,
        tmp_path,
        cluster_dns=("10.96.0.10",),
        resolv_conf=tmp_path / "resolv.conf",
    )


def told(of: Object, settings: KubeletConfig) -> tuple[list[str], list[str], list[str]]:
    found = dns.pod_dns(of, settings)
    return list(found.servers), list(found.searches), list(found.options)


CLUSTER = ["ns.svc.cluster.local", "svc.cluster.local", "cluster.local", "example.net"]


def test_dns_policies(tmp_path: Path) -> None:
    settings = config(tmp_path)
    first = (["10.96.0.10"], CLUSTER, ["ndots:5"])
    node = (["192.0.2.53"], ["example.net"], ["timeout:1"])
    assert told(pod(), settings) == first
    assert told(pod(dnsPolicy="Default"), settings) == node
    assert told(pod(hostNetwork=True), settings) == node
    assert told(pod(hostNetwork=True, dnsPolicy="ClusterFirstWithHostNet"), settings) == first
    own: Any = {"nameservers": ["192.0.2.1"], "searches": ["a"], "options": [{"name": "ndots", "value": "1"}]}
    assert told(pod(dnsPolicy="None", dnsConfig=own), settings) == (["192.0.2.1"], ["a"], ["ndots:1"])
    assert told(pod(dnsConfig=own), settings) == (["10.96.0.10", "192.0.2.1"], [*CLUSTER, "a"], ["ndots:1"])


def test_dns_limits(tmp_path: Path) -> None:
    settings = config(tmp_path)
    many = {"nameservers": [f"192.0.2.{n}" for n in range(9)], "searches": [f"s{n}.example" for n in range(99)]}
    servers, searches, _ = told(pod(dnsConfig=many), settings)
    assert len(servers) == 3 and len(searches) == 32


def test_host_names(tmp_path: Path) -> None:
    settings = config(tmp_path)
    assert dns.hostname(pod(), settings) == ("pod", "")
    assert dns.hostname(pod(hostname="h", subdomain="s"), settings) == ("h", "s.ns.svc.cluster.local")
    assert dns.hostname(pod(meta={"name": "x" * 62 + "-" + "y" * 9}), settings) == ("x" * 62, "")
    whole = dns.hostname(pod(hostname="h", subdomain="s", setHostnameAsFQDN=True), settings)
    assert whole == ("h.s.ns.svc.cluster.local", "s.ns.svc.cluster.local")
    with pytest.raises(dns.HostnameError, match="is too long"):
        dns.hostname(pod(hostname="h" * 60, subdomain="s", setHostnameAsFQDN=True), settings)


def test_the_hosts_file(tmp_path: Path) -> None:
    settings = config(tmp_path)
    aliases = [{"ip": "10.1.2.3", "hostnames": ["a", "b"]}]
    text = dns.hosts_file(pod(hostname="h", subdomain="s", hostAliases=aliases), settings, ["10.0.0.1"])
    assert text.splitlines() == [
        "# Kubernetes-managed hosts file.",
        "127.0.0.1\tlocalhost",
        "::1\tlocalhost ip6-localhost ip6-loopback",
        "fe00::0\tip6-localnet",
        "fe00::0\tip6-mcastprefix",
        "fe00::1\tip6-allnodes",
        "fe00::2\tip6-allrouters",
        "10.0.0.1\th.s.ns.svc.cluster.local\th",
        "",
        "# Entries added by HostAliases.",
        "10.1.2.3\ta\tb",
    ]
    on_node = dns.hosts_file(pod(hostNetwork=True), settings, [], "127.0.0.1\tlocalhost\n")
    assert on_node == "# Kubernetes-managed hosts file (host network).\n127.0.0.1\tlocalhost\n"
