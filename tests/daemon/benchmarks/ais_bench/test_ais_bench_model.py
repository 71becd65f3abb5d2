"""The load is written into a model configuration of AISBench, and nothing else in it changes."""

from __future__ import annotations

import ast
import keyword
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ais_bench_files import MODEL
from serviceopt_journal.errors import InvalidConfiguration
from serviceoptd.benchmarks.ais_bench.model import ModelFile


def read(text: str | bytes) -> ModelFile:
    return ModelFile.read(text.encode() if isinstance(text, str) else text, "chat.py")


def loaded(text: str | bytes, at_a_time: int = 64, rate: float = 2.5, salt: str | None = None) -> bytes:
    return read(text).rewritten({"batch_size": at_a_time, "request_rate": rate}, salt)


def test_only_the_load_changes_and_every_comment_and_space_stays() -> None:
    expected = MODEL.replace("batch_size = 1", "batch_size = 64").replace("request_rate=0, ", "request_rate=2.5, ")
    assert loaded(MODEL) == expected.encode()


def test_the_salt_wraps_what_is_sent_with_each_request() -> None:
    written = read(loaded(MODEL, salt="serviceopt-7"))
    (node,) = [node for key, node in written.entry if key == "generation_kwargs"]
    assert isinstance(node, ast.Call)
    assert isinstance(node.args[0], ast.Call)
    assert [word.arg for word in node.args[0].keywords] == ["temperature", "ignore_eos"]
    assert {word.arg: ast.literal_eval(word.value) for word in node.keywords} == {"cache_salt": "serviceopt-7"}
    assert b"# nearly greedy" in loaded(MODEL, salt="serviceopt-7")


@pytest.mark.parametrize(
    "text",
    [
        'models = [{"batch_size": 1, "request_rate": 0}]',
        "models = (dict(batch_size=(1), request_rate=0),)",
        "models: list = [dict(request_rate=0.0, batch_size=10 ** 2)]",
        "SIZE = 4\nmodels = [dict(batch_size=SIZE, request_rate=-1)]",
        "api = dict(**{}, batch_size=int('3'),\n  request_rate=0)\nmodels = [api]",
        "models = [\n  dict(\n    request_rate=0\n    , batch_size=\\\n 1)]  # end",
        "name = '\u65e5\u672c'; models = [dict(abbr='\u6a21\u578b', batch_size=1, request_rate=0)]",
        "models = [dict(batch_size=1, request_rate=0)]\r\nother = 5\r\n",
        "models = [dict(batch_size=1,\r  request_rate=0)]",
    ],
)
def test_every_way_of_writing_it_is_understood(text: str) -> None:
    written = read(loaded(text))
    assert (written.stated("batch_size"), written.stated("request_rate")) == (64, 2.5)


@pytest.mark.parametrize(
    ("encoding", "mark"), [("gbk", b"# -*- coding: gbk -*-\n"), ("latin-1", b"# coding: latin-1\n"), ("utf-8-sig", b"")]
)
def test_the_encoding_of_the_file_is_kept(encoding: str, mark: bytes) -> None:
    comment = "# \u00fc\n" if encoding == "latin-1" else "# \u5e76\u53d1\n"
    text = comment + "models = [dict(batch_size=1, request_rate=0)]\n"
    source = text.encode(encoding) if not mark else mark + text.encode(encoding)
    expected = text.replace("=1", "=64").replace("rate=0", "rate=2.5")
    assert loaded(source) == (mark + expected.encode(encoding) if mark else expected.encode(encoding))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("models = [dict(batch_size=1)]", "has no request_rate"),
        ("models = [dict(**common)]", "has no batch_size, request_rate"),
        ("from .other import models", "`models` is not assigned in it"),
        ("models = [dict(batch_size=1, request_rate=0)]\nmodels[0]['batch_size'] = 9", "changed after it was assigned"),
        ("models = [dict(batch_size=1, request_rate=0)]\nmodels += []", "changed after it was assigned"),
        (
            "a = dict(batch_size=1, request_rate=0)\nmodels = [a]\na.update(batch_size=9)",
            "changed after it was assigned",
        ),
        ("models = []\n", "no `models = [...]`"),
        ("models = make()", "no `models = [...]`"),
        ("models = [make(batch_size=1, request_rate=0)]", "not written as dict(...)"),
        ("models = [dict(batch_size=1, request_rate=0), dict(batch_size=1, request_rate=0)]", "describes 2 models"),
        ("models = [", "is not a Python file"),
        (b"# coding: nonsense\nmodels = []", "is not a Python file"),
        (b"models = '\xff'", "is not a Python file"),
    ],
)
def test_a_file_in_which_the_load_cannot_be_found_is_named(text: str | bytes, said: str) -> None:
    with pytest.raises(InvalidConfiguration) as error:
        loaded(text)
    assert "chat.py" in error.value.message
    assert said in error.value.message
    assert error.value.hint


def test_what_a_file_says_is_read_without_running_it() -> None:
    model = read(MODEL)
    assert (model.stated("stream"), model.stated("host_port"), model.stated("type")) == (True, 8080, None)
    assert (model.kind(), read(MODEL.replace("VLLMCustomAPIChat,", "'a.b.TGICustomAPI',")).kind()) == (
        "VLLMCustomAPIChat",
        "TGICustomAPI",
    )
    assert model.can_be_salted()
    assert not read(MODEL.replace("VLLMCustomAPIChat", "MindieStreamApi")).can_be_salted()
    assert not read(MODEL.replace("generation_kwargs", "meta_template")).can_be_salted()


NAMES = st.from_regex(r"[a-z_]{1,8}", fullmatch=True).filter(lambda name: not keyword.iskeyword(name))
VALUES = st.one_of(st.integers(), st.text(max_size=8), st.booleans(), st.none(), st.lists(st.integers(), max_size=3))


@given(
    before=st.dictionaries(NAMES, VALUES, max_size=4),
    after=st.dictionaries(NAMES, VALUES, max_size=4),
    layout=st.sampled_from([", ", ",\n  ", " ,\\\n", ", # \u00e9\n"]),
    at_a_time=st.integers(1, 100_000),
    rate=st.floats(0, 1e6, allow_subnormal=False),
)
def test_every_other_key_keeps_its_value(
    before: dict[str, Any], after: dict[str, Any], layout: str, at_a_time: int, rate: float
) -> None:
    others = {key: value for key, value in {**before, **after}.items() if key not in ("batch_size", "request_rate")}
    words = [f"{key}={value!r}" for key, value in others.items()]
    words.insert(len(words) // 2, "batch_size=1")
    words.insert(0, "request_rate=0")
    written = loaded(f"models = [dict({layout.join(words)}{layout if '#' in layout else ''})]\n", at_a_time, rate)
    model = read(written)
    assert {key: model.stated(key) for key, _ in model.entry} == {
        **others, "batch_size": at_a_time, "request_rate": rate
    }  # fmt: skip


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_no_file_brings_the_reader_down(source: bytes) -> None:
    try:
        model = read(source)
    except InvalidConfiguration:
        return
    assert model.entry is not None
