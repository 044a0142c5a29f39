"""The process that is fuzzed: ``python -m tests.fuzz.server DIRECTORY``.

It writes one line to its standard output once it serves, the URL, and ends when its standard input does. What it logs
goes to its standard error. Certificates and an administrator's key lie below the directory.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from pybernetes.apiserver.pki import ClusterPKI
from pybernetes.lib import logs
from tests.integration.apiserver.conftest import running

COMPACTION_SECONDS = 5.0
"""What is compacted is forgotten: a campaign shows what is kept for good."""


async def serve(directory: Path) -> None:
    pki = await asyncio.to_thread(ClusterPKI.ensure, directory / "pki", advertise_addresses=["127.0.0.1"])
    async with running(pki, directory, compaction_seconds=COMPACTION_SECONDS) as server:
        print(server.url, flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    logs.configure("error")
    asyncio.run(serve(Path(sys.argv[1])))
