"""The fold: what each event does to the state, and nothing else.

Pure: equal inputs give equal results, for ever. Times come from the record, never from a clock.
"""

from __future__ import annotations

from functools import singledispatch
from typing import Any

import msgspec
from msgspec.structs import replace

from serviceopt_journal import events as e
from serviceopt_journal.codec import Recorded
from serviceoptd.domain import creation
from serviceoptd.domain.creation import waited
from serviceoptd.domain.failures import KILLED, Failed
from serviceoptd.domain.holding.interruptions import still_counted
from serviceoptd.domain.settings import RunSettings
from serviceoptd.domain.state import Evaluation, Particle, RunState, State
from serviceoptd.domain.stopping.censoring import censored


def fold(state: State, recorded: Recorded) -> State:
    """The state after one more record."""
    state, event = creation.in_this_boot(state, recorded), recorded.event
    run_number: int | None = getattr(event, "run", None)
    runs = state.runs
    if run_number is not None:
        run = creation.born(event, recorded.time) if isinstance(event, e.RunSubmitted) else runs[run_number]
        if seconds := creation.worked(state, run, recorded):
            run = replace(run, active_seconds=run.active_seconds + seconds)
        if isinstance(event, e.ParticleMatched) and event.same_as_run != run_number:
            run = creation.with_twin(runs[event.same_as_run], run, event)
        if run.interruptions:
            run = replace(run, interruptions=still_counted(run.interruptions, event))
        # By the type itself: `evolve` would look for the types above it, too, with each event.
        runs = runs.with_entry(run_number, evolve.registry.get(type(event), evolve)(event, run, recorded))
    state = replace(
        state, runs=runs, seq=recorded.seq, time=recorded.time, moment=(recorded.boot_id, recorded.monotonic)
    )
    if run_number is not None:
        return state
    if isinstance(event, e.DaemonStarted):
        return replace(state, daemon_started=recorded.time, daemon_started_seq=recorded.seq)
    if isinstance(event, e.DaemonStopped):
        return replace(state, daemon_started=None)
    return state


@singledispatch
def evolve(event: e.Event, run: RunState, at: Recorded) -> RunState:
    """The run after `event`, as it was recorded. Durations are of its monotonic clock; wall times are only shown."""
    return run  # an event that this state does not care about


@evolve.register
def _(event: e.RunStarted, run: RunState, at: Recorded) -> RunState:
    return replace(run, status="running", started=at.time if run.started is None else run.started)


@evolve.register
def _(event: e.RunPaused, run: RunState, at: Recorded) -> RunState:
    return replace(run, paused=event.reason or "paused", held=event.held)


@evolve.register
def _(event: e.RunResumed, run: RunState, at: Recorded) -> RunState:
    if run.over:  # continued with a larger budget
        run = replace(
            run, status="running", finished=None, outcome="", reason="", recommended=None, declared_feasible=False,
            proof=None, confirmations_requested=0,
        )  # fmt: skip
    for number in event.measured_again:
        run = _particle(run, number, error="", cause="", unconfirmed="")
    return replace(run, paused="", held=False, failed_in_a_row=())


@evolve.register
def _(event: e.RunCancelRequested, run: RunState, at: Recorded) -> RunState:
    return replace(run, cancel_requested=True, reason=event.reason)


@evolve.register
def _(event: e.RunReconfigured, run: RunState, at: Recorded) -> RunState:
    changed = msgspec.to_builtins(run.settings)
    for key, value in event.changes.items():
        changed[key] = value
    return replace(run, settings=msgspec.convert(changed, RunSettings))


@evolve.register
def _(event: e.RunFinished, run: RunState, at: Recorded) -> RunState:
    return replace(
        run, status="finished", finished=at.time, outcome=event.outcome, reason=event.reason,
        recommended=event.recommended, declared_feasible=event.feasible, proof=event.proof, paused="", held=False,
    )  # fmt: skip


@evolve.register
def _(event: e.ParticleProposed, run: RunState, at: Recorded) -> RunState:
    return _with_particle(run, creation.proposed(event))


@evolve.register
def _(event: e.ParticleMatched, run: RunState, at: Recorded) -> RunState:
    return _with_particle(run, creation.matched(run, event))


@evolve.register
def _(event: e.ParticleRejected, run: RunState, at: Recorded) -> RunState:
    told = f"{event.rule}: {event.reason}"
    predicted = event.predicted or run.particles[event.particle].predicted  # else by the models that proposed it
    if event.audited:
        return _particle(run, event.particle, audited=told, predicted=predicted)
    return _particle(run, event.particle, rejected=told, predicted=predicted, remark=event.remark)


@evolve.register
def _(event: e.RuleRefuted, run: RunState, at: Recorded) -> RunState:
    return replace(run, refuted=(*run.refuted, event.rule))


@evolve.register
def _(event: e.ResultImported, run: RunState, at: Recorded) -> RunState:
    return _with_particle(run, creation.result_of_a_file(run.particles[event.particle], event))


@evolve.register
def _(event: e.ConfirmationRequested, run: RunState, at: Recorded) -> RunState:
    run = replace(run, confirmations_requested=run.confirmations_requested + 1)
    return _particle(run, event.particle, confirmations_requested=event.round)


@evolve.register
def _(event: e.ServiceLaunching, run: RunState, at: Recorded) -> RunState:
    evaluation = creation.launching(event, run, at)
    run = _particle(run, event.particle, evaluation=event.evaluation, devices=event.devices, simulated=event.simulated)
    return _with_evaluation(run, evaluation, open_evaluation=event.evaluation)


@evolve.register
def _(event: e.ServiceLaunched, run: RunState, at: Recorded) -> RunState:
    return _evaluation(run, event.evaluation, phase="launched", pid=event.pid, process_started=event.process_started)


@evolve.register
def _(event: e.ServiceReady, run: RunState, at: Recorded) -> RunState:
    evaluation = run.evaluations[event.evaluation]
    seconds = waited(evaluation, (at.boot_id, at.monotonic))
    run = _spend(run, evaluation.particle, seconds)
    return _evaluation(
        run, event.evaluation, phase="ready", kv_blocks=event.kv_blocks, kv_block_size=event.kv_block_size,
        # That of the first launch alone: one that an interruption repeats teaches the search no other cost.
        launch_seconds=seconds if evaluation.launch_seconds is None else evaluation.launch_seconds,
    )  # fmt: skip


@evolve.register
def _(event: e.ServiceFailed, run: RunState, at: Recorded) -> RunState:
    evaluation = run.evaluations[event.evaluation]
    failed = evaluation.measuring.particle if evaluation.measuring else evaluation.particle
    if evaluation.phase in ("launching", "launched"):
        run = _spend(run, failed, waited(evaluation, (at.boot_id, at.monotonic)))
    if not event.will_retry and not run.particles[failed].settled(run.settings.measuring.repeats):
        run = _failed(_particle(run, failed, evaluation=event.evaluation), failed, event.reason, event.cause)
    return _evaluation(
        run, event.evaluation, phase="failed", failure=event.reason, measuring=None,
        failures=evaluation.failures + 1, killed=event.will_retry and event.cause == KILLED,
    )  # fmt: skip


@evolve.register
def _(event: e.MeasurementStarted, run: RunState, at: Recorded) -> RunState:
    evaluation = run.evaluations[event.evaluation]
    measured = evaluation.particles
    launched_for = run.particles[evaluation.particle]
    run = _particle(
        run, event.particle, evaluation=event.evaluation, devices=launched_for.devices, simulated=event.simulated,
        num_prompts=event.num_prompts,
    )  # fmt: skip
    return _evaluation(
        run,
        event.evaluation,
        measuring=creation.measuring(event, evaluation, at),
        particles=measured if event.particle in measured else (*measured, event.particle),
        measured_since_launch=evaluation.measured_since_launch + 1,
        client_attempts=event.attempt,
    )


@evolve.register
def _(event: e.MeasurementFinished, run: RunState, at: Recorded) -> RunState:
    particle = run.particles[event.particle]
    kept, spent = "confirmations" if particle.confirmation_due else "measurements", max(0.0, event.seconds)
    run = _particle(
        run, event.particle, **{kept: (*getattr(particle, kept), event.metrics)},
        remark=event.remark or particle.remark, seconds=particle.seconds + spent,
        measuring_seconds=particle.measuring_seconds + spent,
    )  # fmt: skip
    if run.failed_in_a_row:
        run = replace(run, failed_in_a_row=())
    if event.served is not None and event.observed_by == "client":
        run = replace(run, served=(*run.served, (event.metrics, event.served)))
    return _measured(run, event)


@evolve.register
def _(event: e.MeasurementFailed, run: RunState, at: Recorded) -> RunState:
    evaluation = run.evaluations[event.evaluation]
    run = _spend(run, event.particle, event.seconds)
    if event.will_retry:
        # When the service is to blame, ServiceFailed follows and counts.
        failures = evaluation.failures + (event.kind != "service")
        return _evaluation(run, event.evaluation, measuring=None, failures=failures, killed=event.cause == KILLED)
    run = _failed(run, event.particle, event.reason, event.cause)
    return _measured(run, event)


@evolve.register
def _(event: e.MeasurementRejected, run: RunState, at: Recorded) -> RunState:
    run = replace(_failed(run, event.particle, f"{event.rule}: {event.reason}"), failed_in_a_row=())
    run = _particle(run, event.particle, censored=censored(event), censored_by=event.statistic)
    run = _spend(run, event.particle, event.seconds)
    return _measured(run, event)


@evolve.register
def _(event: e.ServiceStopping, run: RunState, at: Recorded) -> RunState:
    return _evaluation(run, event.evaluation, phase="stopping")


@evolve.register
def _(event: e.ServiceStopped, run: RunState, at: Recorded) -> RunState:
    return _evaluation(run, event.evaluation, phase="stopped", measuring=None)


@evolve.register
def _(event: e.EvaluationInterrupted, run: RunState, at: Recorded) -> RunState:
    return _evaluation(run, event.evaluation, phase="interrupted", measuring=None)


@evolve.register
def _(event: e.SurroundingsFailed, run: RunState, at: Recorded) -> RunState:
    return replace(run, interruptions=(*run.interruptions, event))


@evolve.register
def _(event: e.EvaluationFinished, run: RunState, at: Recorded) -> RunState:
    finished = replace(run.evaluations[event.evaluation], phase="finished", backup=event.backup)
    return _with_evaluation(run, finished, open_evaluation=None)


def _with_particle(run: RunState, particle: Particle) -> RunState:
    return replace(run, particles=run.particles.with_entry(particle.number, particle))


def _with_evaluation(run: RunState, evaluation: Evaluation, **changes: Any) -> RunState:
    return replace(run, evaluations=run.evaluations.with_entry(evaluation.number, evaluation), **changes)


def _particle(run: RunState, number: int, **changes: Any) -> RunState:
    return _with_particle(run, replace(run.particles[number], **changes))


def _failed(run: RunState, number: int, reason: str, cause: str = "") -> RunState:
    failed = Failed(particle=number, configuration=run.particles[number].configuration, reason=reason, cause=cause)
    run = replace(run, failed_in_a_row=(*run.failed_in_a_row, failed))
    # A finalist whose confirmation fails keeps what the search measured of it, and is not recommended.
    if run.particles[number].confirmation_due:
        return _particle(run, number, unconfirmed=reason)
    return _particle(run, number, error=reason, cause=cause)


def _spend(run: RunState, number: int, seconds: float) -> RunState:
    return _particle(run, number, seconds=run.particles[number].seconds + max(0.0, seconds))


def _measured(run: RunState, event: e.MeasurementFinished | e.MeasurementFailed | e.MeasurementRejected) -> RunState:
    return _evaluation(
        run,
        event.evaluation,
        measuring=None,
        measurements=event.measurement,
        client_attempts=0,
        failures=0,
        killed=False,
    )


def _evaluation(run: RunState, number: int, **changes: Any) -> RunState:
    return _with_evaluation(run, replace(run.evaluations[number], **changes))
