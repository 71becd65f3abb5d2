"""The command `serviceoptctl check`: validates a configuration."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click
from msgspec import structs

from serviceopt_journal.documents.checked import (
    CheckedConfiguration,
    CheckedField,
    CheckedObjective,
    CheckedSpace,
    CheckedSummary,
    ConfigurationProblem,
    Planned,
    Unusable,
)
from serviceopt_journal.errors import ExitCode
from serviceopt_journal.metric_table import METRIC, SUCCESS_RATE
from serviceoptctl.errors import note
from serviceoptctl.options import PluginName, config_option, json_option
from serviceoptctl.render.text import echo_json, facts, safe, say, table, value_text
from serviceoptctl.render.units import latency, several

if TYPE_CHECKING:
    from serviceoptd.config.problems import ConfigProblem


@click.command()
@config_option()
@click.option("-e", "--engine", cls=PluginName, group="engines", metavar="NAME", help="Serving framework.")
@click.option("-b", "--benchmark", cls=PluginName, group="benchmarks", metavar="NAME", help="Benchmark client.")
@click.option("--dry-run", is_flag=True, help="Show the commands that the first evaluation would start.")
@json_option
def check(
    configuration: str | None, engine: str | None, benchmark: str | None, dry_run: bool, as_json: bool
) -> ExitCode:
    """Validate a configuration; --dry-run shows what would be started.

    Nothing is started and nothing is written. Placeholders that are still to be replaced are listed first, and alone;
    then what contradicts itself; then what the configuration means. `doctor` looks whether this machine has it all.
    """
    from serviceopt_journal.places import places
    from serviceoptd.config.load import discover
    from serviceoptd.submitting import checking

    path = Path(configuration) if configuration is not None else discover(os.environ, Path.cwd())
    checked = checking.check(path, engine=engine, benchmark=benchmark, environment=os.environ)
    if found := checked.unusable:
        if as_json:
            echo_json(Unusable(problems=_problems(found), exit_code=ExitCode.CONFIGURATION))
        for problem in () if as_json else found:
            say(safe(problem))
        return ExitCode.CONFIGURATION
    for remark in () if as_json else checked.remarks:
        note(f"note: {remark}")
    document = checking.summary(checked)
    # Planned also where it is not shown: an engine or a client may refuse what every single value allows.
    commands = checking.dry_run(checked, places().state)
    if as_json:
        whole = CheckedConfiguration(
            **structs.asdict(document),
            remarks=_problems(checked.remarks),
            commands=commands if dry_run else None,
            exit_code=ExitCode.OK,
        )
        echo_json(whole)
        return ExitCode.OK
    _show_summary(document)
    if dry_run:
        _show_commands(commands, document)
    return ExitCode.OK


def _problems(found: Iterable[ConfigProblem]) -> tuple[ConfigurationProblem, ...]:
    return tuple(ConfigurationProblem(**asdict(problem)) for problem in found)


def _show_summary(document: CheckedSummary) -> None:
    space, budget, search = document.space, document.budget, document.search
    hours = f", {budget.max_hours:g} hours at most" if budget.max_hours else ""
    facts(
        [
            ("configuration", document.file or "(defaults)"),
            ("engine", document.engine + ("" if document.managed else " (running elsewhere; only measured)")),
            ("client", document.benchmark),
            ("note", document.assumed),
            ("objective", _objective(document.objective)),
            (
                "budget",
                f"{several(budget.evaluations, 'configuration')}, measured {_times(search.repeats)} each{hours}",
            ),
            ("search", f"{search.strategy}, {several(search.n_particles, 'particle')}{_rules(search.rules)}"),
            ("space", _size(space)),
        ]
    )
    click.echo("")
    rows = [
        (
            field.name,
            field.dtype,
            _range(field),
            value_text(field.first),
            ("restarts the service" if field.restart else "load") if field.searched else "fixed or derived",
        )
        for field in space.fields
    ]
    table(("parameter", "type", "values", "first" if document.current_setting_known else "first*", ""), rows)
    if not document.current_setting_known:
        say("* the middle of the space: no parameter has a `value`")


def _objective(objective: CheckedObjective) -> str:
    per_device = " per device" if objective.per_device else ""
    limits = [f"{slo.metric} {slo.statistic} <= {latency(slo.limit)}" for slo in objective.slos]
    limits.append(f"{METRIC[SUCCESS_RATE].label} >= {objective.success_rate:g}")
    return f"most {objective.maximise}{per_device} with {', '.join(limits)}"


def _rules(names: Sequence[str]) -> str:
    return f", judged by {', '.join(names)}" if names else ""


def _times(repeats: int) -> str:
    return "once" if repeats == 1 else f"{repeats} times"


def _size(space: CheckedSpace) -> str:
    count = space.cardinality
    size = "more configurations than can be counted" if count is None else several(count, "configuration")
    return f"{several(space.dimensions, 'dimension')}, {size}"


def _range(field: CheckedField) -> str:
    if field.dtype == "enum":
        return ", ".join(value_text(value) or '""' for value in field.dtype_param)
    if field.dtype == "bool":
        return "false, true"
    if not field.searched:
        return ""
    step = f" step {value_text(field.dtype_param)}" if field.dtype == "range" else ""
    of = f" of {field.dtype_param}" if field.dtype == "ratio" else ""
    return f"{value_text(field.min)}..{value_text(field.max)}{step}{of}"


def _show_commands(commands: tuple[Planned, ...], document: CheckedSummary) -> None:
    which = "the current setting" if document.current_setting_known else "the middle of the space"
    click.echo(f"\nThe first evaluation ({which}) would start, without a shell:")
    if not commands:
        click.echo("  nothing: it runs in process")
    for command in commands:
        ready = f", ready when {command.ready}" if command.ready else ""
        click.echo("")
        say(f"{command.role}, in {safe(command.working_directory)}{safe(ready)}:")
        for path, content in command.files.items():
            click.echo(f"  # writes {safe(path)} ({len(content)} characters)")
        assignments = [f"{name}={shlex.quote(value)}" for name, value in command.environment.items()]
        click.echo("  " + safe(" ".join((*assignments, shlex.join(command.argv)))))
