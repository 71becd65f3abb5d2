from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from builders import Story, a_journal, some_metrics
from daemon.service.daemons import SMALL, a_loop, finished, submitted
from memory_journal import MemoryJournal
from serviceopt_journal import events as e
from serviceoptd.domain.evolve import fold
from serviceoptd.domain.state import RunState, State
from serviceoptd.evaluating.trials import costs, problem, trials
from serviceoptd.search.interface import Costs
from stubs.scenario import records


def runs_of(directory: Path, *texts: str) -> State:
    """The state after runs with these configurations, one after the other."""

    async def story() -> State:
        journal = MemoryJournal()
        for text in texts:
            context, loop = a_loop(directory, journal)
            await finished(context, loop, await submitted(context, text))
            journal = context.ledger._journal  # type: ignore[assignment]
        return context.ledger.state

    return asyncio.run(story())


def measured(run: RunState) -> list[object]:
    return [p.configuration for p in run.particles.values() if p.metrics is not None]


def test_a_strategy_is_told_metrics_objective_and_failure_of_every_particle(tmp_path: Path) -> None:
    run = runs_of(tmp_path, SMALL).runs[1]
    told = list(trials(run))
    assert [trial.proposal.particle for trial in told] == list(range(1, len(run.particles) + 1))
    for trial in told:
        particle = run.particles[trial.proposal.particle]
        assert trial.metrics == run.result_of(particle)
        assert trial.failure == particle.error
        if trial.metrics is not None:
            assert trial.objective == trial.metrics.generate_speed
            assert trial.fitness == run.judgement(particle).fitness


def test_results_of_the_same_identity_are_history_and_those_of_a_similar_run_are_only_advice(tmp_path: Path) -> None:
    other = SMALL + "[simulated]\nnum_prompts = 77\n"
    state = runs_of(tmp_path, SMALL, SMALL, other)
    first, second, third = (state.runs[number] for number in (1, 2, 3))
    known = problem(state, second, second.space)
    assert [t.proposal.configuration for t in known.history if t.metrics is not None] == measured(first)
    failures = [p.error for p in first.particles.values() if p.error]
    assert failures, "this space has configurations that do not start"
    assert [t.failure for t in known.history if t.metrics is None] == failures
    assert known.advised == ()
    similar = problem(state, third, third.space)
    assert similar.history == ()
    assert 1 <= len(similar.advised) <= 3
    best = second.best()
    assert best is not None
    assert third.space.decode(similar.advised[0]) == best.configuration
    advised = [p for p in third.particles.values() if p.origin == "warm-start"]
    assert advised
    assert all(p.matched is None and p.metrics is not None for p in advised)


def test_flags_turn_history_and_advice_off(tmp_path: Path) -> None:
    alone = SMALL + "[search]\nreuse_measurements = false\nwarm_start = false\n"
    state = runs_of(tmp_path, SMALL, alone, alone + "[simulated]\nnum_prompts = 77\n")
    for number in (2, 3):
        known = problem(state, state.runs[number], state.runs[number].space)
        assert known.history == ()
        assert known.advised == ()
        assert all(p.matched is None or p.matched[0] == number for p in state.runs[number].particles.values())


def test_what_is_simulated_takes_no_time_of_its_own(tmp_path: Path) -> None:
    assert costs(runs_of(tmp_path, SMALL).runs[1]) == Costs()


def test_a_measurement_of_a_number_of_requests_takes_as_long_as_they_are_served(tmp_path: Path) -> None:
    story = Story()
    known: list[e.Event] = [*story.submitted(), *story.measured(some_metrics(2000), MAX_NUM_SEQS=256, CONCURRENCY=100)]
    known += story.failed("CUDA out of memory", MAX_NUM_SEQS=512, CONCURRENCY=100)
    known += story.measured(some_metrics(4000), MAX_NUM_SEQS=128, CONCURRENCY=100)
    found = costs(told(tmp_path, known))
    # each launch was ready after two steps of the clock; 95 s for 100,000 tokens in 50 s and in 25 s
    assert found.launch == pytest.approx(20)
    assert found.measurement == pytest.approx((45 + 70) / 2)
    assert found.tokens == pytest.approx(100_000)


def told(directory: Path, events: list[e.Event]) -> RunState:
    """The run of a journal of these events, ten seconds apart."""
    state = State()
    for record in records(a_journal(directory, iter(events))):
        state = fold(state, record)
    return state.runs[1]
