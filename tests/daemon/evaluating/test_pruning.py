"""Working directories: the latest stay, old ones go, and nothing outside of them is ever touched."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from daemon.service.daemons import a_loop, finished, submitted
from memory_journal import MemoryJournal
from run_stories import Story
from serviceopt_journal import events as e
from serviceoptd.domain.state import State
from serviceoptd.evaluating.keeping import pruning
from serviceoptd.evaluating.keeping.pruning import prune

MANY = """
engine = "simulated"
benchmark = "simulated"
n_particles = 25
iters = 1
"""


@pytest.fixture(autouse=True)
def _two_are_kept(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    if "loop" not in request.node.name:
        monkeypatch.setattr(pruning, "KEPT", 2)


def evaluations(directory: Path, count: int, *, unfinished: int = 0) -> State:
    """The state after so many evaluations, each with a file in its directory."""
    story = Story()
    for number in range(1, count + 1):
        story.tell(
            e.ParticleProposed(
                run=1, particle=number, slot=0, iteration=0, position=(), velocity=(), strategy="swarm", origin="swarm",
                configuration={"MAX_NUM_SEQS": number, "MAX_NUM_BATCHED_TOKENS": 8192, "CONCURRENCY": 1},
            ),
            e.ServiceLaunching(run=1, particle=number, evaluation=number, attempt=1, launch_id="a"),
        )  # fmt: skip
        if number != unfinished:
            story.tell(e.EvaluationFinished(run=1, evaluation=number, particles=(number,)))
        place = directory / "runs" / "1" / f"evaluation-{number}" / "launch-1"
        place.mkdir(parents=True)
        (place / "service.log").write_text("log")
    return story.state


def left(directory: Path) -> list[str]:
    return sorted(path.name for path in (directory / "runs" / "1").iterdir())


def test_the_latest_evaluations_keep_their_directories(tmp_path: Path) -> None:
    prune(tmp_path, evaluations(tmp_path, 5))
    assert left(tmp_path) == ["evaluation-4", "evaluation-5"]


def test_an_evaluation_that_is_not_over_keeps_its_directory(tmp_path: Path) -> None:
    prune(tmp_path, evaluations(tmp_path, 5, unfinished=1))
    assert left(tmp_path) == ["evaluation-1", "evaluation-4", "evaluation-5"]


def test_what_is_not_an_evaluations_directory_stays(tmp_path: Path) -> None:
    state = evaluations(tmp_path, 4)
    for name in ("notes", "evaluation-1.bak", "evaluation-01", "evaluation-99"):
        (tmp_path / "runs" / "1" / name).mkdir()
    (tmp_path / "runs" / "mine").mkdir()
    prune(tmp_path, state)
    assert left(tmp_path) == [
        "evaluation-01",
        "evaluation-1.bak",
        "evaluation-3",
        "evaluation-4",
        "evaluation-99",
        "notes",
    ]
    assert (tmp_path / "runs" / "mine").is_dir()


def test_a_link_inside_is_removed_and_what_it_points_to_is_not(tmp_path: Path) -> None:
    state = evaluations(tmp_path, 3)
    treasure = tmp_path / "treasure"
    treasure.mkdir()
    (treasure / "model.bin").write_text("weights")
    inside = tmp_path / "runs" / "1" / "evaluation-1"
    (inside / "model").symlink_to(treasure, target_is_directory=True)
    (inside / "launch-1" / "file").symlink_to(treasure / "model.bin")
    prune(tmp_path, state)
    assert left(tmp_path) == ["evaluation-2", "evaluation-3"]
    assert (treasure / "model.bin").read_text() == "weights"


@pytest.mark.parametrize("replaced", ["runs", "runs/1", "runs/1/evaluation-1"])
def test_a_directory_that_was_replaced_by_a_link_is_left_alone(tmp_path: Path, replaced: str) -> None:
    state_directory = tmp_path / "state"
    state = evaluations(state_directory, 3)
    elsewhere = tmp_path / "elsewhere"
    (state_directory / replaced).rename(elsewhere)
    (state_directory / replaced).symlink_to(elsewhere, target_is_directory=True)
    before = sorted(elsewhere.rglob("*"))
    prune(state_directory, state)
    assert sorted(elsewhere.rglob("*")) == before


def test_without_any_directory_nothing_happens(tmp_path: Path) -> None:
    state = evaluations(tmp_path / "another", 3)
    prune(tmp_path, state)
    assert [path.name for path in tmp_path.iterdir()] == ["another"]


def test_the_loop_leaves_the_directories_of_twenty_evaluations(tmp_path: Path) -> None:
    async def story() -> None:
        context, loop = a_loop(tmp_path, MemoryJournal())
        run = await finished(context, loop, await submitted(context, MANY))
        assert len(run.evaluations) > pruning.KEPT
        assert len(left(tmp_path)) == pruning.KEPT
        assert f"evaluation-{max(run.evaluations)}" in left(tmp_path)

    asyncio.run(story())
