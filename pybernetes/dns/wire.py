"""DNS messages: queries read, answers written and cut to size. Pure; dnslib does the encoding.

(RFC 1035; RFC 6891 for EDNS; RFC 2308 for negative answers.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dnslib import AAAA, CNAME, EDNS0, NS, PTR, QTYPE, RCODE, RR, SOA, SRV, TXT, A, DNSError, DNSRecord
from dnslib.label import DNSLabel

from pybernetes.dns.records import NEGATIVE_TTL_SECONDS, Answer, Record

UDP_LIMIT_BYTES = 512
OUR_EDNS_BYTES = 1232
"""What we can take in one datagram, said to those who ask with EDNS; also the most we send in one. It fits into one
packet everywhere (DNS flag day 2020)."""


class BadQuery(Exception):
    """A message that is no query we understand. `reply` is what to answer, empty for nothing."""

    def __init__(self, reply: bytes = b"") -> None:
        super().__init__("not a query")
        self.reply = reply


@dataclass(frozen=True, slots=True)
class Query:
    message: Any
    name: str
    """Lower case, without the dot at the end."""
    kind: str
    """``A``, ``SRV``, …; a number for types without a name."""
    limit_bytes: int
    """What the asker takes in one datagram."""
    has_edns: bool


def read(data: bytes) -> Query:
    """Raises `BadQuery`."""
    try:
        message = DNSRecord.parse(data)
    except (DNSError, ValueError, IndexError, UnicodeError) as error:
        # Whoever sent at least a query's header is told; an answer to us, or noise, is not answered.
        if len(data) >= 12 and not data[2] & 0x80:
            raise BadQuery(data[:2] + bytes((0x80 | (data[2] & 0x79), RCODE.FORMERR)) + b"\0" * 8) from error
        raise BadQuery from error
    header = message.header
    if header.qr:
        raise BadQuery
    if header.opcode != 0 or len(message.questions) != 1:
        reply = message.reply(ra=1, aa=0)
        reply.header.rcode = RCODE.NOTIMP if header.opcode != 0 else RCODE.FORMERR
        raise BadQuery(reply.pack())
    question = message.q
    opt = next((r for r in message.ar if r.rtype == QTYPE.OPT), None)
    limit = UDP_LIMIT_BYTES if opt is None else min(max(opt.rclass, UDP_LIMIT_BYTES), OUR_EDNS_BYTES)
    kind = QTYPE.get(question.qtype)
    return Query(
        message,
        str(question.qname).rstrip(".").lower(),
        str(kind),
        limit,
        opt is not None,
    )


def _record(record: Record) -> Any:
    data: Any
    match record.kind, record.data:
        case "A", str(address):
            data = A(address)
        case "AAAA", str(address):
            data = AAAA(address)
        case "SRV", (priority, weight, port, target):
            data = SRV(priority, weight, port, target)
        case "PTR", str(name):
            data = PTR(name)
        case "CNAME", str(name):
            data = CNAME(name)
        case "NS", str(name):
            data = NS(name)
        case "TXT", str(text):
            data = TXT(text)
        case _:
            raise AssertionError(record)
    return RR(DNSLabel(record.name), getattr(QTYPE, record.kind), rdata=data, ttl=record.ttl)


def failure(query: Query, code: str) -> bytes:
    """An answer that only says what went wrong (``SERVFAIL``, ``REFUSED``)."""
    reply = query.message.reply(ra=1, aa=0)
    reply.header.rcode = getattr(RCODE, code)
    return _packed(reply, query)


def answer(
    query: Query,
    found: Answer,
    soa: tuple[str, str, str, tuple[int, int, int, int, int]],
    *,
    followed: Sequence[Any] = (),
    datagram: bool,
) -> bytes:
    """The message that says `found`; `followed` are records (dnslib's) of an alias's target. In a datagram it is cut
    to what the asker takes: first the additional records go, then answers, which is marked."""
    reply = query.message.reply(ra=1, aa=1)
    own = query.message.q.qname
    for record in found.records:
        made = _record(record)
        if record.name == query.name:
            # As the asker spelt it: some check the letters' case.
            made.rname = own
        reply.add_answer(made)
    for made in followed:
        reply.add_answer(made)
    asked_soa = query.kind == "SOA" and query.name == soa[0]
    if asked_soa or not reply.rr:
        owner, primary, mailbox, times = soa
        start = RR(DNSLabel(owner), QTYPE.SOA, rdata=SOA(primary, mailbox, times), ttl=NEGATIVE_TTL_SECONDS)
        if asked_soa:
            reply.add_answer(start)
        else:
            reply.add_auth(start)
    if not found.exists:
        reply.header.rcode = RCODE.NXDOMAIN
    for record in found.additional:
        reply.add_ar(_record(record))
    data = _packed(reply, query)
    if not datagram or len(data) <= query.limit_bytes:
        return data
    reply.ar = []
    data = _packed(reply, query)
    while len(data) > query.limit_bytes and reply.rr:
        reply.header.tc = 1
        # Halving is quicker than counting; the asker comes again by TCP anyway.
        del reply.rr[len(reply.rr) // 2 :]
        data = _packed(reply, query)
    return data


def _packed(reply: Any, query: Query) -> bytes:
    if query.has_edns and not any(r.rtype == QTYPE.OPT for r in reply.ar):
        reply.add_ar(EDNS0(udp_len=OUR_EDNS_BYTES))
    return bytes(reply.pack())


def answers_of(data: bytes) -> list[Any]:
    """The answer records (dnslib's) of a message; empty where it is none."""
    try:
        return list(DNSRecord.parse(data).rr)
    except (DNSError, ValueError, IndexError, UnicodeError):
        return []


def question(name: str, kind: str, id_: int) -> bytes:
    """A query, for asking another server."""
    asked = DNSRecord.question(name, kind)
    asked.header.id = id_
    asked.header.rd = 1
    return bytes(asked.pack())
