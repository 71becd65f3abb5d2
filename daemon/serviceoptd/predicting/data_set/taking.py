"""What every kind of data set needs to tell the requests that its client would send."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from serviceoptd.predicting.data_set.records import LONGEST_LINE, MOST_RECORDS, Content, NoDataSet

Record = TypeVar("Record")
Pair = tuple[int, int]
LARGEST = 2**31  # tokens


class Talk(NamedTuple):
    """Pairs of (input, output) tokens of each turn of one conversation, one after the other; most have one."""

    pairs: tuple[Pair, ...]
    time: float | None = None  # seconds from the start of the benchmark, where the file tells it


@dataclass(frozen=True)
class Taking:
    """How a client takes the records. What a kind has no use for is as it is here."""

    output: int | None = None  # tokens of each answer; None: the record's own
    template: str = "{question}"  # of `ais_bench`: how a record becomes a prompt
    messages: tuple[tuple[str, str], ...] = ()  # of `ais_bench`, in its place: role and template of each
    own_output: bool = True  # of `ais_bench`: a record's own limit of its answer wins over `output`
    turns: str = "every"  # of conversations: those that are asked
    category: str = ""  # of `spec_bench` and `speed_bench`: records of this one alone; "": all
    labels: tuple[str, ...] = ()  # of `timed_trace`: of time stamp, input, output and hashes
    hashed: int = 16  # of `timed_trace`: tokens that a hash stands for
    second: float | None = None  # of `timed_trace`: what a time stamp is multiplied with; None: they are not used
    columns: tuple[tuple[str, str], ...] = ()  # of `guidellm`: the column that was chosen for each of its own


def one(prompt: int, output: int) -> Talk:
    """A conversation of one request."""
    return Talk(((prompt, output),))


def first(content: Content, records: Iterable[Record]) -> Iterator[Record]:
    """As many records as are counted."""
    for place, record in enumerate(records):
        if place == MOST_RECORDS:
            content.whole = False
            return
        yield record


def an_object(record: Any, where: str) -> dict[str, Any]:
    """Gives the record as what it must be.

    Raises:
        NoDataSet: it is something else.
    """
    if not isinstance(record, dict):
        raise NoDataSet(f"{where}: is not an object")
    return record


def text_in(record: Any, key: str, where: str) -> str:
    """The text of a key.

    Raises:
        NoDataSet: there is none, or it is too long.
    """
    text = record.get(key) if isinstance(record, dict) else None
    if not isinstance(text, str):
        raise NoDataSet(f"{where}: has no text `{key}`")
    return limited(text, f"{where}: `{key}`")


def limited(text: str, what: str) -> str:
    """Gives the text as it is.

    Raises:
        NoDataSet: it is too long to be counted.
    """
    if len(text) > LONGEST_LINE:
        raise NoDataSet(f"{what} is longer than {LONGEST_LINE >> 20} MiB")
    return text


def whole(value: Any, what: str) -> int:
    """A number of tokens.

    Raises:
        NoDataSet: it is none, or below 1.
    """
    if (found := number(value, what)) < 1:
        raise NoDataSet(f"{what} is below 1")
    return found


def number(value: Any, what: str) -> int:
    """Reads a whole number.

    Raises:
        NoDataSet: it is none.
    """
    try:
        found = value if isinstance(value, int) else int(float(value))
    except (TypeError, ValueError, OverflowError) as error:
        raise NoDataSet(f"{what} is not a number") from error
    if found > LARGEST:
        raise NoDataSet(f"{what} is above {LARGEST:,}")
    return found
