"""The first step: a submission's configuration is read, with its engine, its client and where they would work."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from msgspec import structs

from serviceopt_journal.documents.requests import Submission
from serviceopt_journal.errors import InvalidConfiguration
from serviceoptd.config.load import Loaded, load_text
from serviceoptd.config.plugins import blaming
from serviceoptd.io.children_environment import isolated
from serviceoptd.submitting.draft import NOWHERE, Draft, Installed
from serviceoptd.submitting.simulating import with_files_of_the_real_pair
from serviceoptd.toolkit.interface import Workplace

SEPARATED_MINDIE = "mindie_kubernetes"


def read(
    submission: Submission,
    installed: Installed,
    *,
    tool_prefix: Path | None,
    originals: Mapping[Path, bytes] | None = None,
) -> Draft:
    """The draft of a submission, as its configuration says.

    Args:
        submission: what the client sent.
        installed: the engines and clients.
        tool_prefix: the tool's own virtual environment, hidden from children.
        originals: what files that a launch of ours has edited now held before.

    Raises:
        ConfigurationErrors: the configuration cannot be loaded; every error at once.
        InvalidConfiguration: it asks for something that comes with a later release.
    """
    _refuse_what_comes_later(submission)
    loaded = load_text(
        submission.configuration_text,
        Path(submission.configuration_path) if submission.configuration_path else None,
        engine=_engine_of(submission),
        benchmark=submission.benchmark,
        environment=submission.environment,
    )
    workplace = Workplace(
        directory=NOWHERE,
        working_directory=Path(submission.working_directory),
        environment=isolated(submission.environment, tool_prefix, loaded.settings.path_prefix),
        originals=originals or {},
    )
    draft = drafted(loaded, installed, workplace)
    return replace(draft, settings=structs.replace(draft.settings, backup=True)) if submission.backup else draft


def drafted(loaded: Loaded, installed: Installed, workplace: Workplace) -> Draft:
    """The draft of a configuration that was read already.

    Raises:
        BrokenPlugin: the engine or the client cannot be made of its options.
    """
    loaded = with_files_of_the_real_pair(loaded, installed, workplace)
    settings = loaded.settings
    with blaming("engine", settings.engine):
        engine = installed.engine_class(settings.engine)(settings.engine_options)
    with blaming("benchmark", settings.benchmark):
        benchmark = installed.benchmark_class(settings.benchmark)(settings.benchmark_options)
    return Draft(loaded, settings, engine, benchmark, workplace)


def _refuse_what_comes_later(submission: Submission) -> None:
    if submission.deploy_policy == "multiple":
        raise InvalidConfiguration(
            "--deploy_policy multiple is not supported yet: a service spread over several machines comes with a later "
            "release",
            hint="use --deploy_policy single",
        )


def _engine_of(submission: Submission) -> str | None:
    """The engine that is meant: of MindIE there is one for each way to run prefill and decode.

    Raises:
        InvalidConfiguration: the one that was named runs both on the same instances.
    """
    if submission.pd == "competition":
        return submission.engine
    if submission.engine in (None, "mindie", SEPARATED_MINDIE):
        return SEPARATED_MINDIE
    raise InvalidConfiguration(
        f"--pd disaggregation is for the engine mindie; {submission.engine} does not deploy separate instances itself",
        hint="`serviceoptctl docs disaggregation` shows how the engine `command` tunes vLLM instances behind a proxy",
    )
