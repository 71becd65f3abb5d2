"""Measured, simulated and predicted values, never without saying which of these they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from serviceopt_journal.metrics import NOT_TOLD
from serviceoptctl.render.units import latency, percent, request_rate, speed

LATENCIES = {"ttft": "TTFT", "tpot": "TPOT", "e2el": "end to end", "itl": "between tokens"}
_PERCENTILES_SHOWN = ("mean", "p50", "p90", "p95", "p99")


def kind(document: Mapping[str, Any]) -> str:
    """The word that goes with every value which was not measured; empty for measured ones."""
    return "simulated" if document.get("simulated") else "imported" if document.get("imported") else ""


def labelled(text: str, document: Mapping[str, Any]) -> str:
    """`1234 tok/s (simulated)`."""
    word = kind(document)
    return f"{text} ({word})" if word else text


def in_short(particle: Mapping[str, Any]) -> str:
    """A particle's result on one line."""
    metrics = particle["metrics"]
    if metrics is None:
        return particle["error"] or particle["rejected"] or "nothing measured yet"
    parts = [
        speed(metrics["generate_speed"]),
        f"TTFT {latency(metrics['ttft'].get('mean'))}",
        f"TPOT {latency(metrics['tpot'].get('mean'))}",
        verdict(particle),
    ]
    return labelled(", ".join(parts), particle)


def verdict(particle: Mapping[str, Any]) -> str:
    """Whether the objectives hold, and which do not."""
    if particle["feasible"]:
        return "every SLO met"
    return "SLO broken: " + "; ".join(particle["violated"]) if particle["violated"] else "not sure to meet every SLO"


def in_full(particle: Mapping[str, Any]) -> list[tuple[str, str]]:
    """A particle's result as `facts`."""
    metrics = particle["metrics"]
    if metrics is None:
        return [("result", in_short(particle))]
    lines = [("output", labelled(speed(metrics["generate_speed"]), particle))]
    if metrics["throughput"] != NOT_TOLD:
        lines.append(("requests", labelled(request_rate(metrics["throughput"]), particle)))
    if metrics.get("goodput") is not None:
        lines.append(("goodput", labelled(request_rate(metrics["goodput"]), particle)))
    for metric, name in LATENCIES.items():
        statistics = metrics.get(metric) or {}
        shown = [f"{s} {latency(statistics[s])}" for s in _PERCENTILES_SHOWN if s in statistics]
        if shown:
            lines.append((name, labelled(", ".join(shown), particle)))
    if metrics["success_rate"] != NOT_TOLD:
        completed, sent = metrics["completed"], metrics["completed"] + metrics["failed"]
        rate = percent(metrics["success_rate"]) + (f" ({completed} of {sent} requests)" if sent else "")
        lines.append(("success rate", labelled(rate, particle)))
    lines += [("SLO", verdict(particle)), ("remark", particle.get("remark", ""))]
    return lines
