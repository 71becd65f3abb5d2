"""config.json is changed at one value's text and nowhere else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serviceopt_journal.errors import InvalidConfiguration
from serviceoptd.engines.mindie.configuration import JsonText, leaves
from stubs.mindie_home import a_configuration

NAMES = st.text('ab -_é"\\', min_size=1, max_size=4).filter(lambda name: "." not in name)
VALUES = st.recursive(
    st.one_of(st.integers(), st.floats(allow_nan=False), st.booleans(), st.text(max_size=5), st.none()),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=20,
)
DOCUMENTS = st.dictionaries(NAMES, VALUES, min_size=1, max_size=4)
LAYOUTS = st.sampled_from([{}, {"indent": 4}, {"indent": "\t"}, {"separators": (" ,", " : ")}, {"ensure_ascii": False}])


def of(text: str) -> JsonText:
    return JsonText.of(text.encode(), "config.json")


def found(document: Any, position: str) -> Any:
    for step in position.split("."):
        document = document[int(step)] if isinstance(document, list) else document[step]
    return document


@given(DOCUMENTS, LAYOUTS)
def test_every_value_is_found_at_its_position(document: dict[str, Any], layout: dict[str, Any]) -> None:
    text = of(json.dumps(document, **layout))
    for position, value in leaves(document):
        assert text.value(position) == value == found(document, position)


@given(DOCUMENTS, LAYOUTS, st.data())
def test_only_the_text_of_the_replaced_value_changes(
    document: dict[str, Any], layout: dict[str, Any], data: st.DataObject
) -> None:
    numbers = [position for position, value in leaves(document) if type(value) is int]
    if not numbers:
        return
    position = data.draw(st.sampled_from(numbers))
    text = of(json.dumps(document, **layout))
    before = str(found(document, position))
    changed = text.replaced({position: 4711}).text
    assert json.loads(changed) != json.loads(text.text) or before == "4711"
    assert found(json.loads(changed), position) == 4711
    assert len(changed) == len(text.text) - len(before) + len("4711")
    assert of(changed).replaced({position: found(document, position)}).text == text.text


@given(DOCUMENTS, LAYOUTS)
def test_a_file_is_given_back_byte_for_byte(document: dict[str, Any], layout: dict[str, Any]) -> None:
    content = json.dumps(document, **layout).encode()
    assert JsonText.of(content, "x").encoded() == content


def test_the_layout_of_the_file_that_mindie_installs_stays() -> None:
    text = of(a_configuration(Path("/m")).replace("\n", "\r\n"))
    changed = text.replaced({"BackendConfig.ScheduleConfig.maxBatchSize": 64, "ServerConfig.tlsCaFile.0": "other.pem"})
    assert changed.text == text.text.replace('"maxBatchSize" : 200', '"maxBatchSize" : 64').replace(
        "ca.pem", "other.pem"
    )


def test_a_mark_at_the_beginning_stays() -> None:
    assert of('\ufeff{"a": 1}').replaced({"a": 2}).text == '\ufeff{"a": 2}'


def test_of_a_key_that_is_there_twice_the_last_one_counts_as_for_every_reader() -> None:
    text = of('{"a": 1, "a": 2}')
    assert text.value("a") == json.loads(text.text)["a"]
    assert text.replaced({"a": 3}).text == '{"a": 1, "a": 3}'


@pytest.mark.parametrize(
    ("present", "value", "written"),
    [
        ("1", 2, "2"), ("1", 2.0, "2"), ("true", 0, "false"), ("false", True, "true"), ("1.5", 2, "2.0"),
        ("0.5", 0.25, "0.25"), ('"5"', 6, '"6"'), ('"x"', "é", '"é"'), ("null", 3, "3"), ("null", "x", '"x"'),
    ],
)  # fmt: skip
def test_a_value_keeps_the_json_type_that_stands_there(present: str, value: Any, written: str) -> None:
    assert of(f'{{"a": {present}}}').replaced({"a": value}).text == f'{{"a": {written}}}'


@pytest.mark.parametrize(
    ("present", "value", "said"),
    [
        ("1", 2.5, "`a` is 1 in the file, a whole number: 2.5 would not be"),
        ("1", "x", "a whole number: x would not be"),
        ("1", True, "a whole number: true would not be"),
        ("true", 2, "true or false: 2 would not be"),
        ("1.5", "x", "a number: x would not be"),
        ("[]", 1, "`a` holds a list or an object"),
        ("{}", 1, "`a` holds a list or an object"),
    ],
)
def test_a_value_of_another_type_is_refused(present: str, value: Any, said: str) -> None:
    with pytest.raises(InvalidConfiguration) as refused:
        of(f'{{"a": {present}}}').replaced({"a": value})
    assert said in refused.value.message


@pytest.mark.parametrize(
    ("position", "said"),
    [
        ("b", "config.json has no `b`: its top level holds a"),
        ("a.2", "config.json has no `a.2`: `a` is there and holds 0, 1"),
        ("a.0.x", "config.json has no `a.0.x`: `a.0` is there and holds b"),
        ("a.1.x", "config.json has no `a.1.x`: `a.1` is there and holds a value, and nothing below it"),
        ("default_p_rate", "config.json has no `default_p_rate`"),
    ],
)
def test_a_position_that_is_not_there_names_the_nearest_one_that_is(position: str, said: str) -> None:
    with pytest.raises(InvalidConfiguration) as refused:
        of('{"a": [{"b": 1}, 2]}').replaced({position: 3})
    assert refused.value.message.startswith(said)


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff", b'{"a": 1} x', b"[" * 100_000])
def test_what_is_no_object_of_json_is_refused_with_the_name_of_the_file(content: bytes) -> None:
    with pytest.raises(InvalidConfiguration, match=r"^conf\.json "):
        JsonText.of(content, "conf.json")
