"""The loop on the simulated engine: queue, pause, cancel, resume, full disk."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from pathlib import Path

import pytest

from daemon.service.daemons import SMALL, a_loop, finished, submitted
from memory_journal import MemoryJournal, full_disk
from serviceopt_journal import events as e
from serviceoptd.benchmarks.interface import MeasurementOrder, MeasurementPlan
from serviceoptd.benchmarks.simulated import SimulatedBenchmark
from serviceoptd.service import control


class Killed(BaseException):
    """The process ended here, as far as the test is concerned."""


def test_a_run_uses_its_budget_and_recommends_a_measured_particle(tmp_path: Path) -> None:
    async def story() -> None:
        context, loop = a_loop(tmp_path, MemoryJournal())
        run = await finished(context, loop, await submitted(context))
        assert run.outcome == "completed"
        assert run.admitted == 6
        assert run.recommended is not None
        assert all(p.simulated for p in run.particles.values() if p.measurements)
        assert all(len(p.measurements) == 2 for p in run.particles.values() if p.admitted and not p.error)

    asyncio.run(story())


def test_runs_are_worked_on_in_the_order_of_their_submission(tmp_path: Path) -> None:
    async def story() -> None:
        journal = MemoryJournal()
        context, loop = a_loop(tmp_path, journal)
        await submitted(context)
        await finished(context, loop, await submitted(context, seed=2))
        order = [r.event.run for r in journal.records if isinstance(r.event, e.RunFinished)]
        assert order == [1, 2]

    asyncio.run(story())


def test_a_paused_run_lets_the_next_one_go_first(tmp_path: Path) -> None:
    async def story() -> None:
        context, loop = a_loop(tmp_path, MemoryJournal())
        first = await submitted(context)
        await control.pause(context.ledger, context.ledger.state.runs[first], "later")
        second = await finished(context, loop, await submitted(context, seed=2))
        assert second.outcome == "completed"
        assert not context.ledger.state.runs[first].particles

    asyncio.run(story())


def test_cancelling_ends_a_run_and_keeps_what_was_measured(tmp_path: Path) -> None:
    async def story() -> None:
        journal = MemoryJournal()
        context, loop = a_loop(tmp_path, journal)
        number = await submitted(context)

        def cancel_after_two(record: object, state: object) -> None:
            finished_now = sum(isinstance(r.event, e.MeasurementFinished) for r in journal.records)
            if finished_now == 2 and not cancelling:
                run = context.ledger.state.runs[number]
                cancelling.append(asyncio.ensure_future(control.cancel(context.ledger, run, "enough")))

        cancelling: list[asyncio.Future[None]] = []
        context.ledger.listen(cancel_after_two)
        run = await finished(context, loop, number)
        assert run.outcome == "cancelled"
        assert run.reason == "enough"
        assert 1 <= len([p for p in run.particles.values() if p.measurements]) < 6
        assert all(evaluation.phase == "finished" for evaluation in run.evaluations.values())

    asyncio.run(story())


def test_a_run_cancelled_in_the_queue_never_starts(tmp_path: Path) -> None:
    async def story() -> None:
        context, _ = a_loop(tmp_path, MemoryJournal())
        number = await submitted(context)
        await control.cancel(context.ledger, context.ledger.state.runs[number], "")
        run = context.ledger.state.runs[number]
        assert (run.outcome, run.started) == ("cancelled", None)

    asyncio.run(story())


def test_killed_at_every_commit_it_goes_on_with_what_is_due(tmp_path: Path) -> None:
    text = SMALL + "[proof]\nmeasurements = 4\n"

    async def uninterrupted() -> MemoryJournal:
        journal = MemoryJournal()
        context, loop = a_loop(tmp_path / "whole", journal)
        await finished(context, loop, await submitted(context, text))
        return journal

    async def killed_at(seq: int) -> MemoryJournal:
        journal = MemoryJournal()
        context, loop = a_loop(tmp_path / str(seq), journal)
        number = await submitted(context, text)

        def kill(head: int) -> None:
            if head >= seq:
                raise Killed

        journal.after_append = kill
        with pytest.raises(Killed):
            await finished(context, loop, number)
        resumed = MemoryJournal(journal.records)
        context, loop = a_loop(tmp_path / str(seq), resumed)
        await finished(context, loop, number)
        return resumed

    whole = asyncio.run(uninterrupted())
    assert len(whole.records) > 50
    for seq in range(2, len(whole.records), 3):  # every one with real kills: tests/crash
        resumed = asyncio.run(killed_at(seq))
        assert proposals(resumed) == proposals(whole), seq
        assert results(resumed) == results(whole), seq
        assert launches(resumed) <= launches(whole) + 1


def proposals(journal: MemoryJournal) -> list[object]:
    return [r.event for r in journal.records if isinstance(r.event, e.ParticleProposed | e.ParticleMatched)]


def results(journal: MemoryJournal) -> list[object]:
    """What was measured, in its order. On which launch may differ: what was still to come is not due on a killed one."""
    finished = (r.event for r in journal.records if isinstance(r.event, e.MeasurementFinished))
    return [(event.particle, event.metrics) for event in finished]


def launches(journal: MemoryJournal) -> int:
    return sum(isinstance(r.event, e.ServiceLaunching) for r in journal.records)


def test_on_a_full_disk_it_waits_and_goes_on_when_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serviceoptd.evaluating.ledger.RETRY_AFTER", 0.01)

    async def story() -> None:
        journal = MemoryJournal()
        context, loop = a_loop(tmp_path, journal)
        number = await submitted(context)
        journal.before_append = full_disk(3)
        run = await finished(context, loop, number)
        assert run.outcome == "completed"
        assert journal.reopened == 3
        held = [r.event for r in journal.records if isinstance(r.event, e.WritingHeld)]
        assert len(held) == 1
        assert held[0].seconds > 0

    asyncio.run(story())


def test_results_of_an_earlier_run_of_the_same_identity_are_reused_when_asked_for(tmp_path: Path) -> None:
    async def story() -> None:
        context, loop = a_loop(tmp_path, MemoryJournal())
        await finished(context, loop, await submitted(context))
        again = SMALL + "[search]\nreuse_measurements = true\n"
        context2, loop2 = a_loop(tmp_path, context.ledger._journal)  # type: ignore[arg-type]
        run = await finished(context2, loop2, await submitted(context2, again))
        assert any(p.matched is not None and p.matched[0] == 1 for p in run.particles.values())
        other = again.replace("[measurement]", "[simulated]\nnum_prompts = 77\n[measurement]")
        context3, loop3 = a_loop(tmp_path, context2.ledger._journal)  # type: ignore[arg-type]
        run = await finished(context3, loop3, await submitted(context3, other))
        assert not any(p.matched is not None and p.matched[0] != run.number for p in run.particles.values())

    asyncio.run(story())


def test_a_drain_lets_the_evaluation_under_way_finish_and_a_restart_goes_on(tmp_path: Path) -> None:
    async def story() -> None:
        journal = MemoryJournal()
        context, loop = a_loop(tmp_path, journal)
        number = await submitted(context)
        context.ledger.listen(
            lambda record, _state: loop.drain() if isinstance(record.event, e.MeasurementFinished) else None
        )
        await loop.run_forever()
        run = context.ledger.state.runs[number]
        assert [len(p.measurements) for p in run.particles.values()] == [2]
        assert [evaluation.phase for evaluation in run.evaluations.values()] == ["finished"]
        context, loop = a_loop(tmp_path, MemoryJournal(journal.records))
        assert (await finished(context, loop, number)).outcome == "completed"

    asyncio.run(story())


def test_a_defect_of_a_plugin_holds_its_run_and_lets_the_next_one_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        context, loop = a_loop(tmp_path, MemoryJournal())
        broken, sound = await submitted(context, seed=1), await submitted(context, seed=2)
        plan = SimulatedBenchmark.plan

        def defective(self: SimulatedBenchmark, order: MeasurementOrder) -> MeasurementPlan:
            if order.noise_key[0] == 1:
                raise KeyError("what")
            return plan(self, order)

        monkeypatch.setattr(SimulatedBenchmark, "plan", defective)
        assert (await finished(context, loop, sound)).outcome == "completed"
        held = context.ledger.state.runs[broken]
        assert held.held
        assert "KeyError with engine simulated, client simulated" in held.paused
        assert held.evaluation is not None
        assert held.evaluation.phase == "interrupted"

    asyncio.run(story())


def test_the_finalists_are_measured_again_in_turn_each_on_a_launch_of_its_own(tmp_path: Path) -> None:
    async def story() -> None:
        text = SMALL + "[data_storage]\npso_top_k = 2\n[proof]\nmeasurements = 6\n"
        context, loop = a_loop(tmp_path, journal := MemoryJournal())
        run = await finished(context, loop, await submitted(context, text))
        asked = [r.event for r in journal.records if isinstance(r.event, e.ConfirmationRequested)]
        assert run.outcome == "completed"
        assert run.admitted == 6
        assert 3 <= len(asked) <= 6
        assert asked[0].particle != asked[1].particle
        assert run.proof is not None
        assert run.proof.total == len(asked)
        assert run.recommended in run.proof.finalists
        assert all(len(p.measurements) in (0, 2) for p in run.particles.values())
        restarts = sum(one.particle != other.particle for one, other in pairwise(asked))
        assert len(run.evaluations) >= restarts

    asyncio.run(story())


def test_a_finalist_whose_confirmation_fails_is_not_recommended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        context, loop = a_loop(tmp_path, journal := MemoryJournal())
        plan = SimulatedBenchmark.plan

        def asked() -> list[int]:
            return [r.event.particle for r in journal.records if isinstance(r.event, e.ConfirmationRequested)]

        def fails_for_the_first(self: SimulatedBenchmark, order: MeasurementOrder) -> MeasurementPlan:
            if asked() and order.noise_key[1] == asked()[0]:
                return MeasurementPlan(command=None, num_prompts=1, failure="it broke down")
            return plan(self, order)

        monkeypatch.setattr(SimulatedBenchmark, "plan", fails_for_the_first)
        run = await finished(context, loop, await submitted(context))
        broken = run.particles[asked()[0]]
        assert broken.unconfirmed == "it broke down"
        assert run.result_of(broken) is not None
        assert run.recommended not in (None, broken.number)
        assert next(ev for ev in run.evaluations.values() if ev.number == broken.evaluation).phase == "finished"

    asyncio.run(story())


def test_the_search_samples_the_data_set_and_confirmations_get_all_of_it(tmp_path: Path) -> None:
    async def story() -> None:
        text = SMALL.replace("[measurement]", "sample_size = 1000\n[simulated]\nnum_prompts = 1500\n[measurement]")
        context, loop = a_loop(tmp_path, journal := MemoryJournal())
        run = await finished(context, loop, await submitted(context, text))
        started = [r.event for r in journal.records if isinstance(r.event, e.MeasurementStarted)]
        assert run.proof is not None
        assert [event.num_prompts for event in started] == [1000] * (len(started) - run.proof.total) + [
            1500
        ] * run.proof.total
        assert run.particles[run.recommended or 0].num_prompts == 1500

    asyncio.run(story())
