"""MindIE's plan, its readiness, what it asks of this machine, and what its identity is made of."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import pytest

from serviceopt_journal.errors import EnvironmentLacks, InvalidConfiguration
from serviceopt_journal.events import Configuration
from serviceoptd.config import plugins
from serviceoptd.config.load import load_text
from serviceoptd.config.reload import changes
from serviceoptd.contract.engine import EngineContract
from serviceoptd.contract.orders import a_field, a_program, a_service_order, a_workplace
from serviceoptd.domain.settings import Field
from serviceoptd.domain.space.space import Space
from serviceoptd.engines.interface import Repairing, ServicePlan, Surveying
from serviceoptd.engines.mindie.engine import MindieEngine
from serviceoptd.evaluating.trials import search_space
from serviceoptd.submitting.identity import measurement_parts
from serviceoptd.submitting.reading import drafted
from serviceoptd.submitting.surveying import surveyed
from serviceoptd.toolkit.interface import HttpProbe, LogProbe, Workplace
from stubs.mindie_home import a_configuration, a_mindie, a_model

HEALTH = HttpProbe("127.0.0.1", 1026, "/v2/health/ready")
STATUS = HttpProbe("127.0.0.1", 1026, "/v1/status")
BATCH = a_field("max_batch_size", "BackendConfig.ScheduleConfig.maxBatchSize", min=10, max=1000)
SELECT = a_field("support_select_batch", "BackendConfig.ScheduleConfig.supportSelectBatch", dtype="bool")
TENSOR_PARALLEL = a_field("TP", "BackendConfig.ModelDeployConfig.ModelConfig.0.worldSize", min=1, max=8)
DEFAULT_FIELDS = tuple(msgspec.convert(MindieEngine.defaults["target_field"], list[Field], strict=False))


class TestMindie(EngineContract):
    engine = MindieEngine
    options: ClassVar[dict[str, Any]] = {"config_path": "mindie-service/conf/config.json"}

    @pytest.fixture(autouse=True)
    def _installation(self, tmp_path: Path) -> None:
        a_mindie(tmp_path / "submitter" / "mindie-service")


def an_engine(**options: Any) -> MindieEngine:
    return MindieEngine(MindieEngine.section.model_validate(options).model_dump(mode="json"))


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return a_mindie(tmp_path / "mindie-service")


def place_of(tmp_path: Path, **environment: str) -> Workplace:
    """A submitter who has sourced MindIE's set_env.sh."""
    return a_workplace(tmp_path, {"MIES_INSTALL_PATH": str(tmp_path / "mindie-service"), **environment})


def planned(
    tmp_path: Path,
    configuration: Configuration,
    *fields: Field,
    environment: dict[str, str] | None = None,
    **options: Any,
) -> ServicePlan:
    place = place_of(tmp_path, **(environment or {}))
    return an_engine(**options).plan(a_service_order(place, configuration, fields))


def edited(plan: ServicePlan) -> Any:
    ((_, content),) = plan.edits.items()
    return json.loads(content)


def test_the_daemon_of_the_installation_is_started(tmp_path: Path, config: Path) -> None:
    plan = planned(tmp_path, {"max_batch_size": 64}, BATCH)
    assert plan.command is not None
    assert plan.command.argv == (str(tmp_path / "mindie-service/bin/mindieservice_daemon"),)
    assert plan.listens_on == ("127.0.0.1", 1025)
    assert plan.devices == 2
    assert "MIES_CONFIG_JSON_PATH" not in plan.command.environment
    assert list(plan.edits) == [config]


def test_where_there_is_no_daemon_the_server_of_the_wheel_is_started(tmp_path: Path, config: Path) -> None:
    (tmp_path / "mindie-service/bin/mindieservice_daemon").unlink()
    plan = planned(tmp_path, {"max_batch_size": 64}, BATCH)
    assert plan.command is not None
    assert plan.command.argv[0].endswith("bin/mindieservice_daemon")  # so that the message names what is missing
    a_program(tmp_path, "mindie_llm_server")
    plan = planned(tmp_path, {"max_batch_size": 64}, BATCH)
    assert plan.command is not None
    assert plan.command.argv == ("mindie_llm_server",)


def test_the_server_of_the_wheel_has_its_configuration_in_its_own_home(tmp_path: Path, config: Path) -> None:
    home = tmp_path / "mindie_llm"
    (home / "conf").mkdir(parents=True)
    (home / "conf/config.json").write_bytes(config.read_bytes())
    environment = {"MINDIE_LLM_HOME_PATH": str(home)}
    plan = planned(tmp_path, {"max_batch_size": 64}, BATCH, environment=environment, program="mindie_llm_server")
    assert list(plan.edits) == [home / "conf/config.json"]


def test_the_root_is_where_mindie_is_usually_installed(tmp_path: Path) -> None:
    with pytest.raises(
        EnvironmentLacks, match=r"/usr/local/Ascend/mindie/latest/mindie-service/conf/config\.json"
    ) as lack:
        an_engine().plan(a_service_order(a_workplace(tmp_path), {}, ()))
    assert "MIES_INSTALL_PATH" in lack.value.hint


def test_a_configuration_elsewhere_is_also_the_one_that_the_server_reads(tmp_path: Path, config: Path) -> None:
    elsewhere = tmp_path / "submitter" / "tuned.json"
    elsewhere.parent.mkdir()
    elsewhere.write_bytes(config.read_bytes())
    plan = planned(tmp_path, {"max_batch_size": 64}, BATCH, config_path="tuned.json")
    assert plan.command is not None
    assert plan.command.environment["MIES_CONFIG_JSON_PATH"] == str(elsewhere)
    assert list(plan.edits) == [elsewhere]

    environment = {"MIES_CONFIG_JSON_PATH": str(elsewhere)}  # as MindIE itself understands it
    assert list(planned(tmp_path, {"max_batch_size": 64}, BATCH, environment=environment).edits) == [elsewhere]


def test_values_stand_at_their_positions_and_everything_else_stays(tmp_path: Path, config: Path) -> None:
    plan = planned(
        tmp_path, {"max_batch_size": 64, "support_select_batch": True, "TP": 4}, BATCH, SELECT, TENSOR_PARALLEL
    )
    expected = json.loads(config.read_text())
    expected["BackendConfig"]["ScheduleConfig"] |= {"maxBatchSize": 64, "supportSelectBatch": True}
    expected["BackendConfig"]["ModelDeployConfig"]["ModelConfig"][0]["worldSize"] = 4
    assert edited(plan) == expected
    before, after = config.read_text().splitlines(), plan.edits[config].decode().splitlines()
    assert len([line for line in before if line not in after]) == 3


def test_a_configuration_that_is_the_files_own_edits_nothing(tmp_path: Path, config: Path) -> None:
    assert planned(tmp_path, {"max_batch_size": 200}, BATCH).edits == {}


def test_fields_of_the_environment_are_exported_and_substituted_those_of_the_load_are_not(
    tmp_path: Path, config: Path
) -> None:
    fields = (a_field("MIES_RECOMPUTE_THRESHOLD", dtype="float"), a_field("CONCURRENCY"))
    engine = an_engine(
        environment={"TWICE": "$MIES_RECOMPUTE_THRESHOLD,$CONCURRENCY"},
        stop_command=["stop", "$MIES_RECOMPUTE_THRESHOLD"],
    )
    configuration: Configuration = {"MIES_RECOMPUTE_THRESHOLD": 0.5, "CONCURRENCY": 7}
    plan = engine.plan(a_service_order(place_of(tmp_path), configuration, fields))
    assert plan.command is not None
    assert plan.command.environment == {"TWICE": "0.5,$CONCURRENCY", "MIES_RECOMPUTE_THRESHOLD": "0.5"}
    assert plan.stop is not None
    assert plan.stop.argv == ("stop", "0.5")


def test_a_field_of_the_load_cannot_be_written_into_the_services_file(tmp_path: Path, config: Path) -> None:
    with pytest.raises(InvalidConfiguration, match="CONCURRENCY tunes the load"):
        planned(tmp_path, {"CONCURRENCY": 7}, a_field("CONCURRENCY", "ServerConfig.maxLinkNum"))


def test_two_fields_at_one_position_are_refused_by_name(tmp_path: Path, config: Path) -> None:
    again = a_field("again", BATCH.config_position)
    with pytest.raises(
        InvalidConfiguration, match=r"max_batch_size and again are both written to `BackendConfig\.Sched"
    ):
        planned(tmp_path, {"max_batch_size": 64, "again": 65}, BATCH, again)


def test_a_position_that_is_not_there_is_refused_with_the_nearest_one(tmp_path: Path, config: Path) -> None:
    wrong = a_field("x", "BackendConfig.ScheduleConfig.maxBatchSzie")
    with pytest.raises(InvalidConfiguration, match=r"`BackendConfig.ScheduleConfig` is there and holds templateType, "):
        planned(tmp_path, {"x": 1}, wrong)


@pytest.mark.parametrize(
    ("configuration", "said"),
    [
        ({"max_prefill_batch_size": 201}, r"maxPrefillBatchSize \(201\) must not be above maxBatchSize \(200\)"),
        ({"max_preempt_count": 300}, r"maxPreemptCount \(300\) must not be above maxBatchSize \(200\)"),
    ],
)
def test_what_the_server_would_refuse_is_refused_before_it_is_started(
    tmp_path: Path, config: Path, configuration: Configuration, said: str
) -> None:
    fields = [field for field in DEFAULT_FIELDS if field.name in configuration]
    with pytest.raises(InvalidConfiguration, match=said):
        planned(tmp_path, configuration, *fields)


def test_requests_are_not_preempted_without_memory_to_swap_to(tmp_path: Path, config: Path) -> None:
    config.write_text(config.read_text().replace('"cpuMemSize" : 5', '"cpuMemSize" : 0'))
    fields = tuple(field for field in DEFAULT_FIELDS if "preempt" in field.name or field.name == "max_batch_size")
    with pytest.raises(InvalidConfiguration, match="needs a cpuMemSize above 0"):
        planned(tmp_path, {"max_preempt_count": 5}, *fields)
    survey = an_engine().surveyed(fields, place_of(tmp_path), {})
    assert [(field.min, field.max) for field in survey.fields if "preempt" in field.name] == [(0.0, 0.0)]
    assert "cpuMemSize is 0" in survey.remarks[0].message


def test_it_is_ready_when_its_log_and_its_health_check_say_so(tmp_path: Path, config: Path) -> None:
    assert planned(tmp_path, {}).ready == (LogProbe("Daemon start success!"), HEALTH)


@pytest.mark.parametrize(
    ("before", "after", "ready"),
    [
        ('"httpsEnabled" : false', '"httpsEnabled" : true', LogProbe("Daemon start success!")),
        ('        "managementPort" : 1026,\n', "", HttpProbe("127.0.0.1", 1025, "/v2/health/ready")),
        ('"managementIpAddress" : "127.0.0.1"', '"managementIpAddress" : "127.0.0.2"',
         HttpProbe("127.0.0.2", 1026, "/v2/health/ready")),
    ],
)  # fmt: skip
def test_the_address_of_its_health_check_is_read_as_mindie_does(
    tmp_path: Path, config: Path, before: str, after: str, ready: HttpProbe | LogProbe
) -> None:
    config.write_text(config.read_text().replace(before, after))
    found = planned(tmp_path, {}).ready
    assert (found[1] if isinstance(found, tuple) else found) == ready


def test_the_addresses_of_a_container_win(tmp_path: Path, config: Path) -> None:
    environment = {"MIES_CONTAINER_IP": "10.0.0.1", "MIES_CONTAINER_MANAGEMENT_IP": "10.0.0.2"}
    plan = planned(tmp_path, {}, environment=environment)
    assert plan.listens_on == ("10.0.0.1", 1025)
    assert isinstance(plan.ready, tuple)
    assert plan.ready[1] == HttpProbe("10.0.0.2", 1026, "/v2/health/ready")


def test_its_kv_blocks_are_asked_of_its_status_where_it_speaks_http(tmp_path: Path, config: Path) -> None:
    assert planned(tmp_path, {}).report == planned(tmp_path, {}, health_path="").report == STATUS
    config.write_text(config.read_text().replace('"httpsEnabled" : false', '"httpsEnabled" : true'))
    assert planned(tmp_path, {}).report is None
    assert an_engine().kv_blocks('{"resource": {"freeNpuBlockNums": 800, "totalNpuBlockNums": 817}}') == 817
    for nothing in ("", "{", "[" * 100_000, "[]", '{"resource": 5}', '{"resource": {"totalNpuBlockNums": 0}}'):
        assert an_engine().kv_blocks(nothing) is None


LIMITS = {
    "max_batch_size": 200, "max_prefill_batch_size": 50, "max_prefill_tokens": 8192, "max_seq_len": 2560,
    "cache_block_size": 128, "max_preempt_count": 0, "max_queue_delay_microseconds": 5000,
    "prefill_time_ms_per_req": 150, "decode_time_ms_per_req": 50, "support_select_batch": False,
    "max_input_token_len": 2048, "max_iter_times": 512,
}  # fmt: skip
"""Of the file that `a_mindie` writes."""


@pytest.mark.parametrize(
    ("before", "after", "changed"),
    [
        ("", "", {"cpu_blocks": 640}),
        # 2 x 32 layers x 4 of 8 KV heads x 128 numbers x 2 bytes = 64 KiB a token and card, 8 MiB a block; one is kept
        ('"npuMemSize" : -1', '"npuMemSize" : 4', {"cpu_blocks": 640, "npu_blocks": 511}),
        ('"cacheBlockSize" : 128', '"cacheBlockSize" : 64', {"cache_block_size": 64, "cpu_blocks": 1280}),
        ('"cpuMemSize" : 5', '"cpuMemSize" : 0', {}),
        ('"maxInputTokenLen" : 2048', '"maxInputTokenLen" : 1000', {"cpu_blocks": 640, "max_input_token_len": 1000}),
        ('"maxPrefillBatchSize" : 50', '"maxPrefillBatchSize" : 0', {"max_prefill_batch_size": 200, "cpu_blocks": 640}),
    ],
)
def test_the_limits_of_its_file_are_those_of_its_simulation(
    tmp_path: Path, config: Path, before: str, after: str, changed: dict[str, int]
) -> None:
    config.write_text(config.read_text().replace(before, after))
    assert an_engine().simulated(place_of(tmp_path)) == {"limits": {**LIMITS, **changed}}
    facts = an_engine().model_facts(place_of(tmp_path))
    assert facts.arguments["support_select_batch"] == "false"
    assert facts.arguments["max_batch_size"] == "200"
    assert facts.weights is None


def test_a_limit_that_the_file_does_not_tell_is_left_out(tmp_path: Path, config: Path) -> None:
    text = config.read_text().replace('"maxSeqLen" : 2560', '"maxSeqLen" : "long"')
    config.write_text(text.replace('"num_hidden_layers"', '"layers"'))
    found = an_engine().simulated(place_of(tmp_path))["limits"]
    assert "max_seq_len" not in found
    config.unlink()
    assert an_engine().simulated(place_of(tmp_path)) == {}


def test_the_health_check_can_be_left_out(tmp_path: Path, config: Path) -> None:
    assert planned(tmp_path, {}, health_path="").ready == LogProbe("Daemon start success!")


def test_a_service_of_somebody_else_needs_a_health_check_that_speaks_http(tmp_path: Path, config: Path) -> None:
    order = a_service_order(place_of(tmp_path), {}, (), managed=False)
    assert an_engine().plan(order) == ServicePlan(command=None, ready=HEALTH, report=STATUS)
    config.write_text(config.read_text().replace('"httpsEnabled" : false', '"httpsEnabled" : true'))
    with pytest.raises(InvalidConfiguration, match="speaks TLS"):
        an_engine().plan(order)


def test_a_file_that_is_edited_now_is_planned_from_as_its_user_left_it(tmp_path: Path, config: Path) -> None:
    original = config.read_bytes()
    config.write_bytes(original.replace(b'"maxBatchSize" : 200', b'"maxBatchSize" : 999'))
    place = place_of(tmp_path)
    place = Workplace(place.directory, place.working_directory, place.environment, {config.resolve(): original})
    plan = an_engine().plan(a_service_order(place, {"support_select_batch": True}, (SELECT,)))
    assert edited(plan)["BackendConfig"]["ScheduleConfig"]["maxBatchSize"] == 200
    (field,) = an_engine().surveyed((BATCH,), place, {"theory_guided_enable": False}).fields
    assert field.value == 200


def test_the_identity_has_each_value_of_the_file_under_its_position(tmp_path: Path, config: Path) -> None:
    identity = an_engine().identity(place_of(tmp_path, ASCEND_RT_VISIBLE_DEVICES="0,1"))
    assert identity["version"] == "Ascend-mindie : MindIE 2.2.RC1 Ascend-mindie-service : MindIE 2.2.RC1"
    assert identity["environment"] == "ASCEND_RT_VISIBLE_DEVICES=0,1"
    assert identity["model"].startswith(f"{tmp_path}/model sha256:")
    assert "model.safetensors:1024" in identity["model"]
    assert identity["BackendConfig.ScheduleConfig.maxBatchSize"] == "200"
    assert identity["BackendConfig.npuDeviceIds.0.1"] == "1"
    assert identity["ServerConfig.maxLinkNum"] == "1000"
    kept = [key for key in identity if key.startswith(("LogConfig", "ServerConfig"))]
    assert kept == [
        "ServerConfig.maxLinkNum", "ServerConfig.httpsEnabled", "ServerConfig.inferMode",
    ]  # fmt: skip


def test_a_machine_that_has_everything_has_no_problems(tmp_path: Path, config: Path) -> None:
    assert an_engine().problems(place_of(tmp_path)) == []


def test_everything_that_is_missing_is_told(tmp_path: Path) -> None:
    keys = {problem.key for problem in an_engine().problems(place_of(tmp_path))}
    assert keys == {"mindie.config_path", "mindie.program"}


def test_a_model_that_is_not_there_is_told_with_the_file_that_names_it(tmp_path: Path, config: Path) -> None:
    config.write_text(a_configuration(tmp_path / "gone"))
    (problem,) = an_engine().problems(place_of(tmp_path))
    assert problem.message.startswith(f"the model of {config}: {tmp_path}/gone does not exist")


def test_a_file_that_is_no_json_is_told_with_its_place(tmp_path: Path, config: Path) -> None:
    config.write_text("{,}")
    (problem,) = an_engine().problems(place_of(tmp_path))
    assert problem.message.startswith(f"{config} is not JSON: Expecting property name")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everything")
def test_a_directory_that_cannot_be_written_is_told(tmp_path: Path, config: Path) -> None:
    config.parent.chmod(0o555)
    (problem,) = an_engine().problems(place_of(tmp_path))
    assert "cannot be written" in problem.message


def test_keys_of_the_predecessor_are_taken(tmp_path: Path, config: Path) -> None:
    plan = planned(
        tmp_path, {}, config_path=str(config), config_bak_path="/anywhere/config.json", process_name="mindie"
    )
    assert plan.stop is None  # nothing is ended by its name


def test_its_hooks_are_found_by_the_daemon() -> None:
    assert isinstance(an_engine(), Repairing)
    assert isinstance(an_engine(), Surveying)


def test_instances_and_listed_devices_count(tmp_path: Path, config: Path) -> None:
    config.write_text(config.read_text().replace("[[0,1]]", "[[0,1],[2,3]]"))
    assert planned(tmp_path, {}).devices == 4
    config.write_text(config.read_text().replace("[[0,1],[2,3]]", "[]"))
    assert planned(tmp_path, {"TP": 4}, TENSOR_PARALLEL).devices == 4
    assert an_engine().devices({"TP": 4}, (TENSOR_PARALLEL,)) == 4


def test_the_models_directory_may_be_relative_to_the_submitter(tmp_path: Path, config: Path) -> None:
    place = place_of(tmp_path)
    a_model(place.working_directory / "here")
    config.write_text(a_configuration(Path("./here")).replace('"here"', '"./here"'))
    assert an_engine().problems(place) == []


def test_the_example_of_the_documentation_loads_and_its_commands_can_be_planned(tmp_path: Path, config: Path) -> None:
    text = (Path(__file__).parents[4] / "docs" / "examples" / "mindie.toml").read_text()
    loaded = load_text(text, environment={"PATH": "/usr/bin:/bin"})
    assert (loaded.warnings, loaded.placeholders, loaded.assumed) == ((), (), "")
    place = place_of(tmp_path)
    draft = surveyed(drafted(loaded, plugins, place))
    engine, settings, remarks = draft.engine, draft.settings, draft.told
    assert settings.as_written == loaded.settings.fields
    assert "device_memory" not in remarks[0].message
    current = draft.space.current()
    assert current is not None
    plan = engine.plan(a_service_order(place, current, settings.fields))
    assert edited(plan)["BackendConfig"]["ScheduleConfig"]["maxBatchSize"] == 200
    assert changes(settings, loaded.settings) == ({}, [])  # read again, it is the configuration of that very run


def test_the_current_setting_edits_nothing_but_what_has_no_effect(tmp_path: Path, config: Path) -> None:
    place = place_of(tmp_path)
    fields = an_engine().surveyed(DEFAULT_FIELDS, place, {}).fields
    current = search_space(Space.of(fields), an_engine()).current()
    assert current is not None
    before = json.loads(config.read_text())["BackendConfig"]["ScheduleConfig"]
    after = edited(an_engine().plan(a_service_order(place, current, fields)))["BackendConfig"]["ScheduleConfig"]
    assert {key: (before[key], after[key]) for key in before if before[key] != after[key]} == {
        "prefillTimeMsPerReq": (150, 0),
        "decodeTimeMsPerReq": (50, 0),
    }


def test_what_a_field_decides_is_no_part_of_the_measurement_identity(tmp_path: Path, config: Path) -> None:
    settings = load_text('engine = "mindie"\nbenchmark = "ais_bench"', environment={}).settings

    def parts() -> dict[str, str]:
        return measurement_parts(settings, an_engine().identity(place_of(tmp_path)), {})

    before = parts()
    config.write_text(config.read_text().replace('"maxBatchSize" : 200', '"maxBatchSize" : 64'))
    config.write_text(config.read_text().replace('"port" : 1025', '"port" : 1999'))
    assert parts() == before
    config.write_text(config.read_text().replace('"maxIterTimes" : 512', '"maxIterTimes" : 1024'))
    changed = parts()
    assert {key for key in changed if changed[key] != before[key]} == {
        "engine.BackendConfig.ScheduleConfig.maxIterTimes"
    }


@pytest.mark.parametrize(
    ("variable", "counts"),
    [
        ("ATB_WORKSPACE_MEM_ALLOC_GLOBAL", True),
        ("MIES_SERVICE_MONITOR_MODE", True),
        ("MINDIE_ASYNC_SCHEDULING_ENABLE", True),
        ("ASCEND_LAUNCH_BLOCKING", True),
        ("HCCL_BUFFSIZE", True),
        ("TASK_QUEUE_ENABLE", True),
        ("OMP_PROC_BIND", True),
        ("LD_PRELOAD", True),
        ("ASCEND_HOME_PATH", False),  # every set-up script exports it: an identity that had it would continue no run
        ("ATB_HOME_PATH", False),
        ("MINDIE_KEY_PASSWORD", False),
        ("EDITOR", False),
    ],
)
def test_variables_on_which_mindie_depends_are_in_its_identity(
    tmp_path: Path, config: Path, variable: str, counts: bool
) -> None:
    unset, one, two = (
        an_engine().identity(place_of(tmp_path, **given)) for given in ({}, {variable: "1"}, {variable: "2"})
    )
    assert (one != two) is counts
    assert (one != unset) is counts
    assert (f"{variable}=1" in one["environment"]) is counts
