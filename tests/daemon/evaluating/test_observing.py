"""Where a service's metrics are read, and under which names."""

from __future__ import annotations

import pytest

from serviceoptd.domain.settings import EarlyStopping
from serviceoptd.engines.interface import ServicePlan
from serviceoptd.evaluating.observing import metrics_page
from serviceoptd.toolkit.interface import HttpProbe, MetricsPage

KNOWN = MetricsPage(HttpProbe("127.0.0.1", 8000, "/metrics"), {"ttft": ("a",), "tokens": ("b", "c")})


def plan(metrics: MetricsPage | None = None) -> ServicePlan:
    return ServicePlan(command=None, ready=None, listens_on=("127.0.0.1", 8000), metrics=metrics)


@pytest.mark.parametrize(
    ("url", "endpoint"),
    [
        ("", ("127.0.0.1", 8000, "/metrics")),
        ("/v2/metrics?all=1", ("127.0.0.1", 8000, "/v2/metrics?all=1")),
        ("http://10.0.0.7:1027/metrics", ("10.0.0.7", 1027, "/metrics")),
        ("http://10.0.0.7", ("10.0.0.7", 80, "/metrics")),
    ],
)
def test_a_url_wins_over_what_the_engine_knows(url: str, endpoint: tuple[str, int, str]) -> None:
    page = metrics_page(plan(KNOWN), EarlyStopping(url=url))
    assert page is not None
    assert (page.endpoint.host, page.endpoint.port, page.endpoint.path) == endpoint


def test_a_series_that_is_named_takes_the_place_of_the_engines_names() -> None:
    page = metrics_page(plan(KNOWN), EarlyStopping(series={"tokens": "mine", "running": "busy"}))
    assert page is not None
    assert page.series == {"ttft": ("a",), "tokens": ("mine",), "running": ("busy",)}


def test_without_a_page_or_when_it_is_off_nothing_is_read() -> None:
    assert metrics_page(plan(), EarlyStopping()) is None
    assert metrics_page(plan(KNOWN), EarlyStopping(enabled=False)) is None
    assert metrics_page(plan(), EarlyStopping(url="/metrics")) is not None
