"""GuideLLM (`guidellm run`), for every service with an OpenAI interface. Written as a third party would: docs/plugins.md.

Its options are JSON documents, one for each flag (`guidellm run --help`, version 0.8.1): no value needs quoting.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field as Bounded
from pydantic import field_validator

from serviceopt_journal.errors import InvalidConfiguration
from serviceopt_journal.metrics import Metrics
from serviceoptd.benchmarks.guidellm.result import read_result
from serviceoptd.benchmarks.interface import ClientOutcome, MeasurementOrder, MeasurementPlan
from serviceoptd.toolkit import arguments, endpoint, program, provenance
from serviceoptd.toolkit.interface import Options, Problem, ProcessOptions, Workplace
from serviceoptd.toolkit.position_checks import refuse_dotted_positions
from serviceoptd.toolkit.secrets import mask, mask_argv

RESULT = "result.json"
PACKAGES = ("guidellm",)

FIXED = (
    "-c", "--config", "--scenario", "--backend", "--profile", "--constraint", "--tokenizer", "--data", "--seed",
    "--output", "--metrics", "--override",
)  # fmt: skip
"""Flags that the table and the load decide."""

OF_THE_TABLE = ("kind", "target", "model", "request_format")
"""Keys of GuideLLM's backend that other keys of ours decide."""


class GuidellmCommand(Options):
    """`[guidellm.command]`."""

    host: str = "127.0.0.1"
    port: endpoint.Port = "port"
    model: str = "model_path"  # whose tokenizer counts the tokens
    served_model_name: str = "model_name"
    request_format: Literal["/v1/chat/completions", "/v1/completions"] = "/v1/chat/completions"
    data: dict[str, Any] = Bounded(default={"kind": "synthetic_text", "prompt_tokens": 512, "output_tokens": 128})
    backend: dict[str, Any] = Bounded(default={})  # more keys of GuideLLM's backend, such as `timeout` or `extras`
    num_prompts: Annotated[int, Bounded(ge=1, le=10000)] = 1000
    others: arguments.Words = ""

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


class GuidellmSection(ProcessOptions):
    """`[guidellm]`."""

    command: GuidellmCommand = GuidellmCommand()


class GuidellmBenchmark:
    """`guidellm run` with one profile; its result from the JSON that it saves."""

    name: ClassVar[str] = "guidellm"
    section: ClassVar[type[Options]] = GuidellmSection
    defaults: ClassVar[Mapping[str, Any]] = {}
    tells_single_requests: ClassVar[bool] = True

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.options = GuidellmSection.model_validate(options)

    def plan(self, order: MeasurementOrder) -> MeasurementPlan:
        """The client's command line.

        Warm-up requests are the first ones of the same client, left out of the result.

        Raises:
            InvalidConfiguration: the port is a placeholder, or a flag is given twice.
        """
        given, place = self.options.command, order.workplace
        refuse_dotted_positions([field for field in order.fields if field.load], self.name)
        values: dict[str, object] = {**order.configuration, "SEED": order.seed}
        environment = program.section_environment(self.options, place, values)
        environment |= arguments.field_environment(order.fields, order.configuration, load=True)
        others = arguments.filled(arguments.split(given.others), values)
        searched = arguments.field_arguments(order.fields, order.configuration, load=True)
        parts: dict[str, Sequence[str]] = {f"[{self.name}.command]": FIXED}
        for field in order.fields:
            parts[f"target_field {field.name}"] = arguments.field_arguments([field], order.configuration, load=True)
        arguments.refuse_doubled({**parts, "others": others})
        num_prompts = min(order.sample or given.num_prompts, given.num_prompts)
        argv = [self._program, "run", *self._fixed(order, num_prompts), *searched, *others]
        return MeasurementPlan(
            command=program.command(argv, self.options, place, environment),
            num_prompts=num_prompts,
            artefacts={RESULT: place.directory / RESULT},
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
        ):
            problems += endpoint.placeholder_problem(getattr(given, key), placeholder, f"{prefix}.{key}", wanted)
        problems += program.model_problems(given.model, f"{prefix}.model", workplace)
        path = self._data_path(workplace)
        if path is not None and provenance.data_digest(path) == provenance.ABSENT:
            problems.append(Problem(f"{prefix}.data", f"{path} does not exist", "correct its `path`"))
        try:
            arguments.refuse_doubled({f"[{prefix}]": FIXED, "others": arguments.split(given.others)})
        except InvalidConfiguration as error:
            problems.append(Problem(f"{prefix}.others", error.message, error.hint))
        return problems + program.program_problems(self.name, self._program, self.options, workplace)

    def identity(self, workplace: Workplace) -> dict[str, str]:
        """Version, data and their hash, number of prompts, how requests are sent, extra arguments, environment."""
        given, path = self.options.command, self._data_path(workplace)
        own = provenance.safely_read_environment(self.options, workplace)
        return {
            "version": provenance.program_version(self._program, workplace, PACKAGES),
            "data": _json(given.data),
            "data_content": provenance.data_digest(path) if path is not None else "",
            "num_prompts": str(given.num_prompts),
            "requests": _json({"format": given.request_format, **mask("", given.backend)}),
            "others": " ".join(mask_argv(arguments.split(given.others))),
            "environment": provenance.relevant_environment(workplace, own),
        }

    @property
    def _program(self) -> str:
        return self.options.program or "guidellm"

    def _data_path(self, workplace: Workplace) -> Path | None:
        """The data set's file; None where there is none."""
        path = self.options.command.data.get("path")
        return workplace.working_directory / program.located(path, workplace) if isinstance(path, str) else None

    def _fixed(self, order: MeasurementOrder, num_prompts: int) -> list[str]:
        given, place = self.options.command, order.workplace
        port = endpoint.port_number(given.port, f"{self.name}.command.port")
        backend = {
            "kind": "openai_http",
            "target": f"http://{endpoint.reachable(given.host)}:{port}",
            "model": given.served_model_name,
            "request_format": given.request_format,
        }
        path = self._data_path(place)
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
