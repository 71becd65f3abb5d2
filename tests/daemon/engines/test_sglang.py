from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any, ClassVar

import pytest
from pydantic import ValidationError

from serviceopt_journal.errors import InvalidConfiguration
from serviceopt_journal.events import Configuration
from serviceoptd.config.load import load
from serviceoptd.contract import EngineContract
from serviceoptd.contract.orders import a_field, a_program, a_service_order, a_workplace
from serviceoptd.contract.registration import default_fields
from serviceoptd.domain.settings import Field
from serviceoptd.domain.space.space import Space
from serviceoptd.engines.interface import ServicePlan
from serviceoptd.engines.sglang import SglangEngine
from serviceoptd.toolkit.interface import HttpProbe

SERVED: dict[str, Any] = {"port": 30001, "model": "org/model", "served_model_name": "m"}
FIELDS = default_fields(SglangEngine, load_only=False)
CONFIGURATION: Configuration = {
    "MAX_NUM_SEQS": 128,
    "CHUNKED_PREFILL_SIZE": 4096,
    "MEM_FRACTION_STATIC": 0.86,
    "CONCURRENCY": 100,
    "REQUESTRATE": 0.0,
}


def an_engine(others: str = "", **section: Any) -> SglangEngine:
    command = SERVED | {"others": others} | section.pop("command", {})
    return SglangEngine(SglangEngine.section.model_validate({"command": command, **section}).model_dump(mode="json"))


def planned(
    tmp_path: Path, engine: SglangEngine, more: Configuration | None = None, fields: tuple[Field, ...] = ()
) -> ServicePlan:
    return engine.plan(a_service_order(a_workplace(tmp_path), CONFIGURATION | (more or {}), (*FIELDS, *fields)))


def argv_of(plan: ServicePlan) -> list[str]:
    assert plan.command is not None
    return list(plan.command.argv)


class TestSglang(EngineContract):
    engine = SglangEngine
    options: ClassVar[dict[str, Any]] = {"command": SERVED}


class TestSglangWithoutResets(EngineContract):
    engine = SglangEngine
    options: ClassVar[dict[str, Any]] = {"command": {**SERVED, "others": "--tp 2"}, "flush_cache": False}


def test_the_command_line_is_that_of_sglangs_documentation(tmp_path: Path) -> None:
    plan = planned(tmp_path, an_engine("--trust-remote-code"))
    assert shlex.join(argv_of(plan)) == (
        "python3 -m sglang.launch_server --model-path org/model --served-model-name m --host 127.0.0.1 --port 30001 "
        "--max-running-requests 128 --chunked-prefill-size 4096 --mem-fraction-static 0.86 --trust-remote-code"
    )
    assert plan.command is not None
    assert plan.command.environment["MAX_NUM_SEQS"] == "128"
    assert "CONCURRENCY" not in plan.command.environment
    assert plan.listens_on == ("127.0.0.1", 30001)


def test_it_is_ready_and_asked_and_reset_over_http(tmp_path: Path) -> None:
    plan = planned(tmp_path, an_engine())
    assert plan.ready == HttpProbe("127.0.0.1", 30001, "/health")
    assert plan.report == HttpProbe("127.0.0.1", 30001, "/get_server_info")
    assert plan.reset_cache == HttpProbe("127.0.0.1", 30001, "/flush_cache", method="POST")
    assert planned(tmp_path, an_engine(flush_cache=False)).reset_cache is None


def test_other_flags_are_tuned_by_their_own_names(tmp_path: Path) -> None:
    policy = a_field("SCHEDULE_POLICY", dtype="enum", dtype_param=["", "lpm"])
    cache = a_field("radix", "argument:--disable-radix-cache", dtype="enum", dtype_param=["", "yes"])
    one = argv_of(planned(tmp_path, an_engine(), {"SCHEDULE_POLICY": "lpm", "radix": ""}, (policy, cache)))
    assert one[-2:] == ["--schedule-policy", "lpm"]
    other = argv_of(planned(tmp_path, an_engine(), {"SCHEDULE_POLICY": "", "radix": ""}, (policy, cache)))
    assert "--schedule-policy" not in other


@pytest.mark.parametrize(
    ("others", "flag"),
    [("--max-running-requests 4", "--max-running-requests"), ("--model /m", "--model-path"), ("--port=1", "--port")],
)
def test_a_flag_from_two_places_is_refused(tmp_path: Path, others: str, flag: str) -> None:
    with pytest.raises(InvalidConfiguration, match=f"{flag} is given twice"):
        planned(tmp_path, an_engine(others))


def test_two_fields_for_one_flag_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        InvalidConfiguration, match="target_field MAX_NUM_SEQS and by target_field MAX_RUNNING_REQUESTS"
    ):
        planned(tmp_path, an_engine(), {"MAX_RUNNING_REQUESTS": 8}, (a_field("MAX_RUNNING_REQUESTS"),))


def test_a_chunk_that_is_no_whole_number_of_pages_is_refused_without_a_launch(tmp_path: Path) -> None:
    assert planned(tmp_path, an_engine("--page-size 64"))
    with pytest.raises(InvalidConfiguration, match="4096 is not a multiple of --page-size 96"):
        planned(tmp_path, an_engine("--page-size 96"))
    switched_off = Field(name="CHUNKED_PREFILL_SIZE", dtype="int", min=-1, max=-1)
    order = a_service_order(a_workplace(tmp_path), {"CHUNKED_PREFILL_SIZE": -1}, (switched_off,))
    assert "--chunked-prefill-size=-1" in argv_of(an_engine("--page-size 96").plan(order))


def test_the_load_in_the_services_arguments_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfiguration, match="CONCURRENCY"):
        planned(tmp_path, an_engine("--max-queued-requests $CONCURRENCY"))


@pytest.mark.parametrize(
    ("others", "configuration", "count"),
    [
        ("", {}, 1),
        ("--tp 4", {}, 4),
        ("--tp-size 2 --dp 2", {}, 4),
        ("--tp-size 8 --dp-size 8 --enable-dp-attention", {}, 8),
        ("--pp-size 2", {"TENSOR_PARALLEL_SIZE": 2}, 4),
        ("", {"tp_size": 2}, 2),
    ],
)
def test_devices_are_counted_by_the_parallel_sizes(others: str, configuration: Configuration, count: int) -> None:
    assert an_engine(others).devices(configuration) == count


@pytest.mark.parametrize(
    ("report", "blocks"),
    [
        ('{"page_size": 1, "max_total_num_tokens": 665690}', 665690),
        ('{"max_total_num_tokens":4096,"page_size":16}', 256),
        ("[2025-08-11 17:17:03] max_total_num_tokens=665690, chunked_prefill_size=8192", 665690),
        ('{"max_total_num_tokens": null}', None),
    ],
)
def test_the_size_of_the_cache_is_read_from_what_the_server_tells(report: str, blocks: int | None) -> None:
    assert an_engine().kv_blocks(report) == blocks


def test_placeholders_and_a_missing_program_are_named(tmp_path: Path) -> None:
    place = a_workplace(tmp_path)
    engine = an_engine(command={"model": "model_path", "served_model_name": "model_name"}, program="./no-python")
    assert {problem.key for problem in engine.problems(place)} == {
        "sglang.command.model",
        "sglang.command.served_model_name",
        "sglang.program",
    }
    assert engine.problems(place, managed=False) == []


def test_its_version_is_that_of_the_python_environment_which_program_names(tmp_path: Path) -> None:
    place = a_workplace(tmp_path)
    venv = tmp_path / "venv"
    (venv / "bin").mkdir(parents=True)
    (venv / "bin" / "python3").symlink_to(sys.executable)
    (venv / "pyvenv.cfg").write_text("home = /usr/bin\n")
    (venv / "lib/python3.11/site-packages/sglang-0.5.9.dist-info").mkdir(parents=True)
    assert an_engine(program=str(venv / "bin/python3")).identity(place)["version"] == "sglang 0.5.9"


def test_a_wrapper_script_may_stand_for_the_program(tmp_path: Path) -> None:
    script = a_program(tmp_path, "in-container")
    argv = argv_of(planned(tmp_path, an_engine(program=str(script))))
    assert argv[:3] == [str(script), "-m", "sglang.launch_server"]


def test_misspelt_keys_do_not_load() -> None:
    with pytest.raises(ValidationError):
        SglangEngine.section.model_validate({"comand": {}})


def test_the_example_with_guidellm_loads_and_starts_both(tmp_path: Path) -> None:
    example = Path(__file__).parents[3] / "docs" / "examples" / "sglang-guidellm.toml"
    loaded = load(example, environment={"PATH": "/usr/bin:/bin"})
    assert (loaded.warnings, loaded.placeholders, loaded.assumed) == ((), (), "")
    settings = loaded.settings
    current = Space.of(settings.fields).current()
    plan = SglangEngine(settings.engine_options).plan(a_service_order(a_workplace(tmp_path), current, settings.fields))
    assert argv_of(plan)[0] == "/opt/sglang/bin/python3"
    assert argv_of(plan)[-4:] == ["--schedule-conservativeness", "1", "--schedule-policy", "lpm"]
    assert settings.benchmark == "guidellm"
