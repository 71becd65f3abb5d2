"""A file in GBK or UTF-16, as editors and spreadsheets on Windows write it: each command says how to convert it."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from builders import an_unfinished_story
from profiling_files import write_recording, write_requests
from serviceoptctl.submission import submission
from synthetic_batches import synthetic_run

Invoke = Callable[..., Result]
ENCODINGS = pytest.mark.parametrize(("encoding", "seems"), [("gbk", "GBK"), ("utf-16", "UTF-16")])


def written(path: Path, text: str, encoding: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode(encoding))
    return path


def assert_told(result: Result, path: Path, seems: str) -> None:
    assert result.exit_code == 3, result.output
    assert re.search(rf"{re.escape(str(path))}:\d+: is not UTF-8 text, it seems to be {seems}\n", result.stderr)
    assert f"convert it: iconv -f {seems} -t UTF-8 {path} > new{path.suffix}" in result.stderr


@ENCODINGS
def test_of_results_to_be_imported(invoke: Invoke, tmp_path: Path, encoding: str, seems: str) -> None:
    path = written(tmp_path / "old.csv", "generate_speed,A,error\n1,2,\n0,3,启动失败\n", encoding)
    assert_told(invoke("import", str(path)), path, seems)


@ENCODINGS
def test_of_a_configuration_for_the_daemon(
    invoke: Invoke, daemon: Callable[..., Any], tmp_path: Path, encoding: str, seems: str
) -> None:
    daemon(an_unfinished_story())
    path = written(tmp_path / "config.toml", "# 粒子数\niters = 5\n", encoding)
    for command in ("run", "reload"):
        assert_told(invoke(command, "-c", str(path)), path, seems)


@pytest.fixture
def odd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory whose name is not UTF-8, with a small configuration; it is the working directory."""
    place = tmp_path / os.fsdecode(b"d\xff")
    place.mkdir()
    text = "engine = 'simulated'\nbenchmark = 'simulated'\nn_particles = 1\niters = 1\n"
    (tmp_path / "config.toml").write_text(text)
    (tmp_path / os.fsdecode(b"c\xff.toml")).write_text(text)
    monkeypatch.chdir(place)
    return tmp_path


@pytest.mark.parametrize("more", [(), ("--standalone",)])
@pytest.mark.parametrize("where", ["the working directory", "the configuration's path", "--name"])
def test_of_what_a_run_is_called_and_where_it_is_submitted(
    invoke: Invoke, odd: Path, monkeypatch: pytest.MonkeyPatch, where: str, more: tuple[str, ...]
) -> None:
    if where != "the working directory":
        monkeypatch.chdir(odd)
    file = os.fsdecode(b"c\xff.toml") if "path" in where else "config.toml"
    named = ("--name", os.fsdecode(b"n\xff")) if where == "--name" else ()
    result = invoke("run", *more, "-c", str(odd / file), *named)
    assert (result.exit_code, f"error: {where} is not UTF-8 text: b'" in result.stderr) == (3, True), result.stderr


def test_of_a_variable_which_is_left_out_and_named(
    odd: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(odd)
    monkeypatch.setenv("ODD", os.fsdecode(b"\xff"))
    monkeypatch.setenv("EVEN", "é")
    body = submission(configuration=str(odd / "config.toml"))
    assert ("ODD" in body.environment, body.environment["EVEN"]) == (False, "é")
    assert capsys.readouterr().err == "note: not UTF-8 text, and left out of the run's environment: 'ODD'\n"


def test_of_a_reason_for_the_daemon(invoke: Invoke, daemon: Callable[..., Any]) -> None:
    daemon(an_unfinished_story())
    result = invoke("pause", "--reason", os.fsdecode(b"r\xff"))
    assert (result.exit_code, "an argument is not UTF-8 text: b'r\\xff'" in result.stderr) == (3, True), result.stderr


@ENCODINGS
def test_of_profiles_to_be_trained_on(invoke: Invoke, tmp_path: Path, encoding: str, seems: str) -> None:
    write_recording(tmp_path / "data" / "good" / "steps.csv", synthetic_run((16, 512), 100, seed=1))
    write_requests(tmp_path / "data" / "bad", {"101": 100})
    path = written(tmp_path / "data" / "bad" / "batch.csv", "批次,forward_time,res_list\n预填充,1,[]\n", encoding)
    assert_told(invoke("train", "-i", str(tmp_path / "data"), "-o", "out"), path, seems)


@pytest.mark.parametrize(
    ("encoding", "seems"),
    [("utf-16", "UTF-16"), ("utf-16-le", "UTF-16LE"), ("utf-16-be", "UTF-16BE"), ("utf-32", "UTF-32")],
)
def test_of_a_recording_of_steps_that_is_beside_good_ones(
    invoke: Invoke, tmp_path: Path, encoding: str, seems: str
) -> None:
    for place in ("good", "bad"):
        path = write_recording(tmp_path / "data" / place / "steps.csv", synthetic_run((16, 512), 100, seed=1))
    path = written(path, path.read_text(), encoding)
    assert_told(invoke("train", "-i", str(tmp_path / "data"), "-o", "out"), path, seems)


@pytest.mark.parametrize("text", ["Défaut de mémoire", "größer, Prüfung", "años: señal", "Ölstand übrig"])
def test_european_letters_are_not_taken_for_chinese(invoke: Invoke, tmp_path: Path, text: str) -> None:
    path = written(tmp_path / "old.csv", f"generate_speed,A,error\n1,2,{text}\n", "latin-1")
    result = invoke("import", str(path))
    assert f"{path}:2: is not UTF-8 text\n" in result.stderr
    assert f"iconv -f ENCODING -t UTF-8 {path}" in result.stderr


def test_a_mark_before_utf_8_is_read_over(invoke: Invoke, tmp_path: Path) -> None:
    for most in (16, 32):
        path = tmp_path / "data" / f"seqs{most}" / "steps.csv"
        write_recording(path, synthetic_run((most, 512), 100, seed=1))
        path.write_text(path.read_text(), encoding="utf-8-sig")
    assert invoke("train", "-i", str(tmp_path / "data"), "-o", "out").exit_code == 0
    path = written(tmp_path / "old.csv", "generate_speed,A,error\n1,2,\n", "utf-8-sig")
    assert invoke("import", str(path)).exit_code == 0
