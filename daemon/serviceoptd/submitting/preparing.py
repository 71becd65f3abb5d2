"""Makes a run that could begin of what a client sends: everything is checked before anything is written."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from serviceopt_journal.documents.requests import Submission
from serviceoptd.config.problems import ConfigurationErrors
from serviceoptd.submitting.beside_errors import all_together
from serviceoptd.submitting.choices import refuse_choices_of_another_server
from serviceoptd.submitting.cross_checking import cross_checked, refuse_contradictions
from serviceoptd.submitting.describing import described
from serviceoptd.submitting.draft import Installed, Prepared
from serviceoptd.submitting.identity import identified
from serviceoptd.submitting.machine_checks import refuse_a_taken_port, refuse_what_is_missing
from serviceoptd.submitting.planning import planned
from serviceoptd.submitting.reading import read
from serviceoptd.submitting.surveying import surveyed


def prepare(
    submission: Submission,
    installed: Installed,
    *,
    tool_prefix: Path | None,
    port_is_ours: bool = False,
    originals: Mapping[Path, bytes] | None = None,
) -> Prepared:
    """Checks a submission against its configuration and against this machine. Writes nothing.

    Args:
        submission: what the client sent.
        installed: the engines and clients.
        tool_prefix: the tool's own virtual environment, hidden from children.
        port_is_ours: a service of ours is running, so the port may be taken by it.
        originals: what files that a launch of ours has edited now held before.

    Raises:
        ConfigurationErrors: the configuration is not valid, or still has placeholders.
        InvalidConfiguration: it asks for something that comes with a later release.
        EnvironmentLacks: a program, a model or a free port is missing.
    """
    read_here = partial(read, installed=installed, tool_prefix=tool_prefix, originals=originals)
    try:
        draft = read_here(submission)
    except ConfigurationErrors as errors:
        raise all_together(errors, submission, read_here) from errors
    draft = surveyed(draft)
    draft = cross_checked(draft)
    refuse_contradictions(draft)
    refuse_what_is_missing(draft)
    draft = described(draft)
    draft = planned(draft)
    refuse_choices_of_another_server(draft)
    if not port_is_ours:
        refuse_a_taken_port(draft)
    return identified(draft, submission)
