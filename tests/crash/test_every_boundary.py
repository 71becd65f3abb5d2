"""The daemon is killed at every commit of a run on the simulated engine, and goes on as if nothing had happened."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
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


@pytest.fixture
def memory() -> Iterator[Path]:
    """In memory where that is possible: a killed process loses nothing of the page cache, and syncs are free."""
    shared = Path("/dev/shm")
    parent = shared if os.access(shared, os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=parent, prefix="serviceopt-crash-") as directory:
        yield Path(directory)


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


def run_once(configuration: Path, state: Path) -> list[Recorded]:
    subprocess.run([sys.executable, KILLED_DAEMON, configuration, state], check=True, capture_output=True, timeout=120)
    return records(state)


def killed_everywhere(configuration: Path, root: Path, boundaries: list[int]) -> list[dict[str, int]]:
    """One process for each core, each with its share of the boundaries."""
    workers = min(os.cpu_count() or 1, len(boundaries))
    running = [
        subprocess.Popen(
            [sys.executable, KILLED_DAEMON, configuration, root, "--every", *map(str, boundaries[first::workers])],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for first in range(workers)
    ]
    told: list[dict[str, int]] = []
    for process in running:
        output, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
        told += [json.loads(line) for line in output.splitlines()]
    return told


@pytest.mark.parametrize("text", [RUN, ONLY_THE_LOAD_IS_SEARCHED], ids=["all parameters", "only the load"])
def test_a_daemon_killed_at_any_event_goes_on_as_if_it_had_not_been(memory: Path, text: str) -> None:
    configuration = memory / "config.toml"
    configuration.write_text(text)
    uninterrupted = run_once(configuration, memory / "whole")
    finished = next(r.seq for r in uninterrupted if isinstance(r.event, e.RunFinished))
    # Events of one commit become durable together: between them a daemon cannot die.
    boundaries = sorted({record.commit: record.seq for record in uninterrupted if record.seq < finished}.values())

    told = killed_everywhere(configuration, memory, boundaries)

    assert sorted(entry["seq"] for entry in told) == boundaries
    assert {entry["killed"] for entry in told} == {-9}
    assert [entry for entry in told if entry["resumed"] != 0] == []
    measurements = len(of_type(uninterrupted, e.MeasurementFinished))
    for seq in boundaries:
        resumed = records(memory / str(seq))
        assert proposals(resumed) == proposals(uninterrupted), f"killed after event {seq}"
        assert results(resumed) == results(uninterrupted), f"killed after event {seq}"
        assert len(of_type(resumed, e.DaemonStarted)) == 2
        assert len(of_type(resumed, e.RunSubmitted)) == 1
        assert len(of_type(resumed, e.MeasurementFinished)) == measurements
        assert_sound(resumed)
        assert verify(memory / str(seq)).problems == []
