"""What linters hold: each kind of dangerous call is refused, every exception has its reason, what is known is asked."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from security.audit import told

ROOT = Path(__file__).parent.parent.parent
PACKAGES = ("journal/serviceopt_journal", "daemon/serviceoptd", "ctl/serviceoptctl")
DANGEROUS = {
    "a shell": ("import subprocess\n\nsubprocess.run('ls ' + input(), shell=True, check=True)\n", "S602"),
    "a program by words": ("import subprocess\n\nsubprocess.run([input()], check=True)\n", "S603"),
    "os.system": ("import os\n\nos.system(input())\n", "S605"),
    "eval": ("print(eval(input()))\n", "S307"),
    "exec": ("exec(input())\n", "S102"),
    "pickle": ("import pickle\n\nprint(pickle.loads(input().encode()))\n", "S301"),
    "marshal": ("import marshal\n\nprint(marshal.loads(input().encode()))\n", "S302"),
    "YAML that makes objects": ("import yaml\n\nprint(yaml.load(input(), Loader=yaml.Loader))\n", "S506"),
    "XML with entities": ("from xml.etree import ElementTree\n\nprint(ElementTree.fromstring(input()))\n", "S314"),
    "an archive as it comes": ("import tarfile\n\ntarfile.open(input()).extractall()\n", "S202"),
    "SQL put together": ("import sqlite3\n\nsqlite3.connect('x').execute(f'SELECT {input()} FROM t')\n", "S608"),
    "a socket for everybody": ("import socket\n\nsocket.socket().bind(('0.0.0.0', 1))\n", "S104"),
    "a file for everybody": ("import os\n\nos.chmod('x', 0o777)\n", "S103"),
    "a name in /tmp": ("open('/tmp/x', 'w').close()\n", "S108"),
    "an error passed over": ("try:\n    print(1)\nexcept Exception:\n    pass\n", "S110"),
}
EXCEPTION = re.compile(r"# noqa: (?P<rules>[A-Z0-9, ]*\bS\d{3}\b[A-Z0-9, ]*)(?P<reason>.*)")


@pytest.mark.parametrize("package", PACKAGES)
@pytest.mark.parametrize("what", DANGEROUS)
def test_a_dangerous_call_is_refused(what: str, package: str) -> None:
    if find_spec("ruff") is None:
        pytest.skip("there is no ruff here")
    source, rule = DANGEROUS[what]
    command = [sys.executable, "-m", "ruff", "check", "--output-format", "concise"]
    command += ["--stdin-filename", f"{package}/planted.py", "-"]
    done = subprocess.run(command, input=source, cwd=ROOT, capture_output=True, text=True, check=False)
    assert f" {rule} " in done.stdout, done.stderr


def test_text_that_is_shown_in_another_order_than_it_is_read_is_refused(tmp_path: Path) -> None:
    if find_spec("bandit") is None:
        pytest.skip("there is no bandit here")
    planted = tmp_path / "planted.py"
    planted.write_text('allowed = "user\u202e"\n')
    command = [sys.executable, "-m", "bandit", "--quiet", "--configfile", ROOT / "pyproject.toml", planted]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, "B613" in done.stdout) == (1, True), done.stderr


def test_every_exception_from_these_rules_has_its_reason() -> None:
    without = [
        f"{path.relative_to(ROOT)}:{number}"
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if (found := EXCEPTION.search(line)) and len(found["reason"].strip(" -()")) < 8
    ]
    assert without == []


def package(name: str, *vulnerabilities: str) -> dict[str, object]:
    return {
        "name": name,
        "version": "1.0",
        "vulns": [{"id": each, "fix_versions": ["1.1"]} for each in vulnerabilities],
    }


def test_what_is_known_is_told_and_ends_with_a_failure() -> None:
    lines, status = told({"dependencies": [package("a", "PYSEC-1"), package("b")]})
    assert (lines[0], status) == ("a 1.0: PYSEC-1, fixed in 1.1", 1)


def test_nothing_known_is_said_only_of_what_could_be_asked() -> None:
    missing = {"name": "c", "skip_reason": "Dependency not found on PyPI and could not be audited: c (1.0)"}
    assert told({"dependencies": [missing]}) == (
        ["skipped: the package index here knows nothing of vulnerabilities"],
        0,
    )
    (line,), status = told({"dependencies": [package("a"), missing]})
    assert (line, status) == ("1 packages asked about, 0 vulnerabilities known; of 1 nothing could be had: c", 0)
