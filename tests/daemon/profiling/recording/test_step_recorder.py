"""The recorder inside vLLM: what it writes of each step, and that it never harms the service."""

from __future__ import annotations

import csv
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from serviceoptd.profiling.data.recorded_steps import is_recording, read_recording
from serviceoptd.profiling.recording.inside_vllm import serviceopt_step_recorder as recorder

FAKE_VLLM = Path(__file__).parents[3] / "stubs" / "fake_vllm"

Engine = Callable[..., Any]


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    """Makes recording schedulers of a fake vLLM; the steps go to `tmp_path`."""
    monkeypatch.syspath_prepend(str(FAKE_VLLM))
    monkeypatch.setenv(recorder.STEPS, str(tmp_path / "steps"))

    def make(*, asynchronous: bool = False) -> Any:
        scheduling = SimpleNamespace(
            max_num_seqs=8, max_num_batched_tokens=100, async_scheduling=asynchronous, policy="fcfs", watermark=0.0
        )
        config = SimpleNamespace(
            scheduler_config=scheduling,
            cache_config=SimpleNamespace(num_gpu_blocks=64, enable_prefix_caching=None),
            model_config=SimpleNamespace(max_model_len=512),
        )
        return recorder.factory(vllm_config=config)

    yield make
    for name in [name for name in sys.modules if name.partition(".")[0] == "vllm"]:
        del sys.modules[name]


def written(directory: Path) -> Path:
    return directory / f"steps.{os.getpid()}"


def rows(directory: Path) -> list[dict[str, str]]:
    with written(directory).open(newline="") as lines:
        return list(csv.DictReader(lines))


def run(scheduler: Any, steps: int) -> None:
    for _ in range(steps):
        scheduler.update_from_output(scheduler.schedule(), None)


def test_each_step_is_a_line_with_its_composition(engine: Engine, tmp_path: Path) -> None:
    scheduler = engine()
    scheduler.add_request("long", prompt=130, output=3)
    scheduler.add_request("short", prompt=20, output=2, cached=16)
    run(scheduler, 5)
    first, second, third, fourth = rows(tmp_path)
    numbers = (
        "n_seqs",
        "n_prefill",
        "prefill_tokens",
        "attn_prefill",
        "n_decode",
        "decode_ctx",
        "n_new",
        "cached_tokens",
    )
    assert [int(first[name]) for name in numbers] == [1, 1, 100, 100 * 101 // 2, 0, 0, 2, 16]
    chunks = (30 * 100 + 30 * 31 // 2) + (4 * 16 + 4 * 5 // 2)
    assert [int(second[name]) for name in numbers] == [2, 2, 34, chunks, 0, 0, 0, 0]
    assert [int(third[name]) for name in numbers] == [2, 0, 0, 0, 2, 131 + 21, 0, 0]
    assert [int(fourth[name]) for name in numbers] == [1, 0, 0, 0, 1, 132, 0, 0]
    assert third["requests"] == "130:1:9 20:1:2"
    assert [row["step"] for row in rows(tmp_path)] == ["0", "1", "2", "3"]  # the fifth was empty


def test_training_reads_what_it_writes(engine: Engine, tmp_path: Path) -> None:
    scheduler = engine()
    scheduler.add_request("one", prompt=50, output=4)
    run(scheduler, 4)
    assert is_recording(written(tmp_path))
    found = read_recording(written(tmp_path), name="run", configuration="c")
    assert found.composition.tolist() == [[1, 50, 1275, 0, 0], [0, 0, 0, 1, 51], [0, 0, 0, 1, 52], [0, 0, 0, 1, 53]]
    assert (found.seconds > 0).all()


def test_with_two_batches_in_flight_the_steps_share_the_time(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vllm.v1.core.sched.async_scheduler import AsyncScheduler

    clock = iter(range(1000))
    monkeypatch.setattr(recorder.time, "perf_counter", lambda: next(clock) / 1000)
    scheduler = engine(asynchronous=True)
    assert isinstance(scheduler, AsyncScheduler)
    scheduler.add_request("one", prompt=50, output=5)
    in_flight = [scheduler.schedule(), scheduler.schedule()]
    for _ in range(3):
        scheduler.update_from_output(in_flight.pop(0), None)
        in_flight.append(scheduler.schedule())
    found = rows(tmp_path)
    assert [row["n_decode"] for row in found] == ["0", "1", "1"]
    periods = [float(row["period_ms"]) for row in found]
    assert periods[0] == -1
    for row, period in zip(found[1:], periods[1:], strict=True):
        # no step is longer than the time since the one before has ended, though it was composed long before that
        assert float(row["exec_ms"]) + float(row["update_ms"]) == pytest.approx(period)


def test_what_the_scheduler_was_told_lies_beside_the_steps(engine: Engine, tmp_path: Path) -> None:
    engine()
    told = json.loads(written(tmp_path).with_name(f"steps.{os.getpid()}.json").read_text())
    assert told["vllm"] == "0.32.0"
    assert told["limits"] == {
        "max_num_seqs": 8, "max_num_batched_tokens": 100, "max_model_len": 512, "policy": "fcfs", "watermark": 0.0,
        "async_scheduling": False, "kv_blocks": 64, "block_size": 16, "enable_prefix_caching": False,
    }  # fmt: skip


def test_a_fault_ends_the_recording_and_not_the_service(
    engine: Engine, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    scheduler = engine()
    scheduler.add_request("one", prompt=50, output=5)
    run(scheduler, 2)
    scheduler.block_size = 0
    run(scheduler, 3)
    assert not scheduler.running
    assert len(rows(tmp_path)) == 2
    assert capfd.readouterr().err.count("serviceopt_step_recorder: stopped: ZeroDivisionError") == 1


def test_a_service_that_may_not_write_is_served_all_the_same(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(recorder.STEPS, str(tmp_path / "nowhere" / "steps"))
    scheduler = engine()
    scheduler.add_request("one", prompt=50, output=2)
    run(scheduler, 2)
    assert not scheduler.running
    assert "serviceopt_step_recorder: stopped: FileNotFoundError" in capfd.readouterr().err


def test_it_can_be_imported_where_nothing_of_ours_is_installed() -> None:
    source = Path(recorder.__file__).read_text()
    assert "serviceoptd" not in source.replace("serviceoptd.simulation", "")
    beside = sorted(path.name for path in Path(recorder.__file__).parent.glob("*.py"))
    assert beside == ["__init__.py", "serviceopt_step_recorder.py"]
