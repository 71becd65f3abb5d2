"""Where the real engines are. They are installed by install_real_engines.sh, which `make test-real` runs first."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

PLACE = "SERVICEOPT_REAL_ENGINES"
USUAL = "serviceopt/real-engines"


@pytest.fixture(scope="session")
def real_engines() -> Path:
    """The directory that holds `vllm/` and the models; without it the test is skipped, and says why."""
    caches = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    directory = Path(os.environ.get(PLACE) or caches / USUAL)
    program, model = directory / "vllm/bin/vllm", directory / "model-88m/model.safetensors"
    for needed in (program, model):
        if not needed.exists():
            pytest.skip(f"{needed} is not there: run tests/real/install_real_engines.sh DIRECTORY and set {PLACE}")
    return directory
