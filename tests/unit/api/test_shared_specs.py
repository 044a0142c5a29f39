"""Shared specs: one object for equal texts, known by identity, bounded."""

from __future__ import annotations

import orjson
import pytest

from pybernetes.api import shared_specs
from pybernetes.api.kinds.registry import strategy_for
from pybernetes.api.meta import Object
from pybernetes.api.resources import PODS


def spec(name: str, **more: object) -> Object:
    return {"containers": [{"name": name, "image": "example/web:1"}], **more}


def test_equal_specs_become_one_and_know_their_text() -> None:
    first, second = shared_specs.share(spec("one")), shared_specs.share(spec("one"))
    assert first is second
    assert shared_specs.share(first) is first
    text = shared_specs.text_of(first)
    assert text == orjson.dumps(spec("one"))
    assert shared_specs.of_text(text) is first
    assert shared_specs.text_of(spec("one")) is None and shared_specs.text_made(spec("one")) == text


def test_what_is_equal_to_python_and_not_as_json_stays_two() -> None:
    assert shared_specs.share(spec("j", n=1)) is not shared_specs.share(spec("j", n=True))


def test_the_table_is_bounded_and_forgets_what_was_used_least_recently(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_specs, "BYTES_MAX", 64 * 1024)
    kept = shared_specs.share(spec("kept"))
    others = []
    for i in range(200):
        others.append(shared_specs.share(spec(f"n{i}", padding="x" * 1000)))
        shared_specs.share(spec("kept"))
    assert shared_specs.text_of(kept) is not None
    assert shared_specs.text_of(others[0]) is None and shared_specs.text_of(others[-1]) is not None
    # What was forgotten is an ordinary object, and its equal another.
    assert shared_specs.share(spec("n0", padding="x" * 1000)) is not others[0]


def test_a_changed_shared_spec_is_found() -> None:
    one = shared_specs.share(spec("to-be-changed"))
    one["containers"][0]["image"] = "example/web:2"
    try:
        assert any(s is one for s in shared_specs.changed())
    finally:
        one["containers"][0]["image"] = "example/web:1"


def test_an_update_that_changes_no_spec_keeps_the_old_one() -> None:
    strategy = strategy_for(PODS)
    old = {"metadata": {"name": "p"}, "spec": shared_specs.share(spec("same")), "status": {"phase": "Running"}}
    new = {"metadata": {"name": "p", "labels": {"a": "b"}}, "spec": spec("same")}
    strategy.prepare_for_update(new, old)
    assert new["spec"] is old["spec"]
    new["spec"] = {**spec("same"), "activeDeadlineSeconds": 5}
    strategy.prepare_for_update(new, old)
    assert new["spec"] is not old["spec"] and shared_specs.is_shared(new["spec"])
