"""journal verify."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from click.testing import Result

from builders import a_journal

Invoke = Callable[..., Result]


def test_a_sound_journal_is_called_so_with_its_speed_and_head(invoke: Invoke, state: Path) -> None:
    a_journal(state)
    result = invoke("journal", "verify")
    assert result.exit_code == 0
    assert f"{state}: sound" in result.stdout
    assert "events/s" in result.stdout
    document = json.loads(invoke("journal", "verify", "--json").stdout)
    assert document["sound"]
    assert document["events"] == document["head_seq"] > 0
    assert document["problems"] == []


def test_it_works_beside_a_running_daemon(invoke: Invoke, daemon: Callable[..., Any]) -> None:
    daemon()
    assert invoke("journal", "verify").exit_code == 0


def test_a_bad_slot_of_the_anchor_is_a_warning(invoke: Invoke, state: Path) -> None:
    a_journal(state)
    anchor = bytearray((state / "journal.anchor").read_bytes())
    anchor[0] ^= 1
    (state / "journal.anchor").write_bytes(anchor)
    result = invoke("journal", "verify")
    assert result.exit_code == 0
    assert f"{state}: sound" in result.stdout
    assert "slot 1 of the head anchor is bad" in result.stdout
    assert "next start" in result.stdout
    document = json.loads(invoke("journal", "verify", "--json").stdout)
    assert document["sound"]
    assert len(document["warnings"]) == 1


def test_a_missing_anchor_is_damage_with_its_own_exit_code(invoke: Invoke, state: Path) -> None:
    a_journal(state)
    (state / "journal.anchor").unlink()
    before = {path: path.read_bytes() for path in state.iterdir()}
    result = invoke("journal", "verify")
    assert result.exit_code == 6
    assert "DAMAGED" in result.stdout
    assert "anchor" in result.stdout
    document = json.loads(invoke("journal", "verify", "--json").stdout)
    assert (document["sound"], len(document["problems"])) == (False, 1)
    assert {path: path.read_bytes() for path in state.iterdir()} == before
