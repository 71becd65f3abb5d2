"""What no result may be, whatever client wrote it: the last check before metrics count."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from pathlib import Path

from serviceopt_journal.foreign_files import MIB, UnfitFile, content, tail
from serviceopt_journal.metric_table import E2EL, LIMITS, METRIC, SUCCESS_RATE, TPOT, TTFT
from serviceopt_journal.metrics import Latency, Metrics
from serviceoptd.benchmarks.interface import ClientOutcome
from serviceoptd.domain.objective import missing_statistics
from serviceoptd.domain.settings import Objective
from serviceoptd.domain.statistics.order_statistics import share_of
from serviceoptd.io.log_follower import plain
from serviceoptd.toolkit.interface import UnusableResult

LARGEST_RESULT = 256 * MIB
"""Bytes of a file that is read whole: 10,000 requests of 1,000 tokens each, with the time of every token, have 220 MB."""

FASTEST_TOKEN = 1e-4
"""Seconds: no engine gives the tokens of one request faster, with speculative decoding either (10,000 tokens/s)."""
IN_ONE_PIECE = 0.98
"""From this share of the end-to-end latency on the first token is the last one, if the rest came implausibly fast."""
IMPLAUSIBLE_TOKEN = 5e-4
ROUNDING = 0.02
"""By so much statistics of one list may differ for the way in which they are rounded or interpolated."""
ENDS = ("min", "max")
NEARLY_ALL = 0.9
"""The share of the requests from which on they cannot all have had a single token, where the mean is two and more."""

_TELLING = ("Error", "error:", "Exception", "Traceback")
_LAST_LINES = 200
_LONGEST_LINE = 500


def believe(metrics: Metrics, objective: Objective) -> Metrics:
    """Returns the metrics unchanged, once they are found plausible.

    Raises:
        UnusableResult: a number that cannot be one, no completed request, latencies of nothing, or no statistic that
            the objective needs.
    """
    for name, value in _numbers(metrics):
        if not math.isfinite(value) or value < 0:
            raise UnusableResult(f"{name} is {value}")
    if metrics.completed == 0:
        raise UnusableResult(
            f"none of {metrics.failed} requests completed", hint="the client's output shows the answers"
        )
    if metrics.success_rate > 1:
        raise UnusableResult(f"{SUCCESS_RATE} is {metrics.success_rate}, above 1")
    if metrics.generate_speed == 0:
        raise UnusableResult(f"{metrics.completed} requests completed, but no token was generated")
    # tpot may be 0: a request of a single token has none after the first
    for name, latency in ((TTFT, metrics.ttft), (E2EL, metrics.e2el)):
        if latency.get("mean", 1.0) <= 0:
            raise UnusableResult(
                f"{metrics.completed} requests completed, but their mean {name} is 0 s", metrics=metrics
            )
    if missing := missing_statistics(metrics, objective):
        raise UnusableResult(
            f"the result lacks what the objective needs: {', '.join(missing)}",
            hint="let the client report it, or choose another statistic for the SLO",
            metrics=metrics,
        )
    if told := _out_of_order(metrics, objective):
        raise UnusableResult(
            told, hint="the client's version or a program between it and this tool mixes values up", metrics=metrics
        )
    if told := _without_a_time_between_tokens(metrics, objective):
        raise UnusableResult(
            f"{told}: the answer seems to arrive in one piece",
            hint=f"a proxy buffers it, a parser holds tokens back, or it is not streamed; or set {LIMITS[E2EL].key} alone",
            metrics=metrics,
        )
    return metrics


def _out_of_order(metrics: Metrics, objective: Objective) -> str:
    """Which statistics of a limited latency contradict each other; empty where none do.

    No percentile is below a smaller one, no mean beyond the ends, and no answer ends before its first token.
    """
    ttft, e2el = metrics.ttft.get("mean"), metrics.e2el.get("mean")
    limited = {slo.metric for slo in objective.slos} & {TTFT, E2EL}
    if limited and ttft is not None and e2el is not None and ttft > e2el * (1 + ROUNDING):
        return f"mean {TTFT} ({ttft * 1000:.4g} ms) is above mean {E2EL} ({e2el * 1000:.4g} ms)"
    for metric in sorted({slo.metric for slo in objective.slos}):
        told: Latency = getattr(metrics, metric, None) or {}
        ranked = sorted((_rank(name), value, name) for name, value in told.items() if name in ENDS or name[0] == "p")
        for (_, low, below), (_, high, above) in itertools.pairwise(ranked):
            if high < low * (1 - ROUNDING):
                return f"{above} {metric} ({high * 1000:.4g} ms) is below its {below} ({low * 1000:.4g} ms)"
        mean, least, most = told.get("mean"), told.get("min"), told.get("max")
        if mean is not None and most is not None and mean > most * (1 + ROUNDING):
            return f"mean {metric} ({mean * 1000:.4g} ms) is above its max ({most * 1000:.4g} ms)"
        if mean is not None and least is not None and mean < least * (1 - ROUNDING):
            return f"mean {metric} ({mean * 1000:.4g} ms) is below its min ({least * 1000:.4g} ms)"
    return ""


def _rank(statistic: str) -> float:
    return 0.0 if statistic == "min" else share_of(statistic)


def _without_a_time_between_tokens(metrics: Metrics, objective: Objective) -> str:
    """Why the times of single tokens cannot be true although a limit rests on them; empty where they can, or none does."""
    limited = {slo.metric for slo in objective.slos} & {TTFT, TPOT}
    tokens = metrics.output_tokens or metrics.generate_speed * metrics.duration
    after_the_first = tokens / metrics.completed - 1
    if not limited or after_the_first < 1:
        return ""
    each = f"{after_the_first + 1:.3g} tokens a request"
    tpot, ttft, e2el = (latency.get("mean") for latency in (metrics.tpot, metrics.ttft, metrics.e2el))
    if tpot is None:
        tpot = next((metrics.tpot[slo.statistic] for slo in objective.slos if slo.metric == TPOT), None)
    if TPOT in limited and tpot is not None and tpot < FASTEST_TOKEN:
        return f"{TPOT} is {tpot * 1000:.3g} ms with {each}"
    for statistic in (slo.statistic for slo in objective.slos if slo.metric == TPOT):
        value = metrics.tpot.get(statistic)
        if value is not None and value < FASTEST_TOKEN and statistic != "mean" and _rank(statistic) >= NEARLY_ALL:
            return f"{statistic} {TPOT} is {value * 1000:.3g} ms with {each}"
    if ttft is None or e2el is None:
        return ""
    pace = (e2el - ttft) / after_the_first
    if pace < FASTEST_TOKEN or (pace < IMPLAUSIBLE_TOKEN and ttft >= IN_ONE_PIECE * e2el):
        return f"mean {TTFT} is {ttft * 1000:.4g} ms of {e2el * 1000:.4g} ms {METRIC[E2EL].label} with {each}"
    return ""


def ended_well(outcome: ClientOutcome) -> None:
    """Raises UnusableResult when the client's exit status is not 0, with what its output says about it."""
    if outcome.exit_status == 0:
        return
    how = f"exit status {outcome.exit_status}" if outcome.exit_status > 0 else f"signal {-outcome.exit_status}"
    said = telling_line(outcome.output)
    raise UnusableResult(f"the client ended with {how}" + (f": {said}" if said else ""))


def result_in(path: Path, outcome: ClientOutcome) -> bytes:
    """What the client wrote into this file of its workplace, which was new when it was started.

    Its time stamp is not looked at: clocks are set, and file servers have their own. A link, a pipe, a device or more than
    LARGEST_RESULT is refused before it is read.

    Raises:
        UnusableResult: it is not there, or cannot be used.
        OSError: this machine cannot read now.
    """
    try:
        return content(path, LARGEST_RESULT)
    except FileNotFoundError:
        said = telling_line(outcome.output)
        raise UnusableResult(
            "the client exited 0 and wrote no result" + (f"; its output ends: {said}" if said else ""),
            hint=f"expected {path}",
        ) from None
    except UnfitFile as unfit:
        raise UnusableResult(f"the result cannot be used: {unfit}", hint=unfit.hint) from unfit


def telling_line(output: Path) -> str:
    """The last line that names an error, or else the last line, shortened; empty when there is no output."""
    try:
        text = plain(tail(output, MIB).decode(errors="replace"))
    except (OSError, UnfitFile):
        return ""
    lines = [line for raw in text.split("\n")[-_LAST_LINES:] if (line := raw.strip())]
    told = next(
        (line for line in reversed(lines) if any(word in line for word in _TELLING)), lines[-1] if lines else ""
    )
    return told if len(told) <= _LONGEST_LINE else f"{told[:_LONGEST_LINE].rstrip()} ..."


def _numbers(metrics: Metrics) -> Iterator[tuple[str, float]]:
    for name in metrics.__struct_fields__:
        value = getattr(metrics, name)
        if name == "tails":
            continue  # computed here, not told by a client
        if isinstance(value, dict):
            yield from ((f"{statistic} {name}", number) for statistic, number in value.items())
        elif value is not None:
            yield name, value
