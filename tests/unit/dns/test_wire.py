from __future__ import annotations

import pytest
from dnslib import EDNS0, QTYPE, DNSRecord
from hypothesis import given
from hypothesis import strategies as st

from pybernetes.dns import wire
from pybernetes.dns.records import NO_SUCH_NAME, Answer, Record

SOA = ("cluster.local", "ns.dns.cluster.local", "hostmaster.cluster.local", (1, 7200, 1800, 86400, 5))


def query(name: str, kind: str = "A", *, edns: int = 0) -> bytes:
    message = DNSRecord.question(name, kind)
    if edns:
        message.add_ar(EDNS0(udp_len=edns))
    return bytes(message.pack())


def many(count: int) -> Answer:
    return Answer(records=tuple(Record("x.cluster.local", "A", f"10.0.{n // 256}.{n % 256}") for n in range(count)))


def test_an_answer_spells_the_name_as_it_was_asked() -> None:
    asked = wire.read(query("WeB.Cluster.Local"))
    assert (asked.name, asked.kind) == ("web.cluster.local", "A")
    found = Answer(records=(Record("web.cluster.local", "A", "10.0.0.1"),))
    reply = DNSRecord.parse(wire.answer(asked, found, SOA, datagram=True))
    assert (reply.header.qr, reply.header.aa, reply.header.ra, reply.header.tc) == (1, 1, 1, 0)
    assert reply.header.id == asked.message.header.id
    assert str(reply.rr[0].rname) == "WeB.Cluster.Local."
    assert (str(reply.rr[0].rdata), reply.rr[0].ttl) == ("10.0.0.1", 30)
    assert not reply.ar


def test_negative_answers_say_for_how_long() -> None:
    for found, code in ((NO_SUCH_NAME, 3), (Answer(), 0)):
        reply = DNSRecord.parse(wire.answer(wire.read(query("x.cluster.local")), found, SOA, datagram=True))
        assert (reply.header.rcode, len(reply.rr)) == (code, 0)
        (start,) = reply.auth
        assert (str(start.rname), start.rtype, start.ttl) == ("cluster.local.", QTYPE.SOA, 5)
        assert start.rdata.times[4] == 5


@given(st.integers(0, 200), st.sampled_from([0, 512, 1232, 4096, 65535]))
def test_a_datagram_is_no_larger_than_what_the_asker_takes(count: int, edns: int) -> None:
    asked = wire.read(query("x.cluster.local", edns=edns))
    data = wire.answer(asked, many(count), SOA, datagram=True)
    assert len(data) <= (min(max(edns, 512), 1232))
    reply = DNSRecord.parse(data)
    assert (len(reply.rr) < count) == bool(reply.header.tc)
    assert any(r.rtype == QTYPE.OPT for r in reply.ar) == bool(edns)
    whole = DNSRecord.parse(wire.answer(asked, many(count), SOA, datagram=False))
    assert (len(whole.rr), whole.header.tc) == (count, 0)


def test_additional_records_go_first() -> None:
    found = Answer(
        records=(Record("_s._tcp.x.cluster.local", "SRV", (0, 1, 80, "a.cluster.local")),),
        additional=tuple(Record(f"{n}.cluster.local", "A", "10.0.0.1") for n in range(60)),
    )
    reply = DNSRecord.parse(wire.answer(wire.read(query("_s._tcp.x.cluster.local", "SRV")), found, SOA, datagram=True))
    assert (len(reply.rr), len(reply.ar), reply.header.tc) == (1, 0, 0)


@given(st.binary(max_size=80))
def test_noise_is_answered_with_at_most_an_error(data: bytes) -> None:
    reply = b""
    try:
        wire.read(data)
    except wire.BadQuery as error:
        reply = error.reply
    if reply:
        assert reply[:2] == data[:2]
        assert DNSRecord.parse(reply).header.rcode in (1, 4)


def test_answers_and_other_operations_are_refused() -> None:
    answer = DNSRecord.parse(query("x.cluster.local")).reply().pack()
    with pytest.raises(wire.BadQuery) as bad:
        wire.read(answer)
    assert bad.value.reply == b""
    update = bytearray(query("x.cluster.local"))
    update[2] |= 5 << 3
    with pytest.raises(wire.BadQuery) as bad:
        wire.read(bytes(update))
    assert DNSRecord.parse(bad.value.reply).header.rcode == 4
