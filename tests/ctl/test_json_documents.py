"""Whatever a command prints with --json is one of the types of docs/api.md, to the last key."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import msgspec
import pytest
from click.testing import Result

from builders import Story, a_finished_story, an_unfinished_story
from predecessor_results import RESULTS
from profiling_files import write_recording
from serviceopt_journal.codec import Recorded
from serviceopt_journal.documents.checked import CheckedConfiguration, Unusable
from serviceopt_journal.documents.local import Ended, Examined, Page, Pages, Verified
from serviceopt_journal.documents.models import Trained
from serviceopt_journal.documents.particles import Particle, Particles, Recommendation
from serviceopt_journal.documents.requests import Accepted, Changes, Draining, ImportedResults, Refused
from serviceopt_journal.documents.runs import Run, Runs, Status, Table
from serviceoptctl.program import cli
from strict_documents import strictly
from synthetic_batches import synthetic_run

Invoke = Callable[..., Result]
ROOT = Path(__file__).parents[2]
FEW = 'engine = "simulated"\nbenchmark = "simulated"\nn_particles = 2\niters = 1\n'
STANDALONE = ("--standalone", "-c", "few.toml", "-e", "simulated", "-b", "simulated")

LOOKING: dict[tuple[str, ...], type[msgspec.Struct]] = {
    ("status",): Status,
    ("runs",): Runs,
    ("show", "1"): Run,
    ("show", "1", "--particles"): Particles,
    ("show", "1", "--particle", "4"): Particle,
    ("best", "1"): Recommendation,
    ("export",): Table,
    ("export", "--all"): Table,
    ("journal", "verify"): Verified,
    ("docs",): Pages,
    ("docs", "engines#command"): Page,
    ("check", "-c", "few.toml", "--dry-run"): CheckedConfiguration,
    ("check", "-c", str(ROOT / "tests/daemon/config/msserviceprofiler-default.toml"), "-e", "vllm"): Unusable,
    ("doctor", "-c", str(ROOT / "docs/examples/vllm.toml")): Examined,
    ("train", "-i", "recordings"): Trained,
    ("import", "old.csv"): ImportedResults,
    ("best", "7"): Refused,
}
"""Commands that print one document, without a daemon."""

ACTING: dict[tuple[str, ...], tuple[str, msgspec.Struct | None, type[msgspec.Struct]]] = {
    ("pause", "2"): ("POST /v1/runs/2/pause", None, Run),
    ("resume", "2"): ("POST /v1/runs/2/resume", None, Run),
    ("cancel", "2"): ("POST /v1/runs/2/cancel", None, Run),
    ("reload", "2", "-c", "few.toml"): ("POST /v1/runs/2/reconfigure", Changes(changes={"iters": 1}), Changes),
    ("drain",): ("POST /v1/drain", Draining(), Draining),
    ("run", "-c", "few.toml"): ("POST /v1/runs", Accepted(run=2), Accepted),
}
"""Commands that ask a daemon: the request, what is answered (None: the run itself), and what is printed."""

FOLLOWING: dict[tuple[str, ...], tuple[type[msgspec.Struct], ...]] = {
    ("events",): (Recorded,),
    ("export", "--events"): (Recorded,),
    ("run", *STANDALONE): (Recorded, Ended),
    ("optimizer", *STANDALONE): (Recorded, Ended),
}
"""Commands that print a document on each line; the last line's type comes last."""

ELSEWHERE = frozenset({"watch", "profile", "trust"})
"""Shown below, in tests/e2e/test_profile.py and in test_trust.py."""


@pytest.fixture(autouse=True)
def files(tmp_path: Path) -> None:
    (tmp_path / "few.toml").write_text(FEW)
    (tmp_path / "old.csv").write_text(RESULTS)
    for most, budget in ((16, 512), (32, 1024)):
        write_recording(tmp_path / f"recordings/seqs{most}/run.csv", synthetic_run((most, budget), 100, seed=1))


@pytest.mark.parametrize("command", LOOKING, ids=" ".join)
def test_what_is_looked_at_is_of_its_type(invoke: Invoke, daemon: Callable[..., Any], command: tuple[str, ...]) -> None:
    daemon(a_finished_story()).stop()
    strictly(json.loads(invoke(*command, "--json").stdout), LOOKING[command])


@pytest.mark.parametrize("command", ACTING, ids=" ".join)
def test_what_a_daemon_answers_is_printed_as_its_type(
    invoke: Invoke, daemon: Callable[..., Any], command: tuple[str, ...]
) -> None:
    answering = daemon(a_finished_story(), an_unfinished_story(Story(run=2)))
    request, answer, kind = ACTING[command]
    run = answering.answer("GET", "/v1/runs/2", {})[1]
    answering.answers[request] = (200, run if answer is None else msgspec.to_builtins(answer))
    strictly(json.loads(invoke(*command, "--json").stdout), kind)


@pytest.mark.parametrize("command", FOLLOWING, ids=" ".join)
def test_every_line_of_what_is_followed_is_of_its_type(
    invoke: Invoke, daemon: Callable[..., Any], command: tuple[str, ...]
) -> None:
    daemon(a_finished_story()).stop()
    *before, last = invoke(*command, "--json").stdout.splitlines()
    kinds = FOLLOWING[command]
    assert before
    for line in before:
        strictly(json.loads(line), kinds[0])
    strictly(json.loads(last), kinds[-1])


def test_watching_ends_with_how_it_ended(invoke: Invoke, daemon: Callable[..., Any]) -> None:
    daemon(a_finished_story())
    (line,) = invoke("watch", "1", "--json").stdout.splitlines()
    ended = strictly(json.loads(line), Ended)
    assert isinstance(ended, Ended)
    assert ended.best is not None


def commands(group: click.Group, *path: str) -> Iterator[tuple[str, ...]]:
    """Every command that takes --json."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from commands(command, *path, name)
        elif command is not None and any("--json" in parameter.opts for parameter in command.params):
            yield (*path, name)


def test_no_command_with_json_is_left_out() -> None:
    shown = {*LOOKING, *ACTING, *FOLLOWING}
    found = set(commands(cli))
    assert len(found) > 20, "the test looks in the wrong place"
    assert not {
        command for command in found
        if not any(each[: len(command)] == command for each in shown) and command[0] not in ELSEWHERE
    }  # fmt: skip
