"""An evaluation late in a run costs about what it cost early on, counted by calls and not by a clock."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

from run_stories import Story, some_metrics, some_settings
from serviceopt_journal import events as e
from serviceoptd.config import plugins
from serviceoptd.domain import policy
from serviceoptd.domain.settings import Budget, Measuring, Search
from serviceoptd.domain.statistics.draws import uniforms
from serviceoptd.evaluating.advising import Advisors
from serviceoptd.evaluating.proposing import propose, think_ahead
from serviceoptd.service.daemon import progress

SIZES = (100, 420, 1636)
"""Evaluations so far; of a table's last leaf the same part is full (domain/numbered.py), so that they compare."""
MOST_CALLS = 20
"""For each evaluation so far. A strategy is told of it, which is 2 to 12; to look at it anew would be some hundred."""
RULES = [plugins.rule_class(name) for name in ("declared", "memory", "latency_bound")]


def calls(work: Callable[[], object]) -> int:
    """How many functions of Python are called."""
    counted = 0

    def count(_frame: object, event: str, _argument: object) -> None:
        nonlocal counted
        counted += event == "call"

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(before)
    return counted


def measured(story: Story, number: int) -> None:
    """One more configuration, from its proposal to the end of its evaluation."""
    position = tuple(uniforms(3, "cost of a proposal", number, 3))
    numbers = {"run": 1, "evaluation": number}
    speed, ttft = 500 + 1000 * position[0], 0.3 + position[1]
    story.tell(
        e.ParticleProposed(
            run=1, particle=number, slot=(number - 1) % 10, iteration=(number - 1) // 10, position=position,
            velocity=(0.1, 0.1, 0.1), configuration=story.run.space.decode(position), strategy="pso", origin="swarm",
        ),
        e.ServiceLaunching(particle=number, attempt=1, launch_id=f"{number}", **numbers),
        e.ServiceReady(attempt=1, waited=1.0, kv_blocks=5000, **numbers),
        e.MeasurementFinished(
            particle=number, measurement=1, attempt=1, metrics=some_metrics(speed, ttft=ttft), seconds=20.0, **numbers
        ),
        e.ServiceStopped(attempt=1, **numbers),
        e.EvaluationFinished(particles=(number,), **numbers),
    )  # fmt: skip


def of_one_more(story: Story, strategy: str) -> int:
    """Calls for what the loop asks between two evaluations and while one is measured, the results before being known."""
    chosen = plugins.strategy_class(strategy)

    def between() -> None:
        for _ in range(8):  # events of an evaluation, and after each of them the policy is asked
            policy.next_action(story.run, active_seconds=0.0)
            assert progress(story.state).startswith("run 1 ")  # told to systemd
        think_ahead(story.state, story.run, chosen, None, Advisors(), lambda: True)
        assert propose(story.state, story.run, len(story.run.particles) + 1, chosen, RULES)

    between()
    measured(story, len(story.run.particles) + 1)
    return calls(between)


@pytest.mark.parametrize("strategy", ["pso", "swarm", "random"])
def test_what_was_measured_long_ago_hardly_adds_to_the_cost_of_an_evaluation(strategy: str) -> None:
    settings = some_settings(
        search=Search(strategy=strategy, n_particles=10, iters=1000), budget=Budget(evaluations=10_000),
        measuring=Measuring(repeats=1),
    )  # fmt: skip
    story = Story(settings)
    counted = []
    for number in SIZES:
        while len(story.run.particles) < number:
            measured(story, len(story.run.particles) + 1)
        counted.append(of_one_more(story, strategy))
    early, later, late = counted
    assert later < (2 if strategy == "swarm" else 1.6) * early, counted  # the models of `swarm` learn from 400 at most
    assert late - later < MOST_CALLS * (SIZES[2] - SIZES[1]), counted
