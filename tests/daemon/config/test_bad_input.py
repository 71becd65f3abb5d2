from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serviceoptd.config.load import load_text
from serviceoptd.config.plugins import Plugins
from serviceoptd.config.problems import ConfigurationErrors

SHAPE = re.compile(r'config\.toml:\d+: [\w.\[\]"]+: [^;]+; .+')
MISTAKES = (Path(__file__).parent / "mistakes.txt").read_text().rstrip().split("\n\n")


def field(lines: str, section: str = "vllm") -> str:
    return f'[[{section}.target_field]]\nname = "A"\n{lines}'


@pytest.mark.parametrize("mistake", MISTAKES)
def test_each_mistake_has_one_line_that_says_where_what_and_what_is_allowed(refused: Any, mistake: str) -> None:
    text, message = mistake.split("\n=> ")
    assert refused(text) == [f"config.toml:{message}"]
    assert SHAPE.fullmatch(f"config.toml:{message}")


@pytest.mark.parametrize(
    ("text", "start", "part"),
    [
        (field('dtype = "int"\nmin = 5\nmax = 1'), "4: vllm.target_field[0].min: ", "5 is greater than max, 1"),
        (field('dtype = "share"\ndtype_param = "B"'), "4: vllm.target_field[0].dtype_param: ", "'B', which does not exist"),
        (field('dtype = "ratio"\nmax = 1\ndtype_param = "B"', "mindie"), "5: mindie.target_field[0].dtype_param: ", "'B'"),
        (field('dtype = "range"\nmax = 9'), "1: vllm.target_field[0].dtype_param: ", "range needs a step"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("engine", ["vllm", None])
def test_fields_that_make_no_space_are_told_with_their_line(
    refused: Any, text: str, start: str, part: str, engine: str | None
) -> None:
    (message,) = refused(text, engine=engine)
    assert message.startswith(f"config.toml:{start}")
    assert part in message
    assert message.endswith("(field A)")


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("a = 1\nb = \n", "config.toml:2:5: not valid TOML: invalid value"),
        ("a = 1\na = 2", "config.toml:2:6: not valid TOML: cannot overwrite a value at the end of the file"),
        ('a = """\nx', "config.toml:2:2: not valid TOML: "),
        ("a 1", "config.toml:1:3: not valid TOML: expected '=' after a key in a key/value pair"),
        ("[[", "config.toml:1:3: not valid TOML: "),
    ],
)
def test_a_syntax_error_is_one_line_with_its_place(refused: Any, text: str, place: str) -> None:
    (message,) = refused(text)
    assert message.startswith(place)


@pytest.mark.parametrize("key", ['""', '"a.b"', '"a[0]"', '"[b]"', "'x\"y'", '"."', '"n_particles "'])
def test_a_key_of_any_characters_is_told_as_unknown(refused: Any, key: str) -> None:
    (message,) = refused(f"n_particles = 3\n{key} = 1")
    assert message.startswith("config.toml:2: ")
    assert "unknown key" in message


def test_every_error_is_told_at_once_in_the_order_of_the_file(refused: Any) -> None:
    text = """n_particles = 0
servise = "master"
ttft_slo = -1
[vllm.command]
modle = "x"
[[vllm.target_field]]
name = "A"
dtype = "integer"
[[mindie.target_field]]
name = "B"
dtype = "int"
min = 2
max = 1
"""
    messages = refused(text, engine="vlm")
    assert [message.split(": ")[1] for message in messages] == [
        "engine", "n_particles", "servise", "ttft_slo", "vllm.command.modle", "vllm.target_field[0].dtype",
        "mindie.target_field[0].min",
    ]  # fmt: skip
    assert (
        messages[0] == "command line: engine: engine `vlm` is not installed, did you mean `vllm`?; "
        "available: mindie, mindie_kubernetes, simulated, vllm"
    )


def test_an_error_in_an_engine_that_is_not_chosen_is_told_too(refused: Any) -> None:
    (message,) = refused("[vllm]\nx = 1", engine="simulated")
    assert message.startswith("config.toml:2: vllm.x: unknown key")


def test_a_secret_is_not_shown_in_an_error(refused: Any) -> None:
    (message,) = refused("[vllm.environment]\nAPI_KEY = 123456", engine="vllm")
    assert "123456" not in message


VALUES = st.recursive(
    st.one_of(st.integers(-5, 2000), st.floats(), st.booleans(), st.text("ab:1 .", max_size=4), st.none()),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["command", "port", "name"]), inner),
    max_leaves=4,
)
TOP = [
    "n_particles",
    "ttft_slo",
    "tpot_penalty",
    "engine",
    "search",
    "health_check",
    "vllm",
    "mindie",
    "objective",
    "x",
]


def toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {toml(inner)}" for key, inner in value.items() if inner is not None) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(toml(inner) for inner in value if inner is not None) + "]"
    return f'"{value}"' if isinstance(value, str) else str(value)


@given(document=st.dictionaries(st.sampled_from(TOP), VALUES))
def test_whatever_is_written_either_loads_or_is_refused_in_words(plugins: Plugins, document: dict[str, Any]) -> None:
    text = "\n".join(f"{key} = {toml(value)}" for key, value in document.items() if value is not None)
    try:
        load_text(text, environment={}, installed=plugins)
    except ConfigurationErrors as refusal:
        problems, lines = refusal.problems, refusal.message.split("\n")
    else:
        problems, lines = (), []
    assert all(problem.message for problem in problems)
    assert len(lines) == len(problems)
