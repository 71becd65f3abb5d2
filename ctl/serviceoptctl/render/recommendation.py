"""The recommendation: what to deploy, why, and exactly how."""

from __future__ import annotations

import shlex

import click

from serviceopt_journal.documents.particles import Deploy, Recommendation
from serviceoptctl.render.metrics import in_full, in_short
from serviceoptctl.render.proof import gain, proof, shortfall
from serviceoptctl.render.rejections import rejections
from serviceoptctl.render.text import facts, safe, value_text

MASKED = "***"


def recommendation(document: Recommendation) -> None:
    """For people."""
    if document.simulated:
        click.secho("SIMULATED: these figures come from a model, not from a service.", fg="yellow", bold=True)
    if document.imported:
        click.secho(safe(f"IMPORTED from {document.imported}: not measured here."), fg="yellow", bold=True)
    if not document.feasible:
        click.secho(shortfall(document), fg="red", bold=True)
    if not document.final:
        click.secho("The run is not over: this is the best so far.", fg="yellow")
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
                "this is it: nothing better is known" if same else in_short(before) if before else "",
            ),
            ("rejections", rejections(document.rejections)),
            ("gain", "" if same else gain(document)),
        ]
    )
    click.echo()
    limits = {name: value for name, value in document.load.items() if float(value) > 0}
    told = ", ".join(f"{name} {value_text(value)}" for name, value in limits.items())
    click.echo(click.style(f"To deploy it, for a load up to {told}:" if told else "To deploy it:", bold=True))
    for line in shell(document).splitlines():
        click.echo("  " + safe(line))


def shell(document: Recommendation) -> str:
    """A command for a POSIX shell: the one that was measured, with its environment; else the parameters."""
    deploy = document.deploy
    if deploy is None or not deploy.argv:
        return "\n".join([_why_no_command(document), *environment(document).splitlines()])
    command = shlex.join(deploy.argv)
    settings = [f"{name}={shlex.quote(value)}" for name, value in deploy.environment.items()]
    return "\n".join([*_masked(document), " ".join([*settings, command])])


def environment(document: Recommendation) -> str:
    """`NAME=value` lines, as an environment file or a shell has them: every parameter, and what else was set."""
    deploy = document.deploy or Deploy()
    parameters = {name: value_text(value) for name, value in document.configuration.items()}
    values = parameters | deploy.environment
    return "\n".join([*_masked(document), *(f"{name}={shlex.quote(str(value))}" for name, value in values.items())])


def _masked(document: Recommendation) -> list[str]:
    deploy = document.deploy or Deploy()
    hidden = [name for name, value in deploy.environment.items() if value == MASKED]
    hidden += [argument for argument in deploy.argv if MASKED in argument]
    return [f"# put the secret in before use: {', '.join(hidden)}"] if hidden else []


def _why_no_command(document: Recommendation) -> str:
    deploy = document.deploy
    if document.imported:
        return "# imported: the file does not tell the command; its parameters:"
    if deploy is None:
        return "# measured in an earlier run; its parameters:"
    if deploy.simulated:
        return "# simulated: there is no command; its parameters:"
    return "# somebody else starts this service; its parameters:"
