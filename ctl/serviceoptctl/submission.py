"""What the client sends for a new run: the configuration's text, and the environment that it is to run in."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import click

from serviceopt_journal.documents.requests import DeployPolicy, NewConfiguration, Separation, Submission
from serviceopt_journal.errors import InvalidConfiguration
from serviceopt_journal.foreign_text import decoded


def submission(
    *,
    configuration: str | None,
    engine: str | None = None,
    benchmark: str | None = None,
    name: str = "",
    seed: int | None = None,
    load_breakpoint: bool = False,
    backup: bool = False,
    deploy_policy: DeployPolicy = "single",
    pd: Separation = "competition",
    log_level: str | None = None,
) -> Submission:
    """The body of POST /v1/runs. The file is read here, because the daemon may not be allowed to.

    The environment is the caller's, since CUDA_VISIBLE_DEVICES and the like must reach the service. It goes to the
    daemon and nowhere else: never into an output or a log of the client. A variable that is not UTF-8 is left out, and
    named on standard error.

    Raises:
        InvalidConfiguration: the file cannot be read, or a name is not UTF-8.
    """
    environment = _of_text(os.environ)
    if log_level is not None:
        environment["MODELEVALSTATE_LEVEL"] = log_level
    text = configuration_text(configuration)
    place = str(Path.cwd())
    names = {"the working directory": place, "the configuration's path": text.configuration_path, "--name": name,
             "--engine": engine, "--benchmark": benchmark}  # fmt: skip
    for what, value in names.items():
        if value and not _is_text(value):
            raise InvalidConfiguration(
                f"{what} is not UTF-8 text: {os.fsencode(value)!r}", hint="the journal holds it: give it another name"
            )
    return Submission(
        configuration_text=text.configuration_text,
        configuration_path=text.configuration_path,
        engine=engine,
        benchmark=benchmark,
        name=name,
        seed=seed,
        load_breakpoint=load_breakpoint,
        backup=backup,
        deploy_policy=deploy_policy,
        pd=pd,
        environment=environment,
        working_directory=place,
    )


def log_is_wanted(body: Submission) -> bool:
    """Whether a run in this process writes its log to standard error (MODELEVALSTATE_LEVEL=DEBUG)."""
    return body.environment.get("MODELEVALSTATE_LEVEL", "").strip().upper() == "DEBUG"


def configuration_text(configuration: str | None) -> NewConfiguration:
    """The text of a named file, or of the one that is found, and its path.

    Raises:
        InvalidConfiguration: the file cannot be read, or is not UTF-8.
    """
    path = Path(configuration).absolute() if configuration is not None else _discovered()
    if path is None:
        return NewConfiguration()
    try:
        text = decoded(path.read_bytes(), path)
    except OSError as error:
        raise InvalidConfiguration(f"{path}: cannot be read: {(error.strerror or str(error)).lower()}") from error
    return NewConfiguration(configuration_text=text, configuration_path=str(path))


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:  # bytes of another encoding, which Python carries as halves of surrogate pairs
        return False
    return True


def _of_text(environment: Mapping[str, str]) -> dict[str, str]:
    kept = {name: value for name, value in environment.items() if _is_text(name + value)}
    if left_out := [ascii(name) for name in environment if name not in kept]:
        click.echo(f"note: not UTF-8 text, and left out of the run's environment: {', '.join(left_out)}", err=True)
    return kept


def _discovered() -> Path | None:
    from serviceoptd.config.load import discover

    return discover(os.environ, Path.cwd())
