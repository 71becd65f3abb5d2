"""The environment of the children: the submitter's, without what belongs to this tool or to its daemon."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path

from serviceopt_journal.errors import EnvironmentLacks, InvalidConfiguration

_SEARCH_PATHS = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH")
_OF_THE_SUPERVISOR = frozenset(
    {
        "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES",
        "INVOCATION_ID", "JOURNAL_STREAM", "SYSTEMD_EXEC_PID", "MANAGERPID", "MAINPID", "MEMORY_PRESSURE_WATCH",
        "MEMORY_PRESSURE_WRITE",
    }
)  # fmt: skip
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SYSTEM_PREFIXES = frozenset({Path("/"), Path("/usr"), Path("/usr/local")})


def own_prefix() -> Path | None:
    """The virtual environment that this tool is installed in; None when it runs from the system's Python."""
    return Path(sys.prefix) if sys.prefix != sys.base_prefix else None


def isolated(environment: Mapping[str, str], tool_prefix: Path | None, path_prefix: str = "") -> dict[str, str]:
    """What a child should see: no directory of the tool's own virtual environment, nothing of ours or of systemd.

    A child that got our WATCHDOG or NOTIFY variables could speak for us; one that found our `python` on its PATH would
    run without its own packages. `path_prefix` ([deploy] path_prefix) comes first on its PATH.
    """
    kept = {
        name: value
        for name, value in environment.items()
        if name not in _OF_THE_SUPERVISOR and not name.startswith("SERVICEOPT_") and name != "PYTHONHOME"
    }
    if tool_prefix is not None and tool_prefix not in _SYSTEM_PREFIXES:
        for name in _SEARCH_PATHS:
            if name in kept:
                entries = [entry for entry in kept[name].split(os.pathsep) if not _is_inside(entry, tool_prefix)]
                kept[name] = os.pathsep.join(entries)
                if not entries:
                    del kept[name]
        if _is_inside(kept.get("VIRTUAL_ENV", ""), tool_prefix):
            del kept["VIRTUAL_ENV"]
            kept.pop("VIRTUAL_ENV_PROMPT", None)
    if path_prefix:
        kept["PATH"] = os.pathsep.join(filter(None, (path_prefix, kept.get("PATH", os.defpath))))
    return kept


def _is_inside(entry: str, prefix: Path) -> bool:
    if not entry:
        return False
    as_written = Path(os.path.normpath(entry))
    # Both ways: the entry, the prefix or a part of either may be a symbolic link.
    return as_written.is_relative_to(prefix) or as_written.resolve().is_relative_to(prefix.resolve())


def read_environment_file(path: Path) -> dict[str, str]:
    """The variables of a file of `NAME=value` lines.

    `#` or `;` begins a comment line, `export ` before a name is allowed. A value in single quotes is taken as it is; in
    double quotes, a backslash makes the next character plain. Nothing is expanded, nothing is executed.

    Raises:
        EnvironmentLacks: the file cannot be read.
        InvalidConfiguration: a line is none of these; the message has file and line.
    """
    try:
        text = path.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError as error:
        raise EnvironmentLacks(
            f"the environment file {path} cannot be read: {error.strerror}",
            hint="correct `environment_file`, or let the daemon's user read it",
        ) from error
    found: dict[str, str] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        stripped = line.strip().removeprefix("export ").lstrip()
        if not stripped or stripped[0] in "#;":
            continue
        name, equals, value = stripped.partition("=")
        if not equals or not _NAME.fullmatch(name):
            raise InvalidConfiguration(
                f"{path}:{number}: not a NAME=value line",
                hint="a name has letters, digits and _, and no space after it",
            )
        found[name] = _unquoted(value.strip(), f"{path}:{number}")
    return found


def _unquoted(value: str, place: str) -> str:
    if value[:1] not in ("'", '"') or not value:
        return value
    quote, inside = value[0], value[1:]
    read: list[str] = []
    position = 0
    while position < len(inside):
        character = inside[position]
        if character == "\\" and quote == '"' and position + 1 < len(inside):
            position += 1
            character = inside[position]
        elif character == quote:
            if rest := inside[position + 1 :].strip():
                raise InvalidConfiguration(f"{place}: {rest!r} after the closing quote", hint="quote the whole value")
            return "".join(read)
        read.append(character)
        position += 1
    raise InvalidConfiguration(f"{place}: the quote {quote} is not closed", hint="a value ends on its own line")
