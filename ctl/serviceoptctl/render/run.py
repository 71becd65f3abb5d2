"""Runs: the status at a glance, the list, one in full, one of its particles."""

from __future__ import annotations

import time
from collections.abc import Sequence

import click

from serviceopt_journal.documents.particles import Particle
from serviceopt_journal.documents.runs import Daemon, EvaluationUnderWay, Run, RunSummary, Status, TargetField
from serviceoptctl.render.metrics import in_full, in_short, labelled
from serviceoptctl.render.rejections import rejections
from serviceoptctl.render.text import assignments, facts, in_words, one_line, table, value_text
from serviceoptctl.render.units import about, duration, moment, percent, several, speed, times, until

INTERRUPTED = "interrupted"


def status(document: Status) -> None:
    """What `serviceoptctl status` shows."""
    stopped = document.daemon is not None and document.daemon.stopped
    alive = document.daemon is not None and not stopped
    current, last = document.current, document.last
    lines = [("daemon", _daemon(document.daemon))]
    if document.runs == 0:
        lines.append(("runs", "none yet; `serviceoptctl run` starts one"))
    elif current:
        lines += progress(current, alive=alive, stopped=stopped)
    lines.append(("queue", ", ".join(f"run {number}" for number in document.queued)))
    if last and not current:
        lines.append(("last run", f"{title(last)}, {_how(last)}"))
        lines.append((best_label(last), best_line(last)))
    facts(lines)


def standing_word(run: RunSummary, *, alive: bool) -> str:
    """How a run stands, in one word: what is under way with nobody there who works on it is interrupted."""
    return INTERRUPTED if not alive and run.status in ("running", "cancelling") else run.status


def spent(run: Run, *, passed: float = 0.0, now: float | None = None) -> str:
    """The time that was used and, of a run that is under way, what is left and when it will be over.

    Args:
        run: the run, `passed` seconds after its document was true.
        now: seconds since the epoch; None: nobody works on it, so it has no end.
    """
    used = f"{duration(run.active_seconds + passed)} used"
    if run.finished is not None or run.seconds_left is None:
        return used
    left = run.seconds_left - passed
    return f"{used}, " + ("takes longer than estimated" if left <= 0 else time_left(left, _end(run, now)))


def _end(run: Run, now: float | None) -> float | None:
    """The moment from which an end may be told: a run that is paused has none."""
    return None if run.paused else now


def time_left(left: float, now: float | None) -> str:
    """`about 12 min 30 s left, until about 14:02`."""
    how_long = "less than 1 s left" if left < 1 else f"about {about(left)} left"
    return how_long + (f", until about {until(now + left, now)}" if now is not None else "")


def best_label(run: Run) -> str:
    """What the best is called: before the end it is only the best so far."""
    return "best" if run.finished is not None else "best so far"


def progress(run: Run, *, alive: bool = True, stopped: bool = False) -> list[tuple[str, str]]:
    """Where a run stands, as `facts`. `stopped`: whoever works on it is there, and stopped as a process."""
    now = time.time()
    word = standing_word(run, alive=alive)
    if word == INTERRUPTED and stopped:
        word += ", goes on when its process does"
    elif word == INTERRUPTED:
        word += ", goes on when the daemon starts, or in the foreground with -lb (--load-breakpoint)"
    if run.paused:
        word += f" ({one_line(run.paused)})"
    lines = [
        ("run", f"{title(run)}, {word}"),
        ("engine", engine(run)),
        ("objective", run.objective),
        ("progress", counted(run)),
        ("time", spent(run, now=now if alive else None)),
        ("left", _budget_left(run)),
        (best_label(run), best_line(run)),
        ("rejections", rejections(run.rejections)),
    ]
    if current := run.current:
        lines += [
            ("now", phase(current, current.seconds if alive else None)),
            ("trying", assignments(current.configuration)),
            ("service log", current.service_log),
            ("client log", current.client_log),
        ]
    return lines


def _budget_left(run: Run) -> str:
    """What the budgets still allow, and what the models expect of it; empty when the run is over."""
    if run.finished is not None or run.imported:
        return ""
    parts = [
        several(run.evaluations_left, "configuration"),
        f"{several(run.confirmations_left, 'confirmation')} at most",
    ]
    if run.max_hours is not None:
        hours = max(0.0, run.max_hours - run.active_seconds / 3600)
        parts.append(f"{hours:.1f} of {run.max_hours:g} hours")
    if run.expected_gain is not None:
        target = f" (the search ends below {run.target:g} %)" if run.target is not None else ""
        parts.append(f"expected gain of the last configuration {percent(run.expected_gain)}{target}")
    return ", ".join(parts)


def phase(now: EvaluationUnderWay, seconds: float | None) -> str:
    """What the evaluation under way is doing, and for how long, where that is going on."""
    text = f"evaluation {now.evaluation}, {now.phase}"
    resting = now.phase in ("stopped", "interrupted")
    return text if seconds is None or resting else f"{text} for {about(seconds)}"


def title(run: RunSummary) -> str:
    """A run's number and name, such as `3 (overnight)`."""
    given = run.name not in ("", f"run-{run.run}")
    return f"{run.run} ({one_line(run.name)})" if given else str(run.run)


def engine(run: RunSummary) -> str:
    """`vllm with vllm_benchmark`, and loudly when nothing real is measured."""
    return labelled(f"{run.engine} with {run.benchmark}", run)


def counted(run: Run) -> str:
    """How much of the budget is used, and on what."""
    counts = run.counts
    kinds = (
        ("measured", counts.measured),
        ("failed", counts.failed),
        ("rejected", counts.rejected),
        ("matched", counts.matched),
    )
    others = [f"{count} {kind}" for kind, count in kinds if count]
    proving = (("finalist", counts.finalists), ("confirmation", counts.confirmations))
    others += [several(count, noun) for noun, count in proving if count]
    first = f"{run.budget} rows of {run.imported}" if run.imported else None
    return ", ".join([first or f"{run.admitted} of {run.budget} configurations", *others])


def best_line(run: Run) -> str:
    """The best with its particle and, while it rests on the search alone, how often it was measured."""
    best = run.best
    if best is None:
        return "nothing measured" + ("" if run.finished else " yet")
    return f"{in_short(best)} (particle {best.particle}{how_often(best)})"


def how_often(best: Particle) -> str:
    """`, measured once`: a value of the search alone, which the proof may well find to be lower."""
    only_searched = best.repeats and not best.confirmations and not best.imported
    return f", measured {times(best.repeats)}" if only_searched else ""


def standing(run: Run, now: float) -> str:
    """How a run stands at a moment (seconds since the epoch), on one line."""
    left = run.seconds_left
    remaining = f"; {time_left(left, _end(run, now))}" if left and run.finished is None else ""
    return f"run {run.run}: {counted(run)}; {best_label(run)} {best_line(run)}{remaining}"


def listing(runs: Sequence[RunSummary], *, alive: bool) -> None:
    """What `serviceoptctl runs` shows. `alive`: whether a daemon, or a run in the foreground, answers."""
    if not runs:
        click.echo("no run yet; `serviceoptctl run` starts one")
        return
    table(
        ("RUN", "NAME", "STATUS", "ENGINE", "CONFIGURATIONS", "BEST", "SLO", "SUBMITTED"),
        [
            (
                str(run.run),
                run.name or "-",
                standing_word(run, alive=alive),
                run.engine,
                f"{run.admitted}/{run.budget}",
                labelled(speed(run.best_generate_speed), run) if run.best_generate_speed else "-",
                ("met" if run.feasible else "unsure" if run.unsure else "broken") if run.best_generate_speed else "-",
                moment(run.submitted)[:-3],
            )
            for run in runs
        ],
    )


def in_detail(run: Run, *, alive: bool) -> None:
    """What `serviceoptctl show` shows of a run. `alive`: whether a daemon, or a run in the foreground, answers."""
    over = run.finished is not None
    own = [("run", title(run)), ("status", _how(run))] if over else []
    facts(
        [
            *own,
            *(line for line in progress(run, alive=alive) if not (over and line[0] == "run")),
            ("submitted", moment(run.submitted)),
            ("started", moment(run.started)),
            ("finished", moment(run.finished)),
            ("configuration", run.configuration_path or ""),
            ("directory", run.working_directory),
            ("seed", str(run.seed)),
            ("identity", f"run {run.identity.run[:16]}, measurement {run.identity.measurement[:16]}"),
            ("depends on", "\n".join(f"{key}: {in_words(text)}" for key, text in run.identity.parts.items())),
        ]
    )
    click.echo()
    table(("FIELD", "TYPE", "FROM", "TO", "NOW", "POSITION"), [_field(field) for field in run.fields])


def particle(document: Particle) -> None:
    """What `serviceoptctl show --particle` shows."""
    facts(
        [
            ("particle", f"{document.particle} ({document.origin})"),
            ("evaluation", str(document.evaluation or "")),
            ("parameters", "\n".join(f"{k} = {value_text(v)}" for k, v in document.configuration.items())),
            ("result", _same_as(document)),
            *in_full(document),
            ("measured", f"{document.repeats} times" if document.repeats > 1 else ""),
            ("confirmed", f"{document.confirmations} times after the search" if document.confirmations else ""),
            ("error", document.error if document.metrics else ""),
            ("took", duration(document.seconds)),
            ("audit", f"measured although rejected: {document.audited}" if document.audited else ""),
        ]
    )


def particles(documents: Sequence[Particle]) -> None:
    """What `serviceoptctl show --particles` shows."""
    table(
        ("PARTICLE", "EVALUATION", "PARAMETERS", "RESULT"),
        [
            (
                str(document.particle),
                str(document.evaluation or "-"),
                assignments(document.configuration),
                _same_as(document) or in_short(document),
            )
            for document in documents
        ],
    )


def _same_as(document: Particle) -> str:
    matched = document.matched
    return labelled(f"as particle {matched[1]} of run {matched[0]}", document) if matched else ""


def _daemon(daemon: Daemon | None) -> str:
    if daemon is None:
        return "not running (read from the journal)"
    if daemon.stopped:
        return f"stopped, pid {daemon.pid} (read from the journal)"
    parts = ["running in the foreground" if daemon.standalone else "running"]
    if daemon.version:
        parts.append(f"version {daemon.version}")
    if daemon.pid is not None:
        parts.append(f"pid {daemon.pid}")
    if daemon.started:
        parts.append(f"since {moment(daemon.started)}")
    if daemon.draining:
        parts.append("draining: starts nothing more")
    if daemon.held:
        parts.append(f"held: {one_line(daemon.held)}")
    return ", ".join(parts)


def _how(run: Run) -> str:
    if run.finished is None:
        return run.status
    if run.imported:
        return one_line(run.reason)
    took = duration(run.active_seconds) if run.started is not None else "-"
    return f"{run.status} after {took}" + (f": {one_line(run.reason)}" if run.reason else "")


def _field(field: TargetField) -> tuple[str, ...]:
    fixed = field.constant is not None or (field.min == field.max and field.dtype in ("int", "float"))
    bounds = ("-", "-") if fixed or field.dtype in ("bool", "enum") else (field.min, field.max)
    now = field.constant if field.constant is not None else field.value
    return (
        field.name,
        field.dtype + (", load" if field.load else ""),
        *(value_text(bound) for bound in bounds),
        "-" if now is None else value_text(now),
        field.config_position,
    )
