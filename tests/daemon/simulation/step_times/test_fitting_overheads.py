"""From a profile with what the client measured to overheads, and to errors of whole benchmarks."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from recorded_loads import CONFIGURATIONS, LOADS, TRUE_OVERHEADS, TRUE_TIMES, write_profile
from serviceoptd.predicting.model_file import MODEL_FILE, load, save
from serviceoptd.profiling.data.reading import read_profile
from serviceoptd.simulation.step_times.fitting_overheads import READINGS, fit_overheads, simulated
from serviceoptd.simulation.step_times.latency_model import TrainedModel
from serviceoptd.simulation.step_times.profile_data import Profile, ProfileRejected
from serviceoptd.simulation.step_times.training import train
from serviceoptd.simulation.virtual_clock.overheads import Overheads

Document = dict[str, Any]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_profile(tmp_path_factory.mktemp("profile"))


@pytest.fixture(scope="module")
def profile(directory: Path) -> Profile:
    return read_profile(directory, framework="vllm")


@pytest.fixture(scope="module")
def trained(profile: Profile) -> TrainedModel:
    return train(profile, seed=0)


def test_the_recorded_requests_on_the_true_machine_give_what_the_client_measured(profile: Profile) -> None:
    assert len(profile.loads) == len(CONFIGURATIONS) * len(LOADS)
    for load_ in profile.loads:
        metrics = simulated(load_, TRUE_TIMES, TRUE_OVERHEADS)
        for reading in READINGS.values():
            assert reading(metrics) == pytest.approx(reading(load_.measured), rel=1e-6)


def test_the_overheads_are_found_again(profile: Profile) -> None:
    found = fit_overheads(profile.loads, TRUE_TIMES)
    # Where a request loses time makes no difference as long as none waits for another: only the sum can be known.
    found_of_one = found.delay + found.return_delay + found.work_per_request + 200 * found.work_per_prompt_token
    assert found_of_one == pytest.approx(TRUE_OVERHEADS.delay + TRUE_OVERHEADS.work_per_request, rel=0.05)
    assert min(found.delay, found.return_delay, found.work_per_token, found.work_per_prompt_token) >= 0
    for load_ in profile.loads:
        ours, theirs = simulated(load_, TRUE_TIMES, found), load_.measured
        assert ours.ttft["mean"] == pytest.approx(theirs.ttft["mean"], rel=0.01)
        assert ours.ttft["p99"] == pytest.approx(theirs.ttft["p99"], rel=0.02)


def test_a_machine_without_overheads_is_given_none(profile: Profile) -> None:
    bare = [replace(load_, measured=simulated(load_, TRUE_TIMES, Overheads())) for load_ in profile.loads]
    assert fit_overheads(bare, TRUE_TIMES) == Overheads()


def test_a_trained_model_holds_them_and_its_card_the_errors_on_other_configurations(
    trained: TrainedModel, tmp_path: Path
) -> None:
    assert trained.overheads is not None
    assert set(trained.card.benchmarks) == {"throughput", "mean TPOT", "mean TTFT", "p99 TTFT"}
    for error in trained.card.benchmarks.values():
        assert error.benchmarks == 9
        assert error.median < 0.05
    path = save(trained, tmp_path)
    assert load(path) == trained
    page = (tmp_path / "latency_model.md").read_text()
    assert "## Around the engine" in page
    assert "Errors of whole benchmarks on configurations that it was not trained on" in page


def test_equal_profiles_give_equal_overheads(profile: Profile, trained: TrainedModel) -> None:
    assert train(profile, seed=0) == trained


def test_models_of_an_earlier_release_are_read_and_written_as_before(trained: TrainedModel, tmp_path: Path) -> None:
    old = msgspec.structs.replace(trained, overheads=None, card=msgspec.structs.replace(trained.card, benchmarks={}))
    save(old, tmp_path)
    document = json.loads((tmp_path / MODEL_FILE).read_text())["trained"]
    assert "overheads" not in document
    assert "benchmarks" not in document["card"]
    assert load(tmp_path / MODEL_FILE) == old


def test_steps_without_a_description_are_learnt_from_alone(directory: Path, tmp_path: Path) -> None:
    write_profile(tmp_path)
    for path in tmp_path.glob("*/configuration.json"):
        path.unlink()
    assert read_profile(tmp_path, framework="vllm").loads == ()


def spoilt(path: Path, change: Callable[[Document], object]) -> None:
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


@pytest.mark.parametrize(
    ("name", "change", "problem"),
    [
        ("load-2.json", None, "is missing"),
        ("load-2.json", lambda d: d.pop("start_times"), "missing required field `start_times`"),
        ("load-2.json", lambda d: d["input_lens"].pop(), "do not describe the same requests"),
        ("load-2.json", lambda d: d["queue_times"].pop(), "do not describe the same requests"),
        ("load-2.json", lambda d: d["output_lens"].__setitem__(0, 0), "a request has no tokens"),
        ("load-2.json", lambda d: d.update(failed=1, completed=59), "1 requests failed"),
        ("load-2.json", lambda d: d.pop("completed"), "has no completed"),
        ("configuration.json", lambda d: d.pop("limits"), "missing required field `limits`"),
        ("configuration.json", lambda d: d["limits"].pop("kv_blocks"), "does not know kv_blocks"),
        ("configuration.json", lambda d: d["limits"].update(max_num_seqs="many"), "cannot take its limits"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_used_is_named_with_the_reason(
    tmp_path: Path, name: str, change: Callable[[Document], object] | None, problem: str
) -> None:
    path = write_profile(tmp_path, requests=60) / "configuration-2" / name
    if change is None:
        path.unlink()
    else:
        spoilt(path, change)
    with pytest.raises(ProfileRejected, match=problem) as error:
        read_profile(tmp_path, framework="vllm")
    assert str(path) in error.value.message


def test_a_file_that_is_cut_off_is_named(tmp_path: Path) -> None:
    path = write_profile(tmp_path) / "configuration-1" / "load-1.json"
    path.write_text(path.read_text()[:100])
    with pytest.raises(ProfileRejected, match=r"load-1\.json: cannot be used"):
        read_profile(tmp_path, framework="vllm")


def test_requests_of_an_older_client_without_queue_times_arrive_all_at_once_or_when_they_were_sent(
    tmp_path: Path, profile: Profile
) -> None:
    write_profile(tmp_path)
    for path in tmp_path.glob("*/load-*.json"):
        spoilt(path, lambda d: d.pop("queue_times"))
    found = read_profile(tmp_path, framework="vllm").loads
    for ours, theirs in zip(found, profile.loads, strict=True):
        assert [each.arrival for each in ours.requests] == pytest.approx([each.arrival for each in theirs.requests])
