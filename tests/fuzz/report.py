"""What a campaign found: counts, times, what the process held after each round, and failures."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from tests.fuzz.request import Raw, Request
from tests.fuzz.target import Held

GROWTH_BYTES_MAX = 12 << 20
"""Between the middle of a campaign and its end: at first the process imports, compiles and fills its caches."""
DESCRIPTORS_MAX = TASKS_MAX = THREADS_MAX = 8
"""More than after the first round, by the end."""


@dataclass(slots=True)
class Failure:
    request: Request | Raw
    what: str
    fault: str = ""

    def __str__(self) -> str:
        return f"{self.request}\n  -> {self.what}\n{self.fault}"


@dataclass(slots=True)
class Report:
    seed: int
    clients: int
    sent: int = 0
    unanswered: int = 0
    """Where the client went away, or the server closed the connection of one that sent no HTTP."""
    expected_faults: int = 0
    """Answers of the 500s that upstream gives as well."""
    seconds: float = 0.0
    slowest_seconds: float = 0.0
    digest: str = ""
    """Of all cases in their order."""
    codes: Counter[int] = field(default_factory=Counter)
    sources: Counter[str] = field(default_factory=Counter)
    failures: list[Failure] = field(default_factory=list)
    held: list[Held] = field(default_factory=list)
    """After each round, everything made in it gone again."""

    def faults(self) -> list[str]:
        return [str(f) for f in self.failures] + self.growth()

    def growth(self) -> list[str]:
        if not self.held:
            return ["no round came to its end"]
        first, middle, last = self.held[0], self.held[len(self.held) // 2], self.held[-1]
        found = []
        if last.memory_bytes - middle.memory_bytes > GROWTH_BYTES_MAX:
            found.append("memory grows")
        if last.descriptors - first.descriptors > DESCRIPTORS_MAX:
            found.append("descriptors grow")
        if last.tasks - first.tasks > TASKS_MAX:
            found.append("tasks grow")
        if last.threads - first.threads > THREADS_MAX:
            found.append("threads grow")
        return [f"{what}: {', '.join(str(held) for held in self.held)}" for what in found]

    def __str__(self) -> str:
        codes = ", ".join(f"{code}: {n}" for code, n in sorted(self.codes.items()))
        sources = ", ".join(f"{name}: {n}" for name, n in sorted(self.sources.items()))
        held = [self.held[at] for at in sorted({0, len(self.held) // 2, len(self.held) - 1})] if self.held else []
        return (
            f"{self.sent} requests of {self.clients} clients in {self.seconds:.0f} s, seed {self.seed}, digest "
            f"{self.digest}\nsources: {sources}\n"
            f"answers by code: {codes}; {self.unanswered} without an answer, as meant; "
            f"{self.expected_faults} of the 500s are upstream's too\n"
            f"slowest answer: {self.slowest_seconds:.2f} s\n"
            f"held after the first, the middle and the last round: {'; '.join(map(str, held))}\n"
            f"{len(self.failures)} failures"
        )
