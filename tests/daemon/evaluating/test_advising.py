"""A search on stub processes that a simulator advises: the daemon's own loop, a model that knows the stub, and none."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest

from daemon.service.daemons import a_loop, finished, submitted
from memory_journal import MemoryJournal
from serviceopt_journal import events as e
from serviceopt_journal.codec import Recorded
from serviceopt_journal.errors import EnvironmentLacks, InvalidConfiguration
from serviceoptd.domain.evolve import fold
from serviceoptd.domain.state import RunState, State
from serviceoptd.domain.table import row
from serviceoptd.predicting.model_file import save
from serviceoptd.simulation.step_times.latency_model import LatencyModel
from serviceoptd.simulation.step_times.validity import STAGES, Validity
from stubs.scenario import of_type, stub_run
from trained_models import a_trained_model

ANY = (0.0, 1e12)
MEASURES = (
    "prefill_sequences", "prefill_tokens", "keys_per_prompt_token", "decode_sequences", "context_per_sequence",
)  # fmt: skip
EVERYWHERE = Validity(
    {stage: dict.fromkeys(MEASURES, ANY) for stage in STAGES}, frozenset((i, j) for i in range(16) for j in range(16))
)
STUB = (0.005, 0.0, 0.0015, 0.0, 0.0, 0.0015, 0.0)
"""Seconds of a step as the stub client calculates them: 5 ms, and 1.5 ms for each sequence."""

SIMULATED = """
[simulated]
model = "latency_model.json"
input_tokens = 128
output_tokens = 32
[simulated.limits]
max_model_len = 1024
block_size = 128
"""


def a_model(directory: Path, validity: Validity = EVERYWHERE) -> Path:
    model = LatencyModel(coefficients=STUB, tables=(), floor=0.0)
    return save(msgspec.structs.replace(a_trained_model(), model=model, validity=validity), directory)


def advised(directory: Path, search: str, *, budget: int, table: str = SIMULATED) -> str:
    file = stub_run(directory, top=f"budget = {budget}\nttft_slo = 0.3")
    return file.read_text() + f"\n[search]\nsimulation = true\n{search}\n[early_stopping]\nenabled = false\n" + table


def a_run(directory: Path, text: str, journal: MemoryJournal | None = None) -> tuple[RunState, list[Recorded]]:
    journal = journal or MemoryJournal()

    async def story() -> RunState:
        context, loop = a_loop(directory, journal)
        number = 1 if context.ledger.state.runs else await submitted(context, text)
        context.ledger.listen(lambda _, state: loop.stop("held") if state.runs[number].held else None)
        return await finished(context, loop, number)

    return asyncio.run(story()), journal.records


@pytest.fixture(scope="module")
def swarm(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunState, list[Recorded]]:
    directory = tmp_path_factory.mktemp("swarm")
    a_model(directory)
    return a_run(directory, advised(directory, "", budget=6))


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunState, list[Recorded]]:
    directory = tmp_path_factory.mktemp("drawn")
    a_model(directory)
    return a_run(directory, advised(directory, 'strategy = "random"\naudit_share = 0.0', budget=14))


def test_after_the_current_setting_comes_what_the_simulator_advises_with_its_prediction(
    swarm: tuple[RunState, list[Recorded]],
) -> None:
    run, records = swarm
    proposed = of_type(records, e.ParticleProposed)
    assert [event.origin for event in proposed[:4]] == ["current-setting", "simulator", "simulator", "simulator"]
    assert all(event.origin not in ("simulator", "warm-start") for event in proposed[4:])
    first = run.particles[2]
    assert first.metrics is not None
    assert first.predicted is not None
    assert not first.simulated
    assert first.predicted.generate_speed == pytest.approx(first.metrics.generate_speed, rel=0.4)
    baseline = run.particles[1].metrics
    assert baseline is not None
    assert first.metrics.generate_speed > 1.2 * baseline.generate_speed
    assert row(run, first)["source"] == "measured"


def test_what_it_says_is_hopeless_is_rejected_once_it_has_been_right(
    drawn: tuple[RunState, list[Recorded]],
) -> None:
    run, records = drawn
    rejected = [event for event in of_type(records, e.ParticleRejected) if event.rule == "simulated"]
    assert rejected
    admitted = 0
    for event in (record.event for record in records):
        admitted += isinstance(event, e.EvaluationFinished)
        if isinstance(event, e.ParticleRejected):
            assert admitted >= 5
    for event in rejected:
        assert event.kind == "simulated"
        assert "by the simulator, corrected by" in event.reason
        assert event.predicted is not None
        shown = row(run, run.particles[event.particle])
        assert (shown["source"], shown["real_evaluation"]) == ("predicted", False)
        assert str(shown["error"]).startswith("simulated: ")


def test_replay_needs_no_model(drawn: tuple[RunState, list[Recorded]]) -> None:
    run, records = drawn
    state = State()
    for record in records:
        state = fold(state, record)
    assert state.runs[1] == run


def test_the_model_is_recorded_and_no_part_of_what_a_measurement_depends_on(tmp_path: Path) -> None:
    a_model(tmp_path)
    text = advised(tmp_path, "", budget=1)
    context, _ = a_loop(tmp_path, MemoryJournal())
    for each in (text, text.replace("simulation = true", "")):
        asyncio.run(submitted(context, each))
    with_advice, without = context.ledger.state.runs.values()
    assert with_advice.measurement_identity == without.measurement_identity
    assert set(with_advice.settings.simulation_files) == {"model"}
    assert with_advice.run_identity != without.run_identity
    assert without.settings.simulation_files == {}
    assert "simulated" in with_advice.settings.search.rules
    assert "simulated" not in without.settings.search.rules


def test_a_model_that_was_exchanged_holds_the_run_and_says_what_to_do(tmp_path: Path) -> None:
    path = a_model(tmp_path)
    journal = MemoryJournal()

    async def submit() -> None:
        context, _ = a_loop(tmp_path, journal)
        await submitted(context, advised(tmp_path, "", budget=3))

    asyncio.run(submit())
    path.write_bytes(path.read_bytes() + b" ")
    run, _ = a_run(tmp_path, "", journal)
    assert run.held
    assert "[simulated] model is not the file with which this run was submitted" in run.paused
    assert "restore that file" in run.paused
    assert not run.evaluations


def test_outside_of_its_training_data_it_chooses_nothing_far_from_what_was_measured(tmp_path: Path) -> None:
    narrow = {stage: dict.fromkeys(MEASURES, (0.0, 1.0)) for stage in STAGES}
    a_model(tmp_path, Validity(narrow, frozenset()))
    run, _ = a_run(tmp_path, advised(tmp_path, "", budget=3))
    current = run.space.encode(run.particles[1].configuration)
    for particle in (p for p in run.particles.values() if p.origin == "simulator"):
        apart = sum((a - b) ** 2 for a, b in zip(current, particle.position, strict=True)) ** 0.5
        assert apart < 0.5


def test_without_a_readable_model_or_with_a_missing_limit_nothing_is_submitted(tmp_path: Path) -> None:
    context, _ = a_loop(tmp_path, MemoryJournal())
    with pytest.raises(EnvironmentLacks, match="cannot be read"):
        asyncio.run(submitted(context, advised(tmp_path, "", budget=3)))
    a_model(tmp_path)
    text = advised(tmp_path, "", budget=3).replace("MAX_NUM_BATCHED_TOKENS", "TOKENS")
    with pytest.raises(InvalidConfiguration, match="does not know max_num_batched_tokens"):
        asyncio.run(submitted(context, text))
