"""Text of others is shown so that everything in it can be seen, in each output for people, programs and spreadsheets."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result

from builders import Story, a_journal, some_metrics
from ctl.conftest import Invoke
from serviceopt_journal import events as e
from serviceoptctl.program import cli
from unseen import EVIL, unseen

OUTPUTS = (
    ("status",), ("runs",), ("show", "1"), ("show", "--particles"), ("show", "1", "--particle", "1"), ("best",),
    ("events",), ("export",), ("export", "--all"), ("export", "--events"),
)  # fmt: skip


def evil_events() -> Iterator[e.Event]:
    """A run in which whatever others have written is evil: names, logs, versions, comments, host."""
    story = Story(name=EVIL)
    for event in (
        *story.submitted(),
        *story.failed(EVIL, MAX_NUM_SEQS=64, CONCURRENCY=1),
        *story.measured(some_metrics(), MAX_NUM_SEQS=65, CONCURRENCY=1),
        *story.finished(recommended=2, feasible=True),
    ):
        yield msgspec.structs.replace(
            event,
            **{
                name: EVIL
                for name in ("remark", "reason", "error", "configuration_path", "engine_version")
                if isinstance(getattr(event, name, None), str)
            },
        )


@pytest.mark.parametrize("output", [*OUTPUTS, *((*each, "--json") for each in OUTPUTS)], ids=" ".join)
def test_nothing_unseen_reaches_an_output(invoke: Invoke, state: Path, output: tuple[str, ...]) -> None:
    a_journal(state, evil_events())
    told: Result = invoke(*output)
    assert told.exit_code == 0, told.output
    assert unseen(told.output) == []
    if "--json" not in output and "export" not in output:
        assert not [line for line in told.output.splitlines() if line.startswith("faked:")]


def test_a_program_reads_from_json_what_was_written(invoke: Invoke, state: Path) -> None:
    a_journal(state, evil_events())
    assert json.loads(invoke("show", "1", "--json").stdout)["name"] == EVIL
    lines = [json.loads(line) for line in invoke("events", "--json").stdout.splitlines()]
    assert EVIL in [line["event"].get("reason") for line in lines]


@pytest.mark.parametrize("arguments", [("show",), ("show", "--json"), ("check", "-c"), ("run", "-c"), ("import",)])
def test_an_error_shows_what_is_unseen_in_a_name(state: Path, arguments: tuple[str, ...]) -> None:
    a_journal(state)
    name = EVIL.replace("\x00", "")
    told: Any = CliRunner().invoke(cli, [*arguments, f"no-such-{name}"], prog_name="serviceoptctl")
    assert told.exit_code != 0
    assert unseen(told.output) == []
