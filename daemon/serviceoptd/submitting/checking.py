"""What `serviceoptctl check` finds out: is a configuration complete, does it go together, and what would it start.

Reads the configuration and nothing else; makes nothing on disk and starts nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from serviceopt_journal.documents.checked import (
    CheckedBudget,
    CheckedField,
    CheckedObjective,
    CheckedSearch,
    CheckedSlo,
    CheckedSpace,
    CheckedSummary,
    Planned,
)
from serviceopt_journal.documents.requests import Submission
from serviceoptd.config import plugins
from serviceoptd.config.load import text_of
from serviceoptd.config.problems import ConfigurationErrors
from serviceoptd.engines.interface import ServicePlan
from serviceoptd.io.children_environment import own_prefix
from serviceoptd.submitting.beside_errors import all_together
from serviceoptd.submitting.choices import refuse_choices_of_another_server, with_refused_choices
from serviceoptd.submitting.cross_checking import cross_checked
from serviceoptd.submitting.draft import Draft
from serviceoptd.submitting.planning import Plans, first_configuration, first_plans
from serviceoptd.submitting.reading import read
from serviceoptd.submitting.surveying import surveyed
from serviceoptd.toolkit.interface import Command, HttpProbe, LogProbe, Probe, Workplace
from serviceoptd.toolkit.secrets import mask, mask_argv, mask_text


def check(
    path: Path | None,
    *,
    engine: str | None = None,
    benchmark: str | None = None,
    environment: Mapping[str, str],
    working_directory: Path | None = None,
) -> Draft:
    """Checks a configuration file; None: the defaults alone. What the engine finds here for its fields is filled in.

    The same steps as those of a submission (`preparing.py`), but problems are told and not raised, and nothing is
    asked of this machine: `doctor` does that.

    Args:
        path: the file.
        engine, benchmark: the command line's choice; they win over the file's.
        environment: the submitter's.
        working_directory: the submitter's; None: the present one.

    Raises:
        ConfigurationErrors: it cannot be loaded; every error at once.
    """
    submission = Submission(
        configuration_text=text_of(path),
        configuration_path=str(path) if path else None,
        engine=engine,
        benchmark=benchmark,
        environment=dict(environment),
        working_directory=str(working_directory or Path.cwd()),
    )
    read_here = partial(read, installed=plugins, tool_prefix=own_prefix())
    try:
        draft = read_here(submission)
    except ConfigurationErrors as errors:
        raise all_together(errors, submission, read_here) from errors
    draft = surveyed(draft)
    draft = cross_checked(draft)
    return draft if draft.unusable else with_refused_choices(draft)


def dry_run(draft: Draft, state: Path) -> tuple[Planned, ...]:
    """The commands of the first particle, if the daemon's directory were `state`.

    Raises:
        InvalidConfiguration: the engine or the client refuses these values, or a choice leads to another server.
    """
    plans = first_plans(draft, state)
    refuse_choices_of_another_server(draft)
    return first_commands(plans)


def summary(draft: Draft) -> CheckedSummary:
    """What the configuration means: search space, budget, objective, what runs."""
    settings, objective = draft.settings, draft.settings.objective
    return CheckedSummary(
        file=str(draft.loaded.path or ""),
        engine=settings.engine,
        benchmark=settings.benchmark,
        assumed=draft.loaded.assumed,
        managed=settings.manage_lifecycle,
        objective=CheckedObjective(
            maximise=objective.maximise,
            per_device=objective.per_device,
            success_rate=objective.success_rate,
            slos=tuple(CheckedSlo(metric=s.metric, statistic=s.statistic, limit=s.limit) for s in objective.slos),
        ),
        space=_space(draft),
        current_setting_known=draft.space.current() is not None,
        budget=CheckedBudget(evaluations=settings.budget.evaluations, max_hours=settings.budget.max_hours),
        search=CheckedSearch(
            strategy=settings.search.strategy,
            n_particles=settings.search.n_particles,
            repeats=settings.measuring.repeats,
            rules=settings.search.rules,
        ),
    )


def _space(draft: Draft) -> CheckedSpace:
    space, first = draft.space, first_configuration(draft)
    searched = {searched.name for searched in space.dimensions}
    fields = (
        CheckedField(
            name=target.name,
            dtype=target.dtype,
            min=target.min,
            max=target.max,
            dtype_param=target.dtype_param,
            searched=target.name in searched,
            restart=not target.load,
            first=first[target.name],
        )
        for target in space.fields
    )
    return CheckedSpace(dimensions=len(space.dimensions), cardinality=space.cardinality(), fields=tuple(fields))


def first_commands(plans: Plans) -> tuple[Planned, ...]:
    """The first commands for people to read: secrets masked, with when the service counts as ready."""
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
