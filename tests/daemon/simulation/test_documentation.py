from __future__ import annotations

import re
from pathlib import Path

from linear_step_times import LinearStepTimes
from serviceopt_journal.metrics import Metrics
from serviceoptd.simulation.schedulers.vllm import VllmScheduler
from serviceoptd.simulation.schedulers.vllm_limits import VllmLimits
from serviceoptd.simulation.virtual_clock.arrivals import arrivals
from serviceoptd.simulation.virtual_clock.client_metrics import client_metrics
from serviceoptd.simulation.virtual_clock.lengths import RandomLengths, random_requests
from serviceoptd.simulation.virtual_clock.overheads import Overheads
from serviceoptd.simulation.virtual_clock.timeline import simulate

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
