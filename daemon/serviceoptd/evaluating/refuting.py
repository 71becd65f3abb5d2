"""Noticing that a rule of theory is wrong here: a service has done what the rule says it cannot.

Whatever the cause (a fact of the checkpoint that nobody reads, an engine that needs less than it did), the rule says nothing
more in this run. The current setting and audited particles are measured whatever the rules say, so they show it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from serviceopt_journal.events import RuleRefuted
from serviceoptd.config.plugins import blaming
from serviceoptd.domain.state import Particle, RunState
from serviceoptd.rules.interface import Facts, Rejection, Rule


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
