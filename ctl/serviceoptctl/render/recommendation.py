"""The recommendation: what to deploy, why, and exactly how."""

from __future__ import annotations

import json
import shlex

import click

from serviceopt_journal.documents.particles import Deploy, Particle, Recommendation
from serviceoptctl.render.metrics import in_full, in_short
from serviceoptctl.render.proof import gain, proof, shortfall
from serviceoptctl.render.rejections import rejections
from serviceoptctl.render.run import how_often
from serviceoptctl.render.text import facts, safe, value_text, width, wrapped

MASKED = "***"


def recommendation(document: Recommendation) -> None:
    """Prints the recommendation for people to read."""
    if document.simulated:
        _headline("SIMULATED: these figures come from a model, not from a service.", "yellow")
    if document.imported:
        _headline(safe(f"IMPORTED from {document.imported}: not measured here."), "yellow")
    if not document.feasible:
        _headline(shortfall(document), "red")
    if not document.final:
        told = f"The run is not over: this is the best so far{how_often(document)}."
        _headline(told, "yellow")
    before = document.current_setting
    same = before is not None and before.particle == document.particle
    facts(
        [
            ("run", f"{document.run}, particle {document.particle}"),
            ("objective", document.objective),
            ("parameters", "\n".join(f"{k} = {value_text(v)}" for k, v in document.configuration.items())),
            *in_full(document),
            *proof(document),
            (
                "current setting",
                "this one: nothing better is known" if same else _current(before) if before else "",
            ),
            ("rejections", rejections(document.rejections)),
            ("gain", "" if same else gain(document)),
        ]
    )
    click.echo()
    # a text is that of an imported table, whatever it means; 0 is no limit
    limits = {name: value for name, value in document.load.items() if isinstance(value, str) or value > 0}
    told = ", ".join(f"{name} {value_text(value)}" for name, value in limits.items())
    _headline(f"To deploy it, for a load up to {told}:" if told else "To deploy it:")
    for line in shell(document).splitlines():
        click.echo("  " + safe(line))


def _headline(text: str, colour: str | None = None) -> None:
    click.secho(wrapped(text, width()), fg=colour, bold=True)


def shell(document: Recommendation) -> str:
    """The deployment for a POSIX shell: what belongs in the engine's file, as comments, and the command that was measured.

    Without a command of the service's own (a supervisor of ours, a service of somebody else) the parameters instead.
    """
    deploy = document.deploy
    if deploy is None or not _has_command(deploy):
        told = environment(document).splitlines()
        lines = [_why_no_command(document), *_in_files(document), *told]
        return "\n".join(line for line in lines if line)
    settings = [f"{name}={shlex.quote(value)}" for name, value in variables(document).items()]
    command = " ".join([*settings, shlex.join(deploy.argv)])
    return "\n".join([*_in_files(document), *_masked(document), command])


def environment(document: Recommendation) -> str:
    """`NAME=value` lines of the variables, as an environment file or a shell has them."""
    lines = (f"{name}={shlex.quote(str(value))}" for name, value in variables(document).items())
    return "\n".join([*_masked(document), *lines])


def variables(document: Recommendation) -> dict[str, str]:
    """What was set for the measured service and what it inherited; where no command of its own is known, its parameters.

    The client's load is no variable of the service, nor is what belongs into a configuration file or on a command line.
    """
    deploy = document.deploy or Deploy()
    told = deploy.inherited_environment | deploy.environment
    return told if _has_command(deploy) else _parameters(document) | told


def without_variables(document: Recommendation) -> str:
    """Where to look instead, for somebody who wanted the variables of a setting that has none."""
    best = f"`serviceoptctl best {document.run}"
    deploy = document.deploy or Deploy()
    if deploy.files:
        of = ", ".join(deploy.files)
        return f"{best} --format config -o {_target(deploy)}` writes {of} with the recommended values"
    if document.positions:
        return f"the engine's file holds the recommended values already; {best}` shows each with its place"
    if _has_command(deploy):
        return f"{best} --format shell` prints the command that was measured"
    return f"{best}` shows the parameters"


def _has_command(deploy: Deploy) -> bool:
    return bool(deploy.argv) and not deploy.internal


def _parameters(document: Recommendation) -> dict[str, str]:
    return {
        name: value_text(value)
        for name, value in document.configuration.items()
        if name not in document.load and name not in document.positions
    }


def _target(deploy: Deploy) -> str:
    return "FILE" if len(deploy.files) == 1 else "DIRECTORY"


def _current(before: Particle) -> str:
    return f"failed: {before.error}" if before.error and before.metrics is None else in_short(before)


def _in_files(document: Recommendation) -> list[str]:
    """Each place in a file with its value, and how the finished file is written."""
    if not document.positions:
        return []
    deploy = document.deploy or Deploy()
    places = [f"# {place} = {_exactly(document.configuration[name])}" for name, place in document.positions.items()]
    if not deploy.files:
        known = document.deploy is not None
        return [*places, *(["# the engine's file holds these values already"] if known else [])]
    write = f"serviceoptctl best {document.run} --format config -o {_target(deploy)}"
    then = (
        [f"# then run the deployment scripts: delete.sh, deploy.sh in {_directory(deploy)}"] if deploy.internal else []
    )
    return [f"# in {', '.join(deploy.files)}:", *places, f"# the whole file: {write}", *then]


def _exactly(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _directory(deploy: Deploy) -> str:
    """Of the deployment scripts, as the supervisor of ours was told."""
    words = list(deploy.argv)
    return words[words.index("--directory") + 1] if "--directory" in words[:-1] else deploy.working_directory


def _masked(document: Recommendation) -> list[str]:
    deploy = document.deploy or Deploy()
    hidden = [name for name, value in deploy.environment.items() if value == MASKED]
    hidden += [argument for argument in deploy.argv if MASKED in argument]
    return [f"# put the secret in before use: {', '.join(hidden)}"] if hidden else []


def _why_no_command(document: Recommendation) -> str:
    deploy = document.deploy
    if document.imported:
        return "# imported: the file does not contain the command; its parameters:"
    if deploy is None and not document.simulated:
        return "# measured in an earlier run; its parameters:"
    if deploy is None or deploy.simulated:
        return "# simulated: there is no command; its parameters:"
    if deploy.internal:
        return ""  # where each value belongs says it
    return "# serviceopt does not start this service; its parameters:"
