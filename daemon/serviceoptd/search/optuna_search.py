"""Optuna's samplers behind our interface: `[search] strategy = "optuna"`, with the extra `optuna` installed.

`[search.options] sampler` is `tpe` (default), `gp`, `cmaes` or `random`, by the names of Optuna's documentation. The study
is rebuilt for each particle, its sampler seeded by the run's seed and the particle's number: a resumed run goes on alike.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, ClassVar

from serviceopt_journal.errors import EnvironmentLacks, InvalidConfiguration
from serviceoptd.domain.statistics.draws import uniform
from serviceoptd.search.interface import Problem, Proposal, Trial
from serviceoptd.search.novelty import drawing, exhausted, unseen_anywhere, unseen_neighbour

if TYPE_CHECKING:
    import optuna

SAMPLERS = {"tpe": "TPESampler", "gp": "GPSampler", "cmaes": "CmaEsSampler", "random": "RandomSampler"}


class OptunaSearch:
    """Asks an Optuna sampler for a position in the unit cube; what it has proposed before is moved to a neighbour."""

    name: ClassVar[str] = "optuna"

    def __init__(self, problem: Problem) -> None:
        """Imports Optuna.

        Raises:
            EnvironmentLacks: it is not installed.
            InvalidConfiguration: no such sampler.
        """
        chosen = problem.search.options.get("sampler", "tpe")
        if chosen not in SAMPLERS:
            raise InvalidConfiguration(
                f"{chosen!r} is not a sampler of the strategy optuna", hint=f"known: {', '.join(SAMPLERS)}"
            )
        try:
            self._optuna = importlib.import_module("optuna")
        except ImportError as missing:
            raise EnvironmentLacks(
                "the strategy optuna needs Optuna",
                hint="pip install 'serviceopt[optuna]', where serviceoptd is installed",
            ) from missing
        self._optuna.logging.set_verbosity(self._optuna.logging.ERROR)
        self._sampler = SAMPLERS[chosen]
        self._problem = problem
        self._trials: dict[int, Trial] = {}

    def tell(self, trial: Trial) -> None:
        """Takes note of what became of a particle; a later word about the same particle replaces the earlier one."""
        self._trials[trial.proposal.particle] = trial

    def ask(self, particle: int) -> Proposal | None:
        """A configuration that was not proposed yet."""
        space = self._problem.space
        seen = {space.key(trial.proposal.configuration) for trial in self._trials.values()}
        if exhausted(space, len(seen)):
            return None
        if not self._trials and self._problem.current is not None:
            position: tuple[float, ...] | None = self._problem.current
            origin = "current-setting"
        else:
            origin, sampled = "optuna", self._sampled(particle)
            draw = drawing(self._problem.seed, particle, self.name)
            position = sampled
            if space.key(space.decode(sampled)) in seen:
                position = unseen_neighbour(space, sampled, seen, draw) or unseen_anywhere(space, seen, draw)
        if position is None:
            return None
        size = self._problem.search.n_particles
        return Proposal(
            particle=particle,
            slot=(particle - 1) % size,
            iteration=(particle - 1) // size,
            position=position,
            velocity=(0.0,) * len(position),
            configuration=space.decode(position),
            origin=origin,
        )

    def _sampled(self, particle: int) -> tuple[float, ...]:
        seed = int(uniform(self._problem.seed, self.name, particle, 0) * 2**31)
        study = self._optuna.create_study(sampler=getattr(self._optuna.samplers, self._sampler)(seed=seed))
        study.add_trials([self._finished(trial) for trial in self._trials.values() if trial.fitness is not None])
        asked = study.ask(self._distributions())
        return tuple(asked.params[name] for name in self._distributions())

    def _finished(self, trial: Trial) -> optuna.trial.FrozenTrial:
        params = dict(zip(self._distributions(), trial.proposal.position, strict=True))
        value = trial.fitness
        told: optuna.trial.FrozenTrial = self._optuna.trial.create_trial(
            params=params, distributions=self._distributions(), value=value
        )
        return told

    def _distributions(self) -> dict[str, optuna.distributions.BaseDistribution]:
        uniform_distribution = self._optuna.distributions.FloatDistribution(0.0, 1.0)
        return {field.name: uniform_distribution for field in self._problem.space.dimensions}
