"""What is due now. Called after every event and after every restart: it must not remember anything."""

from __future__ import annotations

from dataclasses import dataclass

from serviceoptd.domain.fine_tuning import next_finalist
from serviceoptd.domain.state import Evaluation, RunState

SECONDS_PER_HOUR = 3600.0


@dataclass(frozen=True)
class Wait:
    """Nothing is due: the run is paused, over, or in the queue."""


@dataclass(frozen=True)
class Propose:
    """The search is to be asked for a particle with this number."""

    particle: int


@dataclass(frozen=True)
class FineTune:
    """A particle with this number is to be proposed: a finalist, with all of the data set or at another load."""

    particle: int


@dataclass(frozen=True)
class Launch:
    """The service is to be started for this particle."""

    evaluation: int
    particle: int
    attempt: int


@dataclass(frozen=True)
class Measure:
    """The running service is to be measured at this particle's load."""

    evaluation: int
    particle: int
    measurement: int
    attempt: int
    repeat: int  # from 1: which measurement of this particle; keys simulated noise, so never counts attempts


@dataclass(frozen=True)
class Stop:
    """The service is to be stopped."""

    evaluation: int
    reason: str


@dataclass(frozen=True)
class FinishEvaluation:
    """Nothing more is due on this launch, and nothing of it is left."""

    evaluation: int


@dataclass(frozen=True)
class FinishRun:
    """The run is over."""

    outcome: str
    reason: str


Action = Wait | Propose | FineTune | Launch | Measure | Stop | FinishEvaluation | FinishRun


def next_action(run: RunState, *, active_seconds: float, exhausted: bool = False, draining: bool = False) -> Action:
    """The one thing to do next for a run that has been started.

    Args:
        run: its state.
        active_seconds: worked on it so far, including what passed since its last event.
        exhausted: the search has said that the space holds nothing new.
        draining: the evaluation under way is the last one for now.
    """
    if run.over or run.status == "queued":
        return Wait()
    ended = "cancelled" if run.cancel_requested else _ended(run, active_seconds, exhausted=exhausted)
    further = None if draining else _further_particle(run, active_seconds, search_is_over=bool(ended))
    if evaluation := run.evaluation:
        return _go_on(run, evaluation, further)
    if run.cancel_requested:
        return FinishRun("cancelled", run.reason or "cancelled")
    if run.paused or draining:
        return Wait()
    if pending := next(run.pending(), None):
        return Launch(max(run.evaluations, default=0) + 1, pending.number, attempt=1)
    if further is None:
        measured = any(run.result_of(particle) for particle in run.particles.values())
        return FinishRun("completed" if measured else "failed", ended)
    return further


def _further_particle(run: RunState, active_seconds: float, *, search_is_over: bool) -> Propose | FineTune | None:
    """How the next particle is to be found; None when there shall be none."""
    number = len(run.particles) + 1
    if not search_is_over:
        return Propose(number)
    if run.cancel_requested or _out_of_time(run, active_seconds) or next_finalist(run) is None:
        return None
    return FineTune(number)


def _go_on(run: RunState, evaluation: Evaluation, further: Propose | FineTune | None) -> Action:
    """What is due on a launch that is not finished."""
    resting = evaluation.phase in ("stopped", "interrupted")
    if evaluation.phase not in ("ready", "stopped", "interrupted"):
        return Stop(evaluation.number, evaluation.failure or "what was announced has ended")
    if run.cancel_requested or run.paused:
        if resting:
            wait = run.paused and not run.cancel_requested and run.due_on(evaluation)
            return Wait() if wait else FinishEvaluation(evaluation.number)
        return Stop(evaluation.number, "cancelled" if run.cancel_requested else "paused")
    if due := run.due_on(evaluation):
        if resting:
            return Launch(evaluation.number, due.number, evaluation.attempt + 1)
        return Measure(
            evaluation.number,
            due.number,
            evaluation.measurements + 1,
            attempt=evaluation.client_attempts + 1,
            repeat=len(due.measurements) + 1,
        )
    if resting:
        return FinishEvaluation(evaluation.number)
    # The next particle is asked for before the service is stopped: if only its load differs, there is no restart.
    if further is not None and not any(run.pending()) and not evaluation.failure:
        return further
    return Stop(evaluation.number, "measured")


def _ended(run: RunState, active_seconds: float, *, exhausted: bool) -> str:
    """Why no further particle may be proposed; empty while one may."""
    budget = run.settings.budget
    if _out_of_time(run, active_seconds):
        return f"time budget used ({budget.max_hours:g} hours)"
    if run.admitted >= budget.evaluations:
        return f"budget used ({budget.evaluations} configurations)"
    if exhausted:
        rejected = any(particle.rejected for particle in run.particles.values())
        return f"search space exhausted: every configuration has been measured{' or rejected' if rejected else ''}"
    return ""


def _out_of_time(run: RunState, active_seconds: float) -> bool:
    hours = run.settings.budget.max_hours
    return hours is not None and active_seconds >= hours * SECONDS_PER_HOUR
