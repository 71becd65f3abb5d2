"""Asking the search for a particle, matching it with what has been measured already, and letting the rules judge it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from serviceopt_journal.events import Event, ParticleMatched, ParticleProposed
from serviceoptd.config.plugins import blaming
from serviceoptd.domain.space.space import Key, Position, Space
from serviceoptd.domain.state import Particle, RunState, State
from serviceoptd.domain.table import kind_of
from serviceoptd.evaluating.advising import ORIGIN, Advisors, advised, simulate_ahead
from serviceoptd.evaluating.rejecting import facts_of, refuted, rejection
from serviceoptd.evaluating.trials import problem, search_space, trials
from serviceoptd.rules.interface import Rule
from serviceoptd.search.interface import Prediction, Preparing, Problem, Proposal, Strategy

ADVISED = "warm-start"
"""Origin that a strategy gives to a particle which it was advised to measure first."""


def propose(
    state: State,
    run: RunState,
    number: int,
    strategy_class: Callable[[Problem], Strategy],
    rules: Sequence[type[Rule]] = (),
    engine: object = None,
    advisors: Advisors | None = None,
) -> list[Event] | None:
    """The events that record the next particle; None when the space holds nothing new.

    The strategy is rebuilt from the journal each time, so that a restart changes nothing.

    Raises:
        BrokenPlugin: the strategy or a rule fails.
        EnvironmentLacks: the files of the simulator that advises the run cannot be read any more, or have changed.
    """
    simulator = advisors.of(run) if advisors is not None else None
    advice = advised(run, search_space(run.space, engine), simulator) if simulator is not None else None
    with blaming("strategy", run.settings.search.strategy):
        strategy = _told(state, run, strategy_class, engine, [advice.position] if advice is not None else ())
        proposal = strategy.ask(number)
    if proposal is None:
        return None
    if advice is not None and proposal.origin == ADVISED and proposal.position == advice.position:
        told = Prediction(advice.expected, advice.probability_feasible, expected_gain=None)
        proposal = replace(proposal, origin=ORIGIN, predicted=told)
    events: list[Event] = [_proposed(run, number, proposal)]
    if twin := _twin(state, run, proposal):
        source, particle = twin
        events.append(
            ParticleMatched(
                run=run.number,
                particle=number,
                same_as_run=source.number,
                same_as_particle=particle.number,
                kind=kind_of(source, particle),
            )
        )
        return events
    facts = facts_of(run, simulator)
    wrong = refuted(run, rules, facts)
    left = [rule for rule in rules if rule.name not in {each.rule for each in wrong}]
    if rejected := rejection(run, proposal, left, facts):
        events.append(rejected)
    return [*wrong, *events]


def _proposed(run: RunState, number: int, proposal: Proposal) -> ParticleProposed:
    predicted = proposal.predicted
    return ParticleProposed(
        run=run.number,
        particle=number,
        slot=proposal.slot,
        iteration=proposal.iteration,
        position=proposal.position,
        velocity=proposal.velocity,
        configuration=proposal.configuration,
        strategy=run.settings.search.strategy,
        origin=proposal.origin,
        predicted=predicted.metrics if predicted else None,
        probability_feasible=predicted.probability_feasible if predicted else None,
        expected_gain=predicted.expected_gain if predicted else None,
    )


def think_ahead(
    state: State,
    run: RunState,
    strategy_class: Callable[[Problem], Strategy],
    engine: object,
    advisors: Advisors,
    wanted: Callable[[], bool],
) -> None:
    """Lets the strategy and the simulator do what they can before the next result is there, while it is `wanted`.

    Raises:
        BrokenPlugin: the strategy fails.
        EnvironmentLacks: the files of the simulator that advises the run cannot be read any more, or have changed.
    """
    if (simulator := advisors.of(run)) is not None:
        simulate_ahead(run, search_space(run.space, engine), simulator, wanted)
    with blaming("strategy", run.settings.search.strategy):
        strategy = strategy_class(problem(state, run, search_space(run.space, engine)))
        if isinstance(strategy, Preparing):
            for trial in trials(run):
                strategy.tell(trial)
            strategy.prepare()


def _told(
    state: State,
    run: RunState,
    strategy_class: Callable[[Problem], Strategy],
    engine: object,
    simulated: Sequence[Position] = (),
) -> Strategy:
    strategy = strategy_class(problem(state, run, search_space(run.space, engine), simulated))
    for trial in trials(run):
        strategy.tell(trial)
    return strategy


def _twin(state: State, run: RunState, proposal: Proposal) -> tuple[RunState, Particle] | None:
    """Who holds the result of this very configuration: this run, or an earlier one of the same identity."""
    sources = [run]
    if run.settings.search.reuse_measurements:
        sources += [
            other
            for other in state.runs.values()
            if other.number != run.number and other.measurement_identity == run.measurement_identity
        ]
    key = run.space.key(proposal.configuration)
    for source in sources:
        for known, particle in source.particles.made(_keyed, source.space):
            if known == key and (source is run or source.result_of(particle) is not None):
                return source, particle
    return None


def _keyed(particle: Particle, space: Space) -> tuple[Key, Particle] | None:
    """A particle that took nobody's result, under what tells its configuration apart."""
    return (space.key(particle.configuration), particle) if particle.matched is None else None
