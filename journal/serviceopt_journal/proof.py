"""How sure a recommendation is. Lives here because an event carries it; every other room imports it from here."""

from __future__ import annotations

import msgspec

Interval = tuple[float, float]
"""Lower and upper end."""


class SloProof(msgspec.Struct, frozen=True, kw_only=True):
    """What the confirmations tell of one SLO."""

    slo: str  # in words, such as `mean TTFT <= 1 s`
    limit: float  # seconds
    estimate: float  # seconds
    probability: float  # that the true value is within the limit, 0..1
    requests: int | None = None  # of a percentile: single ones of its confirmations; None: they are not known
    above: int = 0  # how many of these were above the limit


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """What the confirmations tell of the recommended configuration: nothing here rests on a measurement of the search."""

    confidence: float  # of the intervals, and the probability of meeting every SLO from which it is declared feasible
    estimate: float  # of what is maximised, in its unit
    interval: Interval | None = None  # of it; None: too few measurements to know the noise
    noise: float | None = None  # standard deviation of the logarithm of one measurement, pooled
    slos: tuple[SloProof, ...] = ()
    success_rate: float  # of all requests of its confirmations, 0..1
    gain: float | None = None  # over the current setting, as a fraction; None: that was not confirmed, or this is it
    gain_interval: Interval | None = None
    measurements: int  # confirmations of this configuration
    total: int  # confirmations of all finalists
    finalists: tuple[int, ...]  # particles that were confirmed, this one included
    told_apart: bool  # whether it is better than every other finalist that meets the SLOs, at that confidence
    unsure: tuple[int, ...] = ()  # finalists that were faster, and are not sure enough to keep the SLOs
    binding: str = ""  # where it is not declared feasible: the condition that is least sure to be met, in words

    @property
    def required(self) -> float:
        """The probability of keeping every SLO from which a configuration is declared feasible.

        More than `confidence` where there are several finalists: the error is shared among them, since one of several
        passes more easily.
        """
        return 1 - (1 - self.confidence) / max(len(self.finalists), 1)

    @property
    def together(self) -> float:
        """The least probability that every SLO is kept (Bonferroni): what `required` is compared with."""
        return max(0.0, 1 - sum(1 - slo.probability for slo in self.slos))
