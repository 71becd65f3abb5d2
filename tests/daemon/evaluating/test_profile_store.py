"""What a measurement tells of its engine's steps is kept: stub processes with metrics, the daemon's own loop."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from daemon.service.daemons import a_loop, finished, submitted
from memory_journal import MemoryJournal
from serviceopt_journal import events as e
from serviceopt_journal.artefacts import ArtefactStore
from serviceopt_journal.codec import Recorded
from serviceoptd.domain.stopping.engine_windows import ARTEFACT
from serviceoptd.profiling.data.stored_windows import stored_windows
from serviceoptd.simulation.step_times.profile_data import Profile, ProfileRejected
from serviceoptd.simulation.step_times.training import train
from serviceoptd.simulation.virtual_clock.interface import StepComposition
from stubs.scenario import of_type, stub_run

NOT_STOPPED = "[early_stopping]\nenabled = false\ninterval = 0.03\n"


def measured(
    directory: Path,
    *,
    told: str = "steps",
    more: str = NOT_STOPPED,
    budget: int = 5,
    prompts: int = 72,
    service: str = "",
) -> list[Recorded]:
    """Loads on one service; a step takes as long as the stub client says of a token."""
    file = stub_run(
        directory,
        searched=("CONCURRENCY",),
        service=f"--stub-metrics {told} {service}",
        client="--stub-paced --stub-faster 4",
        top=f"budget = {budget}",
    )
    text = file.read_text().replace("num_prompts = 24", f"num_prompts = {prompts}").replace("min = 1\n", "min = 6\n")

    async def story() -> list[Recorded]:
        journal = MemoryJournal()
        context, loop = a_loop(directory, journal)
        await finished(context, loop, await submitted(context, text + '[search]\nstrategy = "random"\n' + more))
        return journal.records

    return asyncio.run(story())


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("stored")


@pytest.fixture(scope="module")
def stored(place: Path) -> list[Recorded]:
    return measured(place)


def test_every_measurement_leaves_its_windows_also_without_early_stopping(place: Path, stored: list[Recorded]) -> None:
    ended = of_type(stored, e.MeasurementFinished)
    assert len(ended) == 5
    assert not any(event.looks or event.remark or event.served for event in ended)
    runs = stored_windows(stored, ArtefactStore(place))
    assert [run.name for run in runs] == [f"run 1, evaluation 1, measurement {number}" for number in range(1, 6)]
    first = ArtefactStore(place).open(ended[0].artefacts[ARTEFACT]).read().decode().splitlines()
    assert '"kv_blocks":256' in first[0]
    assert '"engine":"vllm"' in first[0]
    assert first[1].startswith("seconds,steps,")


def test_a_model_of_them_knows_how_long_the_steps_took(place: Path, stored: list[Recorded]) -> None:
    profile = Profile((), windowed=stored_windows(stored, ArtefactStore(place)))
    trained = train(profile, seed=0)
    ended = of_type(stored, e.MeasurementFinished)
    for begun, event in zip(of_type(stored, e.MeasurementStarted), ended, strict=True):
        step = StepComposition(0, 0, 0, begun.concurrency, begun.concurrency * 144)
        asked = trained.model.step_seconds(step)
        assert asked == pytest.approx(event.metrics.tpot["mean"], rel=0.15)
    assert trained.card.windows is not None
    assert sum(each.steps for each in trained.card.windowed) >= 20 * trained.card.windows.batches
    assert train(profile, seed=0) == trained


@pytest.mark.parametrize(
    ("told", "more"), [("steps", "[profile]\nstore = false\n" + NOT_STOPPED), ("real", NOT_STOPPED)]
)
def test_nothing_is_kept_where_nobody_asks_or_the_service_does_not_tell(told: str, more: str, tmp_path: Path) -> None:
    records = measured(tmp_path, told=told, more=more, budget=1)
    assert not any(ARTEFACT in event.artefacts for event in of_type(records, e.MeasurementFinished))
    with pytest.raises(ProfileRejected, match="has no real measurement with windows"):
        stored_windows(records, ArtefactStore(tmp_path))


def test_a_measurement_that_is_ended_early_leaves_what_was_seen_of_it(tmp_path: Path) -> None:
    more = "[early_stopping]\ninterval = 0.03\nprecision = 0.2\nerror_rate = 0.2\n"
    # Four sequences at a time: seconds, in which many looks fit, also where each of them is late.
    records = measured(tmp_path, more=more, budget=4, prompts=288, service="--max-num-seqs 4")
    early = [event for event in of_type(records, e.MeasurementFinished) if event.stopped_early]
    early += of_type(records, e.MeasurementRejected)
    assert early
    assert all(ARTEFACT in event.artefacts for event in early)
