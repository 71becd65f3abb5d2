"""The command `serviceoptctl train`: builds a latency model."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from serviceopt_journal.documents.models import Trained
from serviceoptctl.options import directory, json_option
from serviceoptctl.render.text import echo_json, facts, safe
from serviceoptctl.source import journal_directory

if TYPE_CHECKING:
    from serviceoptd.simulation.step_times.latency_model import TrainedModel
    from serviceoptd.simulation.step_times.windows import WindowedRun


@click.command()
@click.option("-i", "--input", "source", metavar="DIRECTORY", help="Parsed profiling output, or recorded steps.")
@click.option("--journal", is_flag=True, help="Learn from the real measurements of this journal.")
@click.option(
    "--run", "runs", multiple=True, type=click.IntRange(min=1), metavar="RUN",
    help="With --journal: of this run only; may be repeated.",
)  # fmt: skip
@click.option(
    "-o", "--output", "target", default=".", metavar="DIRECTORY", callback=directory, help="Write the model here."
)
@click.option(
    "-t", "--type", "framework", type=click.Choice(["mindie", "vllm"]), default="mindie",
    help="Engine whose profile was parsed.", show_default=True,
)  # fmt: skip
@click.option(
    "--seed", type=click.IntRange(0, 2**31 - 1), default=0, show_default=True, help="Seed of the trees' random samples."
)
@json_option
def train(
    source: str | None, journal: bool, runs: tuple[int, ...], target: str, framework: str, seed: int, as_json: bool
) -> None:
    """Build the latency model of simulation mode from profiling data.

    Everything below the input is read: parsed profiles of the predecessor (profiler.db or batch.csv, with request.csv) and
    recordings of engine steps, which `profile` makes. With --journal, instead or as well, what vLLM told of its steps
    while runs measured it. Data of several configurations make a better model, and its errors honest: they are those on
    configurations that were held out. Writes latency_model.json and latency_model.md, its card; nothing when something is
    wrong with the data.
    """
    from serviceoptd.predicting.model_file import CARD_FILE, save
    from serviceoptd.profiling.data.reading import read_profile
    from serviceoptd.simulation.step_times.boosting import require_xgboost
    from serviceoptd.simulation.step_times.profile_data import Profile
    from serviceoptd.simulation.step_times.training import train as trained_on

    if source is None and not journal:
        raise click.UsageError("Give '-i DIRECTORY', '--journal', or both.")
    if runs and not journal:
        raise click.UsageError("'--run' goes with '--journal'.")
    require_xgboost()  # before minutes are spent on reading
    with _progress(shown=sys.stderr.isatty() and not as_json) as progress:
        profile = Profile(())
        if source is not None:
            profile = read_profile(Path(source), framework=framework, progress=progress)
        if journal:
            progress("reading the journal", 0.0)
            profile = replace(profile, windowed=_stored(runs))
        trained = trained_on(profile, seed=seed, progress=progress)
    path = save(trained, Path(target))
    if as_json:
        echo_json(Trained(model=str(path), card_page=str(path.with_name(CARD_FILE)), card=trained.card))
    else:
        _summary(trained, path, path.with_name(CARD_FILE))


def _stored(runs: tuple[int, ...]) -> tuple[WindowedRun, ...]:
    from serviceopt_journal.artefacts import ArtefactStore
    from serviceopt_journal.reader import JournalReader
    from serviceoptd.profiling.data.stored_windows import EVENTS, stored_windows

    state_directory = journal_directory()
    reader = JournalReader.open(state_directory)
    return stored_windows(reader.events(types=EVENTS), ArtefactStore(state_directory), runs)


def _summary(trained: TrainedModel, path: Path, page: Path) -> None:
    from serviceoptd.simulation.step_times.model_card import SPLITS, trained_on

    card = trained.card
    recordings = len(card.recordings) + len(card.windowed)
    configurations = {each.configuration for each in card.recordings} | {each.configuration for each in card.windowed}
    left_out = sum(recording.left_out for recording in card.recordings)
    facts(
        [
            (
                "trained on",
                f"{trained_on(card)} (recordings: {recordings}, configurations: {len(configurations)})",
            ),
            ("left out", f"{left_out} batches with requests of unknown length" if left_out else ""),
            (
                "kept",
                f"{card.chosen} (" + ", ".join(f"{name} {off:.1%}" for name, off in card.candidates.items()) + ")",
            ),
        ]
    )
    click.echo(f"\nErrors on {SPLITS[card.split]}:\n")
    click.echo(f"  {'stage':<8}{'batches':>10}{'mean':>8}{'median':>8}{'p90':>8}{'total time':>12}")
    for stage, off in (card.by_stage | ({"windows": card.windows} if card.windows is not None else {})).items():
        click.echo(f"  {stage:<8}{off.batches:>10}{off.mape:>8.1%}{off.median:>8.1%}{off.p90:>8.1%}{off.bias:>+12.1%}")
    if card.benchmarks:
        click.echo("\nErrors of whole benchmarks on the same:\n")
        click.echo(f"  {'reading':<12}{'benchmarks':>11}{'median':>8}{'p90':>8}{'bias':>8}")
        for name, off_by in card.benchmarks.items():
            click.echo(
                f"  {name:<12}{off_by.benchmarks:>11}{off_by.median:>8.1%}{off_by.p90:>8.1%}{off_by.bias:>+8.1%}"
            )
    click.echo()
    facts([("model", safe(path)), ("card", safe(page))])


@contextmanager
def _progress(*, shown: bool) -> Iterator[Callable[[str, float], None]]:
    """A bar on the terminal."""
    if not shown:
        yield lambda _what, _share: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (BarColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=1.0)
        yield lambda what, share: bar.update(task, description=safe(what), completed=share)
