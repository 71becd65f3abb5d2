"""One line for every kind of event: what `events` shows, and what `watch` says where there is no terminal."""

from __future__ import annotations

from functools import singledispatch

from serviceopt_journal import events as e
from serviceopt_journal.metric_table import METRIC, SUCCESS_RATE
from serviceopt_journal.metrics import latency_of
from serviceopt_journal.upcasting import tag_of
from serviceoptctl.documents import Record
from serviceoptctl.render.metrics import IN_SHORT, kind_word, marked
from serviceoptctl.render.text import assignments, one_line
from serviceoptctl.render.units import clock, duration, latency, moment, percent, speed

_OfAMeasurement = e.MeasurementStarted | e.MeasurementFinished | e.MeasurementFailed | e.MeasurementRejected
_OfAnAttempt = (
    _OfAMeasurement
    | e.ServiceLaunching
    | e.ServiceLaunched
    | e.ServiceReady
    | e.ServiceFailed
    | e.ServiceStopping
    | e.ServiceStopped
)


@singledispatch
def phrase(event: e.Event) -> str:
    """What happened, without when and where, on one line."""
    raise LookupError(type(event).__name__)


@phrase.register
def _(event: e.DaemonStarted) -> str:
    alone = ", standalone" if event.standalone else ""
    return f"serviceoptd {event.version} started (pid {event.pid}{alone}), {event.replayed} events read"


@phrase.register
def _(event: e.DaemonStopped) -> str:
    return f"serviceoptd stopped: {event.reason}"


@phrase.register
def _(event: e.WritingHeld) -> str:
    return f"nothing could be written for {duration(event.seconds)}: {event.reason}"


@phrase.register
def _(event: e.DropInRefused) -> str:
    return f"{event.path} is not a valid configuration: {'; '.join(event.problems)}"


@phrase.register
def _(event: e.LogLevelChanged) -> str:
    return f"log level is now {event.level}"


@phrase.register
def _(event: e.RunSubmitted) -> str:
    named = f", named {event.name}" if event.name else ""
    return f"submitted: {event.settings['engine']} with {event.settings['benchmark']}{named}"


@phrase.register
def _(event: e.RunStarted) -> str:
    return "started"


@phrase.register
def _(event: e.RunPaused) -> str:
    return f"{'held' if event.held else 'paused'}: {event.reason or 'on request'}"


@phrase.register
def _(event: e.RunResumed) -> str:
    numbers = ", ".join(map(str, event.measured_again))
    word = "particles" if len(event.measured_again) > 1 else "particle"
    return "resumed" + _because(event.reason) + (f"; {word} {numbers} will be measured again" if numbers else "")


@phrase.register
def _(event: e.RunCancelRequested) -> str:
    return "cancel requested" + _because(event.reason)


@phrase.register
def _(event: e.RunReconfigured) -> str:
    return f"reconfigured: {', '.join(event.changes)}"


@phrase.register
def _(event: e.RunFinished) -> str:
    if event.recommended is None:
        end = "nothing to recommend"
    else:
        end = f"particle {event.recommended} " + ("recommended" if event.feasible else "comes closest to the SLOs")
        end = marked(end, kind_word(event.kind))
    return f"{event.outcome}: {event.reason}; {end}"


@phrase.register
def _(event: e.ParticleProposed) -> str:
    return f"particle {event.particle} ({event.origin}): {assignments(event.configuration)}"


@phrase.register
def _(event: e.ParticleMatched) -> str:
    again = f"particle {event.particle} is particle {event.same_as_particle} of run {event.same_as_run} again"
    return marked(again, kind_word(event.kind))


@phrase.register
def _(event: e.ParticleRejected) -> str:
    audited = " but measured anyway" if event.audited else ""
    word = "simulated" if event.kind == "simulated" else "predicted"
    predicted = f" ({speed(event.predicted.generate_speed)} {word})" if event.predicted else ""
    return f"particle {event.particle} rejected by {event.rule}{audited}: {event.reason}{predicted}"


@phrase.register
def _(event: e.RuleRefuted) -> str:
    return (
        f"the rule {event.rule} is off for the rest of this run: particle {event.particle} did what it "
        f"had ruled out ({event.reason})"
    )


@phrase.register
def _(event: e.ResultImported) -> str:
    parts = [speed(event.metrics.generate_speed)] if event.metrics else []
    parts += [*([] if event.measured else ["predicted"]), *([event.error] if event.error else [])]
    return f"particle {event.particle} imported from {event.source_file}:{event.line}: {', '.join(parts)}"


@phrase.register
def _(event: e.ConfirmationRequested) -> str:
    return f"particle {event.particle} is to be confirmed (measurement {event.round} of it): {event.reason}"


@phrase.register
def _(event: e.ServiceLaunching) -> str:
    return f"{_attempt(event)} launching for particle {event.particle}{_log(event.log)}"


@phrase.register
def _(event: e.ServiceLaunched) -> str:
    return f"{_attempt(event)} launched (pid {event.pid})"


@phrase.register
def _(event: e.ServiceReady) -> str:
    return f"{_attempt(event)} ready after {duration(event.waited)}"


@phrase.register
def _(event: e.ServiceFailed) -> str:
    return f"{_attempt(event)} failed ({event.kind}): {event.reason}{_again(event.will_retry)}"


@phrase.register
def _(event: e.MeasurementStarted) -> str:
    return (
        f"{_measurement(event)} started, concurrency {_limit(event.concurrency)}, "
        f"rate {_limit(event.request_rate)}, {event.num_prompts} prompts{_log(event.log)}"
    )


@phrase.register
def _(event: e.MeasurementFinished) -> str:
    return f"{_measurement(event)} finished: {result(event)}"


@phrase.register
def _(event: e.MeasurementFailed) -> str:
    return f"{_measurement(event)} failed ({event.kind}): {event.reason}{_again(event.will_retry)}"


@phrase.register
def _(event: e.MeasurementRejected) -> str:
    return f"{_measurement(event)} given up by {event.rule}: {event.reason}"


@phrase.register
def _(event: e.ServiceStopping) -> str:
    return f"{_attempt(event)} stopping" + _because(event.reason)


@phrase.register
def _(event: e.ServiceStopped) -> str:
    return f"{_attempt(event)} stopped after {duration(event.seconds)}" + (", killed" if event.forced else "")


@phrase.register
def _(event: e.SurroundingsFailed) -> str:
    return f"no result, and due again: {event.phase} failed by what surrounds it: {event.reason}"


@phrase.register
def _(event: e.EvaluationInterrupted) -> str:
    left = f"; ended what was left: {', '.join(map(str, event.reaped))}" if event.reaped else ""
    return f"evaluation {event.evaluation}{_nth(event.attempt)} interrupted: {event.reason}{left}"


@phrase.register
def _(event: e.EvaluationFinished) -> str:
    no_backup = f"; no backup: {event.backup_skipped}" if event.backup_skipped else ""
    return f"evaluation {event.evaluation} finished after {duration(event.seconds)}{_because(event.error)}{no_backup}"


def result(event: e.MeasurementFinished) -> str:
    """What a measurement found."""
    metrics = event.metrics
    parts = [speed(metrics.generate_speed)]
    means = {key: latency_of(metrics, key).get("mean") for key in IN_SHORT}
    parts += [f"{METRIC[key].label} {latency(mean)}" for key, mean in means.items() if mean is not None]
    if metrics.success_rate < 1:
        parts.append(f"{METRIC[SUCCESS_RATE].label} {percent(metrics.success_rate)}")
    remark = f"; {event.remark}" if event.remark else ""
    return marked(", ".join(parts), "simulated" if event.simulated else "") + remark


def _attempt(event: _OfAnAttempt) -> str:
    return f"evaluation {event.evaluation}{_nth(event.attempt)}"


def _nth(attempt: int) -> str:
    return f", attempt {attempt}," if attempt > 1 else ""


def _measurement(event: _OfAMeasurement) -> str:
    return f"{_attempt(event)} measurement {event.measurement} (particle {event.particle})"


def _because(reason: str) -> str:
    return f": {reason}" if reason else ""


def _again(will_retry: bool) -> str:
    return "; tried again" if will_retry else ""


def _log(path: str) -> str:
    return f", log {path}" if path else ""


def _limit(value: float | None) -> str:
    return "not limited" if value is None else f"{value:g}"


TYPES = tuple(tag_of(kind) for kind in phrase.registry if kind is not object)
"""The types of events that this release knows, in the order in which a run meets them."""

NOTEWORTHY = frozenset(TYPES) - {
    "result_imported", "service_launched", "service_stopping", "service_stopped", "evaluation_finished",
}  # fmt: skip
"""What somebody who waits for a run wants to read."""

FAILURES = frozenset({"service_failed", "measurement_failed", "particle_rejected", "measurement_rejected"})


def line(record: Record) -> str:
    """`2026-03-01 14:02:11 #123 run 3 service_ready: evaluation 7 ready after 12.3 s`."""
    run = f" run {record.run}" if record.run is not None else ""
    return f"{moment(record.time)} #{record.seq}{run} {one_line(record.type)}: {said(record)}"


def short_line(record: Record, *, with_run: bool = False) -> str:
    """`14:02:11 evaluation 7 ready after 12.3 s`; in a pipe with the run's number too."""
    run = f" run {record.run}:" if with_run and record.run is not None else ""
    return f"{clock(record.time)}{run} {said(record)}"


def said(record: Record) -> str:
    """What happened; an event that only a newer daemon knows is shown by its name."""
    return one_line(phrase(record.event) if record.event is not None else record.type)
