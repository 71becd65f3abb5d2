"""`--backup`: what an evaluation was given and what it wrote, kept for its user below `backups/`, within a limit."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import structlog

from serviceopt_journal.errors import EnvironmentLacks, JournalDamaged, NotFound
from serviceoptd.domain.state import Evaluation, RunState
from serviceoptd.evaluating.context import Context

LOG = structlog.get_logger("serviceoptd")
DIRECTORY = "backups"


@dataclass(frozen=True)
class Backup:
    """Where the data are kept, or why they are not; both empty where nobody asked."""

    directory: str = ""
    skipped: str = ""


def keep_backup(context: Context, run: RunState, evaluation: Evaluation) -> Backup:
    """Keeps logs, configuration and raw results of an evaluation that is over; nothing that fails here ends a run.

    The files are linked, not copied, so that they cost their room once. Doing it again changes nothing.
    """
    if not run.settings.backup or evaluation.simulated:
        return Backup()
    source = context.state_directory / "runs" / str(run.number) / f"evaluation-{evaluation.number}"
    of_run = context.state_directory / DIRECTORY / f"run-{run.number}"
    limit = run.settings.backup_limit
    target = of_run / f"evaluation-{evaluation.number}"
    try:
        if not target.is_dir() and _size(of_run) + _size(source) > limit:
            return _skipped(
                run, evaluation, f"the limit of {limit / 1e9:g} GB is reached (data_storage.backup_limit_gb)"
            )
        target.mkdir(parents=True, exist_ok=True, mode=0o750)
        for file in _files(source):
            _link(file, target / file.relative_to(source))
        _write(of_run / "configuration.toml", run.configuration_text.encode())
        _write(
            target / "evaluation.json", msgspec.json.format(msgspec.json.encode(_description(context, run, evaluation)))
        )
        for edited in evaluation.edited_files:
            with suppress(NotFound, JournalDamaged), context.artefacts.open(edited.edited_sha256) as content:
                _write(target / "edited" / Path(edited.path).name, content.read())
    except OSError as error:
        return _skipped(run, evaluation, f"{error.filename or target}: {error.strerror}")
    return Backup(directory=str(target))


def _skipped(run: RunState, evaluation: Evaluation, reason: str) -> Backup:
    LOG.warning("backup not kept", run=run.number, evaluation=evaluation.number, reason=reason)
    return Backup(skipped=reason)


def _description(context: Context, run: RunState, evaluation: Evaluation) -> dict[str, Any]:
    """What was started, and with what: values that look like secrets are masked, as in the journal."""
    names: list[str] = []
    with suppress(EnvironmentLacks):
        names = sorted(context.environment(run))
    particles = [run.particles[number] for number in evaluation.particles or (evaluation.particle,)]
    return {
        "run": run.number,
        "evaluation": evaluation.number,
        "argv": evaluation.argv,
        "working_directory": evaluation.working_directory,
        "environment": evaluation.environment,
        "environment_names": names,
        "edited_files": evaluation.edited_files,
        "particles": [{"particle": p.number, "configuration": p.configuration, "error": p.error} for p in particles],
    }


def _files(directory: Path) -> Iterator[Path]:
    """Regular files below it; links are neither followed nor kept."""
    for folder, _, names in os.walk(directory):
        for name in names:
            path = Path(folder, name)
            if stat.S_ISREG(path.lstat().st_mode):
                yield path


def _size(directory: Path) -> int:
    return sum(path.lstat().st_size for path in _files(directory))


def _link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
    if target.exists():
        return
    try:
        target.hardlink_to(source)
    except PermissionError:  # fs.protected_hardlinks: a child wrote it as another user
        shutil.copyfile(source, target, follow_symlinks=False)


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
    path.write_bytes(content)
