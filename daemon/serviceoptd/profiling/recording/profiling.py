"""A profile of a service: some configurations, each at some loads, one after the other. What is there already is kept."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from serviceopt_journal.documents.requests import Submission
from serviceopt_journal.errors import EnvironmentLacks, InvalidConfiguration
from serviceopt_journal.events import Configuration
from serviceopt_journal.foreign_files import LARGEST_CONFIGURATION, content
from serviceopt_journal.foreign_text import json_value
from serviceoptd.benchmarks.interface import Benchmark, MeasurementOrder
from serviceoptd.benchmarks.vllm_benchmark.client import VllmBenchmark
from serviceoptd.config import plugins
from serviceoptd.domain.load import load_of
from serviceoptd.domain.settings import RunSettings
from serviceoptd.domain.space.space import Space
from serviceoptd.engines.interface import Engine, ServiceOrder
from serviceoptd.engines.vllm import VllmEngine
from serviceoptd.evaluating.trials import search_space
from serviceoptd.io.children_environment import isolated, own_prefix
from serviceoptd.profiling.data.recorded_load import DESCRIPTION
from serviceoptd.profiling.recording import choosing
from serviceoptd.profiling.recording.measured_load import NotMeasured, measure
from serviceoptd.profiling.recording.recorded_service import NotServed, served
from serviceoptd.submitting.preparing import prepare
from serviceoptd.toolkit.interface import UnusableResult, Workplace
from serviceoptd.toolkit.secrets import mask_argv

FEWEST_REQUESTS = 32
REQUESTS_PER_PLACE = 8  # of the client: enough steps at a low load, which would otherwise take the longest


@dataclass
class Recordings:
    """The recordings that there are after profiling. `left_out`: what did not work, and why."""

    steps: dict[str, int] = field(default_factory=dict)  # of each load that was measured now
    kept: list[str] = field(default_factory=list)  # loads that were there already
    left_out: dict[str, str] = field(default_factory=dict)


def profile(
    wanted: Submission,
    directory: Path,
    *,
    configurations: int,
    loads: int,
    seed: int,
    say: Callable[[str], None],
) -> Recordings:
    """Profiles what a submission would tune. Ctrl-C and SIGTERM end the service and the client first.

    Args:
        wanted: the body of POST /v1/runs (docs/api.md).
        directory: for the recordings; a load that is complete there is not measured again.
        configurations, loads: how many, and how many for each of them.
        seed: chooses them, and is the client's.
        say: told what is done now.

    Raises:
        InvalidConfiguration: the configuration cannot be profiled, or the directory holds another one's profile.
        EnvironmentLacks: something is missing on this machine, or nothing could be measured.
    """
    _refuse_others(wanted.engine or "", wanted.benchmark or "")
    prepared = prepare(wanted, plugins, tool_prefix=own_prefix())
    settings = prepared.settings
    engine = plugins.engine_class(settings.engine)(settings.engine_options)
    benchmark = plugins.benchmark_class(settings.benchmark)(settings.benchmark_options)
    if not settings.manage_lifecycle:
        raise InvalidConfiguration(
            "manage_lifecycle is false, and the recorder has to be started with the service",
            hint="set manage_lifecycle = true",
        )
    place = Workplace(
        directory.absolute(),
        Path(wanted.working_directory),
        isolated(wanted.environment, own_prefix(), settings.path_prefix),
    )
    work = _Work(settings, engine, benchmark, place, say, seed, loads)
    return asyncio.run(work.all(configurations))


def _refuse_others(engine: str, benchmark: str) -> None:
    if not issubclass(plugins.engine_class(engine), VllmEngine) or not issubclass(
        plugins.benchmark_class(benchmark), VllmBenchmark
    ):
        raise InvalidConfiguration(
            f"{engine} with {benchmark} cannot be profiled",
            hint="the recorder is for vllm with the client vllm_benchmark; MindIE's profiles come from msServiceProfiler",
        )


@dataclass
class _Work:
    settings: RunSettings
    engine: Engine
    benchmark: Benchmark
    place: Workplace
    say: Callable[[str], None]
    seed: int
    loads: int
    done: Recordings = field(default_factory=Recordings)

    async def all(self, number: int) -> Recordings:
        # as Ctrl-C, which asyncio turns into a cancellation
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, signal.raise_signal, signal.SIGINT)
        space = search_space(Space.of(self.settings.fields), self.engine)
        chosen = choosing.configurations(space, number, seed=self.seed, accepts=self._accepted)
        if len(chosen) < number:
            self.say(f"the search space has {len(chosen)} configurations to start the service with")
        for index, configuration in enumerate(chosen):
            name = f"configuration-{index + 1}"
            loads = choosing.loads(space, configuration, index, self.loads, seed=self.seed)
            what = _text({f.name: configuration[f.name] for f in self.settings.fields if not f.load})
            missing = self._missing(name, configuration, len(loads))
            if not missing:
                self.say(f"{name} of {len(chosen)} ({what}): complete")
                continue
            self.say(f"{name} of {len(chosen)} ({what}): starting the service")
            try:
                await self._one(name, configuration, loads, missing)
            except NotServed as failed:
                self._leave_out(name, failed)
        if not self.done.steps and not self.done.kept:
            reasons = "; ".join(f"{name}: {reason}" for name, reason in self.done.left_out.items())
            raise EnvironmentLacks(f"nothing could be measured: {reasons}", hint=f"logs: {self.place.directory}")
        return self.done

    async def _one(
        self, name: str, configuration: Configuration, loads: list[Configuration], missing: list[int]
    ) -> None:
        directory = self.place.directory / name
        order = self._order(configuration, _empty(directory / "service"))
        async with served(self.engine, order, self.settings) as service:
            command = service.plan.command
            description = {
                "configuration": configuration,
                "command": mask_argv(command.argv) if command else (),
                **service.told,
            }
            (directory / DESCRIPTION).write_text(json.dumps(description, indent=2) + "\n")
            for number in missing:
                target = directory / f"load-{number}"
                load = loads[number - 1]
                self.say(f"  load {number} of {len(loads)}: {_text(_load(load))}")
                try:
                    steps = await measure(
                        service,
                        self.benchmark,
                        self._measurement(load, number, _empty(directory / f"client-{number}")),
                        self.settings,
                        target,
                    )
                except (NotMeasured, UnusableResult) as failed:
                    self._leave_out(f"{name}/{target.name}", failed)
                else:
                    self.say(f"  load {number} of {len(loads)}: {steps} steps")
                    self.done.steps[f"{name}/{target.name}"] = steps

    def _missing(self, name: str, configuration: Configuration, loads: int) -> list[int]:
        """The numbers of the loads that have to be measured.

        Raises:
            InvalidConfiguration: the directory is another configuration's.
        """
        directory = self.place.directory / name
        path, missing = directory / DESCRIPTION, []
        for number in range(1, loads + 1):
            there = all((directory / f"load-{number}{suffix}").is_file() for suffix in (".json", ".csv"))
            if there and path.is_file():
                self.done.kept.append(f"{name}/load-{number}")
            else:
                missing.append(number)
        if path.is_file() and len(missing) < loads:
            there = _configuration_in(path)
            if there != configuration:
                raise InvalidConfiguration(
                    f"{path} belongs to another configuration: {_text(there or {})}",
                    hint="another -o DIR, the same --seed and --configurations as before, or remove the directory",
                )
        return missing

    def _accepted(self, configuration: Configuration) -> bool:
        try:
            self.engine.plan(self._order(configuration, self.place.directory))
        except InvalidConfiguration:
            return False
        return True

    def _order(self, configuration: Configuration, directory: Path) -> ServiceOrder:
        return ServiceOrder(configuration, self.settings.fields, self._place(directory))

    def _measurement(self, load: Configuration, number: int, directory: Path) -> MeasurementOrder:
        concurrency, rate = load_of(load)
        every = self.settings.sample or self.settings.num_prompts
        enough = max(FEWEST_REQUESTS, REQUESTS_PER_PLACE * concurrency) if concurrency is not None else every
        return MeasurementOrder(
            configuration=load,
            fields=self.settings.fields,
            concurrency=concurrency,
            request_rate=rate,
            seed=self.seed + number,
            warm_up_requests=self.settings.measuring.warm_up_requests,
            objective=self.settings.objective,
            workplace=self._place(directory),
            sample=min(every, enough) if every and enough else None,
        )

    def _place(self, directory: Path) -> Workplace:
        return Workplace(directory, self.place.working_directory, self.place.environment)

    def _leave_out(self, name: str, failed: EnvironmentLacks | UnusableResult) -> None:
        self.done.left_out[name] = failed.message
        self.say(f"  {name} is left out: {failed.message}")


def _empty(directory: Path) -> Path:
    """A directory for one start of a program, without what an interrupted one has left in it."""
    if directory.exists():
        shutil.rmtree(directory)
    directory.mkdir(parents=True)
    return directory


def _load(configuration: Configuration) -> Configuration:
    concurrency, rate = load_of(configuration)
    return {"concurrency": concurrency or "unlimited", "request rate": rate or "unlimited"}


def _configuration_in(path: Path) -> Any:
    try:
        found = json_value(content(path, LARGEST_CONFIGURATION, through_links=True))
    except ValueError as error:
        raise InvalidConfiguration(f"{path} is not JSON: {error}", hint="another -o DIR, or remove this one") from error
    return found.get("configuration") if isinstance(found, dict) else None


def _text(values: Configuration) -> str:
    return ", ".join(
        f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}" for name, value in values.items()
    )
