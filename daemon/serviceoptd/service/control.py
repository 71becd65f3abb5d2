"""What a client may ask of a run: pause, resume, cancel, other settings."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from serviceopt_journal.errors import Conflict, InvalidConfiguration, NotFound
from serviceopt_journal.events import RunCancelRequested, RunFinished, RunPaused, RunReconfigured, RunResumed
from serviceopt_journal.foreign_text import whole_number
from serviceoptd.config.load import load_text
from serviceoptd.config.reload import changes
from serviceoptd.domain.policy import held_by
from serviceoptd.domain.state import RunState, State
from serviceoptd.evaluating.ledger import Ledger

MOST_DIGITS = 18  # of a run's number


def find_run(state: State, name: str) -> RunState:
    """The run of this number; `latest`, or `current`: the one that is worked on, else the latest.

    Raises:
        NotFound: there is none.
    """
    if name in ("latest", "current"):
        queue = state.queue() if name == "current" else []
        if queue:
            return queue[0]
        if state.runs:
            return state.runs[max(state.runs)]
        raise NotFound("there is no run yet", hint="`serviceoptctl run -c FILE` submits one")
    if (number := whole_number(name)) is not None and number in state.runs:
        return state.runs[number]
    raise NotFound(f"there is no run {name[:MOST_DIGITS]}", hint="`serviceoptctl runs` lists them")


async def pause(ledger: Ledger, run: RunState, reason: str) -> None:
    """No evaluation starts any more; a measurement under way is finished first. Once is enough."""
    _must_not_be_over(run, "paused")
    if not run.paused:
        await ledger.commit(RunPaused(run=run.number, reason=reason or "paused by the user"))


async def resume(ledger: Ledger, run: RunState, reason: str) -> None:
    """Lets evaluations start again, with the particles whose failures held the run. Of one not paused nothing changes."""
    _must_not_be_over(run, "resumed")
    if run.paused:
        await ledger.commit(RunResumed(run=run.number, reason=reason, measured_again=held_by(run)))


async def cancel(ledger: Ledger, run: RunState, reason: str) -> None:
    """Ends the run now; what was measured stays."""
    _must_not_be_over(run, "cancelled")
    if run.cancel_requested:
        return
    requested = RunCancelRequested(run=run.number, reason=reason or "cancelled by the user")
    if run.status == "queued":
        await ledger.commit(requested, RunFinished(run=run.number, outcome="cancelled", reason=requested.reason))
    else:
        await ledger.commit(requested)


async def reconfigure(
    ledger: Ledger, run: RunState, text: str, source: str, environment: Mapping[str, str]
) -> dict[str, Any]:
    """Takes over what may change while a run is under way, and returns it.

    Raises:
        ConfigurationErrors: the text is not a valid configuration.
        InvalidConfiguration: it changes what needs a new run.
    """
    _must_not_be_over(run, "changed")
    loaded = await asyncio.to_thread(
        load_text, text, None, engine=run.settings.engine, benchmark=run.settings.benchmark, environment=environment
    )
    run = ledger.state.runs[run.number]  # it may have ended while the text was read
    _must_not_be_over(run, "changed")
    allowed, refused = changes(run.settings, loaded.settings)
    private = {name for name in refused if "***" in str(run.settings.engine_options)}
    if set(refused) - private:
        raise InvalidConfiguration(
            f"{source}: {', '.join(refused)} cannot change while run {run.number} is under way; nothing was changed",
            hint="SLOs, success rate, budgets and the log level can; for the rest submit a new run",
        )
    if allowed:
        await ledger.commit(RunReconfigured(run=run.number, changes=allowed, source=source))
    return allowed


def _must_not_be_over(run: RunState, done: str) -> None:
    if run.over:
        raise Conflict(
            f"run {run.number} is over ({run.outcome}): it cannot be {done}",
            hint="`serviceoptctl run -c FILE` submits a new one",
        )
