"""What is wrong with a configuration, in the one shape that every message of it has."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from serviceopt_journal.errors import InvalidConfiguration


@dataclass(frozen=True, order=True)
class ConfigProblem:
    """One thing that is wrong or worth knowing, printed as `FILE:LINE: key: what is wrong; what is allowed`.

    `line` and `column` count from 1; 0 where there is none (a value of the command line or of the environment).
    """

    file: str
    line: int
    key: str
    message: str
    allowed: str = ""
    column: int = 0

    def __str__(self) -> str:
        place = ":".join([self.file, *(str(number) for number in (self.line, self.column) if number)])
        what = "; ".join(part for part in (self.message, self.allowed) if part)
        return ": ".join(part for part in (place, self.key, what) if part)


class ConfigurationErrors(InvalidConfiguration):
    """Everything that is wrong with a configuration, at once; the message has one problem a line."""

    def __init__(self, problems: Iterable[ConfigProblem]) -> None:
        self.problems = tuple(sorted(dict.fromkeys(problems), key=lambda problem: (problem.line, problem.key)))
        hint = (
            "`serviceoptctl docs configuration` describes every key; "
            "`serviceoptctl check -c FILE` tries a file without running it"
        )
        super().__init__("\n".join(str(problem) for problem in self.problems), hint=hint)
