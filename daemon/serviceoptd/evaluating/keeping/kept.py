"""Keeping what a client or a service wrote among the artefacts, so that nothing which is measured depends on it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

import structlog

from serviceopt_journal.errors import EnvironmentLacks, JournalFull, NotFound
from serviceopt_journal.foreign_files import UnfitFile
from serviceoptd.evaluating.context import Context
from serviceoptd.evaluating.surroundings.lacks import heals

LOG = structlog.get_logger("serviceoptd")


async def kept(context: Context, files: Mapping[str, Path | bytes]) -> dict[str, str]:
    """Name -> SHA-256 of each file that is there, durable by then; of what is no file, a sentence that says so is kept.

    While the disk is full, it waits. What cannot be read is left out, and the log says so; when the process is to end, what
    cannot be written, too.
    """
    found: dict[str, str] = {}
    for name, content in files.items():
        if digest := await _kept(context, name, content):
            found[name] = digest
    return found


async def _kept(context: Context, name: str, content: Path | bytes) -> str:
    while True:
        try:
            return await asyncio.to_thread(context.artefacts.keep, content)
        except NotFound:
            return ""
        except UnfitFile as unfit:
            content = f"[serviceopt: not kept: {unfit}]\n".encode()
        except (EnvironmentLacks, JournalFull, OSError) as error:
            if not heals(error) or context.ledger.given_up:
                LOG.warning("file not kept", name=name, reason=str(error))
                return ""
            await context.ledger.wait_for_room(str(error))
