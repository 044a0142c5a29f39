"""What a run found, for people; and where its history is kept when it found something.

Histories lie below ``P8S_ROBUSTNESS_DIR``, or ``p8s-robustness`` in the temporary directory. A good run's is removed,
a bad one's stays until somebody removes it, with the servers' logs beside it.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from tests.robustness.history import History
from tests.robustness.validate import Violation

SHOWN_MAX = 12


@dataclass(frozen=True)
class Report:
    directory: Path
    history: History
    violations: list[Violation]

    def counts(self) -> Counter[tuple[str, str]]:
        return Counter((r.op, r.outcome) for r in self.history.records)

    def faults(self) -> list[str]:
        return [r.result["text"] for r in self.history.records if r.op == "fault"]

    def text(self) -> str:
        operations = ", ".join(f"{n} {op} {outcome}" for (op, outcome), n in sorted(self.counts().items()))
        events = sum(len(r.result["events"]) for r in self.history.records if r.op == "watch")
        lines = [
            f"settings: {self.history.settings}",
            f"faults: {'; '.join(self.faults()) or 'none'}",
            f"operations: {operations}; {len(self.history.stored)} changes stored, {events} events watched",
        ]
        if self.violations:
            rules = ", ".join(f"{rule} {n}" for rule, n in Counter(v.rule for v in self.violations).items())
            lines.append(f"{len(self.violations)} violations ({rules}):")
            lines += [f"  {v}" for v in self.violations[:SHOWN_MAX]]
            lines.append(f"the history is kept; check it again with: python -m tests.robustness check {self.directory}")
        else:
            lines.append("every rule holds")
        return "\n".join(lines)

    def settle(self) -> None:
        """Removes a good run's history; raises AssertionError, with the text, for a bad one."""
        if self.violations:
            raise AssertionError(self.text())
        shutil.rmtree(self.directory)


def new_directory(label: str) -> Path:
    base = Path(os.environ.get("P8S_ROBUSTNESS_DIR") or Path(tempfile.gettempdir()) / "p8s-robustness")
    base.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix=f"{label}-", dir=base))
