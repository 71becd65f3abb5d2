"""Asking the search for a particle, matching it with what has been measured already, and letting the rules judge it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from serviceopt_journal.events import Event, ParticleMatched, ParticleProposed
from serviceoptd.config.plugins import blaming
from serviceoptd.domain.fine_tuning import next_finalist
from serviceoptd.domain.state import BEYOND_THE_SEARCH, FINE_TUNING, Particle, RunState, State
from serviceoptd.rules.interface import Rule
from serviceoptd.search.interface import Problem, Proposal, Strategy, Trial
from serviceoptd.service.rejecting import rejection
from serviceoptd.service.surveying import search_space


def propose(
    state: State,
    run: RunState,
    number: int,
    strategy_class: Callable[[Problem], Strategy],
    rules: Sequence[type[Rule]] = (),
    engine: object = None,
) -> list[Event] | None:
    """The events that record the next particle; None when the space holds nothing new.

    The strategy is rebuilt from the journal each time, so that a restart changes nothing.

    Raises:
        BrokenPlugin: the strategy or a rule fails.
    """
    with blaming("strategy", run.settings.search.strategy):
        proposal = _asked(run, number, strategy_class, engine)
    if proposal is None:
        return None
    events: list[Event] = [
        ParticleProposed(
            run=run.number,
            particle=number,
            slot=proposal.slot,
            iteration=proposal.iteration,
            position=proposal.position,
            velocity=proposal.velocity,
            configuration=proposal.configuration,
            strategy=run.settings.search.strategy,
            origin=proposal.origin,
        )
    ]
    if twin := _twin(state, run, proposal):
        source, particle = twin
        events.append(
            ParticleMatched(
                run=run.number, particle=number, same_as_run=source.number, same_as_particle=particle.number
            )
        )
    elif rejected := rejection(run, proposal, rules):
        events.append(rejected)
    return events


def _asked(
    run: RunState, number: int, strategy_class: Callable[[Problem], Strategy], engine: object
) -> Proposal | None:
    space = search_space(run.space, engine)
    current = space.current()
    strategy = strategy_class(
        Problem(
            space=space,
            seed=run.seed,
            search=run.settings.search,
            current=space.encode(current) if current is not None else None,
        )
    )
    for particle in run.particles.values():
        if particle.origin in BEYOND_THE_SEARCH:  # a run continued with a larger budget
            continue
        strategy.tell(_trial(run, particle))
    return strategy.ask(number)


def fine_tune(run: RunState, number: int) -> list[Event]:
    """The event that records the next particle of the fine-tuning; none where nothing is due any more."""
    found = next_finalist(run)
    if found is None:
        return []
    configuration, origin = found
    position = run.space.encode(configuration)
    return [
        ParticleProposed(
            run=run.number,
            particle=number,
            slot=0,
            iteration=0,
            position=position,
            velocity=(0.0,) * len(position),
            configuration=configuration,
            strategy=FINE_TUNING,
            origin=origin,
        )
    ]


def _trial(run: RunState, particle: Particle) -> Trial:
    settled = particle.settled(run.settings.measuring.repeats)
    return Trial(
        proposal=Proposal(
            particle=particle.number,
            slot=particle.slot,
            iteration=particle.iteration,
            position=particle.position,
            velocity=particle.velocity,
            configuration=particle.configuration,
            origin=particle.origin,
        ),
        fitness=run.judgement(particle).fitness if settled else None,
        matched=particle.matched is not None,
    )


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
        for particle in source.particles.values():
            known = source.space.key(particle.configuration) == key and particle.matched is None
            if known and (source is run or source.result_of(particle) is not None):
                return source, particle
    return None
