"""The predecessor's results as history: a run that is over, marked as imported, and never taken for one of ours."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from serviceopt_journal.codec import Recorded
from serviceopt_journal.documents.requests import Import, ImportedResults
from serviceopt_journal.errors import Conflict, InvalidConfiguration
from serviceopt_journal.events import AnyEvent, ParticleProposed, ResultImported, RunFinished, RunSubmitted
from serviceoptd.config.masking import masked_text
from serviceoptd.domain.evolve import fold
from serviceoptd.domain.settings import RunSettings
from serviceoptd.domain.state import RunState, State
from serviceoptd.domain.table import kind_of
from serviceoptd.evaluating.context import Context
from serviceoptd.submitting.importing.imported_settings import IMPORTED, imported_settings
from serviceoptd.submitting.importing.predecessor_table import Table, read

LARGEST_FILE = 16 * 1024 * 1024  # bytes


@dataclass(frozen=True)
class PreparedImport:
    """A file that was found to be good. Nothing has been written yet."""

    wanted: Import
    table: Table
    settings: RunSettings
    sha256: str
    warnings: tuple[str, ...]

    @property
    def identity(self) -> str:
        """Never equal to one of a run that was measured here, so nothing of it is reused or continued."""
        return f"{IMPORTED}:{self.sha256}"


def prepare_import(wanted: Import) -> PreparedImport:
    """Reads the file and the configuration by which its results are to be judged. Writes nothing.

    Raises:
        InvalidConfiguration: it is no result file: each problem with its line; or the configuration is not valid.
    """
    content = wanted.content.encode()
    if len(content) > LARGEST_FILE:
        raise InvalidConfiguration(f"{wanted.file}: larger than {LARGEST_FILE >> 20} MiB", hint="import it in parts")
    table = read(wanted.content, wanted.file)
    path = Path(wanted.configuration_path) if wanted.configuration_path else None
    settings, warnings = imported_settings(table, wanted.configuration_text, path, wanted.engine)
    return PreparedImport(
        wanted=wanted,
        table=table,
        settings=settings,
        sha256=hashlib.sha256(content).hexdigest(),
        warnings=(*table.warnings, *warnings),
    )


def refuse_twice(known: Iterable[tuple[int, str]], prepared: PreparedImport) -> None:
    """Looks for the same file among runs: their numbers and measurement identities.

    Raises:
        Conflict: it was imported already, and --force is not given.
    """
    earlier = [number for number, identity in known if identity == prepared.identity]
    if earlier and not prepared.wanted.force:
        raise Conflict(
            f"{prepared.wanted.file} was imported already: run {earlier[-1]} holds the same content",
            hint="`serviceoptctl import --force` imports it once more, as another run",
        )


async def import_results(context: Context, prepared: PreparedImport, *, uid: int) -> ImportedResults:
    """Puts the file's results into the journal, all of them or none; what POST /v1/import answers.

    Raises:
        Conflict: the file was imported already.
    """
    async with context.numbering:
        return await _import(context, prepared, uid)


async def _import(context: Context, prepared: PreparedImport, uid: int) -> ImportedResults:
    runs = context.ledger.state.runs
    refuse_twice(((run.number, run.measurement_identity) for run in runs.values()), prepared)
    context.artefacts.keep(prepared.wanted.content.encode())
    number = max(runs, default=0) + 1
    events = await asyncio.to_thread(_events, prepared, number, uid)
    run = await asyncio.to_thread(_folded, events, number)
    best = run.best()
    feasible = bool(best and run.judgement(best).feasible)
    finished = RunFinished(
        run=number,
        outcome="completed" if best else "failed",
        reason=f"imported from {prepared.wanted.file}",
        recommended=best.number if best else None,
        feasible=feasible,
        kind=kind_of(run, best) if best else "",
    )
    await context.ledger.commit(*events, finished)
    particles = run.particles.values()
    return ImportedResults(
        run=number,
        rows=len(prepared.table.rows),
        measured=sum(bool(p.measurements) and not p.error for p in particles),
        failed=sum(bool(p.error) for p in particles),
        predicted=sum(bool(p.rejected) for p in particles),
        recommended=best.number if best else None,
        feasible=feasible,
        warnings=prepared.warnings,
    )


def _events(prepared: PreparedImport, number: int, uid: int) -> list[AnyEvent]:
    wanted, settings = prepared.wanted, prepared.settings
    events: list[AnyEvent] = [
        RunSubmitted(
            run=number,
            name=wanted.name or Path(wanted.file).stem,
            settings=msgspec.to_builtins(settings),
            seed=0,
            run_identity=prepared.identity,
            measurement_identity=prepared.identity,
            identity_parts={"file": wanted.file, "sha256": prepared.sha256, "engine": settings.engine},
            configuration_path=wanted.configuration_path,
            configuration_text=masked_text(wanted.configuration_text),
            working_directory=wanted.working_directory,
            submitter_uid=uid,
            submitted_through="import",
        )
    ]
    for particle, row in enumerate(prepared.table.rows, 1):
        events += [
            ParticleProposed(
                run=number,
                particle=particle,
                slot=0,
                iteration=particle - 1,
                position=(),
                velocity=(),
                configuration=row.configuration,
                strategy=IMPORTED,
                origin=IMPORTED,
            ),
            ResultImported(
                run=number,
                particle=particle,
                source_file=wanted.file,
                source_sha256=prepared.sha256,
                line=row.line,
                measured=row.measured,
                metrics=row.metrics,
                error=row.error,
                seconds=row.seconds,
                num_prompts=row.num_prompts,
                fitness=row.fitness,
                backup=row.backup,
            ),
        ]
    return events


def _folded(events: list[AnyEvent], number: int) -> RunState:
    state = State()
    for seq, event in enumerate(events, 1):
        state = fold(state, Recorded(seq, 1, 0.0, 0.0, "", event))
    return state.runs[number]
