"""`vllm bench serve`: the client of vLLM, for every service with an OpenAI interface."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import AfterValidator
from pydantic import Field as Bounded

from serviceopt_journal.errors import InvalidConfiguration
from serviceopt_journal.metric_table import ALL_LATENCIES, GOODPUT
from serviceopt_journal.metrics import Metrics
from serviceoptd.benchmarks.http_client import RESULT, HttpClient, HttpClientCommand, HttpClientSection
from serviceoptd.benchmarks.interface import ClientOutcome, MeasurementOrder
from serviceoptd.benchmarks.vllm_benchmark import versions
from serviceoptd.benchmarks.vllm_benchmark.flags import SPELLINGS
from serviceoptd.benchmarks.vllm_benchmark.pooling import refuse_pooling
from serviceoptd.benchmarks.vllm_benchmark.result import SEED_KEY, read_result
from serviceoptd.domain.settings import Objective
from serviceoptd.domain.statistics.order_statistics import about_a_percentile
from serviceoptd.toolkit import arguments, program, provenance
from serviceoptd.toolkit.interface import Options, Problem, UnusableResult, Workplace, render

MAIN_RUN = "Starting main benchmark run"
METRICS = ALL_LATENCIES
PERCENTILES = (50.0, 90.0, 95.0, 99.0)
ENDS = {"min": 0.0, "max": 100.0}

UNITED = ("--percentile-metrics", "--metric-percentiles")
"""Lists of which the user may ask for more in `others`, never for less."""

FIXED = (
    "--host", "--port", "--model", "--served-model-name", "--dataset-name", "--dataset-path", "--num-prompts",
    "--save-result", "--append-result", "--result-dir", "--result-filename",
)  # fmt: skip
"""Flags that the table decides, whether they are given this time or not."""

_REQUEST_FORMATS = {versions.REQUEST_FORMAT, versions.FORMER_REQUEST_FORMAT}

NOT_A_FILE = ("hf", "random", "random-mm", "random-rerank", "prefix_repetition")
"""Data sets whose path is a name on a hub, or that have none."""


def _a_version(text: str) -> str:
    if text and versions.release(text) is None:
        raise ValueError(f'"{text}" is not a version of vLLM, such as "0.8.4"')
    return text


class VllmBenchmarkCommand(HttpClientCommand):
    """The table `[vllm_benchmark.command]` of a configuration."""

    dataset_name: str = "dataset_name"
    dataset_path: str | None = None
    num_prompts: Annotated[int, Bounded(ge=1, le=10000)] = 3000
    backend: str = ""  # the request format, such as openai-chat; "": the client's own default


class VllmBenchmarkSection(HttpClientSection):
    """The table `[vllm_benchmark]` of a configuration."""

    command: VllmBenchmarkCommand = VllmBenchmarkCommand()
    version: Annotated[str, AfterValidator(_a_version)] = (
        ""  # of its vLLM, where the program does not tell: a container
    )


class VllmBenchmark(HttpClient):
    """`vllm bench serve`, its result read from the file that it saves."""

    name: ClassVar[str] = "vllm_benchmark"
    section: ClassVar[type[Options]] = VllmBenchmarkSection
    usual_program: ClassVar[str] = "vllm"
    packages: ClassVar[Sequence[str]] = ("vllm",)
    relevant_variables: ClassVar[Sequence[str]] = ("TOKENIZERS_*",)
    fixed_flags: ClassVar[Sequence[str]] = FIXED
    aliases: ClassVar[Mapping[str, str]] = SPELLINGS
    # unbuffered, so that its output says at once when the measured requests begin
    own_environment: ClassVar[Mapping[str, str]] = {"PYTHONUNBUFFERED": "1"}
    main_run: ClassVar[str] = MAIN_RUN
    data_key: ClassVar[str] = "dataset_path"
    tells_single_requests: ClassVar[bool] = True

    options: VllmBenchmarkSection

    def words(self, order: MeasurementOrder, tuned: Sequence[str], others: Sequence[str]) -> list[str]:
        """`bench serve` with the load; flags of ours that the user gives too are his."""
        fixed = self._fixed(order)
        parts = {f"[{self.name}.command]": fixed, "the target fields": tuned, "others": others}
        arguments.refuse_doubled(parts, SPELLINGS)
        theirs = {flag for word in others if (flag := arguments.flag_of(word, SPELLINGS))}
        client = self._release(order.workplace)
        if (wanted := self.options.command.backend) and not theirs & _REQUEST_FORMATS:
            fixed = [*fixed, versions.format_flag(client), wanted]
        own = {flag: words for flag, words in _own(order, self.count(order)).items() if versions.knows(flag, client)}
        return [
            *fixed,
            *_lists(order.objective, others),
            *(word for flag, words in own.items() if flag not in theirs for word in (flag, *words)),
            *tuned,
            *arguments.without(UNITED, others, SPELLINGS),
        ]

    def refuse(self, others: Sequence[str]) -> None:
        """Refuses what is sent to services that generate no tokens, and a file of options, which ends this client."""
        refuse_pooling(others, self.options.command.dataset_name)
        if any(arguments.flag_of(word) == "--config" for word in others):
            raise InvalidConfiguration(
                "--config: `vllm bench serve` reads no file of options: it would put them before `serve`, and ends",
                hint=f"write the options themselves in [{self.name}.command] others",
            )

    def read(self, outcome: ClientOutcome) -> Metrics:
        """Reads the metrics from the saved JSON.

        Raises:
            UnusableResult: there are none, or they cannot be believed.
        """
        try:
            return read_result(outcome, outcome.order.workplace.directory / RESULT)
        except UnusableResult as error:
            message = error.message + versions.way_out(error.message)
            raise UnusableResult(message, hint=error.hint, metrics=error.metrics) from error

    def problems(self, workplace: Workplace) -> list[Problem]:
        """What a measurement lacks, also a data set that a client of this version does not have."""
        given, client = self.options.command, self._release(workplace)
        found = super().problems(workplace)
        if client is not None and client < versions.FORMATS_SINCE and given.backend not in ("", versions.ONLY_FORMAT):
            said = f"`vllm bench serve` of vLLM {versions.shown(client)} sends requests as {versions.ONLY_FORMAT} only"
            hint = "leave it out, or a newer vLLM for the client: [vllm_benchmark] program"
            found.append(Problem(f"{self.name}.command.backend", said, hint))
        if client is not None and not versions.knows("--dataset-path", client):
            hint = (
                'dataset_name = "random" without dataset_path, or a newer vLLM for the client: [vllm_benchmark] program'
            )
            said = f"`vllm bench serve` of vLLM {versions.shown(client)} supports only the data set `random`"
            if given.dataset_name != versions.ONLY_DATA_SET:
                found.append(Problem(f"{self.name}.command.dataset_name", said, hint))
            elif given.dataset_path:
                found.append(Problem(f"{self.name}.command.dataset_path", said, hint))
        return found

    def identity(self, workplace: Workplace) -> dict[str, str]:
        """What the measured values depend on of the client; a version that is given counts."""
        found = super().identity(workplace)
        return {**found, "version": self.options.version} if self.options.version else found

    def _release(self, workplace: Workplace) -> versions.Release | None:
        if self.options.version:
            return versions.release(self.options.version)
        return versions.release_in(provenance.program_version(self.executable, workplace, self.packages))

    def placeholders(self) -> list[tuple[str, str, str]]:
        """The data set's kind must be given too."""
        kind = ("dataset_name", "dataset_name", "the data set's kind, such as random or sharegpt")
        return [*super().placeholders(), kind]

    def requests(self, workplace: Workplace) -> dict[str, str]:
        """The data set and its hash."""
        given = self.options.command
        named = f"{given.dataset_name} {given.dataset_path or ''}".strip()
        format_ = {"backend": given.backend} if given.backend else {}
        return {"dataset": named, "dataset_content": self.data_content(workplace), **format_}

    def data(self, workplace: Workplace) -> Path | None:
        """The data set's file or directory; None where there is none, or it is on a hub."""
        given = self.options.command
        if not given.dataset_path or (given.dataset_name in NOT_A_FILE and not program.is_path(given.dataset_path)):
            return None
        return workplace.working_directory / program.located(given.dataset_path, workplace)

    def _fixed(self, order: MeasurementOrder) -> list[str]:
        given, place = self.options.command, order.workplace
        host, port = self.address()
        words = ["bench", "serve", "--host", host, "--port", str(port)]
        words += ["--model", program.located(given.model, place), "--served-model-name", given.served_model_name]
        words += ["--dataset-name", given.dataset_name]
        if given.dataset_path:
            words += ["--dataset-path", str(self.data(place) or given.dataset_path)]
        words += ["--num-prompts", str(self.count(order))]
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
    asked = {flag: arguments.value_of(flag, others, SPELLINGS) or "" for flag in UNITED}
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
    if objective.maximise != GOODPUT:
        return []
    limits: dict[str, float] = {}
    for slo in objective.slos:
        limits[slo.metric] = min(slo.limit, limits.get(slo.metric, slo.limit))
    return [f"{metric}:{render(round(1000.0 * limit, 6))}" for metric, limit in limits.items()]
