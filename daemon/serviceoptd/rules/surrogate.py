"""The rule `surrogate`: what the measurements of the run say is not worth one more of them.

Numerical libraries are imported when it first judges (`surrogate_verdict.py`), not when the installed rules are listed.
"""

from __future__ import annotations

from typing import ClassVar

from serviceopt_journal.events import Configuration
from serviceoptd.rules.interface import Facts, Kind, Rejection


class SurrogateRule:
    """`threshold` in `[search.options.surrogate]`: the probability below which a configuration is given up, 0.01."""

    name: ClassVar[str] = "surrogate"
    kind: ClassVar[Kind] = "measured"

    def judge(self, configuration: Configuration, facts: Facts) -> Rejection | None:
        """None while too little has been measured.

        Raises:
            InvalidConfiguration: the threshold is no probability.
        """
        from serviceoptd.rules.surrogate_verdict import verdict

        found: Rejection | None = verdict(configuration, facts, facts.options(self.name))
        return found
