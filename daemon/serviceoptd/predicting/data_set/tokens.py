"""How many tokens a text has: by the model's own tokenizer where it is here, else by an estimate that says so."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from serviceoptd.predicting.data_set.records import MOST_BYTES, Content, NoDataSet

FILE = "tokenizer.json"
BYTES_PER_TOKEN = 4
"""Of the estimate: a rule of thumb for English prose; code, other languages and other tokenizers are off by tens of per
cent."""


@dataclass(frozen=True)
class Counter:
    """What counts the tokens of a text. `how`: by what, for people, and where it is `estimated`, why."""

    count: Callable[[str], int]
    bare: Callable[[str], int]  # without the special tokens that the tokenizer puts around a text
    how: str
    estimated: bool
    identity: str  # what the counts depend on


def counter(directory: Path | None) -> Counter:
    """The counter of the tokenizer in this directory; None: nobody said where one is."""
    if directory is None:
        return _estimate("no tokenizer's directory is known")
    path = directory / FILE
    try:
        content = Content(path)
    except NoDataSet as error:
        return _estimate(error.message)
    if not content.whole:
        return _estimate(f"{path}: is larger than {MOST_BYTES >> 20} MiB")
    try:
        from tokenizers import Tokenizer
    except ImportError:
        return _estimate("the Python package `tokenizers` is not installed (`pip install 'serviceopt[tokenizers]'`)")
    try:
        tokenizer = Tokenizer.from_str(content.bytes.decode())
        tokenizer.no_truncation()
        tokenizer.no_padding()
        tokenizer.encode("a text")
    except Exception as error:  # noqa: BLE001 - its library raises nothing more special
        return _estimate(f"{path}: is not a tokenizer: {error}")

    def count(text: str, *, special: bool = True) -> int:
        # half of a surrogate pair, which JSON can hold and UTF-8 cannot
        whole = text.encode(errors="replace").decode()
        return len(tokenizer.encode(whole, add_special_tokens=special).ids)

    return Counter(
        count=count,
        bare=partial(count, special=False),
        how=f"counted with {path}",
        estimated=False,
        identity=f"sha256:{hashlib.sha256(content.bytes).hexdigest()}",
    )


def _estimate(why: str) -> Counter:
    def estimated(text: str) -> int:
        return -(-len(text.encode(errors="replace")) // BYTES_PER_TOKEN)

    return Counter(
        count=estimated,
        bare=estimated,
        how=f"ESTIMATED at {BYTES_PER_TOKEN} bytes per token, because {why}",
        estimated=True,
        identity=f"estimated at {BYTES_PER_TOKEN} bytes per token",
    )
