"""docs/migration.md has a row for everything that the manual promises, and each row names a test that is there."""

from __future__ import annotations

import ast
import re
import tomllib
from functools import cache
from pathlib import Path
from typing import Any, get_args

import click
import pytest

from serviceoptctl.commands.optimizer import optimizer
from serviceoptctl.commands.train import train
from serviceoptd.domain.settings import Dtype
from serviceoptd.domain.table import METRIC_COLUMNS, RECORD_COLUMNS

TESTS = Path(__file__).parent
PAGE = (TESTS.parent / "docs" / "migration.md").read_text()
DEFAULT_FILE = TESTS / "daemon" / "config" / "msserviceprofiler-default.toml"
STATES = {"works", "different", "planned"}
OF_THE_PREDECESSOR = {
    "--load_breakpoint", "-lb", "--deploy_policy", "-d", "--backup", "--benchmark_policy", "-b", "--engine", "-e", "--pd",
    "--config", "-c", "--input", "-i", "--output", "-o", "--type", "-t",
}  # fmt: skip
VARIABLES = {
    "ASCEND_RT_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES", "MODELEVALSTATE_LEVEL", "MODEL_EVAL_STATE_ALL",
    "MODEL_EVAL_STATE_IS_SLEEP_FLAG",
}  # fmt: skip
KEYS_BESIDE_THE_DEFAULT_FILE = {
    "store_dir", "work_dir", "dataset_path", "config_path", "config_bak_path", "process_name", "constant",
    "success_rate_slo", "e2e_slo", "objective", "per_device", "max_hours", "launch_timeout",
}  # fmt: skip
OF_THE_SUCCESSOR = {
    "--load-breakpoint", "--benchmark-policy", "--version", "--log-level", "-v", "-q", "MAXCONCURRENCY",
    "max_queue_delay_microseconds", "success_rate_slo", "slo_coefficient", "step_size", "max_fine_tune",
    "generate_speed_target", "wait_start_time", "particles_time_out", "theory_guided_enable", "scaling_coefficient",
    "mem_coefficient", "use_request_rate_calibration", "performance_config", "path_prefix", "case_id",
}  # fmt: skip
AREAS = {
    "overhead", "crash", "identity", "winner", "failures", "safety", "configuration", "search", "early rejection", "PD",
    "several machines",
}  # fmt: skip


def section(number: str) -> list[list[str]]:
    """The rows of the tables below `### NUMBER ...`, cells stripped, without the headers."""
    (text,) = re.findall(rf"^### {number} .*?\n(.*?)(?=^##|\Z)", PAGE, re.MULTILINE | re.DOTALL)
    return rows(text)


def rows(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("|")]
    following = [*lines[1:], ""]
    body = [line for line, after in zip(lines, following, strict=True) if not {"|---", "|--"} & {line[:4], after[:4]}]
    return [[cell.strip() for cell in line[1:-1].split("|")] for line in body]


def words(table: list[list[str]]) -> set[str]:
    """What stands in backticks in the first column; of dotted keys the last part too."""
    found = {word for row in table for word in re.findall(r"`([^`]+)`", row[0])}
    return found | {word.rpartition(".")[2] for word in found}


SECTIONS = [row for number in ("2", "3", "4", "5", "6", "7", "9") for row in section(number)]
DEFECTS = rows(PAGE[PAGE.index("## Defects that do not come along") :])


@cache
def functions_of(path: Path) -> frozenset[str]:
    """The test functions of a file, also those of its classes."""
    tree = ast.parse(path.read_text())
    functions = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return frozenset(node.name for node in functions if node.name.startswith("test_"))


@pytest.mark.parametrize("row", SECTIONS, ids=lambda row: row[0][:40])
def test_a_row_has_a_state_and_names_a_test(row: list[str]) -> None:
    assert len(row) == 4, row
    _, state, test, _ = row
    assert state in STATES
    assert test.startswith("`")


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`([\w/]+\.py)(?:::\w+)?`", PAGE))))
def test_every_file_that_is_named_is_there_and_has_the_tests_that_are_named(name: str) -> None:
    path = TESTS / name if (TESTS / name).exists() else TESTS.parent / name
    assert path.is_file()
    named = set(re.findall(rf"`{re.escape(name)}::(\w+)`", PAGE))
    assert named <= functions_of(path), f"{name} lacks {sorted(named - functions_of(path))}"


def options_of(command: click.Command) -> set[str]:
    return {spelling for parameter in command.params for spelling in (*parameter.opts, *parameter.secondary_opts)}


def test_every_option_of_the_predecessor_is_there_and_has_a_row() -> None:
    assert options_of(optimizer) | options_of(train) >= OF_THE_PREDECESSOR
    assert words(section("2")) >= OF_THE_PREDECESSOR | VARIABLES


def keys_of(value: Any) -> set[str]:
    """Every key of a document, however deep; tables of clients and engines included."""
    if isinstance(value, list):
        return {key for item in value for key in keys_of(item)}
    if not isinstance(value, dict):
        return set()
    return set(value) | {key for item in value.values() for key in keys_of(item)}


def test_every_key_of_the_predecessor_has_a_row() -> None:
    containers = {"data_storage", "health_check", "command", "ais_bench", "vllm", "vllm_benchmark", "kubectl", "mindie"}
    keys = keys_of(tomllib.loads(DEFAULT_FILE.read_text())) - containers | KEYS_BESIDE_THE_DEFAULT_FILE
    # also the key of a table before a colon: `target_field`: `name`
    assert keys <= words(section("3")), sorted(keys - words(section("3")))


def test_every_dtype_and_every_default_field_has_a_row() -> None:
    document = tomllib.loads(DEFAULT_FILE.read_text())
    fields = {field["name"] for engine in ("mindie", "vllm") for field in document[engine]["target_field"]}
    assert words(section("3")) >= {*get_args(Dtype), *fields}


def test_every_engine_and_client_of_the_manual_has_a_row() -> None:
    named = " ".join(row[0] for row in section("4"))
    for name in ("vLLM", "vllm_benchmark", "MindIE", "ais_bench", "PD disaggregation", "several machines"):
        assert name in named
    assert {"default_p_rate", "default_d_rate"} <= words(section("4"))


def test_every_column_of_the_predecessor_has_a_row() -> None:
    assert words(section("6")) >= {*METRIC_COLUMNS, *RECORD_COLUMNS, "CONCURRENCY", "REQUESTRATE"}


def test_every_addition_of_the_successor_has_a_row() -> None:
    assert words(section("9")) >= OF_THE_SUCCESSOR


def test_nothing_but_what_does_not_work_stands_as_planned() -> None:
    assert {row[0] for row in SECTIONS if row[1] == "planned"} == {"several machines", "`use_request_rate_calibration`"}


def test_every_area_of_defects_has_rows_and_each_names_a_test() -> None:
    assert {row[0] for row in DEFECTS} == AREAS
    assert all(len(row) == 3 and row[2].startswith("`") for row in DEFECTS)
