"""Files of the user's that an engine needs changed while it runs: kept, edited, and put back byte for byte.

The order makes every step safe against a power cut: the original is durable among the artefacts before the event that
names it, the event before the edit, and the restored file before the event that closes the launch. Restoring what was
never edited, or restoring twice, changes nothing.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import structlog

from serviceopt_journal import foreign_files
from serviceopt_journal.artefacts import DEFAULT_LIMIT, ArtefactStore
from serviceopt_journal.errors import EnvironmentLacks, ServiceoptError
from serviceopt_journal.events import EditedFile
from serviceoptd.domain.state import State

LOG = structlog.get_logger("serviceoptd")
SUFFIX = ".serviceopt"  # of the temporary file beside the edited one
WITHOUT_A_MODEL = 0o640  # the mode of a file that somebody removed meanwhile and that is put back


def originals(
    edits: Mapping[Path, bytes], artefacts: ArtefactStore, unchanged: Iterable[Path] = ()
) -> tuple[EditedFile, ...]:
    """Keeps the present content of each file, durably, and tells what will be done to it; to `unchanged` ones nothing.

    Raises:
        EnvironmentLacks: a file cannot be read, or is too large to be kept whole.
    """
    edited = tuple(
        EditedFile(
            path=str(path),
            original_sha256=_kept(path, artefacts),
            edited_sha256=hashlib.sha256(content).hexdigest(),
        )
        for path, content in edits.items()
    )
    digests = {path: _kept(path, artefacts) for path in unchanged if path not in edits}
    kept = (EditedFile(path=str(path), original_sha256=it, edited_sha256=it) for path, it in digests.items())
    return (*edited, *kept)


def edit(edits: Mapping[Path, bytes]) -> None:
    """Gives each file its new content, all of it or nothing.

    Raises:
        EnvironmentLacks: a file cannot be written.
    """
    for path, content in edits.items():
        _replace(path, content)


def restore(edited: Sequence[EditedFile], artefacts: ArtefactStore) -> None:
    """Puts the originals back. A file that somebody else has changed meanwhile is left to him, and the log says so.

    A file that was removed is put back too: nothing of anybody's is lost by that. What a cut left of a temporary file
    beside it is removed. Every file is tried before an error is raised.

    Raises:
        EnvironmentLacks: a file cannot be written.
    """
    lacking: EnvironmentLacks | None = None
    for file in edited:
        try:
            _restore(file, artefacts)
        except EnvironmentLacks as error:
            lacking = lacking or error
    if lacking is not None:
        raise lacking


def edited_now(state: State) -> tuple[EditedFile, ...]:
    """Files of launches whose end is not in the journal: they may hold what a launch made of them."""
    evaluations = (run.evaluation for run in state.runs.values())
    return tuple(
        file
        for evaluation in evaluations
        if evaluation is not None and evaluation.announced
        for file in evaluation.edited_files
    )


def contents_before(edited: Iterable[EditedFile], artefacts: ArtefactStore) -> dict[Path, bytes]:
    """What the files held before a launch of ours edited them; without those that are not edited (any more).

    Each under the path that the launch used and under that of the file itself.
    """
    found: dict[Path, bytes] = {}
    for file in edited:
        with suppress(OSError, ServiceoptError):
            if _digest(Path(file.path)) == file.edited_sha256:
                with artefacts.open(file.original_sha256) as original:
                    found |= dict.fromkeys((Path(file.path), Path(file.path).resolve()), original.read())
    return found


def refuse_unrestored(edits: Mapping[Path, bytes], state: State) -> None:
    """Nothing may be planned from, or built upon, a file that another launch left edited.

    Raises:
        EnvironmentLacks: another run could not put one of these files back yet.
    """
    targets = {os.path.realpath(path) for path in edits}
    for file in edited_now(state):
        if file.edited_sha256 != file.original_sha256 and os.path.realpath(file.path) in targets:
            raise EnvironmentLacks(
                f"{file.path} still holds what an earlier launch wrote into it, and could not be restored",
                hint="`serviceoptctl resume` the held run to which that launch belongs, or cancel it",
            )


def _restore(file: EditedFile, artefacts: ArtefactStore) -> None:
    path = Path(file.path)
    _remove_leftover(path)
    now = _digest(path)
    if now in (None, file.edited_sha256) and file.edited_sha256 != file.original_sha256:
        with artefacts.open(file.original_sha256) as original:
            _replace(path, original.read())
    elif now != file.original_sha256:
        LOG.warning("file changed by someone else and not restored", path=file.path, original=file.original_sha256)


def _kept(path: Path, artefacts: ArtefactStore) -> str:
    content = _read(path)
    digest = artefacts.keep(content)
    if digest != hashlib.sha256(content).hexdigest():
        raise EnvironmentLacks(
            f"{path} is too large ({len(content)} bytes) to be kept whole, so it is not edited",
            hint="is this the engine's configuration file?",
        )
    return digest


def _read(path: Path) -> bytes:
    try:
        return foreign_files.content(path, DEFAULT_LIMIT + 1, through_links=True)
    except OSError as error:
        raise EnvironmentLacks(
            f"{path} cannot be read: {error.strerror}", hint="the engine is configured by it; see the engine's section"
        ) from error


def _digest(path: Path) -> str | None:
    """None: there is no such file."""
    return hashlib.sha256(_read(path)).hexdigest() if os.path.lexists(path) and path.exists() else None


def _temporary(target: Path) -> Path:
    return target.with_name(f".{target.name}{SUFFIX}")


def _remove_leftover(path: Path) -> None:
    with suppress(OSError):  # it stays where it is: it is not the file that the engine reads
        _temporary(path.resolve()).unlink(missing_ok=True)


def _replace(path: Path, content: bytes) -> None:
    """Atomically, with the owner, the mode and the attributes that the file has; a link is followed. Durable on return."""
    target = path.resolve()
    temporary = _temporary(target)
    try:
        temporary.unlink(missing_ok=True)
        # not readable by others while its mode is not yet that of the file; never through somebody's link
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            _take_after(target, file.fileno())
            os.fsync(file.fileno())
        temporary.replace(target)
        directory = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise EnvironmentLacks(
            f"{path} cannot be written: {error.strerror}",
            hint="let the daemon's user write it and its directory; under systemd: a drop-in with ReadWritePaths= "
            "(`doctor --unit`)",
        ) from error


def _take_after(model: Path, descriptor: int) -> None:
    """Owner, extended attributes (access lists, labels) and mode of `model` for the open file."""
    try:
        status = model.stat()
    except FileNotFoundError:
        os.fchmod(descriptor, WITHOUT_A_MODEL)
        return
    own = os.fstat(descriptor)
    if (status.st_uid, status.st_gid) != (own.st_uid, own.st_gid):
        os.fchown(
            descriptor,
            status.st_uid if status.st_uid != own.st_uid else -1,
            status.st_gid if status.st_gid != own.st_gid else -1,
        )
    os.fchmod(descriptor, stat.S_IMODE(status.st_mode))
    with suppress(OSError):  # file systems without them, and labels that only root may set
        for name in os.listxattr(model):
            os.setxattr(descriptor, name, os.getxattr(model, name))
