"""JSON in extra arguments is looked for within limits."""

from __future__ import annotations

import time

import pytest

from serviceoptd.toolkit.words import split


@pytest.mark.parametrize("piece", ['{"a":', "[", "[a] ", "{} ", "{[", "{ "])
def test_a_text_full_of_brackets_takes_its_length_and_not_its_square(piece: str) -> None:
    def seconds(length: int) -> float:
        begun = time.process_time()
        split("--x " + "".join(piece.split('"')) * (length // len(piece)))
        return time.process_time() - begun

    assert seconds(200_000) < 30 * seconds(20_000) + 0.5


def test_json_after_many_words_with_brackets_is_still_whole() -> None:
    words = " ".join(f"--path a[{number}]" for number in range(40))
    assert split(f'{words} --config {{"level": 3}}')[-1] == '{"level": 3}'
