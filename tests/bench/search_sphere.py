"""How near the strategies come to the middle of a 7-dimensional sphere in 15 x 10 evaluations.

Run: python tests/bench/search_sphere.py [--seeds 200]

Prints the mean, over seeds, of the best squared distance to the optimum: with the optimum in the middle of the unit
cube, and with it at a place of its own for each seed (between 0.2 and 0.8 in each dimension). Then how long it takes to
rebuild a strategy from 1,000 trials and to ask it for the next particle.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence

from serviceoptd.domain.settings import Field, Search
from serviceoptd.domain.space.space import Space
from serviceoptd.domain.statistics.draws import uniforms
from serviceoptd.search.interface import Problem, Strategy, Trial
from serviceoptd.search.particle_swarm import ParticleSwarm
from serviceoptd.search.random_search import RandomSearch

DIMENSIONS, PARTICLES, ITERATIONS = 7, 15, 10
SPACE = Space.of([Field(name=f"x{i}", dtype="float", min=0.0, max=1.0) for i in range(DIMENSIONS)])


def best_found(strategy: Callable[[Problem], Strategy], search: Search, seed: int, optimum: Sequence[float]) -> float:
    """The smallest squared distance to the optimum of all evaluations."""
    asked = strategy(Problem(space=SPACE, seed=seed, search=search, current=None))
    best = float("inf")
    for particle in range(1, search.n_particles * search.iters + 1):
        proposal = asked.ask(particle)
        assert proposal is not None
        distance = sum((x - o) ** 2 for x, o in zip(proposal.position, optimum, strict=True))
        best = min(best, distance)
        # Negative, as the fitness of every feasible configuration is.
        asked.tell(Trial(proposal=proposal, fitness=distance - DIMENSIONS))
    return best


def rebuilt_in(strategy: Callable[[Problem], Strategy], trials: int) -> float:
    """Seconds to tell a new strategy so many trials and to ask it once."""
    problem = Problem(space=SPACE, seed=1, search=Search(n_particles=PARTICLES, iters=100), current=None)
    played, told = strategy(problem), []
    for particle in range(1, trials + 1):
        proposal = played.ask(particle)
        assert proposal is not None
        told.append(Trial(proposal=proposal, fitness=sum(proposal.position) - DIMENSIONS))
        played.tell(told[-1])
    started = time.perf_counter()
    rebuilt = strategy(problem)
    for trial in told:
        rebuilt.tell(trial)
    rebuilt.ask(trials + 1)
    return time.perf_counter() - started


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=200)
    seeds = range(parser.parse_args().seeds)
    constriction = Search(n_particles=PARTICLES, iters=ITERATIONS, coefficients="constriction")
    decreasing = Search(n_particles=PARTICLES, iters=ITERATIONS, coefficients="decreasing")
    contenders: list[tuple[str, Callable[[Problem], Strategy], Search]] = [
        ("swarm, constriction", ParticleSwarm, constriction),
        ("swarm, decreasing", ParticleSwarm, decreasing),
        ("random", RandomSearch, constriction),
    ]
    print(f"{DIMENSIONS}-D sphere, {PARTICLES} x {ITERATIONS} evaluations, mean best of {len(seeds)} seeds")
    print(f"{'strategy':22} {'middle':>8} {'anywhere':>9} {'s a run':>8} {'ms rebuilt (1000)':>17}")
    for name, strategy, search in contenders:
        started = time.perf_counter()
        middle = [best_found(strategy, search, seed, [0.5] * DIMENSIONS) for seed in seeds]
        seconds = (time.perf_counter() - started) / len(seeds)
        places = {seed: [0.2 + 0.6 * u for u in uniforms(seed, "optimum", 0, DIMENSIONS)] for seed in seeds}
        anywhere = [best_found(strategy, search, seed, places[seed]) for seed in seeds]
        rebuilt = 1000 * rebuilt_in(strategy, 1000)
        print(
            f"{name:22} {statistics.mean(middle):8.4f} {statistics.mean(anywhere):9.4f} {seconds:8.3f} {rebuilt:17.1f}"
        )


if __name__ == "__main__":
    main()
