"""The contract suites of serviceopt: everything that the daemon relies on, for the price of a class each."""

from __future__ import annotations

import json
from typing import Any

from serviceopt_echo.client import RESULT, EchoLoad
from serviceopt_echo.engine import EchoEngine
from serviceopt_echo.rule import EchoLimits

from serviceoptd.benchmarks.interface import ClientOutcome
from serviceoptd.contract import EngineContract, ProcessBenchmarkContract, RuleContract
from serviceoptd.contract.orders import written


class TestEchoEngine(EngineContract):
    engine = EchoEngine


class TestEchoLoad(ProcessBenchmarkContract):
    benchmark = EchoLoad

    def write_good_result(self, outcome: ClientOutcome) -> None:
        requests = [{"ttft": 0.002, "e2el": 0.004, "tokens": 16}] * outcome.plan.num_prompts
        told: dict[str, Any] = {"seed": outcome.order.seed, "seconds": 0.5, "failed": 0, "requests": requests}
        written(outcome.order.workplace.directory / RESULT, json.dumps(told))


class TestEchoLimits(RuleContract):
    rule = EchoLimits
    engine = EchoEngine


def test_what_does_not_fit_is_rejected_with_the_numbers() -> None:
    facts = TestEchoLimits().facts()
    rejected = EchoLimits().judge({"WORKERS": 9, "ECHO_BATCH": 1, "CONCURRENCY": 8}, facts)
    assert rejected is not None
    assert rejected.reason == "9 workers need 72 MB, there are 64 MB"
    assert EchoLimits().judge({"WORKERS": 8, "ECHO_BATCH": 1, "CONCURRENCY": 8}, facts) is None
