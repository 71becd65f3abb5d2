"""Files that were edited for a launch, as they were while it was measured, from what is kept of them."""

from __future__ import annotations

from collections.abc import Sequence

from .artefacts import ArtefactStore
from .documents.particles import FinishedFile, FinishedFiles
from .errors import NotFound
from .events import EditedFile


def finished_files(edited: Sequence[EditedFile], artefacts: ArtefactStore) -> FinishedFiles:
    """The content of each file that was changed; where none had to be, of all of them.

    Raises:
        NotFound: it was not kept, as in runs of earlier releases.
        JournalDamaged: what is kept is something else.
    """
    found = []
    for file in [each for each in edited if each.edited_sha256 != each.original_sha256] or edited:
        try:
            with artefacts.open(file.edited_sha256) as stream:
                found.append(FinishedFile(path=file.path, content=stream.read().decode(errors="replace")))
        except NotFound as error:
            raise NotFound(
                f"the finished {file.path} was not kept: the run is of an earlier release",
                hint="`serviceoptctl best` shows each position with its value",
            ) from error
    return FinishedFiles(files=tuple(found))
