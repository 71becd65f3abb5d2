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

MANY_TIMES, A_FEW_TIMES = 4, 2
"""So many times as many are waited for where another configuration may well fare better: where the reason says so, or there
are several; and where that merely seems so, by one parameter or because two reasons take turns."""
ALIKE = 0.8
"""From this share of common text on two reasons are one."""
_OF_DEVICES = re.compile(r"parallel|(?:^|_)(?:tp|pp|dp|cp|sp|ep)(?:_|$)")
"""Names of parameters that say how many devices a service takes; its log rarely names them."""


def failures_that_hold(
    failed: Sequence[Failed], succeeded: Sequence[Configuration], space: Space, hold_after: int
) -> list[Failed]:
    """The failures that hold the run, where they are enough; else none. The arguments are those of `reason_to_hold`.

    The latest that are alike; or those like the latest, among others, where that happens again and again; or all of them,
    whatever their reasons, where they are very many.
    """
    if not hold_after or not failed:
        return []
    alike = _alike(failed)
    times = _times_as_many(alike, succeeded, space)
    if len(alike) >= hold_after * times:
        return alike
    recurring = [each for each in failed if _same(each, failed[-1])]
    many = len(failed) >= hold_after * A_FEW_TIMES
    if many and len(recurring) >= hold_after and _times_as_many(recurring, succeeded, space) == 1:
        return recurring
    return list(failed) if len(failed) >= hold_after * MANY_TIMES else []


def reason_to_hold(failed: Sequence[Failed], succeeded: Sequence[Configuration], space: Space, hold_after: int) -> str:
    """Why a run should not go on by itself; empty while it may.

    Args:
        failed: what failed since something was measured, the latest last.
        succeeded: configurations that were measured before.
        space: tells which parameters are searched.
        hold_after: so many alike are enough where the parameters have nothing to do with it; 0: never hold.
    """
    held = failures_that_hold(failed, succeeded, space, hold_after)
    if not held:
        return ""
    every = "every one so far" if len(held) == len(failed) and not succeeded else "in a row"
    every = every if len(held) == len(failed) or held == list(failed[-len(held) :]) else f"of the last {len(failed)}"
    latest, *others = _told_apart(held)
    before = f"; before that: {'; '.join(each.reason for each in others)}" if others else ""
    alike = "failed, none was measured between them" if others else "failed in the same way, whatever the parameters"
    return (
        f"{len(held)} launches or measurements ({every}) {alike}: "
        f"{latest.reason}{before} (fix the cause, then `serviceoptctl resume`; `cancel` gives the run up)"
    )


def _told_apart(failed: Sequence[Failed]) -> list[Failed]:
    """One of each reason, the latest first."""
    found: list[Failed] = []
    for each in reversed(failed):
        if not any(_same(each, known) for known in found):
            found.append(each)
    return found


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


def _times_as_many(alike: Sequence[Failed], succeeded: Sequence[Configuration], space: Space) -> int:
    """How many times as many failures are waited for, since another configuration may well not fail so."""
    if alike[-1].cause in OF_THE_PARAMETERS:
        return MANY_TIMES
    searched = [field for field in space.dimensions if not field.load]
    names = {name for field in searched for name in names_of(field)}
    if any(names_a_parameter(each.reason, names) for each in alike):
        return MANY_TIMES
    if alike[-1].cause == TOO_FEW_DEVICES and any(map(_OF_DEVICES.search, names)):
        return MANY_TIMES
    if alike[-1].cause in OF_THE_SURROUNDINGS or not succeeded:
        return 1
    return A_FEW_TIMES if any(_apart(field.name, alike, succeeded) for field in space.dimensions) else 1


def _apart(name: str, failed: Sequence[Failed], succeeded: Sequence[Configuration]) -> bool:
    """Whether this parameter alone tells those that failed from those that did not."""
    bad = [each.configuration.get(name) for each in failed]
    good = [each.get(name) for each in succeeded]
    low, high = [number(value) for value in bad], [number(value) for value in good]
    if None in low or None in high:
        return not set(bad) & set(good)
    lows, highs = [v for v in low if v is not None], [v for v in high if v is not None]
    return min(lows) > max(highs) or max(lows) < min(highs)
