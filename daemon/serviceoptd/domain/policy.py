"""Decides what is due now. Called after every event and after every restart: it must not remember anything."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice

from serviceopt_journal.events import Configuration
from serviceoptd.domain.holding.failing_alike import failures_that_hold, reason_to_hold
from serviceoptd.domain.holding.interruptions import Phase, interrupted_too_often
from serviceoptd.domain.proving.racing import Confirmation, next_confirmation
from serviceoptd.domain.state import Evaluation, Particle, RunState

SECONDS_PER_HOUR = 3600.0
UNPROMISING = 3
"""So many evaluations in a row must have promised less than the target before the search ends."""


@dataclass(frozen=True)
class Wait:
    """Nothing is due: the run is paused, over, or in the queue."""


@dataclass(frozen=True)
class Propose:
    """The search is to be asked for a particle with this number."""

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
class Hold:
    """The run is to be held for people to look at it: going on would fail as before."""

    reason: str


@dataclass(frozen=True)
class FinishRun:
    """The run is over."""

    outcome: str
    reason: str


Action = Wait | Propose | Confirmation | Launch | Measure | Stop | FinishEvaluation | Hold | FinishRun


def next_action(run: RunState, *, active_seconds: float, exhausted: bool = False, draining: bool = False) -> Action:
    """The one thing to do next for a run that has been started.

    Args:
        run: its state.
        active_seconds: worked on it so far, including what passed since its last event.
        exhausted: the search has said that the space holds nothing new.
        draining: the evaluation under way is the last one for now.
    """
    due = _due(run, active_seconds, exhausted=exhausted, draining=draining)
    return Hold(reason) if (reason := _reason_to_hold(run, due)) else due


def phase_of(action: Action) -> Phase:
    """The part of a run's work to which this action belongs."""
    match action:
        case Launch():
            return "launching"
        case Measure():
            return "measuring"
        case Propose() | Confirmation():
            return "proposing"
        case _:
            return "stopping"


def _reason_to_hold(run: RunState, due: Action) -> str:
    """Why the run should not do what is due; empty while it may."""
    if isinstance(due, Wait):
        return ""
    ahead: tuple[Phase, ...] = ("launching", "measuring") if isinstance(due, Launch) else (phase_of(due),)
    for phase in ahead:
        if reason := interrupted_too_often(run.interruptions, phase):
            return reason
    if not isinstance(due, Propose | Confirmation | Launch | Measure):
        return ""
    return reason_to_hold(run.failed_in_a_row, _succeeded(run), run.space, run.settings.measuring.hold_after)


def held_by(run: RunState) -> tuple[int, ...]:
    """The particles whose failures hold the run; none where it is paused for another reason. To be measured again."""
    if not run.held or run.over:
        return ()
    after = run.settings.measuring.hold_after
    failed = failures_that_hold(run.failed_in_a_row, _succeeded(run), run.space, after)
    return tuple(dict.fromkeys(each.particle for each in failed))


def _succeeded(run: RunState) -> list[Configuration]:
    return list(run.particles.made(_measured_at))


def _measured_at(particle: Particle) -> Configuration | None:
    return None if particle.metrics is None else particle.configuration


def _due(run: RunState, active_seconds: float, *, exhausted: bool, draining: bool) -> Action:
    if run.over or run.status == "queued":
        return Wait()
    ended = "cancelled" if run.cancel_requested else _ended(run, active_seconds, exhausted=exhausted)
    further = None if draining else _further(run, active_seconds, search_is_over=bool(ended))
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


def _further(run: RunState, active_seconds: float, *, search_is_over: bool) -> Propose | Confirmation | None:
    """What comes after everything that is due: a particle of the search, then the proof of its winner."""
    if not search_is_over:
        return Propose(len(run.particles) + 1)
    if run.cancel_requested or _out_of_time(run, active_seconds) or any(run.pending()):
        return None
    return next_confirmation(run)


def _go_on(run: RunState, evaluation: Evaluation, further: Propose | Confirmation | None) -> Action:
    """What is due on a launch that is not finished."""
    resting = evaluation.phase in ("stopped", "interrupted")
    if evaluation.phase not in ("ready", "stopped", "interrupted"):
        return Stop(evaluation.number, evaluation.failure or "the evaluation has ended")
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
            repeat=len(due.measurements) + len(due.confirmations) + 1,
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
        return f"budget used ({budget.evaluations} configuration{'s' if budget.evaluations != 1 else ''})"
    if _improvement_is_unlikely(run):
        return f"target reached: the last {UNPROMISING} evaluations promised less than {budget.target:g} % each"
    if exhausted:
        rejected = any(particle.rejected for particle in run.particles.values())
        return f"search space exhausted: every configuration has been measured{' or rejected' if rejected else ''}"
    return ""


def _improvement_is_unlikely(run: RunState) -> bool:
    """Whether the models expected less of each of the last evaluations than the target of the budget."""
    target, repeats = run.settings.budget.target, run.settings.measuring.repeats
    if target is None:
        return False
    settled = (each for each in reversed(run.particles.values()) if each.admitted and each.settled(repeats))
    gains = [particle.expected_gain for particle in islice(settled, UNPROMISING)]
    return len(gains) == UNPROMISING and all(gain is not None and gain < target / 100 for gain in gains)


def _out_of_time(run: RunState, active_seconds: float) -> bool:
    hours = run.settings.budget.max_hours
    return hours is not None and active_seconds >= hours * SECONDS_PER_HOUR
