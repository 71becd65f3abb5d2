"""What confirmations prove, and that measurements of the search prove nothing."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import pytest
from msgspec.structs import replace

from run_stories import some_metrics
from serviceopt_journal.metrics import Tail
from serviceoptd.domain.proving.proof import Finalist, Race
from serviceoptd.domain.settings import Objective, Slo

TTFT = Objective(slos=(Slo(metric="ttft", limit=1.0),))


def a_finalist(particle: int, speeds: Sequence[float], ttft: float = 0.5, *, success: float = 1.0) -> Finalist:
    """Confirmed with these speeds (tokens/s), and TTFTs that vary by 2 % about `ttft` (s)."""
    spread = [1.02, 0.98, 1.0, 1.01, 0.99]
    confirmations = [
        some_metrics(speed, ttft=ttft * factor, success=success) for speed, factor in zip(speeds, spread, strict=False)
    ]
    return Finalist(particle=particle, confirmations=tuple(confirmations))


def a_race(*finalists: Finalist, objective: Objective = TTFT) -> Race:
    return Race(finalists, objective, 0.95)


def test_the_fastest_that_surely_keeps_the_slo_wins() -> None:
    race = a_race(
        a_finalist(1, (900, 910, 890)), a_finalist(2, (1500, 1490, 1510), ttft=0.99), a_finalist(3, (1200, 1210, 1190))
    )
    assert race.winner.particle == 3
    proof = race.proof(current=1)
    assert proof.estimate == pytest.approx(1200, rel=1e-3)
    assert proof.interval is not None
    assert proof.interval[0] < 1200 < proof.interval[1]
    assert proof.gain == pytest.approx(1 / 3, rel=0.01)
    assert proof.gain_interval is not None
    assert proof.gain_interval[0] > 0.3
    assert (proof.told_apart, proof.binding) == (True, "")
    assert (proof.measurements, proof.total, proof.finalists) == (3, 9, (1, 2, 3))
    assert proof.slos[0].probability > 0.99


def test_what_measured_within_the_limit_by_less_than_the_noise_is_not_declared_feasible() -> None:
    race = a_race(a_finalist(4, (1500, 1490, 1510), ttft=0.99))
    proof = race.proof(current=None)
    assert not race.safe(race.winner)
    assert proof.binding == "mean TTFT <= 1 s"
    assert 0.5 < proof.slos[0].probability < 0.95
    assert not proof.told_apart


def test_where_none_is_sure_the_closest_by_the_hard_rule_is_named() -> None:
    race = a_race(a_finalist(1, (900, 910), ttft=3.0), a_finalist(2, (800, 810), ttft=1.2))
    assert race.winner.particle == 2
    assert race.proof(current=1).binding == "mean TTFT <= 1 s"


def test_lost_requests_are_counted_over_all_confirmations() -> None:
    race = a_race(a_finalist(1, (900, 910), success=0.9))
    assert race.risk(race.winner) == 1.0
    assert race.proof(current=None).binding == "success rate >= 0.99"
    assert race.proof(current=None).success_rate == pytest.approx(0.9)


def test_equal_finalists_are_not_told_apart() -> None:
    race = a_race(a_finalist(1, (1000, 1010, 990)), a_finalist(2, (1001, 1009, 991)))
    assert not race.proof(current=None).told_apart
    assert not race.behind(race.finalists[0], race.finalists[1])


def test_the_current_setting_as_the_winner_has_no_gain_over_itself() -> None:
    proof = a_race(a_finalist(1, (1000, 1010, 990)), a_finalist(2, (700, 710, 690))).proof(current=1)
    assert (proof.gain, proof.gain_interval) == (None, None)


def test_a_percentile_leans_on_more_assumed_noise_than_a_mean() -> None:
    tail = Objective(slos=(Slo(metric="ttft", statistic="p99", limit=2.0),))
    mean_only, tail_only = (
        a_race(a_finalist(1, (1000,), ttft=0.6)),
        a_race(a_finalist(1, (1000,), ttft=0.6), objective=tail),
    )
    assert mean_only.risk(mean_only.winner) < tail_only.risk(tail_only.winner)


P99 = Objective(slos=(Slo(metric="ttft", statistic="p99", limit=2.0),))


def with_requests(finalist: Finalist, above: int, requests: int = 1000, limit: float = 2.0) -> Finalist:
    """Each confirmation tells that so many of so many requests were above the limit."""
    told = Tail(requests=requests, limit=limit, above=above, low=0.9, high=1.1)
    confirmations = tuple(replace(metrics, tails={"ttft p99": told}) for metrics in finalist.confirmations)
    return dataclasses.replace(finalist, confirmations=confirmations)


def test_too_many_single_requests_above_the_limit_of_a_percentile_are_not_declared_feasible() -> None:
    plain = a_finalist(1, (1000, 1000, 1000), ttft=0.6)
    for above, safe in ((3, True), (9, False)):
        race = a_race(with_requests(plain, above), objective=P99)
        assert race.safe(race.winner) is safe
        (slo,) = race.proof(current=None).slos
        assert (slo.requests, slo.above) == (3000, 3 * above)


def test_measurements_that_differ_are_not_made_sure_by_many_requests() -> None:
    near = a_finalist(1, (1000, 1000), ttft=0.995)
    assert not a_race(with_requests(near, 0), objective=P99).safe(near)


def test_requests_that_are_too_few_to_show_a_percentile_are_said_to_be() -> None:
    few = with_requests(a_finalist(1, (1000, 1000, 1000), ttft=0.3), above=0, requests=50)
    race = a_race(few, objective=P99)
    assert not race.safe(few)
    assert race.proof(current=None).binding == (
        "p99 TTFT <= 2 s, which 150 requests are too few to show: at least 299 are needed"
    )


def test_requests_that_were_counted_against_another_limit_tell_nothing() -> None:
    other = with_requests(a_finalist(1, (1000, 1000, 1000), ttft=0.3), above=1000, limit=0.1)
    race = a_race(other, objective=P99)
    assert race.safe(other)
    assert race.proof(current=None).slos[0].requests is None


def test_a_measured_0_has_a_place_on_the_logarithmic_scale() -> None:
    assert a_race(a_finalist(1, (0.0, 0.0), ttft=0.0)).winner.particle == 1


def test_one_confirmation_gives_an_estimate_and_no_interval() -> None:
    proof = a_race(a_finalist(1, (1000,))).proof(current=None)
    assert proof.estimate == pytest.approx(1000)
    assert (proof.interval, proof.noise) == (None, None)
