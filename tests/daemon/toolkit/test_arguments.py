from __future__ import annotations

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serviceopt_journal.errors import InvalidConfiguration
from serviceoptd.contract.orders import a_field
from serviceoptd.toolkit import arguments
from serviceoptd.toolkit.arguments import (
    field_arguments,
    field_environment,
    filled,
    flag_of,
    references,
    refuse_doubled,
    rendered_flag,
    split,
    value_of,
    without,
)

WORD = st.text(st.characters(codec="utf-8", exclude_characters="\0$"), max_size=12)


@given(st.lists(WORD, max_size=6))
def test_words_without_a_reference_are_left_as_they_are(words: list[str]) -> None:
    assert filled(words, {"SEQS": 8, "EMPTY": ""}) == words


@given(st.lists(WORD, max_size=6))
def test_extra_words_are_split_as_a_shell_would_split_them(words: list[str]) -> None:
    assert split(shlex.join(words)) == words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('--x {"a":"}{ \\" b"} y', ["--x", '{"a":"}{ \\" b"}', "y"]),
        ('--x={"a": [1, {"b": 2}]}', ['--x={"a": [1, {"b": 2}]}']),
        ('["a b"]', ['["a b"]']),
        ('{"a": $N}', ['{"a": $N}']),
        ('{"a":1}b', ["{a:1}b"]),
        ('"{"', ["{"]),
        ("{a} [b", ["{a}", "[b"]),
        (r'"a \" {b" c', ['a " {b', "c"]),
    ],
)
def test_json_outside_of_quotes_keeps_its_own(text: str, words: list[str]) -> None:
    assert split(text) == words


@pytest.mark.parametrize(
    ("word", "result"),
    [
        ("$SEQS", "8"),
        ("${SEQS}0", "80"),
        ("--x=$SEQS", "--x=8"),
        ("$SEQS_MAX", "99"),
        ("$SEQSX $$SEQS $ON$SEQS", "$SEQSX $8 true8"),
        ('{"sizes": [1, $SEQS], "on": $ON}', '{"sizes": [1, 8], "on": true}'),
        ('{"mode": "$EMPTY"}', '{"mode": ""}'),
        ("$HOME/x", "$HOME/x"),
    ],
)
def test_names_are_replaced_inside_a_word_as_a_shell_reads_them(word: str, result: str) -> None:
    assert filled([word], {"SEQS": 8, "SEQS_MAX": 99, "ON": True, "EMPTY": ""}) == [result]


@pytest.mark.parametrize(
    ("words", "left"),
    [
        (["--a", "$EMPTY", "--b"], ["--b"]),
        (["--a=$EMPTY", "--b"], ["--b"]),
        (["$EMPTY", "x"], ["x"]),
        (["--a=1", "$EMPTY"], ["--a=1"]),
        (["positional", "${EMPTY}"], ["positional"]),
    ],
)
def test_an_empty_value_drops_its_argument_and_the_flag_before_it(words: list[str], left: list[str]) -> None:
    assert filled(words, {"EMPTY": ""}) == left


@pytest.mark.parametrize(
    ("word", "flag"),
    [
        ("--max-num-seqs", "--max-num-seqs"),
        ("--max_num_seqs=8", "--max-num-seqs"),
        ("--no-enable-prefix-caching", "--enable-prefix-caching"),
        ("-tp", "--tensor-parallel-size"),
        ("-5", None),
        ("-0.5e-3", None),
        ("-", None),
        ("value", None),
    ],
)
def test_every_spelling_of_a_flag_is_the_same_flag(word: str, flag: str | None) -> None:
    assert flag_of(word, {"-tp": "--tensor-parallel-size"}) == flag


def test_the_last_occurrence_of_a_flag_counts() -> None:
    words = ["--tp", "2", "--x=1", "--tp=4", "--eager", "--seed", "-1"]
    assert (value_of("--tp", words), value_of("--eager", words), value_of("--seed", words)) == ("4", None, "-1")
    assert value_of("--absent", words) is None


def test_flags_are_taken_out_with_their_values() -> None:
    words = ["--a", "1", "2", "--b", "3", "--a=4", "--c"]
    assert without(["--a"], words) == ["--b", "3", "--c"]


@pytest.mark.parametrize(
    ("flag", "value", "words"),
    [
        ("--x", 3, ["--x", "3"]),
        ("--x", 0.9, ["--x", "0.9"]),
        ("--x", True, ["--x"]),
        ("--x", False, ["--no-x"]),
        ("--no-x", False, ["--x"]),
        ("--x", "", []),
        ("--x", "fp8", ["--x", "fp8"]),
        ("--x", -1, ["--x=-1"]),
        ("--x", '{"a": 1}', ["--x", '{"a": 1}']),
    ],
)
def test_a_searched_flag_is_rendered_by_its_kind_of_value(flag: str, value: int | str, words: list[str]) -> None:
    assert rendered_flag(flag, value) == words


def test_load_fields_never_reach_the_service() -> None:
    fields = [a_field("SEQS"), a_field("burst", "argument:--burstiness", load=True), a_field("CONCURRENCY")]
    configuration = {"SEQS": 8, "burst": 2, "CONCURRENCY": 5}
    assert field_arguments(fields, configuration, load=False) == []
    assert field_arguments(fields, configuration, load=True) == ["--burstiness", "2"]
    assert field_environment(fields, configuration, load=False) == {"SEQS": "8"}
    assert field_environment(fields, configuration, load=True) == {"SEQS": "8", "CONCURRENCY": "5"}


@pytest.mark.parametrize("given_again", ["--max-num-seqs", "--max_num_seqs=9", "--no-max-num-seqs"])
def test_a_flag_that_is_given_twice_is_refused_and_both_places_are_named(given_again: str) -> None:
    with pytest.raises(InvalidConfiguration, match=r"--max-num-seqs is given twice: by the table and by others"):
        refuse_doubled({"the table": ["--max-num-seqs", "8"], "others": ["--x", given_again]})


def test_one_part_may_repeat_its_own_flag() -> None:
    refuse_doubled({"others": ["--header", "a=1", "--header", "b=2"], "table": ["--port", "1"]})


@pytest.mark.parametrize(
    ("word", "found"),
    [
        ("$CONCURRENCY", True),
        ("${CONCURRENCY}", True),
        ("x$CONCURRENCY.", True),
        ("$CONCURRENCY_2", False),
        ("$C", False),
    ],
)
def test_a_reference_is_told_from_a_longer_name(word: str, found: bool) -> None:
    assert bool(references([word], ["CONCURRENCY"])) is found


def test_a_flag_at_the_end_of_the_arguments_has_no_value() -> None:
    words = ["--block-size", "16", "--no-enable-prefix-caching"]
    assert arguments.value_of("--enable-prefix-caching", words) is None
    assert arguments.options(words) == {"block_size": "16", "enable_prefix_caching": "false"}
