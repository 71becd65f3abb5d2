"""Where the real engines are. They are installed by install_real_engines.sh, which `make test-real` runs first."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from real.measuring import Machine
from real.measuring import machine as known_or_measured
from real.sizes import Shape, Sizes, sizes

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


@dataclass(frozen=True)
class Sized:
    """What is served here, and each test's share of the time."""

    sizes: Sizes

    @property
    def dtype(self) -> str:
        return self.sizes.dtype

    @property
    def model(self) -> str:
        return self.sizes.model

    def shape(self, name: str) -> Shape:
        """The work of this test; where there is no time for it the test is skipped, and says so."""
        if name in self.sizes.left_out:
            pytest.skip(self.sizes.left_out[name])
        return self.sizes.shapes[name]


@pytest.fixture(scope="session")
def machine(real_engines: Path, tmp_path_factory: pytest.TempPathFactory) -> Machine:
    return known_or_measured(real_engines, tmp_path_factory.mktemp("calibration"))


@pytest.fixture(scope="session")
def sized(machine: Machine) -> Sized:
    found = sizes(machine.flags, machine.speed)
    print(f"sized for {machine.speed}, {found.dtype}: {found.shapes}, left out: {found.left_out}")
    return Sized(found)
