"""What GuideLLM takes of a file's rows, by its `generative_column_mapper` and `generative` finalizer (0.8.1).

A column belongs to what its name says, alone, in the plural, or with the number of a turn behind it. Answers have exactly as
many tokens as the row tells (`ignore_eos`); without such a column the client asks for none.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from serviceoptd.predicting.data_set.records import Content, NoDataSet, csv_rows, json_array, json_lines
from serviceoptd.predicting.data_set.taking import Pair, Taking, Talk, an_object, first, limited, number, whole
from serviceoptd.predicting.data_set.texts import Texts

PREFIX, TEXT, OUTPUT = "prefix_column", "text_column", "output_tokens_count_column"
USUAL: Mapping[str, Sequence[str]] = {
    PREFIX: ("system_prompt", "system", "prefix"),
    TEXT: ("prompt", "instruction", "question", "input", "context", "content", "conversation", "turn", "text"),
    OUTPUT: ("output_tokens_count", "completion_tokens_count"),
}
"""The names that it looks for."""
BEYOND_TEXT = (
    "messages", "chat_messages", "image", "picture", "photo", "img", "video", "clip", "movie", "footage", "mp4", "mov",
    "avi", "audio", "sound", "voice", "speech", "wav", "mp3", "tools", "functions", "tool_definitions", "conversation_turns",
)  # fmt: skip
"""Of its other columns: what changes a prompt and cannot be counted here."""

Turns = Mapping[int, str]  # turn -> column


def guidellm(content: Content, texts: Texts, taking: Taking) -> Iterator[Talk]:
    """The prompt of each turn of a row, behind what was said before, with as many tokens as it is to be answered."""
    where = f"{content.path}:1"
    columns: dict[str, Turns] = {}
    for line, record in first(content, _records(content)):
        row = an_object(record, f"{content.path}:{line}")
        if not columns:
            columns = {each: _columns(each, row, taking) for each in USUAL}
            if wrong := next((name for name in row if _named(BEYOND_TEXT, name)), None):
                raise NoDataSet(f"{where}: has the column `{wrong}`, whose tokens are not known")
            if not columns[TEXT]:
                raise NoDataSet(f"{where}: has no column of prompts, such as `prompt` or `text`")
        yield Talk(tuple(_pairs(row, columns, texts, taking, f"{content.path}:{line}")))


def _pairs(
    row: Mapping[str, Any], columns: Mapping[str, Turns], texts: Texts, taking: Taking, where: str
) -> Iterator[Pair]:
    before: list[Mapping[str, str]] = []
    generated = 0
    for turn in sorted({*columns[TEXT], *columns[PREFIX]}):
        for role, column in (("system", columns[PREFIX].get(turn)), ("user", columns[TEXT].get(turn))):
            if text := str((row.get(column) or "") if column else ""):
                before.append({"role": role, "content": limited(text, f"{where}: `{column}`")})
        output = _output(row, columns[OUTPUT].get(turn), taking, where)
        if not before:
            raise NoDataSet(f"{where}: has no prompt")
        # what is no chat is joined by spaces
        prompt = before if texts.by_service else " ".join(each["content"] for each in before)
        yield texts.sent(prompt) + generated, output
        generated += output
        before.append({"role": "assistant", "content": ""})


def _output(row: Mapping[str, Any], column: str | None, taking: Taking, where: str) -> int:
    told = row.get(column) if column else None
    if told not in (None, "", 0) and (found := number(told, f"{where}: `{column}`")) > 0:
        return found
    if taking.output is None:
        raise NoDataSet(
            f"{where}: tells no number of output tokens (`{USUAL[OUTPUT][0]}`), so an answer may be of any length"
        )
    return whole(taking.output, "the length of the answers")


def _columns(kind: str, row: Mapping[str, Any], taking: Taking) -> dict[int, str]:
    """Of the names that are looked for, the first that a column has; and all of its turns."""
    chosen = dict(taking.columns).get(kind)
    if taking.columns and chosen is None:
        return {}
    found = next((match for name in row if (match := _named([chosen] if chosen else USUAL[kind], name))), None)
    if found is None:
        return {}
    turns: dict[int, str] = {}
    for name in row:
        if same := _named([found["name"]], name):
            turns[int(same["turn"]) if same["turn"] else len(turns)] = name
    return turns


def _named(names: Iterable[str], column: str) -> re.Match[str] | None:
    words = "|".join(re.escape(name) for name in names)
    return re.fullmatch(rf"(?P<name>({words})(es|s)?)([-_](?P<turn>\d+))?", column, re.IGNORECASE)


def _records(content: Content) -> Iterator[tuple[int, Any]]:
    if content.path.suffix.lower() == ".csv":
        rows = csv_rows(content)
        _, header = next(rows, (1, []))
        yield from ((line, dict(zip(header, row, strict=False))) for line, row in rows)
    elif content.bytes.lstrip()[:1] == b"[":
        yield from json_array(content)
    else:
        yield from json_lines(content)
