"""How a client's numbers relate to what the service counted of the same requests."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from serviceopt_journal.metric_table import MetricName, RateName
from serviceopt_journal.metrics import Metrics


@dataclass(frozen=True)
class Agreement:
    """Ratios client / service in the complete measurements of a run.

    A client also sees the network and may itself be late to read: its TTFT is longer than the service's, its TPOT may
    even be shorter. Where there is no measurement that has both numbers, nothing is known: NaN.
    """

    pairs: tuple[tuple[Metrics, Metrics], ...]  # (client's, service's)

    def latency(self, metric: MetricName) -> Ratios:
        """The ratios of the mean latency, client / service."""
        both = [(getattr(c, metric).get("mean"), getattr(s, metric).get("mean")) for c, s in self.pairs]
        return Ratios([theirs / own for theirs, own in both if theirs is not None and own])

    def failures(self) -> Ratios:
        """The ratios of the number of failed requests. A client that sends them again reports fewer."""
        return Ratios([client.failed / service.failed for client, service in self.pairs if service.failed])

    def rate(self, name: RateName) -> Ratios:
        """The ratios of a throughput, client / service."""
        return Ratios([getattr(c, name) / getattr(s, name) for c, s in self.pairs if getattr(s, name)])


@dataclass(frozen=True)
class Ratios:
    """The ratios of one number, one for each measurement that has both sides."""

    values: Sequence[float]

    @property
    def least(self) -> float:
        """A factor of 1 or less that makes a lower bound of the client's number out of one of the service's."""
        return min(1.0, *self.values) if self.values else math.nan

    @property
    def greatest(self) -> float:
        """A factor of 1 or more that makes an upper bound of the client's number out of one of the service's."""
        return max(1.0, *self.values) if self.values else math.nan

    @property
    def middle(self) -> float:
        """Turns the service's number into what the client would say."""
        return (min(self.values) + max(self.values)) / 2 if self.values else math.nan

    @property
    def spread(self) -> float:
        """Half of their range, relative: how far that may be wrong. Infinite where nothing is known."""
        return (max(self.values) - min(self.values)) / 2 / self.middle if self.values else math.inf
