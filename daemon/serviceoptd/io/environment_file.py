"""The submitter's environment on disk. It may hold secrets: only we can read it, and events hold only its hash."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from serviceopt_journal import foreign_files
from serviceopt_journal.errors import EnvironmentLacks
from serviceopt_journal.foreign_files import LARGEST_CONFIGURATION

_DIRECTORY = "environments"


def keep(state_directory: Path, environment: Mapping[str, str]) -> tuple[str, str]:
    """Writes the variables to a 0600 file and syncs it; equal environments share one.

    Returns its path relative to the state directory, and its SHA-256. On return it survives a power failure.

    Raises:
        EnvironmentLacks: it cannot be written.
    """
    # Escaped, also what is no valid text: a variable may hold any bytes but zero.
    content = json.dumps(dict(environment), sort_keys=True, ensure_ascii=True, indent=0).encode("ascii")
    sha256 = hashlib.sha256(content).hexdigest()
    directory = state_directory / _DIRECTORY
    path = directory / f"{sha256}.json"
    try:
        if not directory.is_dir():
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            _sync(state_directory)
        if not _holds(path, content):
            _write(path, content)
        _sync(directory)
    except OSError as error:
        raise EnvironmentLacks(
            f"the environment of the run cannot be kept in {directory}: {error.strerror}",
            hint="make room, or let the daemon's user write there",
        ) from error
    return f"{_DIRECTORY}/{path.name}", sha256


def load(state_directory: Path, file: str, sha256: str) -> dict[str, str]:
    """The variables that `keep` wrote.

    Raises:
        EnvironmentLacks: the file is not there, cannot be read, or is not what was kept.
    """
    path = state_directory / file
    if not path.resolve().is_relative_to(state_directory.resolve()):
        raise EnvironmentLacks(
            f"the environment file {file} is not below {state_directory}", hint="submit the run again"
        )
    try:
        content = foreign_files.content(path, LARGEST_CONFIGURATION)
    except OSError as error:
        raise EnvironmentLacks(
            f"the environment of the run cannot be read from {path}: {error.strerror}",
            hint="restore it from a backup, or submit the run again",
        ) from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise EnvironmentLacks(
            f"{path} is not what was kept when the run was submitted: its SHA-256 differs",
            hint="restore it from a backup, or submit the run again",
        )
    variables: dict[str, str] = json.loads(content)
    return variables


def _holds(path: Path, content: bytes) -> bool:
    try:
        return foreign_files.content(path, LARGEST_CONFIGURATION) == content
    except FileNotFoundError:
        return False


def _write(path: Path, content: bytes) -> None:
    # mkstemp: mode 0600 from its first moment. Renamed only once it is whole and synced.
    descriptor, name = tempfile.mkstemp(prefix=".", dir=path.parent)
    unfinished = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
