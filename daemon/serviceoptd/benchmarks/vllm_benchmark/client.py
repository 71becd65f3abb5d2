"""`vllm bench serve`: the client of vLLM, for every service with an OpenAI interface."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import Field as Bounded

from serviceopt_journal.errors import InvalidConfiguration
from serviceopt_journal.metrics import Metrics
from serviceoptd.benchmarks.interface import ClientOutcome, MeasurementOrder, MeasurementPlan
from serviceoptd.benchmarks.vllm_benchmark.result import SEED_KEY, read_result
from serviceoptd.domain.settings import Objective
from serviceoptd.domain.statistics.order_statistics import about_a_percentile
from serviceoptd.toolkit import arguments, endpoint, program, provenance
from serviceoptd.toolkit.interface import Options, Problem, ProcessOptions, Workplace, render
from serviceoptd.toolkit.position_checks import refuse_dotted_positions
from serviceoptd.toolkit.secrets import mask_argv

RESULT = "result.json"
MAIN_RUN = "Starting main benchmark run"
PACKAGES = ("vllm",)
METRICS = ("ttft", "tpot", "itl", "e2el")
PERCENTILES = (50.0, 90.0, 95.0, 99.0)
ENDS = {"min": 0.0, "max": 100.0}

UNITED = ("--percentile-metrics", "--metric-percentiles")
"""Lists of which the user may ask for more in `others`, never for less."""

FIXED = (
    "--host", "--port", "--model", "--served-model-name", "--dataset-name", "--dataset-path", "--num-prompts",
    "--save-result", "--append-result", "--result-dir", "--result-filename",
)  # fmt: skip
"""Flags that the table decides, whether they are given this time or not."""

NOT_A_FILE = ("hf", "random", "random-mm", "random-rerank", "prefix_repetition")
"""Data sets whose path is a name on a hub, or that have none."""


class VllmBenchmarkCommand(Options):
    """`[vllm_benchmark.command]`."""

    host: str = "127.0.0.1"
    port: endpoint.Port = "port"
    model: str = "model_path"
    served_model_name: str = "model_name"
    dataset_name: str = "dataset_name"
    dataset_path: str | None = None
    num_prompts: Annotated[int, Bounded(ge=1, le=10000)] = 3000
    others: arguments.Words = ""


class VllmBenchmarkSection(ProcessOptions):
    """`[vllm_benchmark]`."""

    command: VllmBenchmarkCommand = VllmBenchmarkCommand()


class VllmBenchmark:
    """`vllm bench serve`, its result read from the file that it saves."""

    name: ClassVar[str] = "vllm_benchmark"
    section: ClassVar[type[Options]] = VllmBenchmarkSection
    defaults: ClassVar[Mapping[str, Any]] = {}
    tells_single_requests: ClassVar[bool] = True

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.options = VllmBenchmarkSection.model_validate(options)

    def plan(self, order: MeasurementOrder) -> MeasurementPlan:
        """The client's command line.

        Raises:
            InvalidConfiguration: the port is a placeholder, or a flag is given twice.
        """
        given, place = self.options.command, order.workplace
        refuse_dotted_positions([field for field in order.fields if field.load], self.name)
        values: dict[str, object] = {**order.configuration, "SEED": order.seed}
        # unbuffered, so that its output says at once when the measured requests begin
        environment = {"PYTHONUNBUFFERED": "1", **program.section_environment(self.options, place, values)}
        environment |= arguments.field_environment(order.fields, order.configuration, load=True)
        others = arguments.filled(arguments.split(given.others), values)
        fixed = self._fixed(order)
        own = _own(order, order.sample or given.num_prompts)
        parts: dict[str, Sequence[str]] = {f"[{self.name}.command]": fixed}
        for field in order.fields:
            parts[f"target_field {field.name}"] = arguments.field_arguments([field], order.configuration, load=True)
        arguments.refuse_doubled({**parts, "others": others})
        arguments.refuse_doubled({f"[{self.name}.command]": FIXED, "others": others})
        theirs = {flag for word in others if (flag := arguments.flag_of(word))}
        argv = [
            self._program,
            *fixed,
            *_lists(order.objective, others),
            *(word for flag, words in own.items() if flag not in theirs for word in (flag, *words)),
            *arguments.field_arguments(order.fields, order.configuration, load=True),
            *arguments.without(UNITED, others),
        ]
        return MeasurementPlan(
            command=program.command(argv, self.options, place, environment),
            num_prompts=order.sample or given.num_prompts,
            artefacts={RESULT: place.directory / RESULT},
            main_run=MAIN_RUN,
        )

    def read(self, outcome: ClientOutcome) -> Metrics:
        """From the saved JSON; raises UnusableResult as the interface says."""
        return read_result(outcome, outcome.order.workplace.directory / RESULT)

    def problems(self, workplace: Workplace) -> list[Problem]:
        """As the interface says."""
        given, prefix = self.options.command, f"{self.name}.command"
        problems = endpoint.port_problem(given.port, f"{prefix}.port")
        for key, placeholder, wanted in (
            ("model", "model_path", "the model's directory, or its name on the hub (its tokenizer is needed)"),
            ("served_model_name", "model_name", "the name that the service gives the model"),
            ("dataset_name", "dataset_name", "the data set's kind, such as random or sharegpt"),
        ):
            problems += endpoint.placeholder_problem(getattr(given, key), placeholder, f"{prefix}.{key}", wanted)
        problems += program.model_problems(given.model, f"{prefix}.model", workplace)
        path = self._dataset(workplace)
        if path is not None and provenance.data_digest(Path(path)) == provenance.ABSENT:
            problems.append(Problem(f"{prefix}.dataset_path", f"{path} does not exist", "correct the path"))
        try:
            arguments.refuse_doubled({f"[{prefix}]": FIXED, "others": arguments.split(given.others)})
        except InvalidConfiguration as error:
            problems.append(Problem(f"{prefix}.others", error.message, error.hint))
        return problems + program.program_problems(self.name, self._program, self.options, workplace)

    def identity(self, workplace: Workplace) -> dict[str, str]:
        """Version, data set and its hash, number of prompts, extra arguments, environment."""
        given, path = self.options.command, self._dataset(workplace)
        own = provenance.safely_read_environment(self.options, workplace)
        return {
            "version": provenance.program_version(self._program, workplace, PACKAGES),
            "dataset": f"{given.dataset_name} {given.dataset_path or ''}".strip(),
            "dataset_content": provenance.data_digest(Path(path)) if path is not None else "",
            "num_prompts": str(given.num_prompts),
            "others": " ".join(mask_argv(arguments.split(given.others))),
            "environment": provenance.relevant_environment(workplace, own),
        }

    @property
    def _program(self) -> str:
        return self.options.program or "vllm"

    def _dataset(self, workplace: Workplace) -> str | None:
        """The data set's file or directory; None where there is none, or it is on a hub."""
        given = self.options.command
        if not given.dataset_path or (given.dataset_name in NOT_A_FILE and not program.is_path(given.dataset_path)):
            return None
        expanded = program.located(given.dataset_path, workplace)
        return str(workplace.working_directory / expanded)

    def _fixed(self, order: MeasurementOrder) -> list[str]:
        given, place = self.options.command, order.workplace
        words = ["bench", "serve", "--host", endpoint.reachable(given.host)]
        words += ["--port", str(endpoint.port_number(given.port, f"{self.name}.command.port"))]
        words += ["--model", program.located(given.model, place), "--served-model-name", given.served_model_name]
        words += ["--dataset-name", given.dataset_name]
        if given.dataset_path:
            words += ["--dataset-path", self._dataset(place) or given.dataset_path]
        words += ["--num-prompts", str(order.sample or given.num_prompts)]
        if order.concurrency is not None:
            words += ["--max-concurrency", str(order.concurrency)]
        if order.request_rate is not None:
            words += ["--request-rate", render(order.request_rate)]
        return [*words, "--save-result", "--result-dir", str(place.directory), "--result-filename", RESULT]


def _own(order: MeasurementOrder, num_prompts: int) -> dict[str, list[str]]:
    """Flags of ours that give way to the same flag in `others`."""
    # a progress bar would be one endless line in the client's log
    own = {"--seed": [str(order.seed)], "--disable-tqdm": [], "--metadata": [f"{SEED_KEY}={order.seed}"]}
    if warm_up := min(order.warm_up_requests, num_prompts):
        own["--num-warmups"] = [str(warm_up)]
    if limits := _goodput(order.objective):
        own["--goodput"] = limits
    if order.details and any(about_a_percentile(slo) for slo in order.objective.slos):
        own["--save-detailed"] = []
    return own


def _lists(objective: Objective, others: Sequence[str]) -> list[str]:
    """The percentiles that we always want, those of the SLOs, and those that the user asks for."""
    asked = {flag: arguments.value_of(flag, others) or "" for flag in UNITED}
    metrics = dict.fromkeys([*METRICS, *filter(None, asked["--percentile-metrics"].split(","))])
    wanted = [*PERCENTILES, *(value for slo in objective.slos if (value := _percentile(slo.statistic)) is not None)]
    percentiles = [f"{value:g}" for value in sorted(set(wanted))]
    percentiles += [value for value in asked["--metric-percentiles"].split(",") if value and value not in percentiles]
    return ["--percentile-metrics", ",".join(metrics), "--metric-percentiles", ",".join(percentiles)]


def _percentile(statistic: str) -> float | None:
    if statistic in ENDS:
        return ENDS[statistic]
    return float(statistic[1:]) if statistic.startswith("p") else None


def _goodput(objective: Objective) -> list[str]:
    """Goodput judges each request, whatever statistic the SLO limits; of two limits of a metric the smaller counts."""
    if objective.maximise != "goodput":
        return []
    limits: dict[str, float] = {}
    for slo in objective.slos:
        limits[slo.metric] = min(slo.limit, limits.get(slo.metric, slo.limit))
    return [f"{metric}:{render(round(1000.0 * limit, 6))}" for metric, limit in limits.items()]
