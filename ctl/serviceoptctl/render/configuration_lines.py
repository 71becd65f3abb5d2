"""A run as a log with one line for each configuration: what changed, what came of it, the best so far, the time left."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from serviceopt_journal.documents.runs import Run
from serviceopt_journal.values import Configuration
from serviceoptctl.render.event_lines import phrase, result
from serviceoptctl.render.metrics import in_short, labelled
from serviceoptctl.render.run import best_label, how_often, time_left
from serviceoptctl.render.text import assignments, one_line
from serviceoptctl.render.units import clock, speed

Record = Mapping[str, Any]

TOLD = frozenset({
    "run_submitted", "run_paused", "run_resumed", "run_cancel_requested", "run_reconfigured", "run_finished",
    "rule_refuted", "writing_held", "drop_in_refused", "surroundings_failed",
})  # fmt: skip
"""What is said beside the configurations: it is of the whole run."""

_LOGS = {"service_launching": "service", "measurement_started": "client"}
"""Events that name a log while it is written: the first of each is said, so that one knows where they are."""

_OF_A_MEASUREMENT = frozenset({"measurement_started", "measurement_finished", "measurement_failed"})


class Remarks:
    """Says a condition that holds for the whole run once: the same remark, whatever its numbers, is not said again."""

    def __init__(self) -> None:
        self._said: set[str] = set()

    def once(self, record: Record) -> Record:
        """The record; without its remark where that has been said."""
        event = record["event"]
        remark = event.get("remark") or ""
        kind = re.sub(r"\d[\d.,]*", "0", remark)
        if not remark or kind not in self._said:
            self._said |= {kind}
            return record
        return {**record, "event": {**event, "remark": ""}}


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
        event = record["event"]
        if self._outcome is None:
            return False
        return event["type"] not in _OF_A_MEASUREMENT or event["particle"] != self._outcome[0]

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
        event = record["event"]
        kind, number = event["type"], event.get("particle")
        if kind == "particle_proposed":
            self._configurations[number] = event["configuration"]
        elif kind == "confirmation_requested":
            self._confirming.add(number)
        elif kind == "measurement_finished":
            self._outcome, self._launched = (number, result({**event, "remark": ""})), 0
            return [f"{clock(record['time'])} note: {one_line(event['remark'])}"] if event.get("remark") else []
        elif kind in ("measurement_failed", "measurement_rejected") and not event.get("will_retry"):
            self._outcome, self._launched = (number, f"failed: {event['reason']}"), 0
        elif kind == "service_launching":
            self._launched = number
        elif kind == "service_failed" and not event["will_retry"] and self._launched:
            self._outcome = self._launched, f"failed ({event['kind']}): {event['reason']}"
        elif kind == "particle_matched":
            twin = f"particle {event['same_as_particle']} of run {event['same_as_run']}"
            self._outcome = number, f"the same as {twin}, not measured again"
            self._unmeasured.add(number)
        elif kind == "particle_rejected" and not event["audited"]:
            self._outcome = number, f"not measured, by the rule {event['rule']}: {event['reason']}"
            self._unmeasured.add(number)
        if (whose := _LOGS.get(kind)) and event.get("log") and whose not in self._named:
            self._named.add(whose)
            return [
                f"{clock(record['time'])} the {whose}'s log: {event['log']} (with -v, those of every configuration)"
            ]
        return [f"{clock(record['time'])} {phrase(event)}"] if kind in TOLD else []


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
        parts.append(time_left(run.seconds_left, time))
    return "".join(f"; {part}" for part in parts)
