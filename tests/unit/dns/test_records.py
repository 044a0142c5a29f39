"""The zone's content, row by row of the Kubernetes DNS specification."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pybernetes.dns.records import NO_DATA, NO_SUCH_NAME, Answer, Record, Records, reverse_name

ZONE = "cluster.local"
WEB = "web.default.svc.cluster.local"
DB = "db.default.svc.cluster.local"


def service(name: str, ips: list[str], ports: list[dict[str, Any]] | None = None, **spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"clusterIP": ips[0] if ips else "", "clusterIPs": ips, "ports": ports or [], **spec},
    }


def endpoint_slice(
    endpoints: list[tuple[str, str, bool]], ports: list[dict[str, Any]], kind: str = "IPv4"
) -> dict[str, Any]:
    return {
        "addressType": kind,
        "ports": ports,
        "endpoints": [
            {"addresses": [address], **({"hostname": hostname} if hostname else {}), "conditions": {"ready": ready}}
            for address, hostname, ready in endpoints
        ],
    }


HTTP = [{"name": "http", "port": 80, "protocol": "TCP"}, {"name": "dns", "port": 53, "protocol": "UDP"}]


@pytest.fixture
def records() -> Records:
    made = Records(ZONE)
    made.set_namespace("default", True)
    made.set_service("default/web", service("web", ["10.96.0.7", "fd96::7"], HTTP))
    made.set_service("default/db", service("db", ["None"], [{"name": "sql", "port": 5432}]))
    made.set_endpoints(
        "default/db",
        [
            endpoint_slice(
                [("10.244.0.5", "db-0", True), ("10.244.0.6", "db-1", True), ("10.244.0.7", "db-2", False)],
                [{"name": "sql", "port": 5432, "protocol": "TCP"}],
            ),
            endpoint_slice([("10.244.0.8", "", True)], [{"name": "sql", "port": 5433, "protocol": "TCP"}]),
        ],
    )
    made.set_service("default/out", service("out", [], type="ExternalName", externalName="Example.org."))
    return made


def data(answer: Answer | None) -> list[Any]:
    assert answer is not None and answer.exists
    return [record.data for record in answer.records]


def test_a_service_has_its_virtual_ips(records: Records) -> None:
    assert records.lookup(WEB, "A") == Answer(records=(Record(WEB, "A", "10.96.0.7", 30),), depends_on="default/web")
    assert data(records.lookup(WEB, "AAAA")) == ["fd96::7"]
    assert data(records.lookup(WEB, "TXT")) == []


def test_a_named_port_has_srv_records(records: Records) -> None:
    answer = records.lookup(f"_http._tcp.{WEB}", "SRV")
    assert data(answer) == [(0, 100, 80, WEB)]
    assert answer is not None
    assert [r.data for r in answer.additional] == ["10.96.0.7", "fd96::7"]
    assert data(records.lookup(WEB, "SRV")) == [(0, 50, 80, WEB), (0, 50, 53, WEB)]
    for name in ("_http._udp", "_smtp._tcp"):
        assert not records.lookup(f"{name}.{WEB}", "SRV").exists  # type: ignore[union-attr]


def test_a_headless_service_has_its_ready_endpoints(records: Records) -> None:
    assert data(records.lookup(DB, "A")) == ["10.244.0.5", "10.244.0.6", "10.244.0.8"]
    assert data(records.lookup(DB, "AAAA")) == []
    assert data(records.lookup(f"db-1.{DB}", "A")) == ["10.244.0.6"]
    assert data(records.lookup(f"10-244-0-8.{DB}", "A")) == ["10.244.0.8"]
    assert not records.lookup(f"db-2.{DB}", "A").exists  # type: ignore[union-attr]
    answer = records.lookup(f"_sql._tcp.{DB}", "SRV")
    assert data(answer) == [
        (0, 33, 5432, f"db-0.{DB}"), (0, 33, 5432, f"db-1.{DB}"), (0, 33, 5433, f"10-244-0-8.{DB}"),
    ]  # fmt: skip
    assert answer is not None
    assert answer.additional[0] == Record(f"db-0.{DB}", "A", "10.244.0.5", 30)


def test_a_headless_service_without_ready_endpoints_does_not_exist(records: Records) -> None:
    records.set_endpoints("default/db", [endpoint_slice([("10.244.0.5", "db-0", False)], [])])
    assert records.lookup(DB, "A") == Answer(exists=False, depends_on="default/db")
    # Without ports there are addresses all the same.
    records.set_endpoints("default/db", [endpoint_slice([("10.244.0.5", "db-0", True)], [])])
    assert data(records.lookup(DB, "A")) == ["10.244.0.5"]


def test_an_external_name_is_an_alias(records: Records) -> None:
    name = "out.default.svc.cluster.local"
    for kind in ("A", "AAAA"):
        answer = records.lookup(name, kind)
        assert data(answer) == ["example.org"]
        assert answer is not None and answer.alias == "example.org"
    assert records.lookup(name, "CNAME").alias == ""  # type: ignore[union-attr]


def test_pods_by_address(records: Records) -> None:
    assert data(records.lookup("10-244-0-5.default.pod.cluster.local", "A")) == ["10.244.0.5"]
    assert data(records.lookup("10-244-0-5.default.pod.cluster.local", "AAAA")) == []
    assert data(records.lookup("fd44--5.default.pod.cluster.local", "AAAA")) == ["fd44::5"]
    for name in ("web.default.pod.cluster.local", "10-244-0-5.nowhere.pod.cluster.local"):
        assert records.lookup(name, "A") == NO_SUCH_NAME


def test_reverse_names(records: Records) -> None:
    assert data(records.lookup("7.0.96.10.in-addr.arpa", "PTR")) == [WEB]
    assert data(records.lookup(reverse_name("fd96::7"), "PTR")) == [WEB]
    assert data(records.lookup("5.0.244.10.in-addr.arpa", "PTR")) == [f"db-0.{DB}"]
    assert records.lookup("7.0.96.10.in-addr.arpa", "A") == NO_DATA
    # Not ours: others may know.
    assert records.lookup("1.1.1.1.in-addr.arpa", "PTR") is None
    assert records.lookup("x.in-addr.arpa", "PTR") is None


def test_names_that_have_no_data_and_names_that_are_not_there(records: Records) -> None:
    for name in (ZONE, f"svc.{ZONE}", f"default.svc.{ZONE}", f"pod.{ZONE}", f"ns.dns.{ZONE}"):
        assert records.lookup(name, "A") == NO_DATA, name
    for name in (f"x.{ZONE}", f"nowhere.svc.{ZONE}", f"a.b.c.{WEB}"):
        assert records.lookup(name, "A") == NO_SUCH_NAME, name
    assert not records.lookup(f"absent.default.svc.{ZONE}", "A").exists  # type: ignore[union-attr]
    assert data(records.lookup(f"dns-version.{ZONE}", "TXT")) == ["1.1.0"]
    assert data(records.lookup(ZONE, "NS")) == [f"ns.dns.{ZONE}"]
    assert records.lookup("example.org", "A") is None
    assert records.lookup("notcluster.local", "A") is None


def test_what_goes_leaves_nothing(records: Records) -> None:
    records.set_service("default/web", None)
    records.set_service("default/db", None)
    records.set_endpoints("default/db", [])
    assert not records.lookup(WEB, "A").exists  # type: ignore[union-attr]
    assert not records.lookup(f"db-0.{DB}", "A").exists  # type: ignore[union-attr]
    for address in ("10.96.0.7", "10.244.0.5"):
        assert records.lookup(reverse_name(address), "PTR") is None
    records.set_namespace("default", False)
    assert records.lookup(f"default.svc.{ZONE}", "A") == NO_SUCH_NAME


addresses = st.sampled_from(["10.0.0.1", "10.0.0.2", "10.0.0.3"])
changes = st.one_of(
    st.tuples(st.just("service"), st.sampled_from("ab"), st.none() | st.lists(addresses, min_size=1, max_size=1)),
    st.tuples(st.just("endpoints"), st.sampled_from("ab"), st.lists(addresses, unique=True)),
)


@given(st.lists(changes, max_size=12))
def test_the_way_to_a_state_does_not_matter(history: list[tuple[str, str, list[str] | None]]) -> None:
    """The indexes after any history are those of its outcome."""

    def apply(target: Records, kind: str, name: str, value: list[str] | None) -> None:
        key = f"default/{name}"
        if kind == "service":
            target.set_service(key, None if value is None else service(name, value))
        else:
            target.set_endpoints(key, [endpoint_slice([(a, "", True) for a in value or ()], [])])

    walked, direct = Records(), Records()
    outcome = {}
    for kind, name, value in history:
        apply(walked, kind, name, value)
        outcome[kind, name] = value
    for (kind, name), value in sorted(outcome.items()):
        apply(direct, kind, name, value)
    for target in (walked, direct):
        target.set_namespace("default", True)
    names = [f"{n}.default.svc.cluster.local" for n in "ab"] + [reverse_name(f"10.0.0.{n}") for n in (1, 2, 3)]
    for name in names:
        for kind in ("A", "PTR", "SRV"):
            assert walked.lookup(name, kind) == direct.lookup(name, kind)
