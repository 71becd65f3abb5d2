"""A tokenizer whose tokens can be counted by eye: the words of a text."""

from __future__ import annotations

from pathlib import Path

from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit

TEMPLATE = (
    "{% for m in messages %}begin {{ m['role'] }} {{ m['content'] }} end {% endfor %}"
    "{% if add_generation_prompt %}go{% endif %}"
)
"""A chat template that adds three tokens to each message, and one at the end."""


def a_word_tokenizer(directory: Path, template: str = "") -> Path:
    """`tokenizer.json` in the directory, which is made, and beside it a chat template where one is given."""
    directory.mkdir(parents=True, exist_ok=True)
    tokenizer = Tokenizer(WordLevel({"word": 0, "?": 1}, unk_token="?"))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    tokenizer.enable_truncation(5)  # as some models ship it: what is counted is the whole text
    tokenizer.save(str(directory / "tokenizer.json"))
    if template:
        (directory / "chat_template.jinja").write_text(template)
    return directory


def words(count: int) -> str:
    """A text of so many tokens."""
    return " ".join(["word"] * count)
