from __future__ import annotations

from typing import Any

import pytest

from serviceoptd.domain.settings import Constraint, Field
from serviceoptd.domain.space.constraints import names_of, parameters, violated


def a_constraint(left: str, op: Any, right: str | float, **more: Any) -> Constraint:
    return Constraint(left=left, op=op, right=right, source="test", **more)


@pytest.mark.parametrize(
    ("name", "position", "names"),
    [
        ("MAX_NUM_SEQS", "env", ("max_num_seqs",)),
        ("SEQS", "argument:--max-num-seqs", ("seqs", "max_num_seqs")),
        ("batch", "BackendConfig.ScheduleConfig.maxBatchSize", ("batch", "maxbatchsize")),
    ],
)
def test_a_parameter_has_the_names_of_its_field_and_of_its_position(
    name: str, position: str, names: tuple[str, ...]
) -> None:
    assert names_of(Field(name=name, dtype="int", config_position=position)) == names


def test_fixed_options_are_known_and_searched_ones_win() -> None:
    fields = (Field(name="TP", dtype="int"), Field(name="SEQS", dtype="int", config_position="argument:--max-num-seqs"))
    fixed = {"tensor_parallel_size": "$TP", "max_num_seqs": "8", "share": "0.9", "eager": "true", "dtype": "half"}
    assert parameters({"TP": 4, "SEQS": 32}, fields, fixed) == {
        "tp": 4, "tensor_parallel_size": 4, "max_num_seqs": 32, "seqs": 32, "share": 0.9, "eager": True, "dtype": "half",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("op", "broken"), [("<=", {2.5}), (">=", {1.5}), ("<", {2.0, 2.5}), (">", {1.5, 2.0})]
)  # fmt: skip
def test_each_comparison_is_broken_by_what_does_not_hold(op: str, broken: set[float]) -> None:
    constraint = a_constraint("x", op, "y", factor=2.0)
    assert {x for x in (1.5, 2.0, 2.5) if violated([constraint], {"x": x, "y": 1})} == broken


def test_what_is_not_known_or_is_no_number_breaks_nothing() -> None:
    constraint = a_constraint("x", ">=", "y")
    for known in ({"x": 1}, {"y": 1}, {"x": "auto", "y": 5}, {"x": True, "y": 5}, {"x": float("nan"), "y": 5}):
        assert violated([constraint], known) is None


def test_conditions_are_all_needed_and_each_exception_suffices() -> None:
    constraint = a_constraint("x", "<", 1, when={"A": 1, "b": "on"}, unless={"C": 0, "d": True})
    assert violated([constraint], {"x": 2, "a": 1, "b": "on", "c": 5, "d": False}) is constraint
    for other in ({"a": 2}, {"b": "off"}, {"c": 0}, {"d": True}):
        assert violated([constraint], {"x": 2, "a": 1, "b": "on", "c": 5, "d": False, **other}) is None


def test_the_first_of_several_is_told() -> None:
    first, second = a_constraint("x", "<", 1), a_constraint("x", "<", 2)
    assert violated([first, second], {"x": 3}) is first
    assert violated([first, second], {"x": 1.5}) is first
    assert violated([second, first], {"x": 1.5}) is first
