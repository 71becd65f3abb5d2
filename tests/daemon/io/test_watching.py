from __future__ import annotations

import asyncio
import errno
import os
import threading
from pathlib import Path

import pytest

from serviceoptd.io import watching
from serviceoptd.io.watching import Change, Watcher

pytestmark = pytest.mark.parametrize("polling", [False, True])


async def next_of(watcher: Watcher) -> Change:
    return await asyncio.wait_for(anext(watcher), 10)


def watcher(directory: Path, polling: bool, settle: float = 0.2) -> Watcher:
    (directory / "runs.d").mkdir(exist_ok=True)
    return Watcher(
        files=[directory / "serviceoptd.toml"],
        drop_in=directory / "runs.d",
        debounce=0.02,
        settle=settle,
        polling=polling,
    )


def test_a_changed_configuration_is_reported_once_however_it_was_changed(tmp_path: Path, polling: bool) -> None:
    path = tmp_path / "serviceoptd.toml"
    path.write_text("a = 1")

    async def run() -> None:
        async with watcher(tmp_path, polling) as watched:
            path.write_text("a = 2, written in place")
            assert await next_of(watched) == Change(path, "configuration")
            (tmp_path / "new").write_text("a = 3, as editors do it")
            (tmp_path / "new").replace(path)
            assert await next_of(watched) == Change(path, "configuration")
            (tmp_path / "other.toml").write_text("nobody asked for this one")
            path.touch()
            path.unlink()
            path.write_text("a = 4, after it was gone")
            assert await next_of(watched) == Change(path, "configuration")

    asyncio.run(run())


def test_drop_ins_are_reported_when_they_are_there_at_the_start_moved_in_or_written(
    tmp_path: Path, polling: bool
) -> None:
    drop_in = tmp_path / "runs.d"
    drop_in.mkdir()
    for name in ("first.toml", ".hidden.toml", "notes.txt", "empty.toml"):
        (drop_in / name).write_text("" if name == "empty.toml" else "engine = 'simulated'")
    (drop_in / "directory.toml").mkdir()

    async def run() -> None:
        async with watcher(tmp_path, polling) as watched:
            assert await next_of(watched) == Change(drop_in / "first.toml", "drop-in")
            (tmp_path / "prepared").write_text("moved in")
            (tmp_path / "prepared").rename(drop_in / "second.toml")
            assert await next_of(watched) == Change(drop_in / "second.toml", "drop-in")
            (drop_in / ".third.toml").write_text("renamed in place")
            (drop_in / ".third.toml").rename(drop_in / "third.toml")
            assert await next_of(watched) == Change(drop_in / "third.toml", "drop-in")
            (drop_in / "fourth.toml").write_text("written in place")
            assert await next_of(watched) == Change(drop_in / "fourth.toml", "drop-in")

    asyncio.run(run())


def test_a_drop_in_is_not_reported_before_its_writer_is_done(tmp_path: Path, polling: bool) -> None:
    path = tmp_path / "runs.d" / "slow.toml"

    async def run() -> str:
        # With inotify closing the file decides, and not the time.
        async with watcher(tmp_path, polling, settle=1.5 if polling else 60.0) as watched:
            with path.open("w") as file:
                for line in ("one\n", "two\n", "three\n"):
                    file.write(line)
                    file.flush()
                    await asyncio.sleep(0.1)
            assert await next_of(watched) == Change(path, "drop-in")
            return path.read_text()

    assert asyncio.run(run()) == "one\ntwo\nthree\n"


def test_no_thread_is_left_behind_also_by_a_cancelled_watch(tmp_path: Path, polling: bool) -> None:
    async def run() -> None:
        async with watcher(tmp_path, polling) as watched:
            await anext(watched)

    async def cancelled() -> None:
        watching = asyncio.create_task(run())
        await asyncio.sleep(0.05)
        watching.cancel()
        with pytest.raises(asyncio.CancelledError):
            await watching

    before = {thread.name for thread in threading.enumerate() if not thread.name.startswith("asyncio")}
    asyncio.run(cancelled())
    after = {thread.name for thread in threading.enumerate() if not thread.name.startswith("asyncio")}
    assert after <= before


def test_a_file_that_cannot_be_read_for_want_of_descriptors_is_reported_when_there_are_some(
    tmp_path: Path, polling: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "runs.d" / "run.toml"
    read, failed = watching.content, 0

    def failing(*arguments: object, **options: object) -> bytes:
        nonlocal failed
        if failed < 3:
            failed += 1
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return read(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(watching, "content", failing)

    async def run() -> None:
        async with watcher(tmp_path, polling) as watched:
            path.write_text("engine = 'simulated'")
            assert await next_of(watched) == Change(path, "drop-in")

    asyncio.run(run())
    assert failed == 3
