"""One pass tells everything that is wrong: no mistake hides another one that does not follow from it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from serviceoptd.config.load import load
from serviceoptd.config.problems import ConfigurationErrors

FIELD = '[[vllm.target_field]]\nname = "{}"\n{}\n'


def keys(messages: list[str]) -> list[str]:
    return [message.split(": ")[1] for message in messages]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (FIELD.format("A", 'dtype = "integer"\nmin = 5\nmax = 1'), ["dtype", "min"]),
        (FIELD.format("A", "min = 5\nmax = 1"), ["dtype", "min"]),
        (FIELD.format("A", 'dtype = "int"\nmin = 5\nmax = 1\nmaximum = 3'), ["maximum", "min"]),
        (FIELD.format("A-B", 'dtype = "int"\nmin = 5\nmax = 1'), ["name", "min"]),
        (
            FIELD.format("A", 'dtype = "int"\nmin = 5\nmax = 1\nconfig_position = "argument:"'),
            ["config_position", "min"],
        ),
        (FIELD.format("A", 'dtype = "integer"\nmin = 1'), ["dtype"]),  # the bound that is missing is not told as 0
        (FIELD.format("A", 'dtype = "int"\nmin = "x"\nmax = -1'), ["min"]),  # nor is a bound that cannot be read
    ],
)
def test_what_is_wrong_in_one_field_is_told_together(refused: Any, text: str, told: list[str]) -> None:
    assert sorted(keys(refused(text))) == sorted(f"vllm.target_field[0].{key}" for key in told)


def test_what_is_wrong_in_another_field_and_another_table_is_told_together(refused: Any) -> None:
    text = (
        "n_particles = 0\n"
        "[vllm.command]\nmodel = 5\nprot = 8000\n"
        + FIELD.format("A", 'dtype = "integer"\nmin = 1\nmax = 2')
        + FIELD.format("B", 'dtype = "int"\nmin = 5\nmax = 1')
        + FIELD.format("B", 'dtype = "int"\nmin = 1\nmax = 5')
        + FIELD.format("C", 'dtype = "share"\ndtype_param = "D"')
    )
    assert keys(refused(text)) == [
        "n_particles",
        "vllm.command.model",
        "vllm.command.prot",
        "vllm.target_field[0].dtype",
        "vllm.target_field[1].min",
        "vllm.target_field[2].name",
        "vllm.target_field[3].dtype_param",
    ]


CONSTRAINT = '[[search.constraint]]\nleft = "NOBODY"\nop = "{}"\nright = 3\nsource = "s"\n'


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (CONSTRAINT.format("=<"), ["search.constraint[0].left", "search.constraint[0].op"]),
        ("iters = 0\n" + CONSTRAINT.format("<="), ["iters", "search.constraint[0].left"]),
        ("budget = 0\nttft_penalty = 1", ["budget", "ttft_penalty"]),
        ('log_level = "LOUD"\nobjective = "goodput"', ["log_level", "objective"]),
        (
            "seed = -1\nlaunch_timeout = 1\nwait_start_time = 2\n[proof]\nconfidence = 2",
            ["seed", "wait_start_time", "proof.confidence"],
        ),
        # the penalty lacks a limit only because the limit cannot be read
        ('ttft_slo = "p200:1"\nttft_penalty = 1', ["ttft_slo"]),
        (
            FIELD.format("B b", 'dtype = "int"\nmin = 5\nmax = 1')
            + FIELD.format("D", 'dtype = "enum"\ndtype_param = []')
            + FIELD.format("E", 'dtype = "share"\ndtype_param = "B b"'),
            ["vllm.target_field[0].name", "vllm.target_field[0].min", "vllm.target_field[1].dtype_param"],
        ),
    ],
)
def test_a_key_that_cannot_be_read_hides_nothing_else(refused: Any, text: str, told: list[str]) -> None:
    said = refused(text)
    assert sorted(keys(said)) == sorted(told)
    assert not any("_vllm_" in line for line in said)  # the name that stands in for one that cannot be read


def test_what_only_follows_from_another_mistake_is_not_told(refused: Any) -> None:
    follows = FIELD.format("B", 'dtype = "ratio"\nmin = 0\nmax = 1\ndtype_param = "A"')
    assert keys(refused(FIELD.format("A", 'dtype = "integer"\nmin = -1\nmax = 2') + follows)) == [
        "vllm.target_field[0].dtype"
    ]
    assert keys(refused(FIELD.format("1A", 'dtype = "int"\nmin = 1\nmax = 2') + follows)) == [
        "vllm.target_field[0].name"
    ]


@pytest.mark.parametrize(
    ("encoding", "seems"),
    [("gbk", "GBK"), ("gb18030", "GBK"), ("utf-16", "UTF-16"), ("utf-16-le", "UTF-16LE"), ("utf-16-be", "UTF-16BE")],
)
def test_a_file_in_another_encoding_says_how_to_convert_it(tmp_path: Path, encoding: str, seems: str) -> None:
    path = tmp_path / "my config.toml"
    path.write_bytes("n_particles = 5\n# 粒子数，建议 15 到 30\niters = 5\n".encode(encoding))
    with pytest.raises(ConfigurationErrors) as refused:
        load(path, environment={})
    (problem,) = refused.value.problems
    assert problem.message == f"is not UTF-8 text, it seems to be {seems}"
    assert problem.allowed == f"convert it: iconv -f {seems} -t UTF-8 '{path}' > new.toml"
    assert problem.line == (1 if encoding == "utf-16" else 2)


def test_a_file_whose_encoding_cannot_be_told_says_that_it_is_not_utf_8(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_bytes(b"n_particles = 5\n# gr\xf6\xdfer\xff\n")
    with pytest.raises(ConfigurationErrors) as refused:
        load(path, environment={})
    (problem,) = refused.value.problems
    assert (problem.line, problem.message) == (2, "is not UTF-8 text")
    assert "iconv -f ENCODING -t UTF-8" in problem.allowed


def test_a_utf_8_file_with_a_mark_at_its_beginning_is_read(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_bytes("n_particles = 7\n# 粒子\n".encode("utf-8-sig"))
    assert load(path, environment={}).settings.search.n_particles == 7
