"""``python -m tests.fuzz [--requests N] [--seed N]``: a campaign of any length; ``make fuzz`` runs it."""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path

from tests.fuzz.campaign import fuzz


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.fuzz")
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 20))
    arguments = parser.parse_args()
    started = time.monotonic()

    def progress(text: str) -> None:
        print(f"{time.monotonic() - started:6.0f} s  {text}", flush=True)

    with tempfile.TemporaryDirectory(prefix="p8s-fuzz-") as directory:
        report = fuzz(Path(directory), arguments.requests, arguments.seed, progress)
    faults = report.faults()
    for fault in faults:
        print(fault, end="\n\n")
    print(report)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
