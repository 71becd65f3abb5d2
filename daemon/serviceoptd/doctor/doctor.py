"""What `serviceoptctl doctor` looks at: is everything here that this configuration needs?

What has nothing to do with a configuration is in `host_doctor.py`. Reads and asks, makes nothing.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from serviceopt_journal.errors import EnvironmentLacks, ServiceoptError
from serviceopt_journal.places import Places
from serviceoptd.config import plugins
from serviceoptd.config.load import Loaded
from serviceoptd.doctor import host_doctor
from serviceoptd.doctor.finding import Finding, fail, ok, warn
from serviceoptd.doctor.needs import Needs, needs
from serviceoptd.io.children_environment import isolated, own_prefix
from serviceoptd.io.ports import holder
from serviceoptd.submitting.planning import Plans, first_plans
from serviceoptd.submitting.reading import drafted
from serviceoptd.toolkit.find_program import find_program
from serviceoptd.toolkit.interface import Problem, Workplace


@dataclass(frozen=True)
class Surroundings:
    """Whom the checks are for: the submitter's environment and directory, the daemon's places."""

    places: Places
    environment: Mapping[str, str]
    working_directory: Path

    def children(self, path_prefix: str = "") -> dict[str, str]:
        """The environment that engines and clients would get."""
        return isolated(self.environment, own_prefix(), path_prefix)


def examine(loaded: Loaded, around: Surroundings) -> Iterator[Finding]:
    """Everything, in the order in which a run would need it."""
    yield from host_doctor.versions()
    yield from _plugins()
    yield from host_doctor.state_directory(around.places)
    yield from host_doctor.daemon(around.places)
    yield from _configuration(loaded)
    if not loaded.placeholders:
        yield from _engine_and_client(loaded, around)
        yield from _commands(loaded, around)
    yield from host_doctor.devices(around.children())
    yield from host_doctor.limits(loaded.settings.fields)
    yield from host_doctor.control_group()
    yield from host_doctor.leftovers(around.places)


def _plugins() -> Iterator[Finding]:
    """What other packages have added to this Python environment, and what of it cannot be used."""
    complaints = plugins.installed().complaints()
    for complaint in complaints:
        yield warn("plugin", complaint, "fix or uninstall its package; nothing else is affected")
    found = plugins.of_third_parties()
    if found or not complaints:
        yield ok("plugins", ", ".join(found) or "none besides the built-in ones")


def _configuration(loaded: Loaded) -> Iterator[Finding]:
    name = str(loaded.path or "defaults")
    if not loaded.placeholders:
        settings = loaded.settings
        yield ok("configuration", f"{name}: {settings.engine} with {settings.benchmark}")
    for problem in loaded.placeholders:
        yield fail("configuration", str(problem), "replace it; `serviceoptctl check` lists all of them")


def _engine_and_client(loaded: Loaded, around: Surroundings) -> Iterator[Finding]:
    """What engine and client themselves know to look for: models, data sets, versions."""
    settings = loaded.settings
    workplace = Workplace(around.places.state, around.working_directory, around.children(settings.path_prefix))
    with plugins.blaming("engine", settings.engine):
        engine = plugins.engine_class(settings.engine)(settings.engine_options)
        yield from _found(settings.engine, engine.problems(workplace, settings.manage_lifecycle))
    with plugins.blaming("benchmark", settings.benchmark):
        client = plugins.benchmark_class(settings.benchmark)(settings.benchmark_options)
        yield from _found(settings.benchmark, client.problems(workplace))


def _found(name: str, problems: Sequence[Problem]) -> Iterator[Finding]:
    for problem in problems:
        yield fail(problem.key or name, problem.message, problem.hint)
    if not problems:
        yield ok(name, "finds what it needs")


def _commands(loaded: Loaded, around: Surroundings) -> Iterator[Finding]:
    """Programs and port of what the first particle would start."""
    environment = around.children(loaded.settings.path_prefix)
    try:
        plans = _plans(loaded, around)
    except ServiceoptError as refused:
        yield fail("commands", refused.message, refused.hint)
        return
    for role, command in plans.commands():
        try:
            directory = command.working_directory or around.working_directory
            program = find_program(command.argv[0], {**environment, **command.environment}, directory)
        except EnvironmentLacks as lacking:
            yield fail(f"{role} program", lacking.message, lacking.hint)
        else:
            yield ok(f"{role} program", str(program))
    if not plans.commands():
        yield ok("programs", "none is needed")
    if plans.service.command is not None and plans.service.listens_on is not None:
        yield _port(*plans.service.listens_on, daemon_runs=host_doctor.answers(around.places.socket))


def _plans(loaded: Loaded, around: Surroundings) -> Plans:
    children = around.children(loaded.settings.path_prefix)
    workplace = Workplace(around.places.state, around.working_directory, children)
    return first_plans(drafted(loaded, plugins, workplace), around.places.state)


def _port(host: str, port: int, *, daemon_runs: bool) -> Finding:
    taken = holder(host, port)
    if taken is None:
        return ok("port", f"{port} on {host} is free")
    message = f"{port} on {host} is taken by " + (
        f"process {taken.pid} ({taken.name})" if taken.pid else "a process of another user"
    )
    if daemon_runs:
        return warn("port", message, "unless the daemon is measuring that service, stop it or choose another `port`")
    return fail("port", message, "stop it, or choose another `port`")


def needed(loaded: Loaded, around: Surroundings) -> Needs:
    """The files, directories and devices that the configuration refers to, as far as they are here."""
    settings = loaded.settings
    environment = around.children(settings.path_prefix)
    commands: list[list[str]] = []
    edits: Mapping[Path, bytes] = {}
    with contextlib.suppress(ServiceoptError):  # `examine` has told
        plans = _plans(loaded, around)
        edits = plans.service.edits
        for _, command in plans.commands():
            directory = command.working_directory or around.working_directory
            program = find_program(command.argv[0], {**environment, **command.environment}, directory)
            commands.append([str(program), *command.argv[1:]])
    return needs(settings, commands, around.working_directory, edits=edits)
