"""Packages with entry points, made for a test: found by every Python that has their directory on its path."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from stubs.scenario import client, free_port, rows

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "plugin"


def installed_example(place: Path, *, rewritten: Callable[[str], str] | None = None) -> Path:
    """The example plugin, installed by pip into a directory of its own, without the network.

    `rewritten` gives the text of each of its modules, and of its tests, in place of the one that is there.
    """
    source, target = place / "source", place / "site"
    shutil.copytree(EXAMPLE, source, ignore=shutil.ignore_patterns("__pycache__", ".pytest_cache"))
    for path in source.rglob("*.py") if rewritten is not None else ():
        path.write_text(rewritten(path.read_text()))
    return installed(source, target)


def installed(source: Path, target: Path) -> Path:
    """What `pip install` makes of this folder, in a directory of its own, without the network."""
    options = ["--quiet", "--disable-pip-version-check", "--no-index", "--no-deps", "--no-build-isolation"]
    done = subprocess.run(
        [sys.executable, "-m", "pip", "install", *options, "--target", str(target), str(source)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return target


def echo_configuration(directory: Path) -> Path:
    """The example's echo.toml at a free port, with limits that a busy machine keeps: its load is measured in real time."""
    text = (EXAMPLE / "echo.toml").read_text()
    assert "ttft_slo = 1.0\n" in text
    path = directory / "echo.toml"
    path.write_text(text.replace("8123", str(free_port())).replace("ttft_slo = 1.0\n", "ttft_slo = 60.0\n"))
    return path


def measurements(environment: Mapping[str, str]) -> str:
    """What a run measured, a line for each configuration: for the message of a test whose run ended otherwise."""
    columns = "particle", "source", "time_to_first_token", "success_rate", "confirmations", "violated", "error"
    table = rows(client("export", environment=environment).stdout)
    return "\n".join(", ".join(f"{column} {row[column]}" for column in columns if row[column]) for row in table)


def a_package(site: Path, name: str, groups: Mapping[str, Mapping[str, str]], module: str = "") -> Path:
    """Writes a package with these entry points (group -> name -> value) and one module, `<name>.py`."""
    metadata = site / f"{name}-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    tables = (
        f"[serviceopt.{group}]\n" + "".join(f"{key} = {value}\n" for key, value in entries.items())
        for group, entries in groups.items()
    )
    (metadata / "entry_points.txt").write_text("\n".join(tables))
    (site / f"{name}.py").write_text(module)
    return site


def with_path(environment: Mapping[str, str], *sites: Path) -> dict[str, str]:
    """The environment of a program that finds what is installed there."""
    return {**environment, "PYTHONPATH": os.pathsep.join(map(str, sites))}
