"""Measured, simulated and predicted values, never without saying which of these they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from serviceopt_journal.documents.particles import Particle
from serviceopt_journal.documents.runs import RunSummary
from serviceopt_journal.metric_table import (
    ALL_LATENCIES,
    METRIC,
    METRICS,
    SUCCESS_RATE,
    TPOT,
    TTFT,
    LatencyName,
    Unit,
)
from serviceopt_journal.metrics import NOT_TOLD, column_value, latency_of
from serviceopt_journal.values import Kind
from serviceoptctl.render.units import latency, percent, request_rate, speed

IN_SHORT: tuple[LatencyName, ...] = (TTFT, TPOT)
"""The latencies whose means stand on the one line of a result."""
_RATES: Mapping[Unit, Callable[[float], str]] = {"output tokens/s": speed, "requests/s": request_rate}
_PERCENTILES_SHOWN = ("mean", "p50", "p90", "p95", "p99")


def kind(document: Particle | RunSummary) -> str:
    """The word that goes with every value which was not measured; empty for measured ones."""
    told = kind_word(document.kind) if isinstance(document, Particle) else ""
    return told or ("simulated" if document.simulated else "imported" if document.imported else "")


def kind_word(told: Kind) -> str:
    """The word behind a result of this kind; none is needed where it was measured."""
    return "" if told == "measured" else told


def labelled(text: str, document: Particle | RunSummary) -> str:
    """A rate with the label of its source, such as `1234 tok/s (simulated)`."""
    return marked(text, kind(document))


def marked(text: str, word: str) -> str:
    """The text with a word behind it in brackets; empty: none."""
    return f"{text} ({word})" if word else text


def in_short(particle: Particle) -> str:
    """A particle's result on one line."""
    metrics = particle.metrics
    if metrics is None:
        return particle.error or particle.rejected or "nothing measured yet"
    parts = [
        speed(metrics.generate_speed),
        *(f"{METRIC[key].label} {latency(latency_of(metrics, key).get('mean'))}" for key in IN_SHORT),
        verdict(particle),
    ]
    return labelled(", ".join(parts), particle)


def verdict(particle: Particle) -> str:
    """Whether the objectives hold, and which do not."""
    if particle.feasible:
        return "every SLO met"
    return "SLO broken: " + "; ".join(particle.violated) if particle.violated else "not certain to meet every SLO"


def in_full(particle: Particle) -> list[tuple[str, str]]:
    """A particle's result as `facts`."""
    metrics = particle.metrics
    if metrics is None:
        return [("result", in_short(particle))]
    lines = [
        (metric.label, labelled(_RATES[metric.unit](value), particle))
        for metric in METRICS
        if metric.unit in _RATES and (value := column_value(metrics, metric.key)) is not None
    ]
    # what an objective can limit comes first
    for name in sorted(ALL_LATENCIES, key=lambda each: METRIC[each].limit is None):
        statistics = latency_of(metrics, name)
        shown = [f"{s} {latency(statistics[s])}" for s in _PERCENTILES_SHOWN if s in statistics]
        if shown:
            lines.append((METRIC[name].label, labelled(", ".join(shown), particle)))
    if metrics.success_rate != NOT_TOLD:
        completed, sent = metrics.completed, metrics.completed + metrics.failed
        rate = percent(metrics.success_rate) + (f" ({completed} of {sent} requests)" if sent else "")
        lines.append((METRIC[SUCCESS_RATE].label, labelled(rate, particle)))
    lines += [("SLO", verdict(particle)), ("remark", particle.remark)]
    return lines
