"""What `check` finds: contradictions, remarks, the meaning of a configuration, and the commands of the first particle."""

from __future__ import annotations

import dataclasses
import shlex
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from ais_bench_files import a_config_directory
from serviceopt_journal.documents.checked import CheckedSlo
from serviceopt_journal.errors import InvalidConfiguration
from serviceoptd.config import plugins
from serviceoptd.domain.settings import Budget, Field, Objective, RunSettings, Search, Slo
from serviceoptd.domain.space.space import Space
from serviceoptd.submitting.checking import check, dry_run, first_commands, summary
from serviceoptd.submitting.cross_checks import disagreements, remarks
from serviceoptd.submitting.draft import Draft
from serviceoptd.submitting.planning import first_plans
from serviceoptd.submitting.reading import drafted
from serviceoptd.toolkit.interface import Workplace
from serviceoptd.toolkit.secrets import MASK
from stubs.kubernetes_scenario import STUBS as KUBERNETES
from stubs.mindie_home import a_mindie

ROOT = Path(__file__).parents[3]
EXAMPLES = sorted((ROOT / "docs" / "examples").glob("*.toml"))

VLLM = """
ttft_slo = "p99:1.5"
[vllm.command]
port = 8000
model = "org/model"
served_model_name = "served"
others = "{others}"
[vllm_benchmark.command]
port = {client_port}
host = "{client_host}"
model = "org/model"
served_model_name = "{client_name}"
dataset_name = "random"
num_prompts = {prompts}
"""


def written(tmp_path: Path, text: str = VLLM, **values: object) -> Path:
    """A configuration of vLLM whose parts agree, unless `values` say otherwise."""
    usual = {"others": "", "client_port": 8000, "client_host": "127.0.0.1", "client_name": "served", "prompts": 2000}
    path = tmp_path / "config.toml"
    path.write_text(text.format(**{**usual, **values}))
    return path


def checked(path: Path, engine: str | None = "vllm") -> Draft:
    return check(path, engine=engine, environment={}, working_directory=path.parent)


def test_a_configuration_whose_parts_agree_has_nothing_against_it(tmp_path: Path) -> None:
    found = checked(written(tmp_path))
    assert found.unusable == ()
    assert found.remarks == ()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"client_port": 8001}, "vllm_benchmark.command.port: 8001 is not the service's 8000 ([vllm.command] port)"),
        ({"client_host": "10.0.0.9"}, 'vllm_benchmark.command.host: "10.0.0.9" is not the service\'s "127.0.0.1"'),
        ({"client_name": "other"}, 'vllm_benchmark.command.served_model_name: "other" is not the service\'s "served"'),
    ],
)
def test_a_client_that_asks_another_service_is_refused_with_file_and_line(
    tmp_path: Path, change: dict[str, object], message: str
) -> None:
    path = written(tmp_path, **change)
    (problem,) = checked(path).unusable
    key = message.partition(":")[0].rpartition(".")[2]
    in_client = path.read_text().splitlines().index("[vllm_benchmark.command]")
    line = next(n for n, text in enumerate(path.read_text().splitlines(), 1) if n > in_client and text.startswith(key))
    assert str(problem).startswith(f"{path}:{line}: {message}")


def test_the_same_address_in_other_words_is_no_contradiction(tmp_path: Path) -> None:
    assert checked(written(tmp_path, client_port='"8000"', client_host="localhost")).unusable == ()


def test_placeholders_are_named_first_and_alone(tmp_path: Path) -> None:
    text = VLLM.replace("port = 8000", 'port = "port"', 1)
    found = checked(written(tmp_path, text, client_port=8001))
    assert [problem.key for problem in found.unusable] == ["vllm.command.port"]


def test_more_concurrency_than_prompts_is_remarked_and_not_refused(tmp_path: Path) -> None:
    found = checked(written(tmp_path, prompts=20))
    assert found.unusable == ()
    assert {remark.key for remark in found.remarks} == {"vllm_benchmark.command.num_prompts"}
    assert "20 prompts never reach a concurrency of" in str(found.remarks[0])


def settings(*fields: Field, **more: Any) -> RunSettings:
    usual: dict[str, Any] = {
        "engine": "vllm",
        "benchmark": "vllm_benchmark",
        "objective": Objective(),
        "search": Search(),
        "budget": Budget(evaluations=50),
    }
    return RunSettings(fields=fields, **{**usual, **more})


def field(name: str, low: float, high: float, **more: Any) -> Field:
    usual: dict[str, Any] = {"dtype": "int", "value": low}
    return Field(name=name, min=low, max=high, **{**usual, **more})


SEQS = field("MAX_NUM_SEQS", 32, 512)
LOAD = field("CONCURRENCY", 1, 1000, load=True)


def keys(run: RunSettings, *, of: Any) -> list[str]:
    return [each.key for each in of(run, Space.of(run.fields))]


def test_searching_the_service_of_somebody_else_is_refused_and_its_load_is_not() -> None:
    assert keys(settings(SEQS, LOAD, manage_lifecycle=False), of=disagreements) == ["vllm.target_field"]
    assert keys(settings(LOAD, manage_lifecycle=False), of=disagreements) == []
    assert keys(settings(field("MAX_NUM_SEQS", 64, 64), LOAD, manage_lifecycle=False), of=disagreements) == []


def test_a_space_without_a_start_is_refused_and_one_with_failing_corners_is_remarked() -> None:
    never = settings(SEQS, field("MAX_NUM_BATCHED_TOKENS", 8, 16))
    assert keys(never, of=disagreements) == ["MAX_NUM_BATCHED_TOKENS"]
    sometimes = settings(SEQS, field("MAX_NUM_BATCHED_TOKENS", 256, 8192))
    assert keys(sometimes, of=disagreements) == []
    assert keys(sometimes, of=remarks) == ["MAX_NUM_BATCHED_TOKENS"]


def test_a_statistic_that_the_described_client_does_not_report_is_refused() -> None:
    options = {"client": {"metrics": {"generate_speed": {}, "ttft.mean": {}}}}
    objective = Objective(slos=(Slo(metric="ttft", statistic="p99", limit=1.0),))
    run = settings(LOAD, benchmark="command", benchmark_options=options, objective=objective)
    (found,) = disagreements(run, Space.of(run.fields))
    assert "`ttft.p99`" in found.message
    assert "ttft.mean" in found.allowed
    mean = Objective(slos=(Slo(metric="ttft", limit=1.0),))
    assert keys(settings(LOAD, benchmark="command", benchmark_options=options, objective=mean), of=disagreements) == []


@pytest.mark.parametrize(
    ("statistic", "prompts", "remarked"),
    [("p99", 100, True), ("p99", 1000, False), ("p90", 100, False), ("mean", 9, False)],
)
def test_a_percentile_that_so_few_requests_cannot_prove_is_remarked(
    statistic: str, prompts: int, *, remarked: bool
) -> None:
    objective = Objective(slos=(Slo(metric="ttft", statistic=statistic, limit=1.0),))
    options = {"command": {"num_prompts": prompts}}
    run = settings(field("CONCURRENCY", 1, 9, load=True), benchmark_options=options, objective=objective)
    run = replace(run, budget=Budget(evaluations=5))
    assert keys(run, of=remarks) == (["vllm_benchmark.command.num_prompts"] if remarked else [])


@pytest.mark.parametrize(("engine", "benchmark"), [("vllm", "simulated"), ("simulated", "vllm_benchmark")])
def test_a_simulated_half_is_refused(engine: str, benchmark: str) -> None:
    assert keys(settings(LOAD, engine=engine, benchmark=benchmark), of=disagreements) == ["benchmark"]


def test_a_space_smaller_than_the_budget_and_values_outside_of_it_are_remarked() -> None:
    small = settings(field("CONCURRENCY", 1, 3, load=True))
    assert keys(small, of=remarks) == ["n_particles"]
    outside = settings(field("MAX_NUM_SEQS", 32, 512, value=1024))
    assert keys(outside, of=remarks) == ["MAX_NUM_SEQS"]
    unknown = settings(field("MAX_NUM_SEQS", 32, 512, value=None))
    assert keys(unknown, of=remarks) == ["target_field"]
    fixed = settings(field("MAX_NUM_SEQS", 64, 64))
    assert keys(fixed, of=remarks) == ["n_particles", "target_field"]


@given(st.integers(1, 60000), st.integers(1, 60000))
def test_ports_agree_exactly_when_they_are_equal(ours: int, theirs: int) -> None:
    run = settings(
        LOAD, engine_options={"command": {"port": ours}}, benchmark_options={"command": {"port": str(theirs)}}
    )
    assert bool(disagreements(run, Space.of(run.fields))) == (ours != theirs)


def test_the_first_commands_are_those_of_the_current_setting_and_nothing_is_made(tmp_path: Path) -> None:
    found = checked(written(tmp_path, others="--enforce-eager --api-key sk-1"))
    state = tmp_path / "state"
    service, client = dry_run(found, state)
    assert shlex.join(service.argv).startswith(
        "vllm serve org/model --served-model-name served --host 127.0.0.1 --port 8000"
    )
    assert "--max-num-seqs 64" in shlex.join(service.argv)
    assert service.ready == "GET http://127.0.0.1:8000/health answers 200"
    assert "sk-1" not in str(service)
    assert MASK in service.argv
    assert "--max-concurrency 100" in shlex.join(client.argv)
    assert client.working_directory == str(tmp_path)
    assert not state.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.toml"]


def test_a_value_that_the_engine_refuses_is_told_by_the_dry_run(tmp_path: Path) -> None:
    path = written(tmp_path, others="--max-num-seqs 3")
    found = checked(path)
    with pytest.raises(InvalidConfiguration, match="max-num-seqs"):
        first_plans(found, tmp_path)


def test_the_summary_tells_what_restarts_the_service_and_how_large_the_space_is(tmp_path: Path) -> None:
    document = summary(checked(written(tmp_path)))
    by_name = {each.name: each for each in document.space.fields}
    assert by_name["MAX_NUM_SEQS"].restart
    assert not by_name["CONCURRENCY"].restart
    assert not by_name["REQUESTRATE"].searched
    assert document.space.dimensions == 3
    assert document.space.cardinality == (65536 - 8192 + 1) * (512 - 32 + 1) * 1000
    assert document.objective.slos == (CheckedSlo(metric="ttft", statistic="p99", limit=1.5),)
    assert document.budget.evaluations == 50


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('ttft_slo = "p95:1"', "config.toml:1: ttft_slo: `ais_bench` does not report p95 of ttft"),
        ('e2e_slo = "p99.9:1"', "config.toml:1: e2e_slo: `ais_bench` does not report p99.9 of e2el"),
        ('objective = "goodput"\ntpot_slo = 1', "config.toml:1: objective: `ais_bench` does not report goodput"),
        ('ttft_slo = "p90:1"\ntpot_slo = "median:1"\ne2e_slo = "max:9"', ""),
    ],
)
def test_a_statistic_that_the_client_does_not_report_is_a_problem(tmp_path: Path, line: str, problem: str) -> None:
    path = tmp_path / "config.toml"
    path.write_text(
        f"{line}\n[vllm.command]\nport = 8000\nmodel = 'm'\nserved_model_name = 'm'\n[ais_bench.command]\n"
        "models = 'chat'\ndatasets = 'synthetic'\n"
    )
    found = check(path, engine="vllm", benchmark="ais_bench", environment={}).unusable
    assert [problem] * len(found) == [str(each)[str(each).index("config.toml") :].split("; ")[0] for each in found]
    assert len(found) == bool(problem)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_every_example_of_the_documentation_agrees_with_itself(path: Path, tmp_path: Path) -> None:
    found = checked(path, engine=None)
    assert found.unusable == ()
    a_config_directory(tmp_path / "configs", names=("vllm_api_stream_chat", "gsm8k_gen_0_shot_cot_str_perf"))
    a_mindie(tmp_path / "mindie-service")
    settings = found.settings
    if "kubectl_default_path" in settings.engine_options:
        scripts = {**settings.engine_options, "kubectl_default_path": str(KUBERNETES / "scripts")}
        settings = msgspec.structs.replace(settings, engine_options=scripts)
    installed = {"MIES_INSTALL_PATH": str(tmp_path / "mindie-service")}
    place = Workplace(tmp_path, tmp_path, installed)
    plans = first_plans(
        drafted(dataclasses.replace(found.loaded, settings=settings), plugins, place), tmp_path / "state"
    )
    assert bool(first_commands(plans)) == (settings.engine != "simulated")
