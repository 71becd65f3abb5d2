"""What a search strategy is: ask for a particle, be told of results. Read this first.

A strategy is rebuilt after every restart from the journal: it is told every trial again, in the order of the particle
numbers, and must then ask for the same particles. So it keeps no random state: its random numbers come from
`domain.draws`, keyed by the run's seed, a purpose and the particle's number.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol

from serviceopt_journal.events import Configuration
from serviceoptd.domain.settings import Search
from serviceoptd.domain.space import Space


@dataclass(frozen=True)
class Problem:
    """What the strategy searches."""

    space: Space
    seed: int
    search: Search
    current: tuple[float, ...] | None  # position of the current setting; the first particle


@dataclass(frozen=True)
class Proposal:
    """A particle to be: the decision that ParticleProposed records."""

    particle: int
    slot: int
    iteration: int
    position: tuple[float, ...]
    velocity: tuple[float, ...]
    configuration: Configuration
    origin: str


@dataclass(frozen=True)
class Trial:
    """A proposed particle and what became of it. `fitness` None: not known yet. Smaller is better."""

    proposal: Proposal
    fitness: float | None
    matched: bool = False  # it took the result of a configuration measured before


class Strategy(Protocol):
    """One way to search."""

    name: ClassVar[str]

    def __init__(self, problem: Problem) -> None: ...

    def tell(self, trial: Trial) -> None:
        """What became of a particle. Called for every particle proposed so far, in the order of their numbers."""

    def ask(self, particle: int) -> Proposal | None:
        """The particle with this number; changes nothing. None: the space holds nothing that was not proposed yet."""
