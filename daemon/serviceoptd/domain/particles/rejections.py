"""Which rejected particles are measured anyway, how often the rules were wrong on them, and what they saved."""

from __future__ import annotations

import math
from collections import Counter
from statistics import fmean

from serviceopt_journal.documents.particles import RejectionRecord
from serviceoptd.domain.state import Particle, RunState
from serviceoptd.domain.statistics.draws import uniform

MOST_OF_THE_BUDGET = 0.1
"""Audited particles count against the budget, and get no more than this share of it, or one."""

_NORMAL_95 = 1.959964


def audited(run: RunState, particle: int) -> bool:
    """Whether this particle, rejected by a rule, is measured anyway. Drawn by its number."""
    most = max(1, math.floor(MOST_OF_THE_BUDGET * run.settings.budget.evaluations))
    if sum(run.particles.made(_was_audited)) >= most:
        return False
    return uniform(run.seed, "audit", particle, 0) < run.settings.search.audit_share


def rejection_record(run: RunState) -> RejectionRecord:
    """How the rules stand, by the present objective."""
    repeats = run.settings.measuring.repeats
    rejected = [each for each in run.particles.values() if each.rejected and each.imported is None]
    settled = [each for each in run.particles.values() if each.admitted and each.settled(repeats)]
    checked = [each for each in settled if each.audited]
    false = sum(_better_than_before(run, each) for each in checked)
    by_rule = Counter(each.rejected.partition(":")[0] for each in rejected)
    spent = [each.seconds for each in settled if each.imported is None]
    return RejectionRecord(
        rejected=len(rejected),
        by_rule=tuple(by_rule.items()),
        audited=len(checked),
        false=false,
        false_rate=false / len(checked) if checked else None,
        false_rate_interval=wilson(false, len(checked)) if checked else None,
        hours_saved=len(rejected) * fmean(spent) / 3600.0 if spent else None,
    )


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """The 95 % interval of a share by its score (E. B. Wilson, Journal of the American Statistical Association 22, 1927)."""
    share, squared = successes / trials, _NORMAL_95**2
    centre = (share + squared / (2 * trials)) / (1 + squared / trials)
    half = _NORMAL_95 / (1 + squared / trials) * math.sqrt(share * (1 - share) / trials + squared / (4 * trials**2))
    # at 0 and at all of them one end is exact, whatever rounding makes of it
    return (0.0 if successes == 0 else centre - half, 1.0 if successes == trials else centre + half)


def _was_audited(particle: Particle) -> bool:
    return bool(particle.audited)


def _better_than_before(run: RunState, particle: Particle) -> bool:
    """Whether it keeps every objective and beats what had been measured when it was proposed."""
    found = run.judgement(particle)
    before = [run.judgement(each) for number, each in run.particles.items() if number < particle.number]
    return found.feasible and all(not each.feasible or found.fitness < each.fitness for each in before)
