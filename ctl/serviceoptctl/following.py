"""Records as they come, also across a restart of the daemon."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from serviceopt_journal.errors import DaemonUnreachable, EnvironmentLacks
from serviceoptctl.daemon_socket import answers
from serviceoptctl.documents import Record
from serviceoptctl.live import Live

PATIENCE = 120.0  # seconds without a daemon; systemd restarts a killed one within a few
POLL = 0.05  # seconds


def follow(
    live: Live,
    *,
    after: int,
    run: int | None = None,
    types: tuple[str, ...] = (),
    say: Callable[[str], None],
    patience: float = PATIENCE,
) -> Iterator[Record]:
    """Every record after `after`, each once, without end.

    Raises:
        DaemonUnreachable: the daemon was lost, and did not come back within `patience` seconds.
    """
    while True:
        try:
            for record in live.stream(after=after, run=run, types=types):
                after = record.seq
                yield record
        except DaemonUnreachable:
            pass  # it ended between the last answer and this request: wait for it all the same
        _await(live, say, patience)


def _await(live: Live, say: Callable[[str], None], patience: float) -> None:
    deadline = time.monotonic() + patience
    if _answers(live):
        time.sleep(POLL)  # it ends streams in an orderly stop a moment before it stops listening
        return
    say("the daemon does not answer; waiting for it to come back")
    while not _answers(live):
        if time.monotonic() > deadline:
            raise DaemonUnreachable(
                f"the daemon did not come back within {patience:.0f} s",
                hint="the run is kept in the journal and goes on when the daemon starts: `systemctl start serviceoptd`",
            )
        time.sleep(POLL)
    say("the daemon is back")


def _answers(live: Live) -> bool:
    try:
        return answers(live.connection.path)
    except EnvironmentLacks:  # a new socket gets its group a moment after it was made
        return False
