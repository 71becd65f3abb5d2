"""The latencies of a benchmark: their names here, on a screen and in a configuration. The one place that maps them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

MetricName = Literal["ttft", "tpot", "e2el"]
"""Of `Metrics`; all in seconds. Time to first token, time per output token after it, end to end."""


@dataclass(frozen=True)
class LatencyMetric:
    """A latency that an objective can limit."""

    title: str  # on a screen and in messages
    slo_key: str  # of the configuration, as the predecessor called it
    largest_limit: float  # seconds


LATENCY_METRICS: Mapping[MetricName, LatencyMetric] = {
    "ttft": LatencyMetric("TTFT", "ttft_slo", 100.0),
    "tpot": LatencyMetric("TPOT", "tpot_slo", 100.0),
    "e2el": LatencyMetric("end-to-end latency", "e2e_slo", 86400.0),
}

ALL_LATENCIES = ("ttft", "tpot", "itl", "e2el")
"""With the gaps between tokens, which are measured but not limited."""
