from __future__ import annotations

import json
import tomllib
from itertools import count
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from serviceoptd.config.positions import Path, dotted, positions

KEYS = st.sampled_from(["a", "b-c", "D_1", "7", "with space", "dots.inside", 'quo"te', "hash # = [x]", "ünï", ""])
COMMENTS = st.sampled_from(["", "# x = [1", "#", '# "quoted', "# [table]"])


class Writer:
    """Writes a document in ways drawn at random. Every leaf is unique, so that a line can be recognised by it."""

    def __init__(self, draw: Any) -> None:
        self.draw = draw
        self.numbers = count(1)
        self.lines: list[str] = []
        self.keys: dict[str, list[str]] = {}

    def chance(self) -> bool:
        return bool(self.draw(st.booleans()))

    def key(self, key: str) -> str:
        bare = key != "" and all(c.isascii() and (c.isalnum() or c in "-_") for c in key)
        ways = [json.dumps(key, ensure_ascii=False)]
        if bare:
            ways.append(key)
        if "'" not in key:
            ways.append(f"'{key}'")
        written = str(self.draw(st.sampled_from(ways)))
        self.keys.setdefault(key, []).append(written)
        return written

    def comment(self) -> str:
        return str(self.draw(COMMENTS))

    def scalar(self) -> str:
        n = next(self.numbers)
        return str(
            self.draw(
                st.sampled_from(
                    [
                        f"{1000 + n}",
                        f"{n}.5",
                        f'"v{n} # [ \\" ] = x"',
                        f"'v{n} \\'",
                        f'"""v{n}\n[no.table]\nx = "1" ""\n"""',
                        f"'''\nv{n} '' # no\n'''",
                        f'"""v{n}"""""',
                        f"20{n % 80 + 10}-01-01 07:32:00",
                        "true",
                        "inf",
                    ]
                )
            )
        )

    def value(self, depth: int) -> str:
        kind = self.draw(st.sampled_from(["scalar", "scalar", "array", "table"])) if depth else "scalar"
        if kind == "array":
            items = [self.value(depth - 1) for _ in range(self.draw(st.integers(0, 3)))]
            if self.chance():
                return "[" + ", ".join(items) + "]"
            return "[ " + self.comment() + "\n" + "".join(f"  {item} , {self.comment()}\n" for item in items) + "]"
        if kind == "table":
            keys = self.draw(st.lists(KEYS, max_size=3, unique=True))
            pairs = [f"{self.key(key)} = {self.value(depth - 1)}" for key in keys]
            return "{ " + ", ".join(pairs) + " }"
        return self.scalar()

    def table(self, prefix: str, depth: int) -> None:
        keys = self.draw(st.lists(KEYS, max_size=4, unique=True))
        headers: list[tuple[str, str]] = []
        for key in keys:
            kind = self.draw(st.sampled_from(["pair", "pair", "dotted", "header", "array"]))
            if kind == "pair" or not depth:
                self.lines.append(f"{'  ' * self.chance()}{self.key(key)} = {self.value(2)} {self.comment()}")
            elif kind == "dotted":
                inner = self.draw(st.lists(KEYS, min_size=1, max_size=2, unique=True))
                for name in inner:
                    self.lines.append(f"{self.key(key)} . {self.key(name)}={self.value(1)}")
            else:
                headers.append((key, kind))
            if self.chance():
                self.lines.append(self.comment())
        for key, kind in headers:
            for _ in range(self.draw(st.integers(1, 3)) if kind == "array" else 1):
                name = f"{prefix}.{self.key(key)}" if prefix else self.key(key)
                self.lines.append(f"[[ {name} ]]" if kind == "array" else f"[{name}] {self.comment()}")
                self.table(name, depth - 1)


@st.composite
def documents(draw: Any) -> str:
    writer = Writer(draw)
    writer.table("", 2)
    return str(draw(st.sampled_from(["\n", "\r\n"]))).join("\n".join(writer.lines).split("\n"))


def leaves(value: Any, path: Path = ()) -> list[tuple[Path, Any]]:
    if isinstance(value, dict) and value:
        return [leaf for key, inner in value.items() for leaf in leaves(inner, (*path, key))]
    if isinstance(value, list) and value:
        return [leaf for index, inner in enumerate(value) for leaf in leaves(inner, (*path, index))]
    return [(path, value)] if path else []


@given(documents())
def test_every_leaf_has_a_line_and_that_line_holds_its_key(text: str) -> None:
    found = positions(text)
    lines = text.split("\n")
    for path, _ in leaves(tomllib.loads(text)):
        line = lines[found.lines[path] - 1]
        if isinstance(key := path[-1], str):
            assert key in line or json.dumps(key, ensure_ascii=False) in line


@given(documents())
def test_every_value_is_found_where_it_is_written(text: str) -> None:
    found = positions(text)
    for path, value in leaves(tomllib.loads(text)):
        if path in found.values:
            span = found.values[path]
            assert tomllib.loads(f"x = {text[span.start : span.end]}")["x"] == value
            assert text.count("\n", 0, span.start) + 1 == span.line
        else:
            assert value == {}  # a table that has only its header


def test_the_lines_of_a_real_configuration_are_those_that_an_editor_shows() -> None:
    text = """\
n_particles = 10 # [not a table]

[vllm.command]
host = '127.0.0.1'
"port" = 8000
others = \"\"\"
[vllm.fake]
port = 1
\"\"\"
[[vllm.target_field]]
name = "A"
[[vllm.target_field]]
name = "B"
dtype_param = [
  "one", # comment ]
  { product = 4,
    dtype = "int" },
]
search.options."a.b".c = 1
""".replace("4,\n    dtype", "4, dtype")  # inline tables of one line, as TOML 1.0 has them
    lines = {dotted(path): line for path, line in positions(text).lines.items()}
    assert lines["n_particles"] == 1
    assert lines["vllm"] == 3
    assert lines["vllm.command.port"] == 5
    assert lines["vllm.command.others"] == 6
    assert lines["vllm.target_field[0].name"] == 11
    assert lines["vllm.target_field[1]"] == 12
    assert lines["vllm.target_field[1].dtype_param"] == 14
    assert lines["vllm.target_field[1].dtype_param[0]"] == 15
    assert lines["vllm.target_field[1].dtype_param[1].dtype"] == 16
    assert lines['vllm.target_field[1].search.options."a.b".c'] == 18
    assert "vllm.fake" not in lines


def test_a_key_that_is_not_written_has_the_line_of_the_table_around_it() -> None:
    found = positions("a = 1\n[b]\nc = 2\n")
    assert found.line(("b", "missing")) == 2
    assert found.line(("nothing",)) == 1
