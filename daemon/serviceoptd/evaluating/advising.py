"""The simulator that advises a run on a real engine: built when it is first needed, asked for the first particles."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from serviceoptd.domain.space.space import Space
from serviceoptd.domain.state import RunState
from serviceoptd.evaluating.rejecting import facts_of
from serviceoptd.simulation.advice.simulator import Simulator

if TYPE_CHECKING:  # numerical libraries are imported when there is something to advise
    from serviceoptd.simulation.advice.warm_start import First

ORIGIN = "simulator"
"""Origin of the particles that it chose."""

FIRST = 3
"""So many configurations are measured by its advice, after the current setting."""


class Advisors:
    """The simulators of the runs that ask for one, kept for what they have simulated already."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, int | None, int | None], Simulator] = {}

    def of(self, run: RunState) -> Simulator | None:
        """The simulator that advises this run; None: none does.

        Raises:
            EnvironmentLacks: its files cannot be read any more, or have changed.
        """
        if not run.settings.search.simulation:
            return None
        launches = run.evaluations.values()
        reported = ((each.kv_blocks, each.kv_block_size) for each in launches if each.kv_blocks is not None)
        key = run.number, *next(reported, (None, None))
        if key not in self._known:
            from serviceoptd.predicting.advisor import advisor_of

            self._known[key] = advisor_of(run.settings, Path(run.working_directory or "/"), *key[1:])
        return self._known[key]


def advised(run: RunState, space: Space, simulator: Simulator) -> First | None:
    """What the simulator advises to measure next, while the run begins; corrected by what has been measured until now."""
    if not 1 <= run.admitted <= FIRST:
        return None
    from serviceoptd.rules.simulated import compared
    from serviceoptd.simulation.advice.warm_start import chosen

    found: First | None = chosen(
        space,
        run.settings.objective,
        compared(facts_of(run, simulator), simulator),
        simulator,
        seed=run.seed,
        taken=[particle.configuration for particle in run.particles.values()],
    )
    return found


def simulate_ahead(run: RunState, space: Space, simulator: Simulator, wanted: Callable[[], bool]) -> None:
    """Simulates what `advised` will ask for, while something is measured; stops when that is not `wanted`."""
    if run.admitted > FIRST:
        return
    from serviceoptd.simulation.advice.warm_start import candidates

    for configuration in candidates(space, run.seed):
        if not wanted():
            return
        simulator(configuration, run.settings.objective.slos)
