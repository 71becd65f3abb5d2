"""Working directories of evaluations that are long over are removed: what the journal refers to lies among the artefacts.

Nothing outside `runs/` is ever touched: every step goes down from an open directory, and follows no link.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import structlog

from serviceoptd.domain.state import State

LOG = structlog.get_logger("serviceoptd")
KEPT = 20
"""The latest evaluations whose directories stay, of all runs together."""
_EVALUATION = re.compile(r"evaluation-([1-9][0-9]*)")


def prune(state_directory: Path, state: State) -> None:
    """Removes the directories of finished evaluations, but for the latest. What cannot be removed is logged."""
    finished = [
        (evaluation.launching_seq, run.number, evaluation.number)
        for run in state.runs.values()
        for evaluation in run.evaluations.values()
        if evaluation.phase == "finished"
    ]
    old = {(run, evaluation) for _, run, evaluation in sorted(finished)[:-KEPT]}
    if not old:
        return
    try:
        with _opened(state_directory / "runs") as runs:
            for name in os.listdir(runs):  # noqa: PTH208 - an open directory has no path
                if name.isdecimal() and name.isascii():
                    _prune_run(runs, name, {evaluation for run, evaluation in old if run == int(name)})
    except FileNotFoundError:
        return
    except OSError as error:
        _complain(None, state_directory / "runs", (None, error, None))


def _prune_run(runs: int, name: str, old: set[int]) -> None:
    if not old:
        return
    try:
        with _opened(name, inside=runs) as run:
            for entry in os.listdir(run):  # noqa: PTH208 - as above
                match = _EVALUATION.fullmatch(entry)
                if match and int(match[1]) in old:
                    shutil.rmtree(entry, dir_fd=run, onerror=_complain)
    except OSError as error:
        _complain(None, name, (None, error, None))


@contextmanager
def _opened(path: str | Path, inside: int | None = None) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=inside)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _complain(_function: Any, path: object, error: tuple[Any, BaseException | None, Any]) -> None:
    LOG.warning("working directory not removed", path=str(path), reason=str(error[1]))
