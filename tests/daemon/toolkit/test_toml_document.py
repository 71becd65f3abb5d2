"""A configuration that is too large or too deep is refused with a message, quickly, and masked all the same."""

from __future__ import annotations

import time
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serviceoptd.config.load import load_text
from serviceoptd.config.masking import masked_text
from serviceoptd.config.problems import ConfigurationErrors
from serviceoptd.toolkit.toml_document import DEEPEST, LARGEST, BeyondLimits, document_of

DEEP = (
    "[" + ".".join("a" * 500) + "]\nb = 1",
    ".".join("a" * 20_000) + " = 1",
    "x = " + "[" * 5000 + "]" * 5000,
    "x = " + "{a = " * 400 + "1" + "}" * 400,
    "[" + ".".join("a" * 30) + "]\nx = [[[[[1]]]]]",
    "".join(f"[[{'.'.join('a' * n)}]]\n" for n in range(1, 30)),
)


@pytest.mark.parametrize("text", DEEP, ids=lambda text: text[:12])
def test_a_document_that_is_too_deep_is_one_problem_with_its_line(text: str) -> None:
    with pytest.raises(ConfigurationErrors, match=r":\d+: not read: nested too deeply: more than 32 keys"):
        load_text(text, None, environment={})
    assert masked_text("# --api-key abc\n" + text) == "# --api-key ***\n" + text


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("x = " + "1" * 5000, "a number has too many digits"),
        ("x = 0x" + "f" * 17, "a number has more than 64 bits"),
        ("x = [" + "1," * LARGEST + "]", "larger than 1024 Ki characters"),
    ],
    ids=["digits", "bits", "size"],
)
def test_numbers_and_sizes_beyond_the_limits_are_problems_and_no_crash(text: str, reason: str) -> None:
    with pytest.raises(ConfigurationErrors, match=f"not read: {reason}"):
        load_text(text, None, environment={})
    masked_text(text)


def test_a_document_as_deep_as_we_take_is_read_and_masked() -> None:
    text = ".".join("a" * (DEEPEST - 1)) + '.token = "abc"'
    assert document_of(text) == tomllib.loads(text)
    assert masked_text(text) == text.replace("abc", "***")


@given(st.text("[]{}.,=\n\"'#\\ab1 ", max_size=40))
def test_what_we_read_is_what_tomllib_reads(text: str) -> None:
    try:
        expected = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        with pytest.raises(tomllib.TOMLDecodeError):
            document_of(text)
    else:
        assert document_of(text) == expected


def test_depth_is_found_before_the_document_is_read() -> None:
    """Ten times the parts take ten times the time, and not a hundred times."""

    def seconds(parts: int) -> float:
        text = "[" + ".".join("a" * parts) + "]"
        started = time.process_time()
        for _ in range(3):
            with pytest.raises(BeyondLimits):
                document_of(text)
        return time.process_time() - started

    small, large = seconds(2_000), seconds(200_000)
    assert large < 30 * small + 0.1


def test_a_hundred_secrets_are_masked_as_fast_each_as_ten() -> None:
    def seconds(count: int) -> float:
        text = "".join(f'key{number}.token = "abcdefgh" # --api-key abc\n' for number in range(count))
        started = time.process_time()
        assert masked_text(text).count("***") == 2 * count
        return time.process_time() - started

    assert seconds(5_000) < 30 * seconds(500) + 0.1


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("".join(f"k{number} = 1\n" for number in range(5001)), "more than 5000 keys and tables"),
        ("[[vllm.target_field]]\n" * 5001, "more than 5000 keys and tables"),
        ("".join(f"[t{number}]\n" for number in range(5001)), "more than 5000 keys and tables"),
        (f"x = [{'1,' * 50_001}]", "more than 50000 values"),
        (f"x = [{'{},' * 5001}]", "more than 5000 keys and tables"),
    ],
)
def test_more_than_anybody_writes_by_hand_is_not_read(text: str, why: str) -> None:
    with pytest.raises(BeyondLimits, match=why):
        document_of(text)
