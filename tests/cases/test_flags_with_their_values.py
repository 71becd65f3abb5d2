"""A value that is a flag with its value in one text, as the predecessor's users write them, and JSON without quotes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cases.configurations import CONCURRENCY, a_field, a_vllm_case, seen
from serviceopt_journal.errors import InvalidConfiguration

CUDAGRAPH = """--compilation-config '{"cudagraph_mode": "FULL_DECODE_ONLY"}'"""


def a_choice(value: str) -> str:
    """An enum field EXTRA whose current value is this text."""
    return a_field("EXTRA", "enum", dtype_param=json.dumps(["", value]), value=json.dumps(value)) + CONCURRENCY


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (CUDAGRAPH, ["--compilation-config", '{"cudagraph_mode": "FULL_DECODE_ONLY"}']),
        ('--compilation-config {"cudagraph_mode":"FULL"}', ["--compilation-config", '{"cudagraph_mode":"FULL"}']),
        ("--block-size 32", ["--block-size", "32"]),
        ("-tp 2 --enforce-eager", ["-tp", "2", "--enforce-eager"]),
        ("--enforce-eager", ["--enforce-eager"]),
    ],
)
@pytest.mark.parametrize("reference", ["$EXTRA", "${EXTRA}", '"$EXTRA"'])
def test_a_value_that_is_a_flag_with_its_value_reaches_the_service_as_two_words(
    tmp_path: Path, value: str, words: list[str], reference: str
) -> None:
    argv = seen(a_vllm_case(tmp_path, others=reference, fields=a_choice(value))).service
    assert list(argv[-len(words) :]) == words


def test_the_same_holds_for_the_clients_arguments(tmp_path: Path) -> None:
    fields = a_field("EXTRA", "str", table="vllm_benchmark", value='"--burstiness 2"', constant='"--burstiness 2"')
    argv = seen(a_vllm_case(tmp_path, client_others="$EXTRA", fields=fields)).client
    assert argv[-2:] == ("--burstiness", "2")


def test_an_empty_choice_drops_the_word(tmp_path: Path) -> None:
    fields = a_field("EXTRA", "enum", dtype_param='["", "-tp 2"]', value='""') + CONCURRENCY
    argv = seen(a_vllm_case(tmp_path, others="$EXTRA --enforce-eager", fields=fields)).service
    assert argv[-3:] == ("--port", "18431", "--enforce-eager")


def test_a_negative_number_is_a_value_and_no_flag(tmp_path: Path) -> None:
    fields = a_field("EXTRA", "enum", dtype_param="[-1, 5]", value="-1") + CONCURRENCY
    assert seen(a_vllm_case(tmp_path, others="--seed $EXTRA", fields=fields)).service[-2:] == ("--seed", "-1")


def test_a_flag_that_a_value_gives_counts_as_given_twice(tmp_path: Path) -> None:
    fields = a_choice("--block-size 32") + a_field("b", "enum", config_position='"argument:--block-size"',
                                                   dtype_param="[16, 32]", value="16")  # fmt: skip
    with pytest.raises(InvalidConfiguration, match="--block-size is given twice"):
        seen(a_vllm_case(tmp_path, others="$EXTRA", fields=fields))


def test_an_open_quotation_in_a_value_is_told_by_check(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfiguration, match=r"\$EXTRA: its value .* cannot be split into arguments"):
        seen(a_vllm_case(tmp_path, others="$EXTRA", fields=a_choice("--compilation-config '{}")))


@pytest.mark.parametrize(
    ("others", "document"),
    [
        ('--compilation-config {"level":3}', {"level": 3}),
        ('--compilation-config={"level": 3, "sizes": [1, 2]}', {"level": 3, "sizes": [1, 2]}),
        ("""--compilation-config '{"level":3}'""", {"level": 3}),
        ('--compilation-config {"sizes":[1,$MAX_NUM_SEQS]}', {"sizes": [1, 64]}),
        (r"--compilation-config {\"level\":3}", {"level": 3}),
    ],
)
def test_json_in_others_reaches_the_service_with_its_quotes(tmp_path: Path, others: str, document: object) -> None:
    argv = seen(a_vllm_case(tmp_path, others=others + " --enforce-eager")).service
    assert argv[-1] == "--enforce-eager"
    assert json.loads(argv[-2].removeprefix("--compilation-config=")) == document


def test_json_keeps_its_quotes_in_the_clients_arguments_too(tmp_path: Path) -> None:
    argv = seen(a_vllm_case(tmp_path, client_others='--extra-body {"min_tokens":8,"stop":["a b"]}')).client
    assert json.loads(argv[-1]) == {"min_tokens": 8, "stop": ["a b"]}


def two_choices(first: str, second: str) -> str:
    """Enum fields A and B whose current values are these texts."""
    fields = (
        a_field(name, "enum", dtype_param=json.dumps(["", "--x", value]), value=json.dumps(value))
        for name, value in (("A", first), ("B", second))
    )
    return "".join(fields) + CONCURRENCY


@pytest.mark.parametrize("reference", ["$A$B", "${A}${B}", '"$A$B"', "${A}$B"])
@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        ("--block-size 32", "--enforce-eager", ["--block-size", "32", "--enforce-eager"]),
        ("-tp 2", "-pp 2", ["-tp", "2", "-pp", "2"]),
        ("", "--block-size 32", ["--block-size", "32"]),
        ("--block-size 32", "", ["--block-size", "32"]),
        (CUDAGRAPH, "--block-size 32",
         ["--compilation-config", '{"cudagraph_mode": "FULL_DECODE_ONLY"}', "--block-size", "32"]),
        ("--block-size ", "32", ["--block-size", "32"]),
        ("--dtype=", "auto", ["--dtype=auto"]),
    ],
)  # fmt: skip
def test_references_without_a_blank_between_them_are_the_arguments_that_they_hold(
    tmp_path: Path, first: str, second: str, words: list[str], reference: str
) -> None:
    argv = seen(a_vllm_case(tmp_path, others=reference, fields=two_choices(first, second))).service
    assert list(argv[-len(words) - 1 :]) == ["18431", *words]


def test_references_to_nothing_drop_the_word_and_the_flag_before_it(tmp_path: Path) -> None:
    argv = seen(a_vllm_case(tmp_path, others="--seed $A$B $A$B --dtype=$A$B", fields=two_choices("", ""))).service
    assert argv[-2:] == ("--port", "18431")


@pytest.mark.parametrize(("first", "second", "word"), [("fp8", "-kv", "fp8-kv"), ("1", "-1", "1-1"), ("", "x", "x")])
def test_references_to_other_texts_are_joined(tmp_path: Path, first: str, second: str, word: str) -> None:
    argv = seen(a_vllm_case(tmp_path, others="--quantization $A$B", fields=two_choices(first, second))).service
    assert argv[-2:] == ("--quantization", word)


def test_a_flag_in_either_of_two_references_counts_as_given_twice(tmp_path: Path) -> None:
    for texts in (("--enforce-eager", "--port 1"), ("--port 1", "--enforce-eager")):
        with pytest.raises(InvalidConfiguration, match="--port is given twice"):
            seen(a_vllm_case(tmp_path, others="$A$B", fields=two_choices(*texts)))


@pytest.mark.parametrize("quoted", ["""'{"level": 3}'""", '"{\\"level\\": 3}"', """ '{"level": 3}' """])
@pytest.mark.parametrize("others", ["--compilation-config $EXTRA", "--compilation-config=$EXTRA", ""])
def test_a_value_in_the_quotes_of_a_shell_reaches_the_service_without_them(
    tmp_path: Path, quoted: str, others: str
) -> None:
    position = {} if others else {"config_position": '"argument:--compilation-config"'}
    field = a_field("EXTRA", "enum", dtype_param=json.dumps(["", quoted]), value=json.dumps(quoted), **position)
    argv = seen(a_vllm_case(tmp_path, others=others, fields=field + CONCURRENCY)).service
    assert argv[-1].removeprefix("--compilation-config=") == '{"level": 3}'


@pytest.mark.parametrize("text", ["'quoted'", "'{% for x in y %}'", "it's", "''"])
def test_quotes_around_anything_else_are_the_users_own(tmp_path: Path, text: str) -> None:
    fields = a_field("EXTRA", "str", constant=json.dumps(text)) + CONCURRENCY
    assert seen(a_vllm_case(tmp_path, others="--chat-template $EXTRA", fields=fields)).service[-1] == text


def test_a_value_that_repeats_the_flag_of_its_position_is_given_once(tmp_path: Path) -> None:
    value = '--compilation-config {"level":3}'
    field = a_field("EXTRA", "enum", dtype_param=json.dumps(["", value]), value=json.dumps(value),
                    config_position='"argument:--compilation-config"')  # fmt: skip
    argv = seen(a_vllm_case(tmp_path, fields=field + CONCURRENCY)).service
    assert argv[-2:] == ("--compilation-config", '{"level":3}')


def test_a_command_that_goes_on_in_the_next_line_is_read_as_a_shell_reads_it(tmp_path: Path) -> None:
    argv = seen(a_vllm_case(tmp_path, others="--block-size 16 \\\n  --enforce-eager \\\n")).service
    assert argv[-3:] == ("--block-size", "16", "--enforce-eager")


def test_a_count_of_tokens_that_is_searched_is_no_secret(tmp_path: Path) -> None:
    others = '--speculative-config {"model":"x","num_speculative_tokens":$SPEC}'
    fields = a_field("SPEC", "int", min="1", max="4", value="2") + CONCURRENCY
    assert "secret" not in seen(a_vllm_case(tmp_path, others=others, fields=fields)).remarks
