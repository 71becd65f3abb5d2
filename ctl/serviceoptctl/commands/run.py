"""The command `serviceoptctl run`: submits a run."""

from __future__ import annotations

import time

import click

from serviceopt_journal.documents.requests import Accepted
from serviceopt_journal.errors import ExitCode
from serviceoptctl.displays import display
from serviceoptctl.errors import note, warn
from serviceoptctl.options import PluginName, config_option, json_option, verbose_option
from serviceoptctl.render.outlook import outlook
from serviceoptctl.render.text import echo_json
from serviceoptctl.source import daemon
from serviceoptctl.submission import log_is_wanted, submission
from serviceoptctl.watching import announce, report, standalone, watch


@click.command()
@config_option()
@click.option("-e", "--engine", cls=PluginName, group="engines", metavar="NAME", help="Serving framework.")
@click.option("-b", "--benchmark", cls=PluginName, group="benchmarks", metavar="NAME", help="Benchmark client.")
@click.option("--name", default="", help="A name to find the run by.")
@click.option("--seed", type=click.IntRange(min=0), help="Seed of every random decision; else one is drawn.")
@click.option("-lb", "--load-breakpoint", is_flag=True, help="Go on with the last run of the same identity.")
@click.option("--backup", is_flag=True, help="Keep logs, configuration and raw output of every evaluation.")
@click.option("--watch", "watched", is_flag=True, help="Follow the run until it is over.")
@click.option("--standalone", "alone", is_flag=True, help="Do the run here, in the foreground, without a daemon.")
@verbose_option
@json_option
def run(
    configuration: str | None,
    engine: str | None,
    benchmark: str | None,
    name: str,
    seed: int | None,
    load_breakpoint: bool,
    backup: bool,
    watched: bool,
    alone: bool,
    verbose: bool,
    as_json: bool,
) -> ExitCode:
    """Submit a run to the daemon, or do it here with --standalone.

    The environment and the working directory of this command are those of the service and the client that will be
    started. Without a configuration and an engine the built-in simulated engine is tuned.
    """
    body = submission(
        configuration=configuration,
        engine=engine,
        benchmark=benchmark,
        name=name,
        seed=seed,
        load_breakpoint=load_breakpoint,
        backup=backup,
    )
    if alone:
        end = standalone(body, display(as_json=as_json, plain=log_is_wanted(body), verbose=verbose))
        report(end, as_json=as_json)
        return end.exit_code
    live = daemon()
    answer = live.submit(body)
    if as_json and not watched:
        echo_json(answer.told)
        return ExitCode.OK
    accepted(answer.document, quietly=watched)
    if not watched:
        return ExitCode.OK
    shown = display(as_json=as_json, verbose=verbose)
    announce(shown, answer.document)
    end = watch(live, str(answer.document.run), shown)
    report(end, as_json=as_json)
    return end.exit_code


def accepted(answer: Accepted, *, quietly: bool) -> None:
    """Says what became of a submission; on standard error where standard output is for something else."""
    for warning in answer.warnings:
        warn(warning)
    number = answer.run
    what = f"run {number} goes on" if answer.continued else f"run {number} submitted"
    if answer.complete:
        what = f"run {number} is complete already"
    if quietly:
        note(what)
        return
    click.echo(what)
    if answer.expected is not None:
        note(outlook(answer.expected, time.time()))
    follow_up = "best" if answer.complete else "watch"
    note(f"`serviceoptctl {follow_up} {number}` " + ("shows its result" if answer.complete else "follows it"))
