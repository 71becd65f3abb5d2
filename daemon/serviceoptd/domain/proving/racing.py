"""Racing: which finalist is measured next, until the best is told from the second or the budget for it is used.

After O. Maron, A. Moore, *Hoeffding Races*, NeurIPS 1993: every finalist is measured in turn, and one that is clearly
behind, or unlikely to keep the SLOs, gets no further measurement. Pure and without memory: it follows from the state.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

from serviceopt_journal.metrics import Metrics
from serviceopt_journal.proof import Proof
from serviceoptd.domain.objective import Judgement, aggregate, judge, statistic
from serviceoptd.domain.proving.proof import SMALLEST, Finalist, Race, assumed_noise
from serviceoptd.domain.settings import Objective
from serviceoptd.domain.state import Particle, RunState

NORMAL = NormalDist()
LEAST = 2
"""Confirmations of a winner, and degrees of freedom of the noise, below which nothing is proven."""
PROMISING = 0.15
"""Risk, by a measurement of the search, up to which a configuration is worth trying where the finalists gave way."""
PATIENCE = 3
"""Confirmations after which a finalist that is not sure to keep the SLOs gives way to another one."""


@dataclass(frozen=True)
class Confirmation:
    """A finalist is to be measured once more."""

    particle: int
    round: int  # from 1: which confirmation of it
    reason: str


def next_confirmation(run: RunState) -> Confirmation | None:
    """The finalist to measure next; None when the race is over, or has no budget left."""
    if run.confirmations_requested >= run.settings.proof.measurements:
        return None
    first, current = _finalists(run), current_setting(run)
    for particle in first:
        if not particle.confirmations_requested:
            return _of(particle, "one of the best of the search")
    if current is not None and not current.confirmations_requested:
        return _of(current, "the current setting, to know the gain")
    race = race_of(run)
    if race is None:
        return None
    alone = current.number if current is not None and current not in first else None
    racing = [f for f in race.finalists if f.particle != alone and not _given_up(race, f)]
    if not racing:
        fallback = _fallback(run, race)
        return _of(fallback, "those before it are not certain to keep every SLO") if fallback else None
    leader = race.ahead(racing)
    rivals = [finalist for finalist in racing if not race.behind(finalist, leader)]
    if len(rivals) == 1 and race.safe(leader) and _enough(race, leader):
        return None
    due = min(rivals, key=lambda finalist: len(finalist.confirmations))
    others = (
        f"cannot be distinguished from {len(rivals) - 1} other" + ("s" if len(rivals) > 2 else "")
        if len(rivals) > 1
        else ""
    )
    return _of(run.particles[due.particle], others or "the fastest, not yet certain to keep every SLO")


def recommended(run: RunState) -> tuple[Particle | None, bool, Proof | None]:
    """What a run that ends now recommends, whether that is declared feasible, and how sure it is.

    By the confirmations. Without any: the best of the search, feasible if it was measured so, and no proof.
    """
    race = race_of(run)
    if race is None:
        best = next(iter(run.ranked()), None)
        return best, bool(best and run.judgement(best).feasible), None
    current = current_setting(run)
    winner = run.particles[race.winner.particle]
    return winner, race.safe(race.winner), race.proof(current.number if current else None)


def race_of(run: RunState) -> Race | None:
    """The comparison of those that were confirmed, best of the search first; None where there is none."""
    confirmed = [
        Finalist(particle=p.number, confirmations=p.confirmations, devices=p.devices)
        for p in run.ranked()
        if p.confirmations and judge(aggregate(p.confirmations), run.settings.objective).objective is not None
    ]
    return Race(confirmed, run.settings.objective, run.settings.proof.confidence) if confirmed else None


def current_setting(run: RunState) -> Particle | None:
    """The particle with the setting that was found, where it could be measured."""
    return next((p for p in run.ranked() if p.origin == "current-setting"), None)


def _finalists(run: RunState) -> list[Particle]:
    """What is most worth confirming, each with service parameters of its own: two loads of one service do not compete.

    What broke an SLO is among them only where nothing kept them all: the closest ones then.
    """
    ranked = run.ranked()
    feasible = [particle for particle in ranked if run.judgement(particle).feasible]
    feasible.sort(key=lambda particle: _worth(run, particle), reverse=True)
    chosen: dict[object, Particle] = {}
    for particle in feasible or ranked:
        chosen.setdefault(run.space.service_key(particle.configuration), particle)
    return list(chosen.values())[: max(run.settings.proof.finalists, 1)]


def worth(metrics: Metrics, judgement: Judgement, objective: Objective, confidence: float) -> float:
    """What was measured, times the chance that `PATIENCE` confirmations declare it feasible, by the assumed noise.

    The fastest of a good search lie at a limit, where nothing can be sure: they would use the budget up. A mean of n
    confirmations has to keep a limit by z sigma / sqrt(n), and lies about what the search measured with
    sigma sqrt(1 + 1/n).
    """
    needed = NORMAL.inv_cdf(confidence) / math.sqrt(PATIENCE)
    worth = judgement.objective or 0.0
    for slo in objective.slos:
        room = math.log(slo.limit / max(statistic(metrics, slo) or 0.0, SMALLEST)) / assumed_noise(slo)
        worth *= NORMAL.cdf((room - needed) / math.sqrt(1 + 1 / PATIENCE))
    return worth


def _worth(run: RunState, particle: Particle) -> float:
    metrics, settings = run.result_of(particle), run.settings
    if metrics is None:
        return 0.0
    return worth(metrics, run.judgement(particle), settings.objective, settings.proof.confidence)


def _given_up(race: Race, finalist: Finalist) -> bool:
    """Whether it breaks an SLO for sure, or does not become sure to keep them."""
    if race.risk(finalist) >= race.confidence:
        return True
    return len(finalist.confirmations) >= PATIENCE and not race.safe(finalist)


def _enough(race: Race, finalist: Finalist) -> bool:
    freedom = sum(len(f.confirmations) - 1 for f in race.finalists)
    return len(finalist.confirmations) >= LEAST and freedom >= LEAST


def _fallback(run: RunState, race: Race) -> Particle | None:
    """The best of the search that would be declared feasible if what the search measured were a confirmation."""
    safe = {finalist.particle for finalist in race.finalists if race.safe(finalist)}
    for particle in run.ranked():
        if particle.number in safe or not run.judgement(particle).feasible:
            return None
        if particle.confirmations_requested:
            continue
        searched = run.result_of(particle)
        trial = Finalist(
            particle=particle.number, confirmations=(searched,) if searched else (), devices=particle.devices
        )
        if searched and Race([*race.finalists, trial], race.objective, race.confidence).risk(trial) <= PROMISING:
            return particle
    return None


def _of(particle: Particle, reason: str) -> Confirmation:
    return Confirmation(particle.number, len(particle.confirmations) + 1, reason)
