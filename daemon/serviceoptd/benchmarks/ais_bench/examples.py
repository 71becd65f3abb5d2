"""A prompt's template with the examples in it that AISBench shows before each question (`FixKRetriever`).

By `icl_prompt_template.py`, `icl_base_retriever.py` and `APITemplateParser` of AISBench 3.1. Text, or items of a dialogue:
dictionaries with `role` and `prompt`, in which text without a role is not sent.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from serviceopt_journal.errors import ServiceoptError
from serviceopt_journal.foreign_text import json_value
from serviceoptd.benchmarks.ais_bench.stated import as_table, name_of
from serviceoptd.benchmarks.untellable import Untellable
from serviceoptd.predicting.data_set.records import Content

MODEL = "BOT"
MOST_EXAMPLES = 64
Items = list[Any]
Template = str | Items


def is_a(table: Mapping[str, Any], kind: str) -> bool:
    """Whether a table of AISBench's is of this class."""
    return name_of(table.get("type")) == kind


def with_examples(infer: Mapping[str, Any], examples: Path, answer: str) -> Template:
    """What each prompt is made of, its columns in braces.

    Args:
        infer: `infer_cfg` of the data set.
        examples: the file of the records that examples come from.
        answer: the column that is not sent, but shown in examples.

    Raises:
        Untellable: it is nothing that can be told without running it.
    """
    retriever, shown = as_table(infer.get("retriever")), as_table(infer.get("ice_template"))
    prompt = as_table(infer.get("prompt_template")) or shown
    if not is_a(as_table(infer.get("inferencer")), "GenInferencer"):
        raise Untellable("the inferencer of the data set, which is not GenInferencer")
    template = _items(prompt.get("template"))
    token = prompt.get("ice_token")
    if isinstance(separator := prompt.get("sep_token"), str):
        template = _replaced(template, separator, "")
    if is_a(retriever, "ZeroRetriever"):
        return _replaced(template, token, "") if isinstance(token, str) else template
    if not is_a(retriever, "FixKRetriever") or not isinstance(token, str):
        raise Untellable("the examples of the data set, which FixKRetriever does not choose")
    numbers = retriever.get("fix_id_list")
    if not isinstance(numbers, list) or len(numbers) > MOST_EXAMPLES or not all(type(each) is int for each in numbers):
        raise Untellable("the examples of the data set: its fix_id_list")
    of_one = _items(shown.get("template"))
    if isinstance(own := shown.get("ice_token"), str):
        of_one = _replaced(_without_begin(of_one), own, "")
    records = [_record(examples, number) for number in numbers]
    filled = [_filled(of_one, record) for record in records]
    if isinstance(of_one, str):
        between, end = (retriever.get(key, "\n") for key in ("ice_separator", "ice_eos_token"))
        return _replaced(template, token, between.join(map(str, filled)) + end)
    return _replaced(template, token, [item for items in filled for item in items])


def messages_of(template: Items, answer: str) -> list[tuple[str, str]]:
    """Role and text of each message: without what the model is to say, and one role's texts together."""
    items = [item for item in template if isinstance(item, dict) and "prompt" in item]
    while items and items[-1].get("role") == MODEL:
        items = items[:-1]
    found: list[tuple[str, str]] = []
    for item in items:
        role, text = str(item.get("role")), str(item["prompt"]).replace(f"{{{answer}}}", "")
        if found and found[-1][0] == role:
            found[-1] = (role, f"{found[-1][1]}\n{text}")
        else:
            found.append((role, text))
    if not found:
        raise Untellable("the template of the data set, which has no message")
    return found


def text_of(template: Items, answer: str) -> str:
    """The one text that a service which is not asked for a chat has of a dialogue."""
    spoken = (item if isinstance(item, str) else str(item.get("prompt", "")) for item in template)
    return "\n".join(text for each in spoken if (text := each.replace(f"{{{answer}}}", "") if answer else each))


def _items(template: Any) -> Template:
    """A text, or the items of begin, rounds and end."""
    if isinstance(template, str):
        return template
    if isinstance(template, dict) and "round" in template and template.keys() <= {"begin", "round", "end"}:
        found: Items = []
        for part in ("begin", "round", "end"):
            given = template.get(part, [])
            found += [{**item, "part": part} if isinstance(item, dict) else item for item in _listed(given)]
        if all(isinstance(item, str) or isinstance(item.get("prompt", ""), str) for item in found):
            return found
    raise Untellable("the template of the data set, which is not a text or a dialogue")


def _listed(given: Any) -> list[Any]:
    items = given if isinstance(given, list) else [given]
    if not all(isinstance(item, str | dict) for item in items):
        raise Untellable("the template of the data set, which only running it would tell")
    return items


def _without_begin(template: Template) -> Template:
    """Examples have the rounds alone."""
    if isinstance(template, str):
        return template
    return [item for item in template if isinstance(item, dict) and item.get("part") == "round"]


def _replaced(template: Template, token: str, text: str | Items) -> Template:
    if isinstance(template, str):
        if not isinstance(text, str):
            raise Untellable("the template of the data set: a dialogue stands in a text")
        return template.replace(token, text)
    found: Items = []
    for item in template:
        if isinstance(item, dict):
            plain = text if isinstance(text, str) else ""
            found.append({**item, "prompt": item["prompt"].replace(token, plain)} if "prompt" in item else item)
        elif token in item and not isinstance(text, str):
            found += text
        else:
            found.append(item)
    return found


def _filled(template: Template, record: Mapping[str, Any]) -> Template:
    if not isinstance(template, str):
        return [
            {**item, "prompt": _filled(item["prompt"], record)}
            for item in template
            if isinstance(item, dict) and "prompt" in item
        ]
    for column, value in record.items():
        template = template.replace(f"{{{column}}}", str(value))
    return template


def _record(path: Path, number: int) -> Mapping[str, Any]:
    try:
        lines: Iterable[tuple[int, str]] = islice(Content(path).lines(), number, number + 1)
        found = [json_value(line) for _, line in lines]
    except (ServiceoptError, ValueError) as error:
        raise Untellable(f"the examples of the data set: {path} cannot be read: {error}") from error
    if number < 0 or not found or not isinstance(found[0], dict):
        raise Untellable(f"the examples of the data set: {path} has no record {number}")
    return found[0]
