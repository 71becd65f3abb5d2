"""Letting the rejection rules judge a proposal, and noticing when they are wrong or leave nothing to measure.

A rule of theory is wrong where a service has done what the rule rules out, whatever the cause: then it says nothing more in
this run. The current setting and audited particles are measured whatever the rules say, so they show it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile

from serviceopt_journal.errors import InvalidConfiguration
from serviceopt_journal.events import Configuration, Event, ParticleMatched, ParticleRejected, RuleRefuted
from serviceopt_journal.metrics import Metrics
from serviceoptd.config.plugins import blaming
from serviceoptd.domain.particles.rejections import audited
from serviceoptd.domain.settings import Objective
from serviceoptd.domain.state import Evaluation, Particle, RunState
from serviceoptd.evaluating.trials import own_trial
from serviceoptd.rules.interface import Facts, Rejection, Result, Rule
from serviceoptd.search.interface import Proposal
from serviceoptd.simulation.advice.simulator import Simulator

CURRENT_SETTING = "current-setting"
"""Origin of the particle that every strategy proposes first."""

MEASURED_IN_A_ROW = 50
"""After so many rejections in a row rules of FROM_MEASUREMENTS are not asked about the next particle.

They say then that little is left to find, which is no reason to measure nothing.
"""

Known = tuple[
    int | None, tuple[int, Configuration, Metrics | None, str, float, bool], float | None, str
]  # launch, what a `Result` begins with, its objective and its cause

MOST_WITNESSES = 50
"""So many of the latest particles are held against a rule of theory: the earlier ones were, when they were measured."""

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


def _witnesses(run: RunState, refuted_by: str) -> list[Particle]:
    """Particles that did what a rule could have called impossible, the latest last."""
    if refuted_by == "start":
        started = list(run.evaluations.made(_started))
        return [run.particles[number] for number in started[-MOST_WITNESSES:]]
    return list(run.particles.made(_feasible, run.settings.objective))[-MOST_WITNESSES:]


def _started(evaluation: Evaluation) -> int | None:
    """The particle of a launch whose service has started."""
    return None if evaluation.launch_seconds is None else evaluation.particle


def _feasible(particle: Particle, objective: Objective) -> Particle | None:
    kept = particle.admitted and particle.metrics is not None and particle.judgement(objective).feasible
    return particle if kept else None


def _rejected_last(run: RunState) -> int:
    """How many particles were rejected since one was admitted to evaluation."""
    since = takewhile(lambda particle: not particle.admitted, reversed(run.particles.values()))
    return sum(bool(particle.rejected) for particle in since)


def facts_of(run: RunState, simulator: Simulator | None) -> Facts:
    """What rules may know of a run."""
    return Facts(space=run.space, settings=run.settings, results=_results(run), simulator=simulator)


def _results(run: RunState) -> tuple[Result, ...]:
    told = run.particles.made(_result, run.settings.objective, run.settings.measuring.repeats)
    reported: dict[int | None, int] = dict(run.evaluations.made(_reported))
    # Written out, since it is done for every result at every proposal: `replace` takes several times as long.
    return tuple([Result(*known, reported.get(at), objective=value, cause=cause) for at, known, value, cause in told])


def _reported(evaluation: Evaluation) -> tuple[int, int] | None:
    """A launch, and the KV blocks that its service has reported."""
    return None if evaluation.kv_blocks is None else (evaluation.number, evaluation.kv_blocks)


def _result(particle: Particle, objective: Objective, repeats: int) -> Known | None:
    """What became of a particle that counts: a `Result`, but for the KV blocks of its launch, whose number comes first."""
    if not particle.admitted or not particle.settled(repeats):
        return None
    known, judgement = own_trial(particle, objective, repeats), particle.judgement(objective)
    told = (
        particle.number, particle.configuration, known.metrics, known.failure, judgement.fitness, judgement.feasible,
    )  # fmt: skip
    return particle.evaluation, told, known.objective, known.cause


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
