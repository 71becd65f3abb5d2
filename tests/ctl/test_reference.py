"""The pages that describe the client and the API are complete."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from builders import a_finished_story, a_journal, an_unfinished_story
from serviceopt_journal.codec import Recorded
from serviceopt_journal.documents.requests import Submission
from serviceopt_journal.documents.routes import ROUTES
from serviceopt_journal.errors import ExitCode
from serviceoptctl.from_journal import FromJournal
from serviceoptctl.reference import reference
from serviceoptd.domain.settings import Field
from serviceoptd.domain.table import METRIC_COLUMNS, OWN_COLUMNS, RECORD_COLUMNS

DOCS = Path(__file__).parents[2] / "docs"
OPEN = {
    "configuration",
    "load",
    "parts",
    "environment",
    "inherited_environment",
    "positions",
    "ttft",
    "tpot",
    "e2el",
    "itl",
}  # keys are the user's or a statistic's


def keys(document: Any) -> Iterator[str]:
    """Every key of a document, however deep."""
    if isinstance(document, list):
        for item in document:
            yield from keys(item)
    if isinstance(document, dict):
        for key, value in document.items():
            yield key
            if key not in OPEN:
                yield from keys(value)


def test_docs_cli_is_what_the_help_says() -> None:
    assert (DOCS / "cli.md").read_text() == reference(), "python -m serviceoptctl.reference > docs/cli.md"


def test_every_exit_code_is_documented_with_its_number() -> None:
    rows = re.findall(r"^\| (\d+) \| (\w+) \|", (DOCS / "exit-codes.md").read_text(), re.MULTILINE)
    assert [(int(code), name) for code, name in rows] == [(int(code), code.name) for code in ExitCode]


def test_every_key_of_every_document_is_described(state: Path) -> None:
    a_journal(state, an_unfinished_story(), a_finished_story())
    source = FromJournal.open(state)
    documents = [
        source.status().told, source.runs().told, source.run("1").told, source.best("latest").told,
        dict.fromkeys((*METRIC_COLUMNS, *RECORD_COLUMNS, *OWN_COLUMNS)), source.particles("1").told["particles"],
        dict.fromkeys(Field.__struct_fields__), dict.fromkeys(Recorded.__struct_fields__),
        dict.fromkeys(Submission.__struct_fields__),
    ]  # fmt: skip
    described = set(re.findall(r"`/?([\w-]+)`", (DOCS / "api.md").read_text()))
    assert {key for document in documents for key in keys(document)} <= described


def test_the_routes_that_are_described_are_those_of_the_daemon() -> None:
    from starlette.routing import Route

    from serviceoptd.service.api import make_app

    routes = [route for route in make_app(None).routes if isinstance(route, Route)]
    served = {f"{method} {route.path}" for route in routes for method in (route.methods or set()) - {"HEAD"}}
    commands = {f"POST /v1/runs/{{run}}/{word}" for word in ("pause", "resume", "cancel", "reconfigure")}
    assert {route.request for route in ROUTES} == served - {"POST /v1/runs/{run}/{command:str}"} | commands
