"""What a search strategy is told: the run's own trials, those of earlier runs, and what an evaluation costs. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from statistics import mean, median

from serviceopt_journal.events import Configuration
from serviceoptd.domain.objective import judge, rank
from serviceoptd.domain.settings import Objective
from serviceoptd.domain.space.repaired_space import RepairedSpace
from serviceoptd.domain.space.space import Key, Space
from serviceoptd.domain.state import BEYOND_THE_SEARCH, Evaluation, Particle, RunState, State
from serviceoptd.engines.interface import Repairing
from serviceoptd.search.interface import Costs, Problem, Proposal, Trial
from serviceoptd.search.interface import Prediction as Predicted

SIMILAR_FIRST = 3
"""So many of the best configurations of a similar run are measured first."""


def search_space(space: Space, engine: object) -> Space:
    """The space that is searched: with the engine's repairs, where it has any."""
    return RepairedSpace.over(space, engine.repaired) if isinstance(engine, Repairing) else space


def problem(state: State, run: RunState, space: Space, simulated: Iterable[tuple[float, ...]] = ()) -> Problem:
    """What the strategy of this run searches, and what is known before its first measurement.

    `simulated`: positions that a simulator advises to measure first, after those of similar runs.
    """
    current = space.current()
    return Problem(
        space=space,
        seed=run.seed,
        search=run.settings.search,
        current=space.encode(current) if current is not None else None,
        objective=run.settings.objective,
        history=tuple(_history(state, run, space)),
        advised=(*_advised(state, run, space), *simulated),
        costs=costs(run),
        running=_running(run),
    )


def trials(run: RunState) -> list[Trial]:
    """The run's own trials of the search, in the order of their numbers."""
    of_the_search: Iterator[Trial | Particle] = run.particles.made(
        _own, run.settings.objective, run.settings.measuring.repeats
    )
    return [trial(run, known) if isinstance(known, Particle) else known for known in of_the_search]


def trial(run: RunState, particle: Particle) -> Trial:
    """One particle and what became of it so far."""
    return _trial(particle, run.twin(particle) or particle, run.settings.objective, run.settings.measuring.repeats)


def _own(particle: Particle, objective: Objective, repeats: int) -> Trial | Particle | None:
    """The trial of a particle of the search; of a matched one, which goes by its twin, the particle itself."""
    if particle.origin in BEYOND_THE_SEARCH:
        return None
    return particle if particle.matched is not None else own_trial(particle, objective, repeats)


def own_trial(particle: Particle, objective: Objective, repeats: int) -> Trial:
    """One particle that took nobody's result, and what became of it so far."""
    return _trial(particle, particle, objective, repeats)


def _trial(particle: Particle, source: Particle, objective: Objective, repeats: int) -> Trial:
    settled = not particle.evaluated or bool(particle.error) or len(particle.measurements) >= repeats
    judgement = source.judgement(objective)
    metrics = (source.result or source.censored) if settled else None
    failed = bool(source.error) and source.censored is None
    return Trial(
        proposal=Proposal(
            particle=particle.number,
            slot=particle.slot,
            iteration=particle.iteration,
            position=particle.position,
            velocity=particle.velocity,
            configuration=particle.configuration,
            origin=particle.origin,
            predicted=_predicted(particle),
        ),
        fitness=judgement.fitness if settled else None,
        matched=particle.matched is not None,
        metrics=metrics,
        objective=judgement.objective if metrics is not None else None,
        failure=source.error if failed else particle.rejected,
        cause=source.cause if failed else "",
    )


def costs(run: RunState) -> Costs:
    """What a launch and a measurement take, by the means of this run; the usual ones until it knows both.

    A service that was launched again teaches nothing new, and neither does what was interrupted or failed: a killed run
    learns the costs of the uninterrupted one.
    Clients send a number of requests, so a measurement takes as long as these are served, and something beyond.
    """
    launches = dict(reversed(list(run.evaluations.made(_launch, run.space))))  # the first one of each service
    measured = list(run.particles.made(_cost))
    if not launches or not measured:
        return Costs()
    beyond, tokens = zip(*measured, strict=True)
    return Costs(mean(launches.values()), mean(beyond), median(tokens))


def _launch(evaluation: Evaluation, space: Space) -> tuple[Key, float] | None:
    """A service, and the seconds that its launch took."""
    seconds = evaluation.launch_seconds
    return None if seconds is None else (space.service_key(evaluation.configuration), seconds)


def _cost(particle: Particle) -> tuple[float, float] | None:
    """Seconds beyond the requests of a measurement, and tokens that the service gave in it."""
    metrics = particle.metrics
    if metrics is None or particle.simulated or particle.imported is not None or particle.matched is not None:
        return None
    measurements = len(particle.measurements) + len(particle.confirmations)
    beyond = max(particle.measuring_seconds / measurements - metrics.duration, 0.0)
    return beyond, metrics.duration * metrics.generate_speed


def _running(run: RunState) -> Configuration | None:
    """What was served last, unless it failed: also when a crash has ended it since, so that the search goes on alike."""
    evaluation = run.evaluations.get(max(run.evaluations, default=0))
    served = evaluation is not None and evaluation.measurements > 0 and not evaluation.failure
    return evaluation.configuration if evaluation is not None and served else None


def _history(state: State, run: RunState, space: Space) -> Iterator[Trial]:
    """What became of the configurations of earlier runs of the same measurement identity; failures teach as well."""
    if not run.settings.search.reuse_measurements:
        return
    for other in state.runs.values():
        if other.number == run.number or other.measurement_identity != run.measurement_identity:
            continue
        for particle in other.particles.values():
            whole = particle.evaluated and particle.censored is None and (particle.metrics or particle.error)
            if whole:
                yield _moved(run, space, other, particle)


def _moved(run: RunState, space: Space, other: RunState, particle: Particle) -> Trial:
    known = trial(other, particle)
    judgement = judge(known.metrics, run.settings.objective, particle.devices)
    position = space.encode(space.repair(particle.configuration))
    return Trial(
        proposal=Proposal(
            particle=particle.number,
            slot=particle.slot,
            iteration=particle.iteration,
            position=position,
            velocity=(0.0,) * len(position),
            configuration=space.decode(position),
            origin="history",
        ),
        fitness=judgement.fitness,
        metrics=known.metrics,
        objective=judgement.objective,
        failure=known.failure,
        cause=known.cause,
    )


def _advised(state: State, run: RunState, space: Space) -> Iterator[tuple[float, ...]]:
    """Positions of the best configurations of the latest similar run: same engine and parameters, another identity."""
    if not run.settings.search.warm_start:
        return
    for other in sorted(state.runs.values(), key=lambda each: -each.number):
        if other.number >= run.number or other.measurement_identity == run.measurement_identity:
            continue
        if other.settings.engine != run.settings.engine or _names(other) != _names(run):
            continue
        measured = [p for p in other.particles.values() if p.matched is None and other.result_of(p) is not None]
        order = rank([judge(other.result_of(p), run.settings.objective, p.devices) for p in measured])
        if order:
            yield from (space.encode(space.repair(measured[index].configuration)) for index in order[:SIMILAR_FIRST])
            return


def _names(run: RunState) -> list[tuple[str, str]]:
    return sorted((field.name, field.dtype) for field in run.space.dimensions)


def _predicted(particle: Particle) -> Predicted | None:
    if particle.probability_feasible is None:
        return None
    return Predicted(particle.predicted, particle.probability_feasible, particle.expected_gain)
