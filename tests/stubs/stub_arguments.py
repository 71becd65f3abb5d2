"""Reads the arguments that the stub programs share. Standard library, and little of it: the stubs start at once."""

from __future__ import annotations

import os
import time


def age() -> float:
    """Seconds since the kernel started this process (a tick, 10 ms, too long at most)."""
    with open("/proc/self/stat", encoding="utf-8", errors="replace") as file:  # noqa: PTH123 - pathlib starts slower
        started = int(file.read().rsplit(")", 1)[1].split()[19])
    return time.clock_gettime(time.CLOCK_BOOTTIME) - started / os.sysconf("SC_CLK_TCK")


def account(did: str) -> None:
    """Notes what this program did in the file that STUB_ACCOUNT names, if any: the truth that a journal is held against."""
    if path := os.environ.get("STUB_ACCOUNT"):
        launch = os.environ.get("SERVICEOPT_LAUNCH_ID", "")
        with open(path, "a", encoding="utf-8") as file:  # noqa: PTH123 - pathlib starts slower
            file.write(f"{launch} {did}\n")


class Arguments:
    """`--name value` pairs and bare `--name` flags; what a stub does not know it ignores."""

    def __init__(self, given: list[str]) -> None:
        self.values: dict[str, str] = {}
        self.positional: list[str] = []
        waiting = ""
        for word in given:
            if word.startswith("--"):
                waiting, _, value = word.removeprefix("--").partition("=")
                self.values[waiting] = value
            elif waiting:
                self.values[waiting] = word
                waiting = ""
            else:
                self.positional.append(word)

    def text(self, name: str, default: str = "") -> str:
        return self.values.get(name) or default

    def number(self, name: str, default: float) -> float:
        given = self.values.get(name)
        return float(given) if given else default

    def has(self, name: str) -> bool:
        return name in self.values

    def misbehaves(self) -> bool:
        """Whether the faults asked for apply: `--stub-when max-num-seqs>16` and, once only, `--stub-once FILE`."""
        return self._condition() and self._its_turn()

    def _condition(self) -> bool:
        condition = self.text("stub-when")
        for sign in (">", "<", "="):
            name, found, limit = condition.partition(sign)
            if found:
                value = self.number(name, 0.0)
                return {">": value > float(limit), "<": value < float(limit), "=": value == float(limit)}[sign]
        return True

    def _its_turn(self) -> bool:
        """Whether as many processes have asked as `--stub-turn` says (1): each leaves a byte in the file."""
        counter = self.text("stub-once")
        if not counter:
            return True
        with open(counter, "ab") as file:  # noqa: PTH123 - pathlib starts slower
            file.write(b".")
            return file.tell() == int(self.number("stub-turn", 1))
