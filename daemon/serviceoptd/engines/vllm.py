"""vLLM: `vllm serve`, its options as fixed arguments, environment variables or searched flags."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import prod
from typing import Any, ClassVar

from serviceopt_journal.errors import InvalidConfiguration
from serviceopt_journal.events import Configuration
from serviceoptd.domain.settings import LOAD_NAMES, Field, ModelFacts
from serviceoptd.engines.interface import ServiceOrder, ServicePlan
from serviceoptd.toolkit import arguments, endpoint, program, provenance
from serviceoptd.toolkit.interface import HttpProbe, MetricsPage, Options, Problem, ProcessOptions, Workplace, render
from serviceoptd.toolkit.model_facts import model_facts
from serviceoptd.toolkit.position_checks import refuse_dotted_positions, refuse_searched_service
from serviceoptd.toolkit.secrets import mask_argv

BUILT_IN = {"MAX_NUM_BATCHED_TOKENS": "--max-num-batched-tokens", "MAX_NUM_SEQS": "--max-num-seqs"}
"""Fields that become flags though their position is `env`, as in the predecessor."""

ALIASES = {
    "-tp": "--tensor-parallel-size",
    "-pp": "--pipeline-parallel-size",
    "-dp": "--data-parallel-size",
    "-q": "--quantization",
    "-cc": "--compilation-config",
    "-ac": "--attention-config",
    "-sc": "--speculative-config",
    "-asc": "--api-server-count",
    "-dcp": "--decode-context-parallel-size",
    "-pcp": "--prefill-context-parallel-size",
}
PARALLEL = ("--tensor-parallel-size", "--pipeline-parallel-size", "--data-parallel-size")
CHANGES_THE_MODEL = frozenset({"config", "hf_overrides", "cpu_offload_gb", "load_format", "model_impl"})
"""Options after which the model's directory does not tell what lies in the devices' memory."""
PACKAGES = ("vllm", "torch", "torch_npu")

_BLOCKS = re.compile(r'^vllm:cache_config_info\{.*\bnum_gpu_blocks="(\d+)"|GPU blocks: (\d+)', re.MULTILINE)


class VllmCommand(Options):
    """`[vllm.command]`."""

    host: str = "127.0.0.1"
    port: endpoint.Port = "port"
    model: str = "model_path"
    served_model_name: str = "model_name"
    others: arguments.Words = ""


class VllmSection(ProcessOptions):
    """`[vllm]`."""

    command: VllmCommand = VllmCommand()
    reset_prefix_cache: bool = True  # between measurements; needs vLLM's development mode, so only on loopback


SERIES = {
    "ttft": ("vllm:time_to_first_token_seconds",),
    "tpot": ("vllm:request_time_per_output_token_seconds",),
    "itl": ("vllm:inter_token_latency_seconds", "vllm:time_per_output_token_seconds"),
    "e2el": ("vllm:e2e_request_latency_seconds",),
    "tokens": ("vllm:generation_tokens_total",),
    "finished": ("vllm:request_success_total",),
    "running": ("vllm:num_requests_running",),
    "waiting": ("vllm:num_requests_waiting",),
    "preemptions": ("vllm:num_preemptions_total",),
    "steps": ("vllm:iteration_tokens_total",),
    "prompt_tokens": ("vllm:prompt_tokens_total",),
    "cached_tokens": ("vllm:prompt_tokens_cached_total", "vllm:prefix_cache_hits_total"),
    "ended_prompt_tokens": ("vllm:request_prompt_tokens",),
    "ended_output_tokens": ("vllm:request_generation_tokens",),
}
"""Of GET /metrics, in vLLM 0.32.0 and, after the comma, in older ones."""

DEVELOPMENT_MODE = "VLLM_SERVER_DEV_MODE"
"""With it vLLM offers POST /reset_prefix_cache, and other endpoints that no deployment should have."""


class VllmEngine:
    """`vllm serve MODEL`, ready when GET /health answers 200."""

    name: ClassVar[str] = "vllm"
    section: ClassVar[type[Options]] = VllmSection
    defaults: ClassVar[Mapping[str, Any]] = {
        "target_field": [
            {"name": "MAX_NUM_BATCHED_TOKENS", "config_position": "env", "min": 8192, "max": 65536, "dtype": "int",
             "value": 8192},
            {"name": "MAX_NUM_SEQS", "config_position": "env", "min": 32, "max": 512, "dtype": "int", "value": 64},
            {"name": "CONCURRENCY", "config_position": "env", "min": 1, "max": 1000, "dtype": "int", "value": 100},
            {"name": "REQUESTRATE", "config_position": "env", "min": 0, "max": 0, "dtype": "float", "value": 0},
        ],
    }  # fmt: skip

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.options = VllmSection.model_validate(options)

    def plan(self, order: ServiceOrder) -> ServicePlan:
        """The `vllm serve` command line; raises InvalidConfiguration as the interface says."""
        given = self.options.command
        port = endpoint.port_number(given.port, "vllm.command.port")
        host = endpoint.reachable(given.host)
        ready, report = HttpProbe(host, port, "/health"), HttpProbe(host, port, "/metrics")
        refuse_dotted_positions(order.fields, self.name)
        if not order.managed:
            refuse_searched_service(order.fields, self.name)
            return ServicePlan(command=None, ready=ready, report=report)
        values = _service_values(order.fields, order.configuration)
        environment = program.section_environment(self.options, order.workplace, values)
        environment |= arguments.field_environment(order.fields, order.configuration, load=False)
        resettable = self.options.reset_prefix_cache and endpoint.is_loopback(given.host)
        resettable = resettable and environment.get(DEVELOPMENT_MODE, "1") == "1"
        command = program.command(self._argv(order, values), self.options, order.workplace, environment)
        return ServicePlan(
            command=replace(command, measuring_environment={DEVELOPMENT_MODE: "1"}) if resettable else command,
            ready=ready,
            listens_on=(given.host, port),
            stop=program.stop_command(self.options, order.workplace, environment, values),
            reset_cache=HttpProbe(host, port, "/reset_prefix_cache", method="POST") if resettable else None,
            report=report,
            metrics=MetricsPage(report, SERIES),
        )

    def problems(self, workplace: Workplace, managed: bool = True) -> list[Problem]:
        """As the interface says. `managed` false: nothing that only a launch needs is asked for."""
        given = self.options.command
        problems = endpoint.port_problem(given.port, "vllm.command.port")
        if not managed:
            return problems
        problems += endpoint.placeholder_problem(
            given.model, "model_path", "vllm.command.model", "the model's directory, or its name on the hub"
        )
        problems += endpoint.placeholder_problem(
            given.served_model_name, "model_name", "vllm.command.served_model_name", "the name that clients ask for"
        )
        problems += program.model_problems(given.model, "vllm.command.model", workplace)
        return problems + program.program_problems(self.name, self._program, self.options, workplace)

    def identity(self, workplace: Workplace) -> dict[str, str]:
        """Versions, model, fixed arguments and environment."""
        own = provenance.safely_read_environment(self.options, workplace)
        return {
            "version": provenance.program_version(self._program, workplace, PACKAGES),
            "model": provenance.model_identity(self.options.command.model, workplace),
            "others": " ".join(mask_argv(arguments.split(self.options.command.others))),
            "environment": provenance.relevant_environment(workplace, own),
        }

    def model_facts(self, workplace: Workplace) -> ModelFacts:
        """Nothing but the options where one of them changes what is loaded."""
        given = arguments.options(arguments.split(self.options.command.others), ALIASES)
        if CHANGES_THE_MODEL & given.keys():
            return ModelFacts(arguments=given)
        directory = workplace.working_directory / program.located(self.options.command.model, workplace)
        quantised_here = "quantization" in given
        return model_facts(directory, given, needs_a_whole_sequence=True, quantised_here=quantised_here)

    def kv_blocks(self, report: str) -> int | None:
        """From /metrics, or from a log line; of several data-parallel engines the first one's."""
        found = _BLOCKS.search(report)
        return int(found[1] or found[2]) if found else None

    def devices(self, configuration: Configuration, fields: Sequence[Field] = ()) -> int:
        """Tensor x pipeline x data parallel size, from flags in `others`, `argument:` fields or fields of that name."""
        words = arguments.filled(arguments.split(self.options.command.others), configuration)
        words += arguments.field_arguments(fields, configuration, load=False)
        named = {name.lower().replace("_", "-"): render(value) for name, value in configuration.items()}
        sizes = (
            named.get(flag.removeprefix("--"), arguments.value_of(flag, words, ALIASES) or "1") for flag in PARALLEL
        )
        return prod(max(1, int(size)) if size.isdecimal() else 1 for size in sizes)

    @property
    def _program(self) -> str:
        return self.options.program or "vllm"

    def _argv(self, order: ServiceOrder, values: Mapping[str, object]) -> list[str]:
        given, configuration = self.options.command, order.configuration
        tokens, seqs = (values.get(name) for name in BUILT_IN)
        if isinstance(tokens, int) and isinstance(seqs, int) and tokens < seqs:
            raise InvalidConfiguration(
                f"MAX_NUM_BATCHED_TOKENS ({tokens}) must not be below MAX_NUM_SEQS ({seqs}): vLLM refuses that",
                hint="raise the lower bound of MAX_NUM_BATCHED_TOKENS, or lower the upper one of MAX_NUM_SEQS",
            )
        model = program.located(given.model, order.workplace)
        fixed = ["serve", model, "--served-model-name", given.served_model_name, "--host", given.host]
        fixed += ["--port", str(endpoint.port_number(given.port, "vllm.command.port"))]
        positions = {field.name: field.config_position for field in order.fields}
        built_in = [
            word
            for name, flag in BUILT_IN.items()
            if name in configuration and positions.get(name, "env") == "env"
            for word in (flag, render(configuration[name]))
        ]
        searched = arguments.field_arguments(order.fields, configuration, load=False)
        others = arguments.filled(arguments.split(given.others), values)
        if used := arguments.references(others, LOAD_NAMES):
            raise InvalidConfiguration(
                f"${used[0]} in [vllm.command] others: the service keeps running when its load changes",
                hint="use it in the client's `others`",
            )
        parts = {"[vllm.command]": fixed, " and ".join(BUILT_IN): built_in, "others": others}
        for field in order.fields:
            parts[f"target_field {field.name}"] = arguments.field_arguments([field], configuration, load=False)
        arguments.refuse_doubled(parts, ALIASES)
        return [self._program, *fixed, *built_in, *searched, *others]


def _service_values(fields: Sequence[Field], configuration: Configuration) -> dict[str, object]:
    load = {field.name for field in fields if field.load} | LOAD_NAMES
    return {name: value for name, value in configuration.items() if name not in load}
