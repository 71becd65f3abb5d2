"""`ais_bench` as the client of whole runs, with a stand-in that reads its configuration files as the real one does."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from ais_bench_files import MODEL, an_installation
from serviceopt_journal import events as e
from stubs.scenario import STUB, assert_sound, client, free_port, of_type, places, records, rows, standalone, verified

PROGRAM = f"""#!/usr/bin/env -S python3 -S -E
import sys
sys.path.insert(0, {str(STUB.parent)!r})
import stub_ais_bench
stub_ais_bench.main(sys.argv[1:])
"""
"""The stand-in as the program of an installation, so that it finds the configurations of that installation."""

TOP = """
benchmark = "ais_bench"
n_particles = {n_particles}
iters = 2
seed = 7
tpot_slo = {tpot}
tpot_penalty = 1
stop_timeout = 2

[measurement]
repeats = 2
warm_up_requests = 4

[proof]
measurements = 0

[ais_bench]
program = "{program}"

[ais_bench.command]
models = "chat"
datasets = "synthetic"
mode = "{mode}"
num_prompts = 24
host = "127.0.0.1"
port = {port}
others = "{others}"
"""

FIELDS = "".join(
    f'[[{{engine}}.target_field]]\nname = "{name}"\ndtype = "{dtype}"\nmin = {low}\nmax = {high}\nvalue = {value}\n'
    for name, dtype, low, high, value in (
        ("MAX_NUM_SEQS", "int", 1, 64, 16),
        ("CONCURRENCY", "int", 1, 64, 8),
        ("REQUESTRATE", "float", 0, 100, 50),
    )
)

ENGINES = {
    "vllm": '[vllm]\nprogram = "{stub}"\n[vllm.command]\nhost = "127.0.0.1"\nport = {port}\nmodel = "."\n'
    'served_model_name = "m"\n',
    "command": '[command.service]\nargv = ["{stub}", "serve", "any", "--port", "$PORT", "--max-num-seqs", "$MAX_NUM_SEQS"]\n'
    'host = "127.0.0.1"\nport = {port}\nready_url = "/health"\n',
}


def a_run(
    directory: Path,
    engine: str = "vllm",
    *,
    n_particles: int = 3,
    others: str = "",
    mode: str = "perf",
    tpot: object = 0.05,
) -> Path:
    """The client's configurations are the installed ones: nothing of the user's but config.toml."""
    program = an_installation(directory / "venv", PROGRAM)
    port = free_port()
    text = TOP.format(
        program=program, n_particles=n_particles, port=port, others=others, mode=mode, tpot=json.dumps(tpot)
    )
    text += ENGINES[engine].format(stub=STUB, port=port) + FIELDS.format(engine=engine)
    path = directory / "config.toml"
    path.write_text(f'engine = "{engine}"\n{text}')
    return path


@pytest.mark.parametrize("engine", ["vllm", "command"])
def test_it_measures_any_engine_with_the_load_in_private_copies(engine: str, tmp_path: Path) -> None:
    configuration = a_run(tmp_path, engine)
    installed = {path: path.read_bytes() for path in (tmp_path / "venv").rglob("*") if path.is_file()}

    ended, recorded, table = standalone(configuration)

    assert ended.returncode == 0, ended.stderr
    assert len(table) == 6
    assert [row["error"] for row in table] == [""] * 6
    assert {row["repeats"] for row in table} == {"2"}
    assert_sound(recorded)
    verified(tmp_path)
    assert {path: path.read_bytes() for path in (tmp_path / "venv").rglob("*") if path.is_file()} == installed
    started, salts = of_type(recorded, e.MeasurementStarted), set()
    assert len({event.directory for event in started}) == len(started) == 12
    for event in started:
        (line,) = Path(event.log).read_text().splitlines()
        _, _, at_a_time, _, rate, _, salt = line.split(" ")
        assert (int(at_a_time), float(rate)) == (event.concurrency, pytest.approx(event.request_rate or 0))
        salts.add(salt)
        (work,) = Path(event.directory).glob("ais_bench/*/performances")
        assert work.is_dir()
    assert len(salts) == 12
    for finished in of_type(recorded, e.MeasurementFinished):
        assert {"result.csv", "result.json", "client.log"} == finished.artefacts.keys()


@pytest.mark.parametrize(
    ("lie", "error"),
    [
        ("all-failed", "none of 24 requests completed"),
        ("some-failed", "8 of 24 requests failed"),
        ("nan", "is nan"),
        ("none", "the client exited 0 and wrote no result"),
        ("two-runs", "holds 2 runs"),
        ("exit-1", "the client ended with exit status 1: TypeError: something went wrong in the client"),
    ],
)
def test_a_result_that_lies_ends_in_a_row_with_the_reason(lie: str, error: str, tmp_path: Path) -> None:
    configuration = a_run(tmp_path, n_particles=1, others=f"--stub-lie {lie} --stub-when batch-size=8")
    _, recorded, table = standalone(configuration)
    assert error in table[0]["error"]
    assert table[1]["error"] == ""
    assert_sound(recorded)


def test_a_result_of_requests_that_the_service_did_not_finish_is_not_believed(tmp_path: Path) -> None:
    configuration = a_run(tmp_path, n_particles=1)  # the stand-in sends nothing, and the service counts
    text = configuration.read_text()
    configuration.write_text(text.replace('_name = "m"\n', '_name = "m"\nothers = "--stub-metrics real"\n', 1))
    ended, recorded, table = standalone(configuration)
    assert ended.returncode == 12, ended.stderr
    for row in table:
        assert "24 requests completed, and the service itself finished 0: another server was measured" in row["error"]
    assert_sound(recorded)


def test_a_service_that_cannot_be_reached_is_told_from_the_log_of_the_task(tmp_path: Path) -> None:
    configuration = a_run(tmp_path, n_particles=1)
    file = tmp_path / "venv/lib/python3.11/site-packages/ais_bench/benchmark/configs/models/vllm_api/chat.py"
    text = configuration.read_text()
    port = re.findall(r"^port = (\d+)", text, re.MULTILINE)[-1]
    # the service has the name `localhost`, which may mean this address too; but nothing listens there
    file.write_text(MODEL.replace("8080", port).replace("localhost", "127.0.0.2"))
    start = text.index('host = "127.0.0.1"\nport')
    service = text[text.index("others", start) :].replace('host = "127.0.0.1"', 'host = "localhost"')
    configuration.write_text(text[:start] + service)
    ended, _, table = standalone(configuration)
    assert ended.returncode == 12
    assert "exit status 1" in table[0]["error"]
    assert "all warmup requests failed" in table[0]["error"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"mode": "all"}, 'ais_bench.command.mode: "all" measures the accuracy of answers'),
        ({"mode": "infer"}, '"infer" measures the accuracy of answers, not throughput and latency'),
        ({"tpot": "p95:0.05"}, "tpot_slo: `ais_bench` does not report p95 of tpot; one of max, mean, min, p50"),
        ({"others": "--debug"}, "--debug must not be given: in debug mode all requests come from one process"),
    ],
)
def test_what_cannot_be_measured_is_refused_before_anything_starts(
    change: dict[str, str], said: str, tmp_path: Path
) -> None:
    configuration = a_run(tmp_path, **change)
    ended = client("run", "--standalone", "-c", str(configuration), environment=places(tmp_path), cwd=tmp_path)
    assert ended.returncode in (3, 4)
    assert said in ended.stderr
    assert records(tmp_path / "state") == []


def test_the_simulated_service_is_refused(tmp_path: Path) -> None:
    configuration = tmp_path / "config.toml"
    configuration.write_text('engine = "simulated"\nbenchmark = "ais_bench"\n')
    ended = client("check", "-c", str(configuration), environment=places(tmp_path), cwd=tmp_path)
    assert ended.returncode == 3
    assert "the client `ais_bench` cannot measure the engine `simulated`" in ended.stdout + ended.stderr


def test_a_dry_run_shows_the_command_and_the_private_copy_without_its_secrets(tmp_path: Path) -> None:
    configuration = a_run(tmp_path)
    file = tmp_path / "venv/lib/python3.11/site-packages/ais_bench/benchmark/configs/models/vllm_api/chat.py"
    file.write_text(MODEL.replace("retry=2,", 'retry=2,\n        api_key="sk-very-secret-key-1",'))
    shown = client("check", "--dry-run", "--json", "-c", str(configuration), environment=places(tmp_path), cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr + shown.stdout
    assert "serviceopt_chat" in shown.stdout
    assert "batch_size = 8" in shown.stdout
    assert "sk-very-secret-key-1" not in shown.stdout


def test_the_predecessors_command_line_runs_it(tmp_path: Path) -> None:
    configuration = a_run(tmp_path)
    environment = places(tmp_path)
    ended = client(
        "optimizer", "-e", "vllm", "-b", "ais_bench", "-c", str(configuration), "--standalone",
        environment=environment, cwd=tmp_path,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    (stored,) = (tmp_path / "result/store").glob("data_storage_*.csv")
    assert [row["source"] for row in rows(stored.read_text())] == ["measured"] * 6
