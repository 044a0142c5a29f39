"""The checker, checked: hand-made histories, good ones that it accepts, and for each rule bad ones that it refuses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.robustness.history import INITIAL_END, OK, REFUSED, UNKNOWN, History, Record, Recorder, Stored, load
from tests.robustness.validate import RULES, check


class Story:
    """Builds a history; time is whatever the test says it is."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.stored: list[Stored] = []
        self.final = 0

    def put(self, revision: int, name: str, write: str, uid: str = "") -> None:
        self.stored.append(Stored(revision, "PUT", name, write, uid or f"uid-{name}"))

    def gone(self, revision: int, name: str, write: str, uid: str = "") -> None:
        self.stored.append(Stored(revision, "DELETE", name, write, uid or f"uid-{name}"))

    def did(
        self, op: str, start: float, end: float, outcome: str = OK, *, client: str = "c", status: int = 0, **parts: Any
    ) -> None:
        """`parts` are the arguments, and the result as `r_...`."""
        args = {k: v for k, v in parts.items() if not k.startswith("r_")}
        result = {k[2:]: v for k, v in parts.items() if k.startswith("r_")}
        self.records.append(Record(client, op, start, end, outcome, args, result, status))

    def create(self, start: float, end: float, name: str, write: str, revision: int, uid: str = "") -> None:
        """Acknowledged, and stored."""
        self.did("create", start, end, name=name, write=write, r_revision=revision, r_uid=uid or f"uid-{name}")
        self.put(revision, name, write, uid)

    def update(self, start: float, end: float, name: str, write: str, expected: int, revision: int) -> None:
        args = {"name": name, "write": write, "expected": expected}
        self.did("update", start, end, **args, r_revision=revision, r_uid=f"uid-{name}")
        self.put(revision, name, write)

    def delete(self, start: float, end: float, name: str, write: str, revision: int, uid: str = "") -> None:
        self.did("delete", start, end, name=name, expected=0, r_uid=uid or f"uid-{name}")
        self.gone(revision, name, write, uid)

    def get(self, start: float, end: float, name: str, revision: int, write: str, *, fresh: bool = True) -> None:
        """With revision 0, it was not found."""
        if revision:
            result = {"r_revision": revision, "r_write": write, "r_uid": f"uid-{name}"}
            self.did("get", start, end, name=name, fresh=fresh, **result)
        else:
            self.did("get", start, end, REFUSED, status=404, name=name, fresh=fresh)

    def list(
        self, start: float, end: float, revision: int, items: list[list[Any]], *, pages: list[int] | None = None,
        whole: bool = True, **args: Any,
    ) -> None:  # fmt: skip
        args = {"fresh": True, "at": 0, "limit": 0} | args
        pages = pages or [revision]
        self.did("list", start, end, **args, r_revision=revision, r_items=items, r_pages=pages, r_whole=whole)

    def watch(self, start: float, end: float, from_: int, *events: tuple[str, str, int, str], **args: Any) -> None:
        seen = [[end, type_, name, revision, write] for type_, name, revision, write in events]
        args = {"from": from_, "initial": False, "listed": False} | args
        client = args.pop("client", "w")
        self.records.append(Record(client, "watch", start, end, OK, args, {"events": seen, "end": "closed"}))

    def broken(self) -> set[str]:
        """The rules that are broken."""
        return {v.rule for v in check(History(self.records, self.stored, self.final))}


@pytest.fixture
def story() -> Story:
    """Revisions 10 to 14: a is made, swapped, deleted and made again, b is made."""
    s = Story()
    s.create(1, 2, "a", "w1", 10)
    s.update(3, 4, "a", "w2", 10, 11)
    s.create(3, 5, "b", "w3", 12)
    s.delete(6, 7, "a", "w2", 13)
    s.create(8, 9, "a", "w4", 14, uid="uid-a2")
    return s


GOOD_EVENTS = (
    ("ADDED", "a", 10, "w1"),
    ("MODIFIED", "a", 11, "w2"),
    ("ADDED", "b", 12, "w3"),
    ("DELETED", "a", 13, "w2"),
    ("ADDED", "a", 14, "w4"),
)


def test_a_good_history_breaks_no_rule(story: Story) -> None:
    story.get(2.5, 2.8, "a", 10, "w1")
    story.get(2.5, 3.5, "a", 11, "w2")  # While the swap is under way, either is right.
    story.get(2.5, 3.5, "a", 10, "w1")
    story.get(7.5, 7.6, "a", 0, "")
    story.get(9.5, 9.6, "a", 10, "w1", fresh=False)
    story.list(9.5, 9.6, 14, [["a", 14, "w4"], ["b", 12, "w3"]], pages=[14, 14])
    story.list(9.5, 9.6, 12, [["a", 11, "w2"], ["b", 12, "w3"]], fresh=False, at=12)
    story.list(9.5, 9.6, 12, [["a", 11, "w2"]], fresh=False, whole=False)
    story.did("create", 4, 5, REFUSED, status=409, name="a", write="w5")
    story.did("update", 5, 6, REFUSED, status=409, name="a", write="w6", expected=10)
    story.did("update", 7.1, 7.5, REFUSED, status=404, name="a", write="w7", expected=11)
    story.did("patch", 7.1, 7.5, UNKNOWN, name="b", write="w8")
    story.watch(0, 9, 9, *GOOD_EVENTS[:3], ("BOOKMARK", "", 12, ""))
    story.watch(9, 10, 12, *GOOD_EVENTS[3:])
    first = (("ADDED", "a", 11, "w2"), ("ADDED", "b", 12, "w3"), (INITIAL_END, "", 12, ""))
    story.watch(5, 10, 0, *first, *GOOD_EVENTS[3:], initial=True, client="w2")
    story.final = 14
    assert story.broken() == set()


def test_an_unknown_write_may_be_stored(story: Story) -> None:
    story.did("update", 10, 11, UNKNOWN, name="b", write="w9", expected=12)
    story.put(15, "b", "w9")
    assert story.broken() == set()


def test_a_lost_write(story: Story) -> None:
    story.did("create", 10, 11, name="c", write="w9", r_revision=15, r_uid="uid-c")
    assert "acknowledged" in story.broken()


def test_a_write_stored_at_another_revision_than_told(story: Story) -> None:
    story.did("create", 10, 11, name="c", write="w9", r_revision=15, r_uid="uid-c")
    story.put(16, "c", "w9")
    assert "acknowledged" in story.broken()


def test_a_lost_deletion(story: Story) -> None:
    story.did("delete", 10, 11, name="b", expected=0, r_uid="uid-b")
    assert "acknowledged" in story.broken()


def test_a_write_stored_twice(story: Story) -> None:
    story.did("patch", 10, 11, UNKNOWN, name="b", write="w9")
    story.put(15, "b", "w9")
    story.put(16, "b", "w9")
    assert story.broken() == {"at-most-once"}


def test_a_deletion_acknowledged_twice(story: Story) -> None:
    story.did("delete", 6, 7, name="a", expected=0, r_uid="uid-a", client="other")
    assert "at-most-once" in story.broken()


def test_an_apply_makes_or_changes(story: Story) -> None:
    for name, write, revision in (("b", "w9", 15), ("c", "w10", 16)):
        story.did("apply", 10, 11, name=name, write=write, r_revision=revision, r_uid=f"uid-{name}")
        story.put(revision, name, write)
    story.did("apply", 12, 13, UNKNOWN, name="c", write="w11")
    assert story.broken() == set()
    story.did("apply", 12, 13, name="c", write="w12", r_revision=17, r_uid="uid-c")
    assert story.broken() == {"acknowledged"}


def test_a_dry_run_that_is_stored(story: Story) -> None:
    story.did("dry", 10, 11, name="c", write="w9")
    assert story.broken() == set()
    story.put(15, "c", "w9")
    assert story.broken() == {"asked-for"}


def test_a_write_nobody_sent(story: Story) -> None:
    story.put(15, "b", "w-from-nowhere")
    assert "asked-for" in story.broken()


def test_a_deletion_nobody_sent(story: Story) -> None:
    story.gone(15, "b", "w3")
    assert "asked-for" in story.broken()


def test_a_refused_write_that_is_stored(story: Story) -> None:
    story.did("update", 10, 11, REFUSED, status=409, name="b", write="w9", expected=12)
    story.put(15, "b", "w9")
    assert "asked-for" in story.broken()


def test_two_changes_with_one_revision(story: Story) -> None:
    story.create(10, 11, "c", "w9", 15)
    story.create(10, 11, "d", "w10", 15)
    assert "revisions-unique" in story.broken()


def test_a_revision_that_went_back(story: Story) -> None:
    story.create(10, 11, "c", "w9", 20)
    story.create(12, 13, "d", "w10", 19)
    assert "order" in story.broken()


def test_a_revision_that_went_back_behind_what_a_watch_told(story: Story) -> None:
    story.watch(0, 9.5, 9, *GOOD_EVENTS, ("BOOKMARK", "", 30, ""))
    story.create(10, 11, "c", "w9", 20)
    assert "order" in story.broken()


def test_a_uid_that_changed(story: Story) -> None:
    story.did("patch", 10, 11, UNKNOWN, name="b", write="w9")
    story.put(15, "b", "w9", uid="another")
    assert story.broken() == {"lives"}


def test_a_deletion_of_nothing(story: Story) -> None:
    story.did("delete", 10, 11, UNKNOWN, name="c", expected=0)
    story.gone(15, "c", "w9")
    assert story.broken() == {"lives"}


def test_a_uid_that_came_back(story: Story) -> None:
    story.delete(10, 11, "b", "w3", 15)
    story.create(12, 13, "b", "w9", 16)
    assert story.broken() == {"lives"}


def test_a_lost_update(story: Story) -> None:
    story.update(10, 11, "b", "w9", 12, 15)
    story.update(10, 11, "b", "w10", 12, 16)
    assert story.broken() == {"swap"}


def test_a_creation_that_overwrote(story: Story) -> None:
    story.create(10, 11, "b", "w9", 15)
    assert "swap" in story.broken()


def test_an_update_of_nothing(story: Story) -> None:
    story.update(10, 11, "c", "w9", 12, 15)
    assert "swap" in story.broken()


def test_a_deletion_that_took_what_it_had_not_seen(story: Story) -> None:
    story.did("delete", 10, 11, name="b", expected=11, r_uid="uid-b")
    story.gone(15, "b", "w3")
    assert story.broken() == {"swap"}


@pytest.mark.parametrize(
    ("op", "status", "args"),
    [
        ("create", 409, {"name": "c", "write": "w9"}),
        ("update", 409, {"name": "b", "write": "w9", "expected": 12}),
        ("update", 404, {"name": "b", "write": "w9", "expected": 12}),
        ("patch", 404, {"name": "b", "write": "w9"}),
        ("delete", 404, {"name": "b", "expected": 0}),
        ("delete", 409, {"name": "b", "expected": 12}),
        ("patch", 422, {"name": "b", "write": "w9"}),
    ],
)
def test_a_refusal_without_a_reason(story: Story, op: str, status: int, args: dict[str, Any]) -> None:
    story.did(op, 10, 11, REFUSED, status=status, **args)
    assert story.broken() == {"refusal"}


def test_a_stale_read(story: Story) -> None:
    story.get(4.5, 4.6, "a", 10, "w1")
    assert story.broken() == {"read"}


def test_a_read_that_misses_an_acknowledged_creation(story: Story) -> None:
    story.get(5.5, 5.6, "b", 0, "")
    assert story.broken() == {"read"}


def test_a_read_that_shows_what_an_acknowledged_deletion_took(story: Story) -> None:
    story.get(7.5, 7.6, "a", 11, "w2")
    assert story.broken() == {"read"}


def test_a_read_behind_what_another_read_showed(story: Story) -> None:
    story.get(3.1, 3.2, "a", 11, "w2")
    story.get(3.3, 3.4, "a", 10, "w1")
    assert story.broken() == {"read"}


def test_a_read_of_the_future(story: Story) -> None:
    story.get(2.5, 2.6, "a", 11, "w2")
    # The write itself then also began after its revision was known.
    assert {"read", "order"} == story.broken()


def test_a_read_of_what_never_was(story: Story) -> None:
    story.get(4.5, 4.6, "a", 11, "w1")
    assert story.broken() == {"read"}


@pytest.mark.parametrize(
    ("revision", "items", "more"),
    [
        (13, [["b", 12, "w3"]], {}),  # stale: 14 was acknowledged
        (14, [["b", 12, "w3"]], {}),  # lacks one
        (14, [["a", 14, "w4"], ["b", 12, "w3"], ["c", 9, "w0"]], {}),  # has one too many
        (14, [["a", 11, "w2"], ["b", 12, "w3"]], {}),  # shows an old version
        (14, [["b", 12, "w3"], ["a", 14, "w4"]], {}),  # out of order
        (14, [["a", 14, "w4"], ["a", 14, "w4"], ["b", 12, "w3"]], {}),  # twice
        (14, [["a", 14, "w4"], ["b", 12, "w3"]], {"pages": [14, 15]}),  # pages of two revisions
        (14, [["a", 14, "w4"], ["b", 12, "w3"]], {"at": 13, "fresh": False}),  # not the revision asked for
        (14, [["b", 12, "w3"]], {"whole": False}),  # cut off, and lacks one before the cut
    ],
)
def test_bad_lists(story: Story, revision: int, items: list[list[Any]], more: dict[str, Any]) -> None:
    story.list(9.5, 9.6, revision, items, **more)
    assert story.broken() == {"list"}


def test_a_list_of_the_future(story: Story) -> None:
    story.list(2.5, 2.6, 12, [["a", 11, "w2"], ["b", 12, "w3"]])
    assert "list" in story.broken()


@pytest.mark.parametrize(
    "events",
    [
        [GOOD_EVENTS[0], GOOD_EVENTS[2]],  # a gap
        [GOOD_EVENTS[0], GOOD_EVENTS[1], GOOD_EVENTS[1]],  # twice
        [GOOD_EVENTS[1], GOOD_EVENTS[0]],  # out of order
        [("ADDED", "a", 10, "w9")],  # another content
        [("MODIFIED", "a", 10, "w1")],  # another type
        [("ADDED", "z", 9, "w1")],  # from before its beginning
        [*GOOD_EVENTS, ("ADDED", "c", 15, "w9")],  # what never was
        [GOOD_EVENTS[0], ("BOOKMARK", "", 11, "")],  # a bookmark that hides one
    ],
)
def test_bad_watches(story: Story, events: list[tuple[str, str, int, str]]) -> None:
    story.watch(0, 20, 9, *events)
    assert "watch" in story.broken()


@pytest.fixture
def sides() -> Story:
    """a goes from left to right and back; b is right and goes; revisions 10 to 14."""
    s = Story()
    s.create(1, 2, "a", "w1", 10)
    s.update(3, 4, "a", "w2", 10, 11)
    s.create(3, 5, "b", "w3", 12)
    s.update(6, 7, "a", "w4", 11, 13)
    s.delete(8, 9, "b", "w3", 14)
    sides = ("left", "right", "right", "left", "right")
    s.stored = [replace(entry, side=side) for entry, side in zip(s.stored, sides, strict=True)]
    return s


LEFT = [("ADDED", "a", 10, "w1"), ("DELETED", "a", 11, "w1"), ("ADDED", "a", 13, "w4")]
RIGHT = [("ADDED", "a", 11, "w2"), ("ADDED", "b", 12, "w3"), ("DELETED", "a", 13, "w2"), ("DELETED", "b", 14, "w3")]


def test_watches_and_lists_of_a_side(sides: Story) -> None:
    sides.watch(0, 20, 9, *LEFT, side="left")
    sides.watch(0, 20, 9, *RIGHT, side="right", client="w2")
    sides.list(9.5, 9.6, 14, [["a", 13, "w4"]], side="left")
    sides.list(9.5, 9.6, 14, [], side="right", not_older=13)
    assert sides.broken() == set()


@pytest.mark.parametrize(
    "events",
    [
        [LEFT[0], LEFT[2]],  # it never said that a went
        [LEFT[0], ("DELETED", "a", 11, "w2")],  # shows what is not on this side
        [LEFT[0], ("MODIFIED", "a", 11, "w2")],
        [*LEFT, ("DELETED", "b", 14, "w3")],  # the other side's
    ],
)
def test_bad_watches_of_a_side(sides: Story, events: list[tuple[str, str, int, str]]) -> None:
    sides.watch(0, 20, 9, *events, side="left")
    assert sides.broken() == {"watch"}


@pytest.mark.parametrize(
    ("items", "more"),
    [([["a", 13, "w4"]], {"side": "right"}), ([], {"side": "left"}), ([["a", 13, "w4"]], {"not_older": 15})],
)
def test_bad_lists_of_a_side(sides: Story, items: list[list[Any]], more: dict[str, Any]) -> None:
    sides.list(9.5, 9.6, 14, items, **more)
    assert sides.broken() == {"list"}


def test_a_streaming_list_that_lacks_one(story: Story) -> None:
    story.watch(9.5, 20, 0, ("ADDED", "b", 12, "w3"), (INITIAL_END, "", 14, ""), initial=True)
    assert story.broken() == {"list"}


def test_a_watch_that_missed_a_change_after_its_initial_events(story: Story) -> None:
    first = (("ADDED", "a", 11, "w2"), ("ADDED", "b", 12, "w3"), (INITIAL_END, "", 12, ""))
    story.watch(5, 20, 0, *first, GOOD_EVENTS[4], initial=True)
    assert story.broken() == {"watch"}


def test_a_watcher_that_never_came_to_the_end(story: Story) -> None:
    story.watch(0, 20, 9, *GOOD_EVENTS[:3])
    story.final = 14
    assert story.broken() == {"watch-end"}


def test_a_stream_that_does_not_go_on_from_the_last(story: Story) -> None:
    story.watch(0, 9, 9, *GOOD_EVENTS[:2])
    story.watch(10, 20, 12, *GOOD_EVENTS[3:])
    assert story.broken() == {"watch-end"}


def test_every_rule_has_been_named() -> None:
    assert len({rule.__name__ for rule in RULES}) == len(RULES) == 12


def test_a_history_survives_its_recorder(tmp_path: Path, story: Story) -> None:
    recorder = Recorder(tmp_path)
    for record in story.records:
        recorder.add(record)
    recorder.add_stored(story.stored)
    recorder.add_stored(story.stored[:2])
    recorder.note(final_revision=14, seed=3)
    with (tmp_path / "c.jsonl").open("a") as file:
        file.write('{"client": "c", "op": "get", "sta')  # cut off by a kill
    recorder.close()
    again = load(tmp_path)
    assert sorted(again.records, key=str) == sorted(story.records, key=str)
    assert again.stored == story.stored and again.final_revision == 14 and again.settings["seed"] == 3
