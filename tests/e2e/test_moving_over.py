"""A user of the predecessor: his configuration, his options, his environment, his results."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from patience import HANG
from predecessor_results import RESULTS
from serviceopt_journal import events as e
from stubs.scenario import STUB, client, free_port, of_type, places, records, rows, start, stub_run, wait_for
from trained_models import a_model_file

PAIR = ("-e", "vllm", "-b", "vllm_benchmark")
DEFAULT_FILE = Path(__file__).parents[1] / "daemon" / "config" / "msserviceprofiler-default.toml"
VISIBLE = {"ASCEND_RT_VISIBLE_DEVICES": "0,2", "CUDA_VISIBLE_DEVICES": "3"}


def his_configuration(directory: Path) -> Path:
    """The predecessor's default file with its placeholders replaced, and fewer particles; not one key of ours."""
    model = directory / "model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    text = DEFAULT_FILE.read_text()
    for placeholder, value in {
        'port = "port"': f'port = "{free_port()}"',
        '"model_path"': json.dumps(str(model)),
        '"model_name"': '"stub"',
        'dataset_name = "dataset_name"': 'dataset_name = "random"',
        "num_prompts = 3000": "num_prompts = 1500",
        "n_particles = 10": "n_particles = 2",
        "iters = 5": "iters = 2",
        "ttft_slo = 1\n": "ttft_slo = 50\n",
    }.items():
        assert placeholder in text
        text = text.replace(placeholder, value)
    path = directory / "config.toml"
    path.write_text(text)
    return path


def test_his_configuration_and_his_command_tune_with_nothing_changed_but_the_commands_name(tmp_path: Path) -> None:
    his_configuration(tmp_path)
    environment = places(tmp_path) | {"PATH": f"{STUB.parent}{os.pathsep}{os.environ['PATH']}"}
    ended = client("optimizer", *PAIR, environment=environment, cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    (written,) = (tmp_path / "result" / "store").glob("data_storage_*.csv")
    table = rows(written.read_text())
    # The search sends the sample; what stands best at its end is measured again with every prompt.
    (ended_run,) = of_type(records(tmp_path / "state"), e.RunFinished)
    assert {row["particle"]: row["num_prompts"] for row in table}[str(ended_run.recommended)] == "1500"
    assert len(table) == 4
    assert {row["num_prompts"] for row in table} <= {"1000", "1500"}
    header = list(table[0])
    assert header[:5] == [
        "generate_speed", "time_to_first_token", "time_per_output_token", "success_rate", "throughput",
    ]  # fmt: skip
    assert header[5:9] == ["MAX_NUM_BATCHED_TOKENS", "MAX_NUM_SEQS", "CONCURRENCY", "REQUESTRATE"]
    assert header[9:15] == ["error", "backup", "duration", "real_evaluation", "fitness", "num_prompts"]
    assert {row["real_evaluation"] for row in table} == {"true"}
    assert all(row["MAX_NUM_SEQS"].isdigit() for row in table)


def seen(directory: Path) -> tuple[Path, dict[str, str]]:
    """A `vllm` that notes its environment before it does its work; the folder of the notes, and the PATH to it."""
    notes, place = directory / "seen", directory / "bin"
    notes.mkdir()
    place.mkdir()
    program = place / "vllm"
    program.write_text(f'#!/bin/sh\nenv > "{notes}/$1-$$"\nexec "{STUB}" "$@"\n')
    program.chmod(0o755)
    return notes, {"PATH": f"{place}{os.pathsep}{os.environ['PATH']}"}


def variables(notes: Path, role: str) -> list[dict[str, str]]:
    """What each process of that role saw."""
    files = [path for path in notes.iterdir() if path.name.startswith(role)]
    return [dict(line.split("=", 1) for line in path.read_text().splitlines() if "=" in line) for path in files]


def without_program(configuration: Path) -> Path:
    """The engine's program is looked for on the submitter's PATH."""
    lines = [line for line in configuration.read_text().splitlines() if not line.startswith("program")]
    configuration.write_text("\n".join(lines))
    return configuration


def test_variables_set_before_the_start_reach_service_and_client(tmp_path: Path) -> None:
    configuration = without_program(stub_run(tmp_path, n_particles=1, iters=1))
    notes, path = seen(tmp_path)
    ended = client(
        "optimizer", *PAIR, "-c", str(configuration), environment=places(tmp_path) | path | VISIBLE, cwd=tmp_path
    )
    assert ended.returncode == 0, ended.stderr
    for role in ("serve", "bench"):
        found = variables(notes, role)
        assert found
        assert all(VISIBLE.items() <= one.items() for one in found)
        assert not any(name.startswith("SERVICEOPT_STATE") for one in found for name in one)


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[dict[str, str]]:
    """A daemon that was started without any variable of the submitter; the environment to reach it."""
    dropped = tmp_path / "runs.d"
    dropped.mkdir()
    environment = places(tmp_path)
    log = tmp_path / "daemon.log"
    process = start("serviceoptd", "--config-dir", str(dropped), environment=environment, log=log)
    try:
        wait_for(lambda: b'"daemon": null' not in status(environment), "an answer of the daemon")
        yield environment
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=HANG)


def status(environment: dict[str, str]) -> bytes:
    ended = client("status", "--json", environment=environment)
    return (ended.stdout if ended.returncode == 0 else '"daemon": null').encode()


def finished(directory: Path) -> bool:
    return bool(of_type(records(directory / "state"), e.RunFinished))


def test_they_reach_them_through_a_daemon_that_does_not_have_them(daemon: dict[str, str], tmp_path: Path) -> None:
    configuration = without_program(stub_run(tmp_path, n_particles=1, iters=1))
    notes, path = seen(tmp_path)
    ended = client("optimizer", "--daemon", *PAIR, "-c", str(configuration), environment=daemon | path | VISIBLE,
                   cwd=tmp_path)  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    for role in ("serve", "bench"):
        assert all(VISIBLE.items() <= one.items() for one in variables(notes, role))


def test_the_log_level_of_the_predecessors_variable_shows_every_round_in_full(tmp_path: Path) -> None:
    configuration = stub_run(tmp_path, n_particles=1, iters=1)
    command = ("optimizer", *PAIR, "-c", str(configuration))
    usual = client(*command, environment=places(tmp_path), cwd=tmp_path)
    debug = client(*command, environment=places(tmp_path) | {"MODELEVALSTATE_LEVEL": "DEBUG"}, cwd=tmp_path)
    assert usual.returncode == debug.returncode == 0, debug.stderr
    assert "measurement_finished" not in usual.stderr
    assert "measurement_finished" in debug.stderr
    assert '"generate_speed"' in debug.stderr
    wrong = client(*command, environment=places(tmp_path) | {"MODELEVALSTATE_LEVEL": "LOUD"}, cwd=tmp_path)
    assert wrong.returncode == 3
    assert 'MODELEVALSTATE_LEVEL: "LOUD" is not a log level' in wrong.stderr


def test_a_runs_log_level_is_the_daemons_while_it_is_worked_on(daemon: dict[str, str], tmp_path: Path) -> None:
    configuration = stub_run(tmp_path, n_particles=1, iters=1)
    log = tmp_path / "daemon.log"
    loud = {"MODELEVALSTATE_LEVEL": "DEBUG"}
    assert client("run", "--watch", "-c", str(configuration), environment=daemon | loud).returncode == 0
    first = log.read_text()
    assert "event in full" in first
    assert client("run", "--watch", "-c", str(configuration), environment=daemon).returncode == 0
    assert "event in full" not in log.read_text()[len(first) :]


def test_the_logs_of_service_and_client_are_named_while_they_run_and_are_there(tmp_path: Path) -> None:
    configuration = stub_run(tmp_path, n_particles=1, iters=1)
    ended = client("optimizer", *PAIR, "-c", str(configuration), environment=places(tmp_path), cwd=tmp_path)
    named = re.findall(r"the (service|client)'s log: (/\S+)", ended.stdout)
    assert [whose for whose, _ in named] == ["service", "client"]
    assert all(Path(path).name == f"{whose}.log" and Path(path).read_text() for whose, path in named)

    (tmp_path / "b").mkdir()
    again = client("optimizer", *PAIR, "-v", "-c", str(configuration), environment=places(tmp_path / "b"), cwd=tmp_path)
    every = [line.rsplit("log ", 1)[1] for line in again.stdout.splitlines() if ", log /" in line]
    assert {Path(path).name for path in every} == {"service.log", "client.log"}


@pytest.mark.parametrize(
    ("top", "options", "said"),
    [
        ('service = "slave"', (), 'service: "slave" asks for several machines, which come with a later release'),
        ("", ("-d", "multiple"), "`-d multiple` (several machines) comes with a later release"),
    ],
)  # fmt: skip
def test_what_comes_later_is_refused_in_one_sentence_and_nothing_is_made(
    tmp_path: Path, top: str, options: tuple[str, ...], said: str
) -> None:
    configuration = stub_run(tmp_path, top=top)
    ended = client("optimizer", *PAIR, *options, "-c", str(configuration), environment=places(tmp_path), cwd=tmp_path)
    assert ended.returncode == 3
    (error,) = [line for line in ended.stderr.splitlines() if line.startswith("error: ")]
    assert said in error
    assert not (tmp_path / "state").exists()
    assert not (tmp_path / "result").exists()


def test_both_variables_tune_in_simulation_and_without_a_model_nothing_is_made(tmp_path: Path) -> None:
    environment = places(tmp_path) | {"MODEL_EVAL_STATE_ALL": "True", "MODEL_EVAL_STATE_IS_SLEEP_FLAG": "True"}
    configuration = stub_run(tmp_path)
    command = ("optimizer", *PAIR, "-c", str(configuration))
    ended = client(*command, environment=environment, cwd=tmp_path)
    assert ended.returncode == 3
    assert "which needs a trained latency model" in ended.stderr
    assert "`serviceoptctl train`" in ended.stderr
    assert not (tmp_path / "state").exists()
    a_model_file(tmp_path)
    limits = "max_num_batched_tokens = 2048\nmax_model_len = 4096\nkv_blocks = 4000\n"
    with configuration.open("a") as file:
        file.write(f'\n[simulated]\nmodel = "latency_model.json"\n[simulated.limits]\n{limits}')
    ended = client(*command, environment=environment, cwd=tmp_path)
    assert ended.returncode in (0, 11), ended.stderr
    assert "SIMULATED: these figures come from a model" in ended.stdout
    (written,) = (tmp_path / "result" / "store").glob("data_storage_*.csv")
    assert {row["real_evaluation"] for row in rows(written.read_text())} == {"false"}


def test_a_slave_is_named_by_check_with_its_line(tmp_path: Path) -> None:
    configuration = stub_run(tmp_path, top='service = "slave"')
    line = configuration.read_text().splitlines().index('service = "slave"') + 1
    ended = client("check", "-c", str(configuration), environment=places(tmp_path))
    assert ended.returncode == 3
    assert f"config.toml:{line}: service: " in ended.stdout + ended.stderr


def test_a_master_is_what_every_machine_is_and_nothing_is_said(tmp_path: Path) -> None:
    configuration = stub_run(tmp_path, top='service = "master"')
    ended = client("check", "-c", str(configuration), environment=places(tmp_path))
    assert ended.returncode == 0
    assert "service:" not in ended.stderr


def test_with_backup_each_row_names_the_directory_that_holds_its_logs_results_and_command(tmp_path: Path) -> None:
    configuration = stub_run(tmp_path)
    command = ("optimizer", *PAIR, "-c", str(configuration))
    ended = client(*command, "--backup", environment=places(tmp_path), cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    (written,) = (tmp_path / "result" / "store").glob("data_storage_*.csv")
    directories = [Path(row["backup"]) for row in rows(written.read_text())]
    assert len(directories) == 4
    for directory in directories:
        names = {path.name for path in directory.rglob("*") if path.is_file()}
        assert {"service.log", "client.log", "evaluation.json"} <= names
        described: dict[str, Any] = json.loads((directory / "evaluation.json").read_text())
        assert described["argv"][1] == "serve"
        assert "PATH" in described["environment_names"]
    assert client(*command, environment=places(tmp_path), cwd=tmp_path).returncode == 0
    later = rows(client("export", environment=places(tmp_path)).stdout)
    assert {row["backup"] for row in later} == {""}


def test_his_results_are_imported_by_the_daemon_and_only_once(daemon: dict[str, str], tmp_path: Path) -> None:
    results = tmp_path / "data_storage_1.csv"
    results.write_text(RESULTS)
    configuration = his_configuration(tmp_path)
    command = ("import", str(results), "-e", "vllm", "-c", str(configuration), "--json")
    ended = client(*command, environment=daemon)
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["rows"] == 4
    again = client(*command, environment=daemon)
    assert again.returncode == 10
    assert "imported already: run 1" in again.stdout
    (tmp_path / "bad.csv").write_text("a,b\n")
    assert client("import", str(tmp_path / "bad.csv"), environment=daemon).returncode == 3
    assert len(of_type(records(tmp_path / "state"), e.RunSubmitted)) == 1
    exported = rows(client("export", environment=daemon).stdout)
    assert [row["source"] for row in exported] == ["imported"] * 4


FIELDS = """
[[vllm.target_field]]
name = "MAX_NUM_SEQS"
min = 32
max = 512
dtype = "int"

[[vllm.target_field]]
name = "UTILIZATION"
config_position = "argument:--gpu-memory-utilization"
min = 0.5
max = 0.9
dtype = "float"

[[vllm.target_field]]
name = "CHUNKED"
config_position = "argument:--enable-chunked-prefill"
dtype = "bool"

[[vllm.target_field]]
name = "BLOCK"
config_position = "argument:--block-size"
dtype = "enum"
dtype_param = [16, 32, 128]

[[vllm.target_field]]
name = "SCHEDULE"
config_position = "argument:--scheduling-policy"
dtype = "str"
value = "fcfs"

[[vllm.target_field]]
name = "STEP"
config_position = "argument:--stub-range"
min = 0
max = 100
dtype = "range"
dtype_param = 10

[[vllm.target_field]]
name = "RATIO"
config_position = "argument:--stub-ratio"
min = 0.1
max = 0.7
dtype = "ratio"
dtype_param = "MAX_NUM_SEQS"

[[vllm.target_field]]
name = "PREFILLS"
config_position = "argument:--stub-prefills"
min = 1
max = 3
dtype = "int"

[[vllm.target_field]]
name = "DECODES"
config_position = "argument:--stub-decodes"
min = 1
max = 3
dtype = "share"
dtype_param = "PREFILLS"

[[vllm.target_field]]
name = "QUOTIENT"
config_position = "argument:--stub-quotient"
min = 1
max = 64
dtype = "factories"
dtype_param = {target_name = "PREFILLS", product = 12, dtype = "int"}

[[vllm.target_field]]
name = "PRODUCT"
config_position = "argument:--stub-product"
min = 1
max = 64
dtype = "times"
dtype_param = {target_name = "PREFILLS", product = 3, dtype = "int"}

[[vllm.target_field]]
name = "TP"
config_position = "argument:--stub-tp"
min = 1
max = 8
dtype = "int"

[[vllm.target_field]]
name = "PP"
config_position = "argument:--stub-pp"
min = 1
max = 8
dtype = "int"

[[vllm.target_field]]
name = "DP"
config_position = "argument:--stub-dp"
min = 1
max = 64
dtype = "ternary_factories"
dtype_param = {target_names = ["TP", "PP"], product = 64, dtype = "int"}

[[vllm.target_field]]
name = "VOLUME"
config_position = "argument:--stub-volume"
min = 1
max = 1000
dtype = "ternary_times"
dtype_param = {target_names = ["TP", "PP"], product = 2, dtype = "int"}

[[vllm.target_field]]
name = "CONCURRENCY"
min = 1
max = 64
dtype = "int"

[[vllm.target_field]]
name = "REQUESTRATE"
min = 1
max = 9
dtype = "float"
"""


FLAGS = {
    "MAX_NUM_SEQS": "--max-num-seqs", "UTILIZATION": "--gpu-memory-utilization", "BLOCK": "--block-size",
    "SCHEDULE": "--scheduling-policy", "STEP": "--stub-range", "RATIO": "--stub-ratio", "PREFILLS": "--stub-prefills",
    "DECODES": "--stub-decodes", "QUOTIENT": "--stub-quotient", "PRODUCT": "--stub-product", "TP": "--stub-tp",
    "PP": "--stub-pp", "DP": "--stub-dp", "VOLUME": "--stub-volume",
}  # fmt: skip


def given(argv: tuple[str, ...], flag: str) -> str:
    return argv[argv.index(flag) + 1]


def test_every_dtype_reaches_the_command_line_with_the_value_that_the_table_shows(tmp_path: Path) -> None:
    configuration = stub_run(tmp_path, n_particles=5, iters=1, searched=(), service="--tag $STEP-$MAX_NUM_SEQS")
    configuration.write_text(configuration.read_text().replace("[vllm_benchmark]\n", FIELDS + "\n[vllm_benchmark]\n"))
    ended = client("optimizer", *PAIR, "-c", str(configuration), environment=places(tmp_path), cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    recorded = records(tmp_path / "state")
    launches = {event.evaluation: event for event in of_type(recorded, e.ServiceLaunching)}
    measured = {event.particle: event for event in of_type(recorded, e.MeasurementStarted)}
    table = rows(client("export", environment=places(tmp_path)).stdout)
    assert len(table) == len(measured) == 5
    for row in table:
        load = measured[int(row["particle"])]
        service = launches[load.evaluation]
        argv = service.argv
        assert {name: given(argv, flag) for name, flag in FLAGS.items()} == {name: row[name] for name in FLAGS}
        chunked, other = "--enable-chunked-prefill", "--no-enable-chunked-prefill"
        assert (chunked in argv, other in argv) == ((True, False) if row["CHUNKED"] == "true" else (False, True))
        assert service.environment["MAX_NUM_SEQS"] == row["MAX_NUM_SEQS"]
        assert given(argv, "--tag") == f"{row['STEP']}-{row['MAX_NUM_SEQS']}"
        number = {name: int(row[name]) for name in FLAGS if name not in ("UTILIZATION", "SCHEDULE")}
        assert 0.5 <= float(row["UTILIZATION"]) <= 0.9
        assert number["BLOCK"] in (16, 32, 128)
        assert number["STEP"] % 10 == 0
        assert 0.1 * number["MAX_NUM_SEQS"] - 1 < number["RATIO"] <= 0.7 * number["MAX_NUM_SEQS"]
        assert number["PREFILLS"] + number["DECODES"] == 4
        assert number["QUOTIENT"] * number["PREFILLS"] == 12
        assert number["PRODUCT"] == 3 * number["PREFILLS"]
        assert number["TP"] * number["PP"] * number["DP"] == 64
        assert number["VOLUME"] == 2 * number["TP"] * number["PP"]
        assert str(load.concurrency) == row["CONCURRENCY"]
        assert load.request_rate == pytest.approx(float(row["REQUESTRATE"]))


def test_whoever_is_not_ours_is_left_alone_processes_of_the_engines_name_and_files_alike(tmp_path: Path) -> None:
    configuration = stub_run(tmp_path, n_particles=1, iters=1)
    (tmp_path / "result").mkdir()
    for name in ("notes.txt", "result/mine.csv", ".hidden"):
        (tmp_path / name).write_text("precious")
    bystander = subprocess.Popen(
        [str(STUB), "serve", "somebody-elses", "--port", str(free_port())], stdout=subprocess.DEVNULL
    )
    try:
        ended = client("optimizer", *PAIR, "-c", str(configuration), environment=places(tmp_path), cwd=tmp_path)
        assert ended.returncode == 0, ended.stderr
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()
    assert [(tmp_path / name).read_text() for name in ("notes.txt", "result/mine.csv", ".hidden")] == ["precious"] * 3
    made = {path.name for path in tmp_path.iterdir()} - {"notes.txt", ".hidden", "config.toml", "model"}
    assert made == {"state", "result"}


def test_a_service_that_somebody_else_runs_has_its_load_tuned_and_is_never_stopped(tmp_path: Path) -> None:
    configuration = stub_run(tmp_path, n_particles=3, iters=1, searched=["CONCURRENCY"])
    text = configuration.read_text()
    configuration.write_text(text.replace("[vllm]\n", "[vllm]\nmanage_lifecycle = false\n"))
    (port,) = {line.partition("=")[2].strip() for line in text.splitlines() if line.startswith("port =")}
    theirs = subprocess.Popen([str(STUB), "serve", "theirs", "--port", port], stdout=subprocess.DEVNULL)
    try:
        ended = client("optimizer", *PAIR, "-c", str(configuration), environment=places(tmp_path), cwd=tmp_path)
        assert ended.returncode == 0, ended.stderr
        assert theirs.poll() is None
    finally:
        theirs.kill()
        theirs.wait()
    recorded = records(tmp_path / "state")
    (launching,) = of_type(recorded, e.ServiceLaunching)
    assert (launching.managed, launching.argv) == (False, ())
    assert len(of_type(recorded, e.MeasurementFinished)) == 3


def test_the_path_prefix_finds_the_engines_program(tmp_path: Path) -> None:
    configuration = without_program(stub_run(tmp_path, n_particles=1, iters=1))
    notes, path = seen(tmp_path)
    prefix = path["PATH"].split(os.pathsep)[0]
    configuration.write_text(configuration.read_text() + f'\n[deploy]\npath_prefix = "{prefix}"\n')
    ended = client("optimizer", *PAIR, "-c", str(configuration), environment=places(tmp_path), cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert all(one["PATH"].split(os.pathsep)[0] == prefix for one in variables(notes, "serve"))
