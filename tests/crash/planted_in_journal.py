"""Bugs planted in the journal: for each of the ten promises of docs/guarantees.md, changes of its code that break it.

    python tests/crash/planted_in_journal.py [--promise N] [--workers N]

Each is planted in a copy of the package, and the tests that hold the promise run on the copy. Prints for each bug the test
that caught it, or that none did; ends with 1 where one was not caught, or stands nowhere in the code any more.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "journal/serviceopt_journal"
STORE, CHAIN, VERIFICATION, CODEC = (
    f"tests/journal/test_{name}.py" for name in ("store", "chain", "verification", "codec")
)
POWER, POINTS, FLIPS = (f"tests/crash/test_{name}.py" for name in ("losing_power", "write_points", "flipping_bits"))
NOT_RUN = 5  # pytest's exit status where no test was chosen


class Edit(NamedTuple):
    """What stands in a module of the package once, and what stands there instead."""

    module: str
    old: str
    new: str


@dataclass(frozen=True)
class Planted:
    """One bug: the number of the promise that it breaks, and the tests of which one has to catch it."""

    name: str
    promise: int
    edits: tuple[Edit, ...]
    tests: tuple[str, ...]

    def plant(self, package: Path) -> str | None:
        """Changes the copy; returns why it cannot."""
        for module, old, new in self.edits:
            path = package / f"{module}.py"
            text = path.read_text()
            if text.count(old) != 1:
                return f"{module}.py has {text.count(old)} times what the bug is to replace: {old.strip()!r}"
            path.write_text(text.replace(old, new))
        return None


def bug(name: str, promise: int, module: str, old: str, new: str, *tests: str) -> Planted:
    """A bug that is one change."""
    return Planted(name, promise, (Edit(module, old, new),), tests)


PLANTED = (
    bug(
        "the anchor is not synced", 1, "anchor",
        "        os.fdatasync(self._descriptor)\n", "",
        f"{STORE}::test_every_commit_and_every_anchor_is_synced_before_append_returns", POWER,
    ),
    bug(
        "a commit is not synced", 1, "database",
        "PRAGMA synchronous = FULL", "PRAGMA synchronous = NORMAL",
        f"{STORE}::test_every_commit_and_every_anchor_is_synced_before_append_returns", POWER,
    ),
    Planted(
        "an event is acknowledged before its commit", 1,
        (
            Edit("store", 'connection.execute("COMMIT")', "pass"),
            Edit(
                "store", '            connection.execute("BEGIN IMMEDIATE")\n',
                '            connection.execute("COMMIT") if connection.in_transaction else None\n'
                '            connection.execute("BEGIN IMMEDIATE")\n',
            ),
        ),
        (f"{STORE}::test_an_acknowledged_event_stands_in_the_database_and_in_the_anchor",),
    ),
    bug(
        "the names of new files are not synced", 1, "file_system",
        "        os.fsync(descriptor)\n", "        os.fsync(descriptor) if not how else None\n",
        f"{POWER}::test_a_journal_is_made_wholly_or_not_at_all", POWER,
    ),
    bug(
        "what a killed writer left is not synced", 1, "opening",
        '        sync_if_there(directory / f"{FILE_NAME}-wal")\n', "",
        f"{POWER}::test_what_a_killed_writer_had_not_synced_is_made_sure_before_the_next_one_acts_on_it",
    ),
    bug(
        "the database is made in place", 1, "opening",
        "        _make_database(directory)\n", "        sync_way_to(directory)\n",
        f"{POWER}::test_a_journal_is_made_wholly_or_not_at_all",
    ),
    bug(
        "a number is left out", 2, "store",
        "first_seq=self._head.seq + 1", "first_seq=self._head.seq + 2",
        f"{STORE}::test_events_are_numbered_from_one_without_gaps",
    ),
    bug(
        "wall time for monotonic time", 2, "store",
        "monotonic=self._clock.monotonic()", "monotonic=self._clock.wall()",
        f"{STORE}::test_clocks_are_recorded_and_order_nothing",
    ),
    bug(
        "events may be changed", 3, "schema",
        "SELECT RAISE(ABORT, 'the journal is append-only: events are never changed')", "SELECT 1",
        f"{STORE}::test_changing_or_deleting_an_event_is_refused",
    ),
    bug(
        "events may be deleted", 3, "schema",
        "SELECT RAISE(ABORT, 'the journal is append-only: events are never deleted')", "SELECT 1",
        f"{STORE}::test_changing_or_deleting_an_event_is_refused",
    ),
    bug(
        "REPLACE passes by the triggers", 3, "database",
        "PRAGMA recursive_triggers = ON", "PRAGMA recursive_triggers = OFF",
        f"{STORE}::test_the_writers_own_connection_refuses_too",
    ),
    bug(
        "an event's hash leaves out the one before", 3, "chain",
        "sha256(previous + body)", "sha256(body)",
        CHAIN,
    ),
    bug(
        "the chain is not checked", 4, "verification",
        "if sha256(previous + body).digest() != stored_hash:", "if not stored_hash:",
        VERIFICATION,
    ),
    bug(
        "the anchor is not compared", 4, "verification",
        "    if anchored:\n        _compare_anchor", "    if not anchored:\n        _compare_anchor",
        f"{VERIFICATION}::test_events_lost_from_the_end_are_missed",
    ),
    bug(
        "the triggers are not compared", 4, "verification",
        "in schema.differences(connection):", "in ():",
        f"{VERIFICATION}::test_a_missing_or_changed_guard_is_damage",
    ),
    bug(
        "SQLite is not asked about its structures", 4, "verification",
        "in _quick_check(connection):", "in ():",
        FLIPS,
    ),
    bug(
        "a lost database is taken for a new one", 4, "opening",
        "if lost := database_was_lost(directory, slots):", "if lost := None:",
        f"{VERIFICATION}::test_an_emptied_database_is_damage", f"{VERIFICATION}::test_a_deleted_file_is_damage",
    ),
    bug(
        "a bad slot of the anchor is not told", 4, "verification",
        "report.warnings += [", "report.warnings += [] and [",
        "tests/journal/test_anchor.py::test_a_bad_slot_is_told_and_written_anew",
    ),
    bug(
        "a refusal changes a file", 4, "store",
        "            lock.withdraw()\n", "            lock.sign()\n            lock.withdraw()\n",
        f"{VERIFICATION}::test_a_change_behind_the_triggers_is_found_at_its_event",
    ),
    bug(
        "the lock is shared", 5, "lock",
        "fcntl.LOCK_EX | fcntl.LOCK_NB", "fcntl.LOCK_SH | fcntl.LOCK_NB",
        f"{STORE}::test_a_second_writer_is_told_who_the_first_is_and_changes_nothing",
    ),
    bug(
        "a full disk is swallowed", 6, "store",
        "            if is_full(error, self._directory):\n",
        "            if is_full(error, self._directory):\n                return\n            if not error:\n",
        f"{STORE}::test_a_full_database_is_rolled_back_and_goes_on_after_reopening", POINTS,
    ),
    bug(
        "a full disk ends all writing", 6, "store",
        "            if is_full(error, self._directory):\n", "            if not error:\n",
        f"{STORE}::test_a_full_database_is_rolled_back_and_goes_on_after_reopening",
    ),
    bug(
        "a full quota is no full disk", 6, "failures",
        "NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})", "NO_ROOM = frozenset({errno.ENOSPC})",
        "tests/journal/test_failures.py",
    ),
    bug(
        "after a failed commit writing goes on", 7, "store",
        '        self._refusal = JournalWriteFailed(\n            f"{reason};',
        '        self._guard, refusal = None, JournalWriteFailed(\n            f"{reason};',
        f"{STORE}::test_a_commit_that_fails_otherwise_ends_all_writing",
    ),
    bug(
        "after a failed sync the log is checkpointed", 7, "store",
        "            self._guard.execute(LAST_EVENT).fetchone()\n", "            self._guard.close()\n",
        f"{STORE}::test_a_failed_sync_leaves_the_write_ahead_log_as_it_is",
    ),
    bug(
        "a step of an upcast is left out", 8, "upcasting",
        "for lower in range(version, current):", "for lower in range(version + 1, current):",
        CODEC,
    ),
    bug(
        "an unknown version is read as it is", 8, "upcasting",
        "if current is None or version > current:", "if current is None:",
        CODEC,
    ),
    bug(
        "what cannot be read back is written", 8, "codec",
        "tuple(map(_decoder.decode, bodies))",
        "tuple(Recorded(n, first_seq, time, monotonic, boot_id, e) for n, e in enumerate(events, first_seq))",
        f"{STORE}::test_an_event_that_cannot_be_stored_takes_its_whole_commit_with_it",
    ),
    bug(
        "a released field is renamed", 8, "events",
        "    waited: float", "    lasted: float",
        "tests/replay/test_journals_of_every_release.py",
    ),
    bug(
        "live code folds what was handed in", 9, "codec",
        "tuple(map(_decoder.decode, bodies))",
        "tuple(Recorded(n, first_seq, time, monotonic, boot_id, e) for n, e in enumerate(events, first_seq))",
        f"{STORE}::test_what_append_returns_was_read_back",
    ),
    bug(
        "dictionaries are sorted", 9, "codec",
        "_encoder = msgspec.json.Encoder()", '_encoder = msgspec.json.Encoder(order="sorted")',
        CODEC,
    ),
    bug(
        "a network file system is taken", 10, "file_system",
        "if kind in _NETWORK or remote_fuse:", "if remote_fuse:",
        "tests/journal/test_file_system.py",
    ),
)  # fmt: skip


class Outcome(NamedTuple):
    """What became of a bug: the test that caught it, or else what was printed instead."""

    caught_by: str | None
    skipped: bool
    output: str


def tried(planted: Planted) -> Outcome:
    """Plants the bug in a copy of the package, and runs its tests on that."""
    with tempfile.TemporaryDirectory(prefix="serviceopt-planted-") as place:
        shutil.copytree(PACKAGE, Path(place, PACKAGE.name), ignore=shutil.ignore_patterns("__pycache__"))
        if reason := planted.plant(Path(place, PACKAGE.name)):
            return Outcome(None, skipped=False, output=reason)
        # The copy goes before the installed package, also in the processes that tests start.
        environment = {**os.environ, "PYTHONPATH": place, "PYTHONDONTWRITEBYTECODE": "1"}
        environment = {name: value for name, value in environment.items() if not name.startswith("PYTEST_")}
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-x",
            "-rfE",
            "-p",
            "no:cacheprovider",
            "-p",
            "no:xdist",
            *planted.tests,
        ]
        ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    failed = re.search(r"^FAILED (\S+)", ended.stdout, re.MULTILINE)
    none_ran = ended.returncode in (0, NOT_RUN) and "passed" not in ended.stdout.splitlines()[-1]
    return Outcome(failed[1] if failed else None, skipped=none_ran, output=ended.stdout + ended.stderr)


def main() -> int:
    """Tries all of them, or those of one promise."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--promise", type=int, choices=range(1, 11), help="only the bugs that break this one")
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    asked = parser.parse_args()
    chosen = [each for each in PLANTED if asked.promise in (None, each.promise)]
    caught = 0
    with ThreadPoolExecutor(asked.workers) as pool:
        for planted, outcome in zip(chosen, pool.map(tried, chosen), strict=True):
            caught += outcome.caught_by is not None
            told = f"caught by {outcome.caught_by}" if outcome.caught_by else f"NOT CAUGHT\n{outcome.output}"
            print(f"promise {planted.promise}: {planted.name}: {told}", flush=True)
    print(f"{len(chosen)} bugs planted in the journal, {caught} caught")
    return 0 if caught == len(chosen) else 1


if __name__ == "__main__":
    sys.exit(main())
