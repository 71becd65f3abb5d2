"""The contract suites: what every engine, client, strategy and rule must do, for the tests of whoever writes one.

    from serviceoptd.contract import EngineContract

    class TestEcho(EngineContract):
        engine = EchoEngine

is a whole test file (docs/plugins.md). Needs pytest, which nothing else of serviceopt imports.
Read first: `engine.py`, then `orders.py` (orders and workplaces for further tests).
"""

import pytest

# A failing assertion of a suite then shows its values, as those of a test file do.
pytest.register_assert_rewrite(
    "serviceoptd.contract.benchmark",
    "serviceoptd.contract.engine",
    "serviceoptd.contract.rule",
    "serviceoptd.contract.strategy",
    "serviceoptd.contract.surroundings",
)

from serviceoptd.contract.benchmark import BenchmarkContract, ProcessBenchmarkContract  # noqa: E402
from serviceoptd.contract.engine import EngineContract  # noqa: E402
from serviceoptd.contract.rule import RuleContract  # noqa: E402
from serviceoptd.contract.strategy import StrategyContract  # noqa: E402

__all__ = [
    "BenchmarkContract",
    "EngineContract",
    "ProcessBenchmarkContract",
    "RuleContract",
    "StrategyContract",
]
