"""The service proxy with real nft between network namespaces."""

from __future__ import annotations

import asyncio

from pybernetes.api.resources import SERVICES
from pybernetes.client.informer import Informers
from tests.integration.proxy.conftest import DNS_IP, NODE, NODE_IP, OUTSIDE_IP, Cluster, Net, new_proxy
from tests.support.waiting import until

VIP = "10.96.3.7"


def three_backends(net: Net) -> dict[str, str]:
    """b1 and b2 on this node, b3 on another."""
    found = {}
    for number in (1, 2, 3):
        space, address = net.pod(remote=number == 3)
        net.serve(space, f"b{number}", 8080)
        found[address] = "node-b" if number == 3 else NODE
    return found


async def test_connections_are_spread_exactly(net: Net, cluster: Cluster) -> None:
    client, client_ip = net.pod()
    cluster.service("web", VIP, ports=[{"port": 80}])
    cluster.endpoints("web", three_backends(net), 8080)
    await cluster.settled()
    answer = client.peer("tcp", VIP, 80, 300)
    assert answer.answers == {"b1": 100, "b2": 100, "b3": 100}
    # A pod's address is what the other pod sees.
    assert answer.seen == [client_ip]
    # And from the node itself.
    assert net.node.peer("tcp", VIP, 80, 30).answers == {"b1": 10, "b2": 10, "b3": 10}


async def test_a_pod_reaches_itself(net: Net, cluster: Cluster) -> None:
    pod, address = net.pod()
    net.serve(pod, "me", 8080)
    cluster.service("web", VIP, ports=[{"port": 80}])
    cluster.endpoints("web", {address: NODE}, 8080)
    await cluster.settled()
    assert pod.peer("tcp", VIP, 80, 3).answers == {"me": 3}
    assert pod.peer("udp", VIP, 80, 1).answers != {"me": 1}, "the Service has no UDP port"


async def test_what_nobody_serves_is_refused_at_once(net: Net, cluster: Cluster) -> None:
    pod, _ = net.pod()
    cluster.service("empty", VIP, ports=[{"port": 80}, {"port": 53, "protocol": "UDP", "name": "dns"}])
    cluster.service("node-port", "10.96.3.8", type="NodePort", ports=[{"port": 80, "nodePort": 30080}])
    await cluster.settled()
    for space in (pod, net.node):
        for ip, port in ((VIP, 80), (VIP, 81), ("10.96.200.200", 80)):
            answer = space.peer("tcp", ip, port, 1)
            assert answer.answers == {"ConnectionRefusedError": 1}, (space.name, ip, port)
            assert answer.seconds < 1
        # Where the sender is the node itself, the kernel refuses the call rather than the packet.
        refused = "PermissionError" if space is net.node else "ConnectionRefusedError"
        assert space.peer("udp", VIP, 53, 1).answers == {refused: 1}
    assert net.outside.peer("tcp", NODE_IP, 30080, 1).answers == {"ConnectionRefusedError": 1}


async def test_node_ports_from_outside(net: Net, cluster: Cluster) -> None:
    cluster.service("web", VIP, type="NodePort", ports=[{"port": 80, "nodePort": 30080}])
    backends = three_backends(net)
    cluster.endpoints("web", backends, 8080)
    await cluster.settled()
    answer = net.outside.peer("tcp", NODE_IP, 30080, 30)
    assert answer.answers == {"b1": 10, "b2": 10, "b3": 10}
    assert OUTSIDE_IP not in answer.seen
    assert net.node.peer("tcp", NODE_IP, 30080, 3).answers == {"b1": 1, "b2": 1, "b3": 1}
    # With externalTrafficPolicy Local only this node's endpoints answer, and they see who asks.
    cluster.service("web", VIP, type="NodePort", ports=[{"port": 80, "nodePort": 30080}], externalTrafficPolicy="Local")
    await cluster.settled()
    answer = net.outside.peer("tcp", NODE_IP, 30080, 20)
    assert answer.answers == {"b1": 10, "b2": 10}
    assert answer.seen == [OUTSIDE_IP]
    pod, _ = net.pod()
    assert pod.peer("tcp", NODE_IP, 30080, 3).answers == {"b1": 1, "b2": 1, "b3": 1}


async def test_external_and_load_balancer_addresses(net: Net, cluster: Cluster) -> None:
    cluster.service("web", VIP, ports=[{"port": 80}], externalIPs=["203.0.113.5"])
    cluster.endpoints("web", three_backends(net), 8080)
    await cluster.settled()
    assert net.outside.peer("tcp", "203.0.113.5", 80, 3).answers == {"b1": 1, "b2": 1, "b3": 1}
    cluster.api.put(
        SERVICES,
        {
            "metadata": {"name": "web", "namespace": "default"},
            "spec": {
                "type": "LoadBalancer", "clusterIP": VIP, "clusterIPs": [VIP], "ports": [{"port": 80}],
                "loadBalancerSourceRanges": [f"{OUTSIDE_IP}/32"],
            },
            "status": {"loadBalancer": {"ingress": [{"ip": "203.0.113.9"}]}},
        },
    )  # fmt: skip
    await cluster.settled()
    assert sum(net.outside.peer("tcp", "203.0.113.9", 80, 6).answers.values()) == 6
    assert net.outside.peer("tcp", "203.0.113.9", 80, 6).answers == {"b1": 2, "b2": 2, "b3": 2}
    net.outside.run("ip", "addr", "add", "192.168.77.99/24", "dev", "eth0")
    refused = net.outside.peer("tcp", "203.0.113.9", 80, 1, "192.168.77.99")
    assert refused.answers == {"TimeoutError": 1}


async def test_internal_policy_local(net: Net, cluster: Cluster) -> None:
    client, _ = net.pod()
    cluster.service("web", VIP, ports=[{"port": 80}], internalTrafficPolicy="Local")
    cluster.endpoints("web", three_backends(net), 8080)
    await cluster.settled()
    assert client.peer("tcp", VIP, 80, 10).answers == {"b1": 5, "b2": 5}


async def test_datagrams_follow_the_endpoints(net: Net, cluster: Cluster) -> None:
    client, _ = net.pod()
    addresses = []
    for name in ("b1", "b2"):
        space, address = net.pod()
        net.serve(space, name, 5353)
        addresses.append(address)
    cluster.service("dns", VIP, ports=[{"port": 53, "protocol": "UDP"}])
    cluster.endpoints("dns", dict.fromkeys(addresses, NODE), 5353, protocol="UDP")
    await cluster.settled()
    assert client.peer("udp", VIP, 53, 20).answers == {"b1": 10, "b2": 10}
    # One flow, known to the kernel, from before and after its endpoint goes.
    ((before, _),) = client.peer("udp", VIP, 53, 3, 40000).answers.items()
    stays = addresses[1 if before == "b1" else 0]
    cluster.endpoints("dns", {stays: NODE}, 5353, protocol="UDP")
    await cluster.settled()
    ((after, count),) = client.peer("udp", VIP, 53, 3, 40000).answers.items()
    assert (after, count) == ("b2" if before == "b1" else "b1", 3)


async def test_one_change_leaves_other_services_alone(net: Net, cluster: Cluster) -> None:
    client, _ = net.pod()
    backends = three_backends(net)
    cluster.service("web", VIP, ports=[{"port": 80}])
    cluster.endpoints("web", backends, 8080)
    cluster.service("other", "10.96.3.8", ports=[{"port": 80}])
    cluster.endpoints("other", backends, 8080)
    await cluster.settled()
    assert client.peer("tcp", VIP, 80, 4).answers == {"b1": 2, "b2": 1, "b3": 1}
    cluster.endpoints("other", dict(list(backends.items())[:2]), 8080)
    await cluster.settled()
    assert client.peer("tcp", "10.96.3.8", 80, 4).answers == {"b1": 2, "b2": 2}
    # The count goes on where it was.
    assert client.peer("tcp", VIP, 80, 2).answers == {"b2": 1, "b3": 1}


async def test_affinity(net: Net, cluster: Cluster) -> None:
    one, _ = net.pod()
    other, _ = net.pod()
    backends = three_backends(net)
    cluster.service("web", VIP, ports=[{"port": 80}], sessionAffinity="ClientIP")
    cluster.endpoints("web", backends, 8080)
    await cluster.settled()
    ((first, count),) = one.peer("tcp", VIP, 80, 10).answers.items()
    ((second, _),) = other.peer("tcp", VIP, 80, 10).answers.items()
    assert count == 10
    assert first != second
    # Another endpoint's end does not move a client.
    gone = next(a for i, a in enumerate(backends, 1) if f"b{i}" not in (first, second))
    cluster.endpoints("web", {a: n for a, n in backends.items() if a != gone}, 8080)
    await cluster.settled()
    assert one.peer("tcp", VIP, 80, 4).answers == {first: 4}
    assert other.peer("tcp", VIP, 80, 4).answers == {second: 4}


async def test_the_cluster_dns_address_is_left_alone(net: Net, cluster: Cluster) -> None:
    net.serve(net.node, "dns", 53, f"::ffff:{DNS_IP}")
    pod, _ = net.pod()
    cluster.service("kube-dns", DNS_IP, ports=[{"port": 53}, {"port": 53, "protocol": "UDP", "name": "dns"}])
    await cluster.settled()
    for space in (pod, net.node):
        assert space.peer("tcp", DNS_IP, 53, 1).answers == {"dns": 1}
        assert space.peer("udp", DNS_IP, 53, 1).answers == {"dns": 1}


async def test_a_later_run_takes_over(net: Net, cluster: Cluster) -> None:
    client, _ = net.pod()
    cluster.service("web", VIP, ports=[{"port": 80}])
    cluster.endpoints("web", three_backends(net), 8080)
    cluster.service("goes", "10.96.3.9", ports=[{"port": 80}], sessionAffinity="ClientIP")
    cluster.endpoints("goes", {"10.244.9.9": NODE}, 8080)
    await cluster.settled()
    assert client.peer("tcp", VIP, 80, 2).answers == {"b1": 1, "b2": 1}
    cluster.api.remove(SERVICES, "default", "goes")
    await cluster.settled()
    informers = Informers(cluster.api)  # type: ignore[arg-type]
    later = new_proxy(informers, net)
    informers.start()
    running = asyncio.create_task(later.run())
    async with asyncio.timeout(30):
        await later.ready()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await informers.stop()
    assert later.statistics.failures == 0
    assert client.peer("tcp", VIP, 80, 1).answers == {"b3": 1}
    assert "goes" not in cluster.ruleset()


async def test_rules_that_somebody_flushed_come_back(net: Net, cluster: Cluster) -> None:
    client, _ = net.pod()
    cluster.service("web", VIP, ports=[{"port": 80}])
    cluster.endpoints("web", three_backends(net), 8080)
    await cluster.settled()
    net.node.run("nft", "flush", "ruleset")
    await until(lambda: "default/web" in cluster.ruleset(), 30)
    assert client.peer("tcp", VIP, 80, 3).answers == {"b1": 1, "b2": 1, "b3": 1}


async def test_load_balancers_learn_where_the_endpoints_are(net: Net, cluster: Cluster) -> None:
    def load_balancer(**spec: object) -> None:
        cluster.service(
            "web", VIP, type="LoadBalancer", ports=[{"port": 80}], externalTrafficPolicy="Local",
            healthCheckNodePort=31000, **spec,
        )  # fmt: skip

    async def ask() -> tuple[str, str]:
        request = "GET /healthz HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n"
        command = f"printf '{request}' | busybox nc {NODE_IP} 31000"
        head, _, body = (await asyncio.to_thread(net.outside.run, "sh", "-c", command)).partition("\n\n")
        return head.splitlines()[0].strip(), body

    load_balancer()
    cluster.endpoints("web", {"10.244.0.77": NODE, "10.244.1.77": "node-b"}, 8080)
    await cluster.settled()
    status, body = await ask()
    assert status == "HTTP/1.1 200 OK"
    assert '"localEndpoints": 1' in body and '"name": "web"' in body
    cluster.endpoints("web", {"10.244.1.77": "node-b"}, 8080)
    await cluster.settled()
    assert (await ask())[0] == "HTTP/1.1 503 Service Unavailable"
    cluster.api.remove(SERVICES, "default", "web")
    await cluster.settled()
    assert net.outside.peer("tcp", NODE_IP, 31000, 1).answers == {"ConnectionRefusedError": 1}
