"""A plugin written against the names of modules before they moved works for one release, and is told (docs/plugins.md)."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from plugins.packages import echo_configuration, installed_example, measurements, with_path
from serviceoptd.toolkit.earlier_names import MOVED
from stubs.scenario import assert_sound, client, places, records

PAGE = Path(__file__).parents[2] / "docs" / "plugins.md"
PRESENT = {present: earlier for earlier, present in MOVED.items()}
PRESENT["serviceoptd.toolkit.interface"] = "serviceoptd.engines.interface"
ITS_OWN = {"UnusableResult": "serviceoptd.benchmarks.interface"}


@pytest.mark.parametrize("earlier", sorted(MOVED))
def test_an_earlier_name_is_the_same_module_and_warns(earlier: str) -> None:
    sys.modules.pop(earlier, None)
    with pytest.warns(DeprecationWarning, match=f"{re.escape(earlier)} is {re.escape(MOVED[earlier])}"):
        found = import_module(earlier)
    assert found is import_module(MOVED[earlier])


def test_the_names_of_the_toolkit_are_still_offered_where_they_were() -> None:
    import serviceoptd.benchmarks.interface as of_clients
    import serviceoptd.engines.interface as of_engines
    from serviceoptd.domain import space as earlier_space
    from serviceoptd.domain.space import space
    from serviceoptd.toolkit import interface

    for name in ("Options", "ProcessOptions", "Workplace", "Command", "HttpProbe", "LogProbe", "MetricsPage"):
        assert getattr(of_engines, name) is getattr(interface, name)
    assert (of_engines.Problem, of_engines.render) == (interface.Problem, interface.render)
    assert of_clients.UnusableResult is interface.UnusableResult
    assert earlier_space.Space is space.Space


def test_the_page_lists_every_earlier_name() -> None:
    page = PAGE.read_text()
    assert [name for name in MOVED if f"`{name}`" not in page or f"`{MOVED[name]}`" not in page] == []


def test_a_plugin_that_uses_the_earlier_names_passes_its_tests_and_runs(tmp_path: Path) -> None:
    site = installed_example(tmp_path, rewritten=written_earlier)
    sources = "".join(path.read_text() for path in (site / "serviceopt_echo").glob("*.py"))
    assert "from serviceoptd.engines import arguments" in sources
    assert "serviceoptd.toolkit" not in sources
    environment = with_path(places(tmp_path), site)
    tests = str(site.parent / "source" / "tests")
    tested = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", "/dev/null", "--rootdir", tests, tests],
        env=environment, capture_output=True, text=True, check=False, cwd=tests,
    )  # fmt: skip
    assert tested.returncode == 0, tested.stdout + tested.stderr

    path = echo_configuration(tmp_path)
    ended = client("run", "--standalone", "-c", str(path), environment=environment, cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr + measurements(environment)
    assert_sound(records(tmp_path / "state"))


def written_earlier(source: str) -> str:
    """The text of a module as it was before the modules moved."""

    def earlier(match: re.Match[str]) -> str:
        package, names = match["package"], match["names"]
        lines = []
        for name in names.split(", "):
            whole = ITS_OWN.get(name) or PRESENT.get(package, package)
            module, _, its_name = PRESENT.get(f"{package}.{name}", f"{whole}.{name}").rpartition(".")
            lines.append(f"from {module} import {its_name}" + ("" if its_name == name else f" as {name}"))
        return "\n".join(lines)

    return re.sub(r"^from (?P<package>serviceoptd[\w.]*) import (?P<names>[\w, ]+)$", earlier, source, flags=re.M)
