"""Particle swarm optimisation by ask and tell.

Each member ("slot") of the swarm has a position x in the unit cube and a velocity v, and moves towards the best
position that it has seen itself (p) and that any member has seen (g), with fresh r1, r2 in [0, 1) for each dimension:

    v <- w v + c1 r1 (p - x) + c2 r2 (g - x)        x <- x + v

* `constriction`: w = 0.7298, c1 = c2 = 1.49618 (M. Clerc, J. Kennedy: The particle swarm - explosion, stability, and
  convergence in a multidimensional complex space, IEEE Trans. Evolutionary Computation 6(1), 2002).
* `decreasing`: w falls linearly from 0.9 to 0.4 over the iterations of the budget, c1 = c2 = 2 (Y. Shi, R. Eberhart: A
  modified particle swarm optimizer, IEEE Int. Conf. on Evolutionary Computation, 1998, and their 1999 study of it).

A velocity is limited to half the range. A wall reflects: position mirrored, velocity turned round and halved. The first
positions are a Latin hypercube (McKay, Beckman, Conover, Technometrics 21(2), 1979). Members move as soon as they are
asked, with every result known by then (asynchronous, Koh et al. 2006), so no evaluation waits for a whole iteration.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from serviceoptd.domain.objective import FAILED
from serviceoptd.domain.soft_cost import FAILED_COST
from serviceoptd.domain.space.space import Key, Position
from serviceoptd.domain.statistics.draws import permutation, uniforms
from serviceoptd.search.interface import Problem, Proposal, Trial
from serviceoptd.search.novelty import drawing, exhausted, reflected, unseen_anywhere, unseen_neighbour

CONSTRICTION = (0.7298, 1.49618, 1.49618)
FIRST_INERTIA, LAST_INERTIA, DECREASING_ACCELERATION = 0.9, 0.4, 2.0
VELOCITY_LIMIT = 0.5
REBOUND = 0.5
"""The part of a velocity that is left, turned round, after a wall."""

MATCHED_IN_A_ROW = 1
"""After so many particles that landed on measured configurations the next one must be new: a member at rest on the best
position would land there for ever."""


@dataclass
class Best:
    """The best position so far, of one member or of all."""

    position: Position | None = None
    fitness: float = FAILED_COST

    def learn(self, trial: Trial) -> None:
        """Takes one result into the swarm."""
        # A failure is no place to go back to; what is exactly as good as the best so far does not replace it.
        if trial.fitness is None or trial.fitness == FAILED or trial.fitness >= FAILED_COST:
            return
        if self.position is None or trial.fitness < self.fitness:
            self.position, self.fitness = trial.proposal.position, trial.fitness


@dataclass
class Member:
    """One slot, as its trials left it."""

    moves: int = 0  # matched ones included
    evaluated: int = 0  # those that were not matched
    last: Proposal | None = None
    best: Best = field(default_factory=Best)


class ParticleSwarm:
    """Moves the member that has been evaluated least often."""

    name: ClassVar[str] = "pso"

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._trials: dict[int, Trial] = {}
        self._keys: dict[int, Key] = {}

    def tell(self, trial: Trial) -> None:
        """Takes note of what became of a particle; a later word about the same particle replaces the earlier one."""
        particle = trial.proposal.particle
        if particle not in self._keys or self._trials[particle].proposal != trial.proposal:
            self._keys[particle] = self._problem.space.key(trial.proposal.configuration)
        self._trials[particle] = trial

    @property
    def seen(self) -> set[Key]:
        """What tells the configurations apart of which it was told."""
        return set(self._keys.values())

    def ask(self, particle: int) -> Proposal | None:
        """The next move of the swarm. It may land on a known configuration, which the caller then tells as matched.

        After such a one the next is a new configuration; None when there is none left.
        """
        seen = self.seen
        if exhausted(self._problem.space, len(seen)):
            return None
        members, best, matched_in_a_row = self._recall()
        slot = min(range(len(members)), key=lambda index: (members[index].evaluated, index))
        member = members[slot]
        position, velocity, origin = self._move(member, best, particle)
        if matched_in_a_row >= MATCHED_IN_A_ROW and self._key(position) in seen:
            found = self._new(position, seen, particle)
            if found is None:
                return None
            velocity = tuple(limited(new - old) for new, old in zip(found[0], position, strict=True))
            position, origin = found
        return Proposal(
            particle=particle,
            slot=slot,
            iteration=member.moves,
            position=position,
            velocity=velocity,
            configuration=self._problem.space.decode(position),
            origin=origin,
        )

    def _recall(self) -> tuple[list[Member], Best, int]:
        """The members, the best position of all, and how many of the last particles were matched."""
        members = [Member() for _ in range(self._problem.search.n_particles)]
        best, matched_in_a_row = Best(), 0
        for _, trial in sorted(self._trials.items()):
            member = members[trial.proposal.slot % len(members)]
            member.moves += 1
            member.evaluated += not trial.matched
            member.last = trial.proposal
            if trial.fitness is not None and trial.fitness < member.best.fitness:  # hardly ever: asked of every trial
                member.best.learn(trial)
                best.learn(trial)
            matched_in_a_row = matched_in_a_row + 1 if trial.matched else 0
        return members, best, matched_in_a_row

    def _move(self, member: Member, best: Best, particle: int) -> tuple[Position, Position, str]:
        if not self._trials and self._problem.current is not None:
            return self._problem.current, (0.0,) * len(self._problem.current), "current-setting"
        if member.last is None or member.evaluated == 0 or best.position is None:
            # Nothing to move away from, or nothing to move to: not one measurement has succeeded yet.
            return *self._initial(particle), "initial"
        return *self._pulled(member.last, member.best.position, best.position, particle), "swarm"

    def _initial(self, particle: int) -> tuple[Position, Position]:
        """The particle's cell of the Latin hypercube; after as many particles as members a new hypercube begins."""
        seed, size = self._problem.seed, self._problem.search.n_particles
        hypercube, row = divmod(particle - 1, size)
        offsets = uniforms(seed, "swarm offset", particle, len(self._problem.space.dimensions))
        position = tuple(
            (permutation(seed, f"swarm hypercube {dimension}", hypercube, size)[row] + offset) / size
            for dimension, offset in enumerate(offsets)
        )
        return position, (0.0,) * len(position)

    def _pulled(
        self, last: Proposal, own: Position | None, common: Position, particle: int
    ) -> tuple[Position, Position]:
        inertia, to_own, to_common = self._coefficients(last.iteration + 1)
        size = len(common)
        draws = uniforms(self._problem.seed, "swarm move", particle, 2 * size)
        position, velocity = [], []
        for here, speed, p, g, r1, r2 in zip(
            last.position, last.velocity, own or common, common, draws[:size], draws[size:], strict=True
        ):
            moved = limited(inertia * speed + to_own * r1 * (p - here) + to_common * r2 * (g - here))
            there, hit = reflected(here + moved)
            position.append(there)
            velocity.append(-REBOUND * moved if hit else moved)
        return tuple(position), tuple(velocity)

    def _coefficients(self, iteration: int) -> tuple[float, float, float]:
        search = self._problem.search
        if search.coefficients == "constriction":
            return CONSTRICTION
        progress = min(iteration / max(search.iters - 1, 1), 1.0)
        inertia = FIRST_INERTIA + (LAST_INERTIA - FIRST_INERTIA) * progress
        return inertia, DECREASING_ACCELERATION, DECREASING_ACCELERATION

    def _new(self, near: Sequence[float], seen: set[Key], particle: int) -> tuple[Position, str] | None:
        draw = drawing(self._problem.seed, particle, self.name)
        if (position := unseen_neighbour(self._problem.space, near, seen, draw)) is not None:
            return position, "neighbour"
        if (position := unseen_anywhere(self._problem.space, seen, draw)) is not None:
            return position, "unseen"
        return None

    def _key(self, position: Position) -> Key:
        return self._problem.space.key(self._problem.space.decode(position))


def limited(velocity: float) -> float:
    """The velocity that is nearest to this one within the limits."""
    return min(max(velocity, -VELOCITY_LIMIT), VELOCITY_LIMIT)
