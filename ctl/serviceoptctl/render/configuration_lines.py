"""A run as a log with one line for each configuration: what changed, what came of it, the best so far, the time left."""

from __future__ import annotations

import re

import msgspec

from serviceopt_journal import events as e
from serviceopt_journal.documents.runs import Run
from serviceopt_journal.values import Configuration
from serviceoptctl.documents import Record
from serviceoptctl.render.event_lines import result, said
from serviceoptctl.render.metrics import in_short, kind_word, labelled, marked
from serviceoptctl.render.run import best_label, how_often, time_left
from serviceoptctl.render.text import assignments, one_line
from serviceoptctl.render.units import clock, speed

TOLD = frozenset({
    "run_submitted", "run_paused", "run_resumed", "run_cancel_requested", "run_reconfigured", "run_finished",
    "rule_refuted", "writing_held", "drop_in_refused", "surroundings_failed",
})  # fmt: skip
"""What is said beside the configurations: it is of the whole run."""

_OfAMeasurement = e.MeasurementStarted | e.MeasurementFinished | e.MeasurementFailed


class Remarks:
    """Says a condition that holds for the whole run once: the same remark, whatever its numbers, is not said again."""

    def __init__(self) -> None:
        self._said: set[str] = set()

    def once(self, record: Record) -> Record:
        """The record; without its remark where that has been said."""
        event = record.event
        if not isinstance(event, e.MeasurementFinished | e.ParticleRejected):
            return record
        kind = re.sub(r"\d[\d.,]*", "0", event.remark)
        if not event.remark or kind not in self._said:
            self._said |= {kind}
            return record
        return msgspec.structs.replace(record, event=msgspec.structs.replace(event, remark=""))


class ConfigurationLines:
    """Turns records into lines. Keeps what is needed to say what changed, and nothing else of the run."""

    def __init__(self) -> None:
        self._configurations: dict[int, Configuration] = {}
        self._before: Configuration = {}
        self._confirming: set[int] = set()
        self._unmeasured: set[int] = set()
        self._outcome: tuple[int, str] | None = None  # of the particle that is worked on
        self._launched = 0  # the particle for which the service was launched last; 0 when its outcome is known
        self._done = 0  # configurations that were measured or failed
        self._named: set[str] = set()  # whose log has been named

    def begin(self, run: Run) -> None:
        """How the run stands when its records begin to be shown."""
        self._done = run.counts.measured + run.counts.failed
        if run.current is not None:
            self._configurations[run.current.particle] = run.current.configuration
            self._launched = run.current.particle

    def due(self, record: Record) -> bool:
        """Whether this record ends what there is to say of a configuration, so that its line is due before it."""
        if self._outcome is None:
            return False
        event = record.event
        return not isinstance(event, _OfAMeasurement) or event.particle != self._outcome[0]

    def line(self, time: float, run: Run | None) -> str:
        """The line that is due at this time (seconds since the epoch); `run` is how the run stands then."""
        if self._outcome is None:
            return ""
        particle, told = self._outcome
        self._outcome = None
        again = particle in self._confirming
        counts = not again and particle not in self._unmeasured
        self._done += counts
        configuration = self._configurations.get(particle, {})
        changed = {name: value for name, value in configuration.items() if self._before.get(name) != value}
        self._before = configuration or self._before
        what = "measured again" if again else assignments(changed) or "the same parameters"
        number = f"{self._done}/{run.budget} " if run is not None and counts else ""
        if run is not None and run.latest is not None and run.latest.particle == particle and run.latest.metrics:
            told = in_short(run.latest)
        return f"{clock(time)} {number}#{particle} {what}: {one_line(told)}{_tail(run, time)}"

    def take(self, record: Record) -> list[str]:
        """Takes a record in; what is to be said of it at once."""
        match record.event:
            case e.ParticleProposed() as event:
                self._configurations[event.particle] = event.configuration
            case e.ConfirmationRequested() as event:
                self._confirming.add(event.particle)
            case e.MeasurementFinished() as event:
                told = result(msgspec.structs.replace(event, remark=""))
                self._outcome, self._launched = (event.particle, told), 0
                return [f"{clock(record.time)} note: {one_line(event.remark)}"] if event.remark else []
            case e.MeasurementFailed(will_retry=False) | e.MeasurementRejected() as event:
                self._outcome, self._launched = (event.particle, f"failed: {event.reason}"), 0
            case e.MeasurementStarted() as event:
                return self._first_log(record.time, "client", event.log)
            case e.ServiceLaunching() as event:
                self._launched = event.particle
                return self._first_log(record.time, "service", event.log)
            case e.ServiceFailed(will_retry=False) as event if self._launched:
                self._outcome = self._launched, f"failed ({event.kind}): {event.reason}"
            case e.ParticleMatched() as event:
                twin = f"particle {event.same_as_particle} of run {event.same_as_run}"
                twin = marked(twin, kind_word(event.kind))
                self._outcome = event.particle, f"the same as {twin}, not measured again"
                self._unmeasured.add(event.particle)
            case e.ParticleRejected(audited=False) as event:
                self._outcome = event.particle, f"not measured, by the rule {event.rule}: {event.reason}"
                self._unmeasured.add(event.particle)
        return [f"{clock(record.time)} {said(record)}"] if record.type in TOLD else []

    def _first_log(self, time: float, whose: str, log: str) -> list[str]:
        """Where a log is while it is written; the first of each kind is said, so that one knows where they are."""
        if not log or whose in self._named:
            return []
        self._named.add(whose)
        return [f"{clock(time)} the {whose}'s log: {log} (with -v, those of every configuration)"]


def _tail(run: Run | None, time: float) -> str:
    """`; best so far #11 1976 tok/s, measured once; about 19 s left, until about 14:02:11`."""
    if run is None:
        return ""
    parts = []
    if (best := run.best) is not None and best.metrics is not None:
        kept = "" if best.feasible else ", breaks an SLO" if best.violated else ", not sure to meet every SLO"
        value = labelled(speed(best.metrics.generate_speed), best)
        parts.append(f"{best_label(run)} #{best.particle} {value}{how_often(best)}{kept}")
    if run.finished is None and run.seconds_left:
        parts.append(time_left(run.seconds_left, None if run.paused else time))
    return "".join(f"; {part}" for part in parts)
