"""What the documentation tells of the table of metrics: how each is called where, and the columns of the CSV. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from .metric_table import METRICS, Metric
from .struct_reference import table

HEAD = """### Names of the metrics

One row for each, from `serviceopt_journal.metric_table`, which everything else reads. A column holds a latency's mean.
An engine puts its prefix before the series (`vllm:`), and has some of them. What no client tells by a name of its own is
computed from its single requests.
"""


def names() -> str:
    """The table of all names, with its heading."""
    return "\n".join(
        [
            HEAD,
            *table(("key", "meaning", "unit", "on a screen", "column", "limit", "series"), map(_row, METRICS)),
            "",
            "How the clients' results call them:",
            "",
            *table(("key", *CLIENTS), map(_told, METRICS)),
            "",
        ]
    )


def columns(*, predecessors: bool) -> str:
    """The columns of metrics with their units: `throughput` (requests/s), as the prose has them."""
    return ", ".join(
        f"`{metric.column}` ({metric.unit})"
        for metric in METRICS
        if metric.column and metric.predecessors is predecessors
    )


CLIENTS = tuple(sorted({client for metric in METRICS for client in metric.results}, reverse=True))


def _row(metric: Metric) -> tuple[str, ...]:
    limit = f"`{metric.limit.key}`" if metric.limit else ""
    column = f"`{metric.column}`" if metric.column else ""
    return f"`{metric.key}`", metric.name, metric.unit, metric.label, column, limit, _codes(metric.series)


def _told(metric: Metric) -> tuple[str, ...]:
    told = (metric.results.get(client) for client in CLIENTS)
    return f"`{metric.key}`", *(_codes(keys.names) if keys else "" for keys in told)


def _codes(words: Iterable[str]) -> str:
    return ", ".join(f"`{word}`" for word in words)
