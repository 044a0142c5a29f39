"""``python -m tests.endpoints [PART]``: walks the endpoints and prints those that do not hold, then how many do.

With PART only the rows whose operation or path has it in it.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path

import structlog

from tests.endpoints.walk import walk


def main() -> int:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    matching = sys.argv[1] if len(sys.argv) > 1 else ""
    with tempfile.TemporaryDirectory(prefix="p8s-endpoints-") as directory:
        try:
            results = asyncio.run(walk(Path(directory), matching))
        except PermissionError as error:
            print(error, file=sys.stderr)
            return 2
    failed = [r for r in results if r.fault]
    for one in failed:
        print(one)
    print(f"{len(results) - len(failed)} of {len(results)} endpoints hold")
    return 1 if failed or not results else 0


if __name__ == "__main__":
    sys.exit(main())
