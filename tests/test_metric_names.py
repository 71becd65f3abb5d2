"""A metric's names are spelt in one place, serviceopt_journal/metric_table.py; every other place reads them from there."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec

from serviceopt_journal.metric_table import METRIC, METRICS
from serviceopt_journal.metrics import Metrics
from serviceopt_journal.struct_reference import own_fields

ROOT = Path(__file__).parent.parent
TABLE = ROOT / "journal" / "serviceopt_journal" / "metric_table.py"
PACKAGES = (ROOT / "journal" / "serviceopt_journal", ROOT / "daemon" / "serviceoptd", ROOT / "ctl" / "serviceoptctl")

COMMON = frozenset(
    {"completed", "failed", "duration", "throughput", "requests", "output", "preemptions"}
    | {"input_tokens", "output_tokens", "input tokens", "output tokens", "completed requests", "failed requests"}
)
"""Words that mean something else in other places: the outcome of a run, the length of a prompt, a profile of GuideLLM."""

OPTION = "an option of the client, which has its name from there"
SINGLE_REQUESTS = "lists of single requests in the client's file, of which the table has no row"
PROSE = "a sentence, not a name"
ALLOWED = {
    ("daemon/serviceoptd/benchmarks/vllm_benchmark/client.py", "goodput"): OPTION,
    ("daemon/serviceoptd/benchmarks/vllm_benchmark/flags.py", "goodput"): OPTION,
    ("daemon/serviceoptd/benchmarks/vllm_benchmark/flags.py", "itl"): OPTION,
    ("daemon/serviceoptd/benchmarks/vllm_benchmark/result.py", "ttfts"): SINGLE_REQUESTS,
    ("daemon/serviceoptd/benchmarks/vllm_benchmark/result.py", "itls"): SINGLE_REQUESTS,
    ("daemon/serviceoptd/profiling/recording/measured_load.py", "ttfts"): SINGLE_REQUESTS,
    ("daemon/serviceoptd/profiling/recording/measured_load.py", "itls"): SINGLE_REQUESTS,
    ("daemon/serviceoptd/profiling/data/recorded_load.py", "ttfts"): SINGLE_REQUESTS,
    ("daemon/serviceoptd/profiling/data/recorded_load.py", "itls"): SINGLE_REQUESTS,
    ("daemon/serviceoptd/domain/stopping/early_stopping.py", "success rate"): PROSE,
    ("daemon/serviceoptd/service/control.py", "success rate"): PROSE,
}  # fmt: skip


def spellings() -> Iterator[str]:
    for metric in METRICS:
        yield from (metric.key, metric.name, metric.label, metric.title, metric.abbreviation, metric.column)
        yield from (*metric.older_columns, *metric.series, metric.limit.key if metric.limit else "")
        for keys in metric.results.values():
            yield from (name for name in keys.names if "{" not in name)


WORDS = sorted({word.casefold() for word in spellings() if word} - {word.casefold() for word in COMMON}, key=len)
NAME = re.compile(rf"(?<![a-z0-9])(?:{'|'.join(map(re.escape, reversed(WORDS)))})s?(?![a-z0-9])")


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """Every string of a module but its docstrings, with its line."""
    tree = ast.parse(path.read_text())
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.lineno, node.value


MODULES = sorted(path for package in PACKAGES for path in package.rglob("*.py") if path != TABLE)


def test_a_metrics_name_is_spelt_in_its_row_and_nowhere_else() -> None:
    assert len(MODULES) > 300, "the test looks in the wrong place"
    found = {
        (str(path.relative_to(ROOT)), match[0]): line
        for path in MODULES for line, text in texts(path) for match in NAME.finditer(text.casefold())
    }  # fmt: skip
    again = [f"{path}:{line}: {name}" for (path, name), line in found.items() if (path, name) not in ALLOWED]
    assert not again, "read the name from serviceopt_journal.metric_table:\n" + "\n".join(again)
    assert not set(ALLOWED) - set(found), "no longer there: take it off the list"


def test_every_number_of_a_result_has_its_row() -> None:
    assert set(METRIC) == {field.name for field in msgspec.structs.fields(Metrics)} - {"tails"}
    assert len(METRIC) == len(METRICS), "two rows of one key"


def test_a_latencys_field_says_the_name_that_its_row_has() -> None:
    meanings = {field.name: field.meaning for field in own_fields(Metrics)}
    for metric in METRICS:
        if metric.abbreviation:
            assert meanings[metric.key].startswith(metric.name)


FIELD = "    queued: Latency = {}  # time in the queue\n"
ROW = """
    Metric(
        key="queued",
        name="time in the queue",
        unit="s",
        label="in the queue",
        abbreviation="QT",
        title="time in the queue",
        column="time_in_queue",
        results={"vllm_benchmark": ResultKeys(("{statistic}_queue_ms",), "ms")},
    ),
)
"""
SCRIPT = """
import sys
from pathlib import Path
from click.testing import CliRunner
from builders import Story, a_journal
from serviceopt_journal.api_reference import reference
from serviceoptctl.program import cli
from serviceoptd.benchmarks.vllm_benchmark.result import metrics_of

rates = {"output_throughput": 100.0, "request_throughput": 5.0, "duration": 2.0}
means = {"mean_ttft_ms": 30.0, "mean_tpot_ms": 10.0, "mean_queue_ms": 250.0}
told = metrics_of({"num_prompts": 10, "completed": 10, "failed": 0, **rates, **means})
story = Story()
a_journal(Path(sys.argv[1]), [*story.submitted(), *story.measured(told, MAX_NUM_SEQS=1, CONCURRENCY=1)])
for command in ("export", "show 1 --particle 1"):
    result = CliRunner().invoke(cli, command.split())
    print(result.output)
    assert result.exit_code == 0
print(reference())
"""


def test_a_row_added_to_the_table_reaches_the_csv_the_screen_and_the_documentation(tmp_path: Path) -> None:
    """Adds a row to a copy of the packages: nothing else may have to change."""
    for package in PACKAGES:
        shutil.copytree(package, tmp_path / package.name, ignore=shutil.ignore_patterns("__pycache__"))
    table, metrics = (tmp_path / "serviceopt_journal" / name for name in ("metric_table.py", "metrics.py"))
    table.write_text(table.read_text().replace("\n)\n", ROW, 1))
    metrics.write_text(metrics.read_text().replace("    goodput:", f"{FIELD}    goodput:", 1))
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, tmp_path / "state"],
        env={
            **os.environ,
            "PYTHONPATH": f"{tmp_path}:{ROOT / 'tests'}",
            "SERVICEOPT_STATE_DIR": str(tmp_path / "state"),
        },
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    header, row = done.stdout.splitlines()[:2]
    assert dict(zip(header.split(","), row.split(","), strict=True))["time_in_queue"] == "0.25"
    assert re.search(r"^in the queue: +mean 250 ms", done.stdout, re.MULTILINE)
    assert "| `queued` | time in the queue | s | in the queue | `time_in_queue` |" in done.stdout
    assert "| `queued` | `{statistic}_queue_ms` |" in done.stdout
    assert "`time_in_queue` (s)" in done.stdout
