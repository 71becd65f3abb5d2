"""Without a daemon: `run --standalone` and `optimizer` in the foreground, interrupted and continued."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

from patience import HANG
from serviceopt_journal import events as e
from stubs.scenario import (
    Held,
    assert_sound,
    client,
    left_over,
    of_type,
    places,
    records,
    rows,
    start,
    stub_run,
    verified,
    wait_for,
)

PAIR = ("-e", "vllm", "-b", "vllm_benchmark")


def the_second(directory: Path) -> Held:
    """The second measurement is under way until the client is ended, and the next ones go through."""
    return Held(directory / "held", turn=2)


def in_the_foreground(configuration: Path, *command: str) -> subprocess.Popen[bytes]:
    """Starts it and waits for the second measurement, which takes half a second."""
    directory = configuration.parent
    running = start(*command, environment=places(directory), log=directory / "foreground.log", cwd=directory)

    def second_measurement() -> bool:
        recorded = records(directory / "state")
        started, finished = of_type(recorded, e.MeasurementStarted), of_type(recorded, e.MeasurementFinished)
        return the_second(directory).under_way() and len(started) == 2 and len(finished) == 1

    wait_for(second_measurement, "the second measurement")
    return running


def test_ctrl_c_ends_the_service_and_the_optimizer_goes_on_from_the_breakpoint(tmp_path: Path) -> None:
    configuration = stub_run(tmp_path, client=the_second(tmp_path).arguments, service="--stub-grandchild")
    running = in_the_foreground(configuration, "serviceoptctl", "run", "--standalone", "-c", str(configuration), *PAIR)
    running.send_signal(signal.SIGINT)
    assert running.wait(timeout=HANG) == 130
    interrupted = records(tmp_path / "state")
    assert left_over(interrupted) == {}
    assert isinstance(interrupted[-1].event, e.DaemonStopped)

    ended = client(
        "optimizer", "-lb", *PAIR, "-c", str(configuration), "--standalone", environment=places(tmp_path), cwd=tmp_path
    )
    assert ended.returncode == 0, ended.stderr
    recorded = records(tmp_path / "state")
    assert len(of_type(recorded, e.RunSubmitted)) == 1
    assert len(of_type(recorded, e.RunFinished)) == 1
    assert_sound(recorded)
    verified(tmp_path)


def test_a_killed_process_in_the_foreground_is_continued_although_its_service_holds_the_port(tmp_path: Path) -> None:
    configuration = stub_run(tmp_path, client=the_second(tmp_path).arguments, service="--stub-grandchild")
    running = in_the_foreground(configuration, "serviceoptctl", "run", "--standalone", "-c", str(configuration), *PAIR)
    running.kill()
    running.wait()
    assert left_over(records(tmp_path / "state"))

    ended = client(
        "optimizer", "-lb", *PAIR, "-c", str(configuration), "--standalone", environment=places(tmp_path), cwd=tmp_path
    )
    assert ended.returncode == 0, ended.stderr
    assert_sound(records(tmp_path / "state"))


def test_the_optimizer_without_a_daemon_says_so_and_writes_its_csv(tmp_path: Path) -> None:
    configuration = stub_run(tmp_path)
    ended = client("optimizer", *PAIR, "-c", str(configuration), environment=places(tmp_path), cwd=tmp_path)

    assert ended.returncode == 0, ended.stderr
    assert "standalone" in ended.stderr or "foreground" in ended.stderr
    (written,) = (tmp_path / "result" / "store").glob("data_storage_*.csv")
    assert str(written.name) in ended.stdout + ended.stderr
    assert len(rows(written.read_text())) == 4


def test_the_optimizer_that_must_use_a_daemon_starts_nothing_without_one(tmp_path: Path) -> None:
    configuration = stub_run(tmp_path)
    ended = client("optimizer", "--daemon", *PAIR, "-c", str(configuration), environment=places(tmp_path), cwd=tmp_path)

    assert ended.returncode == 5
    assert not (tmp_path / "state").exists()


def test_without_the_breakpoint_option_a_new_run_starts(tmp_path: Path) -> None:
    configuration = stub_run(tmp_path, n_particles=1, iters=1)
    for _ in range(2):
        assert client("run", "--standalone", "-c", str(configuration), environment=places(tmp_path)).returncode == 0
    assert len(of_type(records(tmp_path / "state"), e.RunSubmitted)) == 2


def test_the_breakpoint_of_a_finished_run_has_nothing_left_to_do(tmp_path: Path) -> None:
    configuration = stub_run(tmp_path, n_particles=1, iters=1)
    for breakpoint_option in ((), ("-lb",)):
        ended = client(
            "run", "--standalone", *breakpoint_option, "-c", str(configuration), environment=places(tmp_path)
        )
        assert ended.returncode == 0, ended.stderr
    assert len(of_type(records(tmp_path / "state"), e.RunSubmitted)) == 1
    assert len(of_type(records(tmp_path / "state"), e.ServiceLaunching)) == 1


def test_a_port_in_use_is_named_and_nothing_is_changed_on_disk(tmp_path: Path) -> None:
    configuration = stub_run(tmp_path)
    port = next(line.split("=")[1].strip() for line in configuration.read_text().splitlines() if "port =" in line)
    holder = subprocess.Popen(["python3", "-m", "http.server", port, "--bind", "127.0.0.1"], stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: port_is_held(int(port)), "somebody on the port")
        ended = client("run", "--standalone", "-c", str(configuration), environment=places(tmp_path))
    finally:
        holder.kill()
        holder.wait()
    assert ended.returncode == 4
    assert f"port {port}" in ended.stderr
    assert str(holder.pid) in ended.stderr
    assert not (tmp_path / "state").exists()


def port_is_held(port: int) -> bool:
    import socket

    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
