"""Whatever a client or a service leaves under a name, the loop goes on and the journal keeps what it was."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from daemon.service.daemons import a_loop
from hostile_files import HOSTILE
from memory_journal import MemoryJournal
from serviceoptd.evaluating.keeping.kept import kept


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
