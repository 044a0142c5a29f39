"""A figure's result, and how results are shown and kept."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

RESULTS = Path(__file__).resolve().parent / "results.json"


@dataclass(frozen=True)
class Result:
    """One figure beside its floor. `ratio` is value / floor, None where there is no floor to compare with."""

    figure: str
    value: float
    unit: str
    floor: float | None
    ratio: float | None
    asked: str
    holds: bool

    def line(self) -> str:
        floor = f"{self.floor:>10.4g}" if self.floor is not None else " " * 10
        ratio = f"{self.ratio:>8.3f}" if self.ratio is not None else " " * 8
        verdict = "holds" if self.holds else "MISSED"
        return f"{self.figure:<28} {self.value:>10.4g} {floor} {self.unit:<9} {ratio}  {self.asked:<22} {verdict}"


HEADING = f"{'figure':<28} {'value':>10} {'floor':>10} {'unit':<9} {'ratio':>8}  {'asked':<22}"


def at_least(figure: str, value: float, floor: float, unit: str, ratio: float, asked: float) -> Result:
    return Result(figure, value, unit, floor, ratio, f"ratio at least {asked:g}", ratio >= asked)


def at_most(figure: str, value: float, floor: float, unit: str, ratio: float, asked: float) -> Result:
    return Result(figure, value, unit, floor, ratio, f"ratio at most {asked:g}", ratio <= asked)


def below(figure: str, value: float, floor: float | None, unit: str, asked: float) -> Result:
    return Result(
        figure, value, unit, floor, value / floor if floor else None, f"under {asked:g} {unit}", value < asked
    )


def keep(results: Sequence[Result], path: Path = RESULTS) -> None:
    """Writes the results, in place of those of the same figures from earlier runs."""
    names = {r.figure for r in results}
    kept = []
    if path.exists():
        kept = [r for r in json.loads(path.read_text()) if r["figure"] not in names]
    path.write_text(json.dumps(kept + [asdict(r) for r in results], indent=2) + "\n")
