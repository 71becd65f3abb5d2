"""`ais_bench`: the client of AISBench, for every service with an interface that it knows (OpenAI's, MindIE's, TGI's...).

AISBench takes the load from the model's configuration file. So each measurement has a private copy of that file, found by
`--config-dir`, and a work directory of its own; nothing that is installed is ever changed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

from serviceopt_journal.errors import InvalidConfiguration, ServiceoptError
from serviceopt_journal.metrics import Metrics
from serviceoptd.benchmarks.ais_bench import files, flags
from serviceoptd.benchmarks.ais_bench.load import refuse_unsuitable
from serviceoptd.benchmarks.ais_bench.model import ModelFile, Value
from serviceoptd.benchmarks.ais_bench.result import STATISTICS, SUMMARY, TABLE, read_result
from serviceoptd.benchmarks.ais_bench.section import AisBenchSection
from serviceoptd.benchmarks.ais_bench.simulated_requests import requests_of
from serviceoptd.benchmarks.ais_bench.stated import stated_in
from serviceoptd.benchmarks.interface import ClientOutcome, MeasurementOrder, MeasurementPlan
from serviceoptd.benchmarks.untellable import Untellable
from serviceoptd.toolkit import arguments, endpoint, program, provenance
from serviceoptd.toolkit.asked_address import Asked, address_in, same_server
from serviceoptd.toolkit.interface import Options, Problem, Refusals, Workplace
from serviceoptd.toolkit.position_checks import refuse_dotted_positions
from serviceoptd.toolkit.secrets import mask_argv

PACKAGES = ("ais_bench_benchmark",)
SUFFIX = "_datasets"  # ends the name of the list of data sets, unless `datasets` has another one behind a slash
WORK, CONFIGS = "ais_bench", "configs"
"""Directories of a measurement: what AISBench writes, and the copies of its configuration files."""

PRIVATE = "serviceopt_"
"""Begins the copy's name: AISBench can never mistake the installed file for it."""

MOST_AT_A_TIME = 100_000  # AISBench's own limit of batch_size
UNLOADED: Mapping[str, Value] = {"batch_size": 1, "request_rate": 0}
NOWHERE: Mapping[str, Value] = {"host_ip": "", "host_port": 0}


class AisBench:
    """`ais_bench --mode perf`, its result read from the work directory of the measurement."""

    name: ClassVar[str] = "ais_bench"
    section: ClassVar[type[Options]] = AisBenchSection
    defaults: ClassVar[Mapping[str, Any]] = {}
    statistics: ClassVar[frozenset[str]] = STATISTICS
    relevant_variables: ClassVar[Sequence[str]] = ("AIS_BENCH_*", "AISBENCH_*", "TOKENIZERS_*")

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.options = AisBenchSection.model_validate(options)

    def plan(self, order: MeasurementOrder) -> MeasurementPlan:
        """The command line, and the copies of the configuration files with the load in them.

        Raises:
            InvalidConfiguration: the load cannot be written into the model's configuration, the objective needs what this
                configuration cannot tell, or a flag is given twice.
            EnvironmentLacks: a configuration file is not there.
        """
        given, place, refusals = self.options.command, order.workplace, Refusals()
        with refusals.collected():
            refuse_dotted_positions([field for field in order.fields if field.load], self.name)
        values: dict[str, object] = {**order.configuration, "SEED": order.seed}
        environment: dict[str, str] = {}
        with refusals.collected():
            environment = program.section_environment(self.options, place, values)
        environment |= arguments.field_environment(order.fields, order.configuration, load=True)
        others = words = arguments.split(given.others)
        with refusals.collected():
            arguments.refuse_unknown(words, values, f"[{self.name}.command] others")
        with refusals.collected():
            others = arguments.filled(words, values)
        tuned = {
            field.name: arguments.field_arguments([field], order.configuration, load=True) for field in order.fields
        }
        with refusals.collected():
            flags.refuse(others, tuned)
        refusals.tell()
        config, dataset = self._model(place), self._dataset(place)
        copy = config.place.with_name(f"{PRIVATE}{config.path.name}")
        argv = [
            self._program, "--models", copy.stem, "--datasets", given.datasets, "--mode", given.mode,
            "--num-prompts", str(given.num_prompts), "--work-dir", str(place.directory / WORK),
            "--config-dir", str(place.directory / CONFIGS), *flags.warm_up(order, given.num_prompts, others),
            *(word for words in tuned.values() for word in words), *others,
        ]  # fmt: skip
        companions = config.companions()
        if dataset.root != files.installed_directory(self._program, place):
            companions += [dataset, *dataset.companions()]
        copies = {place.directory / CONFIGS / file.place: file.content() for file in companions}
        command = program.command(argv, self.options, place, environment)
        return MeasurementPlan(
            command=replace(
                command,
                # AISBench writes into its working directory
                working_directory=command.working_directory or place.directory,
                files={**copies, place.directory / CONFIGS / copy: self._loaded(config, order)},
            ),
            num_prompts=given.num_prompts,
            artefacts={name: place.directory / name for name in (TABLE, SUMMARY)},
        )

    def read(self, outcome: ClientOutcome) -> Metrics:
        """Reads the metrics of the one run in the measurement's work directory.

        Raises:
            UnusableResult: there are none, or they cannot be believed.
        """
        directory = outcome.order.workplace.directory / WORK
        return read_result(outcome, directory, self._at_a_time(outcome.order))

    def problems(self, workplace: Workplace) -> list[Problem]:
        """What a measurement lacks, with the key that is to blame.

        Also a model configuration into which the load cannot be written.
        """
        given, prefix = self.options.command, f"{self.name}.command"
        problems = program.program_problems(self.name, self._program, self.options, workplace)
        problems += _caught(f"{prefix}.others", lambda: flags.refuse(arguments.split(given.others)))
        if given.port is not None:
            problems += endpoint.port_problem(given.port, f"{prefix}.port")
        if given.model is not None:
            problems += program.model_problems(given.model, f"{prefix}.model", workplace)
        wanted = "the model configuration of AISBench, such as vllm_api_stream_chat"
        still = endpoint.placeholder_problem(given.models, "models", f"{prefix}.models", wanted)
        problems += still or _caught(f"{prefix}.models", lambda: self._model_problems(workplace))
        wanted = "the data set configuration of AISBench, such as gsm8k_gen_0_shot_cot_str_perf"
        still = endpoint.placeholder_problem(given.datasets, "datasets", f"{prefix}.datasets", wanted)
        return problems + (still or _caught(f"{prefix}.datasets", lambda: self._dataset_problems(workplace)))

    def simulated(self, workplace: Workplace) -> dict[str, Any]:
        """The requests that its two configurations tell.

        Raises:
            Untellable: they do not, or cannot be read.
        """
        try:
            dataset, model = self._dataset(workplace), self._read(self._model(workplace))
            path = model.stated("path")
            tokenizer = self._service(model, workplace).get("path") or (path if isinstance(path, str) else None)
            stated = stated_in(dataset, files.packages(self._program, workplace))
            suffix = self.options.command.datasets.partition("/")[2] or SUFFIX
            located = partial(files.located_data, client=self._program, workplace=workplace)
            return requests_of(stated, suffix, model, str(tokenizer) if tokenizer else None, located)
        except Untellable:
            raise
        except ServiceoptError as error:  # told by problems(), where it is to be started
            raise Untellable(f"AISBench's configuration: {error.message}") from error

    def identity(self, workplace: Workplace) -> dict[str, str]:
        """Version, the model's configuration without load and address, the data set's and its data, number of prompts."""
        given = self.options.command
        own = provenance.safely_read_environment(self.options, workplace)
        try:
            config, dataset = self._model(workplace), self._dataset(workplace)
            model = self._read(config)
            nowhere = {key: value for key, value in NOWHERE.items() if model.has(key)}
            described = model.rewritten({**self._service(model, workplace), **nowhere, **UNLOADED})
            configuration = _digests([described, *(file.content() for file in config.companions())])
            built_on = files.installed_bases(dataset, self._program, workplace)
            data = _digests([file.content() for file in (dataset, *dataset.companions(), *built_on)])
            paths = files.data_paths(dataset, self._program, workplace)
            content = " ".join(provenance.data_digest(path) for path in paths)
        except ServiceoptError:  # told by problems()
            configuration = data = content = provenance.ABSENT
        return {
            "version": provenance.program_version(self._program, workplace, PACKAGES),
            "model_configuration": f"{given.models} {configuration}",
            "dataset": f"{given.datasets} {data}",
            "dataset_content": content,
            "num_prompts": str(given.num_prompts),
            "others": " ".join(mask_argv(arguments.split(given.others))),
            "environment": provenance.relevant_environment(workplace, own, self.relevant_variables),
        }

    def asks(self, plan: MeasurementPlan) -> list[Asked]:
        """What the copy of the model's configuration says: its `url` wins over `host_ip` and `host_port`, as in AISBench."""
        files = plan.command.files.items() if plan.command else ()
        content = next((text for path, text in files if path.name.startswith(PRIVATE)), None)
        if content is None:
            return []
        name = f"{self.options.command.models}.py"
        model = ModelFile.read(content, name)
        if url := model.stated("url"):
            found = address_in(str(url), f'{name}: url="{url}"')
            return [found] if found else []
        host, port = model.stated("host_ip"), model.stated("host_port")
        words = f'{name}: host_ip="{host}", host_port={port}'
        return [Asked(words, str(host) if host else None, port if isinstance(port, int) else None)]

    @property
    def _program(self) -> str:
        return self.options.program or "ais_bench"

    def _model(self, workplace: Workplace) -> files.ConfigFile:
        directories = files.directories(self.options.command.config_dir, self._program, workplace)
        return files.find("models", self.options.command.models, directories)

    def _dataset(self, workplace: Workplace) -> files.ConfigFile:
        directories = files.directories(self.options.command.config_dir, self._program, workplace)
        return files.find("datasets", self.options.command.datasets.partition("/")[0], directories)

    def _read(self, config: files.ConfigFile) -> ModelFile:
        return ModelFile.read(config.content(), str(config.path))

    def _loaded(self, config: files.ConfigFile, order: MeasurementOrder) -> bytes:
        """The model's configuration with this measurement's load."""
        model = self._read(config)
        refuse_unsuitable(model, order)
        load: dict[str, Value] = {"batch_size": self._at_a_time(order), "request_rate": order.request_rate or 0}
        salted = self.options.command.cache_salt and model.can_be_salted()
        return model.rewritten({**self._service(model, order.workplace), **load}, salt=_salt(order) if salted else None)

    def _at_a_time(self, order: MeasurementOrder) -> int:
        return min(order.concurrency or self.options.command.num_prompts, MOST_AT_A_TIME)

    def _service(self, model: ModelFile, workplace: Workplace) -> dict[str, Value]:
        """What the section says of the service, by the names of AISBench."""
        given = self.options.command
        told: dict[str, Value | None] = {
            "host_ip": endpoint.reachable(given.host) if given.host else None,
            "host_port": None if given.port is None else endpoint.port_number(given.port, f"{self.name}.command.port"),
            "path": program.located(given.model, workplace) if given.model else _tokenizer(model, workplace),
            "model": given.served_model_name,
        }
        said = {key: value for key, value in told.items() if value is not None}
        if (url := model.stated("url")) and NOWHERE.keys() & said.keys():
            asked = address_in(str(url), str(url))
            host, port = said.pop("host_ip", None), said.pop("host_port", None)
            ours = Asked("", None if host is None else str(host), port if isinstance(port, int) else None)
            if asked is None or not _agree(asked, ours):
                raise InvalidConfiguration(
                    f'{model.name} has url="{url}", which wins over `host` and `port`', hint="empty it there"
                )
        return said

    def _model_problems(self, workplace: Workplace) -> list[Problem]:
        config, key = self._model(workplace), f"{self.name}.command.models"
        config.companions()
        model = self._read(config)
        service = self._service(model, workplace)
        model.rewritten({**service, **UNLOADED})
        if model.stated("path") == "" and "path" not in service:
            hint = f"set `model` in [{self.name}.command], or `path` in the file"
            return [Problem(key, f"{config.path} has an empty `path`: the model's tokenizer counts the tokens", hint)]
        return []

    def _dataset_problems(self, workplace: Workplace) -> list[Problem]:
        dataset, given = self._dataset(workplace), self.options.command
        dataset.companions()
        count = files.request_count(dataset)
        if count is None or count >= given.num_prompts:
            return []
        message = f"{dataset.path} makes {count} requests, num_prompts asks for {given.num_prompts}"
        return [Problem(f"{self.name}.command.num_prompts", message, "raise RequestCount there, or lower num_prompts")]


def _agree(asked: Asked, ours: Asked) -> bool:
    host, port = asked.host if ours.host is None else ours.host, asked.port if ours.port is None else ours.port
    return host is not None and port is not None and same_server(asked, host, port)


def _tokenizer(model: ModelFile, workplace: Workplace) -> str | None:
    """A relative path in the file, seen from where the run was submitted: the client runs somewhere else."""
    path = model.stated("path")
    if not isinstance(path, str) or not path or path.startswith("/"):
        return None
    found = workplace.working_directory / path
    return str(found) if found.exists() else None


def _salt(order: MeasurementOrder) -> str:
    """Another one for each measurement, also where the service outlives the run."""
    place = hashlib.sha256(str(order.workplace.directory).encode()).hexdigest()
    return f"serviceopt-{place[:16]}-{order.seed}"


def _digests(contents: Sequence[bytes]) -> str:
    return " ".join(f"sha256:{hashlib.sha256(content).hexdigest()}" for content in contents)


def _caught(key: str, look: Callable[[], list[Problem] | None]) -> list[Problem]:
    try:
        return look() or []
    except ServiceoptError as error:
        return [Problem(key, error.message, error.hint)]
