"""A configuration on the virtual time line with a trained model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from serviceopt_journal.errors import EnvironmentLacks, InvalidConfiguration
from serviceoptd.predicting.model_file import save
from serviceoptd.predicting.prediction import Prediction, Predictor, fingerprint, lengths_in
from serviceoptd.predicting.section import SimulatedSection
from serviceoptd.simulation.virtual_clock.overheads import Overheads
from trained_models import LIMITS, a_model_file, a_trained_model

CONFIGURATION = {"MAX_NUM_SEQS": 32, "MAX_NUM_BATCHED_TOKENS": 512}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    a_model_file(tmp_path)
    return tmp_path


def options(**keys: Any) -> SimulatedSection:
    usual = {"model": "latency_model.json", "limits": LIMITS, "input_tokens": 200, "output_tokens": 20}
    return SimulatedSection.model_validate(usual | keys)


def predicted(
    place: Path, configuration: Any = None, *, seed: int = 0, rate: float | None = None, **keys: Any
) -> Prediction:
    predictor = Predictor.of(options(**keys), place)
    limits = predictor.limits(configuration or CONFIGURATION, ())
    return predictor.predict(limits, concurrency=16, request_rate=rate, num_prompts=40, seed=seed)


def test_it_reports_what_a_client_would(place: Path) -> None:
    metrics = predicted(place).metrics
    assert (metrics.completed, metrics.input_tokens, metrics.output_tokens) == (40, 40 * 200, 40 * 20)
    assert metrics.generate_speed == pytest.approx(800 / metrics.duration)


def test_equal_seeds_give_equal_results_and_others_draw_other_arrivals(place: Path) -> None:
    assert predicted(place, seed=1, rate=5.0) == predicted(place, seed=1, rate=5.0)
    assert predicted(place, seed=1, rate=5.0) != predicted(place, seed=2, rate=5.0)


def test_more_places_are_faster_under_load(place: Path) -> None:
    few = predicted(place, CONFIGURATION | {"MAX_NUM_SEQS": 2}).metrics
    assert predicted(place).metrics.generate_speed > 2 * few.generate_speed


def test_overheads_are_part_of_the_first_token(place: Path) -> None:
    later = predicted(place, overheads={"delay": 0.5}).metrics
    assert later.ttft["min"] > 0.5 > predicted(place).metrics.ttft["min"]


def test_overheads_are_those_that_were_fitted_with_the_model_unless_others_are_given(place: Path) -> None:
    without = predicted(place).metrics.ttft["min"]
    fitted = Overheads(delay=0.5, return_delay=0.2)
    save(msgspec.structs.replace(a_trained_model(), overheads=fitted), place)
    assert predicted(place).metrics.ttft["min"] == pytest.approx(without + 0.7, abs=0.05)
    assert predicted(place, overheads={"delay": 0.1}).metrics.ttft["min"] == pytest.approx(without + 0.1, abs=0.05)
    assert predicted(place, overheads={}).metrics.ttft["min"] == pytest.approx(without)


def test_a_demonstration_of_an_earlier_release_has_overheads_of_0_and_no_model() -> None:
    assert SimulatedSection.model_validate({"overheads": {"delay": 0.0, "work_per_token": 0.0}}).model is None
    with pytest.raises(ValueError, match="overheads: has an effect only with"):
        SimulatedSection.model_validate({"overheads": {"delay": 0.1}})


def test_lengths_come_from_a_file_in_place_of_the_means(place: Path) -> None:
    (place / "lengths.csv").write_text("input_tokens,output_tokens\n100,10\n300,30\n")
    metrics = predicted(place, lengths="lengths.csv").metrics
    assert (metrics.input_tokens, metrics.output_tokens) == (20 * 400, 20 * 40)


HEADER = "input_tokens,output_tokens"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("input,output\n1,2\n", "lengths.csv:1: lacks the column input_tokens, output_tokens"),
        ("input_tokens,output_tokens\n5,6\n7,x\n", "lengths.csv:3: not two whole numbers"),
        ("input_tokens,output_tokens\n5,0\n", "lengths.csv:2: a length is not between 1 and 2147483647"),
        (f"input_tokens,output_tokens\n5,{2**31}\n", "lengths.csv:2: a length is not between 1 and 2147483647"),
        (f"input_tokens,output_tokens\n5,{'9' * 5000}\n", "lengths.csv:2: not two whole numbers"),
        (f"{HEADER}\n5,{'x' * 200_000}\n", "lengths.csv:2: is not CSV: field larger than field limit (131072)"),
        ("input_tokens,output_tokens\n5\n", "lengths.csv:2: not two whole numbers"),
        ("input_tokens,output_tokens\n", "lengths.csv: no lengths found"),
    ],
)
def test_a_bad_file_of_lengths_is_named_with_its_line(content: str, said: str) -> None:
    with pytest.raises(InvalidConfiguration) as refused:
        lengths_in(content.encode(), "lengths.csv")
    assert refused.value.message == said


def test_a_prediction_inside_the_training_data_has_no_remark_and_one_outside_says_how_far(place: Path) -> None:
    long = {"input_tokens": 8, "output_tokens": 1900}
    remark = predicted(place, **long).remark
    assert remark.startswith("outside the latency model's training data for ")
    assert "% of the engine's time: " in remark
    inside = {"input_tokens": 500, "output_tokens": 2}
    assert predicted(place, CONFIGURATION | {"MAX_NUM_SEQS": 1}, **inside).remark == ""


def test_a_model_that_is_not_there_or_none_holds_the_run(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentLacks, match="cannot be read"):
        Predictor.of(options(), tmp_path)
    (tmp_path / "latency_model.json").write_text("{}")
    with pytest.raises(EnvironmentLacks, match="is not a latency model"):
        Predictor.of(options(), tmp_path)


def test_the_fingerprint_is_of_the_content(place: Path) -> None:
    before = fingerprint(options(), place)
    assert list(before) == ["model"]
    model = place / "latency_model.json"
    model.write_bytes(model.read_bytes() + b"\n")
    assert fingerprint(options(), place) != before
