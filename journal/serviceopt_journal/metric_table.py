"""What a benchmark measures, a row for each metric: how it is called in every place. The one place that spells it. Pure.

An engine's series and a client's keys stand here too, so that a reader sees all names of a metric beside each other. What
differs between two engines stays with them: the prefix (`vllm:`), and which of the series they have. Engines and clients
of plugins bring their own names.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Final, Literal, cast

import msgspec

LatencyName = Literal["ttft", "tpot", "itl", "e2el"]
"""The latencies of `Metrics`, in seconds."""

MetricName = Literal["ttft", "tpot", "e2el"]
"""The latencies that an objective can limit; the gaps between tokens are measured but not limited."""

Goal = Literal["generate_speed", "throughput", "goodput"]
"""What an objective can maximise."""

RateName = Literal["generate_speed", "throughput"]
"""The rates that every client tells."""

Unit = Literal["output tokens/s", "requests/s", "0..1", "s", "requests", "tokens", "sequences"]

TTFT: Final = "ttft"
TPOT: Final = "tpot"
ITL: Final = "itl"
E2EL: Final = "e2el"
GENERATE_SPEED: Final = "generate_speed"
THROUGHPUT: Final = "throughput"
GOODPUT: Final = "goodput"
SUCCESS_RATE: Final = "success_rate"
COMPLETED: Final = "completed"
FAILED: Final = "failed"
DURATION: Final = "duration"
INPUT_TOKENS: Final = "input_tokens"
OUTPUT_TOKENS: Final = "output_tokens"
PREEMPTIONS: Final = "preemptions"


class ResultKeys(msgspec.Struct, frozen=True):
    """Where a client's result tells a metric. Of several names the first that is there counts."""

    names: tuple[str, ...]  # `{statistic}` stands for one, such as `mean` or `p99`
    unit: str = ""  # of a latency; empty: the client writes it beside the number

    def name_in(self, told: Container[str]) -> str:
        """The name that counts in this result; the first one where none is there."""
        return next((name for name in self.names if name in told), self.names[0])

    def pattern(self) -> str:
        """A regular expression for the first name, with one group: the statistic."""
        before, _, after = self.names[0].partition("{statistic}")
        return f"{before}(mean|median|p\\d+(?:\\.\\d+)?){after}"


class Limit(msgspec.Struct, frozen=True):
    """How a configuration limits a latency."""

    key: str  # as the predecessor called it
    largest: float  # seconds


class Metric(msgspec.Struct, frozen=True, kw_only=True):
    """A number that a benchmark tells, or of a latency several statistics, and its names."""

    key: str  # the field of `Metrics`: of events, of the API, of `[command.client] metrics` and of `series`
    name: str  # as the field calls it
    unit: Unit
    label: str  # in a list on a screen
    abbreviation: str = ""  # of a latency, as clients and articles write it
    title: str = ""  # in a sentence on a screen; of a latency
    column: str = ""  # of the CSV and the SQL views: of a latency its mean. Empty: none
    predecessors: bool = False  # the column: it stands before the target fields, the others among our own
    older_columns: tuple[str, ...] = ()  # what releases of the predecessor called it
    limit: Limit | None = None
    series: tuple[str, ...] = ()  # of GET /metrics behind the engine's prefix; the newest name first
    results: Mapping[str, ResultKeys] = {}  # by client


METRICS: tuple[Metric, ...] = (
    Metric(
        key=GENERATE_SPEED,
        name="output tokens per second",
        unit="output tokens/s",
        label="output",
        column="generate_speed",
        predecessors=True,
        results={
            "vllm_benchmark": ResultKeys(("output_throughput",)),
            "ais_bench": ResultKeys(("Output Token Throughput",)),
        },
    ),
    Metric(
        key=TTFT,
        name="time to first token",
        unit="s",
        label="TTFT",
        abbreviation="TTFT",
        title="TTFT",
        column="time_to_first_token",
        predecessors=True,
        older_columns=("first_token_latency",),
        limit=Limit("ttft_slo", 100.0),
        series=("time_to_first_token_seconds",),
        results={
            "vllm_benchmark": ResultKeys(("{statistic}_ttft_ms",), "ms"),
            "ais_bench": ResultKeys(("TTFT",)),
            "guidellm": ResultKeys(("time_to_first_token_ms",), "ms"),
        },
    ),
    Metric(
        key=TPOT,
        name="time per output token after the first",
        unit="s",
        label="TPOT",
        abbreviation="TPOT",
        title="TPOT",
        column="time_per_output_token",
        predecessors=True,
        limit=Limit("tpot_slo", 100.0),
        series=("request_time_per_output_token_seconds",),
        results={
            "vllm_benchmark": ResultKeys(("{statistic}_tpot_ms",), "ms"),
            "ais_bench": ResultKeys(("TPOT",)),
            "guidellm": ResultKeys(("inter_token_latency_ms",), "ms"),
        },
    ),
    Metric(
        key=ITL,
        name="inter-token latency",
        unit="s",
        label="between tokens",
        abbreviation="ITL",
        title="inter-token latency",
        older_columns=("inter_token_latency",),
        series=("inter_token_latency_seconds", "time_per_output_token_seconds"),
        results={
            "vllm_benchmark": ResultKeys(("{statistic}_itl_ms",), "ms"),
            "ais_bench": ResultKeys(("ITL",)),
        },
    ),
    Metric(
        key=E2EL,
        name="end-to-end latency",
        unit="s",
        label="end to end",
        abbreviation="E2EL",
        title="end-to-end latency",
        older_columns=("e2e_latency",),
        limit=Limit("e2e_slo", 86400.0),
        series=("e2e_request_latency_seconds",),
        results={
            "vllm_benchmark": ResultKeys(("{statistic}_e2el_ms",), "ms"),
            "ais_bench": ResultKeys(("E2EL",)),
            "guidellm": ResultKeys(("request_latency",), "s"),
        },
    ),
    Metric(
        key=SUCCESS_RATE,
        name="completed of sent requests",
        unit="0..1",
        label="success rate",
        column="success_rate",
        predecessors=True,
    ),
    Metric(
        key=THROUGHPUT,
        name="completed requests per second",
        unit="requests/s",
        label="requests",
        column="throughput",
        predecessors=True,
        results={
            "vllm_benchmark": ResultKeys(("request_throughput",)),
            "ais_bench": ResultKeys(("Request Throughput",)),
        },
    ),
    Metric(
        key=GOODPUT,
        name="requests per second that met every SLO",
        unit="requests/s",
        label="goodput",
        column="goodput",
        # the second one in vLLM up to 0.9.1, and in copies that were made then
        results={"vllm_benchmark": ResultKeys(("request_goodput", "request_goodput:"))},
    ),
    Metric(
        key=COMPLETED,
        name="completed requests",
        unit="requests",
        label="completed",
        results={"vllm_benchmark": ResultKeys(("completed",)), "ais_bench": ResultKeys(("Success Requests",))},
    ),
    Metric(
        key=FAILED,
        name="failed requests",
        unit="requests",
        label="failed",
        results={"vllm_benchmark": ResultKeys(("failed",)), "ais_bench": ResultKeys(("Failed Requests",))},
    ),
    Metric(
        key=DURATION,
        name="length of the measured part",
        unit="s",
        label="duration",
        results={"vllm_benchmark": ResultKeys(("duration",)), "ais_bench": ResultKeys(("Benchmark Duration",))},
    ),
    Metric(
        key=INPUT_TOKENS,
        name="tokens of all prompts",
        unit="tokens",
        label="input tokens",
        results={
            "vllm_benchmark": ResultKeys(("total_input_tokens",)),
            "ais_bench": ResultKeys(("Total Input Tokens",)),
        },
    ),
    Metric(
        key=OUTPUT_TOKENS,
        name="tokens of all answers",
        unit="tokens",
        label="output tokens",
        results={
            "vllm_benchmark": ResultKeys(("total_output_tokens",)),
            # the documentation calls it Output, the program Generated
            "ais_bench": ResultKeys(("Total Generated Tokens", "Total Output Tokens")),
        },
    ),
    Metric(
        key=PREEMPTIONS,
        name="preempted sequences in the service",
        unit="sequences",
        label="preemptions",
        series=("num_preemptions_total",),
    ),
)
"""Every metric. The columns of the CSV are in this order."""

METRIC: Mapping[str, Metric] = {metric.key: metric for metric in METRICS}
"""A row by its key."""

ALL_LATENCIES = cast(tuple[LatencyName, ...], tuple(metric.key for metric in METRICS if metric.abbreviation))

LIMITS: Mapping[MetricName, Limit] = {
    cast(MetricName, metric.key): metric.limit for metric in METRICS if metric.limit is not None
}
"""The latencies that an objective can limit."""

PREDECESSORS_COLUMNS = tuple(metric.column for metric in METRICS if metric.predecessors)
OWN_METRIC_COLUMNS = tuple(metric.column for metric in METRICS if metric.column and not metric.predecessors)


def reading(latency: LatencyName, statistic: str) -> str:
    """The name of one number in documents and events, such as `ttft p99`."""
    return f"{latency} {statistic}"


def in_words(statistic: str, latency: LatencyName) -> str:
    """One number of a latency in a sentence, such as `mean TTFT` and `p99 end-to-end latency`."""
    return f"{statistic} {METRIC[latency].title}"


def keys_in_results(client: str) -> dict[str, ResultKeys]:
    """Where the results of a client of ours tell which metric."""
    return {metric.key: metric.results[client] for metric in METRICS if client in metric.results}


def series_of(prefix: str, *keys: str) -> dict[str, tuple[str, ...]]:
    """The series of an engine that exports these metrics by their usual names behind its prefix."""
    return {key: tuple(prefix + name for name in METRIC[key].series) for key in keys}
