"""The chat template of a model: the text that a service, or its client, makes of messages before it counts tokens.

Rendered as Hugging Face's `transformers` does (`utils/chat_template_utils.py`), in the same sandbox of Jinja.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serviceopt_journal.foreign_text import json_value
from serviceoptd.predicting.data_set.records import Content, NoDataSet

FILE, CONFIGURATION = "chat_template.jinja", "tokenizer_config.json"
"""The first wins where both have one."""
LARGEST = 2**20  # bytes of a template

Message = Mapping[str, str]
"""`role` and `content`."""


@dataclass(frozen=True)
class ChatTemplate:
    """A template that was found. `identity`: what its texts depend on."""

    render: Callable[[Sequence[Message]], str]
    identity: str


def chat_template(directory: Path | None) -> ChatTemplate | str:
    """The template of the model in this directory, or why there is none to be had."""
    if directory is None:
        return "no model's directory is known"
    configuration = _configuration(directory)
    source = _own_file(directory) or _of(configuration)
    if not source:
        return f"{directory} has none"
    if len(source) > LARGEST:
        return f"that of {directory} is longer than {LARGEST >> 20} MiB"
    try:
        from jinja2 import TemplateError
        from jinja2.sandbox import ImmutableSandboxedEnvironment
    except ImportError:
        return "the Python package `jinja2` is not installed (`pip install 'serviceopt[tokenizers]'`)"

    def refuse(message: str) -> str:
        raise TemplateError(message)

    sandbox = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    sandbox.filters["tojson"] = _as_json
    sandbox.globals |= {
        "raise_exception": refuse,
        "strftime_now": lambda style: datetime.datetime.now(datetime.UTC).strftime(style),
    }
    tokens = {name: _token(configuration.get(name)) for name in ("bos_token", "eos_token", "pad_token", "unk_token")}
    told = {name: text for name, text in tokens.items() if text is not None}
    try:
        compiled = sandbox.from_string(source)

        def render(messages: Sequence[Message]) -> str:
            return compiled.render(
                messages=list(messages), add_generation_prompt=True, tools=None, documents=None, **told
            )

        render([{"role": "user", "content": "a text"}])
    except Exception as error:  # noqa: BLE001 - whatever the template does
        return f"that of {directory} cannot be used: {error}"
    return ChatTemplate(render, json.dumps([source, told], sort_keys=True))


def _own_file(directory: Path) -> str:
    try:
        return Content(directory / FILE).bytes.decode()
    except (NoDataSet, UnicodeDecodeError):
        return ""


def _configuration(directory: Path) -> Mapping[str, Any]:
    try:
        found = json_value(Content(directory / CONFIGURATION).bytes)
    except (NoDataSet, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _of(configuration: Mapping[str, Any]) -> str:
    found = configuration.get("chat_template")
    if isinstance(found, list):  # several, by name
        named = {each.get("name"): each.get("template") for each in found if isinstance(each, dict)}
        found = named.get("default")
    return found if isinstance(found, str) else ""


def _token(value: Any) -> str | None:
    text = value.get("content") if isinstance(value, dict) else value
    return text if isinstance(text, str) else None


def _as_json(value: Any, indent: int | None = None) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent)
