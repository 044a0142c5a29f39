"""matchConditions: expressions that all have to hold for a webhook or policy to be asked.

One that is false settles it. Where one has no value and none is false, the failure policy decides.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pybernetes.api.cel.errors import EvaluationError
from pybernetes.api.cel.expression import MATCH_CONDITION, Expression, Input, LazyProgram, Scope


class NoVerdict(Exception):
    """Conditions had no value, and the failure policy is Fail."""


class MatchConditions:
    def __init__(self, programs: Iterable[LazyProgram], *, fails_open: bool) -> None:
        self._programs = tuple(programs)
        self._fails_open = fails_open

    @classmethod
    def of(
        cls, conditions: Iterable[Mapping[str, Any]], *, fails_open: bool, scope: Scope = MATCH_CONDITION
    ) -> MatchConditions:
        """Of the API's field."""
        return cls((LazyProgram(Expression(str(c["expression"]), scope)) for c in conditions), fails_open=fails_open)

    def match(self, values: Input) -> bool:
        """Raises `NoVerdict`."""
        faults = []
        for program in self._programs:
            try:
                if not program.evaluate(values):
                    return False
            except EvaluationError as error:
                faults.append(str(error))
        if not faults:
            return True
        if self._fails_open:
            return False
        raise NoVerdict(faults[0] if len(faults) == 1 else f"[{', '.join(faults)}]")
