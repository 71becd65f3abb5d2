"""What another program may leave where a file is expected, one maker for each."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

GIB = 1024 * 1024 * 1024
LINE = 400 * 1024 * 1024
"""Bytes of the endless line: more than anything that is read whole may have."""


def _fifo(path: Path) -> None:
    os.mkfifo(path)


def _socket(path: Path) -> None:
    place = os.open(path.parent, os.O_PATH)  # a socket's name has 107 bytes at most
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as made:
        made.bind(f"/proc/self/fd/{place}/{path.name}")
    os.close(place)


def _link_to_a_file(path: Path) -> None:
    target = path.with_name("elsewhere")
    target.write_text("somebody else's\n")
    path.symlink_to(target)


def _sparse(size: int) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        with path.open("wb") as file:
            file.truncate(size)

    return make


def _endless_line(path: Path) -> None:
    with path.open("wb") as file:
        file.write(b"x" * 65_536)
        file.truncate(LINE)


def _mode_0(path: Path) -> None:
    path.write_text("nobody's\n")
    path.chmod(0)


HOSTILE: dict[str, Callable[[Path], None]] = {
    "a pipe": _fifo,
    "a directory": Path.mkdir,
    "a socket": _socket,
    "a link to a file": _link_to_a_file,
    "a link to /dev/zero": lambda path: path.symlink_to("/dev/zero"),
    "a link to nothing": lambda path: path.symlink_to("nothing"),
    "a sparse file of 20 GiB": _sparse(20 * GIB),
    "an endless line": _endless_line,
    **({"mode 0": _mode_0} if os.geteuid() else {}),
    "nothing": lambda path: None,
}
"""Name -> what makes it at a path where nothing is."""
