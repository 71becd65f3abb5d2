"""What a line of a log says, without what loggers, launchers and keepers of logs have put before it.

Pure. A line may have gone through many hands: a process of the engine, its logger, Ray, a container, journald. Each puts its
own beginning before it, in any order.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from serviceopt_journal.foreign_text import json_value

_LEVELS = r"(?:DEBUG|INFO|WARN(?:ING)?|ERROR|ERR|CRITICAL|FATAL)"
_DATE = r"(?:\d{4}[-/.]\d\d[-/.]\d\d|\d\d[-/]\d\d|[A-Z][a-z]{2} [ \d]\d)"
_TIME = r"\d\d:\d\d:\d\d(?:[.,:]\d+)*Z?(?: ?[+-]\d\d:?\d\d)?"
_STAMP = rf"(?:{_DATE}[T -])?{_TIME}"

_PIECES = (
    rf"(?P<letter>[EWIF])\d{{4}} {_TIME} +\d+ [\w./:-]+\]",  # glog
    r"\[(?P<torch>[EWIF])\d{3,4} [^\]]*\]",
    rf"\[(?P<boxed>{_LEVELS})\]",
    rf"(?P<bare>{_LEVELS})(?::\s*|(?=\s))",
    r"level=(?P<logfmt>[a-z]+)",
    rf"\[{_STAMP}[^\]]*\]|{_STAMP}(?=\s)|(?:time|ts)=(?:\"[^\"]*\"|\S+)|msg=\"?",
    r"\([^()]*\b(?:pid|rank)=\d+[^()]*\)|\([\w.:-]+\)(?=\s)",  # a process: vLLM, Ray
    r"\[rank\s?\d+\]:|\[[\d,]+\]<std(?:err|out)>:",  # torchrun, mpirun
    r"std(?:out|err) [FP](?=\s)",  # Kubernetes
    r"[\w.-]+ +\|(?=\s)",  # docker compose
    r"(?:[\w.-]+ )?[\w.@/-]+\[\d+\]:(?=\s)",  # syslog, journald
    r"[\w/-]+\.py:\d+(?:\]|(?=\s))",
    rf"[\w.]+(?=\s+[-|:]\s+{_LEVELS}\b)|[\w.]+:[\w<>]+:\d+(?=\s)",  # names of loggers and of functions
    r"\[[\w.:,/+-]+\](?=\s)|(?:--|[-|:])(?=\s)",
)
_PREFIX = re.compile("|".join(_PIECES))
_QUIET = frozenset({"DEBUG", "INFO", "WARN", "WARNING", "I", "W"})
_MESSAGES, _LOGGED_AT = ("message", "log", "msg", "text"), ("level", "levelname", "severity")


@dataclass(frozen=True)
class Said:
    """A line without its prefixes."""

    message: str
    level: str  # at which it was logged; empty: none is told. Where several are, the innermost
    indented: bool  # as lines of code are

    @property
    def quiet(self) -> bool:
        """Whether whoever logged it did not think it an error."""
        return self.level in _QUIET


def said(line: str) -> Said:
    """What this line says."""
    rest, level = _unwrapped(line.rstrip())
    indentation = 0
    while match := _PREFIX.match(rest, len(rest) - len(rest.lstrip())):
        level = next((found for found in match.groups() if found), level).upper()
        rest, indentation = rest[match.end() :], 1
    return Said(rest.strip(), level, rest[indentation:].startswith(("\t", " " * (2 - indentation))))


def _unwrapped(line: str) -> tuple[str, str]:
    """The text of a line that is a JSON document, and its level."""
    if not line.startswith("{"):
        return line, ""
    try:
        document = json_value(line)
    except ValueError:
        return line, ""
    if not isinstance(document, dict):
        return line, ""
    texts = [text for key in _MESSAGES if isinstance(text := document.get(key), str)]
    levels = [str(document[key]).upper() for key in _LOGGED_AT if key in document]
    return (texts[0].rstrip() if texts else line), (levels[0] if levels else "")
