"""The command `serviceoptctl profile`: records a vLLM's steps."""

from __future__ import annotations

from pathlib import Path

import click

from serviceopt_journal.documents.models import Profiled
from serviceoptctl.errors import note
from serviceoptctl.options import PluginName, config_option, directory, json_option
from serviceoptctl.render.text import echo_json, facts, safe
from serviceoptctl.submission import submission


@click.command()
@config_option(required=True)
@click.option(
    "-e", "--engine", cls=PluginName, group="engines", default="vllm", show_default=True, metavar="NAME",
    help="Serving framework.",
)  # fmt: skip
@click.option(
    "-b", "--benchmark", cls=PluginName, group="benchmarks", default="vllm_benchmark", show_default=True,
    metavar="NAME", help="Benchmark client.",
)  # fmt: skip
@click.option(
    "-o", "--output", "target", default="profile", show_default=True, metavar="DIRECTORY", callback=directory,
    help="Directory of the recordings; an interrupted profile continues there.",
)  # fmt: skip
@click.option(
    "--configurations", type=click.IntRange(min=1), default=6, show_default=True,
    help="Launches: the current setting, then others that fill the search space evenly.",
)  # fmt: skip
@click.option(
    "--loads", type=click.IntRange(min=1), default=4, show_default=True, help="Loads that each of them is measured at."
)
@click.option(
    "--seed", type=click.IntRange(0, 2**31 - 1), default=0, show_default=True, help="Seed of the launches and loads."
)
@json_option
def profile(
    configuration: str,
    engine: str,
    benchmark: str,
    target: str,
    configurations: int,
    loads: int,
    seed: int,
    as_json: bool,
) -> None:
    """Record a vLLM's steps under load, as training data for `train`.

    The service of the configuration is started as `run` would, with a recorder in its scheduler, once for each of some
    configurations; the client measures it at several loads. Nothing of vLLM is changed. No daemon is needed, and none may
    use the same port or devices meanwhile. Called again, it goes on where it stopped.
    """
    from serviceoptd.profiling.recording.profiling import profile as profiled

    body = submission(configuration=configuration, engine=engine, benchmark=benchmark)
    done = profiled(body, Path(target), configurations=configurations, loads=loads, seed=seed, say=note)
    if as_json:
        echo_json(Profiled(directory=target, steps=done.steps, kept=tuple(done.kept), left_out=done.left_out))
        return
    facts(
        [
            ("recorded", f"{sum(done.steps.values())} steps of {len(done.steps)} loads"),
            ("kept", f"{len(done.kept)} loads that were there already" if done.kept else ""),
            ("left out", ", ".join(done.left_out)),
            ("next", safe(f"serviceoptctl train -i {target}")),
        ]
    )
