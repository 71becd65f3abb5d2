"""SGLang: `python3 -m sglang.launch_server`. Written as a third party would: docs/plugins.md.

After SGLang's documentation ("Server Arguments", "Hyperparameter Tuning" and "SGLang Native APIs" on docs.sglang.io) and its
`entrypoints/http_server.py`: GET /health generates one token and answers 200, or 503 while the server starts; POST
/flush_cache forgets the cached prefixes while nothing runs; GET /get_server_info tells what the server decided itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
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

ALIASES = {
    "--model": "--model-path",
    "--tp": "--tensor-parallel-size",
    "--tp-size": "--tensor-parallel-size",
    "--pp-size": "--pipeline-parallel-size",
    "--dp": "--data-parallel-size",
    "--dp-size": "--data-parallel-size",
}
PARALLEL = ("--tensor-parallel-size", "--pipeline-parallel-size", "--data-parallel-size")
SHARED_DATA_PARALLEL = "--enable-dp-attention"
"""With it the data parallel groups share the devices of the tensor parallel ones."""
CHANGES_THE_MODEL = frozenset({"config", "json_model_override_args", "cpu_offload_gb", "load_format", "model_impl"})
"""Options after which the model's directory does not tell what lies in the devices' memory."""
SERIES = {
    "ttft": ("sglang:time_to_first_token_seconds",),
    "itl": ("sglang:inter_token_latency_seconds", "sglang:time_per_output_token_seconds"),
    "e2el": ("sglang:e2e_request_latency_seconds",),
    "tokens": ("sglang:generation_tokens_total",),
    "finished": ("sglang:num_requests_total",),
    "running": ("sglang:num_running_reqs",),
    "waiting": ("sglang:num_queue_reqs",),
}
"""Of GET /metrics, which is there with --enable-metrics ("Production Metrics" in SGLang's documentation)."""
METRICS_FLAG = "--enable-metrics"
PACKAGES = ("sglang", "sgl_kernel", "torch")

_TOKENS = re.compile(r"max_total_num_tokens\W{1,3}(\d+)")
_PAGE = re.compile(r"page_size\W{1,3}(\d+)")


class SglangCommand(Options):
    """`[sglang.command]`."""

    host: str = "127.0.0.1"
    port: endpoint.Port = 30000
    model: str = "model_path"
    served_model_name: str = "model_name"
    others: arguments.Words = ""


class SglangSection(ProcessOptions):
    """`[sglang]`. `program` is the Python that has SGLang, `python3` where none is given."""

    command: SglangCommand = SglangCommand()
    flush_cache: bool = True  # between measurements of one service


class SglangEngine:
    """`python3 -m sglang.launch_server`, ready when GET /health answers 200."""

    name: ClassVar[str] = "sglang"
    section: ClassVar[type[Options]] = SglangSection
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

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.options = SglangSection.model_validate(options)

    def plan(self, order: ServiceOrder) -> ServicePlan:
        """The command line of the server; raises InvalidConfiguration as the interface says."""
        given = self.options.command
        port, host = endpoint.port_number(given.port, "sglang.command.port"), endpoint.reachable(given.host)
        ready, report = HttpProbe(host, port, "/health"), HttpProbe(host, port, "/get_server_info")
        refuse_dotted_positions(order.fields, self.name)
        if not order.managed:
            refuse_searched_service(order.fields, self.name)
            return ServicePlan(command=None, ready=ready, report=report)
        load = {field.name for field in order.fields if field.load} | LOAD_NAMES
        values: dict[str, object] = {name: value for name, value in order.configuration.items() if name not in load}
        environment = program.section_environment(self.options, order.workplace, values)
        environment |= arguments.field_environment(order.fields, order.configuration, load=False)
        argv = self._argv(order, values)
        _refuse_uneven_pages(argv)
        return ServicePlan(
            command=program.command(argv, self.options, order.workplace, environment),
            ready=ready,
            listens_on=(given.host, port),
            stop=program.stop_command(self.options, order.workplace, environment, values),
            reset_cache=HttpProbe(host, port, "/flush_cache", method="POST") if self.options.flush_cache else None,
            report=report,
            metrics=MetricsPage(HttpProbe(host, port, "/metrics"), SERIES) if METRICS_FLAG in argv else None,
        )

    def problems(self, workplace: Workplace, managed: bool = True) -> list[Problem]:
        """As the interface says. `managed` false: nothing that only a launch needs is asked for."""
        given = self.options.command
        problems = endpoint.port_problem(given.port, "sglang.command.port")
        if not managed:
            return problems
        problems += endpoint.placeholder_problem(
            given.model, "model_path", "sglang.command.model", "the model's directory, or its name on the hub"
        )
        problems += endpoint.placeholder_problem(
            given.served_model_name, "model_name", "sglang.command.served_model_name", "the name that clients ask for"
        )
        problems += program.model_problems(given.model, "sglang.command.model", workplace)
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
        """Nothing but the options where one of them changes what is loaded. Long sequences need not fit as a whole."""
        given = arguments.options(arguments.split(self.options.command.others), ALIASES)
        if CHANGES_THE_MODEL & given.keys():
            return ModelFacts(arguments=given)
        directory = workplace.working_directory / program.located(self.options.command.model, workplace)
        quantised_here = bool({"quantization", "torchao_config"} & given.keys())
        return model_facts(directory, given, needs_a_whole_sequence=False, quantised_here=quantised_here)

    def kv_blocks(self, report: str) -> int | None:
        """Pages of the KV cache: its tokens / tokens of a page (1, where the server does not tell)."""
        tokens, page = _TOKENS.search(report), _PAGE.search(report)
        return int(tokens[1]) // max(1, int(page[1]) if page else 1) if tokens else None

    def devices(self, configuration: Configuration, fields: Sequence[Field] = ()) -> int:
        """Tensor x pipeline x data parallel size, from `others`, `argument:` fields or fields of that name."""
        words = arguments.filled(arguments.split(self.options.command.others), configuration)
        words += arguments.field_arguments(fields, configuration, load=False)
        named = {ALIASES.get(flag, flag): render(value) for flag, value in _as_flags(configuration).items()}
        shared = any(arguments.flag_of(word) == SHARED_DATA_PARALLEL for word in words)
        sizes = (
            named.get(flag, arguments.value_of(flag, words, ALIASES) or "1")
            for flag in (PARALLEL[:2] if shared else PARALLEL)
        )
        return prod(max(1, int(size)) if size.isdecimal() else 1 for size in sizes)

    @property
    def _program(self) -> str:
        return self.options.program or "python3"

    def _argv(self, order: ServiceOrder, values: Mapping[str, object]) -> list[str]:
        given = self.options.command
        fixed = ["--model-path", program.located(given.model, order.workplace)]
        fixed += ["--served-model-name", given.served_model_name, "--host", given.host]
        fixed += ["--port", str(endpoint.port_number(given.port, "sglang.command.port"))]
        others = arguments.filled(arguments.split(given.others), values)
        if used := arguments.references(others, LOAD_NAMES):
            raise InvalidConfiguration(
                f"${used[0]} in [sglang.command] others: the service keeps running when its load changes",
                hint="use it in the client's `others`",
            )
        searched = {f"target_field {field.name}": _words_of(field, order.configuration) for field in order.fields}
        arguments.refuse_doubled({"[sglang.command]": fixed, **searched, "others": others}, ALIASES)
        tuned = [word for words in searched.values() for word in words]
        return [self._program, "-m", "sglang.launch_server", *fixed, *tuned, *others]


def _words_of(field: Field, configuration: Configuration) -> list[str]:
    if field.load or field.name not in configuration:
        return []
    if field.config_position == "env":
        flag = FLAG_OF.get(field.name)
        return arguments.rendered_flag(flag, configuration[field.name]) if flag else []
    return arguments.field_arguments([field], configuration, load=False)


def _as_flags(configuration: Configuration) -> dict[str, object]:
    return {"--" + name.lower().replace("_", "-"): value for name, value in configuration.items()}


def _refuse_uneven_pages(argv: Sequence[str]) -> None:
    """SGLang asserts at its start that a chunk is a whole number of pages."""
    chunk, page = (arguments.value_of(flag, argv) or "" for flag in ("--chunked-prefill-size", "--page-size"))
    if chunk.isdecimal() and page.isdecimal() and int(page) > 0 and int(chunk) % int(page):
        raise InvalidConfiguration(
            f"--chunked-prefill-size {chunk} is not a multiple of --page-size {page}: SGLang refuses that",
            hint="make CHUNKED_PREFILL_SIZE a `range` whose step and bounds are multiples of the page size",
        )
