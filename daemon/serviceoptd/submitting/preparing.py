"""From what a client sends to a run that could begin: everything is checked before anything is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from serviceopt_journal.documents.requests import Submission
from serviceopt_journal.errors import EnvironmentLacks, InvalidConfiguration
from serviceoptd.config.load import Loaded, load_text
from serviceoptd.config.plugins import blaming
from serviceoptd.config.problems import ConfigurationErrors
from serviceoptd.domain.settings import RunSettings
from serviceoptd.domain.space.space import Space
from serviceoptd.engines.interface import Engine, ServiceOrder, ServicePlan
from serviceoptd.evaluating.trials import search_space
from serviceoptd.io.children_environment import isolated
from serviceoptd.io.http_probe import probe, told
from serviceoptd.io.ports import ensure_free
from serviceoptd.submitting.checking import examine
from serviceoptd.submitting.identity import measurement_identity, measurement_parts, run_identity
from serviceoptd.submitting.surveying import surveyed, with_model_facts, with_simulation_files
from serviceoptd.toolkit.interface import HttpProbe, Problem, Workplace
from serviceoptd.toolkit.secrets import mask

SEPARATED_MINDIE = "mindie_kubernetes"


@dataclass(frozen=True)
class Prepared:
    """A submission that was found to be good. Nothing has been written yet."""

    submission: Submission
    loaded: Loaded
    settings: RunSettings
    remarks: tuple[Problem, ...]  # of the engine, about its target fields on this machine
    seed: int
    parts: dict[str, str]
    measurement_identity: str
    run_identity: str
    first_plan: ServicePlan

    @property
    def warnings(self) -> list[str]:
        assumed = [self.loaded.assumed] if self.loaded.assumed else []
        remarks = [f"{remark.key}: {remark.message}" for remark in self.remarks]
        return [*assumed, *(str(warning) for warning in self.loaded.warnings), *remarks]


def prepare(
    submission: Submission,
    context_classes: Any,
    *,
    tool_prefix: Path | None,
    port_is_ours: bool = False,
    originals: Mapping[Path, bytes] | None = None,
) -> Prepared:
    """Checks a submission against its configuration and against this machine. Writes nothing.

    Args:
        submission: what the client sent.
        context_classes: gives `engine_class(name)` and `benchmark_class(name)`.
        tool_prefix: the tool's own virtual environment, hidden from children.
        port_is_ours: a service of ours is running, so the port may be taken by it.
        originals: what files that a launch of ours has edited now held before.

    Raises:
        ConfigurationErrors: the configuration is not valid, or still has placeholders.
        InvalidConfiguration: it asks for something that comes with a later release.
        EnvironmentLacks: a program, a model or a free port is missing.
    """
    _refuse_what_comes_later(submission)
    path = Path(submission.configuration_path) if submission.configuration_path else None
    loaded = load_text(
        submission.configuration_text,
        path,
        engine=_engine_of(submission),
        benchmark=submission.benchmark,
        environment=submission.environment,
    )
    checked = examine(loaded)
    if checked.unusable:
        raise ConfigurationErrors(checked.unusable)
    settings = loaded.settings
    if submission.backup:
        settings = msgspec.structs.replace(settings, backup=True)
    workplace = Workplace(
        directory=Path("/nonexistent"),  # nothing is written while a submission is checked
        working_directory=Path(submission.working_directory),
        environment=isolated(submission.environment, tool_prefix=tool_prefix, path_prefix=settings.path_prefix),
        originals=originals or {},
    )
    with blaming("engine", settings.engine):
        engine = context_classes.engine_class(settings.engine)(settings.engine_options)
        problems = engine.problems(workplace, settings.manage_lifecycle)
    with blaming("benchmark", settings.benchmark):
        benchmark = context_classes.benchmark_class(settings.benchmark)(settings.benchmark_options)
        problems = [*problems, *benchmark.problems(workplace)]
    _refuse(problems)
    with blaming("engine", settings.engine):
        settings, surveyed_remarks = surveyed(settings, engine, workplace)
        settings = with_model_facts(settings, engine, workplace)
        space = search_space(Space.of(settings.fields), engine)
        settings = with_simulation_files(settings, space, workplace)
        first_plan = _first_plan(settings, space, engine, workplace, port_is_ours=port_is_ours)
        identity = engine.identity(workplace)
    with blaming("benchmark", settings.benchmark):
        parts = measurement_parts(settings, identity, benchmark.identity(workplace))
    measurement = measurement_identity(parts)
    seed = submission.seed if submission.seed is not None else (loaded.seed or 0)
    return Prepared(
        submission=submission,
        loaded=loaded,
        settings=settings,
        remarks=surveyed_remarks,
        seed=seed,
        parts=mask("", parts),
        measurement_identity=measurement,
        run_identity=run_identity(measurement, settings, seed),
        first_plan=first_plan,
    )


def _refuse_what_comes_later(submission: Submission) -> None:
    if submission.deploy_policy == "multiple":
        raise InvalidConfiguration(
            "--deploy_policy multiple is not supported yet: a service spread over several machines comes with a later "
            "release",
            hint="use --deploy_policy single",
        )


def _engine_of(submission: Submission) -> str | None:
    """The engine that is meant: of MindIE there is one for each way to run prefill and decode.

    Raises:
        InvalidConfiguration: the one that was named runs both on the same instances.
    """
    if submission.pd == "competition":
        return submission.engine
    if submission.engine in (None, "mindie", SEPARATED_MINDIE):
        return SEPARATED_MINDIE
    raise InvalidConfiguration(
        f"--pd disaggregation is for the engine mindie; {submission.engine} does not deploy separate instances itself",
        hint="docs/disaggregation.md shows how the `command` engine tunes the ratio of vLLM instances behind a proxy",
    )


def _refuse(problems: list[Problem]) -> None:
    if not problems:
        return
    text = "\n".join(f"{problem.key}: {problem.message}" for problem in problems)
    hints = dict.fromkeys(problem.hint for problem in problems if problem.hint)
    kind = InvalidConfiguration if any(problem.configuration for problem in problems) else EnvironmentLacks
    raise kind(text, hint="; ".join(hints) or "`serviceoptctl doctor -c FILE` checks all of it")


async def must_answer(prepared: Prepared) -> None:
    """Asks a service that somebody else runs, before anything is written.

    Raises:
        EnvironmentLacks: it does not answer.
    """
    settings, wanted = prepared.settings, prepared.first_plan.ready
    if settings.manage_lifecycle or prepared.first_plan.simulated:
        return
    for question in wanted if isinstance(wanted, tuple) else (wanted,):
        if not isinstance(question, HttpProbe):
            continue
        answer = await probe(question, settings.limits.http)
        if answer.status != question.status:
            raise EnvironmentLacks(
                f"the service that is to be measured is not ready: {told(question, answer)}",
                hint="start it, or set manage_lifecycle = true so that it is started for each evaluation",
            )


def _first_plan(
    settings: RunSettings, space: Space, engine: Engine, workplace: Workplace, *, port_is_ours: bool
) -> ServicePlan:
    configuration = space.current() or space.decode([0.5] * len(space.dimensions))
    plan = engine.plan(
        ServiceOrder(
            configuration=configuration,
            fields=settings.fields,
            workplace=workplace,
            managed=settings.manage_lifecycle,
        )
    )
    if plan.listens_on is not None and plan.command is not None and not port_is_ours:
        ensure_free(*plan.listens_on)
    return plan
