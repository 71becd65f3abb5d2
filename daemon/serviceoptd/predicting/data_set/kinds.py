"""What a client takes of its data set's records: the (input, output) tokens of those that it sends.

The rules are those of `vllm bench serve` (`vllm/benchmarks/datasets/datasets.py` of 0.32: `is_valid_sequence` and
`sample` of each class), and for `ais_bench` those of AISBench 3.1 (`benchmark/datasets/custom.py`). The chat template is
not applied: its few tokens a request are missing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from serviceoptd.predicting.data_set.records import (
    LONGEST_LINE,
    MOST_RECORDS,
    Content,
    NoDataSet,
    csv_rows,
    json_array,
    json_lines,
)

Kind = Literal["custom", "sharegpt", "burstgpt", "ais_bench"]
Pair = tuple[int, int]
Record = TypeVar("Record")
CountTokens = Callable[[str], int]


@dataclass(frozen=True)
class Taking:
    """How a client takes the records: the tokens of each answer, or None, and how a record becomes a prompt."""

    output: int | None
    template: str = "{question}"  # of `ais_bench` alone


SHORTEST, LONGEST_PROMPT, LONGEST_TOTAL = 4, 1024, 2048
"""Tokens of what `sharegpt` keeps."""
OF_BURSTGPT = ("Model", "Response tokens")
"""The columns that are looked up by their name; the tokens are those of the third and the fourth, whatever their names."""


def custom(content: Content, count: CountTokens, taking: Taking) -> Iterator[Pair]:
    """`prompt` of each line; `output` None: the line's own `output_tokens`."""
    if content.path.suffix != ".jsonl":
        raise NoDataSet(f"{content.path}: the client takes only names that end in .jsonl for the data set `custom`")
    for number, record in _first(content, json_lines(content)):
        where = f"{content.path}:{number}"
        prompt = _text(record, "prompt", where)
        yield count(prompt), taking.output or _whole(record.get("output_tokens"), f"{where}: `output_tokens`")


def sharegpt(content: Content, count: CountTokens, taking: Taking) -> Iterator[Pair]:
    """The first two turns of each conversation of two or more, unless too short or too long; `output` as above."""
    output = taking.output
    talks = (
        (number, record["conversations"])
        for number, record in json_array(content)
        if isinstance(record, dict) and "conversations" in record and _several(record["conversations"])
    )
    for number, turns in _first(content, talks):
        where = f"{content.path}: `conversations` of element {number}"
        prompt, answer = (_text(turn, "value", where) for turn in turns[:2])
        tokens = count(prompt)
        answered = output or count(answer)
        if (
            SHORTEST <= tokens <= LONGEST_PROMPT
            and (output or answered >= SHORTEST)
            and tokens + answered <= LONGEST_TOTAL
        ):
            yield tokens, answered


def burstgpt(content: Content, count: CountTokens, taking: Taking) -> Iterator[Pair]:
    """The rows of GPT-4 that were answered. Nothing is counted, and `taking` has no effect: they tell both."""
    rows = csv_rows(content)
    _, header = next(rows, (1, []))
    if not {*OF_BURSTGPT} <= {*header} or len(header) < 4:
        raise NoDataSet(f"{content.path}:1: is not a header of BurstGPT: it needs {' and '.join(OF_BURSTGPT)}")
    model, response = (header.index(name) for name in OF_BURSTGPT)
    own = (
        (number, row)
        for number, row in rows
        if len(row) == len(header)
        and row[model] == "GPT-4"
        and _number(row[response], f"{content.path}:{number}: {OF_BURSTGPT[1]}") > 0
    )
    for number, row in _first(content, own):
        prompt, answer = (_number(cell, f"{content.path}:{number}: {cell!r}") for cell in row[2:4])
        yield max(1, prompt), max(1, answer)


def ais_bench(content: Content, count: CountTokens, taking: Taking) -> Iterator[Pair]:
    """The template of each line, with its columns; a line's own `max_tokens` or `max_out_len` wins over `output`."""
    for number, record in _first(content, json_lines(content)):
        where = f"{content.path}:{number}"
        if not isinstance(record, dict):
            raise NoDataSet(f"{where}: is not an object")
        prompt = taking.template
        for column, value in record.items():
            prompt = prompt.replace(f"{{{column}}}", str(value))
        own = next((record[key] for key in ("max_tokens", "max_out_len") if record.get(key) is not None), taking.output)
        yield count(prompt), _whole(own, f"{where}: `max_tokens`")


PAIRS: dict[Kind, Callable[[Content, CountTokens, Taking], Iterator[Pair]]] = {
    "custom": custom, "sharegpt": sharegpt, "burstgpt": burstgpt, "ais_bench": ais_bench,
}  # fmt: skip
"""(input, output) of each request that the client could send; they raise `NoDataSet` where the client would stop."""

COUNTED = frozenset({"custom", "sharegpt", "ais_bench"})
"""The kinds that hold texts."""


def _first(content: Content, records: Iterable[Record]) -> Iterator[Record]:
    for place, record in enumerate(records):
        if place == MOST_RECORDS:
            content.whole = False
            return
        yield record


def _several(turns: Any) -> bool:
    return isinstance(turns, list) and len(turns) >= 2


def _text(record: Any, key: str, where: str) -> str:
    text = record.get(key) if isinstance(record, dict) else None
    if not isinstance(text, str):
        raise NoDataSet(f"{where}: has no text `{key}`")
    if len(text) > LONGEST_LINE:
        raise NoDataSet(f"{where}: `{key}` is longer than {LONGEST_LINE >> 20} MiB")
    return text


def _whole(value: Any, what: str) -> int:
    number = _number(value, what)
    if number < 1:
        raise NoDataSet(f"{what} is below 1")
    return number


def _number(value: Any, what: str) -> int:
    try:
        return value if isinstance(value, int) else int(float(value))
    except (TypeError, ValueError, OverflowError) as error:
        raise NoDataSet(f"{what} is not a number") from error
