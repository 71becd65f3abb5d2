"""The daemon's search behind the interface of a bench of serving landscapes: ask for a configuration, be told of a result.

`Adapter(space, slo, budget, seed)` builds the space, the objective and the strategy from the same classes as the daemon.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from serviceopt_journal.metrics import Metrics
from serviceoptd.domain.objective import FAILED, judge, rank
from serviceoptd.domain.settings import LOAD_NAMES, Constraint, Field, Objective, Search, Slo
from serviceoptd.domain.space.constraints import BUILT_IN, parameters, violated
from serviceoptd.domain.space.space import Space
from serviceoptd.evaluating.rejecting import REJECTED_IN_A_ROW
from serviceoptd.search.interface import Problem, Proposal, Strategy, Trial
from serviceoptd.search.particle_swarm import ParticleSwarm
from serviceoptd.search.swarm import Swarm

REQUESTS = 1000


class Adapter:
    """One run on one landscape."""

    strategy: ClassVar[type[Strategy]] = Swarm
    loads_per_launch: ClassVar[int] = 5
    constraints: ClassVar[Sequence[Constraint]] = BUILT_IN["vllm"]

    def __init__(self, space: Sequence[Mapping[str, Any]], slo: Mapping[str, float], budget: int, seed: int) -> None:
        self._space = Space.of([_field(parameter) for parameter in space])
        self._objective = Objective(
            slos=(Slo(metric="ttft", limit=slo["ttft"]), Slo(metric="tpot", limit=slo["tpot"])),
            success_rate=slo["success"],
        )
        self._problem = Problem(
            space=self._space,
            seed=seed,
            search=Search(n_particles=10, iters=max(1, budget // 10), loads_per_launch=self.loads_per_launch),
            current=None,
            objective=self._objective,
        )
        self._running: Mapping[str, Any] | None = None
        self._trials: list[Trial] = []
        self._asked: Proposal | None = None

    def _rebuilt(self) -> Strategy:
        strategy = self.strategy(replace(self._problem, running=self._running))
        for trial in self._trials:
            strategy.tell(trial)
        return strategy

    def ask(self) -> dict[str, Any] | None:
        """The configuration to measure next. What vLLM is known to refuse is rejected, as the daemon's rules do."""
        for _ in range(REJECTED_IN_A_ROW):
            self._asked = self._rebuilt().ask(len(self._trials) + 1)
            if self._asked is None:
                return None
            broken = violated(self.constraints, parameters(self._asked.configuration, self._space.fields))
            if broken is None:
                break
            self._trials.append(Trial(proposal=self._asked, fitness=FAILED, failure=f"declared: {broken.source}"))
        assert self._asked is not None
        return dict(self._asked.configuration)

    def tell(self, configuration: Mapping[str, Any], result: Mapping[str, Any]) -> None:
        """What became of it."""
        assert self._asked is not None
        metrics = None if result["error"] else _metrics(result)
        self._running = configuration if metrics is not None else None
        judgement = judge(metrics, self._objective, 1)
        self._trials.append(
            Trial(
                proposal=self._asked,
                fitness=judgement.fitness,
                metrics=metrics,
                objective=judgement.objective,
                failure=result["error"],
            )
        )

    def recommend(self) -> dict[str, Any] | None:
        """What the tool reports while the run goes on: the best by the hard rank, if it keeps its objectives."""
        order = rank([judge(trial.metrics, self._objective) for trial in self._trials])
        best = self._trials[order[0]] if order else None
        if best is None or not judge(best.metrics, self._objective).feasible:
            return None
        return dict(best.proposal.configuration)


class PlainSwarm(Adapter):
    """Without models: the strategy `pso`."""

    strategy = ParticleSwarm


class WithoutLoadSearch(Adapter):
    """Every evaluation is a launch of its own."""

    loads_per_launch = 1


class WithoutRejection(Adapter):
    """What vLLM is known to refuse is launched all the same."""

    constraints = ()


def _field(parameter: Mapping[str, Any]) -> Field:
    name = parameter["name"]
    load = name in LOAD_NAMES
    if parameter["kind"] == "enum":
        return Field(name=name, dtype="enum", dtype_param=list(parameter["choices"]), load=load)
    if parameter["kind"] == "bool":
        return Field(name=name, dtype="bool", load=load)
    return Field(name=name, dtype=parameter["kind"], min=parameter["low"], max=parameter["high"], load=load)


def _metrics(result: Mapping[str, Any]) -> Metrics:
    completed = round(REQUESTS * result["success_rate"])
    return Metrics(
        generate_speed=result["generate_speed"],
        throughput=result["throughput"],
        success_rate=result["success_rate"],
        completed=completed,
        failed=REQUESTS - completed,
        duration=completed / result["throughput"] if result["throughput"] else 0.0,
        ttft={"mean": result["time_to_first_token"]},
        tpot={"mean": result["time_per_output_token"]},
    )
