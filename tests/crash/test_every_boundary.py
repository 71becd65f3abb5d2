"""The daemon is killed at every commit of a run on the simulated engine, and goes on as if nothing had happened."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from serviceopt_journal import events as e
from serviceopt_journal.codec import Recorded
from serviceopt_journal.verification import verify
from stubs.scenario import assert_sound, of_type, records

KILLED_DAEMON = Path(__file__).with_name("killed_daemon.py")

RUN = """
engine = "simulated"
benchmark = "simulated"
n_particles = 3
iters = 2
seed = 11
ttft_slo = 1.0
ttft_penalty = 1
tpot_slo = 0.05
tpot_penalty = 1

[measurement]
repeats = 2

[proof]
measurements = 3
"""

ONLY_THE_LOAD_IS_SEARCHED = (
    RUN
    + """
[search]
strategy = "pso"

[[simulated.target_field]]
name = "MAX_NUM_SEQS"
config_position = "env"
dtype = "int"
min = 32
max = 512
constant = 128

[[simulated.target_field]]
name = "CONCURRENCY"
config_position = "env"
dtype = "int"
min = 1
max = 256
value = 64

[[simulated.target_field]]
name = "REQUESTRATE"
config_position = "env"
dtype = "float"
min = 0
max = 50
value = 0
"""
)


SHARES = 6
"""Tests for each configuration, so that none of them comes near its time limit on a busy machine."""


@dataclass(frozen=True)
class Whole:
    """A run that nobody killed, and the events after which a daemon can die."""

    configuration: Path
    recorded: list[Recorded]

    @property
    def boundaries(self) -> list[int]:
        """Events of one commit become durable together: between them a daemon cannot die."""
        finished = next(record.seq for record in self.recorded if isinstance(record.event, e.RunFinished))
        return sorted({record.commit: record.seq for record in self.recorded if record.seq < finished}.values())


@pytest.fixture(scope="module")
def memory() -> Iterator[Path]:
    """In memory where that is possible: a killed process loses nothing of the page cache, and syncs are free."""
    shared = Path("/dev/shm")
    parent = shared if os.access(shared, os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=parent, prefix="serviceopt-crash-") as directory:
        yield Path(directory)


@pytest.fixture(scope="module", params=[RUN, ONLY_THE_LOAD_IS_SEARCHED], ids=["all parameters", "only the load"])
def uninterrupted(memory: Path, request: pytest.FixtureRequest) -> Whole:
    root = Path(tempfile.mkdtemp(dir=memory))
    configuration = root / "config.toml"
    configuration.write_text(request.param)
    subprocess.run([sys.executable, KILLED_DAEMON, configuration, root / "whole"], check=True, capture_output=True)
    return Whole(configuration, records(root / "whole"))


def proposals(recorded: list[Recorded]) -> list[tuple[Any, ...]]:
    return [
        (event.particle, event.slot, event.iteration, event.position, event.velocity, event.configuration, event.origin)
        for event in of_type(recorded, e.ParticleProposed)
    ]


def results(recorded: list[Recorded]) -> list[list[tuple[Any, ...]]]:
    """What became of each particle: its metrics in order, or why there are none."""
    measured = [(event.particle, event.metrics) for event in of_type(recorded, e.MeasurementFinished)]
    failed = [(event.particle, event.reason) for event in of_type(recorded, e.MeasurementFailed)]
    matched = [(event.particle, event.same_as_particle) for event in of_type(recorded, e.ParticleMatched)]
    refused = [(event.evaluation, event.reason) for event in of_type(recorded, e.ServiceFailed)]
    ended = [
        (event.outcome, event.reason, event.recommended, event.feasible) for event in of_type(recorded, e.RunFinished)
    ]
    return [measured, failed, matched, refused, ended]


def killed_everywhere(whole: Whole, boundaries: list[int]) -> list[dict[str, int]]:
    """What became of the daemon that died after each of these events, and of its successor."""
    ended = subprocess.run(
        [sys.executable, KILLED_DAEMON, whole.configuration, whole.configuration.parent, "--every", *map(str, boundaries)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    return [json.loads(line) for line in ended.stdout.splitlines()]


@pytest.mark.parametrize("share", range(SHARES))
def test_a_daemon_killed_at_any_event_goes_on_as_if_it_had_not_been(uninterrupted: Whole, share: int) -> None:
    boundaries = uninterrupted.boundaries[share::SHARES]
    assert len(boundaries) > 3, "a run has more events than that"

    told = killed_everywhere(uninterrupted, boundaries)

    assert [entry["seq"] for entry in told] == boundaries
    assert {entry["killed"] for entry in told} == {-9}
    assert [entry for entry in told if entry["resumed"] != 0] == []
    measurements = len(of_type(uninterrupted.recorded, e.MeasurementFinished))
    for seq in boundaries:
        state = uninterrupted.configuration.parent / str(seq)
        resumed = records(state)
        assert proposals(resumed) == proposals(uninterrupted.recorded), f"killed after event {seq}"
        assert results(resumed) == results(uninterrupted.recorded), f"killed after event {seq}"
        assert len(of_type(resumed, e.DaemonStarted)) == 2
        assert len(of_type(resumed, e.RunSubmitted)) == 1
        assert len(of_type(resumed, e.MeasurementFinished)) == measurements
        assert_sound(resumed)
        assert verify(state).problems == []
