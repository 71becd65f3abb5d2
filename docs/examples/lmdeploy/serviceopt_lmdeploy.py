"""The engine `lmdeploy`: `lmdeploy serve api_server`, its options as fixed arguments or searched flags."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from serviceoptd.engines.http_engine import HttpCommand, HttpEngine, HttpSection
from serviceoptd.toolkit.endpoint import Port
from serviceoptd.toolkit.interface import Options


class LmdeployCommand(HttpCommand):
    """`[lmdeploy.command]`: the keys of every such engine, with LMDeploy's usual port."""

    port: Port = 23333


class LmdeploySection(HttpSection):
    """`[lmdeploy]`."""

    command: LmdeployCommand = LmdeployCommand()


class LmdeployEngine(HttpEngine):
    """Ready when GET /health answers 200."""

    name: ClassVar[str] = "lmdeploy"
    section: ClassVar[type[Options]] = LmdeploySection
    defaults: ClassVar[Mapping[str, Any]] = {
        "target_field": [
            {"name": "MAX_BATCH_SIZE", "config_position": "env", "dtype": "int", "min": 16, "max": 512, "value": 128},
            {"name": "CACHE_MAX_ENTRY_COUNT", "config_position": "env", "dtype": "float", "min": 0.5, "max": 0.9,
             "value": 0.8},
            {"name": "CONCURRENCY", "config_position": "env", "dtype": "int", "min": 1, "max": 1000, "value": 100},
        ]
    }  # fmt: skip
    usual_program: ClassVar[str] = "lmdeploy"
    packages: ClassVar[Sequence[str]] = ("lmdeploy", "torch")
    field_flags: ClassVar[Mapping[str, str]] = {
        "MAX_BATCH_SIZE": "--max-batch-size",
        "CACHE_MAX_ENTRY_COUNT": "--cache-max-entry-count",
        "MAX_PREFILL_TOKEN_NUM": "--max-prefill-token-num",
    }
    parallel_flags: ClassVar[Sequence[str]] = ("--tp",)
    series: ClassVar[Mapping[str, Sequence[str]]] = {
        "ttft": ("lmdeploy:time_to_first_token_seconds",),
        "e2el": ("lmdeploy:e2e_request_latency_seconds",),
        "tokens": ("lmdeploy:generation_tokens_total",),
        "finished": ("lmdeploy:request_success_total",),
        "running": ("lmdeploy:num_requests_running",),
        "waiting": ("lmdeploy:num_requests_waiting",),
    }

    def fixed_arguments(self, model: str, port: int) -> list[str]:
        """`serve api_server MODEL` with name, host and port."""
        given = self.options.command
        words = ["serve", "api_server", model, "--model-name", given.served_model_name]
        return [*words, "--server-name", given.host, "--server-port", str(port)]
