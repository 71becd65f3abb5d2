"""The command `serviceoptctl watch`: follows a run until it is over."""

from __future__ import annotations

import click

from serviceopt_journal.errors import ExitCode
from serviceoptctl.displays import display
from serviceoptctl.options import json_option, run_argument, verbose_option
from serviceoptctl.source import daemon
from serviceoptctl.watching import report
from serviceoptctl.watching import watch as watch_run


@click.command()
@run_argument
@verbose_option
@json_option
def watch(run: str, verbose: bool, as_json: bool) -> ExitCode:
    """Follow a run until it is over.

    Goes on across a restart of the daemon. Ctrl-C ends the watching and not the run. The exit code says how the run
    ended: 0 with a feasible recommendation, 11 where no configuration meets every SLO, 12 where nothing could be
    measured, 130 where it was cancelled.
    """
    end = watch_run(daemon(), run, display(as_json=as_json, verbose=verbose))
    report(end, as_json=as_json)
    return end.exit_code
