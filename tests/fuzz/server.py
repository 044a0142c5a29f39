"""The process that is fuzzed: ``python -m tests.fuzz.server DIRECTORY``.

It writes one line to its standard output once it serves, the URL, and ends when its standard input does. What it logs
goes to its standard error. Certificates and an administrator's key lie below the directory.

What is bounded is given small bounds: it fills at once, is emptied again and again, and what still grows has no bound.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from pybernetes.api.patch import created, sharing
from pybernetes.apiserver import cacher, http, settled
from pybernetes.apiserver.pki import ClusterPKI
from pybernetes.lib import logs
from tests.integration.apiserver.conftest import running

COMPACTION_SECONDS = 5.0


def lower_bounds() -> None:
    cacher.WINDOW_CHANGES_MAX, cacher.WINDOW_CHANGES_MIN, cacher.WINDOW_SECONDS = 64, 4, 5.0
    cacher._SPECS_BYTES_MAX = settled._BYTES_MAX = 1 << 16
    http._TARGETS_KEPT = 64
    sharing.SETS_MAX, sharing.PARTS_MAX = 64, 512
    created.TRIES_MAX, created.SPECS_MAX = 400, 8


async def serve(directory: Path) -> None:
    pki = await asyncio.to_thread(ClusterPKI.ensure, directory / "pki", advertise_addresses=["127.0.0.1"])
    async with running(pki, directory, compaction_seconds=COMPACTION_SECONDS) as server:
        print(server.url, flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    logs.configure("error")
    lower_bounds()
    asyncio.run(serve(Path(sys.argv[1])))
