"""Launches that fail, end to end: the row tells the root cause, its kind reaches the search, and a hopeless run is held."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from serviceopt_journal import events as e
from serviceopt_journal.artefacts import ArtefactStore
from serviceoptd.domain import failures
from stubs.scenario import STUB, assert_sound, of_type, standalone, stub_run

OUT_OF_MEMORY = """INFO 11-20 10:00:00 [api_server.py:1839] starting
(EngineCore_DP0 pid=123) ERROR 11-20 10:00:40 [core.py:708] EngineCore failed to start.
(EngineCore_DP0 pid=123) ERROR 11-20 10:00:40 [core.py:708]   File "/site/vllm/v1/engine/core.py", line 100, in start
(EngineCore_DP0 pid=123) ERROR 11-20 10:00:40 [core.py:708]     begin(config)
(EngineCore_DP0 pid=123) ERROR 11-20 10:00:40 [core.py:708] torch.OutOfMemoryError: CUDA out of memory. Tried 1.16 GiB.
(APIServer pid=100)   File "/site/vllm/v1/engine/utils.py", line 800, in wait
(APIServer pid=100) RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}
/usr/lib/python3.12/multiprocessing/resource_tracker.py:254: UserWarning: 1 leaked shared_memory objects
"""
GATED = "OSError: You are trying to access a gated repo.\n"


def failing_run(directory: Path, log: str, *, top: str = "", **more: Any) -> Path:
    """A configuration whose service prints this log and exits 1, whatever its parameters, until it is mended."""
    configuration = stub_run(directory, searched=["MAX_NUM_SEQS"], top=top, **more)
    (directory / "log").write_text(log)
    program = directory / "vllm"
    program.write_text(
        f"#!{sys.executable}\nimport os, pathlib, sys\nhere = pathlib.Path({str(directory)!r})\n"
        f"if (here / 'mended').exists(): os.execv({str(STUB)!r}, [{str(STUB)!r}, *sys.argv[1:]])\n"
        "sys.stderr.write((here / 'log').read_text())\nsys.exit(1)\n"
    )
    program.chmod(0o755)
    text = configuration.read_text()
    engine, client_part = text.split("[vllm_benchmark]")
    configuration.write_text(engine.replace(str(STUB), str(program)) + "[vllm_benchmark]" + client_part)
    return configuration


def test_the_row_tells_the_root_cause_of_a_cascade_and_the_log_is_kept(tmp_path: Path) -> None:
    configuration = failing_run(tmp_path, OUT_OF_MEMORY, n_particles=2, iters=1)
    configuration.write_text(configuration.read_text().replace('out_of_memory = ["out of memory"]', ""))
    _, recorded, rows = standalone(configuration)

    told = "exited with status 1; out_of_memory: torch.OutOfMemoryError: CUDA out of memory. Tried 1.16 GiB."
    assert [row["error"] for row in rows] == [told, told]
    assert {event.cause for event in of_type(recorded, e.ServiceFailed)} == {failures.OUT_OF_MEMORY}
    for event in of_type(recorded, e.ServiceStopped):
        kept = ArtefactStore(tmp_path / "state").open(event.artefacts["service.log"]).read()
        assert kept.decode() == OUT_OF_MEMORY
    assert_sound(recorded)


def test_a_run_whose_launches_all_fail_of_the_model_is_held_after_three_and_goes_on_when_it_is_resumed(
    tmp_path: Path,
) -> None:
    configuration = failing_run(tmp_path, GATED, n_particles=5, iters=4)
    ended, recorded, _ = standalone(configuration)

    assert ended.returncode != 0
    assert len(of_type(recorded, e.ServiceLaunching)) == 3
    (held,) = of_type(recorded, e.RunPaused)
    assert held.held
    assert "3 launches" in held.reason
    assert "gated repo" in held.reason
    assert "gated repo" in ended.stdout + ended.stderr
    assert_sound(recorded)

    (tmp_path / "mended").touch()
    resumed, recorded, rows = standalone(configuration, "-lb")
    assert resumed.returncode == 0, resumed.stderr
    (going_on,) = of_type(recorded, e.RunResumed)
    assert going_on.measured_again == (1, 2, 3)
    assert {event.particle for event in of_type(recorded, e.MeasurementFinished)} >= {1, 2, 3}
    assert [row["error"] for row in rows] == [""] * len(rows)
    assert len(rows) == 5 * 4
    assert_sound(recorded)


def test_a_run_of_which_some_configurations_fail_is_not_held(tmp_path: Path) -> None:
    configuration = stub_run(
        tmp_path, n_particles=4, iters=2, searched=["MAX_NUM_SEQS"],
        service="--stub-hang --stub-log 'device says: out of memory' --stub-when max-num-seqs>20",
    )  # fmt: skip
    ended, recorded, rows = standalone(configuration)

    assert ended.returncode == 0, ended.stderr
    assert of_type(recorded, e.RunPaused) == []
    assert any(not row["error"] for row in rows)
