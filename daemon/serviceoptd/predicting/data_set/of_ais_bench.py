"""What AISBench takes of a data set's records, by the classes of `ais_bench/benchmark/datasets` of 3.1."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from serviceoptd.predicting.data_set.records import Content, NoDataSet, csv_rows, json_array, json_lines
from serviceoptd.predicting.data_set.taking import Pair, Taking, Talk, an_object, first, limited, one, text_in, whole
from serviceoptd.predicting.data_set.texts import Texts

OWN = ("max_tokens", "max_out_len")
"""A record's own limit of its answer, by the names that `CustomDataset` knows."""
PERSON, MODEL = "HUMAN", "BOT"
ROLES = {PERSON: "user", MODEL: "assistant", "SYSTEM": "system"}


def ais_bench(content: Content, texts: Texts, taking: Taking) -> Iterator[Talk]:
    """The template, or the messages, of each line with its columns.

    With `own_output` a line's own limit wins over `output`.
    """
    for line, record in first(content, _records(content)):
        where = f"{content.path}:{line}"
        an_object(record, where)
        own = next((record[key] for key in OWN if taking.own_output and record.get(key)), taking.output)
        output = whole(own, f"{where}: `max_tokens`")
        if not taking.messages:
            yield one(texts.sent(limited(_filled(taking.template, record), where)), output)
            continue
        messages = [(ROLES.get(role, role), limited(_filled(text, record), where)) for role, text in taking.messages]
        yield one(texts.sent([{"role": role, "content": text} for role, text in messages]), output)


def ais_bench_sharegpt(content: Content, texts: Texts, taking: Taking) -> Iterator[Talk]:
    """Every second turn of a conversation of whole pairs that a person begins, as `ShareGPTDataset` takes them."""
    talks = (
        (place, record["conversations"])
        for place, record in json_array(content)
        if isinstance(record, dict)
        and isinstance(record.get("conversations"), list)
        and len(record["conversations"]) >= 2
        and len(record["conversations"]) % 2 == 0
        and isinstance(record["conversations"][0], dict)
        and record["conversations"][0].get("from") == "human"
    )
    for place, turns in first(content, talks):
        where = f"{content.path}: `conversations` of element {place}"
        said = [text_in(turn, "value", where) for turn in turns]
        yield _talk(said[::2], said[1::2], texts, taking)


def ais_bench_mtbench(content: Content, texts: Texts, taking: Taking) -> Iterator[Talk]:
    """The questions of `prompt` of each line, with the answers of `reference` where it has some, as `MTBenchDataset`."""
    for line, record in first(content, json_lines(content)):
        where = f"{content.path}:{line}"
        asked, answers = an_object(record, where).get("prompt"), record.get("reference") or []
        if not isinstance(asked, list) or not asked or not all(isinstance(text, str) for text in asked):
            raise NoDataSet(f"{where}: `prompt` is not a list of texts")
        if not isinstance(answers, list) or (answers and len(answers) != len(asked)):
            raise NoDataSet(f"{where}: `reference` has not as many texts as `prompt`")
        said = [limited(text, where) for text in asked]
        yield _talk(said, [str(answer) for answer in answers] or [""] * len(said), texts, taking)


def _talk(asked: list[str], answers: list[str], texts: Texts, taking: Taking) -> Talk:
    """The requests of one conversation: each turn with all before it, or the last one alone.

    What was answered before is the file's answer (`every_with_gt`, `last`) or the model's own (`every`), of which only the
    number of tokens is known.
    """
    output = whole(taking.output, "the length of the answers")
    before: list[Mapping[str, str]] = []
    pairs: list[Pair] = []
    for turn, (question, answer) in enumerate(zip(asked, answers, strict=True)):
        before.append({"role": "user", "content": question})
        generated = output * turn if taking.turns == "every" else 0
        # what is no chat is joined by line breaks, around what the model has said too
        joined = (each["content"] for each in before if each["content"] or generated)
        prompt = before if texts.by_service else "\n".join(joined)
        pairs.append((max(1, texts.sent(prompt) + generated), output))
        before.append({"role": "assistant", "content": answer if taking.turns != "every" else ""})
    return Talk(tuple(pairs[-1:] if taking.turns == "last" else pairs))


def _records(content: Content) -> Iterator[tuple[int, Any]]:
    if content.path.suffix != ".csv":
        yield from json_lines(content)
        return
    rows = csv_rows(content)
    _, header = next(rows, (1, []))
    for line, row in rows:
        yield line, dict(zip(header, row, strict=False))


def _filled(template: str, record: Mapping[str, Any]) -> str:
    """One column after the other, as `safe_format` does."""
    for column, value in record.items():
        template = template.replace(f"{{{column}}}", str(value))
    return template
