"""How a daemon begins."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest
import structlog.testing

from builders import a_finished_story, a_journal
from serviceopt_journal.events import DaemonStarted
from serviceopt_journal.places import Places
from serviceopt_journal.reader import JournalReader
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


def test_a_start_logs_and_records_what_it_mended(tmp_path: Path) -> None:
    a_journal(tmp_path / "state", a_finished_story())
    anchor = tmp_path / "state" / "journal.anchor"
    stored = bytearray(anchor.read_bytes())
    stored[4096] ^= 1
    anchor.write_bytes(stored)

    async def start() -> None:
        async with bootstrap.opened(Places(tmp_path / "state", tmp_path / "socket"), standalone=True):
            pass

    with structlog.testing.capture_logs() as logged:
        asyncio.run(start())
        asyncio.run(start())
    told = [line["reason"] for line in logged if line["log_level"] == "warning"]
    started = [
        r.event.repaired for r in JournalReader.open(tmp_path / "state").events() if isinstance(r.event, DaemonStarted)
    ]
    assert [len(told), *map(len, started[-2:])] == [1, 1, 0]
    assert started[-2] == tuple(told)
    assert told[0].startswith("slot 2 of the head anchor is bad")
