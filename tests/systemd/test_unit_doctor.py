"""`serviceoptctl doctor --unit`: what the hardened unit cannot use is found by effect, and the printed drop-in mends it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sandboxed import UNIT, Sandbox, stub_configuration
from serviceopt_journal.errors import ExitCode

pytestmark = pytest.mark.systemd

DROP_INS = f"/etc/systemd/system/{UNIT}.d"


def examined(sandbox: Sandbox, *, model: str = "stub-model", user: str | None = None) -> dict[str, Any]:
    """What `doctor --unit` finds for a run of the stub engine with this model."""
    sandbox.write("/srv/config.toml", stub_configuration().replace('"stub-model"', f'"{model}"'))
    done = sandbox.run(
        "serviceoptctl", "doctor", "--unit", "-c", "/srv/config.toml", "-e", "vllm", "--json", cwd="/srv", user=user
    )
    document: dict[str, Any] = json.loads(done.stdout)
    assert document["exit_code"] == done.returncode
    return document


def failures(document: dict[str, Any]) -> dict[str, str]:
    """The failed findings: name -> message."""
    return {each["name"]: each["message"] for each in document["findings"] if each["level"] == "fail"}


def install_drop_ins(sandbox: Sandbox, text: str) -> None:
    """Does what the printed text says: each file at the path in its first line."""
    for part in text.split("# /etc/")[1:]:
        path, _, content = part.partition("\n")
        sandbox.write(f"/etc/{path}", content + "\n")
    sandbox.must("systemctl", "daemon-reload")


def a_model(sandbox: Sandbox, directory: str) -> None:
    sandbox.write(f"{directory}/config.json", "{}")
    sandbox.write(f"{directory}/model.safetensors", "weights")


def in_the_unit(sandbox: Sandbox, *command: str) -> int:
    """The exit status of a command in the running unit's own mount namespace, as its user."""
    pid = sandbox.show("MainPID")["MainPID"]
    entered = (
        "nsenter",
        "--target",
        pid,
        "--mount",
        "setpriv",
        "--reuid=serviceopt",
        "--regid=serviceopt",
        "--clear-groups",
    )
    return sandbox.run(*entered, *command).returncode


def test_an_engine_that_needs_nothing_special_passes(sandbox: Sandbox) -> None:
    document = examined(sandbox)
    assert failures(document) == {}
    assert document["exit_code"] == ExitCode.OK
    assert document["drop_ins"] == ""
    messages = [each["message"] for each in document["findings"] if each["name"] == "unit's user"]
    assert messages[0].startswith("serviceopt (uid ")


@pytest.mark.parametrize("home", ["/root", "/home/alice"])
def test_a_model_in_a_closed_home_fails_and_the_printed_drop_in_lets_the_unit_read_it(
    sandbox: Sandbox, home: str
) -> None:
    model = f"{home}/models/tiny"
    a_model(sandbox, model)
    sandbox.must("chmod", "700", home)
    before = examined(sandbox, model=model)
    assert before["exit_code"] == ExitCode.ENVIRONMENT
    assert failures(before) == {"unit reads": f"{model}: no such file or directory"}
    assert before["drop_ins"] == f"# {DROP_INS}/models.conf\n[Service]\nBindReadOnlyPaths={model}"

    sandbox.must("systemctl", "start", UNIT)
    assert in_the_unit(sandbox, "cat", f"{model}/model.safetensors") != 0
    install_drop_ins(sandbox, before["drop_ins"])
    assert failures(examined(sandbox, model=model)) == {}
    sandbox.must("systemctl", "restart", UNIT)
    assert in_the_unit(sandbox, "cat", f"{model}/model.safetensors") == 0
    assert in_the_unit(sandbox, "touch", f"{model}/written") != 0


def test_a_model_of_links_as_in_the_hugging_face_cache_is_shown_with_what_they_lead_to(sandbox: Sandbox) -> None:
    cache = "/home/alice/.cache/huggingface/hub/models--o--n"
    sandbox.write(f"{cache}/blobs/abc", "weights")
    sandbox.must("mkdir", "-p", f"{cache}/snapshots/main")
    sandbox.must("ln", "-s", "../../blobs/abc", f"{cache}/snapshots/main/model.safetensors")
    before = examined(sandbox, model=f"{cache}/snapshots/main")
    assert f"BindReadOnlyPaths={cache}/blobs" in before["drop_ins"]
    install_drop_ins(sandbox, before["drop_ins"])
    assert failures(examined(sandbox, model=f"{cache}/snapshots/main")) == {}
    sandbox.must("systemctl", "start", UNIT)
    assert in_the_unit(sandbox, "cat", f"{cache}/snapshots/main/model.safetensors") == 0


def test_a_model_that_permissions_forbid_is_told_apart_from_one_that_is_hidden(sandbox: Sandbox) -> None:
    a_model(sandbox, "/srv/models/secret")
    sandbox.must("chmod", "600", "/srv/models/secret/model.safetensors")
    document = examined(sandbox, model="/srv/models/secret")
    found = next(each for each in document["findings"] if each["name"] == "unit reads" and each["level"] == "fail")
    assert "permission denied" in found["message"]
    assert found["hint"] == "also allow the user: setfacl -R -m u:serviceopt:rX /srv/models/secret"
    assert document["drop_ins"] == ""
    sandbox.must("chmod", "644", "/srv/models/secret/model.safetensors")
    assert failures(examined(sandbox, model="/srv/models/secret")) == {}


def test_a_model_in_tmp_is_hidden_by_the_private_tmp_and_shown_by_the_drop_in(sandbox: Sandbox) -> None:
    a_model(sandbox, "/var/tmp/tiny")
    before = examined(sandbox, model="/var/tmp/tiny")
    assert "BindReadOnlyPaths=/var/tmp/tiny" in before["drop_ins"]
    install_drop_ins(sandbox, before["drop_ins"])
    assert failures(examined(sandbox, model="/var/tmp/tiny")) == {}


def test_a_device_that_the_unit_may_not_open_gets_a_drop_in_with_its_group(sandbox: Sandbox) -> None:
    sandbox.must("mknod", "/dev/nvidiactl", "c", "195", "255")
    sandbox.must("groupadd", "--force", "accelerator")
    sandbox.must("chgrp", "accelerator", "/dev/nvidiactl")
    sandbox.must("chmod", "660", "/dev/nvidiactl")
    try:
        before = examined(sandbox)
        assert set(failures(before)) == {"unit's device"}
        assert "DeviceAllow=/dev/nvidiactl rw" in before["drop_ins"]
        assert "SupplementaryGroups=accelerator" in before["drop_ins"]
        assert before["drop_ins"].count("SystemCallFilter=pidfd_getfd") == 1
        install_drop_ins(sandbox, before["drop_ins"])
        assert failures(examined(sandbox)) == {}
    finally:
        sandbox.must("rm", "/dev/nvidiactl")


def test_a_program_in_a_virtual_environment_under_a_home_is_shown_with_the_whole_environment(sandbox: Sandbox) -> None:
    venv = "/home/alice/venv"
    sandbox.write(f"{venv}/pyvenv.cfg", "home = /usr/bin\n")
    sandbox.must("mkdir", "-p", f"{venv}/bin")
    sandbox.must("cp", "-r", "/mnt/stubs/.", f"{venv}/bin")
    sandbox.write("/srv/config.toml", stub_configuration().replace("/mnt/stubs/vllm", f"{venv}/bin/vllm"))
    command = ("serviceoptctl", "doctor", "--unit", "-c", "/srv/config.toml", "-e", "vllm", "--json")
    before = json.loads(sandbox.run(*command, cwd="/srv").stdout)
    assert f"BindReadOnlyPaths={venv}\n" in before["drop_ins"] + "\n"
    install_drop_ins(sandbox, before["drop_ins"])
    assert failures(json.loads(sandbox.run(*command, cwd="/srv").stdout)) == {}


def test_an_ordinary_user_is_told_that_only_root_can_look_from_inside(sandbox: Sandbox) -> None:
    sandbox.must("systemctl", "start", UNIT)
    document = examined(sandbox, user="alice")
    assert failures(document) == {"unit's sandbox": "only root can look from inside it"}


def test_looking_does_not_touch_the_running_daemon(sandbox: Sandbox) -> None:
    sandbox.must("systemctl", "start", UNIT)
    before = sandbox.show("MainPID", "ActiveEnterTimestampMonotonic")
    socket = sandbox.must("stat", "-c", "%i", "/run/serviceoptd/serviceoptd.sock")
    examined(sandbox)
    assert sandbox.show("MainPID", "ActiveEnterTimestampMonotonic") == before
    assert sandbox.must("stat", "-c", "%i", "/run/serviceoptd/serviceoptd.sock") == socket


def test_a_missing_unit_is_told_with_what_to_do(sandbox: Sandbox) -> None:
    sandbox.must("mv", f"/etc/systemd/system/{UNIT}", "/srv/aside")
    sandbox.must("systemctl", "daemon-reload")
    try:
        document = examined(sandbox)
        assert failures(document) == {"unit": f"{UNIT} is not installed (not-found)"}
    finally:
        sandbox.must("mv", "/srv/aside", f"/etc/systemd/system/{UNIT}")
        sandbox.must("systemctl", "daemon-reload")
