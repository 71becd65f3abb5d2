"""Finding a program as its child would, and asking a short-lived one for its output."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from serviceopt_journal.errors import EnvironmentLacks

_DEFAULT_PATH = "/usr/local/bin:/usr/bin:/bin"


def find_program(program: str, environment: Mapping[str, str], working_directory: Path) -> Path:
    """The executable that a child with this environment and directory would run, as an absolute path.

    A name without a slash is looked for on the child's PATH, never on the daemon's.

    Raises:
        EnvironmentLacks: there is no such program, or it may not be executed.
    """
    if "/" in program:
        found = working_directory / program
        if not found.is_file():
            raise EnvironmentLacks(
                f"program {found} does not exist", hint="correct the path, or install what belongs there"
            )
        if not os.access(found, os.X_OK):
            raise EnvironmentLacks(f"program {found} may not be executed", hint=f"allow it: chmod +x {found}")
        return found
    path = environment.get("PATH", _DEFAULT_PATH)
    for entry in path.split(os.pathsep):
        candidate = working_directory / entry / program
        if candidate.is_file() and os.access(candidate, os.X_OK):
            return candidate
    raise EnvironmentLacks(
        f"program {program!r} is not on the PATH of the run ({path})",
        hint="install it there, set `program` of its section to its full path, or set [deploy] path_prefix",
    )


async def output_of(
    arguments: Sequence[str], *, environment: Mapping[str, str], working_directory: Path, limit: float
) -> str | None:
    """What a program printed on standard output; None when it is absent, fails or takes longer than `limit` seconds."""
    try:
        program = find_program(arguments[0], environment, working_directory)
        process = await asyncio.create_subprocess_exec(
            program,
            *arguments[1:],
            env=dict(environment),
            cwd=working_directory,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )
    except (EnvironmentLacks, OSError):
        return None
    try:
        printed, _ = await asyncio.wait_for(process.communicate(), limit)
    except TimeoutError:
        return None
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            # A pipe that a grandchild still holds open must not keep us: only the process itself is waited for.
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), 1.0)
    return printed.decode(errors="replace") if process.returncode == 0 else None
