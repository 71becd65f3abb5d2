"""The environment of the children: the submitter's, without what belongs to this tool or to its daemon."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

_SEARCH_PATHS = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH")
_OF_THE_SUPERVISOR = frozenset(
    {
        "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES",
        "INVOCATION_ID", "JOURNAL_STREAM", "SYSTEMD_EXEC_PID", "MANAGERPID", "MAINPID", "MEMORY_PRESSURE_WATCH",
        "MEMORY_PRESSURE_WRITE",
    }
)  # fmt: skip
_PROXIES = frozenset({"http_proxy", "https_proxy", "all_proxy"})
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_SYSTEM_PREFIXES = frozenset({Path("/"), Path("/usr"), Path("/usr/local")})


def own_prefix() -> Path | None:
    """The virtual environment that this tool is installed in; None when it runs from the system's Python."""
    return Path(sys.prefix) if sys.prefix != sys.base_prefix else None


def isolated(environment: Mapping[str, str], tool_prefix: Path | None, path_prefix: str = "") -> dict[str, str]:
    """What a child should see: nothing of the tool's own virtual environment, of us or of systemd; this machine directly.

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
    kept |= _past_the_proxy(kept)
    if path_prefix:
        kept["PATH"] = os.pathsep.join(filter(None, (path_prefix, kept.get("PATH", os.defpath))))
    return kept


def _past_the_proxy(environment: Mapping[str, str]) -> dict[str, str]:
    """Requests to this machine go past a configured proxy, whose own `127.0.0.1` would be measured otherwise."""
    if not any(name.lower() in _PROXIES and value for name, value in environment.items()):
        return {}
    names = [name for name in environment if name.lower() == "no_proxy"] or ["no_proxy"]
    found = {}
    for name in names:
        excepted = [part.strip() for part in environment.get(name, "").split(",") if part.strip()]
        if "*" not in excepted:
            found[name] = ",".join(dict.fromkeys([*excepted, *_LOOPBACK]))
    return found


def _is_inside(entry: str, prefix: Path) -> bool:
    if not entry:
        return False
    as_written = Path(os.path.normpath(entry))
    # Both ways: the entry, the prefix or a part of either may be a symbolic link.
    return as_written.is_relative_to(prefix) or as_written.resolve().is_relative_to(prefix.resolve())
