"""Prometheus' text format, as services write it."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serviceoptd.engines.vllm import SERIES
from serviceoptd.io.metrics_scrape import UnusableMetrics, counters, samples

PAGE = """\
# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="tiny"} 3.0
vllm:num_requests_running{engine="1",model_name="tiny"} 2.0
vllm:num_requests_waiting{engine="0",model_name="tiny"} 4.0
vllm:generation_tokens_total{engine="0",model_name="tiny"} 1600.0
vllm:generation_tokens_created{engine="0",model_name="tiny"} 1.795355359178098e+09
vllm:request_success_total{engine="0",finished_reason="length",model_name="tiny"} 48.0
vllm:request_success_total{engine="0",finished_reason="abort",model_name="tiny"} 2.0 1795355359178
vllm:time_to_first_token_seconds_bucket{engine="0",le="0.25",model_name="tiny"} 42.0
vllm:time_to_first_token_seconds_bucket{engine="0",le="+Inf",model_name="tiny"} 50.0
vllm:time_to_first_token_seconds_bucket{engine="1",le="0.25",model_name="a,\\"b\\" }"} 1.0
vllm:time_to_first_token_seconds_bucket{engine="1",le="+Inf",model_name="a,\\"b\\" }"} 1.0
vllm:time_to_first_token_seconds_count{engine="0",model_name="tiny"} 50.0
vllm:time_to_first_token_seconds_count{engine="1",model_name="tiny"} 1.0
vllm:time_to_first_token_seconds_sum{engine="0",model_name="tiny"} 5.4
vllm:time_to_first_token_seconds_sum{engine="1",model_name="tiny"} 0.1
vllm:time_per_output_token_seconds_count 10
vllm:time_per_output_token_seconds_sum 0.5
"""


def test_a_page_of_vllm_is_read_and_several_engines_count_together() -> None:
    found = counters(samples(PAGE), SERIES, 7.0)
    assert (found.time, found.in_flight, found.tokens, found.finished, found.failed) == (7.0, 9.0, 1600.0, 50.0, 2.0)
    assert found.latencies["ttft"].count == 51.0
    assert found.latencies["ttft"].total == pytest.approx(5.5)
    assert found.latencies["ttft"].buckets == ((0.25, 43.0), (math.inf, 51.0))
    assert found.latencies["itl"].total == 0.5  # by its older name
    assert "tpot" not in found.latencies


STEPS = """\
vllm:iteration_tokens_total_bucket{engine="0",le="8.0"} 40.0
vllm:iteration_tokens_total_bucket{engine="0",le="+Inf"} 48.0
vllm:iteration_tokens_total_count{engine="0"} 48.0
vllm:iteration_tokens_total_sum{engine="0"} 4806.0
vllm:prompt_tokens_total{engine="0"} 3206.0
vllm:prompt_tokens_cached_total{engine="0"} 256.0
vllm:request_prompt_tokens_sum{engine="0"} 3000.0
vllm:request_generation_tokens_sum{engine="0"} 1500.0
"""


def test_the_steps_of_one_engine_are_read_and_of_several_not() -> None:
    engine = counters(samples(PAGE + STEPS), SERIES, 7.0).engine
    assert engine is not None
    assert (engine.steps.count, engine.steps.above(8.0)) == (48.0, 8.0)
    assert (engine.prompt_tokens, engine.cached_tokens, engine.ended_tokens) == (3206.0, 256.0, 4500.0)
    another = 'vllm:iteration_tokens_total_count{engine="1"} 3.0\n'
    assert counters(samples(PAGE + STEPS + another), SERIES, 7.0).engine is None
    assert counters(samples(PAGE), SERIES, 7.0).engine is None


def test_a_page_without_what_is_needed_says_what_is_missing() -> None:
    page = "\n".join(line for line in PAGE.splitlines() if "running" not in line)
    with pytest.raises(UnusableMetrics, match="vllm:num_requests_running not found"):
        counters(samples(page), SERIES, 0.0)


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    with pytest.raises(UnusableMetrics):
        counters(samples(text), SERIES, 0.0)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_number_survives(value: float) -> None:
    assert [sample.value for sample in samples(f'a:b_total{{x="y"}} {value!r}')] == [value]
