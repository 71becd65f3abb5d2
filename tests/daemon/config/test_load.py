from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest

from serviceoptd.config.load import discover, load
from serviceoptd.config.problems import ConfigurationErrors
from serviceoptd.domain.settings import Proving, RunSettings, Slo

DEFAULT_FILE = Path(__file__).parent / "msserviceprofiler-default.toml"


def names(settings: RunSettings) -> list[str]:
    return [field.name for field in settings.fields]


def test_nothing_at_all_is_a_run_of_the_simulated_engine(load: Any) -> None:
    loaded = load("")
    settings = loaded.settings
    assert (settings.engine, settings.benchmark, settings.budget.evaluations) == ("simulated", "simulated", 50)
    assert names(settings) == ["MAX_NUM_SEQS", "CONCURRENCY"]
    assert [field.load for field in settings.fields] == [False, True]
    assert settings.objective.slos == ()
    assert settings.objective.success_rate == 0.99
    assert loaded.assumed == "no engine is chosen: the simulated one is used"
    assert loaded.warnings == ()


def test_settings_survive_the_journal(load: Any) -> None:
    settings = load(DEFAULT_FILE.read_text(), engine="vllm").settings
    assert msgspec.json.decode(msgspec.json.encode(settings), type=RunSettings) == settings


def test_the_defaults_of_the_predecessor_load_as_they_are(load: Any) -> None:
    loaded = load(DEFAULT_FILE.read_text())
    assert loaded.settings.objective.slos == (Slo(metric="ttft", statistic="mean", limit=1.0),)  # tpot_penalty = 0
    assert loaded.settings.service_errors.fatal == {"out_of_memory": (), "device_error": ()}
    assert loaded.warnings == ()
    assert loaded.settings.measuring.sample_size == 1000
    assert loaded.sections == ("mindie", "ais_bench", "vllm_benchmark", "vllm", "kubectl")
    assert loaded.assumed.endswith("config.toml describes mindie, vllm: choose with -e")


def test_the_placeholders_of_the_predecessor_are_named_and_nothing_else(load: Any) -> None:
    def keys(**chosen: str) -> list[str]:
        return [problem.key for problem in load(DEFAULT_FILE.read_text(), **chosen).placeholders]

    vllm = [f"vllm.command.{key}" for key in ("port", "model", "served_model_name")]
    client = [f"vllm_benchmark.command.{key}" for key in ("port", "model", "served_model_name", "dataset_name")]
    assert keys() == ["ais_bench.command.models", "ais_bench.command.datasets", *client, *vllm]
    assert keys(engine="vllm") == [*client, *vllm]
    (first, *_) = load(DEFAULT_FILE.read_text(), engine="vllm").placeholders
    line = DEFAULT_FILE.read_text().split("\n").index('port = "port"') + 1
    assert str(first) == (
        f'config.toml:{line}: vllm_benchmark.command.port: is still the placeholder "port";'
        " give the port that the service listens on, such as 8000"
    )


def test_giving_only_the_command_keeps_the_default_search_space(load: Any) -> None:
    settings = load('[vllm.command]\nmodel = "/m"', engine="vllm").settings
    assert names(settings) == ["MAX_NUM_SEQS", "CONCURRENCY"]
    assert settings.engine_options["command"]["model"] == "/m"
    assert settings.engine_options["command"]["port"] == 8001  # the engine's default
    assert settings.benchmark == "vllm_benchmark"


def test_target_fields_that_are_given_replace_the_default_ones_as_a_whole(load: Any) -> None:
    text = '[[vllm.target_field]]\nname = "BLOCK"\nconfig_position = "argument:--block-size"\n'
    settings = load(text + 'dtype = "enum"\ndtype_param = [16, 32]\nvalue = 16', engine="vllm").settings
    assert names(settings) == ["BLOCK"]


def test_fields_of_a_client_are_load_and_win_over_the_engines_defaults(load: Any) -> None:
    text = """
[[vllm_benchmark.target_field]]
name = "MAXCONCURRENCY"
min = 1
max = 8
dtype = "int"
[[vllm_benchmark.target_field]]
name = "PROMPT"
min = 1
max = 8
dtype = "int"
[[vllm_benchmark.target_field]]
name = "TWICE"
dtype = "times"
dtype_param = { target_name = "MAXCONCURRENCY", product = 2, dtype = "int" }
"""
    fields = {field.name: field for field in load(text, engine="vllm").settings.fields}
    assert list(fields) == ["MAX_NUM_SEQS", "CONCURRENCY", "PROMPT", "TWICE"]
    assert fields["CONCURRENCY"].max == 8
    assert fields["PROMPT"].load
    assert fields["TWICE"].dtype_param["target_name"] == "CONCURRENCY"


def test_a_field_given_twice_is_an_error_also_across_engine_and_client(refused: Any) -> None:
    field = 'name = "CONCURRENCY"\nmin = 1\nmax = 8\ndtype = "int"\n'
    text = f"[[vllm.target_field]]\n{field}[[vllm_benchmark.target_field]]\n{field}"
    (message,) = refused(text, engine="vllm")
    assert message.startswith("config.toml:7: vllm_benchmark.target_field[0].name: is used by another target field")


def test_a_service_that_somebody_else_runs_has_only_its_load_to_tune(load: Any) -> None:
    settings = load("[vllm]\nmanage_lifecycle = false", engine="vllm").settings
    assert names(settings) == ["CONCURRENCY"]
    assert settings.manage_lifecycle is False


def test_an_engine_and_a_client_of_one_name_share_their_table(load: Any, refused: Any) -> None:
    settings = load("[simulated]\ndevices = 2\nnum_prompts = 7").settings
    assert settings.engine_options == {"devices": 2, "launch_seconds": 0.0}
    assert settings.benchmark_options == {"num_prompts": 7}
    (message,) = refused("[simulated]\ndevises = 2")
    assert message.startswith("config.toml:2: simulated.devises: unknown key, did you mean `devices`?")


def test_port_may_be_a_number_or_a_text(load: Any) -> None:
    for written, port in (("8000", 8000), ('"8000"', "8000")):
        options = load(f"[vllm.command]\nport = {written}", engine="vllm").settings.engine_options
        assert options["command"]["port"] == port


@pytest.mark.parametrize(
    ("text", "slos"),
    [
        ("ttft_slo = 1.5", ["mean 1.5"]),
        ("ttft_slo = 1.5\nttft_penalty = 0", []),
        ("ttft_slo = 1.5\nttft_penalty = 2", ["mean 1.5"]),
        ("ttft_penalty = 0", []),
        ('ttft_slo = "p99:1.5"', ["p99 1.5"]),
        ('ttft_slo = "median:0.5"', ["p50 0.5"]),
        ('ttft_slo = 1\n[simulated.performance_config]\ntime_to_first_token = "p90"', ["p90 1"]),
        ('ttft_slo = 1\n[simulated.performance_config]\ntime_to_first_token.metric = "p99_ttft_ms"', ["p99 1"]),
        (
            'ttft_slo = 1\n[simulated.performance_config.time_to_first_token]\nmetric = "TTFT"\nalgorithm = "P75"',
            ["p75 1"],
        ),
        ('ttft_slo = "p99:1"\n[simulated.performance_config]\ntime_to_first_token = "p90"', ["p99 1"]),
    ],
)
def test_when_a_latency_limit_holds_and_of_which_statistic(load: Any, text: str, slos: list[str]) -> None:
    assert [f"{slo.statistic} {slo.limit:g}" for slo in load(text).settings.objective.slos] == slos


def test_the_soft_formula_takes_the_penalties_and_asks_for_every_request(load: Any) -> None:
    objective = load('formula = "soft"\nttft_slo = 1\ntpot_slo = 0.05\ntpot_penalty = 0').settings.objective
    assert objective.soft is not None
    assert (objective.soft.ttft_penalty, objective.soft.tpot_penalty) == (1.0, 0.0)
    assert objective.success_rate == 1.0
    assert load('formula = "soft"\nsuccess_rate_slo = 0.9').settings.objective.success_rate == 0.9


def test_time_limits_are_known_by_the_predecessors_names_too(load: Any, refused: Any) -> None:
    limits = load("wait_start_time = 1800\nparticles_time_out = 60").settings.limits
    assert (limits.launch, limits.measurement) == (1800.0, 60.0)
    assert load("").settings.limits.launch == 3600.0
    (message,) = refused("wait_start_time = 1800\nlaunch_timeout = 60")
    assert message.startswith("config.toml:1: wait_start_time: is the predecessor's name of launch_timeout")


def test_the_budget_is_particles_times_iterations_or_what_is_given(load: Any) -> None:
    assert load("n_particles = 3\niters = 4").settings.budget.evaluations == 12
    assert load("n_particles = 3\nbudget = 7\nmax_hours = 2").settings.budget.evaluations == 7


def test_keys_of_the_fine_tuning_are_accepted_and_said_to_have_no_effect(load: Any) -> None:
    (warning,) = load("slo_coefficient = 0.5\nstep_size = 0.5\nmax_fine_tune = 3\n").warnings
    assert warning.key == "slo_coefficient, step_size, max_fine_tune"
    assert "without effect" in str(warning)


def test_the_finalists_the_proof_and_the_target_are_read(load: Any) -> None:
    text = "target = 1.5\n[data_storage]\npso_top_k = 4\n[proof]\nmeasurements = 12\nconfidence = 0.9\n"
    settings = load(text).settings
    assert settings.proof == Proving(finalists=4, measurements=12, confidence=0.9)
    assert settings.budget.target == 1.5


def test_code_level_keys_are_kept_and_one_line_tells_that_they_do_nothing_yet(load: Any) -> None:
    loaded = load("slo_coefficient = 0.5\nmem_coefficient = 0.7")
    assert loaded.settings.notes == {"slo_coefficient": 0.5, "mem_coefficient": 0.7}
    (warning,) = loaded.warnings
    assert warning.key == "slo_coefficient"  # the other one is for an engine's survey of the machine


def test_the_command_line_wins_over_the_file_and_is_named_where_it_is_wrong(load: Any, refused: Any) -> None:
    settings = load('engine = "vllm"', engine="simulated", overrides={"backup": True, "iters": 2}).settings
    assert (settings.engine, settings.backup, settings.budget.evaluations) == ("simulated", True, 20)
    (message,) = refused("iters = 3", overrides={"iters": 0})
    assert message == "command line: iters: 0 is out of range; an integer from 1 to 1000"


def test_the_predecessors_variable_sets_the_log_level(load: Any, refused: Any) -> None:
    assert load("", environment={"MODELEVALSTATE_LEVEL": "debug"}).settings.log_level == "DEBUG"
    assert load('log_level = "error"').settings.log_level == "ERROR"
    (message,) = refused("", environment={"MODELEVALSTATE_LEVEL": "loud"})
    assert message.startswith('environment: MODELEVALSTATE_LEVEL: "loud" is not a log level; one of DEBUG')


def test_a_secret_in_the_file_is_warned_of_without_showing_it(load: Any) -> None:
    loaded = load('[vllm.command]\nothers = "--api-key s3cr3t"', engine="vllm")
    (warning,) = loaded.warnings
    assert (warning.line, warning.key) == (2, "vllm.command.others")
    assert "s3cr3t" not in str(warning)


def test_the_search_path_for_the_file(tmp_path: Path) -> None:
    here, home = tmp_path / "here", tmp_path / "xdg"
    (home / "serviceopt").mkdir(parents=True)
    here.mkdir()
    environment = {"XDG_CONFIG_HOME": str(home)}
    (home / "serviceopt" / "config.toml").touch()
    assert discover(environment, here) == home / "serviceopt" / "config.toml"
    (here / "config.toml").touch()
    assert discover(environment, here) == here / "config.toml"
    assert discover({**environment, "SERVICEOPT_CONFIG": "absent.toml"}, here) == here / "absent.toml"


def test_a_file_that_cannot_be_read_says_so_and_nothing_is_written(tmp_path: Path) -> None:
    (tmp_path / "latin.toml").write_bytes(b'# ok\nname = "\xe9"')
    for name, expected in (
        ("absent.toml", "absent.toml: cannot be read: no such file or directory"),
        ("", f"{tmp_path.name}: cannot be read: is a directory"),
        ("latin.toml", "latin.toml:2: is not UTF-8 text"),
    ):
        with pytest.raises(ConfigurationErrors) as caught:
            load(tmp_path / name, environment={})
        assert caught.value.message.split("; ")[0].endswith(expected)
    assert [path.name for path in tmp_path.iterdir()] == ["latin.toml"]


def test_a_file_with_a_byte_order_mark_loads(tmp_path: Path, plugins: Any) -> None:
    (tmp_path / "config.toml").write_bytes(b"\xef\xbb\xbfn_particles = 3\r\niters = 2\r\n")
    loaded = load(tmp_path / "config.toml", environment={}, installed=plugins)
    assert loaded.settings.budget.evaluations == 6
    assert tomllib.loads(loaded.text) == {"n_particles": 3, "iters": 2}
