"""The disk fails, or the process dies, at any durable call of the journal: nothing acknowledged is lost."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from crash.failing_disk import ATTACKS, commits, judge, write_all
from crash.preloading import preloaded

FAILING_DISK = Path(__file__).with_name("failing_disk.py")


def test_no_acknowledged_event_is_lost_at_any_durable_call_however_it_fails(
    record_property: Callable[[str, object], None],
) -> None:
    """A third of the calls, for each attack another; all of them: `make chaos`."""
    ended = preloaded(FAILING_DISK, "--every", "3")
    if ended is None:
        pytest.skip("there is no C compiler here")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    counts = json.loads(ended.stdout.splitlines()[-1])
    record_property("counted", f"{counts}")
    for does, always in ATTACKS:
        assert counts[f"{does}{' for ever' if always else ''}"] > 30, "the journal makes more durable calls than that"
    assert counts["there"] == sum(counts.values()) / 2, "every attack ends with everything there"


def test_a_loss_a_foreign_event_and_an_unfinished_writer_are_told_apart(tmp_path: Path) -> None:
    """The judge can find against the journal: otherwise the test above could not fail."""
    write_all(tmp_path / "state", lambda _: None)
    written = sum(map(len, commits()))
    assert "nothing said" in judge(tmp_path / "state", written + 1)
    assert judge(tmp_path / "state", written) == "there"
    assert "other events" in judge(tmp_path / "state", written), (
        "the judge itself has appended one that was not planned"
    )
