"""Writes a run into the journal of a submission that was found to be good, or continues one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from serviceopt_journal.documents.requests import Accepted
from serviceopt_journal.events import Event, RunPaused, RunReconfigured, RunResumed, RunSubmitted
from serviceoptd.config.masking import masked_text
from serviceoptd.config.reload import changes
from serviceoptd.domain.policy import held_by
from serviceoptd.domain.settings import RunSettings
from serviceoptd.domain.state import RunState
from serviceoptd.evaluating.context import PRIVATE_OPTIONS, Context
from serviceoptd.io import environment_file
from serviceoptd.io.children_environment import isolated
from serviceoptd.submitting.describing import with_device_facts
from serviceoptd.submitting.draft import Prepared
from serviceoptd.submitting.expectation import expected
from serviceoptd.toolkit.secrets import mask

Through = Literal["socket", "standalone", "drop-in"]
NO_PREDECESSOR = "no earlier run has this identity: a new one starts"


async def submit(
    context: Context,
    prepared: Prepared,
    *,
    uid: int,
    through: Through,
) -> Accepted:
    """Puts a checked submission into the journal, or finds the run that it continues. One at a time."""
    async with context.numbering:
        accepted = await _submit(context, prepared, uid=uid, through=through)
    if accepted.complete:
        return accepted
    state = context.ledger.state
    return msgspec.structs.replace(accepted, expected=expected(state.runs[accepted.run], state))


async def _submit(context: Context, prepared: Prepared, *, uid: int, through: Through) -> Accepted:
    if prepared.submission.load_breakpoint:
        if found := _predecessor(context, prepared):
            return await _continue(context, found, prepared)
        warnings = (*prepared.warnings, NO_PREDECESSOR)
    else:
        warnings = tuple(prepared.warnings)
    number = max(context.ledger.state.runs, default=0) + 1
    environment, settings = _with_private_options(
        prepared,
        await with_device_facts(
            prepared.settings,
            isolated(
                prepared.submission.environment,
                tool_prefix=context.tool_prefix,
                path_prefix=prepared.settings.path_prefix,
            ),
        ),
    )
    file, sha256 = environment_file.keep(context.state_directory, environment)
    submission = prepared.submission
    await context.ledger.commit(
        RunSubmitted(
            run=number,
            name=submission.name or prepared.draft.loaded.name or f"run-{number}",
            settings=settings,
            seed=prepared.seed,
            run_identity=prepared.run_identity,
            measurement_identity=prepared.measurement_identity,
            identity_parts=prepared.parts,
            configuration_path=submission.configuration_path,
            configuration_text=await asyncio.to_thread(masked_text, submission.configuration_text),
            working_directory=submission.working_directory,
            environment_names=tuple(sorted(submission.environment)),
            environment_file=file,
            environment_sha256=sha256,
            submitter_uid=uid,
            submitted_through=through,
            load_breakpoint=submission.load_breakpoint,
        )
    )
    return Accepted(run=number, warnings=warnings)


def _with_private_options(prepared: Prepared, frozen: RunSettings) -> tuple[dict[str, str], dict[str, Any]]:
    """The environment to keep, and the settings for the event: secrets stand in the 0600 file only."""
    environment = dict(prepared.submission.environment)
    settings: dict[str, Any] = msgspec.to_builtins(frozen)
    real = {key: settings[key] for key in ("engine_options", "benchmark_options")}
    masked: Mapping[str, Any] = {key: mask("", value) for key, value in real.items()}
    if masked != real:
        environment[PRIVATE_OPTIONS] = json.dumps(real)
        settings |= masked
    return environment, settings


def _predecessor(context: Context, prepared: Prepared) -> RunState | None:
    same = [run for run in context.ledger.state.runs.values() if run.run_identity == prepared.run_identity]
    same = [run for run in same if run.outcome != "cancelled"]
    return max(same, key=lambda run: run.number, default=None)


async def _continue(context: Context, run: RunState, prepared: Prepared) -> Accepted:
    """Goes on with a run: with a larger budget even with one that is over."""
    allowed, _ = changes(run.settings, prepared.settings)
    complete = run.over and run.admitted >= prepared.settings.budget.evaluations
    events: list[Event] = []
    if allowed and not complete:
        events.append(RunReconfigured(run=run.number, changes=allowed, source="--load_breakpoint"))
    if (run.over or run.paused) and not complete:
        why = "continued with --load_breakpoint"
        events.append(RunResumed(run=run.number, reason=why, measured_again=held_by(run)))
    if events:
        await context.ledger.commit(*events)
    return Accepted(run=run.number, continued=True, complete=complete, warnings=tuple(prepared.warnings))


async def leave_others_alone(context: Context, mine: int | None) -> None:
    """A process in the foreground works on its own run; other unfinished ones wait for somebody to continue them."""
    for run in context.ledger.state.queue():
        if run.number != mine and not run.paused:
            reason = "interrupted; `serviceoptctl optimizer -lb` or `serviceoptctl resume` goes on"
            await context.ledger.commit(RunPaused(run=run.number, reason=reason, held=True))
