"""GuideLLM (`guidellm run`), for every service with an OpenAI interface. Written as a third party would: docs/plugins.md.

Its options are JSON documents, one for each flag (`guidellm run --help`, version 0.8.1): no value needs quoting.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field as Bounded
from pydantic import field_validator

from serviceopt_journal.foreign_text import json_value
from serviceopt_journal.metrics import Metrics
from serviceoptd.benchmarks.guidellm.result import read_result
from serviceoptd.benchmarks.http_client import RESULT, HttpClient, HttpClientCommand, HttpClientSection
from serviceoptd.benchmarks.interface import ClientOutcome, MeasurementOrder, MeasurementPlan
from serviceoptd.toolkit import arguments, program
from serviceoptd.toolkit.asked_address import Asked, address_in, asked_in
from serviceoptd.toolkit.interface import Options, Problem, UnusableResult, Workplace
from serviceoptd.toolkit.secrets import mask

FIXED = (
    "-c", "--config", "--scenario", "--backend", "--profile", "--constraint", "--tokenizer", "--data", "--seed",
    "--output", "--metrics", "--override",
)  # fmt: skip
"""Flags that the table and the load decide."""

OLDEST = (0, 7)
TOO_OLD = "`guidellm run`, whose options are JSON documents, came with GuideLLM 0.7.0"
_VERSION = re.compile(r"\bguidellm (\d+)\.(\d+)")

OF_THE_TABLE = ("kind", "target", "model", "request_format")
"""Keys of GuideLLM's backend that other keys of ours decide."""


class GuidellmCommand(HttpClientCommand):
    """The table `[guidellm.command]` of a configuration."""

    request_format: Literal["/v1/chat/completions", "/v1/completions"] = "/v1/chat/completions"
    data: dict[str, Any] = Bounded(default={"kind": "synthetic_text", "prompt_tokens": 512, "output_tokens": 128})
    backend: dict[str, Any] = Bounded(default={})  # more keys of GuideLLM's backend, such as `timeout` or `extras`

    @field_validator("data")
    @classmethod
    def _of_a_kind(cls, data: dict[str, Any]) -> dict[str, Any]:
        if not isinstance(data.get("kind"), str):
            raise ValueError('needs a `kind`, such as "synthetic_text" or "json_file"')  # noqa: TRY004 - pydantic's way
        return data

    @field_validator("backend")
    @classmethod
    def _beside_the_table(cls, backend: dict[str, Any]) -> dict[str, Any]:
        if doubled := [key for key in OF_THE_TABLE if key in backend]:
            raise ValueError(f"{', '.join(doubled)}: follows from the other keys of [guidellm.command]")
        return backend


class GuidellmSection(HttpClientSection):
    """The table `[guidellm]` of a configuration."""

    command: GuidellmCommand = GuidellmCommand()


class GuidellmBenchmark(HttpClient):
    """`guidellm run` with one profile; its result from the JSON that it saves."""

    name: ClassVar[str] = "guidellm"
    section: ClassVar[type[Options]] = GuidellmSection
    usual_program: ClassVar[str] = "guidellm"
    packages: ClassVar[Sequence[str]] = ("guidellm",)
    relevant_variables: ClassVar[Sequence[str]] = ("GUIDELLM_*", "TOKENIZERS_*")
    fixed_flags: ClassVar[Sequence[str]] = FIXED
    tells_single_requests: ClassVar[bool] = True

    options: GuidellmSection

    def words(self, order: MeasurementOrder, tuned: Sequence[str], others: Sequence[str]) -> list[str]:
        """The arguments of the client: one JSON document for each flag.

        Warm-up requests are the first ones of the same client, left out of the result.
        """
        return ["run", *self._fixed(order, self.count(order)), *tuned, *others]

    def read(self, outcome: ClientOutcome) -> Metrics:
        """Reads the metrics from the saved JSON.

        Raises:
            UnusableResult: there are none, or they cannot be believed.
        """
        try:
            return read_result(outcome, outcome.order.workplace.directory / RESULT)
        except UnusableResult as error:
            way_out = f"; {TOO_OLD}" if "No such command" in error.message else ""
            raise UnusableResult(error.message + way_out, hint=error.hint, metrics=error.metrics) from error

    def problems(self, workplace: Workplace) -> list[Problem]:
        """What a measurement lacks, also a GuideLLM that is new enough."""
        found, told = super().problems(workplace), self.identity(workplace)["version"]
        if (match := _VERSION.search(told)) and (int(match[1]), int(match[2])) < OLDEST:
            found.append(
                Problem(f"{self.name}.program", f"it is GuideLLM {match[1]}.{match[2]}: {TOO_OLD}", "update it")
            )
        return found

    def asks(self, plan: MeasurementPlan) -> list[Asked]:
        """The target of its backend, and every address that further flags or variables name beside it."""
        if plan.command is None:
            return []
        argv, environment = plan.command.argv, plan.command.environment
        target = json_value(arguments.value_of("--backend", argv) or "{}").get("target", "")
        found = address_in(target, f'target "{target}"')
        return [*([found] if found else []), *asked_in(argv, self.aliases, environment)]

    def data(self, workplace: Workplace) -> Path | None:
        """The data set's file; None where there is none."""
        path = self.options.command.data.get("path")
        return workplace.working_directory / program.located(path, workplace) if isinstance(path, str) else None

    def requests(self, workplace: Workplace) -> dict[str, str]:
        """Data and their hash, and how requests are sent."""
        given = self.options.command
        how = _json({"format": given.request_format, **mask("", given.backend)})
        return {"data": _json(given.data), "data_content": self.data_content(workplace), "requests": how}

    def _fixed(self, order: MeasurementOrder, num_prompts: int) -> list[str]:
        given, place = self.options.command, order.workplace
        host, port = self.address()
        backend = {
            "kind": "openai_http",
            "target": f"http://{host}:{port}",
            "model": given.served_model_name,
            "request_format": given.request_format,
        }
        path = self.data(place)
        data = {**given.data, "path": str(path)} if path is not None else given.data
        count = num_prompts + min(order.warm_up_requests, num_prompts)
        documents: dict[str, dict[str, Any]] = {
            "--backend": {**backend, **given.backend},
            "--profile": _profile(order.concurrency, order.request_rate),
            "--constraint": {"kind": "max_requests", "count": count},
            "--tokenizer": {"kind": "huggingface_auto", "model": program.located(given.model, place)},
            "--data": data,
            "--seed": {"kind": "static", "value": order.seed},
            "--output": {"kind": "json", "path": str(place.directory / RESULT)},
            # prompts and answers are left out of the result, and no intervals are estimated
            "--metrics": {"kind": "generative", "sample_size": 0, "confidence": None},
        }
        words = [word for flag, document in documents.items() for word in (flag, _json(document))]
        return [*words, "--disable-console-interactive"]


def _profile(concurrency: int | None, request_rate: float | None) -> dict[str, Any]:
    """Arrivals at a rate are a Poisson process, as those of `vllm bench serve` are."""
    if request_rate is not None:
        return {"kind": "poisson", "rate": [request_rate], "max_concurrency": concurrency}
    if concurrency is not None:
        return {"kind": "concurrent", "streams": [concurrency]}
    return {"kind": "throughput", "max_concurrency": None}


def _json(document: Mapping[str, Any]) -> str:
    return json.dumps(document, sort_keys=True)
