"""A point that the search proposed, and what became of it."""

from __future__ import annotations

import msgspec

from serviceopt_journal.events import Configuration
from serviceopt_journal.metrics import Metrics
from serviceoptd.domain.objective import Judgement, aggregate, judge, standing
from serviceoptd.domain.settings import Objective
from serviceoptd.domain.stopping.censoring import judged

BEYOND_THE_SEARCH = frozenset({"fine-tuning", "full-data-set"})
"""Origins of finalists in journals from before confirmations: measured after the search, beyond its budget."""


class Imported(msgspec.Struct, frozen=True, kw_only=True):
    """Where a result comes from that was not measured here."""

    place: str  # FILE:LINE
    backup: str = ""  # where its data are kept, as the file says


class Particle(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A proposed point and what became of it."""

    number: int
    slot: int
    iteration: int
    position: tuple[float, ...]
    velocity: tuple[float, ...]
    configuration: Configuration
    strategy: str
    origin: str
    evaluation: int | None = None  # the launch on which it was (last) measured
    measurements: tuple[Metrics, ...] = ()
    confirmations: tuple[Metrics, ...] = ()  # measured again after the search, kept apart (domain/proof.py)
    confirmations_requested: int = 0
    unconfirmed: str = ""  # why a confirmation failed: it is not recommended
    error: str = ""  # why it did not run properly
    cause: str = ""  # the kind of that failure (failures.py); empty: not known
    censored: Metrics | None = None  # observed until its measurement was ended early, at its bound (censoring.py)
    censored_by: str = ""  # the statistic that decided: "ttft mean", or the objective
    matched: tuple[int, int] | None = None  # run and particle whose result it took
    rejected: str = ""  # why it was given up before its evaluation
    audited: str = ""  # why it would have been given up; it is measured anyway
    predicted: Metrics | None = None
    probability_feasible: float | None = None  # by the models of the search, when it was proposed
    expected_gain: float | None = None
    seconds: float = 0.0  # spent on it: waiting for its service, and measuring
    measuring_seconds: float = 0.0  # of its finished measurements alone: what the search learns costs from
    devices: int = 1  # accelerators of its service
    num_prompts: int | None = None  # requests of its (last) measurement
    simulated: bool = False
    remark: str = ""  # why its latest measurement should not be believed, or could not be looked at while it ran
    imported: Imported | None = None  # its result was read from a file

    @property
    def evaluated(self) -> bool:
        """Whether the particle is, or was, to be measured: neither matched nor rejected."""
        return self.matched is None and not self.rejected

    @property
    def admitted(self) -> bool:
        """Whether the particle counts against the budget of the search."""
        return self.evaluated and self.origin not in BEYOND_THE_SEARCH

    @property
    def confirmation_due(self) -> bool:
        """Whether its next measurement is a confirmation."""
        return self.confirmations_requested > len(self.confirmations) and not self.unconfirmed

    def settled(self, repeats: int) -> bool:
        """Whether nothing more is due for it."""
        if self.confirmation_due:
            return False
        return not self.evaluated or bool(self.error) or len(self.measurements) >= repeats

    def unsettled(self, repeats: int) -> Particle | None:
        """The particle itself while something is due for it."""
        return None if self.settled(repeats) else self

    @property
    def metrics(self) -> Metrics | None:
        """The particle's result in the search: the median over its measurements, or None when it has none that counts."""
        return aggregate(self.measurements) if self.measurements else None

    @property
    def confirmed(self) -> Metrics | None:
        """The median over its confirmations, which were measured with all of the data set; None without any."""
        return aggregate(self.confirmations) if self.confirmations else None

    @property
    def result(self) -> Metrics | None:
        """What its own measurements tell in the search; None when it failed, was rejected, or is not measured yet."""
        return None if self.error else self.metrics

    def judgement(self, objective: Objective) -> Judgement:
        """The judgement of its own result. Failed and unmeasured ones are judged as failed."""
        result = self.result
        if result is None and self.censored is not None:
            return judged(self.censored, self.censored_by, objective, self.devices)
        return judge(result, objective, self.devices)


Place = tuple[tuple[int, float], int, Particle]
"""Where a particle stands among others: the least is the best, and of equals the earliest."""


def own_place(particle: Particle, objective: Objective) -> Place | None:
    """The place of a particle with a result of its own that can be recommended; None for every other."""
    if particle.matched is not None or particle.unconfirmed or particle.result is None:
        return None
    return standing(particle.judgement(objective)), particle.number, particle
