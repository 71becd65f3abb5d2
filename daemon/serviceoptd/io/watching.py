"""Noticing changed configuration files and new drop-in runs (inotify through watchdog, or polling)."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver
from watchdog.observers.polling import PollingObserver

from serviceopt_journal.failures import is_a_lack
from serviceopt_journal.foreign_files import LARGEST_CONFIGURATION, UnfitFile, content

_POLLING_INTERVAL = 0.5
_TOUCHING = frozenset({"created", "modified", "moved", "closed"})


@dataclass(frozen=True)
class Change:
    """A file whose content is new: a watched configuration file, or one in the drop-in directory."""

    path: Path
    kind: Literal["configuration", "drop-in"]


class Watcher:
    """Reports each new content once, when its writer is done. Use as `async with`, then `async for`.

    * a configuration file: when its content differs from that at the start, or at its last report; also when it was
      replaced (editors write another file and rename it) or is first created;
    * a `*.toml` file in the drop-in directory: those there at the start, then each one moved in or written. Names that
      begin with a dot are left alone, so that a file can be prepared in place under such a name.

    A file that is being written is reported when it is closed, or, where closing is not seen (polling), when it has not
    changed for `settle` seconds. `debounce`: seconds without an event before a file is looked at.
    """

    def __init__(
        self,
        *,
        files: Iterable[Path] = (),
        drop_in: Path | None = None,
        debounce: float = 0.1,
        settle: float = 2.0,
        polling: bool = False,
    ) -> None:
        self._files = {path.absolute() for path in files}
        self._drop_in = drop_in.absolute() if drop_in is not None else None
        self._debounce = debounce
        self._settle = settle
        self._polling = polling
        self._changes: asyncio.Queue[Change] = asyncio.Queue()
        self._reported: dict[Path, bytes] = {}
        self._written: dict[Path, float] = {}  # not closed yet: the time of its last change
        self._timers: dict[Path, asyncio.TimerHandle] = {}
        self._observer: BaseObserver | None = None

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        for path in self._files:
            with suppress(OSError):
                if (digest := _digest(path)) is not None:
                    self._reported[path] = digest
        self._observer = self._started_observer()
        if self._drop_in is not None and self._drop_in.is_dir():
            for path in sorted(self._drop_in.iterdir()):
                self._expect(path)
        return self

    async def __aexit__(self, *_: object) -> None:
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        if self._observer is not None:
            self._observer.stop()
            # Its threads end within one turn of their own loop; waiting for them must not stop ours.
            await asyncio.shield(asyncio.to_thread(self._observer.join, 5.0))

    def __aiter__(self) -> AsyncIterator[Change]:
        return self

    async def __anext__(self) -> Change:
        return await self._changes.get()

    def _started_observer(self) -> BaseObserver:
        directories = {path.parent for path in self._files}
        if self._drop_in is not None:
            directories.add(self._drop_in)
        directories = {directory for directory in directories if directory.is_dir()}
        if not self._polling:
            try:
                return _observe(Observer(), directories, _Bridge(self))
            except OSError:
                pass  # out of inotify watches or instances (a limit of the user, not of us): look now and then instead
        self._polling = True
        return _observe(PollingObserver(timeout=_POLLING_INTERVAL), directories, _Bridge(self))

    def touched(self, path: Path, event: str) -> None:
        """Notes a change; called by the observer's thread."""
        self._loop.call_soon_threadsafe(self._note, path, event)

    def _note(self, path: Path, event: str) -> None:
        if self._kind(path) is None:
            return
        if event == "modified" or (self._polling and event == "created"):
            self._written[path] = time.monotonic()
        else:
            self._written.pop(path, None)
        self._expect(path)

    def _expect(self, path: Path) -> None:
        if self._kind(path) is None:
            return
        if timer := self._timers.pop(path, None):
            timer.cancel()
        self._timers[path] = self._loop.call_later(self._debounce, self._look, path)

    def _kind(self, path: Path) -> Literal["configuration", "drop-in"] | None:
        if path in self._files:
            return "configuration"
        if path.parent == self._drop_in and path.suffix == ".toml" and not path.name.startswith("."):
            return "drop-in"
        return None

    def _look(self, path: Path) -> None:
        self._timers.pop(path, None)
        written = self._written.get(path)
        if written is not None and time.monotonic() - written < self._settle:
            self._expect(path)
            return
        self._written.pop(path, None)
        kind = self._kind(path)
        try:
            digest = _digest(path)
        except OSError:
            self._expect(path)
            return
        if kind is None or digest is None or self._reported.get(path) == digest:
            return
        self._reported[path] = digest
        self._changes.put_nowait(Change(path, kind))


class _Bridge(FileSystemEventHandler):
    def __init__(self, watcher: Watcher) -> None:
        self._watcher = watcher

    def on_any_event(self, event: FileSystemEvent) -> None:
        if event.is_directory or event.event_type not in _TOUCHING:
            return
        name = event.dest_path if event.event_type == "moved" and event.dest_path else event.src_path
        self._watcher.touched(
            Path(name if isinstance(name, str) else name.decode(errors="surrogateescape")), event.event_type
        )


def _observe(observer: BaseObserver, directories: Iterable[Path], handler: FileSystemEventHandler) -> BaseObserver:
    for directory in directories:
        observer.schedule(handler, str(directory), recursive=False)
    try:
        observer.start()
    except BaseException:
        observer.unschedule_all()
        raise
    return observer


def _digest(path: Path) -> bytes | None:
    """Of a file with something in it; None otherwise: an empty one has only just been created.

    One that is too large, or may not be read, has the digest of the reason: whoever reads it will say so.

    Raises:
        OSError: something is lacking, such as file descriptors: it can be read when there is enough again.
    """
    try:
        found = content(path, LARGEST_CONFIGURATION, through_links=True) if path.is_file() else b""
    except OSError as error:
        if is_a_lack(error):
            raise
        return None
    except UnfitFile as unfit:
        found = str(unfit).encode()
    return hashlib.sha256(found).digest() if found else None
