"""The engine vLLM: `vllm serve`, its options as fixed arguments, environment variables or searched flags."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from serviceopt_journal.errors import InvalidConfiguration
from serviceopt_journal.metric_table import E2EL, ITL, PREEMPTIONS, TPOT, TTFT, series_of
from serviceoptd.domain.settings import ModelFacts
from serviceoptd.engines.http_engine import HttpEngine, HttpSection
from serviceoptd.engines.interface import ServiceOrder, ServicePlan
from serviceoptd.engines.vllm_flags import NEVER_ANSWERS, SPELLINGS
from serviceoptd.toolkit import arguments, endpoint, provenance
from serviceoptd.toolkit.interface import Options, Refusals, Workplace
from serviceoptd.toolkit.position_checks import refuse_pooling

BUILT_IN = {"MAX_NUM_BATCHED_TOKENS": "--max-num-batched-tokens", "MAX_NUM_SEQS": "--max-num-seqs"}
"""Fields that become flags though their position is `env`, as in the predecessor."""

PARALLEL = (
    "--tensor-parallel-size", "--pipeline-parallel-size", "--data-parallel-size", "--prefill-context-parallel-size",
)  # fmt: skip
POOLS = {
    "--runner": ("pooling",),
    "--convert": ("embed", "classify", "reward"),
    "--task": ("embed", "embedding", "classify", "score", "reward", "pooling", "encode", "token_embed", "plugin"),
    "--override-pooler-config": (),
    "--pooler-config": (),
}
"""Options with which vLLM serves embeddings or the like: of 0.32.0 and, by `--task`, of older ones."""
CHANGES_THE_MODEL = frozenset({"config", "hf_overrides", "cpu_offload_gb", "load_format", "model_impl"})
"""Options after which the model's directory does not tell what lies in the devices' memory."""
QUANTISES = frozenset({"quantization"})

_BLOCKS = re.compile(r'^vllm:cache_config_info\{.*\bnum_gpu_blocks="(\d+)"|GPU blocks: (\d+)', re.MULTILINE)

_BLOCK_SIZE = re.compile(r'^vllm:cache_config_info\{.*\bblock_size="(\d+)"', re.MULTILINE)


class VllmSection(HttpSection):
    """The table `[vllm]` of a configuration."""

    reset_prefix_cache: bool = True  # between measurements; needs vLLM's development mode, so only on loopback


SERIES = {
    **series_of("vllm:", TTFT, TPOT, ITL, E2EL, PREEMPTIONS),
    "tokens": ("vllm:generation_tokens_total",),
    "finished": ("vllm:request_success_total",),
    "running": ("vllm:num_requests_running",),
    "waiting": ("vllm:num_requests_waiting",),
    "kv_usage": ("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc"),
    "steps": ("vllm:iteration_tokens_total",),
    "prompt_tokens": ("vllm:prompt_tokens_total",),
    "cached_tokens": ("vllm:prompt_tokens_cached_total", "vllm:prefix_cache_hits_total"),
    "ended_prompt_tokens": ("vllm:request_prompt_tokens",),
    "ended_output_tokens": ("vllm:request_generation_tokens",),
}
"""Of GET /metrics, in vLLM 0.32.0 and, after the comma, in older ones."""

DEVELOPMENT_MODE = "VLLM_SERVER_DEV_MODE"
"""With it vLLM offers POST /reset_prefix_cache, and other endpoints that no deployment should have."""


class VllmEngine(HttpEngine):
    """`vllm serve MODEL`, ready when GET /health answers 200."""

    name: ClassVar[str] = "vllm"
    section: ClassVar[type[Options]] = VllmSection
    usual_program: ClassVar[str] = "vllm"
    packages: ClassVar[Sequence[str]] = ("vllm", "torch", "torch_npu")
    relevant_variables: ClassVar[Sequence[str]] = (*provenance.CUDA, *provenance.ASCEND)
    field_flags: ClassVar[Mapping[str, str]] = BUILT_IN
    aliases: ClassVar[Mapping[str, str]] = SPELLINGS
    parallel_flags: ClassVar[Sequence[str]] = PARALLEL
    never_answers: ClassVar[Mapping[str, str]] = NEVER_ANSWERS
    report_path: ClassVar[str] = "/metrics"
    series: ClassVar[Mapping[str, Sequence[str]]] = SERIES
    defaults: ClassVar[Mapping[str, Any]] = {
        "target_field": [
            {"name": "MAX_NUM_BATCHED_TOKENS", "config_position": "env", "min": 8192, "max": 65536, "dtype": "int",
             "value": 8192},
            {"name": "MAX_NUM_SEQS", "config_position": "env", "min": 32, "max": 512, "dtype": "int", "value": 64},
            {"name": "CONCURRENCY", "config_position": "env", "min": 1, "max": 1000, "dtype": "int", "value": 100},
            {"name": "REQUESTRATE", "config_position": "env", "min": 0, "max": 0, "dtype": "float", "value": 0},
        ],
    }  # fmt: skip

    options: VllmSection

    def fixed_arguments(self, model: str, port: int) -> list[str]:
        """`serve MODEL` with name, host and port."""
        given = self.options.command
        words = ["serve", model, "--served-model-name", given.served_model_name]
        return [*words, "--host", given.host, "--port", str(port)]

    def refuse(self, values: Mapping[str, object], argv: Sequence[str]) -> None:
        """Refuses fewer tokens in a step than sequences, as vLLM does. Embeddings are not measured."""
        refusals = Refusals()
        with refusals.collected():
            refuse_pooling(argv, POOLS, SPELLINGS)
        if other := arguments.value_of("--model", argv[argv.index("serve") :], SPELLINGS):
            twice = f"the model is given twice: by [vllm.command] model and by --model {other}, which would win"
            hint = "give it in [vllm.command]: it is a part of what a measured value depends on"
            refusals.add(InvalidConfiguration(twice, hint=hint))
        tokens, seqs = (arguments.with_capitals(values).get(name) for name in BUILT_IN)
        if isinstance(tokens, int) and isinstance(seqs, int) and tokens < seqs:
            below = f"MAX_NUM_BATCHED_TOKENS ({tokens}) must not be below MAX_NUM_SEQS ({seqs}): vLLM refuses that"
            hint = "raise the lower bound of MAX_NUM_BATCHED_TOKENS, or lower the upper one of MAX_NUM_SEQS"
            refusals.add(InvalidConfiguration(below, hint=hint))
        refusals.tell()

    def plan(self, order: ServiceOrder) -> ServicePlan:
        """The base's plan; while it is measured, and only on loopback, with the mode in which its cache can be reset."""
        plan = super().plan(order)
        resettable = self.options.reset_prefix_cache and endpoint.is_loopback(self.options.command.host)
        if plan.command is None or not resettable or plan.command.environment.get(DEVELOPMENT_MODE, "1") != "1":
            return plan
        command = replace(plan.command, measuring_environment={DEVELOPMENT_MODE: "1"})
        return replace(plan, command=command, reset_cache=self.probe("/reset_prefix_cache", "POST"))

    def model_facts(self, workplace: Workplace) -> ModelFacts:
        """The options alone where one of them changes what is loaded."""
        return self.described(workplace, changing=CHANGES_THE_MODEL, quantising=QUANTISES, needs_a_whole_sequence=True)

    def kv_block_size(self, report: str) -> int | None:
        """The tokens of a KV block, by /metrics; older releases do not log it."""
        found = _BLOCK_SIZE.search(report)
        return int(found[1]) if found else None

    def kv_blocks(self, report: str) -> int | None:
        """The blocks of the KV cache by /metrics, or by a log line; of several data-parallel engines the first one's."""
        found = _BLOCKS.search(report)
        return int(found[1] or found[2]) if found else None
