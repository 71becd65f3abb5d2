"""Where the client's documents come from: the daemon, or the journal when there is no daemon."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from serviceopt_journal.errors import DaemonUnreachable, EnvironmentLacks, NotFound
from serviceopt_journal.places import SYSTEM_SOCKET, SYSTEM_STATE, Places, places
from serviceoptctl.daemon_socket import DaemonStopped, answers
from serviceoptctl.documents import Source
from serviceoptctl.errors import warn

if TYPE_CHECKING:
    from serviceoptctl.live import Live

JOURNAL = "journal.db"
ANCHOR = "journal.anchor"
HOW_TO_START = (
    "start one (`systemctl start serviceoptd`, or `serviceoptd` in a terminal), or do without: "
    "`serviceoptctl run --standalone`; SERVICEOPT_STATE_DIR and SERVICEOPT_SOCKET name other places"
)


def candidates() -> list[Places]:
    """Where a daemon and its journal may be: this user's own, then the machine's. Named places are the only ones."""
    own = places()
    named = {"SERVICEOPT_STATE_DIR", "SERVICEOPT_SOCKET"} & set(os.environ)
    machine = Places(SYSTEM_STATE, SYSTEM_SOCKET)
    return [own] if named or own == machine else [own, machine]


def reachable() -> Live | None:
    """The daemon that answers, this user's own first.

    Raises:
        DaemonStopped: one is there whose process is stopped.
        EnvironmentLacks: none answers, and one is there that this user may not talk to.
    """
    forbidden: EnvironmentLacks | None = None
    for place in candidates():
        try:
            if answers(place.socket):
                return _live(place.socket)
        except EnvironmentLacks as error:
            forbidden = error
    if forbidden is not None:
        raise forbidden
    return None


def _live(socket: Path) -> Live:
    # imported with a daemon only: the journal is read without HTTP
    from serviceoptctl.connection import Connection
    from serviceoptctl.live import Live

    return Live(Connection(socket))


def daemon() -> Live:
    """The daemon, for what only a daemon can do.

    Raises:
        DaemonUnreachable: nobody listens on the socket.
        EnvironmentLacks: this user may not use it.
    """
    if live := reachable():
        return live
    raise DaemonUnreachable(f"no daemon answers on {_sockets()}", hint=HOW_TO_START)


def journal_directory() -> Path:
    """The directory of the journal: this user's own where there is one, else the machine's.

    Raises:
        DaemonUnreachable: there is none.
        EnvironmentLacks: this user may not read it.
    """
    for place in candidates():
        try:
            (place.state / JOURNAL).open("rb").close()
            if (place.state / ANCHOR).exists():
                (place.state / ANCHOR).open("rb").close()
        except PermissionError as error:
            raise EnvironmentLacks(
                f"no permission to read the journal in {place.state}",
                hint="ask to be added to its group, `serviceopt` where the package made one, then log in again",
            ) from error
        except OSError:
            if not (place.state / ANCHOR).exists():  # with an anchor there was a journal: its loss is damage
                continue
        return place.state
    directories = " or ".join(str(place.state) for place in candidates())
    raise DaemonUnreachable(
        f"no daemon answers on {_sockets()}, and there is no journal in {directories}", hint=HOW_TO_START
    )


def open_source() -> Source:
    """The daemon where one answers, else the journal.

    Raises:
        DaemonUnreachable: neither is there.
        EnvironmentLacks: this user may use neither.
    """
    stopped = None
    try:
        if live := reachable():
            return live
    except DaemonStopped as error:
        from serviceopt_journal.documents.runs import Daemon

        warn(f"{error.message}, so this is read from the journal; {error.hint}")
        stopped = Daemon(pid=error.pid, stopped=True)
    except EnvironmentLacks:
        # nothing of the user's own to show instead; os.path: false, and no error, where the directory is closed to us
        if not os.path.exists(places().state / JOURNAL):  # noqa: PTH110
            raise
    from serviceoptctl.from_journal import FromJournal

    return FromJournal.open(journal_directory(), daemon=stopped)


def _sockets() -> str:
    return " or ".join(str(place.socket) for place in candidates())


def current_run(source: Source) -> int:
    """The run that is worked on; the only queued one where none is.

    Raises:
        NotFound: there is none, or it is not clear which.
    """
    status = source.status().document
    if status.current is not None:
        return status.current.run
    queued = status.queued
    if len(queued) == 1:
        return queued[0]
    if queued:
        raise NotFound(f"name one of the runs in the queue: {', '.join(map(str, queued))}")
    raise NotFound("no run is under way", hint="`serviceoptctl runs` lists those that are over")
