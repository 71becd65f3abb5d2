"""train: from a directory of profiling data to a model."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from click.testing import Result

from profiling_files import write_profile_database, write_recording, write_requests
from run_stories import some_metrics, some_settings
from serviceopt_journal import events as e
from serviceopt_journal.artefacts import ArtefactStore
from serviceopt_journal.store import Journal
from serviceoptd.domain.stopping.engine_windows import ARTEFACT, StoredService, Window, as_csv
from serviceoptd.predicting.model_file import load
from synthetic_batches import synthetic_run

Invoke = Callable[..., Result]


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    for most, budget in ((16, 512), (32, 1024)):
        name = f"seqs{most}/run.csv"
        write_recording(tmp_path / "recordings" / name, synthetic_run((most, budget), 100, seed=1))
    return tmp_path / "recordings"


def test_train_writes_a_model_and_its_card_and_says_how_far_off_it_is(invoke: Invoke, recordings: Path) -> None:
    result = invoke("train", "-i", str(recordings), "-o", "models/new", "-t", "vllm")
    assert result.exit_code == 0
    assert "200 batches (recordings: 2, configurations: 2)" in result.stdout
    assert "Errors on configurations that it was not trained on:" in result.stdout
    assert {"prefill", "mixed", "decode"} <= set(result.stdout.split())
    assert "models/new/latency_model.json" in result.stdout
    trained = load(Path("models/new/latency_model.json"))
    assert trained.card.batches == 200
    page = Path("models/new/latency_model.md").read_text()
    assert "| seqs16/run.csv | seqs16 | vllm | 100 | 0 |" in page
    assert "## Range of validity" in page


def test_the_model_goes_to_the_current_directory_and_json_holds_the_card(invoke: Invoke, recordings: Path) -> None:
    result = invoke("train", "-i", str(recordings), "--seed", "4", "--json")
    document = json.loads(result.stdout)
    assert document["model"] == "latency_model.json"
    assert Path(document["card_page"]).is_file()
    assert document["card"]["seed"] == 4
    assert document["card"]["by_stage"]["decode"]["mape"] < 0.2


def test_the_default_type_is_mindie_as_it_was(invoke: Invoke, tmp_path: Path) -> None:
    batches = [("Decode", [{"rid": 7, "iter": step}], 20.0 + step % 3) for step in range(1, 101)]
    write_requests(tmp_path / "profile", {"7": 100})
    write_profile_database(tmp_path / "profile", batches)
    assert invoke("train", "-i", "profile").exit_code == 0
    assert load(tmp_path / "latency_model.json").card.recordings[0].framework == "mindie"


def test_nothing_is_written_when_something_is_wrong_with_the_data(invoke: Invoke, recordings: Path) -> None:
    path = recordings / "seqs32" / "run.csv"
    path.write_text(path.read_text().replace("attn_prefill,n_decode", "attn_prefill,decoding"))
    result = invoke("train", "-i", str(recordings), "-o", "out")
    assert result.exit_code == 3
    assert f"error: {path}:1: lacks the column n_decode" in result.stderr
    assert not Path("out").exists()


def test_without_xgboost_it_says_what_to_install(
    invoke: Invoke, recordings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "xgboost", None)
    result = invoke("train", "-i", str(recordings), "-o", "out")
    assert result.exit_code == 4
    assert "pip install xgboost-cpu" in result.stderr
    assert not Path("out").exists()


def stored(state: Path, *, speeds: tuple[float, ...] = (1.0, 1.0), windows: int = 12) -> None:
    """A journal in which each run measured two configurations, `speeds` as fast; another speed is another engine."""
    artefacts = ArtefactStore(state)
    state.mkdir()
    events: list[e.Event] = []
    for run, speed in enumerate(speeds, 1):
        parts = {"engine": "vllm", "engine.version": f"{speed:g}", "benchmark": str(run)}
        events.append(
            e.RunSubmitted(
                run=run, name="", settings=msgspec.to_builtins(some_settings()), seed=1, run_identity=str(run),
                measurement_identity="m", identity_parts=parts,
            )
        )  # fmt: skip
        for measurement, seqs in enumerate((8, 32), 1):
            found = [
                Window(
                    seconds=(0.3 + 0.006 * decoding + 0.001 * prompts) / speed, steps=30, prefill_steps=prompts,
                    prompts=prompts, prompt_tokens=100 * prompts, cached_tokens=0, decode_tokens=30 * decoding,
                    decode_context=30 * decoding * 200,
                )
                for decoding, prompts in ((1 + number % seqs, number % 5) for number in range(windows))
            ]  # fmt: skip
            service = StoredService(
                engine="vllm", version="1", configuration={"MAX_NUM_SEQS": seqs}, options={}, kv_blocks=100,
                concurrency=seqs, request_rate=None, num_prompts=50,
            )  # fmt: skip
            kept = artefacts.keep(as_csv(service, found).encode())
            events.append(
                e.MeasurementFinished(
                    run=run, particle=measurement, evaluation=measurement, measurement=1, attempt=1,
                    metrics=some_metrics(), seconds=1.0, artefacts={ARTEFACT: kept, "client.log": "0" * 64},
                )
            )  # fmt: skip
    with Journal.open(state) as journal:
        journal.append(*events)


def test_it_learns_from_what_the_runs_of_the_journal_measured(invoke: Invoke, state: Path, tmp_path: Path) -> None:
    stored(state)
    result = invoke("train", "--journal")
    assert result.exit_code == 0, result.output
    assert "48 windows with 1440 steps of 4 measurements (recordings: 4, configurations: 2)" in result.stdout
    assert "Errors on configurations that it was not trained on:" in result.stdout
    card = load(tmp_path / "latency_model.json").card
    assert [each.name for each in card.windowed][:2] == [
        "run 1, evaluation 1, measurement 1", "run 1, evaluation 2, measurement 1",
    ]  # fmt: skip
    assert card.windowed[0].configuration == '{"MAX_NUM_SEQS":8}'
    again = invoke("train", "--journal", "--run", "2", "--json")
    assert json.loads(again.stdout)["card"]["windows"]["batches"] == 24


def test_recordings_and_the_journal_are_learnt_from_together(invoke: Invoke, state: Path, recordings: Path) -> None:
    stored(state)
    result = invoke("train", "-i", str(recordings), "--journal", "-o", "out")
    assert result.exit_code == 0, result.output
    assert (
        "200 batches and 48 windows with 1440 steps of 4 measurements (recordings: 6, configurations: 4)"
        in result.stdout
    )
    assert "Of these measurements only sums over windows are known" in Path("out/latency_model.md").read_text()


def test_runs_of_different_services_are_not_mixed(invoke: Invoke, state: Path, tmp_path: Path) -> None:
    stored(state, speeds=(1.0, 2.0))
    result = invoke("train", "--journal")
    assert result.exit_code == 3
    assert "runs 1 and 2 measured different services (engine.version)" in result.stderr
    assert "--run" in result.stderr
    assert invoke("train", "--journal", "--run", "2").exit_code == 0


def test_what_is_not_there_is_said(invoke: Invoke, state: Path, tmp_path: Path) -> None:
    assert invoke("train", "--run", "1", "-i", "x").exit_code == 2
    stored(state, windows=3)
    few = invoke("train", "--journal")
    assert few.exit_code == 3
    assert "12 busy windows of 20 steps or more from 4 measurements" in few.stderr
    assert "there is no run 9" in invoke("train", "--journal", "--run", "9").stderr
    for kept in (state / "artefacts").glob("*/*"):
        kept.unlink()
    gone = invoke("train", "--journal")
    assert gone.exit_code == 3
    assert "run 1, evaluation 1, measurement 1: its engine_windows.csv is not kept any more" in gone.stderr
    assert not (tmp_path / "latency_model.json").exists()


def test_its_options_are_those_of_the_predecessor(invoke: Invoke) -> None:
    assert invoke("train").exit_code == 2
    assert invoke("train", "-i", "x", "-t", "other").exit_code == 2
    assert invoke("train", "--input", "x", "--type", "vllm").exit_code == 3
