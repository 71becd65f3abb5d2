"""The lengths of the requests that a client takes from its data set's file, and what to say of them."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from serviceoptd.predicting.data_set.kinds import COUNTED, PAIRS, Kind, Taking
from serviceoptd.predicting.data_set.records import MOST_BYTES, MOST_RECORDS, Content, NoDataSet
from serviceoptd.predicting.data_set.tokens import FILE, Counter, counter
from serviceoptd.predicting.section import DataSetOptions
from serviceoptd.toolkit.provenance import ABSENT, file_digest


@dataclass(frozen=True)
class DataSet:
    """The (input, output) tokens of each request, in the order of the file."""

    name: str
    pairs: tuple[tuple[int, int], ...]
    whole: bool  # no record was left out
    how: str  # the tokens were found, for people
    estimated: bool

    def summary(self) -> str:
        """How many there are, how long, and by what that is known."""
        prompts, answers = zip(*self.pairs, strict=True)
        part = "" if self.whole else f" (its first {MOST_RECORDS:,} records, or {MOST_BYTES >> 20} MiB, were read)"
        return (
            f"{len(self.pairs):,} requests of {self.name}{part} are simulated: prompts of {_spread(prompts)} tokens, "
            f"answers of {_spread(answers)}; {self.how}"
        )


def data_set(options: DataSetOptions, directory: Path) -> DataSet:
    """Reads the file that `options` name, relative to `directory`; once, until it or the tokenizer changes.

    Raises:
        NoDataSet: there are no lengths to be had, and why.
    """
    path, tokenizer = _located(options.path, directory), _tokenizer(options, directory)
    taking = Taking(options.output_tokens, options.template)
    found = _read(path, options.kind, tokenizer, taking, _state(path), _state(tokenizer and tokenizer / FILE))
    if isinstance(found, str):
        raise NoDataSet(found)
    return found


def fingerprint(options: DataSetOptions, directory: Path) -> dict[str, str]:
    """What the lengths depend on beside `options`: digests of the file and of the tokenizer, by key."""
    path = _located(options.path, directory)
    found = {"data_set": file_digest(path) if _state(path) else ABSENT}
    if options.kind in COUNTED:
        found["tokenizer"] = _counter(options.kind, _tokenizer(options, directory)).identity
    return found


# what cannot be read is kept as well: it would be tried again before each measurement
@lru_cache(maxsize=8)
def _read(
    path: Path, kind: Kind, tokenizer: Path | None, taking: Taking, state: object, of_tokenizer: object
) -> DataSet | str:
    try:
        content = Content(path)
        counting = _counter(kind, tokenizer)
        pairs = tuple(PAIRS[kind](content, counting.count, taking))
    except NoDataSet as error:
        return error.message
    if not pairs:
        return f"{path}: the client would send none of its requests"
    return DataSet(path.name, pairs, content.whole, counting.how, counting.estimated)


def _counter(kind: Kind, tokenizer: Path | None) -> Counter:
    if kind in COUNTED:
        return counter(tokenizer)
    return Counter(len, "as the file itself tells", estimated=False, identity="")


def _tokenizer(options: DataSetOptions, directory: Path) -> Path | None:
    return _located(options.tokenizer, directory) if options.tokenizer else None


def _located(text: str, directory: Path) -> Path:
    return directory / os.path.expanduser(text)  # noqa: PTH111 - the other one raises where nobody has a home


def _state(path: Path | None) -> tuple[int, int] | None:
    """What changes with the file; None: it is no regular file."""
    try:
        if path is None or not path.is_file():
            return None
        found = path.stat()
    except (OSError, ValueError):
        return None
    return found.st_mtime_ns, found.st_size


def _spread(tokens: Sequence[int]) -> str:
    ordered = sorted(tokens)
    middle, high = (ordered[math.ceil(share * len(ordered)) - 1] for share in (0.5, 0.99))
    return f"{sum(ordered) / len(ordered):,.0f} (P50 {middle:,}, P99 {high:,})"
