"""``python -m bench [FIGURE ...]``: measures all figures, or those named, prints each beside its floor, and keeps them
in ``bench/results.json``. The exit status is 1 where one that was asked for is missed."""

from __future__ import annotations

import sys

import uvloop

from bench.figures import FIGURES
from bench.results import HEADING, RESULTS, Result, keep


async def measure(names: list[str]) -> list[Result]:
    results: list[Result] = []
    print(HEADING)
    for name in names:
        found = await FIGURES[name]()
        for result in found:
            print(result.line(), flush=True)
        results += found
        keep(results)
    return results


def main() -> int:
    names = sys.argv[1:] or list(FIGURES)
    unknown = [n for n in names if n not in FIGURES]
    if unknown:
        print(f"no such figure: {', '.join(unknown)}; there are: {', '.join(FIGURES)}", file=sys.stderr)
        return 2
    results = uvloop.run(measure(names))
    missed = [r.figure for r in results if not r.holds]
    print(f"{len(results) - len(missed)} of {len(results)} figures hold; kept in {RESULTS}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
