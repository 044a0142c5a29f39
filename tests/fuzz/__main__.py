"""``python -m tests.fuzz [--requests N] [--seconds N] [--seed N] [--clients N]``: a campaign; ``make fuzz`` runs it."""

from __future__ import annotations

import argparse
import math
import random
import sys
import tempfile
import time
from pathlib import Path

from tests.fuzz.campaign import CLIENTS, fuzz


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.fuzz")
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=math.inf)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 20))
    parser.add_argument("--clients", type=int, default=CLIENTS)
    arguments = parser.parse_args()
    started = time.monotonic()

    def progress(text: str) -> None:
        print(f"{time.monotonic() - started:6.0f} s  {text}", flush=True)

    with tempfile.TemporaryDirectory(prefix="p8s-fuzz-") as directory:
        report = fuzz(
            Path(directory), arguments.requests, arguments.seed, arguments.seconds, progress, arguments.clients
        )
    print("\n".join((str(report), *report.growth())))
    return 1 if report.faults() else 0


if __name__ == "__main__":
    sys.exit(main())
