"""The engine `sglang` from end to end, on a stand-in that is as strict about its arguments as SGLang."""

from __future__ import annotations

import json
from pathlib import Path

from serviceopt_journal import events as e
from stubs.scenario import STUB, assert_sound, free_port, of_type, standalone

SGLANG = Path(__file__).parents[1] / "stubs" / "sglang"

RUN = """
engine = "sglang"
benchmark = "vllm_benchmark"
n_particles = 3
iters = 1
seed = 3
stop_timeout = 2

[measurement]
repeats = 2
warm_up_requests = 0

[sglang]
program = "{sglang}"

[sglang.command]
port = {port}
model = "{model}"
served_model_name = "stub"
others = "--tensor-parallel-size 1 {others}"

[[sglang.target_field]]
name = "MAX_NUM_SEQS"
dtype = "int"
min = 4
max = 64
value = 16

[[sglang.target_field]]
name = "CHUNKED_PREFILL_SIZE"
dtype = "range"
min = 1024
max = 8192
dtype_param = 1024
value = 4096

[[sglang.target_field]]
name = "mem_fraction"
config_position = "argument:--mem-fraction-static"
dtype = "range"
min = {memory}
max = 0.98
dtype_param = 0.02
value = {memory}

[[sglang.target_field]]
name = "CONCURRENCY"
dtype = "int"
min = 1
max = 64
value = 8

[vllm_benchmark]
program = "{stub}"

[vllm_benchmark.command]
port = {port}
model = "{model}"
served_model_name = "stub"
dataset_name = "random"
num_prompts = 24
"""


def a_run(tmp_path: Path, *, others: str = "", memory: float = 0.86) -> Path:
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    path = tmp_path / "config.toml"
    path.write_text(RUN.format(sglang=SGLANG, stub=STUB, port=free_port(), model=model, others=others, memory=memory))
    return path


def test_it_is_launched_tuned_and_its_cache_is_flushed_between_measurements(tmp_path: Path) -> None:
    ended, recorded, rows = standalone(a_run(tmp_path, others="--schedule-policy lpm --page-size 64", memory=0.80))
    assert ended.returncode == 0, ended.stderr
    assert_sound(recorded)
    assert [row["error"] for row in rows if "decrease --mem-fraction-static" not in row["error"]].count("") >= 1
    ready = of_type(recorded, e.ServiceReady)
    assert {(event.kv_blocks, event.kv_block_size) for event in ready} == {(256, 32)}
    first = of_type(recorded, e.ServiceLaunching)[0]
    log = Path(first.log).read_text()
    (given,) = [json.loads(line.partition(": ")[2]) for line in log.splitlines() if line.startswith("sglang stub: [")]
    told = dict(zip(given[::2], given[1::2], strict=True))
    assert told["--max-running-requests"] == "16"
    assert told["--chunked-prefill-size"] == "4096"
    assert told["--mem-fraction-static"] == "0.8"
    assert told["--schedule-policy"] == "lpm"
    assert log.count("prefix cache reset") == 1, "two measurements, one reset between them"


def test_a_fraction_of_memory_that_does_not_fit_is_a_row_with_the_reason(tmp_path: Path) -> None:
    ended, recorded, rows = standalone(a_run(tmp_path, memory=0.96))
    assert ended.returncode != 0
    assert_sound(recorded)
    assert rows
    assert all("Please try to decrease --mem-fraction-static" in row["error"] for row in rows)


def test_an_argument_that_sglang_does_not_know_is_a_row_with_the_reason(tmp_path: Path) -> None:
    ended, _, rows = standalone(a_run(tmp_path, others="--max-num-seqs 4"))
    assert ended.returncode != 0
    assert all("unrecognized arguments: --max-num-seqs" in row["error"] for row in rows)
