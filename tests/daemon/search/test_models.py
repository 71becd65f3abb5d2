from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import check_grad
from scipy.stats import norm

from serviceoptd.contract.strategy import MIXED, SMALL
from serviceoptd.domain.settings import Field
from serviceoptd.domain.space.space import Space
from serviceoptd.engines.mindie.engine import MindieEngine
from serviceoptd.evaluating.trials import search_space
from serviceoptd.search import queueing_prior
from serviceoptd.search.acquisition import CAUTION, WORTHWHILE, _log_improvement, incumbent, log_expected_improvement
from serviceoptd.search.encoding import CONCURRENCY, RATE, SEQUENCES, Encoding
from serviceoptd.search.gaussian_process import GaussianProcess, Hyperparameters, _negative_log_likelihood
from serviceoptd.search.launch_failures import LaunchFailures
from serviceoptd.search.operator_defaults import usual_coordinates
from serviceoptd.search.prediction import Forecast, Point
from serviceoptd.search.queueing_prior import BASE, WITH_EFFECTS, Demand, Steady
from serviceoptd.search.virtual_swarm import visited

RANDOM = np.random.Generator(np.random.PCG64(5))


def forecast(objective: list[float], deviation: float = 0.05, kept: float = 0.9, ceiling: float = math.inf) -> Forecast:
    size = len(objective)
    return Forecast(
        objective=np.array(objective),
        objective_deviation=np.full(size, deviation),
        ceiling=np.full(size, ceiling),
        latencies=np.empty((0, size)),
        log_kept=np.full(size, math.log(kept)),
    )


def test_a_gaussian_process_is_sure_where_it_was_told_and_unsure_far_away() -> None:
    points = RANDOM.random((30, 2))
    values = np.sin(3 * points[:, 0]) + 0.5 * points[:, 1]
    process = GaussianProcess.fit(points, values, noise=0.01, size=1.0, constant=1.0)
    mean, near = process.predict(points)
    assert np.abs(mean - values).max() < 0.05
    _, far = process.predict(np.array([[4.0, -3.0]]))
    assert far[0] > 5 * near.max()


def test_a_gaussian_process_learns_how_noisy_measurements_are() -> None:
    points = RANDOM.random((120, 1))
    quiet, loud = (
        GaussianProcess.fit(
            points, points[:, 0] + noise * RANDOM.standard_normal(120), noise=0.05, size=1.0, constant=1.0
        )
        for noise in (0.02, 0.2)
    )
    assert quiet.noise < 0.05 < loud.noise


def test_the_gradient_of_the_likelihood_is_its_slope() -> None:
    points, values = RANDOM.random((12, 3)), RANDOM.standard_normal(12)
    squares = np.ascontiguousarray(((points[:, None] - points[None]) ** 2).transpose(2, 0, 1))
    for _ in range(5):
        at = 0.5 * RANDOM.standard_normal(6)

        def value(vector: np.ndarray) -> float:
            return _negative_log_likelihood(vector, squares, points @ points.T, values, 0.7)[0]

        def slope(vector: np.ndarray) -> np.ndarray:
            return _negative_log_likelihood(vector, squares, points @ points.T, values, 0.7)[1]

        assert check_grad(value, slope, at) < 1e-4 * (1 + np.abs(slope(at)).max())
    assert Hyperparameters.of(at).vector() == pytest.approx(at)


@pytest.mark.parametrize("z", [-30.0, -5.0, -1.001, -0.999, 0.0, 2.0, 8.0])
def test_the_logarithm_of_the_expected_improvement_is_that_of_the_formula(z: float) -> None:
    if z > -6:
        assert _log_improvement(np.array([z]))[0] == pytest.approx(math.log(norm.pdf(z) + z * norm.cdf(z)), abs=1e-6)
    beyond = _log_improvement(np.array([z - 0.01, z, z + 0.01]))
    assert np.isfinite(beyond).all()
    assert (np.diff(beyond) > 0).all()


def test_an_improvement_counts_more_where_it_is_larger_likelier_and_possible() -> None:
    base = log_expected_improvement(forecast([1.0]), best=1.0)[0]
    assert log_expected_improvement(forecast([1.1]), best=1.0)[0] > base
    assert log_expected_improvement(forecast([1.0], deviation=0.2), best=1.0)[0] > base
    halved = log_expected_improvement(forecast([1.0], kept=0.45), best=1.0)[0]
    assert halved == pytest.approx(base + CAUTION * math.log(0.5))
    assert log_expected_improvement(forecast([1.0], ceiling=1.0 - 2 * WORTHWHILE - 0.01), best=1.0)[0] < base - 5


def test_the_incumbent_is_likely_to_keep_its_objectives() -> None:
    known = forecast([3.0, 2.0, 1.0])
    known.log_kept[0] = math.log(0.2)
    assert incumbent(known) == 2.0
    assert incumbent(forecast([1.0], kept=0.1)) is None
    hopeless = log_expected_improvement(forecast([1.0, 1.0]), best=None)
    assert np.isfinite(hopeless).all()


def demand(size: int, parameters: int = 3, rate: float = math.inf) -> Demand:
    return Demand(
        sequences=RANDOM.uniform(8, 512, size),
        concurrency=RANDOM.uniform(4, 1000, size),
        tokens=np.full(size, rate * 250),
        tokens_of_request=250.0,
        parameters=RANDOM.random((size, parameters)),
    )


def coefficients(parameters: int = 3) -> np.ndarray:
    base = np.array([math.log(0.02), math.log(0.0003), math.log(300.0), math.log(0.1), 0.0, -1.0])
    return np.concatenate([base, 0.3 * RANDOM.standard_normal(WITH_EFFECTS * parameters)])


def test_nobody_is_served_more_than_is_asked_for_and_little_s_law_holds() -> None:
    asked = demand(200, rate=3.0)
    told = queueing_prior.steady(coefficients(), asked)
    assert (np.exp(told.throughput) <= asked.tokens * 1.0001).all()
    assert np.exp(told.running) == pytest.approx(np.exp(told.throughput + told.tpot), rel=1e-6)
    assert (np.exp(told.running) <= np.minimum(asked.sequences, asked.concurrency) * 1.0001).all()


def test_more_load_gives_no_less_throughput_and_no_less_latency() -> None:
    truth, few = coefficients(), demand(50)
    low, high = (
        queueing_prior.steady(
            truth, Demand(few.sequences, few.concurrency, np.full(50, rate * 250.0), 250.0, few.parameters)
        )
        for rate in (1.0, 2.0)
    )
    assert (high.throughput >= low.throughput - 1e-9).all()
    assert (high.tpot >= low.tpot - 1e-9).all()


def test_the_queueing_model_is_found_again_from_its_own_measurements_and_knows_where_it_is_unsure() -> None:
    truth, seen, unseen = coefficients(), demand(40, rate=20.0), demand(40, rate=20.0)
    told = queueing_prior.steady(truth, seen)
    fitted = queueing_prior.fit(seen, told.throughput, told.tpot, told.ttft)
    expected, true = queueing_prior.steady(fitted.coefficients, unseen), queueing_prior.steady(truth, unseen)
    assert np.median(np.abs(expected.throughput - true.throughput)) < 0.05
    assert np.median(np.abs(expected.tpot - true.tpot)) < 0.05
    few = queueing_prior.fit(
        *(Demand(*(part[:3] if isinstance(part, np.ndarray) else part for part in vars(seen).values())),
          told.throughput[:3], told.tpot[:3], told.ttft[:3])
    )  # fmt: skip
    assert few.variance(unseen, _both).mean() > 3 * fitted.variance(unseen, _both).mean()
    assert len(fitted.coefficients) == BASE + 3 * WITH_EFFECTS


def _both(told: Steady) -> np.ndarray:
    return np.stack([told.throughput, told.tpot])


def point(position: tuple[float, ...], failure: str) -> Point:
    from serviceopt_journal.metrics import Metrics

    metrics = Metrics(
        generate_speed=1.0, throughput=1.0, success_rate=1.0, completed=1, failed=0, duration=1.0, ttft={}, tpot={}
    )
    return Point(position, None if failure else metrics, None if failure else 1.0, failure)


def test_a_failure_teaches_its_neighbourhood_and_a_success_its_own() -> None:
    space = Space.of(
        [Field(name="memory", dtype="float", min=0.5, max=1.0), Field(name="x", dtype="float", min=0, max=1)]
    )
    encoding = Encoding(space)
    points = [
        point((0.95, 0.2), "out of memory: 3 MiB"),
        point((0.9, 0.8), "out of memory: 70 MiB"),
        point((0.4, 0.5), ""),
    ]
    model = LaunchFailures(encoding, points)
    failed, started, between = model.log_success(np.array([[0.93, 0.5], [0.4, 0.45], [0.65, 0.5]]))
    assert failed < between < started
    assert (LaunchFailures(encoding, []).log_success(np.array([[0.5, 0.5]])) <= 0).all()


@pytest.mark.parametrize(
    ("cause", "teaches"),
    [("out_of_memory", True), ("too_few_devices", True), ("", True), ("port", False), ("model", False)],
)
def test_what_failed_of_its_surroundings_teaches_nothing(cause: str, teaches: bool) -> None:
    space = Space.of([Field(name=name, dtype="float", min=0, max=1) for name in ("memory", "x")])
    encoding, known = Encoding(space), [point((x, 0.5), "") for x in (0.2, 0.3, 0.4)]
    failed = [Point((x, 0.5), None, None, "it failed", cause) for x in (0.8, 0.9)]
    there = np.array([[0.85, 0.5]])
    before, after = (LaunchFailures(encoding, points).log_success(there)[0] for points in (known, known + failed))
    assert after < before - 0.1 if teaches else after == before


@given(st.lists(st.floats(0, 1), min_size=len(MIXED.dimensions), max_size=len(MIXED.dimensions)))
@settings(deadline=None)
def test_a_canonical_position_is_the_same_configuration(position: list[float]) -> None:
    encoding = _mixed()
    canonical = encoding.canonical(np.array(position))
    assert canonical == pytest.approx(encoding.canonical(canonical))
    there = MIXED.decode([float(x) for x in canonical[0]])
    assert there["cache"] == MIXED.decode(position)["cache"]
    features = encoding.features(canonical)
    assert features.shape[1] == len(encoding.is_service_feature)
    assert ((features >= -1e-9) & (features <= 1 + 1e-9)).all()


def _mixed(known: list[Encoding] = []) -> Encoding:  # noqa: B006 - built once for all examples
    return known[0] if known else (known.append(Encoding(MIXED)), known[0])[1]


def test_parameters_with_a_role_are_found_under_every_spelling_and_zero_is_no_limit() -> None:
    space = Space.of(
        [
            Field(name="MAX_NUM_SEQS", dtype="int", min=8, max=512),
            Field(name="max-concurrency", dtype="int", constant=100),
            Field(name="REQUESTRATE", dtype="float", min=0.0, max=10.0),
        ]
    )
    encoding = Encoding(space)
    positions = encoding.canonical(np.array([[0.0, 0.0], [1.0, 1.0]]))
    sequences, concurrency, rate = (encoding.amount(names, positions) for names in (SEQUENCES, CONCURRENCY, RATE))
    assert sequences is not None
    assert sequences == pytest.approx([8, 512], rel=0.02)
    assert concurrency == pytest.approx([100, 100])
    assert rate is not None
    assert rate[0] == math.inf
    assert rate[1] == pytest.approx(10)
    assert Encoding(SMALL).amount(RATE, Encoding(SMALL).canonical(np.full((1, len(SMALL.dimensions)), 0.5))) is None


def test_text_with_more_than_two_choices_has_a_feature_for_each() -> None:
    space = Space.of([Field(name="policy", dtype="enum", dtype_param=["fcfs", "sjf", "priority"])])
    encoding = Encoding(space)
    features = encoding.features(encoding.canonical(np.array([[0.1], [0.5], [0.9]])))
    assert features == pytest.approx(np.eye(3) / math.sqrt(2))


def test_usual_values_are_taken_only_where_the_space_allows_them() -> None:
    space = Space.of(
        [
            Field(name="gpu_memory_utilization", dtype="float", min=0.5, max=0.95),
            Field(name="max_num_seqs", dtype="int", min=200, max=512),
        ]
    )
    found = usual_coordinates(space)
    assert list(found) == [0]
    assert space.decode([found[0], 0.5])["gpu_memory_utilization"] == pytest.approx(0.9)


def test_the_virtual_swarm_finds_a_maximum_and_keeps_what_is_held() -> None:
    start = RANDOM.random((40, 3))
    held = np.zeros_like(start)
    held[:10, 0] = 1.0
    seen, scores = visited(start, held, lambda at: (at, -((at - 0.3) ** 2).sum(1)), RANDOM)
    assert scores.max() > -1e-3
    assert ((seen >= 0) & (seen <= 1)).all()
    rounds = seen.reshape(-1, 40, 3)
    assert (rounds[:, :10, 0] == start[:10, 0]).all()


def test_a_space_is_probed_once_however_often_it_is_read_from_the_journal(monkeypatch: pytest.MonkeyPatch) -> None:
    engines = [MindieEngine({}), MindieEngine({})]
    Encoding.of(Space.of(MIXED.fields))
    Encoding.of(search_space(Space.of(MIXED.fields), engines[0]))
    monkeypatch.setattr(Space, "decode", lambda *_: pytest.fail("the space was probed again"))
    plain = Encoding.of(Space.of(MIXED.fields))
    repaired = Encoding.of(search_space(Space.of(MIXED.fields), engines[1]))
    assert plain is not repaired  # the engine's repairs decide what a position means
