"""The swarm, guided by what the run has learnt: the default strategy.

For each evaluation a swarm of virtual particles moves over the models (`surrogate.py`) and settles on the configuration
whose evaluation promises most for the time that it takes (`acquisition.py`): another load on the service that is running
costs no launch. It starts from the move that the member whose turn it is would make, from around the best measurements,
and from everywhere. Only what was measured becomes the best position of a member or of all: predictions choose what to
measure, and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import ClassVar

import msgspec
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from serviceoptd.domain.settings import Field, Objective
from serviceoptd.domain.space.space import Key, Position, Space
from serviceoptd.domain.statistics.draws import uniform
from serviceoptd.search.acquisition import incumbent, log_expected_improvement
from serviceoptd.search.encoding import Encoding
from serviceoptd.search.gaussian_process import on_one_thread
from serviceoptd.search.interface import Prediction, Problem, Proposal, Trial
from serviceoptd.search.launch_failures import LaunchFailures
from serviceoptd.search.operator_defaults import usual_coordinates
from serviceoptd.search.particle_swarm import ParticleSwarm, limited
from serviceoptd.search.prediction import Point
from serviceoptd.search.surrogate import Learnt, Surrogate
from serviceoptd.search.virtual_swarm import visited

Array = NDArray[np.float64]

FIRST_POINTS = 4
"""So many configurations are spread over the space before the models choose."""
MOST_POINTS = 400
"""The models learn from so many, so that no proposal takes a second."""
SPREAD_OVER = 256
DRAWN = 1024
DRAWN_BEST, NEAR_THE_BEST, ON_THE_RUNNING_SERVICE = 64, 32, 24
"""Virtual particles, by where they start."""
COST_WEIGHT = 0.5
"""Power of the time that an evaluation takes: budgets count evaluations as well as hours."""
LEADERS = 8
AS_USUAL = 0.5
"""Share of the first configurations in which a parameter of the service has its usual value."""
NEIGHBOURHOOD = 0.1
LOOKED_AT = 2000
REMEMBERED = 4


class Swarm:
    """Measures what promises the largest improvement that keeps every objective."""

    name: ClassVar[str] = "swarm"

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._members = ParticleSwarm(problem)
        self._trials: dict[int, Trial] = {}
        self._encoding = Encoding.of(problem.space)

    def tell(self, trial: Trial) -> None:
        """Takes note of what became of a particle; a later word about the same particle replaces the earlier one."""
        self._members.tell(trial)
        self._trials[trial.proposal.particle] = trial

    @on_one_thread  # type: ignore[untyped-decorator]
    def ask(self, particle: int) -> Proposal | None:
        """The configuration to measure next."""
        move = self._members.ask(particle)
        if move is None or move.origin == "current-setting" or not move.position:
            return move
        space = self._problem.space
        seen = self._members.seen
        for good in self._known_to_be_good():
            if space.key(space.decode(good)) not in seen:
                return self._proposal(move, good, "warm-start", None)
        points = self._points()
        random = np.random.Generator(np.random.PCG64(int(uniform(self._problem.seed, self.name, particle, 0) * 2**53)))
        if _measured(points) and len(points) >= FIRST_POINTS:
            return self._promising(points, move, seen, random) or move
        if points or not self._trials:
            position = self._spread(points, seen, random)
            return self._proposal(move, position, "initial", None) if position is not None else move
        return move  # told no metrics, only how good it was: the plain swarm

    @on_one_thread  # type: ignore[untyped-decorator]
    def prepare(self) -> None:
        """Learns now what the next `ask` needs, while something is being measured. Changes no answer."""
        points = self._points()
        if len(_measured(points)) >= FIRST_POINTS:
            self._learnt(points)

    def _points(self) -> list[Point]:
        """What the models learn from: everything, or where there is too much the best of it and the latest."""
        told = [*self._problem.history, *self._trials.values()]
        # A matched one holds a result that is among them already, and would make the models too sure of it.
        known = [trial for trial in told if (trial.metrics is not None or trial.failure) and not trial.matched]
        if len(known) > MOST_POINTS:
            latest = len(known) - MOST_POINTS // 2
            best = sorted(range(latest), key=lambda index: known[index].fitness or 0.0)[: MOST_POINTS // 2]
            known = [known[index] for index in sorted(best)] + known[latest:]
        return [Point(t.proposal.position, t.metrics, t.objective, t.failure, t.cause) for t in known]

    def _known_to_be_good(self) -> list[Position]:
        """Where earlier runs did best: their winner first, which is matched without an evaluation."""
        feasible = [trial for trial in self._problem.history if trial.fitness is not None and trial.fitness <= 0]
        best = sorted(feasible, key=lambda trial: trial.fitness or 0.0)[:1]
        return [*(trial.proposal.position for trial in best), *self._problem.advised]

    def _proposal(self, move: Proposal, position: Position, origin: str, predicted: Prediction | None) -> Proposal:
        mine = (t.proposal for t in reversed(self._trials.values()) if t.proposal.slot == move.slot)
        before = next(mine, None)
        return Proposal(
            particle=move.particle,
            slot=move.slot,
            iteration=move.iteration,
            position=position,
            velocity=tuple(
                limited(n - o) for n, o in zip(position, before.position if before else position, strict=True)
            ),
            configuration=self._problem.space.decode(position),
            origin=origin,
            predicted=predicted,
        )

    def _spread(self, points: list[Point], seen: set[Key], random: Generator) -> Position | None:
        """Far from everything so far, likely to start, and not long to measure."""
        candidates = random.random((SPREAD_OVER, len(self._problem.space.dimensions)))
        for dimension, coordinate in self._usual().items():
            candidates[random.random(SPREAD_OVER) < AS_USUAL, dimension] = coordinate
        candidates = self._encoding.canonical(candidates)
        features = self._encoding.features(candidates)
        score = LaunchFailures(self._encoding, points).log_success(candidates)
        if self._trials:
            positions = np.array([trial.proposal.position for trial in self._trials.values()])
            known = self._encoding.features(self._encoding.canonical(positions))
            nearest = np.sqrt(((features[:, None, :] - known[None, :, :]) ** 2).sum(2)).min(1)
            score = score + np.log(nearest + 1e-9)
        if self._problem.costs.tokens and _measured(points):
            surrogate = Surrogate(self._encoding, self._problem.objective, points)
            score = score - COST_WEIGHT * np.log(self._seconds(candidates, self._running(), surrogate))
        return self._first_unseen(candidates, score, seen)

    def _usual(self) -> dict[int, float]:
        """Coordinates of the service's parameters as they are now, or as they usually are."""
        current = self._problem.current
        if current is None:
            return usual_coordinates(self._problem.space)
        return {index: here for index, here in enumerate(current) if not self._encoding.load[index]}

    def _promising(self, points: list[Point], move: Proposal, seen: set[Key], random: Generator) -> Proposal | None:
        # All but the latest was known while that was measured: then most of the work could be done.
        learnt = self._learnt(points[:-1]) if len(_measured(points[:-1])) >= FIRST_POINTS else None
        surrogate = Surrogate(self._encoding, self._problem.objective, points, learnt)
        known = surrogate.predict(surrogate.positions)
        best = incumbent(known)
        running = self._running()

        def score(positions: Array) -> tuple[Array, Array]:
            there = self._encoding.canonical(positions)
            gain = log_expected_improvement(surrogate.predict(there), best)
            return there, gain - COST_WEIGHT * np.log(self._seconds(there, running, surrogate))

        leaders = surrogate.positions[np.argsort(-known.objective - 2 * known.log_kept)[:LEADERS]]
        start, held = self._start(leaders, running, score, random)
        start[0] = move.position
        position = self._first_unseen(*visited(start, held, score, random), seen)
        if position is None:
            return None
        there = self._encoding.canonical(np.array([position]))
        return self._proposal(move, position, "swarm", surrogate.expectation(there[0], best))

    def _learnt(self, points: list[Point]) -> Learnt:
        return _learnt(msgspec.msgpack.encode((self._problem.space.fields, self._problem.objective, points)))

    def _start(
        self, leaders: Array, running: Array | None, score: Callable[[Array], tuple[Array, Array]], random: Generator
    ) -> tuple[Array, Array]:
        """Where the virtual particles start, (n, d), and which of their coordinates are held."""
        size = leaders.shape[1]
        everywhere = random.random((DRAWN // 2, size))
        # Another tensor parallelism is no small step: a few coordinates of a leader are drawn anew.
        varied = leaders[random.integers(0, len(leaders), DRAWN // 2)]
        anew = random.random(varied.shape) < 2.0 / size
        varied = np.where(anew, random.random(varied.shape), varied)
        drawn = np.concatenate([everywhere, varied])
        best = drawn[np.argsort(-score(drawn)[1], kind="stable")[:DRAWN_BEST]]
        chosen = leaders[random.integers(0, len(leaders), NEAR_THE_BEST)]
        near = np.clip(chosen + NEIGHBOURHOOD * random.standard_normal(chosen.shape), 0.0, 1.0)
        start, held = [best, near], [np.zeros((DRAWN_BEST + NEAR_THE_BEST, size))]
        if running is not None and self._encoding.load.any():
            same = np.tile(running, (ON_THE_RUNNING_SERVICE, 1))
            same[:, self._encoding.load] = random.random((ON_THE_RUNNING_SERVICE, int(self._encoding.load.sum())))
            start.append(same)
            held.append(np.tile(np.where(self._encoding.load, 0.0, 1.0), (ON_THE_RUNNING_SERVICE, 1)))
        return np.concatenate(start), np.concatenate(held)

    def _running(self) -> Array | None:
        """Where the running service stands, if another load may be tried on it."""
        running, space = self._problem.running, self._problem.space
        if running is None:
            return None
        service = space.service_key(running)
        loads = 0
        for trial in reversed(self._trials.values()):
            if space.service_key(trial.proposal.configuration) != service:
                break
            loads += trial.metrics is not None
        if loads >= self._problem.search.loads_per_launch:
            return None
        there: Array = self._encoding.canonical(np.array(space.encode(space.repair(running))))[0]
        return there

    def _seconds(self, positions: Array, running: Array | None, surrogate: Surrogate) -> Array:
        """What an evaluation there takes."""
        costs = self._problem.costs
        seconds = costs.measurement + costs.tokens * np.exp(-surrogate.log_speed(positions))
        service = ~self._encoding.load
        elsewhere = running is None or ~np.isclose(positions[:, service], running[service]).all(axis=1)
        return np.asarray(seconds + costs.launch * elsewhere)

    def _first_unseen(self, candidates: Array, score: Array, seen: set[Key]) -> Position | None:
        for index in np.argsort(-score, kind="stable")[:LOOKED_AT]:
            position = tuple(float(x) for x in candidates[index])
            if self._problem.space.key(self._problem.space.decode(position)) not in seen:
                return position
        return None


@lru_cache(maxsize=REMEMBERED)
def _learnt(told: bytes) -> Learnt:
    """From these fields, objective and points: kept, since it is asked for while something is measured, and after."""
    fields, objective, points = msgspec.msgpack.decode(told, type=tuple[tuple[Field, ...], Objective, list[Point]])
    return Surrogate(Encoding.of(Space.of(fields)), objective, points).learnt


def _measured(points: list[Point]) -> list[Point]:
    return [point for point in points if point.metrics is not None and (point.objective or 0.0) > 0]
