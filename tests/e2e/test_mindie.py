"""MindIE tuned with the predecessor's own command line: its stand-in daemon, and config.json as it was afterwards."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from patience import HANG
from serviceopt_journal import events as e
from serviceopt_journal.codec import Recorded
from stubs.mindie_home import a_mindie
from stubs.scenario import (
    STUB,
    Held,
    assert_sound,
    client,
    free_port,
    left_over,
    of_type,
    places,
    records,
    rows,
    start,
    wait_for,
)
from trained_models import a_model_file

KILLED_DAEMON = Path(__file__).parents[1] / "crash" / "killed_daemon.py"

OF_A_LAUNCH = (
    e.ServiceLaunching, e.ServiceLaunched, e.ServiceReady, e.MeasurementStarted, e.MeasurementFinished, e.ServiceStopping,
    e.ServiceStopped, e.EvaluationFinished,
)  # fmt: skip

RUN = """
engine = "mindie"
benchmark = "command"
n_particles = {n_particles}
iters = 1
seed = 3
tpot_slo = 5
tpot_penalty = 1
launch_timeout = {launch_timeout}
stop_timeout = 2
scaling_coefficient = 1.0

[proof]
measurements = 0

[health_check.service_errors.fatal_patterns]
out_of_memory = ["out of memory"]

[mindie]
average_input_tokens = 128
average_output_tokens = 128

[command.client]
argv = ["{stub}", "bench", "serve", "--port", "$PORT", "--num-prompts", "$NUM_PROMPTS", "--max-concurrency",
  "$CONCURRENCY", "--result-dir", "$RESULT_DIR", "--result-filename", "result.json", "--stub-seconds", "{seconds}"{client}]
port = {port}
num_prompts = 12
result_file = "result.json"

[command.client.metrics]
generate_speed = {{ path = "output_throughput", unit = "tok/s" }}
throughput = {{ path = "request_throughput", unit = "req/s" }}
completed = {{ path = "completed" }}
failed = {{ path = "failed" }}
"ttft.mean" = {{ path = "mean_ttft_ms", unit = "ms" }}
"tpot.mean" = {{ path = "mean_tpot_ms", unit = "ms" }}
"""


class Site:
    """An installation, a configuration that tunes it, and the predecessor's command."""

    def __init__(
        self,
        directory: Path,
        *,
        n_particles: int = 3,
        launch_timeout: float = HANG,
        seconds: float = 0,
        hangs: int = 0,
        **stub: str,
    ) -> None:
        """`hangs`: the number of the one measurement, in the order in which they begin, that ends only with its client."""
        self.directory = directory
        self.root = directory / "mindie-service"
        self.port = free_port()
        self.config = a_mindie(self.root, self.port, free_port())
        self.config.write_text(self.config.read_text().replace('"npuMemSize" : -1', '"npuMemSize" : 4'))
        self.original = self.state
        self.notes = directory / "notes"
        self.file = directory / "config.toml"
        self.held = Held(directory / "held", turn=hangs)
        once = self.held.arguments.split() if hangs else ()
        self.file.write_text(
            RUN.format(
                n_particles=n_particles, launch_timeout=launch_timeout, stub=STUB, port=self.port, seconds=seconds,
                client="".join(f', "{word}"' for word in once),
            )
        )  # fmt: skip
        self.environment = {
            **places(directory), "MIES_INSTALL_PATH": str(self.root), "MINDIE_STUB_NOTES": str(self.notes),
            "ASCEND_RT_VISIBLE_DEVICES": "0,1", **stub,
        }  # fmt: skip

    @property
    def state(self) -> tuple[bytes, int, int, list[str]]:
        """config.json: its bytes, mode and owner, and what lies beside it."""
        status = self.config.stat()
        beside = sorted(entry.name for entry in self.config.parent.iterdir())
        return self.config.read_bytes(), stat.S_IMODE(status.st_mode), status.st_uid, beside

    def command(self, *more: str) -> list[str]:
        return ["optimizer", "-e", "mindie", "-b", "command", "-c", str(self.file), "--standalone", *more]

    def tuned(self, *more: str) -> Any:
        return client(*self.command(*more), environment=self.environment, cwd=self.directory)

    def started(self) -> subprocess.Popen[bytes]:
        log = self.directory / "optimizer.log"
        return start("serviceoptctl", *self.command(), environment=self.environment, log=log, cwd=self.directory)

    def rows(self) -> list[dict[str, str]]:
        return rows(client("export", environment=self.environment).stdout)

    @property
    def recorded(self) -> list[Recorded]:
        return records(self.directory / "state")

    @property
    def given(self) -> list[dict[str, Any]]:
        """What the daemon found at each of its starts."""
        return [json.loads(line) for line in self.notes.read_text().splitlines()]


def schedules(given: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    return [json.loads(each["config"])["BackendConfig"]["ScheduleConfig"] for each in given]


def test_mindie_is_tuned_from_its_own_configuration_to_a_recommendation(tmp_path: Path) -> None:
    site = Site(tmp_path, n_particles=4)

    ended = site.tuned()

    assert ended.returncode == 0, ended.stderr
    assert site.state == site.original
    found = site.rows()
    assert [row["error"] for row in found] == [""] * 4
    assert found[0]["max_batch_size"] == "200"  # the current setting, from config.json
    assert (found[0]["max_prefill_batch_size"], found[0]["support_select_batch"]) == ("50", "false")
    assert "max lowered from 1000 to" in ended.stderr
    for row, schedule in zip(found, schedules(site.given), strict=True):
        assert schedule["maxBatchSize"] == int(row["max_batch_size"])
        assert schedule["maxPrefillBatchSize"] == int(row["max_prefill_batch_size"])
        assert schedule["prefillTimeMsPerReq"] == int(row["prefill_time_ms_per_req"])
        assert schedule["supportSelectBatch"] == (row["support_select_batch"] == "true")
        assert schedule["maxQueueDelayMicroseconds"] == int(row["max_queue_deloy_mircroseconds"])
        if row["support_select_batch"] == "false":
            assert row["prefill_time_ms_per_req"] == row["decode_time_ms_per_req"] == "0"
    first = site.given[0]["environment"]
    assert first["ASCEND_RT_VISIBLE_DEVICES"] == "0,1"
    assert "CONCURRENCY" not in first
    launched = of_type(site.recorded, e.ServiceLaunching)
    assert {file.path for event in launched for file in event.edited_files} == {str(site.config)}
    assert {event.devices for event in launched} == {2}
    assert_sound(site.recorded)


def test_the_kv_blocks_are_read_of_the_services_own_status(tmp_path: Path) -> None:
    site = Site(tmp_path, n_particles=1)
    assert site.tuned().returncode == 0
    assert {event.kv_blocks for event in of_type(site.recorded, e.ServiceReady)} == {817}


def test_trust_predicts_with_the_reported_blocks_and_the_files_size_of_them(tmp_path: Path) -> None:
    site = Site(tmp_path, n_particles=1)
    # 817 blocks of MindIE's default of 128 tokens would hold one such sequence, and of 64 do not
    text = site.config.read_text().replace('"cacheBlockSize" : 128', '"cacheBlockSize" : 64')
    site.config.write_text(text.replace('"maxSeqLen" : 2560', '"maxSeqLen" : 60000'))
    assert site.tuned().returncode == 0
    a_model_file(tmp_path)
    table = '[simulated]\nmodel = "latency_model.json"\nscheduler = "mindie"\ninput_tokens = 200\noutput_tokens = 40\n'
    (tmp_path / "trust.toml").write_text(table)
    told = client("trust", "-c", "trust.toml", "--json", environment=site.environment, cwd=tmp_path)
    assert told.returncode == 0, told.stderr
    (refused,) = {point["refused"] for point in json.loads(told.stdout)["points"]}
    assert refused.startswith("817 KV blocks of 64 tokens cannot hold one sequence of maxSeqLen (60000)")


def test_the_answer_is_the_finished_file_and_each_position_with_its_value(tmp_path: Path) -> None:
    site = Site(tmp_path, n_particles=3)
    assert site.tuned().returncode == 0
    told = json.loads(client("best", "--json", environment=site.environment).stdout)
    particle, configuration = told["particle"], told["configuration"]
    finished = tmp_path / "finished" / "config.json"

    written = client("best", "--format", "config", "-o", str(finished), environment=site.environment)

    assert written.returncode == 0, written.stderr
    assert stat.S_IMODE(finished.stat().st_mode) & 0o137 == 0  # MindIE refuses what others may read
    assert [finished.read_text()] == [each["config"] for each in site.given][particle - 1 : particle]
    assert client("best", "--format", "config", environment=site.environment).stdout == finished.read_text()
    shown = client("best", environment=site.environment).stdout
    assert f"BackendConfig.ScheduleConfig.maxBatchSize = {configuration['max_batch_size']}" in shown
    variables = client("best", "--format", "env", environment=site.environment).stdout.splitlines()
    assert "ASCEND_RT_VISIBLE_DEVICES=0,1" in variables
    names = {line.partition("=")[0] for line in variables}
    assert names.isdisjoint(configuration)  # neither the load nor what belongs into the file


def test_the_answer_of_a_run_that_measured_nothing_anew_is_the_earlier_runs_file(tmp_path: Path) -> None:
    site = Site(tmp_path, n_particles=2)
    assert site.tuned().returncode == 0
    first = client("best", "1", "--format", "config", environment=site.environment).stdout
    assert site.tuned().returncode == 0
    told = json.loads(client("best", "2", "--json", environment=site.environment).stdout)

    assert told["run"] == 2
    assert told["deploy"]["files"]
    assert client("best", "2", "--format", "config", environment=site.environment).stdout == first


def test_the_present_file_is_the_answer_where_the_current_setting_is_the_best(tmp_path: Path) -> None:
    site = Site(tmp_path, n_particles=1)
    assert site.tuned().returncode == 0
    assert (
        client("best", "--format", "config", environment=site.environment).stdout.encode()
        == site.given[0]["config"].encode()
    )


@pytest.mark.parametrize(
    ("faults", "said"),
    [
        ("dies", "exited with status 3"),
        ("fatal-line", "out of memory"),
        ("never-ready", "time limit of 5 s"),
        ("health-only", "time limit of 5 s"),
        ("log-only", "time limit of 5 s"),
        ("dies-measured", "service ended"),
    ],
)
def test_a_failure_is_in_the_row_and_the_file_is_the_users_again(tmp_path: Path, faults: str, said: str) -> None:
    timeout, hangs = (5 if "time limit" in said else HANG), (1 if faults == "dies-measured" else 0)
    site = Site(tmp_path, n_particles=2, launch_timeout=timeout, hangs=hangs, MINDIE_STUB=faults,
                MINDIE_STUB_WHEN="maxBatchSize=200")  # fmt: skip

    ended = site.tuned()

    assert site.state == site.original
    assert ended.returncode == 0, ended.stderr
    first, second = site.rows()
    assert said in first["error"]
    assert second["error"] == ""
    assert_sound(site.recorded)


def test_one_that_ignores_sigterm_is_killed_before_its_file_is_put_back(tmp_path: Path) -> None:
    site = Site(tmp_path, n_particles=1, MINDIE_STUB="ignores-sigterm")
    ended = site.tuned()
    assert ended.returncode == 0, ended.stderr
    assert site.state == site.original
    assert of_type(site.recorded, e.ServiceStopped)[0].forced
    assert_sound(site.recorded)


def test_what_is_cancelled_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    site = Site(tmp_path, n_particles=2, hangs=1)
    running = site.started()
    try:
        wait_for(site.held.under_way, "the first measurement")
        running.send_signal(signal.SIGINT)
        running.wait(timeout=HANG)
    finally:
        running.kill()
    assert site.state == site.original
    assert left_over(site.recorded) == {}


def test_after_a_kill_the_run_goes_on_and_the_file_is_the_users_again(tmp_path: Path) -> None:
    site = Site(tmp_path, n_particles=3, hangs=2)
    running = site.started()
    try:
        wait_for(site.held.under_way, "the second measurement")
        second = of_type(site.recorded, e.ParticleProposed)[1].configuration
    finally:
        running.kill()
        running.wait()
    patched = json.loads(site.config.read_bytes())["BackendConfig"]["ScheduleConfig"]
    assert patched["maxBatchSize"] == second["max_batch_size"]  # what the predecessor left, and then kept as its backup
    assert left_over(site.recorded) != {}

    resumed = site.tuned("-lb")

    assert resumed.returncode == 0, resumed.stderr
    assert site.state == site.original
    assert len(of_type(site.recorded, e.RunSubmitted)) == 1  # recognised although the file was edited
    assert len(site.rows()) == 3
    assert all(row["error"] == "" for row in site.rows())
    assert_sound(site.recorded)
    # every launch was planned from what the user wrote, also the first one after the crash
    files = [file for event in of_type(site.recorded, e.ServiceLaunching) for file in event.edited_files]
    assert len({file.original_sha256 for file in files}) == 1
    untouched = json.loads(site.original[0])
    for each in site.given:
        found = json.loads(each["config"])
        found["BackendConfig"]["ScheduleConfig"] = untouched["BackendConfig"]["ScheduleConfig"]
        assert found == untouched


def test_what_somebody_wrote_into_the_file_meanwhile_is_left_to_him(tmp_path: Path) -> None:
    site = Site(tmp_path, n_particles=1, seconds=4)
    running = site.started()
    try:
        wait_for(lambda: of_type(site.recorded, e.MeasurementStarted), "the first measurement")
        site.config.write_bytes(site.original[0] + b"\n")
        assert running.wait(timeout=HANG) == 0
    finally:
        running.kill()
    assert site.config.read_bytes() == site.original[0] + b"\n"


def test_killed_at_any_commit_of_a_launch_the_next_start_gives_the_file_back(tmp_path: Path) -> None:
    site = Site(tmp_path, n_particles=1)
    whole = killed_daemon(site, tmp_path / "whole")
    assert whole.returncode == 0, whole.stderr
    recorded = records(tmp_path / "whole")
    boundaries = [record.seq for record in recorded if isinstance(record.event, OF_A_LAUNCH)]
    assert len(boundaries) == len(OF_A_LAUNCH)

    told = killed_daemon(site, tmp_path, "--every", *map(str, boundaries))

    assert told.returncode == 0, told.stderr
    assert [json.loads(line) for line in told.stdout.splitlines()] == [
        {"seq": seq, "killed": -signal.SIGKILL, "resumed": 0} for seq in boundaries
    ]
    assert site.state == site.original
    for seq in boundaries:
        resumed = records(tmp_path / str(seq))
        assert len(of_type(resumed, e.RunSubmitted)) == 1
        launched = of_type(resumed, e.ServiceLaunching)
        # had one of them not been put back, the next would have taken it for the original
        originals = {file.original_sha256 for event in launched for file in event.edited_files}
        assert originals == {hashlib.sha256(site.original[0]).hexdigest()}, f"killed after event {seq}"
        assert_sound(resumed)


def killed_daemon(site: Site, state: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, KILLED_DAEMON, site.file, state, *more], env=site.environment, capture_output=True, text=True,
        timeout=HANG, check=False,
    )  # fmt: skip


def test_a_file_that_cannot_be_put_back_holds_the_run_and_a_resumed_one_puts_it_back(tmp_path: Path) -> None:
    site = Site(tmp_path, n_particles=1, seconds=4)
    if not protected(site.config.parent, True):
        pytest.skip("root may write everything here")
    protected(site.config.parent, False)
    running = site.started()
    try:
        wait_for(lambda: of_type(site.recorded, e.MeasurementStarted), "the first measurement")
        protected(site.config.parent, True)
        running.wait(timeout=HANG)
        assert [event.held for event in of_type(site.recorded, e.RunPaused)] == [True]
        assert left_over(site.recorded) == {}
        assert site.state != site.original
    finally:
        running.kill()
        protected(site.config.parent, False)

    resumed = site.tuned("-lb")

    assert resumed.returncode == 0, resumed.stderr
    assert site.state == site.original


def protected(directory: Path, protect: bool) -> bool:
    """Lets nobody write into the directory, or lets the tests again; tells whether that worked."""
    if os.geteuid() != 0:
        directory.chmod(0o555 if protect else 0o755)
        return True
    return (
        subprocess.run(["chattr", "+i" if protect else "-i", directory], capture_output=True, check=False).returncode
        == 0
    )
