"""What clients and services wrote and printed, kept beside the journal under their SHA-256. Events hold the hash."""

from __future__ import annotations

import io
import os
import tempfile
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO

from .errors import EnvironmentLacks, JournalDamaged, JournalFull, NotFound
from .failures import NO_ROOM
from .file_system import sync_directory
from .foreign_files import opened

DIRECTORY = "artefacts"
DEFAULT_LIMIT = 64 * 1024 * 1024
_CHUNK = 1024 * 1024


class ArtefactStore:
    """Files by their content, in `artefacts/ab/abcdef...` below the state directory.

    Args:
        state_directory: where the journal lies.
        limit_bytes: what is larger keeps its head and its tail, with a line between them that says what was left out.
    """

    def __init__(self, state_directory: Path, limit_bytes: int = DEFAULT_LIMIT) -> None:
        self._root = state_directory / DIRECTORY
        self._limit = limit_bytes

    def keep(self, source: Path | bytes) -> str:
        """Stores a file or bytes; returns the SHA-256 of what was stored, which is on the disk by then.

        Raises:
            NotFound: the source file is not there.
            UnfitFile: it is none that can be kept, such as a pipe or a link.
            JournalFull: no room on the disk.
            EnvironmentLacks: it cannot be read or written.
        """
        try:
            with io.BytesIO(source) if isinstance(source, bytes) else opened(source) as stream:
                return self._store(stream)
        except FileNotFoundError as error:
            raise NotFound(f"{error.filename} is not there, so it cannot be kept") from error
        except OSError as error:
            if error.errno in NO_ROOM:
                raise JournalFull("there is no room on the disk to keep a file", hint="make room") from error
            raise EnvironmentLacks(f"a file cannot be kept: {error}", hint="check the permissions") from error

    def path(self, digest: str) -> Path:
        """Where the file with this SHA-256 lies, or would lie.

        Raises:
            NotFound: this is not a SHA-256.
        """
        if len(digest) != 64 or set(digest) - set("0123456789abcdef"):
            raise NotFound(f"{digest!r} is not the SHA-256 of a kept file")
        return self._root / digest[:2] / digest

    def open(self, digest: str) -> BinaryIO:
        """The stored bytes, after they have been checked against their hash.

        Raises:
            NotFound: nothing is kept under this hash.
            JournalDamaged: what is kept there is something else.
        """
        path = self.path(digest)
        try:
            stream = io.BufferedReader(opened(path))
        except FileNotFoundError as error:
            raise NotFound(f"no file is kept under {digest}") from error
        computed = sha256()
        while chunk := stream.read(_CHUNK):
            computed.update(chunk)
        if computed.hexdigest() != digest:
            stream.close()
            raise JournalDamaged(f"{path} is not what was kept there", hint="restore it from a backup, or delete it")
        stream.seek(0)
        return stream

    def _store(self, stream: BinaryIO) -> str:
        self._root.mkdir(mode=0o750, exist_ok=True)
        descriptor, unfinished = tempfile.mkstemp(prefix=".unfinished-", dir=self._root)
        try:
            with os.fdopen(descriptor, "wb") as target:
                digest = self._copy(stream, target)
                target.flush()
                os.fchmod(target.fileno(), 0o640)
                os.fsync(target.fileno())
            path = self.path(digest)
            if not path.exists():
                path.parent.mkdir(mode=0o750, exist_ok=True)
                Path(unfinished).rename(path)
            sync_directory(path.parent)
            sync_directory(self._root)
        finally:
            Path(unfinished).unlink(missing_ok=True)
        return digest

    def _copy(self, stream: BinaryIO, target: BinaryIO) -> str:
        """Copies what the limit lets through; returns its SHA-256. A file that still grows is taken as long as it is now."""
        size = stream.seek(0, os.SEEK_END)
        half = self._limit // 2
        left_out = size - 2 * half if size > self._limit else 0
        parts: list[tuple[int, int]] = [(0, half), (size - half, half)] if left_out else [(0, size)]
        computed = sha256()
        for start, length in parts:
            if start > 0:
                notice = f"\n[serviceopt: {left_out} of {size} bytes were left out here]\n".encode()
                computed.update(notice)
                target.write(notice)
            stream.seek(start)
            left = length
            while left > 0 and (chunk := stream.read(min(_CHUNK, left))):
                computed.update(chunk)
                target.write(chunk)
                left -= len(chunk)
        return computed.hexdigest()
