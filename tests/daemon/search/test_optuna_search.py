from __future__ import annotations

import sys

import pytest

from serviceopt_journal.errors import EnvironmentLacks, InvalidConfiguration
from serviceoptd.contract.strategy import MIXED, StrategyContract, goodness, play, problem
from serviceoptd.search.optuna_search import SAMPLERS, OptunaSearch

pytest.importorskip("optuna")


class TestOptunaSearch(StrategyContract):
    strategy = OptunaSearch


def test_it_learns_from_what_it_is_told() -> None:
    told = play(OptunaSearch(problem(MIXED)), MIXED, 40)
    best, first = min(goodness(t.proposal) for t in told[20:]), min(goodness(t.proposal) for t in told[:20])
    assert best < first


def test_an_unknown_sampler_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InvalidConfiguration) as caught:
        OptunaSearch(problem(MIXED, options={"sampler": "annealing"}))
    assert all(name in caught.value.hint for name in SAMPLERS)


def test_without_optuna_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(EnvironmentLacks) as caught:
        OptunaSearch(problem(MIXED))
    assert "serviceopt[optuna]" in caught.value.hint
