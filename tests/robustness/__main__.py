"""``python -m tests.robustness run`` and ``check``: longer runs by hand, and old histories looked at again."""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

from tests.robustness import campaign, report
from tests.robustness.faults import FAULTS


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.robustness", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="clients and faults, then the check")
    run.add_argument("--seconds", type=float, default=60.0)
    run.add_argument("--seed", type=int, default=1)
    run.add_argument("--rounds", type=int, default=1, help="so many runs, with a seed each from --seed on")
    run.add_argument("--store", choices=("sqlite", "etcd"), default="sqlite")
    run.add_argument("--faults", default="kill,pause", help=f"any of {','.join(FAULTS)}, or none")
    run.add_argument("--compaction", type=float, default=0.0, metavar="SECONDS", help="how often to compact")
    run.add_argument("--keep", action="store_true", help="keep the history also where every rule holds")
    check = commands.add_parser("check", help="check a kept history again")
    check.add_argument("directory", type=Path)
    options = parser.parse_args()
    if options.command == "check":
        found = campaign.recheck(options.directory)
        print(found.text())
        return 1 if found.violations else 0
    kinds = [f for f in options.faults.split(",") if f and f != "none"]
    if unknown := set(kinds) - set(FAULTS):
        parser.error(f"no such fault: {', '.join(sorted(unknown))}; there are {', '.join(FAULTS)}")
    bad = 0
    for seed in range(options.seed, options.seed + options.rounds):
        plan = campaign.Plan(options.seconds, seed, options.store, kinds, options.compaction)
        found = asyncio.run(campaign.run(plan, report.new_directory(f"{options.store}-{seed}")))
        print(found.text(), flush=True)
        bad += bool(found.violations)
        if not found.violations and not options.keep:
            found.settle()
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
