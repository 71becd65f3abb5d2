from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from serviceoptd.domain.settings import Field
from serviceoptd.domain.space.space import InvalidSpace, Space

VLLM = (
    Field(name="MAX_NUM_BATCHED_TOKENS", dtype="int", min=8192, max=65536, value=8192),
    Field(name="MAX_NUM_SEQS", dtype="int", min=32, max=512, value=64),
    Field(name="CONCURRENCY", dtype="int", min=1, max=1000, value=100, load=True),
    Field(name="REQUESTRATE", dtype="float", min=0, max=0, value=0, load=True),
)
MINDIE = (
    Field(name="max_batch_size", dtype="int", min=10, max=1000),
    Field(name="max_prefill_batch_size", dtype="ratio", min=0.1, max=0.7, dtype_param="max_batch_size"),
    Field(name="prefill_time_ms_per_req", dtype="range", min=0, max=1000, dtype_param=10),
    Field(name="decode_time_ms_per_req", dtype="range", min=0, max=1000, dtype_param=10),
    Field(name="support_select_batch", dtype="bool", min=0, max=1),
    Field(name="max_queue_deloy_mircroseconds", dtype="range", min=500, max=1000000, dtype_param=100),
    Field(name="max_preempt_count", dtype="ratio", min=0, max=1, dtype_param="max_batch_size"),
    Field(name="CONCURRENCY", dtype="int", min=1, max=1001, value=100, load=True),
    Field(name="REQUESTRATE", dtype="float", min=1, max=1001, value=100, load=True),
)


def one(**keys: Any) -> Space:
    return Space.of([Field(name="x", **keys)])


def every_value(space: Space, steps: int = 20_000) -> list[Any]:
    return list(dict.fromkeys(space.decode([i / steps])["x"] for i in range(steps + 1)))


coordinates = st.floats(0, 1)
finite = st.floats(-1e6, 1e6)


@st.composite
def bases(draw: st.DrawFn, name: str) -> Field:
    dtype = draw(st.sampled_from(["int", "float", "range", "enum", "bool"]))
    if dtype == "bool":
        return Field(name=name, dtype="bool", min=0, max=1)
    if dtype == "enum":
        kind = draw(st.sampled_from([st.integers(1, 99), st.floats(0.5, 99), st.text(max_size=4)]))
        return Field(name=name, dtype="enum", dtype_param=draw(st.lists(kind, min_size=1, max_size=5, unique=True)))
    positive = draw(st.booleans())
    low = draw(st.floats(0.001, 1000) if positive else finite)
    width = draw(st.sampled_from([0.0, 1.0, 7.3, 1000.0, 1e6]) | st.floats(1, 1e5))
    step = draw(st.sampled_from([1, 2.5, 10, 0.1, 333]))
    if dtype == "range" and draw(st.booleans()):
        low = math.floor(low)
    return Field(name=name, dtype=dtype, min=low, max=low + width, dtype_param=step if dtype == "range" else None)


@st.composite
def spaces(draw: st.DrawFn) -> Space:
    fields = [draw(bases(f"base{i}")) for i in range(draw(st.integers(1, 3)))]
    for i in range(draw(st.integers(0, 3))):
        other = draw(st.sampled_from(fields)).name
        dtype = draw(st.sampled_from(["ratio", "share", "factories", "times"]))
        bounds = draw(st.sampled_from([(0.0, 0.0), (5.0, 400.0), (-3.0, 2.0)]))
        param: Any = other
        if dtype == "ratio":
            bounds = draw(st.sampled_from([(0.0, 1.0), (0.1, 0.7), (0.5, 0.5), (0.29, 0.3)]))
        if dtype in ("factories", "times"):
            kind = draw(st.sampled_from(["int", "float"]))
            param = {"target_name": other, "product": draw(st.sampled_from([24, 0.1, 4096])), "dtype": kind}
        fields.append(Field(name=f"follower{i}", dtype=dtype, min=bounds[0], max=bounds[1], dtype_param=param))
    if draw(st.booleans()):
        fields += [
            Field(name="a", dtype="int", min=1, max=draw(st.integers(1, 20))),
            Field(name="b", dtype="enum", dtype_param=draw(st.sampled_from([[1, 2, 4, 8], [1, 3]]))),
            Field(
                name="exact",
                dtype="ternary_factories",
                dtype_param={"target_names": ["a", "b"], "product": draw(st.integers(1, 60)), "dtype": "int"},
            ),
        ]
        if draw(st.booleans()):
            fields.append(Field(name="of_a", dtype="ratio", min=0.2, max=0.9, dtype_param="a"))
    try:
        return Space.of(draw(st.permutations(fields)))
    except InvalidSpace:
        assume(False)
        raise


def assert_legal(space: Space, configuration: dict[str, Any]) -> None:
    assert list(configuration) == [field.name for field in space.fields]
    for field in space.fields:
        value = configuration[field.name]
        match field.dtype:
            case "int":
                assert type(value) is int
                assert field.min <= value <= field.max
            case "float":
                assert type(value) is float
                assert field.min <= value <= field.max
            case "range":
                whole = float(field.min).is_integer() and float(field.dtype_param).is_integer()
                assert type(value) is (int if whole else float)
                assert field.min <= value <= field.max
                steps = (value - field.min) / field.dtype_param
                assert steps == pytest.approx(round(steps), abs=1e-4)
            case "enum":
                assert any(value == o and type(value) is type(o) for o in field.dtype_param)
            case "bool":
                assert type(value) is bool
            case "ratio":
                other = configuration[field.dtype_param]
                assert type(value) is int
                assert int(field.min * other) <= value <= int(field.max * other + 1e-6)
            case "share" | "factories" | "times" | "ternary_factories" | "ternary_times":
                if field.min < field.max:
                    assert field.min <= value <= field.max
        if isinstance(field.dtype_param, dict):
            assert type(value) is {"int": int, "float": float}[field.dtype_param["dtype"]]
    if "exact" in configuration:
        product = next(f for f in space.fields if f.name == "exact").dtype_param["product"]
        assert configuration["exact"] * configuration["a"] * configuration["b"] == product


@given(space=spaces(), data=st.data())
@settings(max_examples=300, deadline=None)
def test_every_position_decodes_to_a_legal_configuration_that_survives_the_round_trip(
    space: Space, data: st.DataObject
) -> None:
    position = data.draw(st.tuples(*[coordinates] * len(space.dimensions)))
    configuration = space.decode(position)
    assert_legal(space, configuration)
    again = space.encode(configuration)
    assert all(0 <= coordinate <= 1 for coordinate in again)
    assert space.key(space.decode(again)) == space.key(configuration)
    assert space.key(space.repair(configuration)) == space.key(configuration)


garbage = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.lists(st.integers())


@given(space=spaces(), data=st.data())
@settings(max_examples=300, deadline=None)
def test_any_mapping_is_repaired_to_a_legal_configuration(space: Space, data: st.DataObject) -> None:
    names = st.sampled_from([*(field.name for field in space.fields), "UNKNOWN"])
    repaired = space.repair(data.draw(st.dictionaries(names, garbage)))
    assert_legal(space, repaired)
    assert space.key(space.decode(space.encode(repaired))) == space.key(repaired)


@given(space=spaces())
@settings(max_examples=150, deadline=None)
def test_the_cardinality_is_the_number_of_configurations_that_are_listed(space: Space) -> None:
    cardinality = space.cardinality()
    assume(cardinality is not None and cardinality <= 3000)
    listed = [space.key(configuration) for configuration in space.configurations()]
    assert len(set(listed)) == len(listed) == cardinality
    for configuration in space.configurations():
        assert_legal(space, configuration)
        assert space.key(space.repair(configuration)) == space.key(configuration)


@pytest.mark.parametrize(
    "keys",
    [
        {"dtype": "int", "min": 1, "max": 1000},
        {"dtype": "int", "min": -5, "max": 9},
        {"dtype": "int", "min": 0.5, "max": 7.9},
        {"dtype": "range", "min": 500, "max": 90000, "dtype_param": 100},
        {"dtype": "range", "min": 0.1, "max": 1.0, "dtype_param": 0.1},
        {"dtype": "range", "min": 10, "max": 1000, "dtype_param": 333},
        {"dtype": "enum", "dtype_param": ["", "a", "b"]},
        {"dtype": "str", "dtype_param": ["a", "b"]},
        {"dtype": "bool"},
    ],
)
def test_every_value_is_reached_the_smallest_and_the_largest_included(keys: dict[str, Any]) -> None:
    space = one(**keys)
    assert every_value(space) == [configuration["x"] for configuration in space.configurations()]
    assert len(every_value(space)) == space.cardinality()


def test_an_int_has_equal_bins_on_a_linear_scale() -> None:
    space = one(dtype="int", min=3, max=6)
    assert [space.decode([p])["x"] for p in (0, 0.24, 0.26, 0.49, 0.51, 0.74, 0.76, 1)] == [3, 3, 4, 4, 5, 5, 6, 6]


def test_a_parameter_that_spans_a_decade_is_searched_on_a_logarithmic_scale() -> None:
    assert one(dtype="float", min=1, max=10000).decode([0.5])["x"] == 100.0
    assert one(dtype="int", min=10, max=1000).decode([0.5])["x"] == pytest.approx(100, abs=3)
    assert one(dtype="float", min=1000, max=9999).decode([0.5])["x"] == pytest.approx(5499.5)
    assert one(dtype="float", min=0, max=1000).decode([0.5])["x"] == 500.0


def test_a_float_is_shown_with_readable_digits_and_both_bounds_exactly() -> None:
    space = one(dtype="float", min=0.1234567890123, max=0.95)
    assert space.decode([0.0])["x"] == 0.1234567890123
    assert space.decode([1.0])["x"] == 0.95
    assert space.decode([1 / 3])["x"] == 0.3989712


def test_a_bool_is_true_above_one_half() -> None:
    assert [one(dtype="bool").decode([p])["x"] for p in (0.0, 0.5, 0.500001, 1.0)] == [False, False, True, True]


def test_a_range_never_exceeds_its_maximum_and_keeps_whole_numbers_whole() -> None:
    assert every_value(one(dtype="range", min=0, max=25, dtype_param=10)) == [0, 10, 20]
    assert every_value(one(dtype="range", min=0.1, max=0.3, dtype_param=0.1)) == [0.1, 0.2, 0.3]


@given(coordinate=coordinates, base=coordinates)
def test_a_ratio_is_that_part_of_the_other_field_rounded_down(coordinate: float, base: float) -> None:
    space = Space.of(MINDIE[:2])
    configuration = space.decode([base, coordinate])
    other, value = configuration["max_batch_size"], configuration["max_prefill_batch_size"]
    assert isinstance(other, int)
    assert value == min(int((0.1 + coordinate * 0.6) * other + 1e-9), int(0.7 * other + 1e-9))


def test_a_product_that_floats_miss_by_a_hair_is_not_rounded_down() -> None:
    space = Space.of(
        [
            Field(name="other", dtype="int", min=100, max=100),
            Field(name="x", dtype="times", dtype_param={"target_name": "other", "product": 0.29, "dtype": "int"}),
        ]
    )
    assert space.decode([])["x"] == 29


def test_a_share_keeps_the_sum_fixed() -> None:
    space = Space.of(
        [
            Field(name="default_d_rate", dtype="share", min=1, max=3, dtype_param="default_p_rate"),
            Field(name="default_p_rate", dtype="int", min=1, max=3, value=1),
        ]
    )
    assert [tuple(c.values()) for c in space.configurations()] == [(3, 1), (2, 2), (1, 3)]
    assert [field.name for field in space.dimensions] == ["default_p_rate"]


def test_a_share_of_a_ratio_keeps_the_sum_of_its_present_limits() -> None:
    space = Space.of([*MINDIE[:2], Field(name="rest", dtype="share", dtype_param="max_prefill_batch_size")])
    configuration = space.repair({"max_batch_size": 100, "max_prefill_batch_size": 30})
    assert configuration == {"max_batch_size": 100, "max_prefill_batch_size": 30, "rest": 10 + 70 - 30}


@pytest.mark.parametrize(
    ("dtype", "product", "kind", "expected"),
    [
        ("factories", 100, "int", 33),
        ("factories", 100, "float", 33.3333333333),
        ("times", 2.5, "int", 7),
        ("times", 2.5, "float", 7.5),
        ("factories", -100, "int", -33),
    ],
)
def test_factories_divide_and_times_multiply(dtype: Any, product: float, kind: str, expected: float) -> None:
    param = {"target_name": "other", "product": product, "dtype": kind}
    space = Space.of([Field(name="other", dtype="int", min=3, max=3), Field(name="x", dtype=dtype, dtype_param=param)])
    value = space.decode([])["x"]
    assert value == expected
    assert type(value).__name__ == kind


def test_a_ternary_product_that_does_not_divide_moves_both_factors_to_the_nearest_pair_that_does() -> None:
    param = {"target_names": ["tp", "pp"], "product": 16, "dtype": "int", "min_value": 2, "max_value": 8}
    space = Space.of(
        [
            Field(name="dp", dtype="ternary_factories", dtype_param=param),
            Field(name="tp", dtype="int", min=1, max=16),
            Field(name="pp", dtype="enum", dtype_param=[1, 2, 4]),
        ]
    )
    assert space.repair({"tp": 4, "pp": 2}) == {"dp": 2, "tp": 4, "pp": 2}
    assert space.repair({"tp": 7, "pp": 1}) == {"dp": 2, "tp": 8, "pp": 1}
    seen = list(space.configurations())
    assert {(c["tp"], c["pp"]) for c in seen} == {(2, 1), (4, 1), (8, 1), (1, 2), (2, 2), (4, 2), (1, 4), (2, 4)}
    assert len(seen) == space.cardinality()


def test_a_ternary_product_multiplies_all_three() -> None:
    param = {"target_names": ["a", "b"], "product": 8, "dtype": "int"}
    fields = [Field(name=n, dtype="int", min=v, max=v) for n, v in (("a", 3), ("b", 5))]
    assert Space.of([*fields, Field(name="x", dtype="ternary_times", dtype_param=param)]).decode([])["x"] == 120


def test_a_constant_or_equal_bounds_fix_a_field() -> None:
    space = Space.of(
        [
            Field(name="rate", dtype="float"),
            Field(name="seqs", dtype="int", min=64, max=64),
            Field(name="cache", dtype="bool", constant=False),
            Field(name="block", dtype="enum", dtype_param=[16, 32], constant=32),
            Field(name="model", dtype="str", value="tiny"),
        ]
    )
    assert space.dimensions == ()
    assert space.decode(()) == {"rate": 0.0, "seqs": 64, "cache": False, "block": 32, "model": "tiny"}
    assert type(space.decode(())["rate"]) is float
    assert space.cardinality() == 1
    assert space.current() is None


def test_the_current_setting_is_taken_from_the_values_and_the_middle_where_there_is_none() -> None:
    assert Space.of(VLLM).current() == {
        "MAX_NUM_BATCHED_TOKENS": 8192,
        "MAX_NUM_SEQS": 64,
        "CONCURRENCY": 100,
        "REQUESTRATE": 0.0,
    }
    mindie = Space.of(MINDIE).current()
    assert mindie is not None
    assert mindie["CONCURRENCY"] == 100
    assert mindie["prefill_time_ms_per_req"] == 500
    assert Space.of(MINDIE[:3]).current() is None


def test_a_current_setting_outside_the_bounds_counts_as_the_nearest_bound() -> None:
    assert one(dtype="int", min=32, max=512, value=4096).current() == {"x": 512}


def test_service_and_load_parameters_are_told_apart() -> None:
    space = Space.of(VLLM)
    low, high = space.repair({"CONCURRENCY": 1}), space.repair({"CONCURRENCY": 9})
    assert space.service_key(low) == space.service_key(high)
    assert space.key(low) != space.key(high)


def test_one_and_true_are_different_settings() -> None:
    space = one(dtype="enum", dtype_param=[1, True, "1"])
    assert len({space.key(configuration) for configuration in space.configurations()}) == 3


def test_a_dependent_space_is_counted_exactly() -> None:
    fields = [Field(name="other", dtype="int", min=1, max=9), Field(name="free", dtype="bool")]
    space = Space.of([*fields, Field(name="x", dtype="ratio", min=0, max=1, dtype_param="other")])
    assert space.cardinality() == 2 * sum(n + 1 for n in range(1, 10))
    assert Space.of(VLLM[:2]).cardinality() == (65536 - 8192 + 1) * (512 - 32 + 1)
    assert Space.of(MINDIE).cardinality() is None


def test_a_position_of_another_space_is_refused() -> None:
    space = Space.of(VLLM)
    with pytest.raises(ValueError, match="3 coordinates"):
        space.decode((0.5,))
    with pytest.raises(ValueError):
        space.decode((0.5, math.nan, 0.5))


def test_a_quotient_too_large_for_a_float_is_cut_at_the_bounds() -> None:
    param = {"target_name": "tiny", "product": -24, "dtype": "int"}
    tiny = Field(name="tiny", dtype="float", min=5e-324, max=1.0)
    space = Space.of([tiny, Field(name="x", dtype="factories", min=-400, max=5, dtype_param=param)])
    assert space.decode([0.0])["x"] == -400


def test_a_range_of_whole_numbers_ends_below_a_bound_that_it_nearly_reaches() -> None:
    space = Space.of([Field(name="a", dtype="range", min=0, max=1.9999999998840394, dtype_param=1)])
    assert [configuration["a"] for configuration in space.configurations()] == [0, 1]
