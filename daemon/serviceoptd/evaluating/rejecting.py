"""Letting the rejection rules judge a proposal, and noticing when they are wrong or leave nothing to measure.

A rule of theory is wrong where a service has done what the rule rules out, whatever the cause: then it says nothing more in
this run. The current setting and audited particles are measured whatever the rules say, so they show it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import takewhile

from serviceopt_journal.errors import InvalidConfiguration
from serviceopt_journal.events import Event, ParticleMatched, ParticleRejected, RuleRefuted
from serviceoptd.config.plugins import blaming
from serviceoptd.domain.rejections import audited
from serviceoptd.domain.state import Particle, RunState
from serviceoptd.evaluating.trials import trial
from serviceoptd.rules.interface import Facts, Rejection, Result, Rule
from serviceoptd.search.interface import Proposal
from serviceoptd.simulation.advice.simulator import Simulator

CURRENT_SETTING = "current-setting"
"""Origin of the particle that every strategy proposes first."""

MEASURED_IN_A_ROW = 50
"""After so many rejections in a row rules of FROM_MEASUREMENTS are not asked about the next particle.

They say then that little is left to find, which is no reason to measure nothing.
"""

FROM_MEASUREMENTS = ("measured", "simulated")
"""Kinds of rules that judge from the results of the run."""

REJECTED_IN_A_ROW = 1000
"""After so many rejections without a particle to evaluate the run is held: the rules are likely to be wrong."""


def rejection(run: RunState, proposal: Proposal, rules: Sequence[type[Rule]], facts: Facts) -> ParticleRejected | None:
    """The verdict of the first rule that is against it, in the order of the configuration.

    The current setting is never rejected: everything is compared with it, and it shows how far a rule is wrong.

    Raises:
        BrokenPlugin: a rule fails, or answers with something that is no rejection.
    """
    if proposal.origin == CURRENT_SETTING or not rules:
        return None
    convinced = _rejected_last(run) >= MEASURED_IN_A_ROW
    for rule in rules:
        if rule.name in run.refuted:
            continue
        if convinced and getattr(rule, "kind", "") in FROM_MEASUREMENTS:
            continue
        with blaming("rule", rule.name):
            verdict = rule().judge(dict(proposal.configuration), facts)
            if verdict is not None and not isinstance(verdict, Rejection):
                raise TypeError(f"judge returned {verdict!r}, neither a Rejection nor None")
        if verdict is not None:
            return ParticleRejected(
                run=run.number,
                particle=proposal.particle,
                rule=rule.name,
                reason=verdict.reason,
                predicted=verdict.predicted,
                kind=getattr(rule, "kind", ""),
                remark=verdict.remark,
                audited=audited(run, proposal.particle),
            )
    return None


def refuted(run: RunState, rules: Sequence[type[Rule]], facts: Facts) -> list[RuleRefuted]:
    """The rules of theory that something measured so far speaks against, apart from those that are known already.

    Raises:
        BrokenPlugin: a rule fails.
    """
    found = []
    for rule in rules:
        if getattr(rule, "kind", "") != "theory" or rule.name in run.refuted:
            continue
        for particle in _witnesses(run, getattr(rule, "refuted_by", "result")):
            with blaming("rule", rule.name):
                verdict = rule().judge(dict(particle.configuration), facts)
            if isinstance(verdict, Rejection):
                found.append(
                    RuleRefuted(run=run.number, rule=rule.name, particle=particle.number, reason=verdict.reason)
                )
                break
    return found


def _witnesses(run: RunState, refuted_by: str) -> Iterator[Particle]:
    """Particles that did what a rule could have called impossible."""
    if refuted_by == "start":
        started = (each.particle for each in run.evaluations.values() if each.launch_seconds is not None)
        return (run.particles[number] for number in started)
    settled = (particle for particle in run.particles.values() if particle.admitted and particle.metrics is not None)
    return (particle for particle in settled if run.judgement(particle).feasible)


def _rejected_last(run: RunState) -> int:
    """How many particles were rejected since one was admitted to evaluation."""
    since = takewhile(lambda particle: not particle.admitted, reversed(run.particles.values()))
    return sum(bool(particle.rejected) for particle in since)


def facts_of(run: RunState, simulator: Simulator | None) -> Facts:
    """What rules may know of a run."""
    return Facts(space=run.space, settings=run.settings, results=_results(run), simulator=simulator)


def _results(run: RunState) -> tuple[Result, ...]:
    repeats = run.settings.measuring.repeats
    settled = (p for p in run.particles.values() if p.admitted and p.settled(repeats))
    return tuple(_result(run, particle) for particle in settled)


def _result(run: RunState, particle: Particle) -> Result:
    known, judgement = trial(run, particle), run.judgement(particle)
    evaluation = run.evaluations.get(particle.evaluation) if particle.evaluation is not None else None
    return Result(
        particle=particle.number,
        configuration=particle.configuration,
        metrics=known.metrics,
        error=known.failure,
        fitness=judgement.fitness,
        feasible=judgement.feasible,
        kv_blocks=evaluation.kv_blocks if evaluation else None,
        objective=known.objective,
        cause=known.cause,
    )


class Rejections:
    """Counts rejections without a particle to evaluate between them, for each run, since this process started."""

    def __init__(self) -> None:
        self._in_a_row: dict[int, int] = {}

    def notice(self, run: int, events: Sequence[Event]) -> None:
        """Takes note of what was committed for the next particle.

        Raises:
            InvalidConfiguration: it was the last straw. Who resumes the run gets as many tries again.
        """
        last = events[-1]
        if not isinstance(last, ParticleRejected) or last.audited:
            if not isinstance(last, ParticleMatched):  # it will be evaluated
                self._in_a_row.pop(run, None)
            return
        self._in_a_row[run] = self._in_a_row.get(run, 0) + 1
        if self._in_a_row[run] >= REJECTED_IN_A_ROW:
            del self._in_a_row[run]
            raise InvalidConfiguration(
                f"{REJECTED_IN_A_ROW} particles in a row were rejected, the last by {last.rule}: {last.reason}",
                hint="leave the rule out of [search] rules in a new run, or widen the target fields",
            )
