"""What a service can do wrong, end to end: real processes, the daemon's own code, and a row that says why."""

from __future__ import annotations

from pathlib import Path

import pytest

from serviceopt_journal import events as e
from stubs.scenario import assert_sound, of_type, standalone, stub_run

FIRST_ONLY = "--stub-when max-num-seqs=16"  # the current setting, which is the first particle


def test_a_service_that_dies_before_it_is_ready_has_its_exit_status_in_the_row(tmp_path: Path) -> None:
    configuration = stub_run(
        tmp_path, searched=["MAX_NUM_SEQS"], service=f"--stub-delay 5 --stub-die-after 0.1 {FIRST_ONLY}"
    )
    ended, recorded, rows = standalone(configuration)

    assert ended.returncode == 0, ended.stderr
    assert "3" in rows[0]["error"]
    assert all(not row["error"] for row in rows[1:])
    assert of_type(recorded, e.ServiceFailed)[0].exit_status == 3
    assert_sound(recorded)


def test_a_fatal_line_in_the_log_ends_the_evaluation_at_once(tmp_path: Path) -> None:
    configuration = stub_run(
        tmp_path, searched=["MAX_NUM_SEQS"],
        service=f"--stub-hang --stub-log 'device says: out of memory' {FIRST_ONLY}",
    )  # fmt: skip
    ended, recorded, rows = standalone(configuration)

    assert ended.returncode == 0, ended.stderr
    assert "out of memory" in rows[0]["error"]
    (failed,) = of_type(recorded, e.ServiceFailed)
    assert failed.kind == "fatal"
    assert_sound(recorded)


def test_a_retryable_line_is_tried_again_and_leaves_no_trace_in_the_row(tmp_path: Path) -> None:
    configuration = stub_run(
        tmp_path, searched=["MAX_NUM_SEQS"],
        service=f"--stub-hang --stub-log 'connection reset by peer' --stub-once {tmp_path / 'once'} {FIRST_ONLY}",
    )  # fmt: skip
    ended, recorded, rows = standalone(configuration)

    assert ended.returncode == 0, ended.stderr
    assert [row["error"] for row in rows] == [""] * len(rows)
    (failed,) = of_type(recorded, e.ServiceFailed)
    assert failed.kind == "retryable"
    assert failed.will_retry
    assert_sound(recorded)


def test_a_retryable_line_every_time_is_given_up_after_three_attempts(tmp_path: Path) -> None:
    configuration = stub_run(
        tmp_path, searched=["MAX_NUM_SEQS"],
        service=f"--stub-hang --stub-log 'connection reset by peer' {FIRST_ONLY}",
    )  # fmt: skip
    ended, recorded, rows = standalone(configuration)

    assert ended.returncode == 0, ended.stderr
    assert "connection reset by peer" in rows[0]["error"]
    assert [event.will_retry for event in of_type(recorded, e.ServiceFailed)] == [True, True, False]
    assert_sound(recorded)


def test_a_service_that_is_never_ready_is_given_up_at_the_limit(tmp_path: Path) -> None:
    configuration = stub_run(tmp_path, searched=["MAX_NUM_SEQS"], launch_timeout=4, service=f"--stub-hang {FIRST_ONLY}")
    ended, recorded, rows = standalone(configuration)

    assert ended.returncode == 0, ended.stderr
    assert "4 s" in rows[0]["error"]
    assert of_type(recorded, e.ServiceFailed)[0].kind == "timeout"
    assert_sound(recorded)


def test_a_service_that_ignores_sigterm_is_killed_with_what_it_started(tmp_path: Path) -> None:
    configuration = stub_run(tmp_path, n_particles=1, iters=1, service="--stub-ignore-sigterm --stub-grandchild")
    ended, recorded, rows = standalone(configuration)

    assert ended.returncode == 0, ended.stderr
    assert rows[0]["error"] == ""
    assert of_type(recorded, e.ServiceStopped)[0].forced
    assert_sound(recorded)


def test_a_service_that_dies_while_it_is_measured_is_named_as_the_cause(tmp_path: Path) -> None:
    configuration = stub_run(
        tmp_path, searched=["MAX_NUM_SEQS"], service=f"--stub-die-measured {FIRST_ONLY}",
        client=f"--stub-hang --stub-once {tmp_path / 'once'}",
        iters=1,
    )  # fmt: skip
    ended, recorded, rows = standalone(configuration)

    assert ended.returncode == 0, ended.stderr
    assert "service ended" in rows[0]["error"]
    assert not rows[1]["error"]
    assert_sound(recorded)


def test_a_client_that_never_ends_is_given_up_at_the_limit(tmp_path: Path) -> None:
    configuration = stub_run(
        tmp_path, n_particles=3, iters=1, searched=["CONCURRENCY"], measurement_timeout=4,
        client="--stub-hang --stub-when max-concurrency=8",
    )  # fmt: skip
    ended, recorded, rows = standalone(configuration)

    assert ended.returncode == 0, ended.stderr
    assert "4 s" in rows[0]["error"]
    assert not rows[1]["error"]
    assert_sound(recorded)


def test_only_the_load_changes_so_the_service_is_launched_once_and_its_cache_reset(tmp_path: Path) -> None:
    configuration = stub_run(tmp_path, n_particles=4, iters=1, searched=["CONCURRENCY"])
    ended, recorded, rows = standalone(configuration)

    assert ended.returncode == 0, ended.stderr
    assert len(rows) == 4
    assert len(of_type(recorded, e.ServiceLaunching)) == 1
    measured = of_type(recorded, e.MeasurementStarted)
    assert [event.cache_reset for event in measured] == [False, True, True, True]
    assert len({event.seed for event in measured}) == 4
    assert_sound(recorded)


def test_a_service_whose_engine_has_died_is_launched_anew_before_another_load(tmp_path: Path) -> None:
    configuration = stub_run(
        tmp_path, n_particles=3, iters=1, searched=["CONCURRENCY"], service="--stub-dead-after 1"
    )  # fmt: skip
    ended, recorded, rows = standalone(configuration)

    assert ended.returncode == 0, ended.stderr
    assert [row["error"] for row in rows] == ["", "", ""]
    assert len(of_type(recorded, e.ServiceLaunching)) == 3
    failed = of_type(recorded, e.ServiceFailed)
    assert [(event.cause, event.will_retry) for event in failed] == [("dead_engine", True)] * 2
    assert "GET /health: status 503" in failed[0].reason
    assert_sound(recorded)


LAST_WORDS = "ERROR 11-20 10:00:40 [x.py:1] EngineDeadError: EngineCore encountered an issue."


@pytest.mark.parametrize(
    ("dies", "told_so"),
    [
        ("--stub-dead-after 1", "8 of 24 requests failed"),
        (f"--stub-last-words '{LAST_WORDS}'", "its log says: EngineDeadError"),  # and goes on answering /health
    ],
)
def test_a_measurement_during_which_the_engine_dies_is_repeated_on_another_launch(
    tmp_path: Path, dies: str, told_so: str
) -> None:
    configuration = stub_run(
        tmp_path, n_particles=1, iters=1, searched=["CONCURRENCY"],
        service=f"{dies} --stub-once {tmp_path / 'service'}",
        client=f"--stub-lie some-failed --stub-once {tmp_path / 'client'}",
    )  # fmt: skip
    ended, recorded, rows = standalone(configuration)

    assert ended.returncode == 0, ended.stderr
    (told,) = of_type(recorded, e.MeasurementFailed)
    assert (told.kind, told.cause, told.will_retry) == ("service", "dead_engine", True)
    assert told_so in told.reason
    assert [row["error"] for row in rows] == [""]
    assert len(of_type(recorded, e.ServiceLaunching)) == 2
    assert_sound(recorded)


def test_a_service_that_gives_no_token_any_more_ends_its_measurement_and_is_launched_anew(tmp_path: Path) -> None:
    configuration = stub_run(
        tmp_path, n_particles=1, iters=1, searched=["CONCURRENCY"], top="stall_timeout = 1",
        service=f"--stub-metrics real --stub-stuck-after 0.2 --stub-once {tmp_path / 'service'}",
        client=f"--stub-paced --stub-hang --stub-once {tmp_path / 'client'}",
    )  # fmt: skip
    ended, recorded, rows = standalone(configuration)

    assert ended.returncode == 0, ended.stderr
    (told,) = of_type(recorded, e.MeasurementFailed)
    assert (told.kind, told.cause, told.will_retry) == ("service", "hung_engine", True)
    assert "8 requests are in flight, and for 1 s no token came" in told.reason
    assert [row["error"] for row in rows] == [""]
    assert len(of_type(recorded, e.ServiceLaunching)) == 2
    assert_sound(recorded)


def test_a_slow_service_whose_tokens_come_is_measured_to_its_end(tmp_path: Path) -> None:
    configuration = stub_run(
        tmp_path, n_particles=1, iters=1, searched=["CONCURRENCY"], top="stall_timeout = 0.5",
        service="--stub-metrics real", client="--stub-paced --stub-faster 0.4",
    )  # fmt: skip
    ended, recorded, rows = standalone(configuration)

    assert ended.returncode == 0, ended.stderr
    assert [row["error"] for row in rows] == [""]
    (finished,) = of_type(recorded, e.MeasurementFinished)
    assert finished.metrics.duration > 2 * 0.5
    assert_sound(recorded)
