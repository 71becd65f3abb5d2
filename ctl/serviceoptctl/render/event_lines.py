"""One line for every kind of event: what `events` shows, and what `watch` says where there is no terminal."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from serviceopt_journal.metric_table import GENERATE_SPEED, METRIC, SUCCESS_RATE
from serviceoptctl.render.metrics import IN_SHORT, marked
from serviceoptctl.render.text import assignments, one_line
from serviceoptctl.render.units import clock, duration, latency, moment, percent, speed

Event = Mapping[str, Any]

PHRASES: dict[str, Callable[[Event], str]] = {
    "daemon_started": lambda e: (
        f"serviceoptd {e['version']} started (pid {e['pid']}{', standalone' if e['standalone'] else ''}), "
        f"{e['replayed']} events read"
    ),
    "daemon_stopped": lambda e: f"serviceoptd stopped: {e['reason']}",
    "writing_held": lambda e: f"nothing could be written for {duration(e['seconds'])}: {e['reason']}",
    "drop_in_refused": lambda e: f"{e['path']} is not a valid configuration: {'; '.join(e['problems'])}",
    "log_level_changed": lambda e: f"log level is now {e['level']}",
    "run_submitted": lambda e: (
        f"submitted: {e['settings']['engine']} with {e['settings']['benchmark']}"
        + (f", named {e['name']}" if e["name"] else "")
    ),
    "run_started": lambda e: "started",
    "run_paused": lambda e: f"{'held' if e['held'] else 'paused'}: {e['reason'] or 'on request'}",
    "run_resumed": lambda e: "resumed" + (f": {e['reason']}" if e["reason"] else ""),
    "run_cancel_requested": lambda e: "cancel requested" + (f": {e['reason']}" if e["reason"] else ""),
    "run_reconfigured": lambda e: f"reconfigured: {', '.join(e['changes'])}",
    "run_finished": lambda e: f"{e['outcome']}: {e['reason']}" + _recommended(e),
    "particle_proposed": lambda e: f"particle {e['particle']} ({e['origin']}): {assignments(e['configuration'])}",
    "particle_matched": lambda e: (
        f"particle {e['particle']} is particle {e['same_as_particle']} of run {e['same_as_run']} again"
    ),
    "particle_rejected": lambda e: (
        f"particle {e['particle']} rejected by {e['rule']}{' but measured anyway' if e['audited'] else ''}: "
        f"{e['reason']}" + _predicted(e["predicted"], "simulated" if e["kind"] == "simulated" else "predicted")
    ),
    "rule_refuted": lambda e: (
        f"the rule {e['rule']} is off for the rest of this run: particle {e['particle']} did what it "
        f"had ruled out ({e['reason']})"
    ),
    "result_imported": lambda e: f"particle {e['particle']} imported from {e['source_file']}:{e['line']}: {_told(e)}",
    "confirmation_requested": lambda e: (
        f"particle {e['particle']} is to be confirmed (measurement {e['round']} of it): {e['reason']}"
    ),
    "service_launching": lambda e: f"{_evaluation(e)} launching for particle {e['particle']}{_log(e)}",
    "service_launched": lambda e: f"{_evaluation(e)} launched (pid {e['pid']})",
    "service_ready": lambda e: f"{_evaluation(e)} ready after {duration(e['waited'])}",
    "service_failed": lambda e: f"{_evaluation(e)} failed ({e['kind']}): {e['reason']}{_again(e)}",
    "measurement_started": lambda e: (
        f"{_measurement(e)} started, concurrency {_limit(e['concurrency'])}, "
        f"rate {_limit(e['request_rate'])}, {e['num_prompts']} prompts{_log(e)}"
    ),
    "measurement_finished": lambda e: f"{_measurement(e)} finished: {result(e)}",
    "measurement_failed": lambda e: f"{_measurement(e)} failed ({e['kind']}): {e['reason']}{_again(e)}",
    "measurement_rejected": lambda e: f"{_measurement(e)} given up by {e['rule']}: {e['reason']}",
    "service_stopping": lambda e: f"{_evaluation(e)} stopping" + (f": {e['reason']}" if e["reason"] else ""),
    "service_stopped": lambda e: f"{_evaluation(e)} stopped after {duration(e['seconds'])}" + _forced(e),
    "surroundings_failed": lambda e: (
        f"no result, and due again: {e['phase']} failed by what surrounds it: {e['reason']}"
    ),
    "evaluation_interrupted": lambda e: f"{_evaluation(e)} interrupted: {e['reason']}" + _reaped(e),
    "evaluation_finished": lambda e: (
        f"{_evaluation(e)} finished after {duration(e['seconds'])}"
        + (f": {e['error']}" if e["error"] else "")
        + (f"; no backup: {e['backup_skipped']}" if e.get("backup_skipped") else "")
    ),
}

NOTEWORTHY = frozenset(PHRASES) - {
    "result_imported", "service_launched", "service_stopping", "service_stopped", "evaluation_finished",
}  # fmt: skip
"""What somebody who waits for a run wants to read."""

FAILURES = frozenset({"service_failed", "measurement_failed", "particle_rejected", "measurement_rejected"})


def phrase(event: Event) -> str:
    """What happened, without when and where. Types of a newer daemon are shown by name."""
    known = PHRASES.get(event["type"])
    return one_line(known(event)) if known else one_line(event["type"])


def line(record: Mapping[str, Any]) -> str:
    """`2026-03-01 14:02:11 #123 run 3 service_ready: evaluation 7 ready after 12.3 s`."""
    event = record["event"]
    run = f" run {event['run']}" if "run" in event else ""
    return f"{moment(record['time'])} #{record['seq']}{run} {one_line(event['type'])}: {phrase(event)}"


def short_line(record: Mapping[str, Any], *, with_run: bool = False) -> str:
    """`14:02:11 evaluation 7 ready after 12.3 s`; in a pipe with the run's number too."""
    event = record["event"]
    run = f" run {event['run']}:" if with_run and "run" in event else ""
    return f"{clock(record['time'])}{run} {phrase(event)}"


def _evaluation(event: Event) -> str:
    attempt = event.get("attempt", 1)
    return f"evaluation {event['evaluation']}" + (f", attempt {attempt}," if attempt > 1 else "")


def _measurement(event: Event) -> str:
    return f"{_evaluation(event)} measurement {event['measurement']} (particle {event['particle']})"


def result(event: Event) -> str:
    """What a measurement found, of an event `measurement_finished`."""
    metrics = event["metrics"]
    parts = [speed(metrics[GENERATE_SPEED])]
    parts += [f"{METRIC[key].label} {latency(metrics[key]['mean'])}" for key in IN_SHORT if "mean" in metrics[key]]
    if metrics[SUCCESS_RATE] < 1:
        parts.append(f"{METRIC[SUCCESS_RATE].label} {percent(metrics[SUCCESS_RATE])}")
    remark = f"; {event['remark']}" if event.get("remark") else ""
    return marked(", ".join(parts), "simulated" if event.get("simulated") else "") + remark


def _predicted(metrics: Event | None, word: str) -> str:
    return f" ({speed(metrics[GENERATE_SPEED])} {word})" if metrics else ""


def _told(event: Event) -> str:
    metrics = event["metrics"]
    parts = [speed(metrics[GENERATE_SPEED])] if metrics else []
    return ", ".join(
        [*parts, *([] if event["measured"] else ["predicted"]), *([event["error"]] if event["error"] else [])]
    )


def _recommended(event: Event) -> str:
    if event["recommended"] is None:
        return "; nothing to recommend"
    return f"; particle {event['recommended']} " + ("recommended" if event["feasible"] else "comes closest to the SLOs")


def _again(event: Event) -> str:
    return "; tried again" if event["will_retry"] else ""


def _log(event: Event) -> str:
    return f", log {event['log']}" if event["log"] else ""


def _forced(event: Event) -> str:
    return ", killed" if event["forced"] else ""


def _reaped(event: Event) -> str:
    return f"; ended what was left: {', '.join(map(str, event['reaped']))}" if event["reaped"] else ""


def _limit(value: float | None) -> str:
    return "not limited" if value is None else f"{value:g}"
