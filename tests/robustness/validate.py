"""The rules: each a function of the history and its log that yields what breaks it. Pure.

`RULES` is the whole list; `check` runs them all. Each is seen to fail in test_validate.py.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from tests.robustness.history import INITIAL_END, OK, REFUSED, STORING, WRITES, History, Record, Stored
from tests.robustness.model import Log, Moments, States, Version

CONFLICT, NOT_FOUND, GONE = 409, 404, 410


@dataclass(frozen=True, slots=True)
class Violation:
    rule: str
    message: str
    records: tuple[Record | Stored, ...] = ()

    def __str__(self) -> str:
        return "\n    ".join([f"{self.rule}: {self.message}", *map(str, self.records)])


@dataclass(frozen=True)
class Evidence:
    """A history, and what is worked out of it once for all rules."""

    history: History
    log: Log = field(init=False)
    moments: Moments = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "log", Log(self.history.stored))
        object.__setattr__(self, "moments", Moments(self.history, self.log))

    def each(self, *ops: str, outcome: str = "") -> Iterator[Record]:
        for record in self.history.records:
            if record.op in ops and (not outcome or record.outcome == outcome):
                yield record


Rule = Callable[[Evidence], Iterator[Violation]]


def check(history: History) -> list[Violation]:
    evidence = Evidence(history)
    return [violation for rule in RULES for violation in rule(evidence)]


# --- what is stored --------------------------------------------------------------------------------------------------


def revisions_are_unique(evidence: Evidence) -> Iterator[Violation]:
    """Every change has a revision of its own."""
    for revision, count in Counter(evidence.log.revisions).items():
        if count > 1:
            sharing = tuple(e for e in evidence.log.entries if e.revision == revision)
            yield Violation("revisions-unique", f"{count} changes share revision {revision}", sharing)


def creations_and_deletions_alternate(evidence: Evidence) -> Iterator[Violation]:
    """An object keeps its uid while it lives, a new one has a new one, and what is not there is not deleted."""
    born: set[str] = set()
    for entry in evidence.log.entries:
        before = evidence.log.before(entry)
        if entry.type == "DELETE":
            if before is None:
                yield Violation("lives", f"{entry.name} was deleted and was not there", (entry,))
        elif before is None:
            if entry.uid in born:
                yield Violation("lives", f"{entry.name} came back with a uid that was there before", (entry,))
            born.add(entry.uid)
        elif before.uid != entry.uid:
            yield Violation("lives", f"{entry.name} changed its uid without a deletion", (before, entry))


def acknowledged_writes_are_stored_once(evidence: Evidence) -> Iterator[Violation]:
    """What a client was told is stored is, once, at the revision it was told."""
    for record in evidence.each(*STORING, outcome=OK):
        found = evidence.log.by_write.get(record.args["write"], [])
        if not found:
            yield Violation("acknowledged", "an acknowledged write is lost", (record,))
        elif found[0].revision != record.result["revision"] or found[0].name != record.args["name"]:
            yield Violation("acknowledged", "a write is stored otherwise than acknowledged", (record, *found))
    for record in evidence.each("delete", outcome=OK):
        if not evidence.log.deletions.get(record.result["uid"]):
            yield Violation("acknowledged", "an acknowledged deletion did not happen", (record,))


def no_write_is_stored_twice(evidence: Evidence) -> Iterator[Violation]:
    """Also one whose answer never came is stored at most once; a deletion is acknowledged to one client alone."""
    for write, found in evidence.log.by_write.items():
        if len(found) > 1:
            yield Violation("at-most-once", f"the write {write} is stored {len(found)} times", tuple(found))
    acknowledged = Counter(r.result["uid"] for r in evidence.each("delete", outcome=OK))
    for uid, count in acknowledged.items():
        if count > 1:
            told = tuple(r for r in evidence.each("delete", outcome=OK) if r.result["uid"] == uid)
            yield Violation("at-most-once", f"one deletion was acknowledged {count} times", told)


def nothing_is_stored_unasked(evidence: Evidence) -> Iterator[Violation]:
    """What is stored was asked for, and what was refused is not stored."""
    asked = {r.args["write"]: r for r in evidence.each(*STORING)}
    deleters = {r.args["name"] for r in evidence.each("delete") if r.outcome != REFUSED}
    for entry in evidence.log.entries:
        if entry.type == "DELETE":
            if entry.name not in deleters:
                yield Violation("asked-for", f"{entry.name} was deleted and nobody may have done it", (entry,))
            continue
        record = asked.get(entry.write)
        if record is None:
            yield Violation("asked-for", f"{entry.name} holds a write that nobody sent", (entry,))
        elif record.outcome == REFUSED:
            yield Violation("asked-for", "a refused write is stored", (record, entry))


def order_follows_time(evidence: Evidence) -> Iterator[Violation]:
    """A write that began when a revision was known gets a higher one."""
    for record in evidence.each(*WRITES):
        known = evidence.moments.reached(record.start)
        if record.op != "delete":
            made = evidence.log.by_write.get(record.args["write"], [])
        else:
            made = evidence.log.deletions.get(record.result["uid"], []) if record.outcome == OK else []
        for entry in made:
            if entry.revision <= known:
                text = f"a write that began after revision {known} was known has revision {entry.revision}"
                yield Violation("order", text, (record, entry))


def swaps_meet_what_they_expect(evidence: Evidence) -> Iterator[Violation]:
    """Optimistic concurrency: an update stands on the very version that it named, a creation on nothing."""
    for record in evidence.each("create", "update", "patch"):
        for entry in evidence.log.by_write.get(record.args["write"], []):
            before = evidence.log.before(entry)
            if record.op == "create":
                if before is not None:
                    yield Violation("swap", "a creation overwrote what was there", (record, before, entry))
            elif before is None:
                yield Violation("swap", f"the {record.op} of what was not there is stored", (record, entry))
            elif record.op == "update" and before.revision != record.args["expected"]:
                yield Violation("swap", "an update overwrote what it had not seen", (record, before, entry))
    for record in evidence.each("delete", outcome=OK):
        expected = record.args.get("expected", 0)
        for entry in evidence.log.deletions.get(record.result["uid"], []) if expected else ():
            before = evidence.log.before(entry)
            if before is not None and before.revision != expected:
                yield Violation("swap", "a deletion took what it had not seen", (record, before, entry))


# --- what clients are told -------------------------------------------------------------------------------------------


def _some(evidence: Evidence, record: Record, fits: Callable[[Version], bool], *, fresh: bool = True) -> bool:
    """Whether the name had a state that fits at some revision between the record's two moments."""
    low = evidence.moments.reached(record.start) if fresh else 0
    high = evidence.moments.possible(record.end)
    return any(v.first <= high and v.until > low and fits(v) for v in evidence.log.versions(record.args["name"]))


def refusals_have_a_reason(evidence: Evidence) -> Iterator[Violation]:
    """Who was told "conflict" or "not found" was told the truth of some moment during the request."""
    for record in evidence.each(*WRITES, outcome=REFUSED):
        expected = record.args.get("expected", 0)
        if record.status == NOT_FOUND:
            true = _some(evidence, record, lambda v: v.entry is None)
        elif record.status == CONFLICT and record.op == "create":
            true = _some(evidence, record, lambda v: v.entry is not None)
        elif record.status == CONFLICT and expected:
            true = _some(evidence, record, lambda v, e=expected: v.entry is None or v.entry.revision != e)
        else:
            true = False
        if not true:
            yield Violation("refusal", "nothing that was stored then explains the refusal", (record,))


def reads_show_what_was_there(evidence: Evidence) -> Iterator[Violation]:
    """A GET shows a state of a moment during the request; one that may be old at least one that has been."""
    for record in evidence.each("get"):
        fresh = record.args["fresh"]
        if record.outcome == OK:
            revision, write = record.result["revision"], record.result["write"]
            entry = evidence.log.find(record.args["name"], revision)
            if entry is None or entry.type != "PUT" or entry.write != write:
                yield Violation("read", "a read shows what never was stored", (record,))
                continue
            true = _some(evidence, record, lambda v, e=entry: v.entry is e, fresh=fresh)
        elif record.status == NOT_FOUND:
            true = _some(evidence, record, lambda v: v.entry is None, fresh=fresh)
        else:
            continue
        if not true:
            known = evidence.moments.reached(record.start)
            text = f"a read is stale: revision {known} was known before it began" if fresh else "a read of the future"
            yield Violation("read", text, (record,))


def lists_show_one_revision(evidence: Evidence) -> Iterator[Violation]:
    """A list, with all its pages, is the whole state at its revision; a fresh one is not older than what was known."""
    states = States(evidence.log)
    for record in sorted(evidence.each("list", outcome=OK), key=lambda r: r.result["revision"]):
        revision = record.result["revision"]
        if any(page != revision for page in record.result["pages"]):
            yield Violation("list", f"pages of one list have several revisions: {record.result['pages']}", (record,))
            continue
        if record.args["fresh"] and revision < (known := evidence.moments.reached(record.start)):
            yield Violation("list", f"a list is stale: revision {known} was known before it began", (record,))
        if revision < (least := record.args.get("not_older", 0)):
            yield Violation("list", f"a list not older than {least} shows {revision}", (record,))
        if (at := record.args.get("at", 0)) and revision != at:
            yield Violation("list", f"a list of exactly {at} shows {revision}", (record,))
        if revision > evidence.moments.possible(record.end):
            yield Violation("list", "a list of the future", (record,))
        yield from _compare_items(record, states.at(revision), record.result["items"], whole=record.result["whole"])


def _compare_items(
    record: Record, state: dict[str, Stored], items: list[list[object]], *, whole: bool
) -> Iterator[Violation]:
    side = record.args.get("side", "")
    names = [str(item[0]) for item in items]
    if names != sorted(set(names)):
        yield Violation("list", "a list has names twice or out of order", (record,))
    last = names[-1] if names else ""
    asked = [state[n] for n in sorted(state) if (whole or n <= last) and side in ("", state[n].side)]
    expected = [[entry.name, entry.revision, entry.write] for entry in asked]
    if [list(i) for i in items] != expected:
        missing = [e for e in expected if e not in items]
        surplus = [i for i in items if i not in expected]
        yield Violation("list", f"a list is not the state at its revision: lacks {missing}, has {surplus}", (record,))


def watches_tell_everything_in_order(evidence: Evidence) -> Iterator[Violation]:
    """From where it began, a watch brings every change, once, in order, and a bookmark lies about none."""
    for record in evidence.each("watch"):
        events = record.result["events"]
        start = record.args["from"]
        if record.args.get("initial"):
            ends = [i for i, e in enumerate(events) if e[1] == INITIAL_END]
            if not ends:
                continue
            start = events[ends[0]][3]
            items = _folded(events[: ends[0]])
            yield from _compare_items(record, States(evidence.log).at(start), items, whole=True)
            events = events[ends[0] + 1 :]
        yield from _follow(evidence, record, start, events)


def _folded(events: list[list[object]]) -> list[list[object]]:
    """What a client holds after initial events: mostly additions, and what changed meanwhile."""
    held: dict[object, list[object]] = {}
    for _, type_, name, revision, write in events:
        if type_ == "DELETED":
            held.pop(name, None)
        elif type_ != "BOOKMARK":
            held[name] = [name, revision, write]
    return [held[name] for name in sorted(held, key=str)]


@dataclass(frozen=True, slots=True)
class _Expected:
    """An event that a watch should bring."""

    revision: int
    type: str
    name: str
    write: str


def _expected(log: Log, start: int, side: str) -> Iterator[_Expected]:
    """The events after a revision. To a watch for one side an object comes and goes with its label."""
    for entry in log.entries[log.after(start) :]:
        before = log.before(entry)
        now = entry.type == "PUT" and side in ("", entry.side)
        was = before is not None and side in ("", before.side)
        if now:
            yield _Expected(entry.revision, "MODIFIED" if was else "ADDED", entry.name, entry.write)
        elif was:
            assert before is not None
            yield _Expected(entry.revision, "DELETED", entry.name, before.write)


def _follow(evidence: Evidence, record: Record, start: int, events: list[list[object]]) -> Iterator[Violation]:
    following = _expected(evidence.log, start, record.args.get("side", ""))
    expected, seen = next(following, None), start
    for _, type_, name, revision, write in events:
        assert isinstance(revision, int)
        if type_ == "BOOKMARK":
            if expected is not None and expected.revision <= revision:
                yield Violation("watch", f"a bookmark at {revision} hides {expected}", (record,))
                return
            seen = max(seen, revision)
            continue
        if revision <= seen:
            yield Violation("watch", f"a watch brought {revision} after {seen}", (record,))
            return
        if expected is None or expected.revision > revision:
            yield Violation("watch", f"a watch brought {type_} {name} at {revision}, which never was", (record,))
            return
        if expected.revision < revision:
            yield Violation("watch", f"a watch left {expected} out before {revision}", (record,))
            return
        if (type_, name, write) != (expected.type, expected.name, expected.write):
            yield Violation("watch", f"a watch brought {type_} {name} {write} for {expected}", (record,))
        expected, seen = next(following, None), revision


def watchers_come_to_the_end(evidence: Evidence) -> Iterator[Violation]:
    """When all is quiet again, every watcher hears of the last change; and no stream begins beyond what was seen."""
    last: dict[str, Record] = {}
    for record in evidence.each("watch"):
        before = last.get(record.client)
        if before is not None and not record.args.get("initial") and not record.args.get("listed"):
            reached = _reached(before)
            if record.args["from"] != reached:
                text = f"a watch was to go on from {reached} and goes on from {record.args['from']}"
                yield Violation("watch-end", text, (before, record))
        last[record.client] = record
    if evidence.history.final_revision:
        for record in last.values():
            if _reached(record) < evidence.history.final_revision:
                text = f"a watcher never heard of revision {evidence.history.final_revision}"
                yield Violation("watch-end", text, (record,))


def _reached(record: Record) -> int:
    return max([record.args["from"], *(event[3] for event in record.result["events"])])


RULES: tuple[Rule, ...] = (
    revisions_are_unique,
    creations_and_deletions_alternate,
    acknowledged_writes_are_stored_once,
    no_write_is_stored_twice,
    nothing_is_stored_unasked,
    order_follows_time,
    swaps_meet_what_they_expect,
    refusals_have_a_reason,
    reads_show_what_was_there,
    lists_show_one_revision,
    watches_tell_everything_in_order,
    watchers_come_to_the_end,
)
