"""trust: predicted against measured."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import msgspec
import pytest
from click.testing import Result

from builders import Story, a_finished_story, a_journal, some_settings
from serviceopt_journal import events as e
from serviceopt_journal.documents.models import Comparison
from serviceopt_journal.metrics import Metrics
from serviceoptd.predicting.prediction import Predictor
from serviceoptd.predicting.section import SimulatedSection
from serviceoptd.predicting.validation import rank_correlation
from strict_documents import strictly
from trained_models import LIMITS, a_model_file, simulated_toml

Invoke = Callable[..., Result]
CONFIGURATIONS = [(4, 512, 8), (8, 512, 16), (16, 1024, 16), (32, 1024, 64)]


def predicted(place: Path, seqs: int, tokens: int, concurrency: int) -> Metrics:
    """What the model says of 40 requests of 200 tokens in and 40 out."""
    options = SimulatedSection(
        model="latency_model.json", limits=LIMITS | {"kv_blocks": 27000}, input_tokens=200, output_tokens=40
    )
    predictor = Predictor.of(options, place)
    limits = predictor.limits({"MAX_NUM_SEQS": seqs, "MAX_NUM_BATCHED_TOKENS": tokens}, ())
    return predictor.predict(limits, concurrency=concurrency, request_rate=None, num_prompts=40).metrics


def measured(place: Path, *, factor: float, simulated: bool = False, lengths: bool = True) -> Iterator[e.Event]:
    """A run whose service is `factor` times as fast as the model says."""
    story = Story(settings=some_settings(), simulated=simulated)
    yield from story.submitted()
    for seqs, tokens, concurrency in CONFIGURATIONS:
        metrics = predicted(place, seqs, tokens, concurrency)
        changed = msgspec.structs.replace(
            metrics,
            generate_speed=metrics.generate_speed * factor,
            input_tokens=metrics.input_tokens if lengths else None,
        )
        yield from story.measured(changed, MAX_NUM_SEQS=seqs, MAX_NUM_BATCHED_TOKENS=tokens, CONCURRENCY=concurrency)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    a_model_file(tmp_path)
    return tmp_path


def test_errors_by_metric_and_the_rank_correlation(invoke: Invoke, state: Path, place: Path) -> None:
    a_journal(state, measured(place, factor=1.25))
    result = invoke("trust", "1", "--model", "latency_model.json", "--json")
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    strictly(document, Comparison)
    assert document["simulated"] is False
    lines = {line["reading"]: line for line in document["errors"]}
    speed = lines["generate_speed"]
    assert speed["points"] == len(CONFIGURATIONS)
    assert speed["median"] == pytest.approx(0.2)
    assert speed["p90"] == pytest.approx(0.2)
    assert speed["bias"] == pytest.approx(-0.2)
    assert speed["rank"] == pytest.approx(1.0)
    assert lines["ttft mean"]["median"] == pytest.approx(0.0)
    assert lines["tpot p99"]["median"] == pytest.approx(0.0)


def test_people_get_a_table_and_the_points_that_go_beyond_the_training_data(
    invoke: Invoke, state: Path, place: Path
) -> None:
    a_journal(state, measured(place, factor=1.0))
    result = invoke("trust", "--model", "latency_model.json")
    assert result.exit_code == 0, result.output
    assert "SIMULATED" not in result.stdout
    (line,) = [line for line in result.stdout.splitlines() if line.startswith("TTFT p99 ")]
    assert line.split()[2:5] == ["4", "0.0%", "0.0%"]
    few_tokens = simulated_toml(input_tokens=4)
    (place / "few.toml").write_text(few_tokens)
    result = invoke("trust", "-c", "few.toml")
    assert "outside of the model's training data: 4 of 4" in result.stdout
    assert "particle 1 (MAX_NUM_SEQS=4 " in result.stdout


def test_people_see_where_predictions_lie_beside_the_measurements(invoke: Invoke, state: Path, place: Path) -> None:
    a_journal(state, measured(place, factor=1.0))
    lines = invoke("trust", "--model", "latency_model.json").stdout.splitlines()
    (top,) = [index for index, line in enumerate(lines) if line.startswith("output tokens/s: predicted up to")]
    panel = [line[1:35].ljust(34) for line in lines[top + 1 : top + 15]]
    points = [(row, column) for row, text in enumerate(panel) for column, sign in enumerate(text) if sign not in " ."]
    assert sum(1 if panel[row][column] == "o" else int(panel[row][column]) for row, column in points) == 4
    assert all(abs(row - (13 - column * 13 / 33)) <= 1 for row, column in points), "equal values lie on the diagonal"
    assert "measured" in lines[top + 16]


def test_the_plot_is_a_picture_with_a_panel_for_each_metric(invoke: Invoke, state: Path, place: Path) -> None:
    a_journal(state, measured(place, factor=1.1))
    assert invoke("trust", "--model", "latency_model.json", "--plot", "trust.svg").exit_code == 0
    picture = ElementTree.fromstring((place / "trust.svg").read_text())  # noqa: S314 (our own file)
    texts = [element.text for element in picture.iter("{http://www.w3.org/2000/svg}text")]
    assert {"output tokens/s", "TTFT mean", "TPOT mean"} <= set(texts)
    dots = list(picture.iter("{http://www.w3.org/2000/svg}circle"))
    assert len(dots) == 7 * len(CONFIGURATIONS)


def test_a_scheduler_that_is_no_vllm_is_named(invoke: Invoke, state: Path, place: Path) -> None:
    a_journal(state, measured(place, factor=1.0))
    missing = invoke("trust", "--model", "latency_model.json", "--scheduler", "nowhere/vllm")
    assert missing.exit_code == 4
    assert "nowhere/vllm cannot be read: No such file" in missing.stderr
    (place / "vllm").write_text("#!/bin/sh\n")
    other = invoke("trust", "--model", "latency_model.json", "--scheduler", "vllm")
    assert other.exit_code == 4
    assert "names no Python interpreter" in other.stderr


def test_a_simulated_run_is_compared_only_when_that_is_asked_for_and_says_so(
    invoke: Invoke, state: Path, place: Path
) -> None:
    a_journal(state, measured(place, factor=1.0, simulated=True))
    refused = invoke("trust", "--model", "latency_model.json")
    assert refused.exit_code == 9
    assert "--include-simulated" in refused.stderr
    shown = invoke("trust", "--model", "latency_model.json", "--include-simulated")
    assert shown.exit_code == 0
    assert shown.stdout.startswith("SIMULATED: compared with a model")


def test_without_a_model_or_lengths_it_says_what_is_missing(invoke: Invoke, state: Path, place: Path) -> None:
    a_journal(state, measured(place, factor=1.0, lengths=False))
    nameless = invoke("trust")
    assert nameless.exit_code == 3
    assert "--model FILE" in nameless.stderr
    lengthless = invoke("trust", "--model", "latency_model.json")
    assert lengthless.exit_code == 3
    assert "did not report the lengths" in lengthless.stderr
    assert invoke("trust", "--model", "nowhere.json").exit_code == 4


def test_a_run_that_does_not_tell_the_schedulers_limits_needs_a_configuration(
    invoke: Invoke, state: Path, place: Path
) -> None:
    a_journal(state, a_finished_story())
    (place / "lengths.toml").write_text('[simulated]\nmodel = "latency_model.json"\n')
    result = invoke("trust", "-c", "lengths.toml")
    assert result.exit_code == 3
    assert "does not know max_num_batched_tokens" in result.stderr


@pytest.mark.parametrize(
    ("first", "second", "rho"),
    [
        ([1, 2, 3, 4], [10, 200, 3000, 40000], 1.0),
        ([1, 2, 3, 4], [4, 3, 2, 1], -1.0),
        ([1, 2, 2, 3], [1, 3, 2, 4], 3 / 10**0.5),  # ranks 1, 2.5, 2.5, 4 and 1, 3, 2, 4
        ([1, 2], [1, 2], None),
        ([5, 5, 5], [1, 2, 3], None),
    ],
)
def test_the_rank_correlation_is_spearmans(first: list[float], second: list[float], rho: Any) -> None:
    found = rank_correlation(first, second)
    assert found is None if rho is None else found == pytest.approx(rho)
