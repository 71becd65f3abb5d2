"""Random search: every particle is drawn evenly from the space. The baseline that a strategy has to beat."""

from __future__ import annotations

from typing import ClassVar

from serviceoptd.domain.space.space import Key
from serviceoptd.search.interface import Problem, Proposal, Trial
from serviceoptd.search.novelty import drawing, exhausted, unseen_anywhere


class RandomSearch:
    """Draws without looking back; never proposes a configuration twice."""

    name: ClassVar[str] = "random"

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._seen: dict[int, Key] = {}

    def tell(self, trial: Trial) -> None:
        """Takes note of the configuration; what became of it does not matter here."""
        self._seen[trial.proposal.particle] = self._problem.space.key(trial.proposal.configuration)

    def ask(self, particle: int) -> Proposal | None:
        """The current setting first, then a draw; None when the space holds nothing new."""
        space, current = self._problem.space, self._problem.current
        seen = set(self._seen.values())
        if exhausted(space, len(seen)):
            return None
        if current is not None and not self._seen:
            position, origin = current, "current-setting"
        else:
            found = unseen_anywhere(space, seen, drawing(self._problem.seed, particle, self.name))
            if found is None:
                return None
            position, origin = found, "random"
        iteration, slot = divmod(len(self._seen), self._problem.search.n_particles)
        return Proposal(
            particle=particle,
            slot=slot,
            iteration=iteration,
            position=position,
            velocity=(0.0,) * len(position),
            configuration=space.decode(position),
            origin=origin,
        )
