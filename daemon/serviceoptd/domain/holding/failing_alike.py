"""When a run that only fails is held: its failures have one reason, which the parameters have nothing to do with.

A search survives configurations that fail, and learns from them. A wrong model path, a device that somebody else uses or a
service that answers nothing fails every configuration alike, each after minutes, all night.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import SequenceMatcher

from serviceopt_journal.events import Configuration
from serviceoptd.domain.failures import (
    OF_THE_PARAMETERS,
    OF_THE_SURROUNDINGS,
    TOO_FEW_DEVICES,
    Failed,
    names_a_parameter,
    words,
)
from serviceoptd.domain.space.constraints import names_of, number
from serviceoptd.domain.space.space import Space

MANY_TIMES = 4
"""So many times as many alike are waited for where another configuration may well fare better."""
ALIKE = 0.8
"""From this share of common text on two reasons are one."""
_OF_DEVICES = re.compile(r"parallel|(?:^|_)(?:tp|pp|dp|cp|sp|ep)(?:_|$)")
"""Names of parameters that say how many devices a service takes; its log rarely names them."""


def failures_that_hold(
    failed: Sequence[Failed], succeeded: Sequence[Configuration], space: Space, hold_after: int
) -> list[Failed]:
    """The latest failures where they are enough to hold the run; else none. The arguments are those of `reason_to_hold`."""
    alike = _alike(failed)
    enough = hold_after * (MANY_TIMES if _may_depend(alike, succeeded, space) else 1)
    return alike if hold_after and len(alike) >= enough else []


def reason_to_hold(failed: Sequence[Failed], succeeded: Sequence[Configuration], space: Space, hold_after: int) -> str:
    """Why a run should not go on by itself; empty while it may.

    Args:
        failed: what failed since something was measured, the latest last.
        succeeded: configurations that were measured before.
        space: tells which parameters are searched.
        hold_after: so many alike are enough where the parameters have nothing to do with it; 0: never hold.
    """
    alike = failures_that_hold(failed, succeeded, space, hold_after)
    if not alike:
        return ""
    every = "every one so far" if len(alike) == len(failed) and not succeeded else "in a row"
    return (
        f"{len(alike)} launches or measurements ({every}) failed in the same way, whatever the parameters: "
        f"{alike[-1].reason} (fix the cause, then `serviceoptctl resume`; `cancel` gives the run up)"
    )


def _alike(failed: Sequence[Failed]) -> list[Failed]:
    """The latest ones that have one reason."""
    found: list[Failed] = []
    for each in reversed(failed):
        if found and not _same(each, found[0]):
            break
        found.append(each)
    return found[::-1]


def _same(one: Failed, other: Failed) -> bool:
    if one.cause != other.cause:
        return False
    if one.cause in OF_THE_PARAMETERS | OF_THE_SURROUNDINGS | {TOO_FEW_DEVICES}:
        return True
    return SequenceMatcher(None, words(one.reason), words(other.reason), autojunk=False).ratio() >= ALIKE


def _may_depend(alike: Sequence[Failed], succeeded: Sequence[Configuration], space: Space) -> bool:
    """Whether another configuration may well not fail so."""
    if not alike or alike[-1].cause in OF_THE_PARAMETERS:
        return True
    searched = [field for field in space.dimensions if not field.load]
    names = {name for field in searched for name in names_of(field)}
    if any(names_a_parameter(each.reason, names) for each in alike):
        return True
    if alike[-1].cause == TOO_FEW_DEVICES and any(map(_OF_DEVICES.search, names)):
        return True
    if alike[-1].cause in OF_THE_SURROUNDINGS or not succeeded:
        return False
    return any(_apart(field.name, alike, succeeded) for field in space.dimensions)


def _apart(name: str, failed: Sequence[Failed], succeeded: Sequence[Configuration]) -> bool:
    """Whether this parameter alone tells those that failed from those that did not."""
    bad = [each.configuration.get(name) for each in failed]
    good = [each.get(name) for each in succeeded]
    low, high = [number(value) for value in bad], [number(value) for value in good]
    if None in low or None in high:
        return not set(bad) & set(good)
    lows, highs = [v for v in low if v is not None], [v for v in high if v is not None]
    return min(lows) > max(highs) or max(lows) < min(highs)
