"""The records of a data set's file, read within limits: it may be anything that a user named, and of any size."""

from __future__ import annotations

import codecs
import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from serviceopt_journal import foreign_files
from serviceopt_journal.errors import InvalidConfiguration
from serviceopt_journal.foreign_files import UnfitFile
from serviceopt_journal.foreign_text import json_value

MOST_BYTES = 64 * 2**20
"""So much of a file is read."""
MOST_RECORDS = 4000
"""So many records are counted in tokens."""
LONGEST_LINE = 4 * 2**20  # bytes, also of one record's text

ASKED = (
    "give `input_tokens` and `output_tokens` in [simulated], or `lengths`, a CSV file of both: the client prints its "
    "total input and generated tokens, and `vllm bench serve --save-detailed` saves `input_lens` and `output_lens`"
)
"""What to do where nobody can tell how long the requests are."""


class NoDataSet(InvalidConfiguration):
    """A file from which the lengths of requests cannot be taken."""

    def __init__(self, why: str) -> None:
        super().__init__(why, hint=ASKED)


class Content:
    """The beginning of a regular file. `whole`: nothing was left out."""

    def __init__(self, path: Path) -> None:
        """Reads it.

        Raises:
            NoDataSet: there is no regular file, or it cannot be read.
        """
        try:
            found = foreign_files.piece(path, 0, MOST_BYTES + 1, through_links=True)
        except FileNotFoundError as error:
            raise NoDataSet(f"{path}: no such file") from error
        except UnfitFile as error:
            raise NoDataSet(error.message) from error
        except (OSError, ValueError) as error:  # a NUL in the name
            raise NoDataSet(f"{path}: cannot be read: {str(error).lower()}") from error
        self.path, self.bytes, self.whole = path, found[:MOST_BYTES], len(found) <= MOST_BYTES

    def lines(self, *, blank: bool = False) -> Iterator[tuple[int, str]]:
        """Number and text of each whole line, of `blank` ones too where they mean something.

        Raises:
            NoDataSet: one is too long, or not UTF-8.
        """
        pieces = self.bytes.removeprefix(codecs.BOM_UTF8).split(b"\n")
        for number, line in enumerate(pieces if self.whole else pieces[:-1], 1):
            if len(line) > LONGEST_LINE:
                raise NoDataSet(f"{self.path}:{number}: the line is longer than {LONGEST_LINE >> 20} MiB")
            try:
                text = line.decode()
            except UnicodeDecodeError as error:
                raise NoDataSet(f"{self.path}:{number}: is not UTF-8") from error
            if blank or text.strip():
                yield number, text


def json_lines(content: Content) -> Iterator[tuple[int, Any]]:
    """Number and value of each line of a JSONL file.

    Raises:
        NoDataSet: one is not JSON.
    """
    for number, line in content.lines():
        try:
            yield number, json_value(line)
        except ValueError as error:
            raise NoDataSet(f"{content.path}:{number}: is not JSON: {error}") from error


def json_array(content: Content) -> Iterator[tuple[int, Any]]:
    """Number and value of each element of a JSON array, as far as they were read whole.

    Raises:
        NoDataSet: it is no array, or an element is not JSON.
    """
    decoder = json.JSONDecoder()
    try:
        text = codecs.getincrementaldecoder("utf-8-sig")().decode(content.bytes, final=content.whole)
    except UnicodeDecodeError as error:
        raise NoDataSet(f"{content.path}: is not UTF-8") from error
    place = _after_space(text, 0)
    if text[place : place + 1] != "[":
        raise NoDataSet(f"{content.path}: holds no JSON array")
    place = _after_space(text, place + 1)
    number = 0
    while text[place : place + 1] != "]":
        number += 1
        try:
            element, place = decoder.raw_decode(text, place)
        except (ValueError, RecursionError) as error:
            if content.whole or isinstance(error, RecursionError):
                raise NoDataSet(f"{content.path}: element {number} is not JSON: {error}") from error
            return  # the file goes on beyond what was read
        yield number, element
        place = _after_space(text, place)
        if text[place : place + 1] == ",":
            place = _after_space(text, place + 1)
        elif text[place : place + 1] != "]":
            if content.whole:
                raise NoDataSet(f"{content.path}: the array does not end after element {number}")
            return


def csv_rows(content: Content) -> Iterator[tuple[int, list[str]]]:
    """Line number and cells of each row, the header first.

    Raises:
        NoDataSet: it cannot be read as CSV.
    """
    reader = csv.reader(line + "\n" for _, line in content.lines(blank=True))  # a cell may hold blank lines
    try:
        for row in reader:
            if row:
                yield reader.line_num, row
    except csv.Error as error:
        raise NoDataSet(f"{content.path}:{reader.line_num}: {error}") from error


def _after_space(text: str, place: int) -> int:
    while text[place : place + 1] in (" ", "\t", "\r", "\n"):
        place += 1
    return place
