"""Which configurations and loads are profiled."""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from serviceoptd.domain.settings import Field
from serviceoptd.domain.space.space import Space
from serviceoptd.profiling.recording.choosing import configurations, loads, points

FIELDS = (
    Field(name="MAX_NUM_SEQS", config_position="env", dtype="int", min=4, max=256, value=32),
    Field(name="MAX_NUM_BATCHED_TOKENS", config_position="env", dtype="int", min=128, max=8192, value=2048),
    Field(name="CONCURRENCY", config_position="env", dtype="int", min=2, max=128, value=16, load=True),
)
SPACE = Space.of(FIELDS)


def chosen(space: Space = SPACE, number: int = 6, seed: int = 0) -> list[dict[str, object]]:
    return [dict(each) for each in configurations(space, number, seed=seed, accepts=lambda _configuration: True)]


@given(seed=st.integers(0, 1000), number=st.integers(1, 8))
def test_the_current_setting_comes_first_and_no_service_is_launched_twice(seed: int, number: int) -> None:
    found = chosen(number=number, seed=seed)
    assert found[0] == {"MAX_NUM_SEQS": 32, "MAX_NUM_BATCHED_TOKENS": 2048, "CONCURRENCY": 16}
    assert len({(each["MAX_NUM_SEQS"], each["MAX_NUM_BATCHED_TOKENS"]) for each in found}) == number
    assert found == chosen(number=number, seed=seed)


@given(seed=st.integers(0, 1000))
def test_more_configurations_begin_with_those_of_fewer(seed: int) -> None:
    assert chosen(number=8, seed=seed)[:5] == chosen(number=5, seed=seed)


@given(seed=st.integers(0, 1000), dimensions=st.integers(1, 4))
def test_points_are_spread_over_every_axis(seed: int, dimensions: int) -> None:
    found = list(points(dimensions, seed, 16))
    assert all(0 <= coordinate < 1 for point in found for coordinate in point)
    for axis in zip(*found, strict=True):
        assert {int(4 * coordinate) for coordinate in axis} == {0, 1, 2, 3}


def test_what_the_engine_refuses_is_passed_over() -> None:
    found = configurations(SPACE, 5, seed=0, accepts=lambda configuration: int(configuration["MAX_NUM_SEQS"]) > 50)
    assert len(found) == 5
    assert all(int(each["MAX_NUM_SEQS"]) > 50 for each in found)


def test_a_space_with_fewer_configurations_gives_those_that_it_has() -> None:
    few = Space.of((Field(name="MAX_NUM_SEQS", config_position="env", dtype="int", min=4, max=6, value=4), FIELDS[2]))
    assert sorted(int(each["MAX_NUM_SEQS"]) for each in configurations(few, 9, seed=0, accepts=bool)) == [4, 5, 6]


@given(seed=st.integers(0, 1000))
def test_loads_differ_from_launch_to_launch_and_change_nothing_of_the_service(seed: int) -> None:
    found = configurations(SPACE, 4, seed=seed, accepts=bool)
    every = [loads(SPACE, each, place, 3, seed=seed) for place, each in enumerate(found)]
    assert every[0][0] == found[0]
    for configuration, its in zip(found, every, strict=True):
        assert len(concurrencies(its)) == 3
        assert {SPACE.service_key(each) for each in its} == {SPACE.service_key(configuration)}
    low, high = min(map(min, map(concurrencies, every))), max(map(max, map(concurrencies, every)))
    assert low < 8
    assert high > 48


def test_without_a_searched_load_there_is_one() -> None:
    fixed = Space.of(FIELDS[:2])
    assert len(loads(fixed, fixed.repair({}), 2, 4, seed=0)) == 1


def concurrencies(configurations: Iterable[object]) -> set[int]:
    return {each["CONCURRENCY"] for each in configurations}  # type: ignore[index]
