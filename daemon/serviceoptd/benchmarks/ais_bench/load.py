"""What the load and the objective of a measurement ask of the model's configuration. Pure."""

from __future__ import annotations

from serviceopt_journal.errors import InvalidConfiguration
from serviceopt_journal.metric_table import TPOT, TTFT
from serviceoptd.benchmarks.ais_bench.model import ModelFile
from serviceoptd.benchmarks.interface import MeasurementOrder

LEAST_RATE = 0.001  # requests/s; AISBench takes less for no limit


def refuse_unsuitable(model: ModelFile, order: MeasurementOrder) -> None:
    """Raises InvalidConfiguration where this file cannot give what is asked for."""
    limited = {slo.metric for slo in order.objective.slos} & {TTFT, TPOT}
    if limited and model.stated("stream") is False:
        raise InvalidConfiguration(
            f"{model.name} has stream=False: without streaming there is no {' and no '.join(sorted(limited))}",
            hint="take a model configuration that streams, such as vllm_api_stream_chat",
        )
    if order.request_rate is not None and model.stated("use_timestamp"):
        raise InvalidConfiguration(
            f"{model.name} has use_timestamp=True, so the request rate would be ignored",
            hint="set it to False, or do not search REQUESTRATE",
        )
    if order.request_rate is not None and order.request_rate < LEAST_RATE:
        raise InvalidConfiguration(
            f"AISBench takes a request rate of {order.request_rate:g}/s as unlimited", hint=f"at least {LEAST_RATE:g}/s"
        )
