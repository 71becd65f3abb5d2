"""What a search strategy is: ask for a particle, be told of results. Read this first.

A strategy is rebuilt after every restart from the journal: it is told every trial again, in the order of the particle
numbers, and must then ask for the same particles. So it keeps no random state: its random numbers come from
`domain.draws`, keyed by the run's seed, a purpose and the particle's number.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Protocol, runtime_checkable

from serviceopt_journal.events import Configuration
from serviceopt_journal.metrics import Metrics
from serviceoptd.domain.settings import Objective, Search
from serviceoptd.domain.space.space import Space


@dataclass(frozen=True)
class Costs:
    """What the parts of an evaluation take, as far as the run knows: what a change of load alone saves, and a quick load.

    A measurement takes `measurement` seconds, and the time in which the service generates `tokens`.
    """

    launch: float = 180.0  # seconds
    measurement: float = 300.0  # seconds
    tokens: float = 0.0


@dataclass(frozen=True)
class Problem:
    """What the strategy searches."""

    space: Space
    seed: int
    search: Search
    current: tuple[float, ...] | None  # position of the current setting; the first particle
    objective: Objective = field(default_factory=Objective)
    history: tuple[Trial, ...] = ()  # of earlier runs of the same measurement identity, as if measured here
    advised: tuple[tuple[float, ...], ...] = ()  # positions that did well in a similar run: worth measuring first
    costs: Costs = field(default_factory=Costs)
    running: Configuration | None = None  # of the service that is alive: its load alone can be changed for less


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
    predicted: Prediction | None = None  # by the models of the search


@dataclass(frozen=True)
class Prediction:
    """What the models of a strategy expect of a configuration that they chose."""

    metrics: Metrics | None
    probability_feasible: float
    expected_gain: (
        float | None
    )  # expected improvement of the best objective, relative to it; None: nothing feasible yet


@dataclass(frozen=True)
class Trial:
    """A proposed particle and what became of it. `fitness` None: not known yet. Smaller is better."""

    proposal: Proposal
    fitness: float | None
    matched: bool = False  # it took the result of a configuration measured before
    metrics: Metrics | None = None  # None: it failed, was rejected, or is not known yet
    objective: float | None = None  # what is maximised, in its own unit
    failure: str = ""  # why its launch or its measurement failed, or why it was rejected
    cause: str = ""  # the kind of that failure (domain/failures.py); empty: not known


class Strategy(Protocol):
    """One way to search."""

    name: ClassVar[str]

    def __init__(self, problem: Problem) -> None: ...

    def tell(self, trial: Trial) -> None:
        """Takes in what became of a particle. Called for every particle proposed so far, in the order of their numbers."""

    def ask(self, particle: int) -> Proposal | None:
        """The particle with this number; changes nothing. None: the space holds nothing that was not proposed yet."""


@runtime_checkable
class Preparing(Protocol):
    """A strategy that can do some of its work before the next result is there. Optional."""

    def prepare(self) -> None:
        """Called on a thread of its own while something is measured; must not change what `ask` answers."""
