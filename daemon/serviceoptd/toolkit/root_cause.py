"""Finding in a service's log why it ended: the first line that names an error and is no consequence of another one.

Engines of several processes end with a cascade: the worker that failed, the processes that noticed, the server that waited
for them, and warnings about what they left. Only the first is worth a user's time. Pure; the shapes are those of vLLM
(0.6 to 0.32, and vllm-ascend), SGLang and MindIE, of Python's tracebacks, of argparse and of the dynamic loader.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from serviceoptd.domain import failures
from serviceoptd.toolkit.failure_phrases import CONSEQUENCES, KINDS, any_of

_PROCESS = r"\([\w.-]+(?: [\w-]+=\S+)+(?:, [\w-]+=\S+)*\)"
_STAMP = r"(?:\d{4}[-/]\d\d[-/]\d\d|\d\d-\d\d)[T -]\d\d:\d\d:\d\d(?:[.,:]\d+)*Z?(?:[+-]\d\d:?\d\d)?"
_LEVEL = r"(?:DEBUG|INFO|WARN(?:ING)?|ERROR|ERR|CRITICAL|FATAL)"
_PREFIX = re.compile(
    rf"(?:{_PROCESS}|\[{_STAMP}[^\]]*\]|{_STAMP}|\[(?P<level>{_LEVEL})\]|(?P<bare>{_LEVEL})(?::\s*|(?=\s))"
    r"|\[(?P<letter>[EWIF])\d{3,4} [^\]]*\]|\[rank\s?\d+\]:|\[[\d,]+\]<std(?:err|out)>:|\[[\w.:,/+-]+\]"
    r"|[\w/-]+\.py:\d+\]|[-|:](?=\s))"
)
"""What loggers and launchers put before a message, one piece at a time."""
_QUIET = frozenset({"DEBUG", "INFO", "WARN", "WARNING", "I", "W"})

_EXCEPTION = re.compile(
    r"(?:[A-Za-z_]\w*\.)*(?:[A-Z]\w*)?(?:Error|Exception|Refused|NotFound|Timeout|OutOfResources)\b(?::\s|:?$)"
)
_SAYS = re.compile(
    r"^\S.*?: error: |\berror while loading shared libraries|command not found|: not found$|what\(\):|^Fatal Python error"
    r"|^Segmentation fault|^(?:[\w./-]+:? ){0,4}out of memory|^Bus error|^Illegal instruction|^panic: |^Error: |^fatal: "
    r"|^\[Errno \d+\]",
    re.IGNORECASE,
)
_IN_PASSING = re.compile(r"\b(?:with|due to|because of|got|caught) [\w.]*Error\b", re.IGNORECASE)

_ECHOES = frozenset({failures.COMMUNICATION})
"""Kinds that the other processes report when one of them has ended: believed where nothing else is told."""
_SOFT = frozenset({failures.REFUSED_ARGUMENT, failures.MODEL, failures.INSTALLATION})
"""Kinds of which an engine also logs what it can do without: there an exception counts more."""


@dataclass(frozen=True)
class Cause:
    """The line that shows why, without what the logger put before it, and its kind; "" where that is not known."""

    line: str
    kind: str


@dataclass(frozen=True)
class _Named:
    cause: Cause
    raised: bool  # an exception, or the last word of a program; else merely logged as an error


def kind_of(text: str) -> str:
    """The kind of failure that this text speaks of (`domain/failures.py`); "" when it speaks of none."""
    return next((kind for kind, phrases in KINDS if any_of(phrases).search(text)), "")


def root_cause(lines: Sequence[str]) -> Cause | None:
    """Why the service ended; None where no line names an error.

    The first line counts whose kind is known, unless other processes merely echo it; else the first exception, and only
    then what was logged as an error. Where nothing but consequences is told, the first of them.
    """
    named = list(_named(lines, any_of(CONSEQUENCES))) or list(_named(lines, None))
    return min(named, key=_doubt).cause if named else None  # the first of those that are told apart least


def _doubt(named: _Named) -> int:
    kind, known = named.cause.kind, named.cause.kind not in {"", *_ECHOES}
    if known and (named.raised or kind not in _SOFT):
        return 0 if named.raised else 1
    return 2 if named.raised else 3 if kind else 4


def _named(lines: Sequence[str], passed_over: re.Pattern[str] | None) -> Iterator[_Named]:
    code = ""  # the latest line of code in a traceback: what an exception without a message was raised by
    for index, line in enumerate(lines):
        message, level, indented = _message(line)
        if indented and not message.startswith("what():"):
            code = message if message and not message.startswith(("File ", "^", "~", "...")) else code
            continue
        if not message or level in _QUIET or message.startswith("Traceback"):
            continue
        if passed_over is not None and passed_over.search(line):
            continue
        exception = _EXCEPTION.match(message)
        raised = exception is not None or bool(_SAYS.search(message) and not _IN_PASSING.search(message))
        if not raised and not level:
            continue
        if exception is not None and message[exception.end() :].strip() == "":
            message = f"{message.rstrip(':')} in `{code}`" if code else message
        elif _goes_on(message):
            message = " ".join([message, *_continued(lines[index + 1 : index + 5])])
        yield _Named(Cause(message, kind_of(message)), raised)


def _message(line: str) -> tuple[str, str, bool]:
    """What a line says, the level at which it was logged ("": none is told), and whether it is indented, as code is."""
    rest, level = line.rstrip(), ""
    while match := _PREFIX.match(rest.lstrip()):
        level = level or match["level"] or match["bare"] or match["letter"] or ""
        rest = rest.lstrip()[match.end() :]
    return rest.strip(), level, rest.startswith(("  ", "\t"))


def _goes_on(message: str) -> bool:
    """Whether what is wrong stands in the lines after: pydantic lists the refused fields there."""
    return "ValidationError" in message or message.endswith(":")


def _continued(lines: Sequence[str]) -> Iterator[str]:
    for line in lines:
        message, _, _ = _message(line)
        if (
            not message
            or message.startswith(("File ", "Traceback", "During", "The above"))
            or "further info" in message
        ):
            return
        yield message.partition(" [type=")[0]
