"""docs/add-an-engine.md, step by step as it stands: from an empty folder to a finished run of a new engine."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from plugins.packages import installed, measurements, with_path
from serviceopt_journal import events as e
from stubs.scenario import STUB, assert_sound, client, free_port, of_type, places, records

PAGE = Path(__file__).parents[2] / "docs" / "add-an-engine.md"
EXAMPLE = PAGE.parent / "examples" / "lmdeploy"
BLOCK = re.compile(r"^```\w+\n(?P<file>.*?)^```$|^(?P<commands>(?: {4}[^\n]+\n)+)", re.MULTILINE | re.DOTALL)


def files_of_the_page() -> dict[str, str]:
    """The files that it shows, each named in the text before it."""
    text, found = PAGE.read_text(), {}
    for block in BLOCK.finditer(text):
        if block["file"] is not None:
            named = re.findall(r"`(\w+\.\w+)`", BLOCK.sub("", text[: block.start()]))
            found[next(name for name in reversed(named) if (EXAMPLE / name).exists())] = block["file"]
    return found


def commands_of_the_page() -> list[list[str]]:
    blocks = [block["commands"] for block in BLOCK.finditer(PAGE.read_text()) if block["commands"]]
    return [line.split() for block in blocks for line in block.splitlines()]


def test_the_page_shows_the_files_of_the_example() -> None:
    assert files_of_the_page() == {path.name: path.read_text() for path in EXAMPLE.iterdir() if path.is_file()}


def test_the_engine_takes_about_fifty_lines() -> None:
    lines = (EXAMPLE / "serviceopt_lmdeploy.py").read_text().splitlines()
    assert sum(bool(line.strip()) for line in lines) <= 50


def at_a_free_port(configuration: str) -> str:
    port = f"port = {free_port()}"
    command = "[lmdeploy.command]\n"
    return configuration.replace("port = 23333", port).replace(command, f"{command}{port}\n")


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    found = with_path(places(tmp_path), tmp_path / "site")
    return {**found, "PATH": f"{STUB.parent}{os.pathsep}{found['PATH']}"}


def test_its_steps_lead_to_a_finished_run(tmp_path: Path, environment: dict[str, str]) -> None:
    place, done = tmp_path, set()
    for command in commands_of_the_page():
        match command:
            case ["export", path]:
                assert path.startswith("PATH=")
                assert path.endswith("/tests/stubs:$PATH")
            case ["mkdir", name]:
                (place / name).mkdir()
            case ["cd", name]:
                place = place / name
                for file, text in files_of_the_page().items():
                    (place / file).write_text(at_a_free_port(text) if file == "lmdeploy.toml" else text)
            case ["pip", "install", "-e", "."]:
                installed(place, tmp_path / "site")
            case ["pytest", *arguments]:
                python = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-c", "/dev/null", *arguments]
                ran = subprocess.run(python, env=environment, cwd=place, capture_output=True, text=True, check=False)
                assert ran.returncode == 0, ran.stdout + ran.stderr
                assert int(ran.stdout.split(" passed")[0].split()[-1]) > 10
            case ["serviceoptctl", *arguments]:
                ended = client(*arguments, environment=environment, cwd=place)
                assert ended.returncode == 0, ended.stderr + measurements(environment)
                done.add(arguments[0])
            case _:
                pytest.fail(f"the page has a step that this test does not know: {command}")
    assert done == {"check", "run", "best"}
    recorded = records(tmp_path / "state")
    assert_sound(recorded)
    (finished,) = of_type(recorded, e.RunFinished)
    assert finished.outcome == "completed"
    assert not of_type(recorded, e.ServiceFailed), "the stand-in refused an argument"
    launched = Path(of_type(recorded, e.ServiceLaunching)[0].log).read_text()
    assert '"--max-batch-size", "128", "--cache-max-entry-count", "0.8", "--enable-metrics"' in launched
