"""What cannot be read hides neither a contradiction nor what engine and client refuse: one pass tells all of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from cases.configurations import CONCURRENCY, a_field, a_vllm_case
from serviceoptd.config.problems import ConfigurationErrors
from serviceoptd.submitting.checking import check

BAD = a_field("A", "integer", min="9", max="3", value="4")


def told(path: Path) -> list[str]:
    with pytest.raises(ConfigurationErrors) as caught:
        check(path, environment={}, working_directory=path.parent)
    return [str(problem).removeprefix(f"{path}:").removeprefix(f"{path}: ") for problem in caught.value.problems]


def line_of(path: Path, text: str) -> int:
    return next(n for n, line in enumerate(path.read_text().split("\n"), 1) if text in line)


def test_a_field_that_cannot_be_read_hides_no_refusal_of_engine_and_client(tmp_path: Path) -> None:
    path = a_vllm_case(
        tmp_path, others="--uds s --task embed", client_others="--num-prompts 7", fields=CONCURRENCY + BAD
    )
    lines = told(path)
    for said in ('"integer" is not known', "9 is greater than max, 3", "listens on a socket file", "embeddings",
                 "--num-prompts is given twice"):  # fmt: skip
        assert sum(said in line for line in lines) == 1, (said, lines)
    assert len(lines) == 5


def test_a_key_that_is_not_known_hides_no_contradiction_and_lines_stay_where_they_are(tmp_path: Path) -> None:
    path = a_vllm_case(tmp_path, fields=CONCURRENCY)
    text = path.read_text().replace("port = 18431", "port = 18432", 1)
    path.write_text(f"n_particle = 3\n{text}\n[search]\nloads_per_launch = [\n 1,\n 2\n]\n")
    lines = told(path)
    client = line_of(path, "port = 18431")
    assert any(
        line.startswith(f"{client}: vllm_benchmark.command.port: 18431 is not the service's 18432") for line in lines
    )
    assert any("n_particle: unknown key" in line for line in lines)
    assert any("search.loads_per_launch" in line for line in lines)
    assert len(lines) == 3


def test_several_sections_and_placeholders_are_told_together(tmp_path: Path) -> None:
    path = a_vllm_case(tmp_path, fields=CONCURRENCY + BAD)
    text = path.read_text().replace('served_model_name = "m"', 'served_model_name = "model_name"', 1)
    path.write_text(f"{text.replace('budget = 2', 'budget = 0', 1)}\n[early_stopping]\ninterval = 'x'\n")
    lines = told(path)
    for said in ("budget: 0 is out of range", '"integer" is not known', "9 is greater", "interval"):
        assert sum(said in line for line in lines) == 1, (said, lines)
    assert any('is still the placeholder "model_name"' in line for line in lines)


def test_what_only_follows_from_what_cannot_be_read_is_not_told(tmp_path: Path) -> None:
    """$A is replaced by the field that cannot be read; the port cannot be compared with one that is none."""
    path = a_vllm_case(tmp_path, others="--block-size $A", fields=CONCURRENCY + BAD)
    assert len(told(path)) == 2
    path = a_vllm_case(tmp_path, fields=CONCURRENCY)
    path.write_text(path.read_text().replace("port = 18431", "port = 184310", 1))
    (line,) = told(path)
    assert "184310 is not a port" in line


def test_two_fields_of_one_name_hide_nothing_either(tmp_path: Path) -> None:
    twice = a_field("B", "int", min="1", max="3", value="2") * 2
    lines = told(a_vllm_case(tmp_path, others="--uds s", fields=CONCURRENCY + twice))
    assert [("names must differ" in line, "socket file" in line) for line in sorted(lines)] in (
        [(True, False), (False, True)],
        [(False, True), (True, False)],
    )


def test_a_file_that_is_not_toml_is_told_by_itself(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text("a = \n")
    (line,) = told(path)
    assert "not valid TOML" in line
