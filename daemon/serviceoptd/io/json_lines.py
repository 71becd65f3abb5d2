"""A child that answers each line of JSON with one line of JSON, until it is closed."""

from __future__ import annotations

import contextlib
import json
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, cast

from serviceopt_journal.errors import EnvironmentLacks
from serviceopt_journal.foreign_text import json_value

LAST_WORDS = 2000  # characters of its complaints that an error repeats
PATIENCE = 5.0  # seconds to end after its input is closed


class JsonLines:
    """Asks blockingly: for commands and worker threads, never for an event loop. A context manager, which ends the child."""

    def __init__(self, arguments: Sequence[str], *, environment: Mapping[str, str], working_directory: Path) -> None:
        """Start it.

        Raises:
            EnvironmentLacks: it cannot be started.
        """
        self._program = arguments[0]
        self._complaints = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115 (closed in `close`)
        try:
            self._child = subprocess.Popen(  # noqa: S603 - a list of words, without a shell
                list(arguments),
                env=dict(environment),
                cwd=working_directory,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._complaints,
                text=True,
                start_new_session=True,
            )
        except OSError as error:
            self._complaints.close()
            raise EnvironmentLacks(
                f"{self._program} cannot be started: {error.strerror}", hint="correct the path of the program"
            ) from error
        self.pid = self._child.pid
        self._questions, self._answers = cast("IO[str]", self._child.stdin), cast("IO[str]", self._child.stdout)

    def ask(self, message: object) -> Any:
        """Sends a question and gives its answer.

        Raises:
            EnvironmentLacks: it has ended instead, or answers nonsense; the message repeats its last words.
        """
        try:
            self._questions.write(json.dumps(message) + "\n")
            self._questions.flush()
            line = self._answers.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise EnvironmentLacks(
                f"{self._program} ended with status {self._child.wait()} instead of answering",
                hint=f"its last output: {self._last_words()}",
            )
        try:
            return json_value(line)
        except ValueError as error:
            raise EnvironmentLacks(
                f"{self._program} answered something else than JSON: {line[:200]!r}",
                hint=f"its last output: {self._last_words()}",
            ) from error

    def close(self) -> None:
        """End it: by the end of its input, by force where that does not suffice."""
        with contextlib.suppress(BrokenPipeError):  # it has ended before
            self._questions.close()
        try:
            self._child.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        self._answers.close()
        self._complaints.close()

    def __enter__(self) -> JsonLines:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _last_words(self) -> str:
        self._complaints.seek(0)
        return self._complaints.read()[-LAST_WORDS:].strip() or "none"
