from __future__ import annotations

from typing import Any

import msgspec
import pytest

from serviceopt_journal.errors import ExitCode, InvalidConfiguration
from serviceoptd.domain.settings import Field
from serviceoptd.domain.space.space import InvalidSpace, Space

OTHER = Field(name="other", dtype="int", min=1, max=9)
CACHE = Field(name="cache", dtype="bool")


def table(**keys: Any) -> dict[str, Any]:
    return {"target_name": "other", "product": 8, "dtype": "int"} | keys


def ternary(**keys: Any) -> dict[str, Any]:
    return {"target_names": ["other", "third"], "product": 8, "dtype": "int"} | keys


def problems(*fields: Field) -> list[tuple[str, str, str]]:
    with pytest.raises(InvalidSpace) as caught:
        Space.of(fields)
    return [(problem.field_name, problem.key, problem.message) for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("keys", "key", "message"),
    [
        ({"dtype": "int", "min": 5, "max": 4}, "min", "greater than max"),
        ({"dtype": "int", "min": 1.2, "max": 1.8}, "min", "no whole number"),
        ({"dtype": "int", "min": float("nan")}, "min", "finite"),
        ({"dtype": "float", "max": float("inf")}, "max", "finite"),
        ({"dtype": "int", "max": 1e13}, "max", "at most 1e+12"),
        ({"dtype": "int", "max": 9, "value": "many"}, "value", "not a number"),
        ({"dtype": "int", "max": 9, "value": True}, "value", "not a number"),
        ({"dtype": "int", "constant": 2.5}, "constant", "whole number"),
        ({"dtype": "float", "constant": "fast"}, "constant", "not a number"),
        ({"dtype": "bool", "constant": "perhaps"}, "constant", "not a value"),
        ({"dtype": "bool", "value": "perhaps"}, "value", "not one of"),
        ({"dtype": "str"}, "value", "needs `value`"),
        ({"dtype": "str", "dtype_param": []}, "dtype_param", "list"),
        ({"dtype": "enum"}, "dtype_param", "list"),
        ({"dtype": "enum", "dtype_param": []}, "dtype_param", "list"),
        ({"dtype": "enum", "dtype_param": [None]}, "dtype_param", "texts"),
        ({"dtype": "enum", "dtype_param": ["a"], "constant": "b"}, "constant", "not a value"),
        ({"dtype": "enum", "dtype_param": ["a", "b"], "value": "c"}, "value", "not one of"),
        ({"dtype": "range", "max": 9}, "dtype_param", "step"),
        ({"dtype": "range", "max": 9, "dtype_param": 0}, "dtype_param", "step"),
        ({"dtype": "range", "max": 9, "dtype_param": -1}, "dtype_param", "step"),
        ({"dtype": "range", "max": 1e12, "dtype_param": 1e-3}, "dtype_param", "too many steps"),
        ({"dtype": "ratio", "max": 0.5}, "dtype_param", "name of another"),
        ({"dtype": "ratio", "max": 70, "dtype_param": "other"}, "max", "0..1"),
        ({"dtype": "ratio", "min": -0.1, "max": 0.5, "dtype_param": "other"}, "min", "0..1"),
        ({"dtype": "ratio", "dtype_param": "other"}, "max", "greater than 0"),
        ({"dtype": "ratio", "max": 0.5, "dtype_param": "nobody"}, "dtype_param", "does not exist"),
        ({"dtype": "ratio", "max": 0.5, "dtype_param": "cache"}, "dtype_param", "not a number"),
        ({"dtype": "share", "dtype_param": 3}, "dtype_param", "name of another"),
        ({"dtype": "share", "dtype_param": "x"}, "dtype_param", "x -> x"),
        ({"dtype": "times", "dtype_param": "other"}, "dtype_param", "table"),
        ({"dtype": "times", "dtype_param": {"dtype": "int"}}, "dtype_param", "lacks target_name, product"),
        ({"dtype": "times", "dtype_param": table(produkt=1)}, "dtype_param", "unknown keys produkt"),
        ({"dtype": "times", "dtype_param": table(dtype="bool")}, "dtype_param", "allowed: int, float"),
        ({"dtype": "times", "dtype_param": table(product="8")}, "dtype_param", "finite number"),
        ({"dtype": "times", "dtype_param": table(target_name=["other"])}, "dtype_param", "target_name"),
        ({"dtype": "times", "min": 1.2, "max": 1.3, "dtype_param": table()}, "min", "no whole number"),
        ({"dtype": "times", "dtype_param": table(), "value": "much"}, "value", "not a number"),
        ({"dtype": "factories", "dtype_param": table(target_name="zero")}, "dtype_param", "can be 0"),
        ({"dtype": "ratio", "max": 0.5, "dtype_param": "zero"}, "dtype_param", "negative"),
        ({"dtype": "ternary_times", "dtype_param": ternary(target_names=["other"])}, "dtype_param", "two different"),
        ({"dtype": "ternary_factories", "dtype_param": ternary(product=2.5)}, "dtype_param", "whole number"),
        ({"dtype": "ternary_factories", "dtype_param": ternary(min_value=9)}, "dtype_param", "no pair"),
        (
            {"dtype": "ternary_factories", "dtype_param": ternary(min_value=9, max_value=2)},
            "dtype_param",
            "leave nothing",
        ),
    ],
)
def test_what_is_wrong_with_a_field_is_named_with_its_key(keys: dict[str, Any], key: str, message: str) -> None:
    zero = Field(name="zero", dtype="int", min=-1, max=9)
    third = Field(name="third", dtype="int", min=1, max=4)
    found = problems(OTHER, CACHE, zero, third, Field(name="x", **keys))
    assert [(name, where) for name, where, _ in found] == [("x", key)]
    assert message in found[0][2]


def test_an_unknown_dtype_is_answered_with_the_allowed_ones() -> None:
    field = msgspec.convert({"name": "x", "dtype": "int"}, Field)
    wrong = msgspec.structs.replace(field, dtype="integer")  # type: ignore[arg-type]
    found = problems(wrong)
    assert found[0][1] == "dtype"
    assert "ternary_factories" in found[0][2]


def test_all_problems_of_all_fields_are_reported_at_once() -> None:
    found = problems(
        Field(name="a", dtype="int", min=9, max=1, value="x"),
        Field(name="b", dtype="enum"),
        Field(name="c", dtype="share", dtype_param="d"),
        Field(name="d", dtype="share", dtype_param="c"),
        Field(name="b", dtype="bool"),
    )
    assert [(name, key) for name, key, _ in found] == [
        ("a", "min"),
        ("a", "value"),
        ("b", "dtype_param"),
        ("b", "name"),
        ("c", "dtype_param"),
        ("d", "dtype_param"),
    ]
    assert "c -> d -> c" in found[4][2]


def test_two_exact_quotients_cannot_repair_the_same_field() -> None:
    third = Field(name="third", dtype="int", min=1, max=4)
    first = Field(name="x", dtype="ternary_factories", dtype_param=ternary())
    second = Field(name="y", dtype="ternary_factories", dtype_param=ternary(product=16))
    found = problems(OTHER, third, first, second)
    assert {name for name, _, _ in found} == {"x", "y"}


def test_an_exact_quotient_of_a_derived_field_is_refused() -> None:
    third = Field(name="third", dtype="share", dtype_param="other")
    found = problems(OTHER, third, Field(name="x", dtype="ternary_factories", dtype_param=ternary()))
    assert "searched or fixed" in found[0][2]


def test_results_that_leave_the_range_of_exact_arithmetic_are_refused() -> None:
    big = Field(name="big", dtype="int", min=1, max=1e12)
    param = {"target_name": "big", "product": 1e6, "dtype": "int"}
    assert "beyond" in problems(big, Field(name="x", dtype="times", dtype_param=param))[0][2]


def test_an_invalid_space_is_an_invalid_configuration_and_its_message_lists_every_problem() -> None:
    with pytest.raises(InvalidConfiguration) as caught:
        Space.of([Field(name="a", dtype="enum"), Field(name="b", dtype="str")])
    assert caught.value.exit_code == ExitCode.CONFIGURATION
    assert "'a'" in caught.value.message
    assert "'b'" in caught.value.message
    assert caught.value.hint
