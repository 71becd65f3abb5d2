"""Programs and their surroundings: paths, environment files, working directories. Reads files, starts nothing."""

from __future__ import annotations

import os
import pwd
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from serviceopt_journal.errors import EnvironmentLacks, InvalidConfiguration, ServiceoptError
from serviceopt_journal.foreign_files import LARGEST_CONFIGURATION, content
from serviceopt_journal.foreign_text import decoded
from serviceoptd.toolkit.arguments import refuse_unknown, replaced, runs_a_shell
from serviceoptd.toolkit.find_program import find_program
from serviceoptd.toolkit.interface import Command, Problem, ProcessOptions, Workplace


def is_path(text: str) -> bool:
    """Whether a word can only be a file or a directory, not the name of a program or of a model on a hub."""
    return text.startswith(("/", "./", "../", "~/"))


def located(text: str, workplace: Workplace) -> str:
    """A path made absolute against the submitter's directory (and home); a bare name as it is."""
    if text.startswith("~/") and (home := workplace.environment.get("HOME")):
        return str(Path(home, text[2:]))
    return os.path.normpath(workplace.working_directory / text) if is_path(text) else text


def located_model(model: str, workplace: Workplace) -> str:
    """A model's directory made absolute, also where it is written without `./`; a name on a hub as it is.

    A command that is deployed is run from elsewhere, and a name that means a directory here would be looked up there.
    """
    path = workplace.working_directory / model
    return os.path.normpath(path) if model and (path / "config.json").is_file() else located(model, workplace)


def section_environment(options: ProcessOptions, workplace: Workplace, values: Mapping[str, object]) -> dict[str, str]:
    """The variables of `environment_file` and, over them, of `environment`, with `$NAME` replaced.

    Raises:
        EnvironmentLacks: the file cannot be read.
        InvalidConfiguration: a line of it is not NAME=value.
    """
    read = _environment_file(workplace.working_directory / options.environment_file) if options.environment_file else {}
    return {name: replaced(value, values) for name, value in {**read, **options.environment}.items()}


def _environment_file(path: Path) -> dict[str, str]:
    try:
        lines = decoded(content(path, LARGEST_CONFIGURATION, through_links=True), path).splitlines()
    except OSError as error:
        raise EnvironmentLacks(
            f"the environment file {path} cannot be read: {error}", hint="correct `environment_file`"
        ) from error
    found: dict[str, str] = {}
    for number, line in enumerate(lines, start=1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        name, sign, value = stripped.removeprefix("export ").partition("=")
        if not sign or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            # the line itself is not shown: it may be a secret
            raise InvalidConfiguration(f"{path}:{number} is not NAME=value", hint="one variable on each line")
        quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "\"'"
        found[name] = value[1:-1] if quoted else value
    return found


def command(
    argv: Sequence[str], options: ProcessOptions, workplace: Workplace, environment: Mapping[str, str]
) -> Command:
    """The process: `program` made absolute where it is a path, the working directory against the submitter's."""
    return Command(
        argv=(located(argv[0], workplace), *argv[1:]),
        environment=dict(environment),
        working_directory=(
            workplace.working_directory / options.working_directory if options.working_directory else None
        ),
    )


def stop_command(
    options: ProcessOptions, workplace: Workplace, environment: Mapping[str, str], values: Mapping[str, object]
) -> Command | None:
    """What is run instead of SIGTERM, if anything.

    Raises:
        InvalidConfiguration: nothing replaces a `$NAME` in it.
    """
    if not options.stop_command:
        return None
    if not runs_a_shell(options.stop_command):
        refuse_unknown(options.stop_command, values, "stop_command")
    return command([replaced(word, values) for word in options.stop_command], options, workplace, environment)


def program_problems(prefix: str, program: str, options: ProcessOptions, workplace: Workplace) -> list[Problem]:
    """A program, a working directory or an environment file that is not there. `prefix`: the table's dotted name."""
    problems: list[Problem] = []
    try:
        find_program(located(program, workplace), workplace.environment, workplace.working_directory)
    except EnvironmentLacks as error:
        problems.append(Problem(f"{prefix}.program", error.message, error.hint))
    if options.working_directory and not (workplace.working_directory / options.working_directory).is_dir():
        problems.append(Problem(f"{prefix}.working_directory", f"{options.working_directory} is not a directory"))
    try:
        section_environment(options, workplace, {})
    except ServiceoptError as error:
        problems.append(Problem(f"{prefix}.environment_file", error.message, error.hint))
    return problems


def model_problems(model: str, key: str, workplace: Workplace) -> list[Problem]:
    """A model that looks like a path and is not there, or cannot be read by who would serve it."""
    if not is_path(model):
        return []
    path = located(model, workplace)
    if not os.path.exists(path):  # noqa: PTH110 - false where a directory above it may not be entered, not an error
        hint = "correct the path, or put the model there; `serviceoptctl doctor --unit` knows what the unit cannot see"
        return [Problem(key, f"{path} does not exist, or may not be seen by the user {_user()}", hint)]
    unreadable = next((name for name in _with_files(path) if not _may_read(name)), None)
    if unreadable is not None:
        return [Problem(key, f"{unreadable} cannot be read by the user {_user()}", f"chmod -R o+rX {path}")]
    return []


def _with_files(path: str) -> list[str]:
    if not Path(path).is_dir() or not _may_read(path):
        return [path]
    return [path, *(entry.path for entry in sorted(os.scandir(path), key=lambda entry: entry.name))]


def _may_read(path: str) -> bool:
    return os.access(path, os.R_OK | os.X_OK if Path(path).is_dir() else os.R_OK)


def _user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def missing_files(names: Sequence[str], key: str, workplace: Workplace) -> list[Problem]:
    """Files or directories that are named and not there."""
    return [
        Problem(key, f"{name} does not exist", "correct the path")
        for name in names
        if not (workplace.working_directory / located(name, workplace)).exists()
    ]
