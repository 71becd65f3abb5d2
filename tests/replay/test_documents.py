"""What programs are told of a run keeps its keys, their order, and its values.

The documents beside this file were written by the code from before the documents had types.
"""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest

from replay.told_documents import KEPT, recorded_runs, told

RUNS = recorded_runs()
DURATIONS = ("seconds", "duration")
ESTIMATE = "seconds_left"
"""May become a better one: it tells of the future, and nothing that happened."""
BETWEEN_TWO_READINGS = 1e-3
"""Seconds. Durations were told by the wall clock, and are by the monotonic one, which is read a moment later."""


def differences(found: Any, expected: Any, place: str = "") -> list[str]:
    """Where two documents differ; numbers within rounding, since another processor's logarithm may differ.

    A key may be added, and stands wherever it likes; the others keep their order.
    """
    if isinstance(expected, dict) and isinstance(found, dict):
        if [key for key in found if key in expected] != list(expected):
            return [f"{place}: {list(found)} are not {list(expected)}"]
        return [line for key in expected for line in differences(found[key], expected[key], f"{place}.{key}")]
    if isinstance(expected, list) and isinstance(found, list) and len(found) == len(expected):
        pairs = enumerate(zip(found, expected, strict=True))
        return [line for at, pair in pairs for line in differences(*pair, f"{place}[{at}]")]
    if place.endswith(f".{ESTIMATE}"):
        return [] if type(found) is type(expected) else [f"{place}: {found!r} is not like {expected!r}"]
    room = BETWEEN_TWO_READINGS if place.rpartition(".")[2] in DURATIONS else 1e-12
    same = found == pytest.approx(expected, rel=1e-9, abs=room) if type(expected) is float else found == expected
    return [] if same and type(found) is type(expected) else [f"{place}: {found!r} is not {expected!r}"]


def test_a_difference_is_found_where_it_is() -> None:
    expected = {"a": 1, "b": [{"c": 1.0}, None]}
    assert differences({"a": 1, "new": 2, "b": [{"c": 1.0 + 1e-12}, None]}, expected) == []
    assert differences({"a": 1, "b": [{"c": 1}, 0]}, expected) == [".b[0].c: 1 is not 1.0", ".b[1]: 0 is not None"]
    assert len(differences({"b": [{"c": 1.0}, None], "a": 1}, expected)) == 1


@pytest.mark.parametrize("name", RUNS)
def test_the_documents_of_a_recorded_run_are_those_of_old(name: str) -> None:
    kept = gzip.decompress((KEPT / f"{name}.json.gz").read_bytes()).decode().splitlines()
    moments = list(told(RUNS[name]))
    assert len(moments) == len(kept) == 3
    for found, line in zip(moments, kept, strict=True):
        assert differences(found, json.loads(line)) == []


def test_the_recorded_runs_hold_what_documents_tell() -> None:
    lines = [line for path in KEPT.glob("*.json.gz") for line in gzip.decompress(path.read_bytes()).splitlines()]
    moments = [json.loads(line) for line in lines]
    assert any(moment["run"]["current"] for moment in moments), "an evaluation under way"
    assert any(moment["best"] and moment["best"]["proof"] for moment in moments), "a proof"
    particles = [particle for moment in moments for particle in moment["particles"]["particles"]]
    for key in ("metrics", "error", "matched", "confirmations", "simulated"):
        assert any(particle[key] for particle in particles), key
