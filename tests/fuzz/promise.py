"""What is promised of every input: it is taken, or refused in words; nothing else happens."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path

from serviceopt_journal.errors import ExitCode, ServiceoptError

MOST_SECONDS = 5.0  # of processor time for one input; all but the worst take milliseconds
LONGEST_LINE = 4000  # characters of one line of a message
MOST_LINES = 201  # those of one message, and that there are more
NEITHER_SHOWN_NOR_STORED = re.compile(r"[\ud800-\udfff\0-\x08\x0b-\x1f\x7f\r]")


class Broken(AssertionError):
    """A promise did not hold."""


def kept(action: Callable[[], object], *, unchanged: Path | None = None) -> str:
    """What became of the input: "taken", or the name of the error that refused it.

    Args:
        action: reads the input.
        unchanged: a directory in which nothing may be made, changed or removed meanwhile.

    Raises:
        Broken: an error of another kind, a message that nobody can read or store, too much time, or a changed file.
    """
    before = _files(unchanged)
    begun = time.process_time()
    try:
        action()
        what = "taken"
    except ServiceoptError as refusal:
        what = type(refusal).__name__
        _readable(refusal)
    except Broken:
        raise
    except Exception as error:
        raise Broken(f"{type(error).__name__} and not an error of ours: {str(error)[:500]!r}") from error
    took = time.process_time() - begun
    if took > MOST_SECONDS:
        raise Broken(f"it took {took:.1f} s of processor time")
    if _files(unchanged) != before:
        raise Broken(f"{what}, and {unchanged} is not what it was")
    return what


def _readable(refusal: ServiceoptError) -> None:
    message, hint = str(refusal), refusal.hint
    if refusal.exit_code not in set(ExitCode) or refusal.exit_code == ExitCode.OK:
        raise Broken(f"{type(refusal).__name__} has no exit code")
    if not message.strip():
        raise Broken(f"{type(refusal).__name__} says nothing")
    for text in (message, hint):
        if found := NEITHER_SHOWN_NOR_STORED.search(text):
            raise Broken(f"{type(refusal).__name__} has the character {found[0]!r}: {text[:300]!r}")
        lines = text.split("\n")
        if len(lines) > MOST_LINES or max(map(len, lines)) > LONGEST_LINE:
            raise Broken(
                f"{type(refusal).__name__} has {len(lines)} lines of up to {max(map(len, lines))} characters: {text[:300]!r}"
            )


def _files(directory: Path | None) -> dict[str, bytes]:
    if directory is None:
        return {}
    return {f"{path}": path.read_bytes() if path.is_file() else b"/" for path in directory.rglob("*")}
