"""What a simulator is to a search that measures for real: it says what it expects of a configuration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from serviceopt_journal.events import Configuration
from serviceopt_journal.metrics import Metrics
from serviceoptd.domain.settings import Slo


@dataclass(frozen=True)
class Simulated:
    """What a simulator says of one configuration. `metrics` None: nothing."""

    metrics: Metrics | None
    beyond: float = 0.0  # share of the engine's time in batches that the model was not trained on
    remark: str = ""  # the same in words; empty where it is 0


class Simulator(Protocol):
    """Gives the same answer to the same question. The first one takes some hundredths of a second."""

    def __call__(self, configuration: Configuration, slos: Sequence[Slo]) -> Simulated:
        """What a benchmark of this configuration would report; `slos` decide the goodput."""
