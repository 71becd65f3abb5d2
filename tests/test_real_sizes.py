"""The sizes of the tests with real engines, on machines that this one is not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from real.sizes import BUDGET, PARTS, UNSIZED, Sizes, Speed, dtype_for, sizes

OLD, NEW = frozenset({"avx", "avx2", "fma"}), frozenset({"avx", "avx2", "fma", "avx512f", "avx512_bf16"})
QUICK = Speed(launch=10.0, client=4.0, tokens=600.0)
USUAL = Speed(launch=30.0, client=10.0, tokens=63.0)
SLOW = Speed(launch=60.0, client=25.0, tokens=17.0)


def expected(found: Sizes, speed: Speed) -> float:
    return UNSIZED.seconds(speed) + sum(shape.seconds(speed) for shape in found.shapes.values())


def test_without_avx_512_the_model_runs_in_float32_and_with_it_in_its_own_type() -> None:
    assert dtype_for(OLD) == "float32"
    assert dtype_for(NEW) == "bfloat16"
    assert sizes(OLD, USUAL).dtype == "float32"


@pytest.mark.parametrize("speed", [QUICK, USUAL, SLOW, replace(SLOW, tokens=2.0), replace(SLOW, launch=500.0)])
def test_what_is_run_fits_and_what_does_not_is_left_out_with_its_reason(speed: Speed) -> None:
    found = sizes(OLD, speed)
    assert found.shapes.keys() | found.left_out.keys() == PARTS.keys()
    assert not found.shapes.keys() & found.left_out.keys()
    assert not found.shapes or expected(found, speed) <= BUDGET
    for name, reason in found.left_out.items():
        assert reason.startswith(f"{name} needs ")
        assert f"{speed.tokens:.0f} tokens/s" in reason


def test_a_quick_machine_runs_everything_as_it_is() -> None:
    found = sizes(NEW, QUICK)
    assert not found.left_out
    assert found.shapes == {name: part.full for name, part in PARTS.items()}


def test_tests_are_made_smaller_before_any_is_left_out() -> None:
    found = sizes(
        OLD, USUAL, budget=sum(part.small.seconds(USUAL) for part in PARTS.values()) + UNSIZED.seconds(USUAL) + 1
    )
    assert not found.left_out
    assert any(found.shapes[name] == part.small != part.full for name, part in PARTS.items())


@pytest.mark.parametrize("budget", [200.0, 1000.0, 2000.0, 3000.0])
def test_a_test_is_left_out_only_where_it_does_not_fit_beside_those_before_it(budget: float) -> None:
    left = budget - UNSIZED.seconds(SLOW)
    found = sizes(OLD, SLOW, budget)
    for name, part in PARTS.items():
        assert (name in found.shapes) == (part.small.seconds(SLOW) <= left)
        left -= part.small.seconds(SLOW) if name in found.shapes else 0.0


def test_the_small_model_is_served_only_where_the_other_one_cannot_be_waited_for() -> None:
    assert sizes(OLD, replace(USUAL, tokens=17.0)).model == "model-88m"
    assert sizes(OLD, replace(USUAL, tokens=2.0)).model == "model-5m"


@pytest.mark.parametrize("name", PARTS)
def test_a_small_test_takes_less_than_a_full_one_and_still_has_what_it_compares(name: str) -> None:
    part = PARTS[name]
    assert part.small.seconds(SLOW) <= part.full.seconds(SLOW)
    assert part.small.configurations * part.small.repeats >= 2
    assert part.small.prompts >= 16
