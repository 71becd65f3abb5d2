"""What can be done to a run that is under way."""

from __future__ import annotations

import click

from serviceoptctl.documents import LATEST
from serviceoptctl.live import Live
from serviceoptctl.render.run import title
from serviceoptctl.render.text import echo_json, safe
from serviceoptctl.source import current_run, daemon


def act(verb: str, run: str | None, reason: str, *, as_json: bool) -> None:
    """Asks the daemon to `pause`, `resume` or `cancel` a run, and says how the run stands now.

    Raises:
        DaemonUnreachable: only a daemon can do it.
        RefusedError: not possible in the run's present state.
    """
    live = daemon()
    answer = live.act(meant(live, run), verb, reason)
    if as_json:
        echo_json(answer.told)
    else:
        click.echo(safe(f"run {title(answer.document)}: {answer.document.status}"))


def meant(live: Live, run: str | None) -> int:
    """The number of the run that was named; without a name, of the one under way.

    Raises:
        NotFound: none is under way, or `latest` was named and there is none at all.
    """
    if run is None:
        return current_run(live)
    return live.run(LATEST).document.run if run == LATEST else int(run)
