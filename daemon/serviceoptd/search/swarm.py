"""The default strategy, by its name. Its numerical libraries are imported when a run first needs them, not before."""

from __future__ import annotations

from typing import ClassVar

from serviceoptd.search.interface import Problem, Proposal, Trial


class Swarm:
    """The guided swarm (`guided_swarm.py`)."""

    name: ClassVar[str] = "swarm"

    def __init__(self, problem: Problem) -> None:
        from serviceoptd.search.guided_swarm import GuidedSwarm

        self._guided = GuidedSwarm(problem)

    def tell(self, trial: Trial) -> None:
        """Takes note of what became of a particle; a later word about the same particle replaces the earlier one."""
        self._guided.tell(trial)

    def ask(self, particle: int) -> Proposal | None:
        """The configuration to measure next."""
        proposal: Proposal | None = self._guided.ask(particle)
        return proposal

    def prepare(self) -> None:
        """Learns now what the next `ask` needs. Changes no answer."""
        self._guided.prepare()
