"""A strategy for benches that proposes given configurations in their order, whatever was measured."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import ClassVar

from serviceopt_journal.events import Configuration
from serviceoptd.search.interface import Problem, Proposal, Trial


class Listed:
    """Proposes `points`, which the bench sets."""

    name: ClassVar[str] = "listed"
    points: ClassVar[tuple[Configuration, ...]] = ()

    def __init__(self, problem: Problem) -> None:
        self._space = problem.space

    def tell(self, trial: Trial) -> None:
        """Nothing is learnt."""

    def ask(self, particle: int) -> Proposal | None:
        """The point of that number; None after the last."""
        if particle > len(self.points):
            return None
        configuration = self._space.repair(self.points[particle - 1])
        position = self._space.encode(configuration)
        return Proposal(
            particle=particle, slot=0, iteration=particle - 1, position=position, velocity=(0.0,) * len(position),
            configuration=configuration, origin="listed",
        )  # fmt: skip


def install(directory: Path) -> None:
    """Makes `listed` a strategy of this process, as an installed plugin is one. `directory`: for its metadata."""
    package = directory / "plugin/serviceopt_listed-1.dist-info"
    package.mkdir(parents=True)
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: serviceopt-listed\nVersion: 1\n")
    (package / "entry_points.txt").write_text(f"[serviceopt.strategies]\nlisted = {__name__}:{Listed.__name__}\n")
    sys.path.append(str(package.parent))
