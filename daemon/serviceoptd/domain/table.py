"""The rows of the result CSV (specification section 6), from the state of a run."""

from __future__ import annotations

from typing import Any

from serviceopt_journal.documents.runs import Table
from serviceopt_journal.events import Kind, Value
from serviceopt_journal.metric_table import METRICS, OWN_METRIC_COLUMNS, PREDECESSORS_COLUMNS
from serviceopt_journal.metrics import Metrics, column_value
from serviceopt_journal.unseen import visible
from serviceoptd.domain.state import Particle, RunState

METRIC_COLUMNS = PREDECESSORS_COLUMNS
RECORD_COLUMNS = ("error", "backup", "duration", "real_evaluation", "fitness", "num_prompts")
OWN_COLUMNS = (
    "run", "evaluation", "source", "repeats", "particle", "feasible", "violated", *OWN_METRIC_COLUMNS, "audited",
    "confirmations", "remark",
)  # fmt: skip

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def columns(run: RunState) -> list[str]:
    """Column names in the order of the specification: metrics, target fields, the record, then our own."""
    return [*METRIC_COLUMNS, *(field.name for field in run.settings.fields), *RECORD_COLUMNS, *OWN_COLUMNS]


def table(run: RunState) -> Table:
    """The table of results of a run."""
    return Table(columns=tuple(columns(run)), rows=tuple(rows(run)))


def rows(run: RunState) -> list[dict[str, Value | None]]:
    """One row per parameter set and load that was measured, failed or was rejected, in the order of proposal.

    A particle that was matched has no row of its own: its configuration is in the table already. Repeated
    measurements are aggregated by median. Times are seconds.
    """
    repeats = run.settings.measuring.repeats
    listed = (p for p in run.particles.values() if p.matched is None or p.matched[0] != run.number)
    return [row(run, particle) for particle in listed if particle.settled(repeats) or particle.measurements]


def row(run: RunState, particle: Particle) -> dict[str, Value | None]:
    """One row as typed values; None where there is nothing to tell."""
    origin = run.twin(particle) or particle
    metrics = particle.confirmed or origin.metrics or origin.censored or (origin.predicted if origin.rejected else None)
    judgement = run.standing(particle)
    real = bool(origin.measurements) and not origin.simulated
    failed_real = bool(origin.error) and not origin.simulated
    evaluation = run.evaluations.get(particle.evaluation) if particle.evaluation is not None else None
    record: dict[str, Value | None] = {
        **{each.column: column_value(metrics, each.key) if metrics else None for each in METRICS if each.column},
        **{field.name: particle.configuration.get(field.name) for field in run.settings.fields},
        "error": particle.error or particle.unconfirmed or particle.rejected or _partly_failed(origin.metrics),
        "backup": evaluation.backup if evaluation else origin.imported.backup if origin.imported else "",
        "duration": None if origin.imported and real and not origin.seconds else origin.seconds,  # 0 s: not told
        "real_evaluation": real or failed_real,
        "fitness": judgement.fitness,
        "num_prompts": origin.num_prompts or run.settings.num_prompts,
        "run": run.number,
        "evaluation": particle.evaluation,
        "source": _source(run, particle),
        "repeats": len(particle.confirmations or origin.measurements),
        "particle": particle.number,
        "feasible": run.feasible(particle),
        "violated": "; ".join(judgement.broken) if origin.metrics or origin.censored else "",
        "audited": particle.audited,
        "confirmations": len(particle.confirmations),
        "remark": particle.remark or origin.remark,
    }
    return {name: record[name] for name in columns(run)}


def _partly_failed(metrics: Metrics | None) -> str:
    """The result counts, with its success rate; but a set whose requests failed did not run properly."""
    if metrics is None or not metrics.failed:
        return ""
    return f"{metrics.failed} of {metrics.completed + metrics.failed} requests failed"


def kind_of(run: RunState, particle: Particle) -> Kind:
    """What the result of a particle is, or of the one whose result it took."""
    origin = run.twin(particle) or particle
    if origin.rejected:
        return "predicted"
    if not (origin.measurements or origin.confirmations or origin.censored):
        return ""
    return "imported" if origin.imported is not None else "simulated" if origin.simulated else "measured"


def _source(run: RunState, particle: Particle) -> str:
    """As `kind_of`; but all that a file tells is imported, and so is what was measured in an earlier run."""
    origin = run.twin(particle) or particle
    kind = kind_of(run, particle) or ("simulated" if origin.simulated else "measured")
    taken = particle.matched is not None and particle.matched[0] != run.number
    return "imported" if origin.imported is not None or (taken and kind == "measured") else kind


def cell(value: Any) -> str:
    """A value as a CSV cell: lower-case booleans, empty for None, and never a formula in a spreadsheet.

    Text that a spreadsheet would execute gets an apostrophe in front (OWASP, "CSV Injection"); what nobody would see in it
    stands as `\\x1b`.
    """
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return repr(value)
    text = visible(str(value))
    return "'" + text if isinstance(value, str) and text.startswith(FORMULA_STARTS) else text
