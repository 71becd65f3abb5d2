"""The unit at work: started, watched, killed, stopped, and used by several people."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from sandboxed import STATE, SYSTEM_PYTHON, UNIT, Sandbox, stub_configuration
from serviceopt_journal.errors import ExitCode

pytestmark = pytest.mark.systemd

SOCKET = "/run/serviceoptd/serviceoptd.sock"
TRY_THE_LOCK = f"import fcntl; fcntl.flock(open('{STATE}/journal.lock', 'rb'), fcntl.LOCK_EX | fcntl.LOCK_NB)"


def submit(sandbox: Sandbox, text: str, *, user: str | None = None, directory: str = "/srv") -> int:
    """Submits a run of the stub programs; its number."""
    sandbox.write(f"{directory}/config.toml", text)
    output = sandbox.must(
        "serviceoptctl", "run", "-c", f"{directory}/config.toml", "-e", "vllm", "--seed", "7", "--json",
        cwd=directory, user=user,
    )  # fmt: skip
    return int(json.loads(output)["run"])


def held(turn: int) -> str:
    """What has the stub client hold the measurement that begins as the `turn`-th, until its process is ended."""
    return f"--stub-hang --stub-once {STATE}/held --stub-turn {turn}"


def holds(sandbox: Sandbox, turn: int) -> bool:
    """Whether that client runs; its announcement in the journal comes earlier."""
    return sandbox.run("stat", "-c", "%s", f"{STATE}/held").stdout.strip() == str(turn)


def finished(sandbox: Sandbox) -> bool:
    return bool(sandbox.events("run_finished"))


@pytest.fixture
def small_disk(sandbox: Sandbox) -> Iterator[Sandbox]:
    """The state directory is a file system of 32 MB of its own."""
    sandbox.must("install", "-d", "-o", "serviceopt", "-g", "serviceopt", "-m", "750", STATE)
    options = "size=32m,uid=serviceopt,gid=serviceopt,mode=750"
    sandbox.must("mount", "-t", "tmpfs", "-o", options, "tmpfs", STATE)
    yield sandbox
    sandbox.must("sh", "-c", f"systemctl kill -s KILL {UNIT} 2>/dev/null; systemctl stop {UNIT}; umount --lazy {STATE}")


FILL = f"dd if=/dev/zero of={STATE}/ballast bs=64k; dd if=/dev/zero of={STATE}/more bs=512; true"


def waits_for_room(sandbox: Sandbox) -> bool:
    shown = sandbox.show("ActiveState", "StatusText")
    assert shown["ActiveState"] != "failed"
    return shown["StatusText"].startswith("waiting to start: there is no room on the disk")


def test_active_means_that_the_journal_is_locked_and_the_socket_is_there(sandbox: Sandbox) -> None:
    sandbox.must("systemctl", "start", UNIT)
    assert sandbox.must("stat", "-c", "%a %U %G", SOCKET).strip() == "660 serviceopt serviceopt"
    assert "BlockingIOError" in sandbox.run(SYSTEM_PYTHON, "-c", TRY_THE_LOCK).stderr
    assert sandbox.must("stat", "-c", "%a %U %G", STATE).strip() == "750 serviceopt serviceopt"
    assert sandbox.show("ActiveState", "SubState") == {"ActiveState": "active", "SubState": "running"}
    assert sandbox.status()["daemon"]["pid"] == int(sandbox.show("MainPID")["MainPID"])


def test_the_status_line_shows_the_progress(sandbox: Sandbox) -> None:
    sandbox.must("systemctl", "start", UNIT)
    assert sandbox.show("StatusText")["StatusText"] == "idle"
    second = f"--stub-hold {STATE}/go-on --stub-once {STATE}/held --stub-turn 2"
    submit(sandbox, stub_configuration(particles=3, client=second))
    sandbox.until(lambda: "2 of 3" in sandbox.show("StatusText")["StatusText"], "STATUS= with 2 of 3 configurations")
    sandbox.must("touch", f"{STATE}/go-on")
    sandbox.until(lambda: finished(sandbox), "the end of the run")
    assert sandbox.show("StatusText")["StatusText"] == "idle"


def test_each_service_has_a_control_group_of_its_own_below_the_unit(sandbox: Sandbox) -> None:
    sandbox.must("systemctl", "start", UNIT)
    submit(sandbox, stub_configuration(particles=1, client="--stub-hang"))
    sandbox.until(lambda: sandbox.events("measurement_started"), "a measurement")
    launching, launched = sandbox.events("service_launching")[0], sandbox.events("service_launched")[0]
    assert launching["cgroup"].startswith("/sys/fs/cgroup/system.slice/serviceoptd.service/launch-")
    inside = sandbox.must("cat", f"/proc/{launched['pid']}/cgroup").splitlines()
    assert f"0::/system.slice/serviceoptd.service/launch-{launching['launch_id']}" in inside
    daemon = sandbox.must("cat", f"/proc/{sandbox.show('MainPID')['MainPID']}/cgroup").splitlines()
    assert "0::/system.slice/serviceoptd.service/daemon" in daemon


def test_an_engine_has_the_caches_of_the_unit_and_not_the_home_of_who_submitted(sandbox: Sandbox) -> None:
    sandbox.must("systemctl", "start", UNIT)
    sandbox.must("mkdir", "-p", "/srv/alice")
    sandbox.must("chmod", "777", "/srv/alice")
    submit(sandbox, stub_configuration(particles=1, client="--stub-hang"), user="alice", directory="/srv/alice")
    sandbox.until(lambda: sandbox.events("measurement_started"), "a measurement")
    pid = sandbox.events("service_launched")[0]["pid"]
    environment = dict(
        entry.split("=", 1) for entry in sandbox.must("cat", f"/proc/{pid}/environ").split("\0") if "=" in entry
    )
    assert environment["HOME"] == "/var/cache/serviceoptd"
    assert environment["XDG_CACHE_HOME"] == "/var/cache/serviceoptd"
    assert environment["USER"] == "serviceopt"
    assert not environment.keys() & {"NOTIFY_SOCKET", "WATCHDOG_USEC", "XDG_RUNTIME_DIR"}


def test_a_killed_daemon_comes_back_goes_on_and_leaves_nothing_of_the_old_processes(sandbox: Sandbox) -> None:
    sandbox.must("systemctl", "start", UNIT)
    submit(sandbox, stub_configuration(particles=2, service="--stub-grandchild", client=held(2)))
    sandbox.until(lambda: holds(sandbox, 2), "a second measurement")
    before = {event["launch_id"] for event in sandbox.events("service_launching", "measurement_started")}
    sandbox.must("systemctl", "kill", "--kill-whom=main", "-s", "KILL", UNIT)
    sandbox.until(lambda: sandbox.show("NRestarts", "ActiveState") == {"NRestarts": "1", "ActiveState": "active"}, "up")
    sandbox.until(lambda: finished(sandbox), "the end of the run")

    interrupted = sandbox.events("evaluation_interrupted")
    assert len(interrupted) == 1
    launches = sandbox.events("service_launching")
    assert len(launches) == 2 + len(interrupted)
    results = [(event["particle"], event["measurement"]) for event in sandbox.events("measurement_finished")]
    assert sorted(set(results)) == sorted(results)
    assert len({particle for particle, _ in results}) == 2
    assert len(before) == 4
    assert sandbox.processes_with_a_launch_id() == []
    groups = sandbox.must("find", f"/sys/fs/cgroup/system.slice/{UNIT}", "-name", "launch-*")
    assert groups == ""
    assert sandbox.must("serviceoptctl", "journal", "verify")


def test_stopping_ends_the_engine_and_the_next_start_goes_on(sandbox: Sandbox) -> None:
    sandbox.must("systemctl", "start", UNIT)
    submit(sandbox, stub_configuration(particles=1, service="--stub-grandchild", client=held(1)))
    sandbox.until(lambda: holds(sandbox, 1), "a measurement")
    sandbox.must("systemctl", "stop", UNIT)
    assert sandbox.processes_with_a_launch_id() == []
    assert sandbox.show("Result", "ExecMainStatus") == {"Result": "success", "ExecMainStatus": "0"}
    assert sandbox.events("daemon_stopped")[-1]["reason"] == "SIGTERM received"
    assert not finished(sandbox)
    sandbox.must("systemctl", "start", UNIT)
    sandbox.until(lambda: finished(sandbox), "the end of the run")
    assert sandbox.events("run_finished")[0]["outcome"] == "completed"
    assert sandbox.processes_with_a_launch_id() == []


def test_an_engine_that_ignores_sigterm_is_ended_too(sandbox: Sandbox) -> None:
    sandbox.must("systemctl", "start", UNIT)
    submit(sandbox, stub_configuration(particles=1, service="--stub-ignore-sigterm", client="--stub-hang"))
    sandbox.until(lambda: sandbox.events("measurement_started"), "a measurement")
    sandbox.must("systemctl", "stop", UNIT)
    assert sandbox.processes_with_a_launch_id() == []
    assert sandbox.show("Result")["Result"] == "success"


def test_a_daemon_that_hangs_is_ended_by_the_watchdog_and_comes_back(sandbox: Sandbox) -> None:
    sandbox.must("systemctl", "start", UNIT)
    assert sandbox.show("WatchdogUSec") == {"WatchdogUSec": "1min"}
    sandbox.must("systemctl", "stop", UNIT)
    sandbox.write(f"/etc/systemd/system/{UNIT}.d/test.conf", "[Service]\nWatchdogSec=4\n")
    sandbox.must("systemctl", "daemon-reload")
    sandbox.must("systemctl", "start", UNIT)
    first = sandbox.show("MainPID")["MainPID"]
    sandbox.must("kill", "-STOP", first)
    sandbox.until(lambda: int(sandbox.show("NRestarts")["NRestarts"]) >= 1, "a restart by the watchdog")
    sandbox.until(lambda: sandbox.show("ActiveState")["ActiveState"] == "active", "the daemon")
    assert sandbox.show("MainPID")["MainPID"] != first
    assert "Watchdog timeout" in sandbox.log()


BLOCKED_LOOP = """
import asyncio, os, threading, time

run_forever = asyncio.BaseEventLoop.run_forever


def blockable(loop):
    def look():
        while not (os.path.exists("/srv/blocked") and open("/srv/blocked").read() == str(os.getpid())):
            time.sleep(0.05)
        loop.call_soon_threadsafe(time.sleep, 3600)

    threading.Thread(target=look, daemon=True).start()
    run_forever(loop)


asyncio.BaseEventLoop.run_forever = blockable
"""


def test_a_loop_that_is_blocked_while_the_process_lives_is_ended_with_its_engine_and_the_run_goes_on(
    sandbox: Sandbox,
) -> None:
    sandbox.write("/srv/python/sitecustomize.py", BLOCKED_LOOP)
    sandbox.write(
        f"/etc/systemd/system/{UNIT}.d/test.conf", "[Service]\nWatchdogSec=4\nEnvironment=PYTHONPATH=/srv/python\n"
    )
    sandbox.must("systemctl", "daemon-reload")
    sandbox.must("systemctl", "start", UNIT)
    submit(sandbox, stub_configuration(particles=1, service="--stub-grandchild", client=held(1)))
    sandbox.until(lambda: holds(sandbox, 1), "a measurement")
    first = sandbox.show("MainPID")["MainPID"]
    sandbox.write("/srv/blocked", first)
    sandbox.until(lambda: sandbox.show("NRestarts", "ActiveState") == {"NRestarts": "1", "ActiveState": "active"}, "up")
    sandbox.until(lambda: finished(sandbox), "the end of the run")
    assert "Watchdog timeout" in sandbox.log()
    assert sandbox.show("NRestarts") == {"NRestarts": "1"}
    assert sandbox.status()["daemon"]["pid"] != int(first)
    assert len(sandbox.events("evaluation_interrupted")) == 1
    assert len(sandbox.events("measurement_finished")) == 1
    assert sandbox.processes_with_a_launch_id() == []


def test_a_daemon_at_work_does_not_meet_the_watchdog(sandbox: Sandbox) -> None:
    sandbox.write(f"/etc/systemd/system/{UNIT}.d/test.conf", "[Service]\nWatchdogSec=4\n")
    sandbox.must("systemctl", "daemon-reload")
    sandbox.must("systemctl", "start", UNIT)
    submit(sandbox, stub_configuration(particles=1, client="--stub-seconds 9"))
    sandbox.until(lambda: finished(sandbox), "the end of the run")
    assert sandbox.show("NRestarts")["NRestarts"] == "0"


def test_a_damaged_journal_is_not_restarted_and_not_touched(sandbox: Sandbox) -> None:
    sandbox.must("systemctl", "start", UNIT)
    sandbox.must("systemctl", "stop", UNIT)
    sandbox.must("rm", f"{STATE}/journal.anchor")
    before = sandbox.must("sh", "-c", f"sha256sum {STATE}/journal*")
    assert sandbox.run("systemctl", "start", UNIT).returncode != 0
    shown = sandbox.show("ExecMainStatus", "NRestarts", "ActiveState")
    assert shown == {"ExecMainStatus": str(int(ExitCode.JOURNAL_DAMAGED)), "NRestarts": "0", "ActiveState": "failed"}
    assert sandbox.must("sh", "-c", f"sha256sum {STATE}/journal*") == before
    assert "journal verify" in sandbox.log()


def test_a_second_daemon_is_refused_and_told_of_the_first(sandbox: Sandbox) -> None:
    sandbox.must("systemctl", "start", UNIT)
    second = sandbox.run("/opt/serviceopt/bin/serviceoptd", "--state-dir", STATE, "--socket", "/run/other.sock")
    assert second.returncode == ExitCode.JOURNAL_LOCKED
    assert f"process {sandbox.show('MainPID')['MainPID']}" in second.stderr
    assert "Traceback" not in second.stderr


def test_the_unit_does_not_fight_for_a_journal_that_another_daemon_writes(sandbox: Sandbox) -> None:
    sandbox.must("install", "-d", "-o", "serviceopt", "-g", "serviceopt", "-m", "750", STATE)
    daemon = ("/opt/serviceopt/bin/serviceoptd", "--state-dir", STATE, "--socket", f"{STATE}/other.sock")
    sandbox.must("systemd-run", "--unit=other", "--uid=serviceopt", *daemon)
    try:
        sandbox.until(lambda: sandbox.run("test", "-S", f"{STATE}/other.sock").returncode == 0, "the other daemon")
        assert sandbox.run("systemctl", "start", UNIT).returncode != 0
        shown = sandbox.show("ExecMainStatus", "NRestarts", "ActiveState")
        locked = str(int(ExitCode.JOURNAL_LOCKED))
        assert shown == {"ExecMainStatus": locked, "NRestarts": "0", "ActiveState": "failed"}
        holder = sandbox.must("systemctl", "show", "other", "--property=MainPID", "--value").strip()
        assert f"is being written by process {holder} (" in sandbox.log()
    finally:
        sandbox.must("systemctl", "stop", "other")
    sandbox.must("systemctl", "reset-failed", UNIT)
    sandbox.must("systemctl", "start", UNIT)
    assert len(sandbox.events("daemon_started")) == 2


def test_a_member_of_the_group_may_use_the_daemon_and_others_are_told_why_not(sandbox: Sandbox) -> None:
    sandbox.must("systemctl", "start", UNIT)
    assert json.loads(sandbox.must("serviceoptctl", "status", "--json", user="alice"))["daemon"]["pid"]
    refused = sandbox.run("serviceoptctl", "status", user="mallory")
    assert refused.returncode == ExitCode.ENVIRONMENT
    assert "no permission" in refused.stderr
    assert "serviceopt" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_the_group_reads_the_journal_with_the_daemon_down(sandbox: Sandbox) -> None:
    sandbox.must("systemctl", "start", UNIT)
    submit(sandbox, stub_configuration(particles=1))
    sandbox.until(lambda: finished(sandbox), "the end of the run")
    for how in (("stop",), ("kill", "-s", "KILL")):
        sandbox.must("systemctl", *how, UNIT)
        if how[0] == "kill":
            sandbox.must("systemctl", "stop", UNIT)
        assert "not running" in sandbox.must("serviceoptctl", "status", user="alice")
        assert "run_finished" in sandbox.must("serviceoptctl", "events", "--json", user="alice")
        assert sandbox.must("serviceoptctl", "export", user="alice").startswith("generate_speed,")
        refused = sandbox.run("serviceoptctl", "status", user="mallory")
        assert refused.returncode == ExitCode.ENVIRONMENT, refused.stdout + refused.stderr
        assert "Traceback" not in refused.stderr
        sandbox.must("systemctl", "start", UNIT)


def test_a_configuration_that_root_drops_in_becomes_a_run(sandbox: Sandbox) -> None:
    sandbox.must("systemctl", "start", UNIT)
    text = 'engine = "vllm"\n' + stub_configuration(particles=1)
    sandbox.write("/etc/serviceoptd/runs.d/nightly.toml", text)
    sandbox.until(lambda: finished(sandbox), "the end of the run that was dropped in")
    assert sandbox.events("run_submitted")[0]["submitted_through"] == "drop-in"


def test_after_a_power_cut_the_enabled_unit_starts_and_the_run_goes_on(sandbox: Sandbox) -> None:
    sandbox.must("systemctl", "enable", "--now", UNIT)
    submit(sandbox, stub_configuration(particles=1, client=held(1)))
    sandbox.until(lambda: holds(sandbox, 1), "a measurement")
    cut = sandbox.control("crash")
    assert cut.returncode == 0, cut.stderr
    sandbox.until(lambda: finished(sandbox), "the end of the run")
    assert len(sandbox.events("daemon_started")) == 2
    assert sandbox.events("daemon_stopped") == []
    assert sandbox.events("run_finished")[0]["outcome"] == "completed"
    assert sandbox.processes_with_a_launch_id() == []
    sandbox.must("systemctl", "disable", UNIT)


def test_a_reboot_ends_the_daemon_in_order_and_the_run_goes_on(sandbox: Sandbox) -> None:
    sandbox.must("systemctl", "enable", "--now", UNIT)
    submit(sandbox, stub_configuration(particles=1, client=held(1)))
    sandbox.until(lambda: holds(sandbox, 1), "a measurement")
    restarted = sandbox.control("reboot")
    assert restarted.returncode == 0, restarted.stderr
    sandbox.until(lambda: finished(sandbox), "the end of the run")
    assert len(sandbox.events("daemon_started")) == 2
    assert [event["reason"] for event in sandbox.events("daemon_stopped")] == ["SIGTERM received"]
    assert sandbox.events("run_finished")[0]["outcome"] == "completed"
    assert sandbox.processes_with_a_launch_id() == []
    sandbox.must("systemctl", "disable", UNIT)


def test_a_start_on_a_full_disk_waits_beyond_the_timeout_and_begins_when_there_is_room(small_disk: Sandbox) -> None:
    sandbox = small_disk
    sandbox.write(f"/etc/systemd/system/{UNIT}.d/test.conf", "[Service]\nTimeoutStartSec=2\n")
    sandbox.must("systemctl", "daemon-reload")
    sandbox.must("sh", "-c", FILL)
    sandbox.must("systemctl", "start", "--no-block", UNIT)
    sandbox.until(lambda: waits_for_room(sandbox), "STATUS= with the reason")
    first = sandbox.show("MainPID")
    sandbox.must("sleep", "5")
    assert waits_for_room(sandbox)
    assert sandbox.show("MainPID", "NRestarts", "ActiveState") == {
        **first,
        "NRestarts": "0",
        "ActiveState": "activating",
    }
    sandbox.must("sh", "-c", f"rm {STATE}/ballast {STATE}/more")
    sandbox.until(lambda: sandbox.show("ActiveState")["ActiveState"] == "active", "the daemon")
    assert sandbox.show("MainPID", "NRestarts") == {**first, "NRestarts": "0"}
    assert len(sandbox.events("daemon_started")) == 1


def test_a_daemon_that_is_killed_on_a_full_disk_comes_back_when_there_is_room(small_disk: Sandbox) -> None:
    """Its log must be verified, and there is no room for anything."""
    sandbox = small_disk
    sandbox.must("systemctl", "start", UNIT)
    submit(sandbox, stub_configuration(particles=1, client=held(1)))
    sandbox.until(lambda: holds(sandbox, 1), "a measurement")
    before = sandbox.events()
    sandbox.must("sh", "-c", FILL)
    sandbox.must("systemctl", "kill", "--kill-whom=main", "-s", "KILL", UNIT)
    sandbox.until(lambda: waits_for_room(sandbox), "STATUS= with the reason")
    sandbox.must("sh", "-c", f"rm {STATE}/ballast {STATE}/more")
    sandbox.until(lambda: finished(sandbox), "the end of the run")
    assert sandbox.show("NRestarts") == {"NRestarts": "1"}
    assert sandbox.events()[: len(before)] == before
    assert sandbox.events("run_finished")[0]["outcome"] == "completed"
    assert sandbox.processes_with_a_launch_id() == []


def test_after_an_upgrade_the_journal_of_an_older_release_is_gone_on_with(sandbox: Sandbox) -> None:
    older = "/mnt/source/tests/replay/journals"
    for release in sandbox.must("ls", older).split():
        sandbox.must("systemctl", "stop", UNIT)
        sandbox.must("rm", "-rf", STATE)
        sandbox.must("install", "-d", "-o", "serviceopt", "-g", "serviceopt", "-m", "750", STATE)
        sandbox.must("sh", "-c", f"install -o serviceopt -g serviceopt -m 640 {older}/{release}/journal.* {STATE}")
        before = sandbox.events()
        assert before
        runs = sandbox.must("serviceoptctl", "runs", "--json")
        sandbox.must("systemctl", "start", UNIT)
        assert sandbox.events()[: len(before)] == before
        assert json.loads(sandbox.must("serviceoptctl", "runs", "--json")) == json.loads(runs)
        submit(sandbox, stub_configuration(particles=1))
        ended = len([event for event in before if event["type"] == "run_finished"])
        sandbox.until(lambda ended=ended: len(sandbox.events("run_finished")) > ended, "the end of a new run")
        assert sandbox.must("serviceoptctl", "journal", "verify")
