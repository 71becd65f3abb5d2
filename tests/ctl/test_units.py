"""Numbers for people."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serviceoptctl.render import units
from serviceoptctl.render.text import in_words

AMOUNTS = st.floats(min_value=1e-6, max_value=1e9)


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (units.speed(1234.5), "1234 tok/s"),
        (units.speed(12.345), "12.3 tok/s"),
        (units.speed(None), "-"),
        (units.request_rate(0.12345), "0.123 req/s"),
        (units.latency(0.0351), "35.1 ms"),
        (units.latency(1.5), "1.50 s"),
        (units.percent(0.9996), "99.9 %"),
        (units.percent(1.0), "100 %"),
        (units.percent(0.372, signed=True), "+37.2 %"),
        (units.percent(-0.05, signed=True), "-5 %"),
        (units.duration(0.00002), "0 ms"),
        (units.duration(0.25), "250 ms"),
        (units.duration(42.4), "42 s"),
        (units.duration(59.7), "1 min 00 s"),
        (units.duration(3599.6), "1 h 00 min"),
        (units.duration(7500), "2 h 05 min"),
        (units.duration(86400 * 2 + 3600 * 3), "2 d 03 h"),
        (units.duration(None), "-"),
        (units.moment(None), "-"),
    ],
)
def test_a_number_is_shown_with_its_unit_and_no_more_digits_than_anybody_reads(shown: str, expected: str) -> None:
    assert shown == expected


@given(AMOUNTS)
@settings(deadline=None)
def test_what_is_shown_is_within_half_a_percent(value: float) -> None:
    assert math.isclose(float(units.number(value)), value, rel_tol=0.006)
    amount, unit = units.latency(value).split()
    assert math.isclose(float(amount) * {"ms": 1e-3, "s": 1.0}[unit], value, rel_tol=0.006)


@given(st.floats(min_value=0.02, max_value=1e9))
@settings(deadline=None)
def test_a_longer_time_never_looks_shorter(value: float) -> None:
    def seconds(text: str) -> float:
        words = text.split()
        sizes = {"ms": 1e-3, "s": 1, "min": 60, "h": 3600, "d": 86400}
        return sum(float(amount) * sizes[unit] for amount, unit in zip(words[::2], words[1::2], strict=True))

    assert seconds(units.duration(value)) <= seconds(units.duration(value * 1.5))
    assert math.isclose(seconds(units.duration(value)), value, rel_tol=0.06)


@given(st.floats(min_value=0, max_value=1))
@settings(deadline=None)
def test_only_all_of_it_is_shown_as_100_percent(fraction: float) -> None:
    assert (units.percent(fraction) == "100 %") == (fraction == 1)


def test_a_table_is_told_in_words_and_other_text_stays() -> None:
    assert in_words('{"REQUESTRATE":0,"a":{"b":[1,2.5]}}') == "REQUESTRATE=0, a.b=1 2.5"
    assert in_words("{'noise': True, 'machine': {'device_gb': 48.0, 'name': None}}") == (
        "noise=true, machine.device_gb=48, machine.name=none"
    )
    for text in ("vllm 0.9.1", "x86_64 AMD EPYC x2", "true", "", "1024", "{broken"):
        assert in_words(text) == text


@pytest.mark.parametrize(
    ("count", "noun", "told"),
    [
        (1, "configuration", "1 configuration"),
        (0, "finalist", "0 finalists"),
        (12_000, "row", "12,000 rows"),
        (1, "launch of the service", "1 launch of the service"),
        (3, "launch of the service", "3 launches of the service"),
    ],
)
def test_one_of_a_kind_is_no_plural(count: int, noun: str, told: str) -> None:
    assert units.several(count, noun) == told
