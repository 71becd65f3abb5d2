"""The power fails at any moment of a writer: nothing acknowledged is lost, and what was not damaged is not refused."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from crash.disk_states import DIRECTORY, Call, Disk
from crash.preloading import preloaded

LOSING_POWER = Path(__file__).with_name("losing_power.py")


def test_no_power_loss_takes_an_acknowledged_event_and_none_is_taken_for_damage(
    record_property: Callable[[str, object], None],
) -> None:
    """A share of the states; all of them: `make chaos`."""
    ended = preloaded(LOSING_POWER, "--every", "9", "--killed", "20", "--again", "900", "--workers", "1")
    if ended is None:
        pytest.skip("there is no C compiler here")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    counts = json.loads(ended.stdout.splitlines()[-1])
    record_property(
        "counted",
        f"power lost in {counts['states']} states, {counts['with a name lost']} of them with a name lost: "
        f"{counts['there']} with everything there; controls: {counts['controls']}",
    )
    assert counts["there"] == counts["states"] > 500
    assert counts["with a name lost"] > 20
    assert counts["controls"]["NORMAL, no anchor"]["lost in silence"] > 20, "a commit that is not synced can be lost"
    assert counts["controls"]["NORMAL, anchor"]["told"] > 20, "and the anchor tells it"
    assert counts["controls"]["NORMAL, anchor"]["lost in silence"] == 0


def test_a_journal_is_made_wholly_or_not_at_all() -> None:
    ended = preloaded(LOSING_POWER, "--making")
    if ended is None:
        pytest.skip("there is no C compiler here")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    counts = json.loads(ended.stdout.splitlines()[-1])
    assert counts["there"] == counts["states"] > 100


def test_what_a_killed_writer_had_not_synced_is_made_sure_before_the_next_one_acts_on_it() -> None:
    """Killed before the sync of the log, or of the anchor; then power is lost while the next writer goes on."""
    ended = preloaded(LOSING_POWER, "--commit", "3")
    if ended is None:
        pytest.skip("there is no C compiler here")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    counts = json.loads(ended.stdout.splitlines()[-1])
    assert counts["there"] == counts["states"] > 100


def states_after(*calls: Call) -> set[tuple[tuple[str, bytes], ...]]:
    disk = Disk({"d": DIRECTORY})
    for call in calls:
        disk.take(call)
    return {tuple(sorted(files.items())[1:]) for _, _, files in disk.states(random.Random(1))}


def call(kind: str, path: str, data: bytes = b"", *, offset: int = 0, to: str = "") -> Call:
    return Call(kind, path, to, offset, data)


def test_what_was_synced_is_in_every_state_and_what_was_not_in_some() -> None:
    made = call("create", "d/a"), call("write", "d/a", b"1"), call("sync", "d/a"), call("sync", "d")
    assert states_after(*made) == {(("d/a", b"1"),)}
    assert states_after(*made, call("write", "d/a", b"2")) == {(("d/a", b"1"),), (("d/a", b"2"),)}


def test_a_synced_file_can_be_without_its_name_until_its_directory_is_synced() -> None:
    made = call("create", "d/a"), call("write", "d/a", b"1"), call("sync", "d/a")
    assert () in states_after(*made)
    assert () not in states_after(*made, call("sync", "d"))


def test_a_file_is_renamed_wholly_or_not_at_all() -> None:
    made = call("create", "d/a"), call("write", "d/a", b"1"), call("sync", "d/a"), call("sync", "d")
    assert states_after(*made, call("rename", "d/a", to="d/b")) == {(("d/a", b"1"),), (("d/b", b"1"),)}


def test_a_write_is_torn_at_sectors_and_of_two_the_second_may_come_alone() -> None:
    made = call("create", "d/a"), call("write", "d/a", bytes(1024)), call("sync", "d/a"), call("sync", "d")
    torn = {content[0][1] for content in states_after(*made, call("write", "d/a", b"x" * 1024))}
    assert torn == {left * 512 + right * 512 for left in (b"\0", b"x") for right in (b"\0", b"x")}
    second = states_after(*made, call("write", "d/a", b"1"), call("write", "d/a", b"2", offset=512))
    assert (("d/a", bytes(512) + b"2" + bytes(511)),) in second
