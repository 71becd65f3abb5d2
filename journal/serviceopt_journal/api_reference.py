"""Writes docs/api.md from the documents themselves: `python -m serviceopt_journal.api_reference`."""

from __future__ import annotations

import ast
import re
import sys
from typing import get_args

import msgspec

from . import api_prose, metric_reference
from .documents import checked, local, models, particles, requests, runs
from .documents.records import Records
from .documents.routes import ROUTES
from .metrics import Metrics
from .struct_reference import documented, own_fields, table

TITLES: dict[type[msgspec.Struct], str] = {
    runs.Status: "Status",
    runs.Daemon: "Daemon",
    runs.Runs: "Runs",
    runs.RunSummary: "Summary",
    runs.Run: "Run",
    runs.Identity: "Identity",
    runs.TargetField: "Target field",
    runs.Counts: "Counts",
    particles.RejectionRecord: "Rejections",
    runs.EvaluationUnderWay: "Evaluation under way",
    particles.Particles: "Particles",
    particles.Particle: "Particle",
    Metrics: "Metrics",
    particles.Recommendation: "Recommendation",
    particles.BestOfSearch: "Best of the search",
    particles.Deploy: "Deploy",
    particles.FinishedFiles: "Finished files",
    particles.FinishedFile: "Finished file",
    runs.Table: "Rows",
    Records: "Records",
    requests.Submission: "Submission",
    requests.Accepted: "Accepted",
    requests.Expected: "Expected",
    requests.Import: "Import",
    requests.ImportedResults: "Imported",
    requests.Reason: "Reason",
    requests.NewConfiguration: "New configuration",
    requests.Changes: "Changes",
    requests.Draining: "Draining",
    requests.LogLevel: "Log level",
    requests.Refused: "Errors",
    requests.Refusal: "Refusal",
    local.Ended: "Ended",
    checked.CheckedSummary: "Checked summary",
    checked.CheckedConfiguration: "Checked configuration",
    checked.Unusable: "Unusable configuration",
    checked.ConfigurationProblem: "Problem",
    checked.CheckedObjective: "Checked objective",
    checked.CheckedSlo: "Checked SLO",
    checked.CheckedSpace: "Checked space",
    checked.CheckedField: "Checked field",
    checked.CheckedBudget: "Checked budget",
    checked.CheckedSearch: "Checked search",
    checked.Planned: "Planned command",
    local.Examined: "Doctor",
    local.Finding: "Finding",
    local.Verified: "Verified journal",
    local.Pages: "Pages",
    local.Page: "Page",
    models.Trained: "Trained model",
    models.ModelCard: "Model card",
    models.Recording: "Recording",
    models.WindowedRecording: "Windowed recording",
    models.ErrorLine: "Errors of batches",
    models.BenchmarkErrors: "Errors of benchmarks",
    models.Profiled: "Profiled",
    models.Comparison: "Comparison",
    models.ReadingErrors: "Errors of a reading",
    models.ComparedPoint: "Compared point",
}
"""Every document in the order of the page, with its heading."""

_WORDS = {
    "str": "string", "int": "integer", "float": "number", "bool": "boolean", "Any": "any", "Value": "value",
    "Configuration": "{name: value}", "Latency": "{statistic: seconds}",
    "DeployPolicy": " | ".join(f'"{word}"' for word in get_args(requests.DeployPolicy)),
    "Separation": " | ".join(f'"{word}"' for word in get_args(requests.Separation)),
}  # fmt: skip
"""A `value` is an integer, a number, a boolean or a string."""

_ELSEWHERE = {"Proof": "events.md#proof", "Tail": "events.md#tail-of-metrics", "Recorded": "#record"}
_BEHIND = {
    runs.Table: api_prose.ROWS,
    Metrics: metric_reference.names(),
    requests.Import: api_prose.IMPORT,
    Records: api_prose.EVENTS,
}
_SENT = frozenset(route.body for route in ROUTES)


def reference() -> str:
    """The text of the page docs/api.md."""
    parts = [api_prose.HEAD, "## Requests\n", *_routes()]
    for structure in TITLES:
        if structure is local.Ended:
            parts.append(api_prose.LOCAL)
        parts += [_section(structure), *([_BEHIND[structure]] if structure in _BEHIND else [])]
    return "\n".join(parts)


def _routes() -> list[str]:
    rows = [
        (
            f"`{route.request}`",
            _link(route.body) if route.body else "",
            "; ".join(part for part in (_link(route.answer) if route.answer else "", route.note) if part),
        )
        for route in ROUTES
    ]
    errors = f"A request that is refused is answered with {_link(requests.Refused)}.\n"
    return [*table(("request", "body", "answer"), rows), "", errors]


def _section(structure: type[msgspec.Struct]) -> str:
    base = next((known for known in TITLES if known in structure.__bases__), None)
    lines = [f"## {TITLES[structure]}", "", documented(structure)]
    if base is not None:
        lines += ["", f"It has the keys of {_link(base)}, and then:"]
    sent = structure in _SENT
    rows = []
    for field in own_fields(structure):
        kind, meaning = json_type(field.annotation), _meaning(field.annotation, field.meaning)
        rows.append((f"`{field.name}`", f"`{kind}`", *([_default(field.default)] if sent else []), meaning))
    headings = ("key", "type", *(["default"] if sent else []), "meaning")
    return "\n".join([*lines, "", *table(headings, rows), ""])


def _default(default: object) -> str:
    return "required" if default is msgspec.NODEFAULT else f"`{msgspec.json.encode(default).decode()}`"


def _meaning(annotation: str, comment: str) -> str:
    """The comment, with links to the documents that the type names."""
    names = {structure.__name__: _anchor(title) for structure, title in TITLES.items()} | _ELSEWHERE
    links = [f"[{name}]({names[name]})" for name in re.findall(r"\w+", annotation) if name in names]
    return "; ".join(part for part in (comment, *links) if part)


def json_type(annotation: str) -> str:
    """A type as somebody reads it who has JSON before him: `tuple[str, ...]` is `[string]`."""
    return _told(ast.parse(annotation, mode="eval").body)


def _told(node: ast.expr) -> str:
    match node:
        case ast.BinOp(left=left, right=right):
            return f"{_told(left)} | {_told(right)}"
        case ast.Subscript(value=ast.Name(id="tuple"), slice=ast.Tuple(elts=[item, ast.Constant(value=value)])) if (
            value is ...
        ):
            return f"[{_told(item)}]"
        case ast.Subscript(value=ast.Name(id="tuple"), slice=ast.Tuple(elts=items)):
            return f"[{', '.join(map(_told, items))}]"
        case ast.Subscript(value=ast.Name(id="dict"), slice=ast.Tuple(elts=[_, value])):
            return f"{{key: {_told(value)}}}"
        case ast.Subscript(value=ast.Name(id="Literal"), slice=ast.Tuple(elts=words)):
            return " | ".join(f'"{ast.literal_eval(word)}"' for word in words)
        case ast.Constant(value=None):
            return "null"
        case ast.Name(id=name):
            return _WORDS.get(name, name)
    raise LookupError(ast.unparse(node))


def _link(structure: type[msgspec.Struct]) -> str:
    return f"[{TITLES[structure].lower()}]({_anchor(TITLES[structure])})"


def _anchor(title: str) -> str:
    return "#" + title.lower().replace(" ", "-")


if __name__ == "__main__":
    sys.stdout.write(reference())
