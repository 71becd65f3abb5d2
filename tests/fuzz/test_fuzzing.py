"""A bounded share of the fuzzers: each target with some inputs, always the same (`make chaos` tries more, and others)."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import strategies as st

from fuzz import promise, run, targets
from fuzz.promise import Broken, kept
from serviceopt_journal.errors import InvalidConfiguration, ServiceoptError

EXAMPLES = 120


@pytest.mark.parametrize("name", run.names())
def test_every_input_is_taken_or_refused_in_words(name: str) -> None:
    outcomes, broken = run.run(name, seed=11, examples=EXAMPLES, seconds=0)
    print(run.summary(name, outcomes))
    assert not broken, broken
    assert sum(outcomes.values()) >= EXAMPLES / 2
    assert outcomes["taken"], "nothing was taken: the inputs are too wild to reach the depths"


def _raises(error: Exception) -> None:
    raise error


def _writes(path: Path) -> None:
    path.write_text("x")


def _mute(error: ServiceoptError) -> ServiceoptError:
    error.args = ("",)
    return error


def test_each_broken_promise_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Broken, match="KeyError and not an error of ours"):
        kept(lambda: _raises(KeyError("x")))
    with pytest.raises(Broken, match="says nothing"):
        kept(lambda: _raises(_mute(InvalidConfiguration("x"))))
    with pytest.raises(Broken, match="is not what it was"):
        kept(lambda: _writes(tmp_path / "made"), unchanged=tmp_path)
    monkeypatch.setattr(promise, "MOST_SECONDS", 0.0)
    with pytest.raises(Broken, match="of processor time"):
        kept(lambda: sum(range(100_000)))


def test_what_becomes_of_an_input_is_counted() -> None:
    assert kept(lambda: None) == "taken"
    assert kept(lambda: _raises(InvalidConfiguration("no"))) == "InvalidConfiguration"


def test_a_fuzzer_finds_a_planted_bug_and_says_how_to_see_it_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def parser(place: Path, number: int) -> str:
        return kept(lambda: 1 / (number - 70))

    monkeypatch.setattr(targets, "TARGETS", {"planted": targets.Target(lambda: st.integers(0, 100), parser)})
    outcomes, told = run.attacked("planted", seed=1, examples=500, until=time.monotonic())
    assert "ZeroDivisionError" in told
    assert "input: 70" in told
    assert "--target 'planted' --seed 1" in told
    assert outcomes["taken"]


def test_the_summary_of_a_target_counts_every_input() -> None:
    line = run.summary("log", Counter({"taken": 3, "UnfitFile": 2}))
    assert line.split() == ["log", "5", "inputs:", "3", "taken,", "2", "UnfitFile"]
