"""Drop-ins of the unit: which setting mends which refusal, and the file that it goes into."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

DROP_IN_DIRECTORY = Path("/etc/systemd/system/serviceoptd.service.d")

Settings = Sequence[tuple[str, str]]
"""Name and value of unit settings."""

Proposal = tuple[str, str, str]
"""File name without `.conf`, name and value of a setting."""


def proposals(kind: str, path: str) -> list[Proposal]:
    """The settings that make `path` usable for the unit, unless permissions forbid it all the same."""
    if kind == "devices":
        return [("devices", "DeviceAllow", f"{path} rw"), *_group_of(path)]
    if kind == "write":
        return [("writable", "BindPaths" if _is_hidden(path) else "ReadWritePaths", _quoted(path))]
    return [("models", "BindReadOnlyPaths", _quoted(path))]


def beside(kind: str) -> list[Proposal]:
    """What else the drop-in needs, and a trial cannot show: PyTorch shares a device's memory with a call of its own."""
    return [("devices", "SystemCallFilter", "pidfd_getfd")] if kind == "devices" else []


def as_text(proposed: Iterable[Proposal]) -> str:
    """The files with their paths, as a person would write them; settings of one file together, none twice."""
    files: dict[str, list[str]] = {}
    for name, setting, value in proposed:
        lines = files.setdefault(name, [])
        if (line := f"{setting}={value}") not in lines:
            lines.append(line)
    return "\n".join(
        "\n".join((f"# {DROP_IN_DIRECTORY / name}.conf", "[Service]", *lines)) for name, lines in files.items()
    )


def merged(texts: Iterable[str]) -> str:
    """Several of `as_text` in one: each file once, with every setting."""
    proposed: list[Proposal] = []
    name = ""
    for line in (line for text in texts for line in text.split("\n")):
        if line.startswith("# "):
            name = Path(line.removeprefix("# ")).stem
        elif "=" in line:
            setting, _, value = line.partition("=")
            proposed.append((name, setting, value))
    return as_text(proposed)


def _is_hidden(path: str) -> bool:
    """Whether ProtectHome= or PrivateTmp= take it away whole: it must be bound, not only made writable."""
    return Path(path).is_relative_to("/home") or any(
        Path(path).is_relative_to(place)
        for place in ("/root", "/run/user", "/tmp", "/var/tmp")  # noqa: S108 - compared with
    )


def _group_of(path: str) -> list[Proposal]:
    """The group through which a device may be opened, where its mode has one and others may not."""
    try:
        found = os.stat(path)  # noqa: PTH116 - mode and group of one call
        group = Path(path).group()
    except (OSError, KeyError):
        return []
    needs_group = found.st_mode & 0o060 == 0o060 and found.st_mode & 0o006 != 0o006 and found.st_gid != 0
    return [("devices", "SupplementaryGroups", group)] if needs_group else []


def _quoted(path: str) -> str:
    """As a path of a unit file: blanks quoted, `%` doubled, a colon (which separates source and target) escaped."""
    text = path.replace("\\", "\\\\").replace("%", "%%").replace(":", "\\:")
    return f'"{text}"' if any(character.isspace() for character in text) else text
