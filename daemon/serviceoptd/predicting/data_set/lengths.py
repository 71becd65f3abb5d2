"""The lengths of the requests that a client takes from its data set's file, and what to say of them."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from serviceoptd.predicting.data_set import chat_template
from serviceoptd.predicting.data_set.kinds import COUNTED, TALKS, Kind
from serviceoptd.predicting.data_set.records import MOST_BYTES, MOST_RECORDS, Content, NoDataSet
from serviceoptd.predicting.data_set.taking import Taking
from serviceoptd.predicting.data_set.texts import Texts, texts
from serviceoptd.predicting.data_set.tokens import FILE, Counter
from serviceoptd.predicting.section import DataSetOptions
from serviceoptd.toolkit.provenance import ABSENT, file_digest

FILES = (FILE, chat_template.FILE, chat_template.CONFIGURATION)
"""Of a tokenizer's directory, on which the counts depend."""


@dataclass(frozen=True)
class DataSet:
    """The (input, output) tokens of each request, in the order of the file."""

    name: str
    pairs: tuple[tuple[int, int], ...]
    turns: tuple[int, ...]  # pairs of each conversation, in the order of the file; (): each is one
    times: tuple[float, ...]  # seconds from the start when each conversation begins; (): the file does not tell
    whole: bool  # no record was left out
    how: str  # the tokens were found, for people
    estimated: bool

    def summary(self) -> str:
        """How many there are, how long, and by what that is known."""
        prompts, answers = zip(*self.pairs, strict=True)
        part = "" if self.whole else f" (its first {MOST_RECORDS:,} records, or {MOST_BYTES >> 20} MiB, were read)"
        talks = f" in {len(self.turns):,} conversations" if self.turns else ""
        return (
            f"{len(self.pairs):,} requests{talks} of {self.name}{part} are simulated: prompts of {_spread(prompts)} tokens, "
            f"answers of {_spread(answers)}; {self.how}"
        )


def data_set(options: DataSetOptions, directory: Path) -> DataSet:
    """Reads the file that `options` name, relative to `directory`; once, until it or the tokenizer changes.

    Raises:
        NoDataSet: there are no lengths to be had, and why.
    """
    path, tokenizer = _located(options.path, directory), _tokenizer(options, directory)
    around = (options.client_template, options.chat)
    states = tuple(_state(tokenizer / file) for file in FILES) if tokenizer else ()
    found = _read(path, options.kind, tokenizer, around, _taking(options), (_state(path), *states))
    if isinstance(found, str):
        raise NoDataSet(found)
    return found


def added_tokens(model: str, directory: Path) -> tuple[int, str]:
    """Tokens that the chat template of a model adds to a prompt, and by what that is known, or why it is not.

    Special tokens of the tokenizer are taken off: the client made its prompt shorter by them.
    """
    place = _located(model, directory)
    return _added(place, tuple(_state(place / file) for file in FILES))


@lru_cache(maxsize=8)
def _added(model: Path, states: object) -> tuple[int, str]:
    counting = texts(model, by_service=True)
    if counting.template is None or counting.counter.estimated:
        return 0, counting.missing or counting.counter.how
    special = counting.plain("text") - counting.counter.bare("text")
    return max(0, counting.sent("text") - counting.counter.bare("text") - special), ""


def fingerprint(options: DataSetOptions, directory: Path) -> dict[str, str]:
    """What the lengths depend on beside `options`: digests of the file and of the tokenizer, by key."""
    path = _located(options.path, directory)
    found = {"data_set": file_digest(path) if _state(path) else ABSENT}
    if options.kind in COUNTED:
        around = (options.client_template, options.chat)
        found["tokenizer"] = _texts(options.kind, _tokenizer(options, directory), around).identity
    return found


# what cannot be read is kept as well: it would be tried again before each measurement
@lru_cache(maxsize=8)
def _read(
    path: Path, kind: Kind, tokenizer: Path | None, around: tuple[bool, bool], taking: Taking, states: object
) -> DataSet | str:
    try:
        content = Content(path)
        counting = _texts(kind, tokenizer, around)
        talks = tuple(TALKS[kind](content, counting, taking))
    except NoDataSet as error:
        return error.message
    if not talks:
        return f"{path}: the client would send none of its requests"
    turns = tuple(len(talk.pairs) for talk in talks)
    return DataSet(
        name=path.name,
        pairs=tuple(pair for talk in talks for pair in talk.pairs),
        turns=turns if max(turns) > 1 else (),
        times=tuple(talk.time for talk in talks if talk.time is not None),
        whole=content.whole,
        how=counting.how,
        estimated=counting.counter.estimated,
    )


def _taking(options: DataSetOptions) -> Taking:
    return Taking(
        output=options.output_tokens,
        template=options.template,
        messages=tuple((each.role, each.prompt) for each in options.messages),
        own_output=options.own_output,
        turns=options.turns,
        category=options.category,
        labels=tuple(options.labels),
        hashed=options.hashed,
        second=options.second,
        columns=tuple(sorted(options.columns.items())),
    )


def _texts(kind: Kind, tokenizer: Path | None, around: tuple[bool, bool]) -> Texts:
    if kind not in COUNTED:
        return Texts(Counter(len, len, "as the file itself tells", estimated=False, identity=""))
    by_client, by_service = around
    return texts(tokenizer, by_client=by_client, by_service=by_service)


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
