"""Packages with entry points, made for a test: found by every Python that has their directory on its path."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

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
