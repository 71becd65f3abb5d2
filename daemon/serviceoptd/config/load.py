"""The way in: finds the file, checks everything in it, and gives the frozen settings or every error at once."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from msgspec import structs
from pydantic import ValidationError

from serviceopt_journal.foreign_text import NotText, decoded
from serviceoptd.domain.settings import RunSettings

from . import build, plugins, simulation_mode
from .checks import constraint_problems, environment_values, no_such_key, search_problems, selected, written_secrets
from .explain import findings
from .fields import PlacedField, combined, space_problems
from .misplaced import with_their_places
from .placeholders import placeholders
from .predecessor_keys import without_needless
from .problems import ConfigProblem, ConfigurationErrors
from .schema import Document
from .sections import Namesakes, Role, Section, Tables, known_sections, tables_of, validated
from .source import Source, parse

SIMULATED = simulation_mode.SIMULATED
NO_FILE = "(no configuration file)"


@dataclass(frozen=True)
class Loaded:
    """A configuration that can be used.

    `settings` are frozen into a run; `name` and `seed` are of the run that is submitted ("" and None: not given).
    `warnings` stop nothing; `placeholders` must be replaced before anything can run. `assumed` says in one sentence
    which engine was taken because none was chosen; it is empty where one was.
    """

    settings: RunSettings
    path: Path | None
    text: str
    name: str = ""
    seed: int | None = None
    warnings: tuple[ConfigProblem, ...] = ()
    placeholders: tuple[ConfigProblem, ...] = ()
    assumed: str = ""
    sections: tuple[str, ...] = field(default=())  # tables of engines and clients that the file holds
    simulated: simulation_mode.Pair | None = None  # in simulation mode, or where a simulator advises


def discover(environment: Mapping[str, str], cwd: Path) -> Path | None:
    """The configuration file where none is named: $SERVICEOPT_CONFIG, ./config.toml, the user's, the machine's.

    A file that the variable names is returned whether it exists or not: a wrong name is an error, and not ignored.
    """
    if named := environment.get("SERVICEOPT_CONFIG"):
        return cwd / named
    home = environment.get("XDG_CONFIG_HOME") or os.path.join(environment.get("HOME") or "~", ".config")  # noqa: PTH118
    candidates = (
        cwd / "config.toml",
        Path(home).expanduser() / "serviceopt" / "config.toml",
        Path("/etc/serviceopt/config.toml"),
    )
    return next((path for path in candidates if path.is_file()), None)


def load(
    path: Path | None,
    *,
    engine: str | None = None,
    benchmark: str | None = None,
    environment: Mapping[str, str],
    overrides: Mapping[str, Any] | None = None,
    installed: plugins.Plugins | None = None,
) -> Loaded:
    """Loads a file; None: the defaults alone. The other arguments are those of `load_text`.

    Raises:
        ConfigurationErrors: everything that is wrong with it, or why it cannot be read.
    """
    return load_text(
        text_of(path),
        path,
        engine=engine,
        benchmark=benchmark,
        environment=environment,
        overrides=overrides,
        installed=installed,
    )


def text_of(path: Path | None) -> str:
    """What a configuration file holds; None: nothing, which stands for the defaults.

    Raises:
        ConfigurationErrors: why it cannot be read.
    """
    if path is None:
        return ""
    try:
        content = path.read_bytes()
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ConfigurationErrors([ConfigProblem(str(path), 0, "", f"cannot be read: {reason}")]) from error
    try:
        return decoded(content, path)
    except NotText as told:
        raise ConfigurationErrors([ConfigProblem(str(path), told.line, "", told.what, told.hint)]) from told


def load_text(
    text: str,
    path: Path | None = None,
    *,
    engine: str | None = None,
    benchmark: str | None = None,
    environment: Mapping[str, str],
    overrides: Mapping[str, Any] | None = None,
    installed: plugins.Plugins | None = None,
) -> Loaded:
    """Checks a configuration that was read already; nothing is read from disk.

    Args:
        text, path: the TOML, and where it came from, for messages.
        engine, benchmark: the command line's choice; they win over the file's.
        environment: the submitter's; its MODELEVALSTATE_LEVEL sets the log level, and two others simulation mode.
        overrides: further top-level keys that win over the file's, tables merged.
        installed: the engines and clients to choose from; None: those of this Python environment.

    Raises:
        ConfigurationErrors: everything that is wrong with it.
    """
    available = installed or plugins.installed()
    chosen = {key: value for key, value in (("engine", engine), ("benchmark", benchmark)) if value is not None}
    written = parse(text, str(path) if path else NO_FILE, {**(overrides or {}), **chosen})
    known = known_sections(available)
    source, needless = without_needless(written, {name: frozenset(each.keys()) for name, each in known.items()})
    read = _read(source, available, known, environment)
    in_simulation = simulation_mode.asked_for(environment)
    real = simulation_mode.Pair(read.engine, read.client, source.document.get(SIMULATED, {}))
    read = _in_simulation(read, source) if in_simulation and not read.problems else read
    if read.problems:
        raise ConfigurationErrors(read.problems)
    settings = _settings(read, source, in_simulation=in_simulation)
    told = _of_simulation(settings, real, in_simulation=in_simulation)
    needless += written_secrets(written, (read.tables.section, read.pair[1]))
    # nothing that a placeholder stands for is needed where nothing is started
    to_replace = () if in_simulation else tuple(placeholders(source, None if read.assumed else set(read.pair)))
    return Loaded(
        settings=settings,
        path=path,
        text=text,
        name=read.document.name,
        seed=read.document.seed,
        warnings=(*told, *_warnings(source, available, settings), *needless),
        placeholders=to_replace,
        assumed=read.assumed,
        sections=tuple(name for name in source.document if name in known),
        simulated=real if in_simulation or settings.search.simulation else None,
    )


def _of_simulation(settings: RunSettings, real: simulation_mode.Pair, *, in_simulation: bool) -> list[ConfigProblem]:
    """What is to be known of a search that a simulator answers or advises."""
    told = [simulation_mode.told(settings.engine_options["model"])] if in_simulation else []
    if in_simulation or settings.search.simulation:
        told += simulation_mode.assumed(real)
        told += simulation_mode.without_effect(settings)
    return told


@dataclass(frozen=True)
class _Read:
    """A document, its engine and its client, and everything that is wrong with them."""

    document: Document
    pair: tuple[str, str]  # the names of engine and client
    assumed: str
    tables: Tables
    engine: Section
    client: Section
    simulated: Section | None
    fields: list[PlacedField]
    problems: list[ConfigProblem]


def _read(
    source: Source, available: plugins.Plugins, known: Mapping[str, Namesakes], environment: Mapping[str, str]
) -> _Read:
    top = {key: value for key, value in source.document.items() if key not in known}
    document, problems = _document(source, top, known)
    from_environment, wrong = environment_values(environment)
    problems += wrong
    document = document.model_copy(update=from_environment)

    pair, assumed, wrong = selected(source, available, known)
    problems += wrong
    tables = tables_of(available, pair[0])
    sections, fields, wrong = _sections(source, known, (tables.section, pair[1]), tables.fields)
    problems += wrong
    told = {problem.key for problem in problems}
    problems += [each for each in build.contradictions(document, source) if not build.follows(each, told)]
    problems += search_problems(source, available)
    problems += constraint_problems(source, [placed.field for placed in fields])
    return _Read(
        document=document,
        pair=pair,
        assumed=assumed,
        tables=tables,
        engine=replace(sections["engine", tables.section], name=pair[0]),
        client=sections["client", pair[1]],
        simulated=sections.get(("engine", SIMULATED)),
        fields=fields,
        problems=with_their_places(problems, source, known, (tables.section, pair[1], tables.fields)),
    )


def _in_simulation(read: _Read, source: Source) -> _Read:
    given = source.document.get(SIMULATED, {})
    engine, client, wrong = simulation_mode.in_its_place(read.simulated, given, read.engine, read.client)
    return replace(read, engine=engine, client=client, problems=wrong)


def _settings(read: _Read, source: Source, *, in_simulation: bool) -> RunSettings:
    """The settings of a document without errors, with the engine's own time limit where none is written."""
    settings = build.settings(read.document, source.document, read.engine, read.client, read.fields)
    if in_simulation:
        return settings
    if "stop_timeout" not in source.document and (seconds := read.tables.stop_limit(read.engine.options)) is not None:
        settings = structs.replace(settings, limits=structs.replace(settings.limits, stop=seconds))
    if read.document.search.simulation:
        settings = simulation_mode.advising(settings, source, read.simulated, read.engine, read.client)
    return settings


def _sections(
    source: Source, known: Mapping[str, Namesakes], pair: tuple[str, str], fields_table: str
) -> tuple[dict[tuple[Role, str], Section], list[PlacedField], list[ConfigProblem]]:
    """Every section that is written or chosen, the fields of the chosen pair, and what is wrong with them.

    `pair`: the tables of engine and client; `fields_table`: the one that holds the engine's target fields.
    """
    chosen = {*pair, fields_table}
    sections: dict[tuple[Role, str], Section] = {("engine", name): Section(name) for name in (pair[0], fields_table)}
    sections["client", pair[1]] = Section(pair[1])
    problems: list[ConfigProblem] = []
    for name, namesakes in known.items():
        if name not in source.document and name not in chosen:
            continue
        for role in namesakes.roles:
            load_only = role == "client" and name != pair[0]
            sections[role, name], wrong = validated(source, name, namesakes, role, load_only=load_only)
            problems += wrong
        if name not in chosen and namesakes.engine:
            problems += space_problems(source, sections["engine", name].fields)

    clients = sections["client", pair[1]].fields
    if pair[0] == pair[1]:  # one table: what is given there is the engine's already
        clients = tuple(placed for placed in clients if not placed.given)
    engines = sections["engine", fields_table].fields
    if fields_table != pair[0]:
        problems += _misplaced_fields(source, pair[0], fields_table)
        if not sections["engine", pair[0]].managed:
            engines = tuple(placed for placed in engines if placed.given or placed.field.load)
    fields = combined(engines, clients)
    problems += space_problems(source, fields)
    return sections, fields, problems


def _misplaced_fields(source: Source, table: str, fields_table: str) -> list[ConfigProblem]:
    given = source.document.get(table)
    if not isinstance(given, dict) or "target_field" not in given:
        return []
    message = f"this engine's fields stand in another table, whose name it shares with {fields_table}"
    return [source.problem((table, "target_field"), message, f"write [[{fields_table}.target_field]]")]


def _document(source: Source, top: dict[str, Any], known: Mapping[str, Any]) -> tuple[Document, list[ConfigProblem]]:
    try:
        return Document.model_validate(top), []
    except ValidationError as error:
        problems: list[ConfigProblem] = []
        unreadable: set[object] = set()
        for path, what, allowed in findings(error, Document, top):
            unreadable |= set(path[:1]) or set(top)
            if what.startswith("unknown key"):
                what, allowed = no_such_key(path, top, known, what, allowed)  # noqa: PLW2901
            problems.append(source.problem(path, what, allowed))
        return Document.model_validate({key: top[key] for key in top if key not in unreadable}), problems


def _warnings(source: Source, available: plugins.Plugins, settings: RunSettings) -> list[ConfigProblem]:
    warnings = [ConfigProblem(source.file, 0, "", complaint) for complaint in available.complaints()]
    if later := build.without_effect(settings.notes):
        where = source.problem((later[0],), "").line
        warnings.append(ConfigProblem(source.file, where, ", ".join(later), "accepted, without effect in this release"))
    return warnings
