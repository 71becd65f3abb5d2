"""`serviceoptd`: the daemon's command line."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

import click

from serviceopt_journal.errors import ServiceoptError
from serviceopt_journal.places import Places, places
from serviceopt_journal.unseen import visible
from serviceoptd import __version__
from serviceoptd.io.log import LEVELS

DROP_IN = Path("/etc/serviceoptd/runs.d")


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="serviceoptd")
@click.option("--state-dir", type=click.Path(path_type=Path), help="Where the journal lies [SERVICEOPT_STATE_DIR].")
@click.option("--socket", type=click.Path(path_type=Path), help="Where the API listens [SERVICEOPT_SOCKET].")
@click.option(
    "--config-dir",
    type=click.Path(path_type=Path),
    default=DROP_IN,
    show_default=True,
    help="Watched directory: each *.toml file in it becomes a run.",
)
@click.option("--log-level", type=click.Choice(LEVELS, case_sensitive=False), default="INFO", show_default=True)
def main(state_dir: Path | None, socket: Path | None, config_dir: Path, log_level: str) -> None:
    """Tune the serving parameters of LLM services; runs are submitted with serviceoptctl.

    Ends on SIGTERM, SIGINT and SIGHUP after stopping the service under test; what was interrupted goes on at the next start.
    SIGUSR1 lets the evaluation under way finish first.
    """
    from serviceoptd import bootstrap
    from serviceoptd.io import log

    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # inherited as ignored, exit statuses of our children would be lost
    log.configure(log_level.upper())
    defaults = places()
    state = (state_dir or defaults.state).absolute()
    default_socket = defaults.socket if state_dir is None else state / "serviceoptd.sock"
    try:
        asyncio.run(bootstrap.serve(Places(state, (socket or default_socket).absolute()), drop_in=config_dir))
    except ServiceoptError as error:
        click.echo(visible(f"serviceoptd: {error}"), err=True)
        if error.hint:
            click.echo(visible(f"hint: {error.hint}"), err=True)
        sys.exit(int(error.exit_code))


if __name__ == "__main__":
    main()
