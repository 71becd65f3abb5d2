"""Watched files: runs dropped into a directory, and configurations that change while their run is under way."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import structlog

from serviceopt_journal.documents.requests import Submission
from serviceopt_journal.errors import ServiceoptError
from serviceopt_journal.events import DropInRefused, LogLevelChanged, RunSubmitted
from serviceopt_journal.foreign_files import LARGEST_CONFIGURATION, UnfitFile, content
from serviceopt_journal.foreign_text import NotText, decoded
from serviceoptd.config.masking import masked_text
from serviceoptd.domain.state import RunState
from serviceoptd.evaluating.ledger import RETRY_AFTER
from serviceoptd.evaluating.surroundings.lacks import heals
from serviceoptd.io.watching import Change, Watcher
from serviceoptd.service import control
from serviceoptd.service.daemon import Daemon
from serviceoptd.submitting.machine_checks import must_answer
from serviceoptd.submitting.preparing import prepare
from serviceoptd.submitting.submission import submit

LOG = structlog.get_logger("serviceoptd")


async def watch_files(daemon: Daemon, drop_in: Path | None) -> None:
    """Submits what is dropped into `drop_in`, and takes over changed configurations; until it is cancelled."""
    unlisten = daemon.ledger.listen(
        lambda record, _state: submitted.set() if isinstance(record.event, RunSubmitted) else None
    )
    submitted = asyncio.Event()
    refused: set[tuple[Path, str]] = set()
    try:
        while True:  # a new run brings a new file to watch
            submitted.clear()
            watching = asyncio.ensure_future(_watch(daemon, drop_in, refused))
            waiting = asyncio.ensure_future(submitted.wait())
            try:
                await asyncio.wait({watching, waiting}, return_when=asyncio.FIRST_COMPLETED)
                if watching.done():
                    watching.result()
                    return
            finally:
                watching.cancel()
                waiting.cancel()
                await asyncio.gather(watching, waiting, return_exceptions=True)
    finally:
        unlisten()


async def _watch(daemon: Daemon, drop_in: Path | None, refused: set[tuple[Path, str]]) -> None:
    usable = drop_in if drop_in is not None and os.access(drop_in, os.R_OK | os.X_OK) else None
    files = {Path(run.configuration_path) for run in _unfinished(daemon) if run.configuration_path}
    if usable is None and not files:
        await asyncio.Event().wait()
    async with Watcher(files=files, drop_in=usable) as changes:
        async for change in changes:
            await _taken_over(daemon, change, refused)


async def _taken_over(daemon: Daemon, change: Change, refused: set[tuple[Path, str]]) -> None:
    """Does with a change what is due; again and again while something lacks that passes, since nobody offers it twice."""
    told = ""
    while True:
        try:
            known = [run for run in _unfinished(daemon) if run.configuration_path == str(change.path)]
            for run in known:
                await _reconfigure(daemon, run, change.path)
            if change.kind == "drop-in" and not known:
                await _drop_in(daemon, change.path, refused)
        except Exception as error:
            if not heals(error):
                raise
            if str(error) != told:
                LOG.warning("waiting to take over a file", path=str(change.path), reason=str(error))
            told = str(error)
            await asyncio.sleep(RETRY_AFTER)
        else:
            return


def _unfinished(daemon: Daemon) -> list[RunState]:
    return daemon.ledger.state.queue()


async def _reconfigure(daemon: Daemon, run: RunState, path: Path) -> None:
    try:
        changed = await control.reconfigure(daemon.ledger, run, await _text(path), str(path), environment={})
    except (ServiceoptError, OSError) as error:
        if heals(error):
            raise
        LOG.warning("changed configuration refused", run=run.number, path=str(path), reason=str(error))
        return
    if level := changed.get("log_level"):
        daemon.set_log_level(str(level))
        await daemon.ledger.commit(LogLevelChanged(level=str(level)))


async def _text(path: Path) -> str:
    read = await asyncio.to_thread(content, path, LARGEST_CONFIGURATION, through_links=True)
    return decoded(read, path)


async def _drop_in(daemon: Daemon, path: Path, refused: set[tuple[Path, str]]) -> None:
    """Submits a file once: the same text at the same place is the same run, also after a restart."""
    try:
        text = await _text(path)
    except NotText as error:
        await daemon.ledger.commit(DropInRefused(path=str(path), problems=(f"{error.message}; {error.hint}",)))
        return
    except (OSError, UnfitFile) as error:
        if heals(error):
            raise
        await daemon.ledger.commit(DropInRefused(path=str(path), problems=(str(error),)))
        return
    masked = await asyncio.to_thread(masked_text, text)
    runs = daemon.ledger.state.runs.values()
    known = any(run.configuration_path == str(path) and run.configuration_text == masked for run in runs)
    if known or (path, masked) in refused:
        return
    submission = Submission(
        configuration_text=text,
        configuration_path=str(path),
        environment=dict(os.environ),
        working_directory=str(daemon.context.state_directory),
    )
    try:
        prepared = await asyncio.to_thread(
            prepare,
            submission,
            daemon.context,
            tool_prefix=daemon.context.tool_prefix,
            port_is_ours=daemon.loop.busy,
            originals=daemon.context.originals(),
        )
        await must_answer(prepared)
        await submit(daemon.context, prepared, uid=os.getuid(), through="drop-in")
    except ServiceoptError as error:
        if heals(error):
            raise
        refused.add((path, masked))
        await daemon.ledger.commit(DropInRefused(path=str(path), problems=tuple(str(error).splitlines())))
