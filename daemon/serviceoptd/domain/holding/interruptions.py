"""What surrounds a run may fail: a full disk, no descriptors, a file that cannot be opened. That is never a result.

The step is done again. Where it fails so again and again, trying on would be all that happens in the night.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from serviceopt_journal import events as e

Phase = Literal["proposing", "launching", "measuring", "stopping"]

MOST = 3
"""So many interruptions in a row in one phase hold the run."""

_OVERCOME: dict[type[e.Event], Phase] = {
    e.ParticleProposed: "proposing",
    e.ServiceReady: "launching",
    e.ServiceFailed: "launching",
    e.MeasurementFinished: "measuring",
    e.MeasurementRejected: "measuring",
    e.MeasurementFailed: "measuring",
    e.EvaluationFinished: "stopping",
}
"""What ends a phase in another way than by an interruption."""


def still_counted(interruptions: tuple[e.SurroundingsFailed, ...], event: e.Event) -> tuple[e.SurroundingsFailed, ...]:
    """The interruptions that nothing has overcome after `event`."""
    if isinstance(event, e.RunResumed):
        return ()
    overcome = None if getattr(event, "will_retry", False) else _OVERCOME.get(type(event))
    return tuple(each for each in interruptions if each.phase != overcome) if overcome else interruptions


def interrupted_too_often(interruptions: Sequence[e.SurroundingsFailed], phase: Phase) -> str:
    """Why a run should not try this phase once more by itself; empty while it may."""
    reasons = [each.reason for each in interruptions if each.phase == phase]
    if len(reasons) < MOST:
        return ""
    latest, *before = dict.fromkeys(reversed(reasons))
    seen = f"{latest} (before that: {'; '.join(before)})" if before else latest
    return (
        f"{len(reasons)} interruptions in a row while {phase}: {seen} "
        "(fix the cause, then `serviceoptctl resume`; `cancel` gives the run up)"
    )
