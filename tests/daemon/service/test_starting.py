"""How a daemon begins."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from builders import a_finished_story, a_journal
from serviceopt_journal.places import Places
from serviceoptd import bootstrap


def test_systemd_hears_how_far_the_replay_is_and_waits_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a_journal(tmp_path / "state", a_finished_story())
    monkeypatch.setattr(bootstrap, "TOLD_EVERY", 10)

    async def start() -> None:
        async with bootstrap.opened(places, standalone=True):
            pass

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        places = Places(state=tmp_path / "state", socket=tmp_path / "serviceoptd.sock")
        asyncio.run(start())
        told = [manager.recv(4096).decode() for _ in range(6)]
    assert told == [
        line
        for events in ("", ": 10 events so far", ": 20 events so far")
        for line in ("EXTEND_TIMEOUT_USEC=120000000", f"STATUS=reading the journal{events}")
    ]
