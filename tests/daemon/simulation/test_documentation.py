from __future__ import annotations

import re
from pathlib import Path

from serviceopt_journal.metrics import Metrics
from serviceoptd.simulation.arrivals import arrivals
from serviceoptd.simulation.client_metrics import client_metrics
from serviceoptd.simulation.lengths import RandomLengths, random_requests
from serviceoptd.simulation.overheads import Overheads
from serviceoptd.simulation.step_times import LinearStepTimes
from serviceoptd.simulation.timeline import simulate
from serviceoptd.simulation.vllm_limits import VllmLimits
from serviceoptd.simulation.vllm_scheduler import VllmScheduler

PAGE = Path(__file__).parents[3] / "docs" / "simulation.md"


def test_the_example_of_the_page_runs() -> None:
    found = re.search(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert found
    names: dict[str, object] = {
        "arrivals": arrivals,
        "client_metrics": client_metrics,
        "overheads": Overheads(),
        "random_requests": random_requests,
        "RandomLengths": RandomLengths,
        "simulate": simulate,
        "step_times": LinearStepTimes(step=0.01),
        "VllmLimits": VllmLimits,
        "VllmScheduler": VllmScheduler,
    }
    exec(found[1], names)  # noqa: S102 (our own page)
    metrics = names["metrics"]
    assert isinstance(metrics, Metrics)
    assert metrics.completed == 1000
