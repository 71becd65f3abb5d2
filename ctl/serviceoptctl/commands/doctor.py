"""The command `serviceoptctl doctor`: what this machine lacks."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from serviceopt_journal.documents.local import Examined, Finding
from serviceopt_journal.errors import ExitCode
from serviceoptctl.options import PluginName, config_option, json_option
from serviceoptctl.render.layout import folded
from serviceoptctl.render.text import echo_json, safe, width

if TYPE_CHECKING:
    from serviceoptd.config.load import Loaded
    from serviceoptd.doctor.doctor import Surroundings

_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}

INDENT = 6  # columns: of a level and the gap behind it


@click.command()
@config_option()
@click.option("-e", "--engine", cls=PluginName, group="engines", metavar="NAME", help="Serving framework.")
@click.option("-b", "--benchmark", cls=PluginName, group="benchmarks", metavar="NAME", help="Benchmark client.")
@click.option("--unit", is_flag=True, help="Look from inside the sandbox of serviceoptd.service, and print drop-ins.")
@json_option
def doctor(configuration: str | None, engine: str | None, benchmark: str | None, unit: bool, as_json: bool) -> ExitCode:
    """Check whether this machine has what a configuration needs.

    Programs, models, ports, devices, room and permissions, for a run that you would start here and now. With --unit
    (as root) also for the service: what its user cannot use inside the unit's sandbox is tried again with the drop-in
    that should fix it, and that drop-in is printed. Exit code 4 when something is missing.
    """
    from serviceoptctl.source import candidates
    from serviceoptd.config.load import discover, load
    from serviceoptd.doctor.doctor import Surroundings

    path = Path(configuration) if configuration is not None else discover(os.environ, Path.cwd())
    loaded = load(path, engine=engine, benchmark=benchmark, environment=os.environ)
    known = candidates()
    place = next((place for place in known if os.path.exists(place.socket)), known[0])  # noqa: PTH110 - may be forbidden
    around = Surroundings(place, os.environ, Path.cwd())
    found = []
    for finding in _findings(loaded, around, unit=unit):
        found.append(finding)
        if not as_json:
            _show(finding)
    failed = sum(finding.level == "fail" for finding in found)
    code = ExitCode.ENVIRONMENT if failed else ExitCode.OK
    drop_ins = _drop_ins(found)
    if as_json:
        echo_json(Examined(findings=tuple(found), drop_ins=drop_ins, exit_code=code))
        return code
    if drop_ins:
        click.echo(
            f"\nInstall these drop-ins, then `systemctl daemon-reload && systemctl restart serviceoptd`:\n\n{drop_ins}"
        )
    warned = sum(finding.level == "warn" for finding in found)
    click.echo(f"\n{len(found)} checks: {failed} failed, {warned} with a warning")
    return code


def _findings(loaded: Loaded, around: Surroundings, *, unit: bool) -> Iterator[Finding]:
    from serviceoptd.doctor.doctor import examine, needed
    from serviceoptd.doctor.unit_doctor import examine_unit

    yield from examine(loaded, around)
    if unit:
        yield from examine_unit(needed(loaded, around), is_root=os.geteuid() == 0)


def _drop_ins(found: list[Finding]) -> str:
    from serviceoptd.doctor.drop_ins import merged

    return merged(finding.drop_in for finding in found if finding.drop_in)


def _show(finding: Finding) -> None:
    level = click.style(finding.level.ljust(4), fg=_COLOURS[finding.level], bold=finding.level != "ok")
    room = None if (columns := width()) is None else columns - INDENT
    told = folded(f"{safe(finding.name)}: {safe(finding.message)}", room)
    hint = folded(safe(finding.hint), room) if finding.hint else []
    click.echo(("\n" + " " * INDENT).join([f"{level}  {told[0]}", *told[1:], *hint]))
