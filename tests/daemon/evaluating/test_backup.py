"""--backup: what is kept of an evaluation, within which limit, and that nothing else is."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import msgspec
import pytest

from daemon.service.daemons import a_loop
from memory_journal import MemoryJournal
from run_stories import Story, some_settings
from serviceopt_journal import events as e
from serviceopt_journal.artefacts import ArtefactStore
from serviceoptd.domain.state import RunState
from serviceoptd.evaluating.keeping.backup import Backup, keep_backup


def evaluated(directory: Path, *, limit: int = 10**6, backup: bool = True, simulated: bool = False) -> RunState:
    """A run whose first evaluation is over and has left a log of 100 bytes and a result of 50."""
    story = Story(msgspec.structs.replace(some_settings(), backup=backup, backup_limit=limit))
    configuration: dict[str, e.Value] = {"MAX_NUM_SEQS": 64, "MAX_NUM_BATCHED_TOKENS": 8192, "CONCURRENCY": 100}
    edited = e.EditedFile(
        path="/opt/mindie/conf/config.json", original_sha256="0" * 64,
        edited_sha256=ArtefactStore(directory).keep(b'{"maxBatchSize": 64}'),
    )  # fmt: skip
    for evaluation in (1, 2):
        story.tell(
            e.ParticleProposed(
                run=1, particle=evaluation, slot=0, iteration=0, position=(), velocity=(), configuration=configuration,
                strategy="swarm", origin="swarm",
            ),
            e.ServiceLaunching(
                run=1, particle=evaluation, evaluation=evaluation, attempt=1, launch_id="a", argv=("vllm", "serve"),
                environment={"MAX_NUM_SEQS": "64", "HF_TOKEN": "***"}, edited_files=(edited,), simulated=simulated,
            ),
        )  # fmt: skip
        place = directory / "runs" / "1" / f"evaluation-{evaluation}"
        (place / "launch-1").mkdir(parents=True)
        (place / "launch-1" / "service.log").write_text("x" * 100)
        (place / "measurement-1-1").mkdir()
        (place / "measurement-1-1" / "result.json").write_text("y" * 50)
    return story.run


def kept(directory: Path, run: RunState, evaluation: int = 1) -> Backup:
    context, _ = a_loop(directory, MemoryJournal())
    return keep_backup(context, run, run.evaluations[evaluation])


def test_logs_results_command_line_parameters_and_edited_files_are_kept(tmp_path: Path) -> None:
    run = evaluated(tmp_path)
    backup = kept(tmp_path, run)
    assert backup == Backup(directory=str(tmp_path / "backups" / "run-1" / "evaluation-1"))
    place = Path(backup.directory)
    assert (place / "launch-1" / "service.log").read_text() == "x" * 100
    assert (place / "measurement-1-1" / "result.json").read_text() == "y" * 50
    assert (place / "edited" / "config.json").read_bytes() == b'{"maxBatchSize": 64}'
    described = json.loads((place / "evaluation.json").read_text())
    assert described["argv"] == ["vllm", "serve"]
    assert described["environment"] == {"MAX_NUM_SEQS": "64", "HF_TOKEN": "***"}
    assert described["particles"][0]["configuration"]["MAX_NUM_SEQS"] == 64
    assert (place.parent / "configuration.toml").is_file()


def test_the_files_survive_the_removal_of_the_working_directory_and_cost_their_room_once(tmp_path: Path) -> None:
    run = evaluated(tmp_path)
    working = tmp_path / "runs" / "1" / "evaluation-1" / "launch-1" / "service.log"
    log = Path(kept(tmp_path, run).directory) / "launch-1" / "service.log"
    assert log.stat().st_ino == working.stat().st_ino
    working.unlink()
    assert log.read_text() == "x" * 100


def test_keeping_again_after_a_crash_changes_nothing(tmp_path: Path) -> None:
    run = evaluated(tmp_path, limit=200)
    first = kept(tmp_path, run)
    assert kept(tmp_path, run) == first


@pytest.mark.parametrize(("backup", "simulated"), [(False, False), (True, True)])
def test_without_the_option_and_of_simulated_evaluations_nothing_is_kept(
    tmp_path: Path, backup: bool, simulated: bool
) -> None:
    assert kept(tmp_path, evaluated(tmp_path, backup=backup, simulated=simulated)) == Backup()
    assert not (tmp_path / "backups").exists()


def test_beyond_the_limit_nothing_more_is_kept_and_the_reason_is_told(tmp_path: Path) -> None:
    run = evaluated(tmp_path, limit=200)
    assert kept(tmp_path, run).directory
    second = kept(tmp_path, run, evaluation=2)
    assert second.directory == ""
    assert "backup_limit_gb" in second.skipped
    assert not (tmp_path / "backups" / "run-1" / "evaluation-2").exists()


def test_links_and_special_files_are_neither_followed_nor_kept(tmp_path: Path) -> None:
    run = evaluated(tmp_path)
    secret = tmp_path / "secret"
    secret.write_text("of somebody else")
    place = tmp_path / "runs" / "1" / "evaluation-1" / "launch-1"
    (place / "link").symlink_to(secret)
    (place / "linked").symlink_to(tmp_path, target_is_directory=True)
    os.mkfifo(place / "pipe")
    there = Path(kept(tmp_path, run).directory) / "launch-1"
    assert [path.name for path in there.iterdir()] == ["service.log"]


def test_a_file_that_may_not_be_linked_is_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = evaluated(tmp_path)

    def protected(self: Path, target: Path) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted", str(target))

    monkeypatch.setattr(Path, "hardlink_to", protected)
    assert (Path(kept(tmp_path, run).directory) / "launch-1" / "service.log").read_text() == "x" * 100


def test_a_full_disk_is_told_and_ends_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = evaluated(tmp_path)

    def full(self: Path, target: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(self))

    monkeypatch.setattr(Path, "hardlink_to", full)
    backup = kept(tmp_path, run)
    assert backup.directory == ""
    assert backup.skipped.endswith("No space left on device")
