"""The command `serviceoptctl best`: the recommended parameters."""

from __future__ import annotations

from pathlib import Path

import click

from serviceopt_journal.documents.particles import FinishedFiles, Recommendation
from serviceopt_journal.errors import EnvironmentLacks, NotFound
from serviceoptctl import exporting
from serviceoptctl.errors import note
from serviceoptctl.options import json_option, run_argument, standard_output
from serviceoptctl.render import recommendation as render
from serviceoptctl.render.text import echo_json, to_json
from serviceoptctl.source import open_source


@click.command()
@run_argument
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "shell", "env", "config"]),
    default="text",
    help="shell: the command that was measured; env: NAME=value lines for an environment file; config: the finished "
    "configuration file, such as MindIE's config.json.",
)
@click.option(
    "-o", "--output", metavar="FILE", type=click.Path(), callback=standard_output,
    help="Write it here, not to the terminal; of several configuration files, a directory for them. `-` is standard "
    "output.",
)  # fmt: skip
@json_option
def best(run: str, form: str, output: str | None, as_json: bool) -> None:
    """Show the recommended parameters and how to deploy them.

    Of a run that is not over, the best so far.
    """
    if as_json:
        form = "json"
    if form == "config":
        _config(open_source().finished_files(run).document, output)
        return
    answer = open_source().best(run)
    if form == "text":
        if output is not None:
            raise click.UsageError("-o needs --format json, shell, env or config")
        render.recommendation(answer.document)
    elif output is None and form == "json":
        echo_json(answer.told)
    else:
        shown = {"json": lambda: to_json(answer.told), "shell": lambda: render.shell(answer.document)}
        text = shown.get(form, lambda: _variables(answer.document))()
        with exporting.opened(output) as stream:
            stream.write(text + "\n")


def _variables(found: Recommendation) -> str:
    """The lines of an environment file.

    Raises:
        NotFound: there is none to write, with the format that has what is to be deployed.
    """
    if not render.variables(found):
        raise NotFound(
            f"particle {found.particle} of run {found.run} is deployed without any environment variable",
            hint=render.without_variables(found),
        )
    told = "# simulated: no service was measured with these\n" if found.simulated else ""
    return told + render.environment(found)


def _config(found: FinishedFiles, output: str | None) -> None:
    """Writes the finished files, byte for byte as they were measured.

    Raises:
        EnvironmentLacks: one cannot be written.
    """
    names = {file.path: Path(file.path).name for file in found.files}
    if output is None:
        if len(names) > 1:
            raise click.UsageError(f"several files were changed ({', '.join(names)}): give -o DIRECTORY")
        click.echo(found.files[0].content, nl=False)
        return
    target = Path(output)
    into = target.is_dir() or output.endswith("/") or len(names) > 1
    for file in found.files:
        path = target / names[file.path] if into else target
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            exporting.finished(path, file.content)
        except OSError as error:
            raise EnvironmentLacks(
                f"{path}: cannot be written: {(error.strerror or str(error)).lower()}",
                hint="give another place with -o",
            ) from error
        note(f"{file.path} as it was measured, written to {path}")
