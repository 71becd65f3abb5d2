from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import pytest
from pydantic import ValidationError

from serviceopt_journal.errors import InvalidConfiguration
from serviceopt_journal.events import Configuration
from serviceoptd.contract.engine import EngineContract
from serviceoptd.contract.orders import a_field, a_program, a_service_order, a_workplace
from serviceoptd.domain.settings import Field
from serviceoptd.engines.command.engine import CommandEngine
from serviceoptd.toolkit.interface import HttpProbe, LogProbe

SERVICE: dict[str, Any] = {
    "argv": ["serve", "--model", "$MODEL", "--listen", "$HOST:$PORT", "--slots", "$SLOTS", "--mode=$MODE"],
    "host": "127.0.0.1",
    "port": 8080,
    "model": "./weights.gguf",
    "ready_url": "/health",
}
FIELDS = (
    a_field("SLOTS", min=1, max=8),
    a_field("MODE", dtype="enum", dtype_param=["", "fast"]),
    a_field("cache", "argument:--cache", dtype="bool"),
    a_field("CONCURRENCY", min=1, max=64),
)
CONFIGURATION: Configuration = {"SLOTS": 4, "MODE": "fast", "cache": False, "CONCURRENCY": 16}


def an_engine(**service: Any) -> CommandEngine:
    section = {"service": {**SERVICE, **service}}
    return CommandEngine(CommandEngine.section.model_validate(section).model_dump(mode="json"))


class TestCommand(EngineContract):
    engine = CommandEngine
    options: ClassVar[dict[str, Any]] = {"service": SERVICE}
    others = "service.argv"
    process_table = "service"
    fields: ClassVar[tuple[Field, ...]] = FIELDS
    load_fields: ClassVar[tuple[Field, ...]] = FIELDS[-1:]
    configuration: ClassVar[Configuration] = CONFIGURATION


def test_every_name_is_replaced_in_the_arguments(tmp_path: Path) -> None:
    place = a_workplace(tmp_path)
    plan = an_engine().plan(a_service_order(place, CONFIGURATION, FIELDS))
    assert plan.command is not None
    assert plan.command.argv == (
        *("serve", "--model", f"{place.working_directory}/weights.gguf", "--listen", "127.0.0.1:8080"),
        *("--slots", "4", "--mode=fast", "--no-cache"),
    )
    assert plan.command.environment == {"SLOTS": "4", "MODE": "fast"}
    assert (plan.ready, plan.listens_on) == (HttpProbe("127.0.0.1", 8080, "/health"), ("127.0.0.1", 8080))


def test_an_empty_enum_value_leaves_its_argument_away(tmp_path: Path) -> None:
    order = a_service_order(a_workplace(tmp_path), {**CONFIGURATION, "MODE": ""}, FIELDS)
    command = an_engine().plan(order).command
    assert command is not None
    assert not [word for word in command.argv if "--mode=" in word]


def test_a_log_line_can_tell_that_it_is_ready(tmp_path: Path) -> None:
    engine = an_engine(ready_url=None, ready_log="server is listening", port=None, argv=["serve"])
    plan = engine.plan(a_service_order(a_workplace(tmp_path), CONFIGURATION, FIELDS))
    assert (plan.ready, plan.listens_on) == (LogProbe("server is listening"), None)


def test_probes_may_lie_elsewhere(tmp_path: Path) -> None:
    engine = an_engine(
        ready_url="http://127.0.0.1:9000/ready?deep=1",
        ready_status=204,
        reset_url="/flush",
        report_url="/metrics",
        kv_blocks_pattern=r"^blocks (\d+)$",
    )
    plan = engine.plan(a_service_order(a_workplace(tmp_path), CONFIGURATION, FIELDS))
    assert plan.ready == HttpProbe("127.0.0.1", 9000, "/ready?deep=1", "GET", 204)
    assert plan.reset_cache == HttpProbe("127.0.0.1", 8080, "/flush", "POST", 200)
    assert plan.report == HttpProbe("127.0.0.1", 8080, "/metrics")
    assert engine.kv_blocks("a\nblocks 512\nz") == 512


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"ready_log": "ready"}, "one of ready_url and ready_log"),
        ({"ready_url": None}, "one of ready_url and ready_log"),
        ({"port": None}, "needs `port`"),
        ({"ready_url": "https://127.0.0.1/health"}, "http://"),
        ({"kv_blocks_pattern": r"blocks \d+"}, "one group"),
        ({"kv_blocks_pattern": "("}, "regular expression"),
        ({"argvs": []}, "argvs"),
    ],
)
def test_a_description_that_cannot_work_does_not_load(wrong: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        an_engine(**wrong)


@pytest.mark.parametrize(
    ("service", "why"),
    [
        ({"argv": ["serve", "$CONCURRENCY"]}, r"\$CONCURRENCY"),
        ({"argv": ["serve", "$MODEL"], "model": ""}, r"\$MODEL"),
        ({"argv": []}, "argv is empty"),
        ({"argv": ["serve", "--cache"]}, "--cache is given twice"),
        ({"port": "port"}, "not a number"),
    ],
)
def test_a_command_line_that_cannot_be_meant_is_refused(tmp_path: Path, service: dict[str, Any], why: str) -> None:
    with pytest.raises(InvalidConfiguration, match=why):
        an_engine(**service).plan(a_service_order(a_workplace(tmp_path), CONFIGURATION, FIELDS))


def test_the_log_of_somebody_elses_service_cannot_tell_readiness(tmp_path: Path) -> None:
    engine = an_engine(ready_url=None, ready_log="ready")
    order = a_service_order(a_workplace(tmp_path), {"CONCURRENCY": 4}, FIELDS[-1:], managed=False)
    with pytest.raises(InvalidConfiguration, match="log of a service"):
        engine.plan(order)


def test_a_program_replaces_the_first_word(tmp_path: Path) -> None:
    plan = an_engine(program="/opt/other").plan(a_service_order(a_workplace(tmp_path), CONFIGURATION, FIELDS))
    assert plan.command is not None
    assert plan.command.argv[:2] == ("/opt/other", "--model")


@pytest.mark.parametrize(("devices", "count"), [(1, 1), ("$SLOTS", 4), (["$SLOTS", 2], 8), ("$UNKNOWN", 1), ("0", 1)])
def test_devices_are_a_number_or_a_product(devices: Any, count: int) -> None:
    assert an_engine(devices=devices).devices(CONFIGURATION) == count


def test_what_is_missing_is_a_problem(tmp_path: Path) -> None:
    place = a_workplace(tmp_path)
    assert [problem.key for problem in CommandEngine({}).problems(place)] == ["command.service"]
    keys = [problem.key for problem in an_engine(port="port", identity_files=["server.json"]).problems(place)]
    assert keys == [
        "command.service.port",
        "command.service.model",
        "command.service.identity_files",
        "command.service.program",
    ]
    assert an_engine().problems(place, managed=False) == []
    a_program(tmp_path, "serve")
    (place.working_directory / "weights.gguf").write_text("w")
    assert an_engine().problems(place) == []


def test_without_a_service_there_is_no_plan(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfiguration, match=r"\[command.service\] is missing"):
        CommandEngine({}).plan(a_service_order(a_workplace(tmp_path), CONFIGURATION, FIELDS))


def test_the_content_of_named_files_is_part_of_the_identity(tmp_path: Path) -> None:
    place = a_workplace(tmp_path)
    engine = an_engine(identity_files=["server.json"], version="image sha256:12")
    before = engine.identity(place)
    (place.working_directory / "server.json").write_text("{}")
    assert engine.identity(place) != before
    assert before["version"] == "image sha256:12"


def test_variables_that_the_table_names_are_in_the_identity(tmp_path: Path) -> None:
    def environment(**given: str) -> str:
        engine = an_engine(identity_variables=["MYSERVER_*"])
        return engine.identity(a_workplace(tmp_path, given))["environment"]

    assert environment(MYSERVER_CACHE="8", OTHER="1") == "MYSERVER_CACHE=8"
    assert environment() == ""
