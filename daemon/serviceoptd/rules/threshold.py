"""The option `threshold` of rules that judge by a probability."""

from __future__ import annotations

from collections.abc import Mapping

from serviceopt_journal.errors import InvalidConfiguration


def threshold(options: Mapping[str, object], rule: str, usual: float) -> float:
    """The probability below which a configuration is given up; `usual` where it is not given.

    Raises:
        InvalidConfiguration: it is no probability.
    """
    given = options.get("threshold", usual)
    if isinstance(given, bool) or not isinstance(given, int | float) or not 0 < given < 1:
        raise InvalidConfiguration(
            f"threshold {given!r} of the rule {rule} is no probability",
            hint=f"give [search.options.{rule}] threshold a number above 0 and below 1, such as {usual:g}",
        )
    return float(given)
