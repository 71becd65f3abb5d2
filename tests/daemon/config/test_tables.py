"""An engine whose section is another's table: `mindie_kubernetes`, with `[kubectl]` and `[[mindie.target_field]]`."""

from __future__ import annotations

from typing import Any

PAIR = {"engine": "mindie_kubernetes", "benchmark": "simulated"}
FILE = """
[kubectl]
kubectl_default_path = "/opt/scripts"
gone_timeout = 100

[[mindie.target_field]]
name = "default_p_rate"
config_position = "default_p_rate"
min = 1
max = 3
dtype = "int"
value = 1
"""


def test_its_section_and_its_fields_come_from_their_tables(load: Any) -> None:
    settings = load(FILE, **PAIR).settings
    assert settings.engine == "mindie_kubernetes"
    assert settings.engine_options["kubectl_default_path"] == "/opt/scripts"
    assert settings.fields[0].name == "default_p_rate"
    assert "max_batch_size" not in [field.name for field in settings.fields]


def test_its_default_fields_are_those_of_the_other_engine(load: Any) -> None:
    names = [field.name for field in load("", **PAIR).settings.fields]
    assert names == [field.name for field in load("", engine="mindie", benchmark="simulated").settings.fields]
    assert "max_batch_size" in names


def test_it_may_take_longer_to_stop_unless_the_user_says_how_long(load: Any) -> None:
    assert load(FILE, **PAIR).settings.limits.stop == 300 + 100 + 30
    assert load("stop_timeout = 5\n" + FILE, **PAIR).settings.limits.stop == 5
    assert load(FILE, engine="mindie", benchmark="simulated").settings.limits.stop == 60


def test_the_same_file_serves_the_engine_that_owns_the_fields(load: Any) -> None:
    loaded = load(FILE, engine="mindie", benchmark="simulated")
    assert loaded.settings.fields == load(FILE, **PAIR).settings.fields
    assert loaded.warnings == ()


def test_mistakes_are_told_where_they_are_written(refused: Any) -> None:
    wrong = FILE.replace("gone_timeout = 100", "gone_timeuot = 100").replace("max = 3", 'max = "3"')
    messages = refused(wrong, **PAIR)
    assert [message.split(":")[1:3] for message in messages] == [
        ["4", " kubectl.gone_timeuot"],
        ["10", " mindie.target_field[0].max"],
    ]
    assert "gone_timeout" in messages[0]
    assert refused(wrong, engine="vllm") == messages  # tables of engines that are not chosen are checked all the same


def test_fields_in_its_own_table_would_be_without_effect_and_are_refused(refused: Any) -> None:
    (message,) = refused(FILE + FILE[FILE.index("[[") :].replace("mindie", "kubectl"), **PAIR)
    assert "kubectl.target_field" in message
    assert "[[mindie.target_field]]" in message


def test_of_somebody_elses_service_only_the_load_is_searched(load: Any) -> None:
    settings = load("[kubectl]\nmanage_lifecycle = false\n", **PAIR).settings
    assert not settings.manage_lifecycle
    assert [field.name for field in settings.fields] == ["CONCURRENCY", "REQUESTRATE"]
