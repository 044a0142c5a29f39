"""``python -m bench.managers``: what field managers cost a write, in processor time, without server or store."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import orjson

from bench import pods
from pybernetes.api.kinds.registry import strategy_for
from pybernetes.api.patch import apply, tracking
from pybernetes.api.patch.scope import scope_of
from pybernetes.api.resources import PODS
from pybernetes.api.schema.decode import decode

_ROUNDS = 2000
_NOW = 1_767_323_045.0


def _pod(i: int) -> dict[str, Any]:
    obj = decode(pods.pod(f"pod-{i:05}"), PODS)[0]
    strategy_for(PODS).default(obj)
    return obj


def _with(obj: dict[str, Any], managers: list[Any], **parts: Any) -> dict[str, Any]:
    """As a store gives it back: sharing nothing with any other."""
    text = orjson.dumps({**obj, **parts, "metadata": {**obj["metadata"], "managedFields": managers}})
    return orjson.loads(text)  # type: ignore[no-any-return]


def _measure(name: str, work: Callable[[int], object]) -> None:
    best = float("inf")
    for _ in range(3):
        begin = time.process_time()
        for i in range(_ROUNDS):
            work(i)
        best = min(best, time.process_time() - begin)
    print(f"{name:42} {best / _ROUNDS * 1e6:8.1f} us")


def main() -> None:
    whole, status = scope_of(PODS), scope_of(PODS, "status")
    made = [_pod(i) for i in range(_ROUNDS)]
    text = orjson.dumps(made[0]["spec"])
    _measure("create", lambda i: tracking.managers_of_new(made[i], whole, "bench", _NOW))
    _measure(
        "create, with a spec seen before",
        lambda i: tracking.managers_of_new(made[i], whole, "bench", _NOW, spec_text=text),
    )
    stored = [_with(p, tracking.managers_of_new(p, whole, "bench", _NOW)) for p in made]
    running = [_with(p, p["metadata"]["managedFields"], **pods.status(0)) for p in stored]
    noted = tracking.managers_of_changed(stored[0], running[0], status, "kubelet", _NOW)
    running = [_with(p, noted) for p in running]
    later = [_with(p, noted, **pods.status(i + 1)) for i, p in enumerate(running)]
    _measure("first status", lambda i: tracking.managers_of_changed(stored[i], running[i], status, "kubelet", _NOW))
    _measure("next status", lambda i: tracking.managers_of_changed(running[i], later[i], status, "kubelet", _NOW + 1))
    config = {**pods.pod("pod-00000"), "apiVersion": "v1", "kind": "Pod"}
    live = apply.apply(stored[0], config, whole, manager="applier", force=True, now=_NOW)
    changed = {**config, "metadata": {**config["metadata"], "labels": {"app": "other"}}}
    _measure(
        "apply of a whole pod that changes a label",
        lambda i: apply.apply(live, changed, whole, manager="applier", force=True, now=_NOW + 1),
    )


if __name__ == "__main__":
    main()
