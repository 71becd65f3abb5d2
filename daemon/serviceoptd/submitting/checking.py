"""What `serviceoptctl check` finds out: is a configuration complete, does it go together, and what would it start.

Reads the configuration and nothing else; makes nothing on disk and starts nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from serviceopt_journal.events import Configuration
from serviceoptd.benchmarks.interface import MeasurementOrder, MeasurementPlan
from serviceoptd.config import plugins
from serviceoptd.config.load import Loaded, load
from serviceoptd.config.problems import ConfigProblem
from serviceoptd.config.source import parse
from serviceoptd.domain.load import load_of
from serviceoptd.domain.settings import RunSettings
from serviceoptd.domain.space.space import Space
from serviceoptd.engines.interface import ServiceOrder, ServicePlan
from serviceoptd.evaluating.trials import search_space
from serviceoptd.io.children_environment import isolated, own_prefix
from serviceoptd.submitting.cross_checks import Disagreement, disagreements, remarks
from serviceoptd.submitting.surveying import surveyed
from serviceoptd.toolkit.interface import Command, HttpProbe, LogProbe, Probe, Workplace
from serviceoptd.toolkit.secrets import mask, mask_argv, mask_text


@dataclass(frozen=True)
class Planned:
    """A command that would be started, with its secrets masked."""

    role: str  # service, client, or stop
    argv: tuple[str, ...]
    working_directory: str
    environment: dict[str, str] = field(default_factory=dict)  # what is set beyond the submitter's
    files: dict[str, str] = field(default_factory=dict)  # path -> content that would be written before, edits included
    ready: str = ""  # when the service counts as ready

    def document(self) -> dict[str, Any]:
        """The same for `--json`."""
        return {**self.__dict__, "argv": list(self.argv)}


@dataclass(frozen=True)
class Checked:
    """A configuration, what is wrong with it, and what it means."""

    loaded: Loaded
    problems: tuple[ConfigProblem, ...]  # values that contradict each other
    remarks: tuple[ConfigProblem, ...]  # legal, and probably not what was meant
    space: Space

    @property
    def unusable(self) -> tuple[ConfigProblem, ...]:
        """Why it cannot be run: placeholders first and alone, then contradictions; empty when it can be."""
        return self.loaded.placeholders or self.problems


def check(
    path: Path | None,
    *,
    engine: str | None = None,
    benchmark: str | None = None,
    environment: Mapping[str, str],
    working_directory: Path | None = None,
    installed: plugins.Plugins | None = None,
) -> Checked:
    """Checks a configuration file; None: the defaults alone. What the engine finds here for its fields is filled in.

    Args:
        path: the file.
        engine, benchmark: the command line's choice; they win over the file's.
        environment: the submitter's.
        working_directory: the submitter's; None: the present one.
        installed: the plugins to choose from; None: those of this Python environment.

    Raises:
        ConfigurationErrors: it cannot be loaded; every error at once.
    """
    loaded = load(path, engine=engine, benchmark=benchmark, environment=environment, installed=installed)
    settings = loaded.settings
    children = isolated(environment, own_prefix(), settings.path_prefix)
    workplace = Workplace(Path("/nonexistent"), working_directory or Path.cwd(), children)
    with plugins.blaming("engine", settings.engine):
        chosen = (installed or plugins.installed()).engine(settings.engine)(settings.engine_options)
        settings, found = surveyed(settings, chosen, workplace)
    told = tuple(ConfigProblem(str(path or ""), 0, each.key, each.message, each.hint) for each in found)
    return examine(replace(loaded, settings=settings, warnings=(*loaded.warnings, *told)), chosen)


def examine(loaded: Loaded, engine: object = None) -> Checked:
    """What is wrong with a configuration that could be loaded. `engine`: makes the space that is really searched."""
    space = search_space(Space.of(loaded.settings.fields), engine)
    return Checked(
        loaded=loaded,
        problems=_placed(loaded, disagreements(loaded.settings, space)),
        remarks=(*loaded.warnings, *_placed(loaded, remarks(loaded.settings, space))),
        space=space,
    )


def summary(checked: Checked) -> dict[str, Any]:
    """What the configuration means: search space, budget, objective, what runs. Plain values, for `--json`."""
    settings, space = checked.loaded.settings, checked.space
    searched = {searched.name for searched in space.dimensions}
    current = space.current()
    return {
        "file": str(checked.loaded.path or ""),
        "engine": settings.engine,
        "benchmark": settings.benchmark,
        "assumed": checked.loaded.assumed,
        "managed": settings.manage_lifecycle,
        "objective": {
            "maximise": settings.objective.maximise,
            "per_device": settings.objective.per_device,
            "success_rate": settings.objective.success_rate,
            "slos": [
                {"metric": slo.metric, "statistic": slo.statistic, "limit": slo.limit}
                for slo in settings.objective.slos
            ],
        },
        "space": {
            "dimensions": len(space.dimensions),
            "cardinality": space.cardinality(),
            "fields": [
                {
                    "name": target.name,
                    "dtype": target.dtype,
                    "min": target.min,
                    "max": target.max,
                    "dtype_param": target.dtype_param,
                    "searched": target.name in searched,
                    "restart": not target.load,
                    "first": first_configuration(space)[target.name],
                }
                for target in space.fields
            ],
        },
        "current_setting_known": current is not None,
        "budget": {"evaluations": settings.budget.evaluations, "max_hours": settings.budget.max_hours},
        "search": {
            "strategy": settings.search.strategy,
            "n_particles": settings.search.n_particles,
            "repeats": settings.measuring.repeats,
            "rules": list(settings.search.rules),
        },
    }


def first_configuration(space: Space) -> Configuration:
    """What a run measures first: the current setting; the middle of the space where none is given."""
    return space.repair({})


@dataclass(frozen=True)
class Plans:
    """What the first particle would start, as the engine and the client give it. Nothing of it exists."""

    service: ServicePlan
    client: MeasurementPlan
    workplace: Workplace

    def commands(self) -> list[tuple[str, Command]]:
        """Those that are processes, by role."""
        found = (("service", self.service.command), ("stop", self.service.stop), ("client", self.client.command))
        return [(role, command) for role, command in found if command is not None]


def first_plans(
    settings: RunSettings, space: Space, *, environment: Mapping[str, str], working_directory: Path, state: Path
) -> Plans:
    """The plans for the first particle, the same data as the daemon uses. `state` need not exist.

    Raises:
        InvalidConfiguration: the engine or the client refuses these values.
    """
    with plugins.blaming("engine", settings.engine):
        engine = plugins.engine_class(settings.engine)(settings.engine_options)
        configuration = first_configuration(search_space(space, engine))
    evaluation = state / "runs" / "N" / "evaluation-1"
    launch = Workplace(evaluation / "launch-1", working_directory, environment)
    to_serve = ServiceOrder(
        configuration=configuration, fields=settings.fields, workplace=launch, managed=settings.manage_lifecycle
    )
    concurrency, rate = load_of(configuration)
    to_measure = MeasurementOrder(
        configuration=configuration,
        fields=settings.fields,
        concurrency=concurrency,
        request_rate=rate,
        seed=1,
        warm_up_requests=0,
        objective=settings.objective,
        workplace=Workplace(evaluation / "measurement-1-1", working_directory, environment),
    )
    with plugins.blaming("engine", settings.engine):
        service = engine.plan(to_serve)
    with plugins.blaming("benchmark", settings.benchmark):
        client = plugins.benchmark_class(settings.benchmark)(settings.benchmark_options).plan(to_measure)
    return Plans(service, client, launch)


def dry_run(
    checked: Checked, *, environment: Mapping[str, str], working_directory: Path, state: Path
) -> tuple[Planned, ...]:
    """The commands of the first particle, for a submitter with this environment and directory.

    Raises:
        InvalidConfiguration: the engine or the client refuses these values.
    """
    settings = checked.loaded.settings
    children = isolated(environment, own_prefix(), settings.path_prefix)
    plans = first_plans(settings, checked.space, environment=children, working_directory=working_directory, state=state)
    return first_commands(plans)


def first_commands(plans: Plans) -> tuple[Planned, ...]:
    """The same for people: secrets masked, with when the service counts as ready."""
    found: list[Planned] = []
    for role, command in plans.commands():
        is_service = role == "service"
        shown = replace(command, files={**command.files, **plans.service.edits}) if is_service else command
        found.append(_planned(role, shown, plans.workplace, _readiness(plans.service) if is_service else ""))
    return tuple(found)


def _planned(role: str, command: Command, workplace: Workplace, ready: str) -> Planned:
    return Planned(
        role=role,
        argv=mask_argv(command.argv),
        working_directory=str(command.working_directory or workplace.working_directory),
        environment={name: mask(name, value) for name, value in command.environment.items()},
        files={str(path): mask_text(content.decode(errors="replace")) for path, content in command.files.items()},
        ready=ready,
    )


def _readiness(plan: ServicePlan) -> str:
    probes = plan.ready if isinstance(plan.ready, tuple) else () if plan.ready is None else (plan.ready,)
    return " and ".join(_sign(probe) for probe in probes) or "at once"


def _sign(probe: Probe) -> str:
    match probe:
        case HttpProbe(host, port, path, method, status):
            return f"{method} http://{host}:{port}{path} answers {status}"
        case LogProbe(text):
            return f"its output contains {text!r}"


def _placed(loaded: Loaded, found: tuple[Disagreement, ...]) -> tuple[ConfigProblem, ...]:
    source = parse(loaded.text, str(loaded.path) if loaded.path else "", {})
    return tuple(source.problem(tuple(each.key.split(".")), each.message, each.allowed) for each in found)
