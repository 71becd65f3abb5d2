"""What a model was made of and how far it was off on data that it had not seen. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict

import msgspec
import numpy as np

from serviceopt_journal.documents.models import BenchmarkErrors, ErrorLine, ModelCard, Recording, WindowedRecording
from serviceoptd.simulation.step_times.columns import Column
from serviceoptd.simulation.step_times.validity import STAGES, WORDS, Validity, stages
from serviceoptd.simulation.virtual_clock.overheads import Overheads

SPLITS = {
    "configuration": "configurations that it was not trained on",
    "run": "runs that it was not trained on, all of one configuration",
    "time": "fifths of the only run that it was not trained on; other configurations were never tried",
}


def error_line(predicted: Column, measured: Column) -> ErrorLine:
    """The errors of at least one batch, as a line of the card."""
    errors = np.abs(predicted / measured - 1)
    return ErrorLine(
        batches=len(errors),
        mape=float(errors.mean()),
        median=float(np.median(errors)),
        p90=float(np.quantile(errors, 0.9)),
        bias=float(predicted.sum() / measured.sum() - 1),
    )


def by_stage(composition: Column, predicted: Column, measured: Column) -> dict[str, ErrorLine]:
    """Errors of each stage that there is."""
    of_batch = stages(composition)
    return {
        stage: error_line(predicted[of_batch == number], measured[of_batch == number])
        for number, stage in enumerate(STAGES)
        if np.any(of_batch == number)
    }


def by_size(composition: Column, predicted: Column, measured: Column) -> dict[str, ErrorLine]:
    """Errors by the number of sequences in a batch: 1, 2-3, 4-7, and so on."""
    digits = np.floor(np.log2(composition[:, 0] + composition[:, 3])).astype(int)
    lines = {}
    for digit in np.unique(digits).tolist():
        name = "1" if digit == 0 else f"{2**digit}-{2 ** (digit + 1) - 1}"
        lines[name] = error_line(predicted[digits == digit], measured[digits == digit])
    return lines


def as_markdown(card: ModelCard, validity: Validity, overheads: Overheads | None = None) -> str:
    """The card as a page to read."""
    left_out = sum(recording.left_out for recording in card.recordings)
    lines = [
        "# Latency model",
        "",
        f"Trained by `serviceoptctl train` on {trained_on(card)}.",
        f"Seed {card.seed}, XGBoost {card.xgboost}. Left out, for the unknown length of a request: {left_out} batches.",
        "",
        *_table(("recording", "configuration", "framework", "batches", "left out"), map(_cells, card.recordings)),
        "",
        *_windowed(card),
        f"## Errors on {SPLITS[card.split]}",
        "",
        f"{card.folds} parts, each predicted by a model that was trained on the others.",
        "",
        *error_table("stage", card.by_stage),
        "",
        *error_table("sequences in the batch", card.by_size),
        "",
        "| candidate | mean of the errors with and without prefill |",
        "|---|---:|",
        *(f"| {name}{' (chosen)' * (name == card.chosen)} | {error:.1%} |" for name, error in card.candidates.items()),
        "",
        f"The tables differ from the trees that they replace by {card.table_deviation:.1e} at most.",
        "",
        *_around_the_engine(card, overheads),
        "## Range of validity",
        "",
        "| stage | measure | from | to |",
        "|---|---|---:|---:|",
        *(
            f"| {stage} | {WORDS[measure]} | {lowest:.0f} | {highest:.0f} |"
            for stage, ranges in validity.ranges.items()
            for measure, (lowest, highest) in ranges.items()
        ),
    ]
    return "\n".join(lines) + "\n"


def trained_on(card: ModelCard) -> str:
    """How much data there was, in words."""
    if not card.windowed:
        return f"{card.batches} batches"
    windows, steps = (sum(getattr(each, name) for each in card.windowed) for name in ("windows", "steps"))
    told = f"{windows} windows with {steps} steps of {len(card.windowed)} measurements"
    return f"{card.batches} batches and {told}" if card.batches else told


def _windowed(card: ModelCard) -> list[str]:
    if card.windows is None:
        return []
    lines = ["Of these measurements only sums over windows are known; they teach the physical terms alone.", ""]
    lines += _table(("measurement", "configuration", "windows", "steps"), map(_cells, card.windowed))
    title = f"Errors of whole windows on {SPLITS[card.split]}:"
    return [*lines, "", title, "", *error_table("data", {"windows": card.windows}, "windows"), ""]


def _around_the_engine(card: ModelCard, overheads: Overheads | None) -> list[str]:
    if overheads is None:
        return []
    lines = ["## Around the engine", "", "Fitted to what the client measured while the steps were recorded.", ""]
    lines += _table(("overhead", "ms"), ((name, f"{1000 * each:.4f}") for name, each in asdict(overheads).items()))
    if card.benchmarks:
        lines += ["", f"Errors of whole benchmarks on {SPLITS[card.split]}:", "", *benchmark_table(card.benchmarks)]
    else:
        lines += ["", "No benchmark was held out: the error on others is not known."]
    return [*lines, ""]


def benchmark_table(errors: dict[str, BenchmarkErrors]) -> list[str]:
    """A Markdown table of the errors of benchmarks."""
    rows = (
        (name, str(e.benchmarks), f"{e.median:.1%}", f"{e.p90:.1%}", f"{e.bias:+.1%}") for name, e in errors.items()
    )
    return _table(("reading", "benchmarks", "median", "p90", "bias"), rows)


def error_table(title: str, lines: dict[str, ErrorLine], counted: str = "batches") -> list[str]:
    """A Markdown table of errors."""
    rows = (
        (name, str(e.batches), *(f"{x:.1%}" for x in (e.mape, e.median, e.p90)), f"{e.bias:+.1%}")
        for name, e in lines.items()
    )
    return _table((title, counted, "MAPE", "median", "p90", "total time"), rows)


def _cells(recording: Recording | WindowedRecording) -> tuple[str, ...]:
    return tuple(str(value) for value in msgspec.structs.astuple(recording))


def _table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    return [
        f"| {' | '.join(header)} |",
        "|---" + "|---:" * (len(header) - 1) + "|",
        *(f"| {' | '.join(row)} |" for row in rows),
    ]
