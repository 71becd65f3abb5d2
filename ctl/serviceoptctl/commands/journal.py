"""The commands `serviceoptctl journal`: looking after the journal itself."""

from __future__ import annotations

import click

from serviceopt_journal.documents.local import Verified
from serviceopt_journal.errors import ExitCode
from serviceoptctl.options import json_option
from serviceoptctl.render.text import echo_json, facts
from serviceoptctl.source import journal_directory

REPAIR_HINT = "the next commits or the daemon's next start put it right; check the disk if a crash does not explain it"


@click.group()
def journal() -> None:
    """Look after the journal itself."""


@journal.command()
@json_option
def verify(as_json: bool) -> ExitCode:
    """Check every event, the hash chain and the head anchor.

    Changes nothing, and works beside a running daemon. Exit code 6 when the journal is damaged, 8 when a newer release
    wrote it.
    """
    from serviceopt_journal.verification import verify as verify_journal

    directory = journal_directory()
    report = verify_journal(directory)
    error = report.error()
    document = Verified(
        directory=str(directory),
        sound=report.sound,
        events=report.events,
        head_seq=report.head_seq,
        head_hash=report.head_hash.hex(),
        first_bad_seq=report.first_bad_seq,
        problems=tuple(report.problems),
        warnings=tuple(report.warnings),
        newer=report.future.message if report.future else None,
        events_per_second=report.events_per_second,
    )
    if as_json:
        echo_json(document)
    else:
        words = "sound" if report.sound else "DAMAGED" if report.problems else "written by a newer release"
        facts(
            [
                ("journal", f"{directory}: {words}"),
                ("events", f"{report.events}, read at {report.events_per_second:,.0f} events/s"),
                ("head", f"event {report.head_seq}, hash {report.head_hash.hex()[:16]}"),
                ("first bad event", str(report.first_bad_seq or "")),
                ("problems", "\n".join(report.problems)),
                ("warnings", "\n".join(report.warnings)),
                ("newer", report.future.message if report.future else ""),
                ("what to do", error.hint if error else REPAIR_HINT if report.warnings else ""),
            ]
        )
    return ExitCode(error.exit_code) if error else ExitCode.OK
