"""Programs that run with a library of ours before all others (LD_PRELOAD), which makes their disk or their clock fail."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

DISK_SHIM = Path(__file__).with_name("disk_shim.c")


def compiled(source: Path, directory: Path) -> Path | None:
    """The library, compiled into `directory`; None where there is no C compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        return None
    library = directory / f"{source.stem}.so"
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True, capture_output=True
    )
    return library


def preloaded(*command: str | Path) -> subprocess.CompletedProcess[str] | None:
    """Runs a program of this folder with the disk shim; None where there is no C compiler."""
    with tempfile.TemporaryDirectory(prefix="serviceopt-shim-") as directory:
        library = compiled(DISK_SHIM, Path(directory))
        if library is None:
            return None
        environment = {**os.environ, "LD_PRELOAD": str(library)}
        return subprocess.run([sys.executable, *command], env=environment, capture_output=True, text=True, check=False)


def only_with_the_disk_shim() -> None:
    """Returns at once to a program that runs with it; another one is run anew with it, and ends as that one ended."""
    if DISK_SHIM.stem in os.environ.get("LD_PRELOAD", ""):
        return
    again = preloaded(*sys.argv)
    if again is None:
        sys.exit("there is no C compiler here")
    print(again.stdout, again.stderr, sep="", end="")
    sys.exit(again.returncode)
