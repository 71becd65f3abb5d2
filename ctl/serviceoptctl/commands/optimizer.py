"""`serviceoptctl optimizer`: the predecessor's command, option for option."""

from __future__ import annotations

import click

from serviceopt_journal.documents.requests import DeployPolicy, Separation, Submission
from serviceopt_journal.errors import EnvironmentLacks, ExitCode, InvalidConfiguration
from serviceoptctl import exporting
from serviceoptctl.commands.run import accepted
from serviceoptctl.displays import Display, display
from serviceoptctl.errors import note
from serviceoptctl.live import Live
from serviceoptctl.options import PluginName, config_option, json_option
from serviceoptctl.program import version_option
from serviceoptctl.source import daemon, reachable
from serviceoptctl.submission import log_is_wanted, submission
from serviceoptctl.watching import Ended, announce, report, standalone, watch

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


@click.command()
@click.option(
    "-lb", "--load_breakpoint", "--load-breakpoint", "load_breakpoint", is_flag=True,
    help="Go on from the breakpoint of the last run of the same identity.",
)  # fmt: skip
@click.option(
    "-d", "--deploy_policy", "--deploy-policy", "deploy_policy", type=click.Choice(["single", "multiple"]),
    default="single", show_default=True, help="The service on one machine, or spread over several.",
)  # fmt: skip
@click.option(
    "--backup", is_flag=False, flag_value="True", default="False", type=bool, metavar="[True|False]",
    help="Keep logs, configuration and raw benchmark output of every evaluation.",
)  # fmt: skip
@click.option(
    "-b", "--benchmark_policy", "--benchmark-policy", "benchmark", cls=PluginName, group="benchmarks",
    default="ais_bench", show_default=True, metavar="NAME", help="Benchmark client.",
)  # fmt: skip
@click.option(
    "-e", "--engine", "engine", cls=PluginName, group="engines",
    default="mindie", show_default=True, metavar="NAME", help="Serving framework.",
)  # fmt: skip
@click.option(
    "--pd", type=click.Choice(["competition", "disaggregation"]), default="competition", show_default=True,
    help="Prefill and decode on the same instance, or on separate ones.",
)  # fmt: skip
@config_option()
@click.option("--standalone", "alone", is_flag=True, help="Tune here, in the foreground, even if a daemon answers.")
@click.option("--daemon", "through_daemon", is_flag=True, help="Fail where no daemon answers.")
@click.option(
    "--log-level",
    type=click.Choice(LEVELS, case_sensitive=False),
    help="Log level of the tuning, as MODELEVALSTATE_LEVEL sets it.",
)
@click.option("-v", "--verbose", is_flag=True, help="The same as --log-level DEBUG, and a line for every event.")
@click.option("-q", "--quiet", is_flag=True, help="Show the recommendation and nothing before it.")
@json_option
@version_option
def optimizer(
    load_breakpoint: bool,
    deploy_policy: DeployPolicy,
    backup: bool,
    benchmark: str,
    engine: str,
    pd: Separation,
    configuration: str | None,
    alone: bool,
    through_daemon: bool,
    log_level: str | None,
    verbose: bool,
    quiet: bool,
    as_json: bool,
) -> ExitCode:
    """Tune with the options of `msserviceprofiler optimizer`.

    Waits until the run is over, prints the recommendation, and writes data_storage_<time>.csv below `store_dir`
    (result/store). Where no daemon answers the tuning is done in the foreground.
    """
    if alone and through_daemon:
        raise click.UsageError("--standalone and --daemon exclude each other")
    _refuse_what_comes_later(deploy_policy)
    body = submission(
        configuration=configuration,
        engine=engine,
        benchmark=benchmark,
        load_breakpoint=load_breakpoint,
        backup=backup,
        deploy_policy=deploy_policy,
        pd=pd,
        log_level="DEBUG" if verbose else log_level and log_level.upper(),
    )
    live = None if alone else daemon() if through_daemon else _daemon_if_any()
    shown = display(as_json=as_json, quiet=quiet, plain=live is None and log_is_wanted(body), verbose=verbose)
    end = _through(live, body, shown) if live else standalone(body, shown)
    report(end, as_json=as_json)
    path = exporting.store(end.table, end.store_directory)
    note(f"every result is in {path}")
    return end.exit_code


def _through(live: Live, body: Submission, shown: Display) -> Ended:
    answer = live.submit(body)
    accepted(answer.document, quietly=True)
    announce(shown, answer.document)
    return watch(live, str(answer.document.run), shown)


def _daemon_if_any() -> Live | None:
    try:
        live, why = reachable(), "no daemon answers"
    except EnvironmentLacks as error:
        live, why = None, error.message
    if live is None:
        note(f"{why}: tuning here, in the foreground (--daemon forbids that)")
    return live


def _refuse_what_comes_later(deploy_policy: str) -> None:
    if deploy_policy == "multiple":
        raise InvalidConfiguration("`-d multiple` (several machines) comes with a later release; use `-d single`")
