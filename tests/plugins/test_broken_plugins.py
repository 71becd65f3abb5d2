"""Packages that cannot be used, or that want a name which is taken: named everywhere, and stopping nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from patience import HANG
from plugins.packages import a_package, with_path
from serviceopt_journal import events as e
from stubs.scenario import client, of_type, places, records, start, wait_for

RUN = 'engine = "simulated"\nn_particles = 2\niters = 1\n'


NAMELESS = """
class Nameless:
    name = "other"
class Walk:
    name = "walk"
    def ask(self, particle): ...
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    site = tmp_path / "site"
    a_package(site, "broken_one", {"engines": {"acme": "broken_one:Missing"}})
    groups = {"engines": {"nameless": "broken_two:Nameless"}, "strategies": {"walk": "broken_two:Walk"}}
    a_package(site, "broken_two", groups, NAMELESS)
    a_package(site, "broken_exit", {"benchmarks": {"bang": "broken_exit:Anything"}}, "import sys; sys.exit(3)")
    a_package(site, "broken_import", {"rules": {"never": "broken_import:Never"}}, "import no_such_module")
    reserved = "class Search:\n    name = 'search'\n    defaults = {}\n    from pydantic import BaseModel as section\n"
    a_package(site, "greedy", {"engines": {"vllm": "greedy:Vllm", "search": "greedy:Search"}}, reserved)
    return site


COMPLAINTS = (
    "engine `acme` cannot be loaded: AttributeError: module 'broken_one' has no attribute 'Missing'",
    (
        "engine `nameless` does not implement the engine interface: its name is 'other', "
        "`section` is not a pydantic model, `defaults` is not a table"
    ),
    (
        "engine `search` does not implement the engine interface: "
        "[search] is reserved by serviceopt, so a plugin cannot use it as its section"
    ),
    "benchmark `bang` cannot be loaded: SystemExit: 3",
    "strategy `walk` does not implement the strategy interface: `tell` is missing",
    "rule `never` cannot be loaded: ModuleNotFoundError: No module named 'no_such_module'",
    "engine `vllm` of greedy 1.0 is not used: the built-in one has the same name",
)


@pytest.fixture
def environment(tmp_path: Path, site: Path) -> dict[str, str]:
    return with_path(places(tmp_path), site)


@pytest.fixture
def configuration(tmp_path: Path) -> Path:
    path = tmp_path / "config.toml"
    path.write_text(RUN)
    return path


def test_check_names_each_of_them_and_succeeds(configuration: Path, environment: dict[str, str]) -> None:
    checked = client("check", "-c", str(configuration), environment=environment)
    assert checked.returncode == 0, checked.stderr
    assert [complaint for complaint in COMPLAINTS if complaint not in checked.stderr] == []


def test_doctor_names_each_of_them(configuration: Path, environment: dict[str, str]) -> None:
    looked = client("doctor", "-c", str(configuration), "--json", environment=environment)
    findings = json.loads(looked.stdout)["findings"]
    warned = [finding["message"] for finding in findings if finding["name"] == "plugin" and finding["level"] == "warn"]
    assert set(warned) == set(COMPLAINTS)


def test_a_run_beside_them_succeeds_and_repeats_the_warnings(
    tmp_path: Path, configuration: Path, environment: dict[str, str]
) -> None:
    ended = client("run", "--standalone", "-c", str(configuration), environment=environment, cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert [complaint for complaint in COMPLAINTS if complaint not in ended.stderr] == []


def test_the_daemon_logs_them_and_works(tmp_path: Path, configuration: Path, environment: dict[str, str]) -> None:
    log = tmp_path / "daemon.log"
    daemon = start("serviceoptd", "--config-dir", str(tmp_path / "none"), environment=environment, log=log)
    try:
        wait_for((tmp_path / "s").exists, "the socket")
        ended = client("run", "--watch", "-c", str(configuration), environment=environment, cwd=tmp_path)
        assert ended.returncode == 0, ended.stderr
    finally:
        daemon.terminate()
        daemon.wait(timeout=HANG)
    logged = log.read_text()
    assert [complaint for complaint in COMPLAINTS if complaint not in logged] == []
    (finished,) = of_type(records(tmp_path / "state"), e.RunFinished)
    assert finished.outcome == "completed"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('engine = "acme"\nbenchmark = "simulated"', "config.toml:1: engine: engine `acme` cannot be loaded"),
        ('engine = "simulated"\nbenchmark = "bang"', "config.toml:2: benchmark: benchmark `bang` cannot be loaded"),
        (
            '[search]\nstrategy = "walk"',
            "config.toml:2: search.strategy: strategy `walk` does not implement the strategy interface: `tell` is missing",
        ),
        ('[search]\nrules = ["never"]', "config.toml:2: search.rules[0]: rule `never` cannot be loaded"),
    ],
)
def test_one_that_is_chosen_is_an_error_with_its_line(
    text: str, told: str, configuration: Path, environment: dict[str, str]
) -> None:
    configuration.write_text(text)
    checked = client("check", "-c", str(configuration), environment=environment)
    assert checked.returncode == 3
    assert told in checked.stderr
    assert "Traceback" not in checked.stderr


FAILING = """
from pydantic import BaseModel
class Section(BaseModel):
    pass
class Failing:
    name = "failing"
    section = Section
    defaults = {"target_field": [{"name": "N", "dtype": "int", "min": 1, "max": 9}]}
    def __init__(self, options): pass
    def plan(self, order): raise KeyError("what")
    def problems(self, workplace, managed=True): return []
    def identity(self, workplace): return {}
    def kv_blocks(self, report): return None
    def devices(self, configuration, fields=()): return 1
class Client(Failing):
    name = "failing"
    defaults = {}
    def problems(self, workplace): return []
    def read(self, outcome): raise KeyError("what")
"""
ITS_GROUPS = {"engines": {"failing": "failing:Failing"}, "benchmarks": {"failing": "failing:Client"}}


def test_one_that_fails_when_it_is_asked_is_named_with_the_place(tmp_path: Path, configuration: Path) -> None:
    site = a_package(tmp_path / "site", "failing", ITS_GROUPS, FAILING)
    environment = with_path(places(tmp_path), site)
    configuration.write_text('engine = "failing"\n')
    for command in (["check", "--dry-run"], ["run", "--standalone"]):
        ended = client(*command, "-c", str(configuration), environment=environment, cwd=tmp_path)
        assert ended.returncode == 3, ended.stderr
        assert "engine `failing` failed: KeyError: 'what' (" in ended.stderr
        assert "failing.py:10)" in ended.stderr
        assert "Traceback" not in ended.stderr


def test_of_two_packages_the_first_by_name_counts_and_it_is_said(tmp_path: Path, configuration: Path) -> None:
    site = tmp_path / "site"
    for name in ("zebra", "ape"):
        groups = {"engines": {"failing": f"{name}:Failing"}, "benchmarks": {"failing": f"{name}:Client"}}
        a_package(site, name, groups, FAILING)
    environment = with_path(places(tmp_path), site)
    checked = client("check", "-c", str(configuration), environment=environment)
    assert "engine `failing` of zebra 1.0 is not used: the one of ape 1.0 has the same name" in checked.stderr
