"""Runs a configuration in a process that SIGKILLs itself at a chosen commit: the daemon's own code, and a real death.

    killed_daemon.py CONFIGURATION STATE [--continue] [--after-seq N | --after TYPE | --before TYPE]
    killed_daemon.py CONFIGURATION ROOT --every N [N...]

The first form runs once: it dies right after the commit that holds event number N, or right after or right before the
commit of the first event of a type. The second one, for each N, runs in ROOT/N, dies after N, goes on to the end, and
prints the two exit statuses as JSON; its runs are forked from one process that has run the configuration once itself, so
that they find every module imported, also those that only a run asks for.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from serviceopt_journal.codec import Recorded
from serviceopt_journal.documents.requests import Submission
from serviceopt_journal.events import Event
from serviceopt_journal.places import Places
from serviceopt_journal.store import Journal
from serviceoptd import foreground


def submission(configuration: Path, *, go_on: bool) -> Submission:
    """What `serviceoptctl run --standalone` hands over."""
    return Submission(
        configuration_text=configuration.read_text(),
        configuration_path=str(configuration),
        load_breakpoint=go_on,
        environment=dict(os.environ),
        working_directory=str(configuration.parent),
    )


def die() -> None:
    """No handler, no `finally`, no flush: what SIGKILL leaves."""
    os.kill(os.getpid(), signal.SIGKILL)


def dies(*, after_seq: int | None = None, after: str = "", before: str = "") -> None:
    """From now on this process dies at that commit."""
    append = Journal.append

    def appended_then_dead(journal: Journal, *events: Event) -> tuple[Recorded, ...]:
        types = [str(event.__struct_config__.tag) for event in events]
        if before and before in types:
            die()
        recorded = append(journal, *events)
        if (after and after in types) or (after_seq is not None and recorded[-1].seq >= after_seq):
            die()
        return recorded

    Journal.append = appended_then_dead  # type: ignore[method-assign]


def run(configuration: Path, state: Path, *, go_on: bool) -> None:
    """One standalone run, to its end or death."""
    state.mkdir(parents=True, exist_ok=True)
    places = Places(state=state, socket=state / "socket")
    foreground.standalone(submission(configuration, go_on=go_on), places=places, on_record=None)


def in_a_fork(work: Callable[[], None]) -> int:
    """The exit status of `work` in a process of its own; -9 when it was killed."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def every(configuration: Path, root: Path, boundaries: list[int]) -> None:
    """Dies after each of these events in turn, and goes on."""
    with tempfile.TemporaryDirectory(dir=root, prefix="imports-") as state:  # imports what a run needs, once
        run(configuration, Path(state), go_on=False)
    for seq in boundaries:
        state = root / str(seq)

        def killed(state: Path = state, seq: int = seq) -> None:
            dies(after_seq=seq)
            run(configuration, state, go_on=False)

        def resumed(state: Path = state) -> None:
            run(configuration, state, go_on=True)

        print(json.dumps({"seq": seq, "killed": in_a_fork(killed), "resumed": in_a_fork(resumed)}), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("configuration", type=Path)
    parser.add_argument("state", type=Path)
    parser.add_argument("--continue", dest="go_on", action="store_true")
    parser.add_argument("--after-seq", type=int)
    parser.add_argument("--after", default="")
    parser.add_argument("--before", default="")
    parser.add_argument("--every", type=int, nargs="+")
    asked = parser.parse_args()
    if asked.every:
        every(asked.configuration, asked.state, asked.every)
        return
    if asked.after_seq is not None or asked.after or asked.before:
        dies(after_seq=asked.after_seq, after=asked.after, before=asked.before)
    run(asked.configuration, asked.state, go_on=asked.go_on)


if __name__ == "__main__":
    main()
