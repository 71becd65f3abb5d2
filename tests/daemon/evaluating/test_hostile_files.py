"""Whatever a client or a service leaves under a name, the loop goes on and the journal keeps what it was."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import pytest

from daemon.service.daemons import a_loop
from hostile_files import HOSTILE
from memory_journal import MemoryJournal
from patience import HANG
from serviceoptd.domain.settings import LogPatterns
from serviceoptd.evaluating.keeping.kept import kept
from serviceoptd.io.log_follower import LogFollower
from serviceoptd.io.processes import spawn, stop
from serviceoptd.io.readiness import watch
from serviceoptd.toolkit.interface import Command


@pytest.mark.parametrize("what", HOSTILE)
def test_what_is_no_file_is_kept_as_a_sentence_that_says_so(tmp_path: Path, what: str) -> None:
    context, _ = a_loop(tmp_path / "state", MemoryJournal())
    context.state_directory.mkdir()
    HOSTILE[what](tmp_path / "service.log")
    (tmp_path / "client.log").write_text("as always")

    async def keep() -> dict[str, str]:
        async with asyncio.timeout(20):
            return await kept(context, {name: tmp_path / name for name in ("service.log", "client.log")})

    found = asyncio.run(keep())
    with context.artefacts.open(found["client.log"]) as whole:
        assert whole.read() == b"as always"
    assert ("service.log" in found) == (what != "nothing")
    if what == "nothing":
        return
    with context.artefacts.open(found["service.log"]) as log:
        said = log.read()
    expected = (
        b"were left out here" if what in ("a sparse file of 20 GiB", "an endless line") else b"[serviceopt: not kept: "
    )
    assert expected in said


@pytest.mark.parametrize("what", HOSTILE)
def test_the_loop_goes_on_while_it_is_followed_and_kept(tmp_path: Path, what: str) -> None:
    context, _ = a_loop(tmp_path / "state", MemoryJournal())
    context.state_directory.mkdir()
    log = tmp_path / "service.log"
    HOSTILE[what](log)
    gaps = [0.0]

    async def tick() -> None:
        while True:
            before = time.monotonic()
            await asyncio.sleep(0.01)
            gaps.append(time.monotonic() - before)

    async def followed() -> str:
        ticking = asyncio.ensure_future(tick())
        child = await spawn(
            Command(argv=("sleep", "0.3")), environment=dict(os.environ), working_directory=tmp_path,
            launch_id="0" * 32, output=tmp_path / "other.log",
        )  # fmt: skip
        try:
            async with asyncio.timeout(HANG):
                ended = await watch(follower=LogFollower(log), child=child, limit=HANG, patterns=LogPatterns())
                await kept(context, {"service.log": log})
        finally:
            await stop(child, grace=0.0)
            ticking.cancel()
        return ended.kind

    assert asyncio.run(followed()) == "exited"
    assert max(gaps) < 2.0
