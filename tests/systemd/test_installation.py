"""The unit's files: valid, hardened, installed by the documented recipe, and gone after `make uninstall`."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from sandboxed import Sandbox, install
from serviceopt_journal.errors import ExitCode

ROOT = Path(__file__).parents[2]
UNIT_FILE = ROOT / "systemd" / "serviceoptd.service"

EXPOSURE_LIMIT = 20  # tenths: `systemd-analyze security` gives 1.9; each line that stays off is explained in the unit


def _settings() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in UNIT_FILE.read_text().splitlines():
        if "=" in line and not line.startswith(("#", "[")):
            name, _, value = line.partition("=")
            found.setdefault(name, []).append(value)
    return found


def test_the_exit_codes_that_a_restart_cannot_cure_are_those_of_the_program() -> None:
    prevented = {int(code) for code in _settings()["RestartPreventExitStatus"][0].split()}
    assert prevented == {
        ExitCode.USAGE,
        ExitCode.CONFIGURATION,
        ExitCode.JOURNAL_DAMAGED,
        ExitCode.JOURNAL_LOCKED,
        ExitCode.JOURNAL_FUTURE,
    }


def test_what_engines_need_stays_off_and_is_said() -> None:
    settings = _settings()
    for name, value in {
        "PrivateDevices": "no",
        "MemoryDenyWriteExecute": "no",
        "ProtectControlGroups": "no",
        "ProcSubset": "all",
        "PrivateUsers": "no",
    }.items():
        assert settings[name] == [value]
    assert not any("@resources" in value for value in settings["SystemCallFilter"])


def test_every_line_of_the_hardening_has_its_reason_above_it() -> None:
    hardening = UNIT_FILE.read_text().partition("# ---- Hardening: ")[2].partition("[Install]")[0]
    commented = False
    for line in hardening.splitlines()[1:]:
        if not line or line.startswith("#"):
            commented = bool(line)
        else:
            assert commented, f"{line} stands without a reason"


def test_every_drop_in_is_documented_and_every_documented_one_is_shipped() -> None:
    shipped = {path.name for path in (ROOT / "systemd" / "drop-ins").iterdir()}
    documented = set(
        re.findall(r"(?m)^\| [^|]+ \| `([a-z-]+\.conf)` \|", (ROOT / "docs" / "operations.md").read_text())
    )
    assert shipped == documented


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze here")
def test_the_unit_is_well_hardened() -> None:
    command = ["systemd-analyze", "security", "--offline=true", f"--threshold={EXPOSURE_LIMIT}", str(UNIT_FILE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-300:] + done.stderr


@pytest.mark.systemd
def test_systemd_finds_nothing_wrong_with_the_installed_unit_and_its_drop_ins(sandbox: Sandbox) -> None:
    assert "serviceoptd" not in sandbox.run("systemd-analyze", "verify", "serviceoptd.service").stderr
    assert "pidfd_getfd" not in sandbox.must("systemctl", "show", "serviceoptd", "--property=SystemCallFilter")
    assert "Overall exposure level for serviceoptd.service: 1.9" in sandbox.must(
        "systemd-analyze", "security", "serviceoptd"
    )
    sandbox.must("groupadd", "--force", "HwHiAiUser")
    for drop_in in sorted((ROOT / "systemd" / "drop-ins").glob("*.conf")):
        sandbox.write(f"/etc/systemd/system/serviceoptd.service.d/{drop_in.name}", drop_in.read_text())
    sandbox.must("systemctl", "daemon-reload")
    allowed = sandbox.must("systemctl", "show", "serviceoptd", "--property=SystemCallFilter").split()
    assert {"pidfd_getfd", "openat"} <= set(allowed)
    verified = sandbox.run("systemd-analyze", "verify", "serviceoptd.service")
    assert "serviceoptd" not in verified.stderr, verified.stderr
    shown = sandbox.show("BindReadOnlyPaths", "ReadWritePaths", "DeviceAllow", "SupplementaryGroups")
    assert "/home/alice/models/llama" in shown["BindReadOnlyPaths"]
    assert "mindie-service/conf" in shown["ReadWritePaths"]
    assert "HwHiAiUser" in shown["SupplementaryGroups"]
    assert "davinci0" in sandbox.must("systemctl", "show", "serviceoptd", "--property=DeviceAllow")


@pytest.mark.systemd
def test_the_installation_belongs_to_root_and_is_readable_for_the_service(sandbox: Sandbox) -> None:
    owned = sandbox.must("stat", "-c", "%U %a", "/opt/serviceopt", "/etc/systemd/system/serviceoptd.service")
    assert owned.split("\n")[:2] == ["root 755", "root 644"]
    assert sandbox.must("stat", "-c", "%G %a", "/etc/serviceoptd/runs.d").strip() == "serviceopt 750"
    assert sandbox.must("serviceoptctl", "--version", user="mallory").startswith("serviceoptctl")


@pytest.mark.systemd
def test_installing_again_is_an_upgrade_and_uninstalling_keeps_the_state(sandbox: Sandbox) -> None:
    sandbox.must("mkdir", "-p", "/var/lib/serviceoptd")
    sandbox.write("/var/lib/serviceoptd/kept", "as it is")
    assert "Installed" in install(sandbox)
    sandbox.must("cp", "-a", "/opt/serviceopt", "/opt/copy")
    uninstall = ("make", "--no-print-directory", "-C", "/mnt/source", "uninstall")
    assert "Kept: /var/lib/serviceoptd" in sandbox.must(*uninstall)
    for gone in ("/opt/serviceopt", "/etc/systemd/system/serviceoptd.service", "/usr/local/bin/serviceoptctl"):
        assert sandbox.run("test", "-e", gone).returncode != 0, gone
    assert sandbox.must("cat", "/var/lib/serviceoptd/kept") == "as it is"
    refused = sandbox.run(*uninstall)
    assert refused.returncode != 0
    assert "no installation of serviceopt" in refused.stderr
    sandbox.must("mv", "/opt/copy", "/opt/serviceopt")
    sandbox.must(*uninstall, "PURGE=yes")
    assert sandbox.run("test", "-e", "/var/lib/serviceoptd").returncode != 0
    install(sandbox)


@pytest.mark.systemd
@pytest.mark.parametrize("prefix", ["/root/serviceopt", "/home/serviceopt", "relative/place", "/usr"])
def test_a_prefix_that_the_unit_cannot_see_is_refused(sandbox: Sandbox, prefix: str) -> None:
    refused = sandbox.run("make", "-C", "/mnt/source", "install", f"PREFIX={prefix}")
    assert refused.returncode != 0
    assert "PREFIX" in refused.stderr
