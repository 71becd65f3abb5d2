"""Without a daemon: one run in the foreground, or one import, on the same code as the service."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path

from serviceopt_journal.artefacts import ArtefactStore
from serviceopt_journal.codec import Recorded
from serviceopt_journal.documents.requests import Accepted, Import, ImportedResults, Submission
from serviceopt_journal.errors import NotFound
from serviceopt_journal.events import DaemonStopped, RunSubmitted, ServiceLaunching
from serviceopt_journal.places import Places
from serviceopt_journal.reader import JournalReader
from serviceoptd.bootstrap import opened
from serviceoptd.config import plugins
from serviceoptd.domain.state import RunState, State
from serviceoptd.evaluating.edited_files import contents_before
from serviceoptd.io import log
from serviceoptd.io.children_environment import own_prefix
from serviceoptd.service.daemon import Daemon
from serviceoptd.service.files import watch_files
from serviceoptd.submitting.importing import importing
from serviceoptd.submitting.machine_checks import must_answer
from serviceoptd.submitting.preparing import prepare
from serviceoptd.submitting.submission import leave_others_alone, submit

OnRecord = Callable[[Recorded, State], None]
OnAccepted = Callable[[Accepted], None]


def standalone(
    submission: Submission,
    *,
    places: Places,
    on_record: OnRecord | None = None,
    on_accepted: OnAccepted | None = None,
) -> tuple[RunState, Accepted]:
    """One run in the foreground, on the same code as the service; ends when the run is over, held or interrupted.

    Args:
        submission: the body of POST /v1/runs (docs/api.md).
        places: where the journal lies; the socket is served too, if it can be.
        on_record: called with each committed record and the state after it.
        on_accepted: called once before the work begins, with what POST /v1/runs answers.

    Returns:
        The run's state, and what POST /v1/runs answers. A run that is not `over` can be continued.

    Raises:
        ServiceoptError: it cannot be started; then nothing was changed on disk.
    """
    log.configure("ERROR")
    return asyncio.run(_in_foreground(submission, places, on_record, on_accepted))


async def _in_foreground(
    wanted: Submission, places: Places, on_record: OnRecord | None, on_accepted: OnAccepted | None
) -> tuple[RunState, Accepted]:
    left = _launch_without_end(places.state)
    prepared = prepare(
        wanted,
        _Installed,
        tool_prefix=own_prefix(),
        port_is_ours=left is not None,
        originals=contents_before(left.edited_files, ArtefactStore(places.state)) if left is not None else {},
    )
    await must_answer(prepared)
    async with opened(places, standalone=True) as daemon, daemon.served(places.socket, required=False):
        if on_record is not None:
            daemon.ledger.listen(on_record)
        await daemon.loop.recover()
        accepted = await submit(daemon.context, prepared, uid=_uid(), through="standalone")
        if on_accepted is not None:
            on_accepted(accepted)
        await leave_others_alone(daemon.context, accepted.run)
        if not accepted.complete:
            daemon.ledger.listen(lambda _record, state: _stop_at_the_end(daemon, state.runs[accepted.run]))
            watching = asyncio.ensure_future(watch_files(daemon, None))
            try:
                await daemon.work()
            finally:
                watching.cancel()
                await asyncio.gather(watching, return_exceptions=True)
        return daemon.ledger.state.runs[accepted.run], accepted


def import_results(wanted: Import, *, places: Places) -> ImportedResults:
    """Imports the predecessor's results without a daemon.

    Args:
        wanted: the body of POST /v1/import (docs/api.md).
        places: where the journal lies.

    Returns:
        What POST /v1/import answers.

    Raises:
        ServiceoptError: the file cannot be imported; then nothing was changed on disk.
    """
    prepared = importing.prepare_import(wanted)
    with contextlib.suppress(NotFound):  # looked at before the journal is opened, which writes
        submitted = (r.event for r in JournalReader.open(places.state).events(types={"run_submitted"}))
        known = [(event.run, event.measurement_identity) for event in submitted if isinstance(event, RunSubmitted)]
        importing.refuse_twice(known, prepared)
    log.configure("ERROR")
    return asyncio.run(_import_here(prepared, places))


async def _import_here(prepared: importing.PreparedImport, places: Places) -> ImportedResults:
    async with opened(places, standalone=True) as daemon:
        answer = await importing.import_results(daemon.context, prepared, uid=_uid())
        await daemon.ledger.commit(DaemonStopped(reason="the results are imported"))
        return answer


def _launch_without_end(state_directory: Path) -> ServiceLaunching | None:
    """The last launch in the journal if it has no end: its service may hold the port and have files edited, until
    recovery ends it and puts them back."""
    try:
        ends = {"service_launching", "service_stopped", "evaluation_interrupted"}
        last = list(JournalReader.open(state_directory).events(types=ends, newest=1))
    except NotFound:
        return None
    event = last[0].event if last else None
    return event if isinstance(event, ServiceLaunching) else None


def _stop_at_the_end(daemon: Daemon, run: RunState) -> None:
    if run.over or run.held:
        daemon.loop.stop("held: " + run.paused if run.held else "the run is over")


def _uid() -> int:
    import os

    return os.getuid()


class _Installed:
    """The engines and clients of this Python environment."""

    engine_class = staticmethod(plugins.engine_class)
    benchmark_class = staticmethod(plugins.benchmark_class)
