"""Files of the user's that an engine needs changed while it runs: kept, edited, and put back byte for byte.

The order makes every step safe against a power cut: the original is durable among the artefacts before the event that
names it, the event before the edit, and the restored file before the event that closes the launch. Restoring what was
never edited, or restoring twice, changes nothing.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import structlog

from serviceopt_journal.artefacts import ArtefactStore
from serviceopt_journal.errors import EnvironmentLacks
from serviceopt_journal.events import EditedFile

LOG = structlog.get_logger("serviceoptd")
SUFFIX = ".serviceopt"  # of the temporary file beside the edited one


def originals(edits: Mapping[Path, bytes], artefacts: ArtefactStore) -> tuple[EditedFile, ...]:
    """Keeps the present content of each file, durably, and tells what will be done to it.

    Raises:
        EnvironmentLacks: a file cannot be read.
    """
    return tuple(
        EditedFile(
            path=str(path),
            original_sha256=artefacts.keep(_read(path)),
            edited_sha256=hashlib.sha256(content).hexdigest(),
        )
        for path, content in edits.items()
    )


def edit(edits: Mapping[Path, bytes]) -> None:
    """Gives each file its new content, all of it or nothing.

    Raises:
        EnvironmentLacks: a file cannot be written.
    """
    for path, content in edits.items():
        _replace(path, content)


def restore(edited: Sequence[EditedFile], artefacts: ArtefactStore) -> None:
    """Puts the originals back. A file that somebody else has changed meanwhile is left to him, and the log says so.

    Raises:
        EnvironmentLacks: a file cannot be written.
    """
    for file in edited:
        path = Path(file.path)
        now = hashlib.sha256(_read(path)).hexdigest() if path.exists() else file.edited_sha256
        if now == file.edited_sha256 != file.original_sha256:
            with artefacts.open(file.original_sha256) as original:
                _replace(path, original.read())
        elif now != file.original_sha256:
            LOG.warning("file changed by somebody else, left as it is", path=file.path, original=file.original_sha256)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise EnvironmentLacks(
            f"{path} cannot be read: {error.strerror}", hint="the engine is configured by it; see the engine's section"
        ) from error


def _replace(path: Path, content: bytes) -> None:
    """Atomically, with the owner and the mode that the file has; a link is followed. Durable on return."""
    target = path.resolve()
    temporary = target.with_name(f".{target.name}{SUFFIX}")
    try:
        status = target.stat() if target.exists() else None
        with temporary.open("wb") as file:
            file.write(content)
            if status is not None:
                os.fchmod(file.fileno(), status.st_mode & 0o7777)
                if (status.st_uid, status.st_gid) != (os.geteuid(), os.getegid()):
                    os.fchown(file.fileno(), status.st_uid, status.st_gid)
            os.fsync(file.fileno())
        temporary.replace(target)
        directory = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise EnvironmentLacks(
            f"{path} cannot be written: {error.strerror}",
            hint="let the daemon's user write it; under systemd: a drop-in with ReadWritePaths= (`doctor --unit`)",
        ) from error
