"""The rule `simulated`: what a simulator that has been right in this run says is not worth an evaluation.

It needs `[search] simulation`. Numerical libraries are imported when it first judges, not when the rules are listed.
"""

from __future__ import annotations

from typing import ClassVar

from serviceopt_journal.events import Configuration
from serviceoptd.rules.interface import Facts, Kind, Rejection


class SimulatedRule:
    """`threshold` in `[search.options.simulated]`: the probability below which a configuration is given up, 0.01."""

    name: ClassVar[str] = "simulated"
    kind: ClassVar[Kind] = "simulated"

    def judge(self, configuration: Configuration, facts: Facts) -> Rejection | None:
        """None without a simulator, and while it has not been right often enough.

        Raises:
            InvalidConfiguration: the threshold is no probability.
            EnvironmentLacks: the simulator's files cannot be read any more, or have changed.
        """
        from serviceoptd.rules.simulated_verdict import verdict

        found: Rejection | None = verdict(configuration, facts, facts.options(self.name))
        return found
