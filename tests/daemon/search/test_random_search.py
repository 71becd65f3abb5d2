from __future__ import annotations

from serviceoptd.contract.strategy import MIXED, SMALL, StrategyContract, play, problem
from serviceoptd.search.interface import Problem, Strategy
from serviceoptd.search.random_search import RandomSearch


class TestRandomSearch(StrategyContract):
    def make(self, problem: Problem) -> Strategy:
        return RandomSearch(problem)


def test_nothing_is_ever_proposed_twice() -> None:
    assert not any(trial.matched for trial in play(RandomSearch(problem(SMALL)), SMALL, 1000))


def test_results_do_not_lead_a_random_search() -> None:
    one = play(RandomSearch(problem(MIXED)), MIXED, 20)
    other = play(RandomSearch(problem(MIXED)), MIXED, 20, fitness=lambda _: 1.0)
    assert [trial.proposal for trial in one] == [trial.proposal for trial in other]
