"""The rule `simulated`: what a simulator that has been right in this run says is not worth an evaluation.

It needs `[search] simulation`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import ClassVar

import msgspec

from serviceopt_journal.events import Configuration
from serviceoptd.domain.settings import Field, Objective
from serviceoptd.domain.space.space import Space
from serviceoptd.rules.interface import Facts, Kind, Rejection
from serviceoptd.rules.threshold import improbable, threshold
from serviceoptd.search.gaussian_process import on_one_thread
from serviceoptd.simulation.advice.advice import Advice, Compared, usable
from serviceoptd.simulation.advice.simulator import Simulator

LEAST = 6
"""Results that must be there before it judges."""
TRUSTED = 0.8
"""Weight from which on the simulator has been right in this run, in one of the quantities that count."""


class SimulatedRule:
    """`threshold` in `[search.options.simulated]`: the probability below which a configuration is given up, 0.01."""

    name: ClassVar[str] = "simulated"
    kind: ClassVar[Kind] = "simulated"

    @on_one_thread  # type: ignore[untyped-decorator]
    def judge(self, configuration: Configuration, facts: Facts) -> Rejection | None:
        """None without a simulator, and while it has not been right often enough.

        Raises:
            InvalidConfiguration: the threshold is not a probability.
            EnvironmentLacks: the simulator's files cannot be read any more, or have changed.
        """
        least = threshold(facts.options(self.name), self.name)
        simulator, objective = facts.simulator, facts.settings.objective
        if simulator is None:
            return None
        known = compared(facts, simulator)
        if len(usable(objective, known)) < LEAST:
            return None
        advice = _advice(msgspec.msgpack.encode((facts.space.fields, objective, known)))
        simulated = simulator(configuration, objective.slos)
        outlook = advice.outlook([configuration], [simulated])
        best = max((r.objective for r in facts.results if r.feasible and r.objective is not None), default=None)
        log_worthwhile = float(outlook.log_worthwhile(best, TRUSTED)[0])
        by = f"the simulator, corrected by {advice.results} results"
        reason = improbable(log_worthwhile, least, better=best is not None, by=by)
        if reason is None or not outlook.known[0]:
            return None
        return Rejection(reason, advice.expected(outlook, 0), simulated.remark)


def compared(facts: Facts, simulator: Simulator) -> list[Compared]:
    """Every result, with what the simulator says of its configuration."""
    return [
        Compared(result.configuration, result.metrics, simulator(result.configuration, facts.settings.objective.slos))
        for result in facts.results
        if result.metrics is not None
    ]


@lru_cache(maxsize=1)
def _advice(told: bytes) -> Advice:
    """Of these fields, objective and results: kept, since many proposals are judged by the same results."""
    fields, objective, known = msgspec.msgpack.decode(told, type=tuple[tuple[Field, ...], Objective, list[Compared]])
    return Advice(Space.of(fields), objective, known)
