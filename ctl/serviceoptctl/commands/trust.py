"""The command `serviceoptctl trust`: predictions beside measurements."""

from __future__ import annotations

from pathlib import Path

import click

from serviceopt_journal.errors import NotFound
from serviceoptctl.exporting import opened
from serviceoptctl.from_journal import FromJournal
from serviceoptctl.options import json_option, run_argument
from serviceoptctl.render import scatter
from serviceoptctl.render import trust as render
from serviceoptctl.render.text import echo_json
from serviceoptctl.source import journal_directory


@click.command()
@run_argument
@click.option("--model", metavar="FILE", help="The latency model; else the one that [simulated] names.")
@click.option(
    "-c", "--config", "configuration", metavar="FILE", type=click.Path(dir_okay=False),
    help="A configuration whose [simulated] gives scheduler, limits, lengths and overheads.",
)  # fmt: skip
@click.option(
    "--scheduler", "program", metavar="VLLM", type=click.Path(dir_okay=False, path_type=Path),
    help="Let the scheduler of this `vllm` program compose the batches; it takes 5 s to start and 1 ms a step.",
)  # fmt: skip
@click.option("--include-simulated", is_flag=True, help="Compare with simulated measurements too; they are labelled.")
@click.option("--plot", metavar="FILE", help="Write the plot as SVG, with every metric.")
@json_option
def trust(
    run: str,
    model: str | None,
    configuration: str | None,
    program: Path | None,
    include_simulated: bool,
    plot: str | None,
    as_json: bool,
) -> None:
    """Compare a latency model's predictions with what a run measured.

    Every measured configuration is run on the virtual time line. Errors by metric, rank correlation, a plot, and the
    predictions that go beyond the model's training data. Without -c lengths, KV blocks and fixed options are what the
    journal tells of the run.
    """
    from serviceoptd.config.load import load
    from serviceoptd.predicting import validation as comparing

    found = FromJournal.open(journal_directory()).find(run)
    table = None
    if configuration is not None:
        loaded = load(Path(configuration), engine="simulated", benchmark="simulated", environment={})
        table = loaded.settings.engine_options
    predictor, told = comparing.predictor_for(found, model=model, table=table, directory=Path.cwd())
    with comparing.composer_of(program) as composer:
        points = comparing.points(
            found, predictor, simulated=include_simulated, lengths_from_metrics=not told, composer=composer
        )
    if not points:
        left_out = any(particle.simulated and particle.measurements for particle in found.particles.values())
        raise NotFound(
            f"run {found.number} has measured nothing to compare with",
            hint="its measurements are simulated; --include-simulated compares them all the same" if left_out else "",
        )
    simulated = any(found.particles[point.particle].simulated for point in points)
    document = render.document(
        found.number, simulated=simulated, scheduler=program, points=points, errors=comparing.errors(points)
    )
    if plot:
        with opened(plot) as stream:
            stream.write(scatter.plot(document))
    if as_json:
        echo_json(document)
    else:
        render.trust(document)
