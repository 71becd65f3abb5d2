"""SGLang: `python3 -m sglang.launch_server`. Written as a third party would: docs/plugins.md.

After SGLang's documentation ("Server Arguments", "Hyperparameter Tuning" and "SGLang Native APIs" on docs.sglang.io) and its
`entrypoints/http_server.py`: GET /health generates one token and answers 200, or 503 while the server starts; POST
/flush_cache forgets the cached prefixes while nothing runs; GET /get_server_info tells what the server decided itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from serviceopt_journal.errors import InvalidConfiguration
from serviceopt_journal.foreign_text import whole_number
from serviceopt_journal.metric_table import E2EL, ITL, TTFT, series_of
from serviceoptd.domain.settings import ModelFacts
from serviceoptd.engines.http_engine import HttpCommand, HttpEngine, HttpSection
from serviceoptd.engines.interface import ServiceOrder, ServicePlan
from serviceoptd.engines.sglang_flags import NEVER_ANSWERS, SPELLINGS
from serviceoptd.toolkit import arguments, endpoint, provenance
from serviceoptd.toolkit.interface import Options, Refusals, Workplace
from serviceoptd.toolkit.position_checks import refuse_pooling

FLAG_OF = {
    "MAX_NUM_SEQS": "--max-running-requests",
    "MAX_RUNNING_REQUESTS": "--max-running-requests",
    "CHUNKED_PREFILL_SIZE": "--chunked-prefill-size",
    "MAX_PREFILL_TOKENS": "--max-prefill-tokens",
    "MAX_TOTAL_TOKENS": "--max-total-tokens",
    "MEM_FRACTION_STATIC": "--mem-fraction-static",
    "SCHEDULE_CONSERVATIVENESS": "--schedule-conservativeness",
    "SCHEDULE_POLICY": "--schedule-policy",
}
"""Fields that become flags though their position is `env`. MAX_NUM_SEQS is what other engines call the same."""

PARALLEL = ("--tensor-parallel-size", "--pipeline-parallel-size", "--data-parallel-size")
SHARED_DATA_PARALLEL = "--enable-dp-attention"
CHANGES_THE_MODEL = frozenset({"config", "json_model_override_args", "cpu_offload_gb", "load_format", "model_impl"})
"""Options after which the model's directory does not tell what lies in the devices' memory."""
QUANTISES = frozenset({"quantization", "torchao_config"})
SERIES = {
    **series_of("sglang:", TTFT, ITL, E2EL),
    "tokens": ("sglang:generation_tokens_total",),
    "finished": ("sglang:num_requests_total",),
    "running": ("sglang:num_running_reqs",),
    "waiting": ("sglang:num_queue_reqs",),
    "kv_usage": ("sglang:token_usage",),
    "prompt_tokens": ("sglang:prompt_tokens_total",),
}
"""Of GET /metrics, which is there with --enable-metrics ("Production Metrics" in SGLang's documentation)."""
METRICS_FLAG = "--enable-metrics"

_TOKENS = re.compile(r"max_total_num_tokens\W{1,3}(\d+)")
_PAGE = re.compile(r"page_size\W{1,3}(\d+)")


class SglangCommand(HttpCommand):
    """The table `[sglang.command]` of a configuration."""

    port: endpoint.Port = 30000


class SglangSection(HttpSection):
    """The table `[sglang]` of a configuration. `program` is the Python that has SGLang, `python3` where none is given."""

    command: SglangCommand = SglangCommand()
    flush_cache: bool = True  # between measurements of one service


class SglangEngine(HttpEngine):
    """`python3 -m sglang.launch_server`, ready when GET /health answers 200."""

    name: ClassVar[str] = "sglang"
    section: ClassVar[type[Options]] = SglangSection
    usual_program: ClassVar[str] = "python3"
    packages: ClassVar[Sequence[str]] = ("sglang", "sgl_kernel", "torch")
    relevant_variables: ClassVar[Sequence[str]] = ("SGL_*", *provenance.CUDA, *provenance.ASCEND)
    field_flags: ClassVar[Mapping[str, str]] = FLAG_OF
    aliases: ClassVar[Mapping[str, str]] = SPELLINGS
    parallel_flags: ClassVar[Sequence[str]] = PARALLEL
    never_answers: ClassVar[Mapping[str, str]] = NEVER_ANSWERS
    report_path: ClassVar[str] = "/get_server_info"
    reset_path: ClassVar[str] = "/flush_cache"
    series: ClassVar[Mapping[str, Sequence[str]]] = SERIES
    defaults: ClassVar[Mapping[str, Any]] = {
        "target_field": [
            {"name": "MAX_NUM_SEQS", "config_position": "env", "min": 16, "max": 1024, "dtype": "int", "value": 256},
            {"name": "CHUNKED_PREFILL_SIZE", "config_position": "env", "min": 1024, "max": 16384, "dtype": "range",
             "dtype_param": 1024, "value": 8192},
            {"name": "MEM_FRACTION_STATIC", "config_position": "env", "min": 0.70, "max": 0.92, "dtype": "range",
             "dtype_param": 0.02, "value": 0.88},
            {"name": "CONCURRENCY", "config_position": "env", "min": 1, "max": 1000, "dtype": "int", "value": 100},
            {"name": "REQUESTRATE", "config_position": "env", "min": 0, "max": 0, "dtype": "float", "value": 0},
        ],
    }  # fmt: skip

    options: SglangSection

    def fixed_arguments(self, model: str, port: int) -> list[str]:
        """The module to run, with model, name, host and port."""
        given = self.options.command
        words = ["-m", "sglang.launch_server", "--model-path", model, "--served-model-name", given.served_model_name]
        return [*words, "--host", given.host, "--port", str(port)]

    def refuse(self, values: Mapping[str, object], argv: Sequence[str]) -> None:
        """SGLang asserts at its start that a chunk is a whole number of pages. Embeddings are not measured."""
        refusals = Refusals()
        with refusals.collected():
            refuse_pooling(argv, {"--is-embedding": ()}, SPELLINGS)
        sizes = ("--chunked-prefill-size", "--page-size")
        chunk, page = (whole_number(arguments.value_of(flag, argv, SPELLINGS) or "") for flag in sizes)
        if chunk is not None and page and chunk % page:
            uneven = f"--chunked-prefill-size {chunk} is not a multiple of --page-size {page}: SGLang refuses that"
            hint = "make CHUNKED_PREFILL_SIZE a `range` whose step and bounds are multiples of the page size"
            refusals.add(InvalidConfiguration(uneven, hint=hint))
        refusals.tell()

    def plan(self, order: ServiceOrder) -> ServicePlan:
        """The base's plan, without the resets that are switched off and the metrics that are not switched on."""
        plan = super().plan(order)
        every = self.every_option(plan.command.argv, order.workplace) if plan.command else []
        told = _has(METRICS_FLAG, every)
        reset = plan.reset_cache if self.options.flush_cache else None
        return replace(plan, reset_cache=reset, metrics=plan.metrics if told else None)

    def model_facts(self, workplace: Workplace) -> ModelFacts:
        """The options alone where one of them changes what is loaded. Long sequences need not fit as a whole."""
        return self.described(workplace, changing=CHANGES_THE_MODEL, quantising=QUANTISES, needs_a_whole_sequence=False)

    def kv_block_size(self, report: str) -> int | None:
        """The number of tokens in a page of the KV cache."""
        page = _PAGE.search(report)
        return int(page[1]) if page and int(page[1]) > 0 else None

    def kv_blocks(self, report: str) -> int | None:
        """Pages of the KV cache: its tokens / tokens of a page (1, where the server does not tell)."""
        tokens, page = _TOKENS.search(report), _PAGE.search(report)
        return int(tokens[1]) // max(1, int(page[1]) if page else 1) if tokens else None

    def parallel(self, words: Sequence[str]) -> Sequence[str]:
        """The flags whose values multiply to the devices; attention in data parallel shares the tensor parallel ones."""
        return PARALLEL[:2] if _has(SHARED_DATA_PARALLEL, words) else PARALLEL


def _has(flag: str, words: Sequence[str]) -> bool:
    return any(arguments.flag_of(word, SPELLINGS) == flag for word in words)
