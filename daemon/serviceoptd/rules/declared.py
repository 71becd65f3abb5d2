"""The rule `declared`: relations between parameters that people know, each with its source."""

from __future__ import annotations

from typing import ClassVar

from serviceopt_journal.events import Configuration
from serviceoptd.domain.space.constraints import constraints_of, parameters, sides, violated
from serviceoptd.rules.interface import Facts, Kind, Rejection


class Declared:
    """The engine's own constraints (`domain/constraints.py`) and those of `[[search.constraint]]`."""

    name: ClassVar[str] = "declared"
    kind: ClassVar[Kind] = "experience"

    def judge(self, configuration: Configuration, facts: Facts) -> Rejection | None:
        """Against it where a constraint is broken."""
        known = parameters(configuration, facts.space.fields, facts.settings.model_facts.arguments)
        broken = violated(constraints_of(facts.settings), known)
        compared = sides(broken, known) if broken else None
        if broken is None or compared is None:
            return None
        right = broken.right if isinstance(broken.right, str) else ""
        factor = f"{broken.factor:g} x " if broken.factor != 1.0 and right else ""
        told = f"{broken.left} ({compared[0]:g}) must be {broken.op} {factor}{right} ({compared[1]:g}): {broken.source}"
        return Rejection(" ".join(told.split()))
