"""Sets of completion indexes as a Job's status writes them: ``1,3-5,7``. Pure."""

from __future__ import annotations

from collections.abc import Iterable


def parse(text: str | None, limit: int) -> set[int]:
    """The indexes below `limit`; what cannot be read is left out, as upstream does."""
    found: set[int] = set()
    for part in (text or "").split(","):
        first, dash, last = part.partition("-")
        if not first.isdigit() or (dash and not last.isdigit()):
            continue
        found.update(range(int(first), min(int(last) if dash else int(first), limit - 1) + 1))
    return found


def render(indexes: Iterable[int]) -> str:
    """Sorted, with runs of two or more as ranges (a run of two as ``1,2``)."""
    runs: list[list[int]] = []
    for index in sorted(indexes):
        if runs and runs[-1][1] == index - 1:
            runs[-1][1] = index
        else:
            runs.append([index, index])
    parts = []
    for first, last in runs:
        if first == last:
            parts.append(str(first))
        elif last == first + 1:
            parts += [str(first), str(last)]
        else:
            parts.append(f"{first}-{last}")
    return ",".join(parts)
