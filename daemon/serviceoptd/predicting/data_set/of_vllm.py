"""What `vllm bench serve` takes of a data set's records.

The rules are those of `vllm/benchmarks/datasets/datasets.py` of 0.32: `is_valid_sequence`, and `load_data` and `sample` of
each class.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from serviceoptd.predicting.data_set.records import Content, NoDataSet, csv_rows, json_array, json_lines
from serviceoptd.predicting.data_set.taking import Taking, Talk, an_object, first, limited, number, one, text_in, whole
from serviceoptd.predicting.data_set.texts import Texts

SHORTEST, LONGEST_PROMPT, LONGEST_TOTAL = 4, 1024, 2048
"""Tokens of what `sharegpt` keeps."""
OF_BURSTGPT = ("Model", "Response tokens")
"""The columns that are looked up by their name; the tokens are those of the third and the fourth, whatever their names."""
OF_A_TRACE = ("timestamp", "input_length", "output_length", "hash_ids")
"""The usual labels of `timed_trace`."""


def custom(content: Content, texts: Texts, taking: Taking) -> Iterator[Talk]:
    """`prompt` of each line; `output` None: the line's own `output_tokens`."""
    if content.path.suffix != ".jsonl":
        raise NoDataSet(f"{content.path}: the client takes only names that end in .jsonl for the data set `custom`")
    for line, record in first(content, json_lines(content)):
        where = f"{content.path}:{line}"
        prompt = text_in(record, "prompt", where)
        output = taking.output or whole(record.get("output_tokens"), f"{where}: `output_tokens`")
        yield one(texts.sent(prompt), output)


def spec_bench(content: Content, texts: Texts, taking: Taking) -> Iterator[Talk]:
    """The first of `turns` of each line, of one category where one is asked for."""
    for line, record in first(content, json_lines(content)):
        where = f"{content.path}:{line}"
        if _another_category(an_object(record, where), taking, where):
            continue
        yield _first_turn(record.get("turns"), texts, taking, f"{where}: `turns`")


def speed_bench(content: Content, texts: Texts, taking: Taking) -> Iterator[Talk]:
    """The content of the first of `messages` of each line, of one category where one is asked for."""
    for line, record in first(content, json_lines(content)):
        where = f"{content.path}:{line}"
        if _another_category(an_object(record, where), taking, where):
            continue
        messages = record.get("messages")
        turns = [message.get("content") for message in messages[:1] if isinstance(message, dict)] if messages else []
        yield _first_turn(turns, texts, taking, f"{where}: `messages`")


def sharegpt(content: Content, texts: Texts, taking: Taking) -> Iterator[Talk]:
    """The first two turns of each conversation of two or more, unless too short or too long; `output` as above."""
    output = taking.output
    talks = (
        (place, record["conversations"])
        for place, record in json_array(content)
        if isinstance(record, dict) and "conversations" in record and _several(record["conversations"])
    )
    for place, turns in first(content, talks):
        where = f"{content.path}: `conversations` of element {place}"
        prompt, answer = (text_in(turn, "value", where) for turn in turns[:2])
        tokens = texts.plain(prompt)
        answered = output or texts.plain(answer)
        if (
            SHORTEST <= tokens <= LONGEST_PROMPT
            and (output or answered >= SHORTEST)
            and tokens + answered <= LONGEST_TOTAL
        ):
            yield one(texts.sent(prompt), answered)


def burstgpt(content: Content, texts: Texts, taking: Taking) -> Iterator[Talk]:
    """The rows of GPT-4 that were answered. Nothing is counted, and `taking` has no effect: they tell both."""
    rows = csv_rows(content)
    _, header = next(rows, (1, []))
    if not {*OF_BURSTGPT} <= {*header} or len(header) < 4:
        raise NoDataSet(f"{content.path}:1: is not a header of BurstGPT: it needs {' and '.join(OF_BURSTGPT)}")
    model, response = (header.index(name) for name in OF_BURSTGPT)
    own = (
        (line, row)
        for line, row in rows
        if len(row) == len(header)
        and row[model] == "GPT-4"
        and number(row[response], f"{content.path}:{line}: {OF_BURSTGPT[1]}") > 0
    )
    for line, row in first(content, own):
        prompt, answer = (number(cell, f"{content.path}:{line}: {cell!r}") for cell in row[2:4])
        yield one(max(1, prompt), max(1, answer))


def timed_trace(content: Content, texts: Texts, taking: Taking) -> Iterator[Talk]:
    """Each line's own lengths; of a prompt no more than its hashes stand for. With `second`, its time stamp too."""
    stamp, prompt, output, hashes = taking.labels or OF_A_TRACE
    latest = 0.0
    for line, record in first(content, json_lines(content)):
        where = f"{content.path}:{line}"
        an_object(record, where)
        for label in (stamp, prompt, output):
            if record.get(label) is None:
                raise NoDataSet(f"{where}: has no `{label}`; `--timed-trace-label-...` tells the client its name")
        ids = record.get(hashes)
        standing = (len(ids) if isinstance(ids, list) else 0) * taking.hashed
        tokens = min(whole(record[prompt], f"{where}: `{prompt}`"), standing)
        if tokens < 1:
            raise NoDataSet(f"{where}: has no `{hashes}`, of which the client makes its prompt")
        if taking.second is not None:
            latest = max(latest, _seconds(record[stamp], taking.second, f"{where}: `{stamp}`"))
        pair = (tokens, whole(record[output], f"{where}: `{output}`"))
        yield Talk((pair,), latest if taking.second is not None else None)


def _another_category(record: dict[str, Any], taking: Taking, where: str) -> bool:
    if not taking.category:
        return False
    if "category" not in record:
        raise NoDataSet(f"{where}: has no `category`")
    return bool(record["category"] != taking.category)


def _first_turn(turns: Any, texts: Texts, taking: Taking, what: str) -> Talk:
    if not isinstance(turns, list) or not turns or not isinstance(turns[0], str):
        raise NoDataSet(f"{what} does not begin with a text")
    return one(texts.sent(limited(turns[0], what)), whole(taking.output, "the length of the answers"))


def _several(turns: Any) -> bool:
    return isinstance(turns, list) and len(turns) >= 2


def _seconds(value: Any, second: float, what: str) -> float:
    try:
        found = float(value) * second
    except (TypeError, ValueError) as error:
        raise NoDataSet(f"{what} is not a number") from error
    if not math.isfinite(found):
        raise NoDataSet(f"{what} is not a number of seconds")
    return found
