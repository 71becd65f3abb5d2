"""train: from a directory of profiling data to a model."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from profiling_files import write_profile_database, write_recording, write_requests
from serviceoptd.latency_model.model_file import load
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
    assert "pip install 'serviceopt[simulation]'" in result.stderr
    assert not Path("out").exists()


def test_its_options_are_those_of_the_predecessor(invoke: Invoke) -> None:
    assert invoke("train").exit_code == 2
    assert invoke("train", "-i", "x", "-t", "other").exit_code == 2
    assert invoke("train", "--input", "x", "--type", "vllm").exit_code == 3
