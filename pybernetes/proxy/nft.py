"""The only caller of nft: reads and changes one family's table, one transaction a call, in bounded time.

A transaction is whole or not at all: packets see the rules before it or after it. Calls of one `Nft` must not overlap.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import Sequence
from typing import Any

from pybernetes.proxy.layout import (
    ELEMENT_MAPS,
    ELEMENT_SETS,
    TABLE,
    LayoutConfig,
    affinity_definition,
    fixed_chains,
    marker_chain,
    render_layout,
)
from pybernetes.proxy.rules import Command, Removal, State, render

DEADLINE_SECONDS = 30.0
_PATH = f"{os.environ.get('PATH', '/usr/bin:/bin')}:/usr/sbin:/sbin"


class NftError(Exception):
    """nft refused, failed or took too long; the message is its own. Nothing was changed, unless `timed_out`."""

    def __init__(self, message: str, *, busy: bool = False, timed_out: bool = False) -> None:
        super().__init__(message)
        self.busy = busy
        self.timed_out = timed_out


class Nft:
    """One family's table in one network namespace: the process's own, or the one at the path `namespace`."""

    def __init__(
        self, config: LayoutConfig, *, namespace: str = "", deadline_seconds: float = DEADLINE_SECONDS
    ) -> None:
        self.config = config
        self._enter = ["nsenter", f"--net={namespace}", "--"] if namespace else []
        self._deadline_seconds = deadline_seconds

    async def _run(self, arguments: Sequence[str], script: str = "") -> str:
        program = shutil.which("nft", path=_PATH)
        if program is None:
            raise NftError("nft is not installed: install the package nftables")
        process = await asyncio.create_subprocess_exec(
            *self._enter, program, *arguments,
            stdin=asyncio.subprocess.PIPE if script else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:
            async with asyncio.timeout(self._deadline_seconds):
                output, errors = await process.communicate(script.encode() or None)
        except RuntimeError as error:
            # uvloop's way to say that the program ended before it was told anything.
            raise NftError(f"nft ended early: {error}") from error
        except TimeoutError:
            raise NftError(f"nft took longer than {self._deadline_seconds:g} s", timed_out=True) from None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode != 0:
            message = errors.decode(errors="replace").strip()
            raise NftError(message[:2000] or f"nft exited with {process.returncode}", busy="busy" in message)
        return output.decode()

    async def apply(self, commands: Sequence[Command]) -> None:
        """Carries the commands out in one transaction. A kernel that will not remove a chain in the transaction that
        removes the last reference to it gets the removals in a second one. Raises `NftError`."""
        if not commands:
            return
        try:
            await self._run(["-f", "-"], self._script(commands))
        except NftError as error:
            removals = [c for c in commands if isinstance(c, Removal)]
            if not error.busy or not removals:
                raise
            await self._run(["-f", "-"], self._script([c for c in commands if not isinstance(c, Removal)]))
            await self._run(["-f", "-"], self._script(removals))

    async def replace(self, commands: Sequence[Command]) -> None:
        """Replaces the whole table by a fresh one with what the commands add, in one transaction. Connections that
        are translated stay so; counters and learnt addresses are lost. Raises `NftError`."""
        await self._run(["-f", "-"], render_layout(self.config) + self._script(commands))

    async def delete(self) -> None:
        """Removes the table; fine where there is none. Raises `NftError`."""
        where = f"{self.config.family.keyword} {TABLE}"
        await self._run(["-f", "-"], f"add table {where}\ndelete table {where}\n")

    def _script(self, commands: Sequence[Command]) -> str:
        return render(commands, self.config.family.keyword, TABLE)

    async def read(self) -> State | None:
        """What the kernel holds beside the layout; None where there is no table laid out like ours. Raises
        `NftError` where nft itself fails."""
        family = self.config.family.keyword
        tables = json.loads(await self._run(["-j", "list", "tables", family]))
        if not any(entry.get("table", {}).get("name") == TABLE for entry in tables["nftables"]):
            return None
        listing = json.loads(await self._run(["-j", "list", "table", family, TABLE]))
        return parse(listing["nftables"], self.config)


def parse(listing: Sequence[dict[str, Any]], config: LayoutConfig) -> State | None:
    """A listed table as a `State`; None where its layout is another."""
    fixed = fixed_chains(config)
    chains: dict[str, str] = {}
    sets: dict[str, str] = {}
    elements: dict[str, dict[str, str]] = {}
    laid_out = False
    for entry in listing:
        if "chain" in entry:
            name = entry["chain"]["name"]
            laid_out = laid_out or name == marker_chain(config)
            if name not in fixed:
                chains.setdefault(name, "")
        elif "rule" in entry and entry["rule"]["chain"] not in fixed:
            # Listed in order: the comment of the last rule stays.
            chains[entry["rule"]["chain"]] = entry["rule"].get("comment", "")
        elif "map" in entry and entry["map"]["name"] in ELEMENT_MAPS:
            elements[entry["map"]["name"]] = {
                _key(key): _verdict(verdict) for key, verdict in entry["map"].get("elem") or ()
            }
        elif "set" in entry:
            found = entry["set"]
            if found["name"] in ELEMENT_SETS:
                elements[found["name"]] = {_key(key): "" for key in found.get("elem") or ()}
            else:
                sets[found["name"]] = affinity_definition(config.family, int(found.get("timeout") or 0))
    if not laid_out:
        return None
    return State(chains, sets, {name: pairs for name, pairs in elements.items() if pairs})


def _key(key: Any) -> str:
    if isinstance(key, dict) and "elem" in key:
        key = key["elem"]["val"]
    return " . ".join(str(part) for part in key["concat"]) if isinstance(key, dict) else str(key)


def _verdict(verdict: Any) -> str:
    if "goto" in verdict:
        return f"goto {verdict['goto']['target']}"
    return str(next(iter(verdict)))
