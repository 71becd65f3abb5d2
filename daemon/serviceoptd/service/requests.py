"""What a request may hold: its body and its query are read here, and whatever is beyond the limits is refused."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import msgspec
from starlette.requests import ClientDisconnect, Request

from serviceopt_journal.documents.requests import Reason
from serviceopt_journal.errors import InvalidConfiguration
from serviceopt_journal.foreign_text import LARGEST_NUMBER, whole_number
from serviceopt_journal.upcasting import VERSIONS_BY_TAG

LARGEST_BODY = 8 * 1024 * 1024  # bytes; a configuration of the largest size, with everything escaped
LARGEST_IMPORT = 40 * 1024 * 1024  # bytes; a result file of the largest size, with every quote and line break escaped
LONGEST = {"name": 200, "reason": 2000, "level": 20, "engine": 200, "benchmark": 200}  # characters
LONGEST_OTHER = 4096  # characters of a path
UNLIMITED = frozenset({"configuration_text", "content"})  # with limits of their own, told with their place

Body = TypeVar("Body", bound=msgspec.Struct)


async def body(request: Request, kind: type[Body], *, largest: int = LARGEST_BODY) -> Body:
    """The document that was sent.

    Raises:
        InvalidConfiguration: it is larger than `largest` bytes, cut off, no JSON, or another document.
    """
    received, size = bytearray(), 0
    try:
        async for chunk in request.stream():
            size += len(chunk)
            received += chunk if size <= largest else b""  # read on all the same: an answer to half a request is lost
    except ClientDisconnect as gone:
        raise InvalidConfiguration("the request ended before its body did") from gone
    if size > largest:
        raise InvalidConfiguration(f"the request is larger than {largest >> 20} MiB")
    try:
        return msgspec.json.decode(bytes(received) or b"{}", type=kind)
    except RecursionError as error:
        raise InvalidConfiguration("the request is nested too deeply") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidConfiguration(f"the request is not what `serviceoptctl docs api` says: {error}") from error


async def reason(request: Request) -> str:
    """Why something is to be done, in the sender's words."""
    told = await body(request, Reason)
    refuse_beyond_limits(told)
    return told.reason


def refuse_beyond_limits(document: msgspec.Struct) -> None:
    """Looks at every text and number of a request.

    Raises:
        InvalidConfiguration: one is too long, too large, or has characters that no path or variable can have.
    """
    for name, value in _values(document):
        if isinstance(value, str):
            longest = LONGEST.get(name, LONGEST_OTHER)
            if name not in UNLIMITED and len(value) > longest:
                raise InvalidConfiguration(f"{name}: {len(value)} characters, at most {longest} are allowed")
            if name not in UNLIMITED and not _is_plain(value):
                raise InvalidConfiguration(f"{name}: has a zero byte")
        elif isinstance(value, int) and not 0 <= value <= LARGEST_NUMBER:
            raise InvalidConfiguration(f"{name}: {value:.6g} is not between 0 and 2^63 - 1")
    for variable, value in getattr(document, "environment", {}).items():
        if not variable or "=" in variable or not _is_plain(variable + value):
            raise InvalidConfiguration(f"environment: {variable[:80]!r} cannot be a variable of a process")
    if not getattr(document, "working_directory", "/").startswith("/"):
        raise InvalidConfiguration("working_directory: is not absolute")


def known_types(names: Sequence[str]) -> list[str]:
    """The types of events that a query names.

    Raises:
        InvalidConfiguration: there is no event of such a type.
    """
    for name in names:
        if name not in VERSIONS_BY_TAG:
            raise InvalidConfiguration(
                f"{name[:80]!r} is not a type of event", hint="`serviceoptctl docs events` lists them"
            )
    return list(names)


def number(text: str | None, default: int | None) -> int | None:
    """A whole number of a query, from 0.

    Raises:
        InvalidConfiguration: it is none.
    """
    if text is None or text == "":
        return default
    found = whole_number(text) if text.isascii() else None
    if found is None:
        raise InvalidConfiguration(f"{text[:80]!r} is not a number from 0 to 2^63 - 1")
    return found


def seconds(text: str | None) -> float | None:
    """A time of a query, in seconds since the epoch.

    Raises:
        InvalidConfiguration: it is none.
    """
    if text is None or text == "":
        return None
    try:
        since = float(text)
    except ValueError:
        since = math.nan
    if not math.isfinite(since):
        raise InvalidConfiguration(f"{text[:80]!r} is not a time in seconds since the epoch")
    return since


def _values(document: msgspec.Struct) -> Iterator[tuple[str, Any]]:
    for name in document.__struct_fields__:
        yield name, getattr(document, name)


def _is_plain(text: str) -> bool:
    return "\0" not in text
