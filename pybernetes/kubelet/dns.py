"""Names for pods: resolver settings by ``dnsPolicy``, the host name, and the managed ``/etc/hosts``. Pure, but for
reading the node's own files.

Limits and texts are upstream's (``pkg/kubelet/network/dns``, ``pkg/kubelet/kubelet_pods.go``).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pybernetes.api.meta import Object, name_of, namespace_of
from pybernetes.kubelet import spec
from pybernetes.kubelet.config import KubeletConfig
from pybernetes.kubelet.runtime import DNSConfig

_MAX_NAMESERVERS = 3
_MAX_SEARCHES = 32
_MAX_SEARCH_CHARACTERS = 2048
_MAX_HOSTNAME = 63


class HostnameError(ValueError):
    """The pod's host name cannot be used; the text is the API's."""


def parse_resolv_conf(text: str) -> DNSConfig:
    """A resolv.conf's nameservers, search list (the last one counts) and options."""
    servers: list[str] = []
    searches: list[str] = []
    options: list[str] = []
    for line in text.splitlines():
        line = line.partition("#")[0].strip()
        if not line or line.startswith(";"):
            continue
        words = line.split()
        if words[0] == "nameserver" and len(words) > 1:
            servers.append(words[1])
        elif words[0] in ("search", "domain"):
            searches = [s.rstrip(".") if s != "." else s for s in words[1:]]
        elif words[0] == "options":
            options = words[1:]
    return DNSConfig(servers, searches, options)


def _node_config(path: Path) -> DNSConfig:
    try:
        return parse_resolv_conf(path.read_text())
    except OSError:
        return DNSConfig(("127.0.0.1",), ())


def _limited(servers: Sequence[str], searches: Sequence[str], options: Sequence[str]) -> DNSConfig:
    kept: list[str] = []
    for search in dict.fromkeys(searches):
        if len(kept) >= _MAX_SEARCHES or len(" ".join([*kept, search])) > _MAX_SEARCH_CHARACTERS:
            break
        kept.append(search)
    return DNSConfig(list(dict.fromkeys(servers))[:_MAX_NAMESERVERS], kept, list(options))


def pod_dns(pod: Object, config: KubeletConfig) -> DNSConfig:
    """The resolver settings of the pod's containers."""
    own = pod.get("spec") or {}
    policy = own.get("dnsPolicy") or "ClusterFirst"
    if policy == "ClusterFirst" and spec.uses_host_network(pod):
        policy = "Default"
    if policy in ("ClusterFirst", "ClusterFirstWithHostNet") and config.cluster_dns:
        domain = config.cluster_domain
        base = DNSConfig(
            config.cluster_dns,
            [
                f"{namespace_of(pod)}.svc.{domain}",
                f"svc.{domain}",
                domain,
                *_node_config(config.resolv_conf).searches,
            ],
            ["ndots:5"],
        )
    elif policy == "None":
        base = DNSConfig()
    else:
        base = _node_config(config.resolv_conf)
    extra = own.get("dnsConfig") or {}
    options = list(base.options)
    for option in extra.get("options") or ():
        name, value = option["name"], option.get("value")
        options = [o for o in options if o.partition(":")[0] != name]
        options.append(f"{name}:{value}" if value not in (None, "") else name)
    return _limited(
        [*base.servers, *(extra.get("nameservers") or ())], [*base.searches, *(extra.get("searches") or ())], options
    )


def hostname(pod: Object, config: KubeletConfig) -> tuple[str, str]:
    """(host name, domain) of the pod: what uname says, and the domain below which it is known, if any. Raises
    `HostnameError`."""
    own = pod.get("spec") or {}
    if own.get("hostnameOverride"):
        return str(own["hostnameOverride"]), ""
    name = own.get("hostname") or name_of(pod)
    name = name[:_MAX_HOSTNAME].rstrip("-.")
    domain = ""
    if own.get("subdomain"):
        domain = f"{own['subdomain']}.{namespace_of(pod)}.svc.{config.cluster_domain}"
    if own.get("setHostnameAsFQDN") and domain:
        full = f"{name}.{domain}"
        if len(full) > 64:
            raise HostnameError(
                f'Failed to construct FQDN from pod hostname and cluster domain, FQDN "{full}" is too long (64 '
                f"characters is the max, {len(full)} characters requested)"
            )
        return full, domain
    return name, domain


def hosts_file(pod: Object, config: KubeletConfig, pod_ips: Sequence[str], node_hosts: str = "") -> str:
    """The text of the pod's managed ``/etc/hosts``. `node_hosts` is the node's own file, for pods on its network."""
    lines: list[str]
    if spec.uses_host_network(pod):
        lines = ["# Kubernetes-managed hosts file (host network).", *node_hosts.splitlines()]
    else:
        lines = [
            "# Kubernetes-managed hosts file.",
            "127.0.0.1\tlocalhost",
            "::1\tlocalhost ip6-localhost ip6-loopback",
            "fe00::0\tip6-localnet",
            "fe00::0\tip6-mcastprefix",
            "fe00::1\tip6-allnodes",
            "fe00::2\tip6-allrouters",
        ]
        name, domain = hostname(pod, config)
        short = name.partition(".")[0] if domain else name
        for ip in pod_ips:
            lines.append(f"{ip}\t{short}.{domain}\t{short}" if domain else f"{ip}\t{name}")
    aliases = (pod.get("spec") or {}).get("hostAliases") or ()
    if aliases:
        lines += ["", "# Entries added by HostAliases."]
        lines += ["\t".join([a["ip"], *(a.get("hostnames") or ())]) for a in aliases]
    return "\n".join(lines) + "\n"
