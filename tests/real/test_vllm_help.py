"""What we write on vLLM's command lines, read by the real vLLM's own parsers. Nothing is served."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from serviceoptd.benchmarks.vllm_benchmark.client import VllmBenchmark
from serviceoptd.config.load import load
from serviceoptd.contract.orders import a_measurement_order, a_service_order, a_workplace
from serviceoptd.domain.load import load_of
from serviceoptd.domain.settings import Objective, RunSettings, Slo
from serviceoptd.domain.space.space import Space
from serviceoptd.engines.vllm import VllmEngine

pytestmark = [pytest.mark.real, pytest.mark.timeout(2400)]

ROOT = Path(__file__).parents[2]
FLAGS = (ROOT / "tests/daemon/engines/vllm-0.32.0-flags.txt").read_text().split()
OFFLINE = {"VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
PARSE = """
import json, sys
from vllm.entrypoints.cli import serve
from vllm.entrypoints.cli.benchmark import main as bench
from vllm.utils.argparse_utils import FlexibleArgumentParser
lines = json.loads(sys.argv[1])
sys.argv = ["vllm", *lines[0]]  # the client's options are only defined when it is asked for
parser = FlexibleArgumentParser()
commands = parser.add_subparsers(dest="command")
for module in (serve, bench):
    for command in module.cmd_init():
        command.subparser_init(commands)
for line in lines:
    print("PARSED", json.dumps(vars(parser.parse_args(line)), default=str, skipkeys=True))
"""


def printed(*command: str) -> str:
    environment = {**os.environ, **OFFLINE}
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert ran.returncode == 0, ran.stderr[-2000:]
    return ran.stdout


def as_vllm_reads(real_engines: Path, lines: list[list[str]]) -> list[dict[str, Any]]:
    """The values that vLLM's own parser finds on each of these command lines."""
    out = printed(str(real_engines / "vllm/bin/python3"), "-c", PARSE, json.dumps(lines))
    return [json.loads(line.removeprefix("PARSED ")) for line in out.splitlines() if line.startswith("PARSED ")]


def example() -> RunSettings:
    return load(ROOT / "docs/examples/vllm-options.toml", environment=dict(os.environ)).settings


def test_the_flags_that_our_tests_know_are_those_of_the_real_help(real_engines: Path) -> None:
    shown = printed(str(real_engines / "vllm/bin/vllm"), "serve", "--help=all")
    flags = {flag.strip(" ,") for flag in re.findall(r"(?:^  |, )--[a-z0-9-]+", shown, re.MULTILINE)}
    assert flags == set(FLAGS)


def test_every_searched_option_means_to_vllm_what_it_means_to_us(real_engines: Path, tmp_path: Path) -> None:
    settings, place = example(), a_workplace(tmp_path)
    engine, space = VllmEngine(settings.engine_options), Space.of(settings.fields)
    corners = [space.decode([coordinate] * len(space.dimensions)) for coordinate in (0.0, 0.5, 1.0)]
    plans = [engine.plan(a_service_order(place, corner, settings.fields)) for corner in corners]
    read = as_vllm_reads(real_engines, [list(plan.command.argv[1:]) for plan in plans if plan.command])
    assert len(read) == len(corners)
    for corner, arguments in zip(corners, read, strict=True):
        assert arguments["max_num_seqs"] == corner["MAX_NUM_SEQS"]
        assert arguments["max_num_batched_tokens"] == corner["MAX_NUM_BATCHED_TOKENS"]
        for field in settings.fields:
            if field.config_position.startswith("argument:") and corner[field.name] != "":
                found = arguments[field.config_position.removeprefix("argument:--").replace("-", "_")]
                assert str(found) == str(corner[field.name]), field.name
    # an empty enum value leaves vLLM's own default
    assert read[0]["block_size"] is None
    assert read[0]["kv_cache_dtype"] == "auto"


def test_the_real_client_understands_every_flag_that_we_give_it(real_engines: Path, tmp_path: Path) -> None:
    settings, place = example(), a_workplace(tmp_path)
    slos = (Slo(metric="ttft", statistic="p99.9", limit=1.5), Slo(metric="tpot", limit=0.05))
    configuration = {"CONCURRENCY": 16, "REQUESTRATE": 2.5}
    assert load_of(configuration) == (16, 2.5)
    order = a_measurement_order(
        place, configuration, objective=Objective(maximise="goodput", slos=slos), warm_up_requests=8
    )
    plan = VllmBenchmark(settings.benchmark_options).plan(order)
    assert plan.command is not None
    (arguments,) = as_vllm_reads(real_engines, [list(plan.command.argv[1:])])
    expected = {
        "max_concurrency": 16,
        "request_rate": 2.5,
        "num_prompts": 1000,
        "num_warmups": 8,
        "seed": 7,
        "goodput": ["ttft:1500", "tpot:50"],
        "metric_percentiles": "50,90,95,99,99.9",
        "metadata": ["serviceopt_seed=7"],
        "result_dir": str(place.directory),
        "random_input_len": 1024,
    }
    assert {name: arguments[name] for name in expected} == expected
    assert arguments["save_result"]
    assert arguments["disable_tqdm"]


def test_the_real_version_is_told_without_starting_vllm(real_engines: Path, tmp_path: Path) -> None:
    program = str(real_engines / "vllm/bin/vllm")
    command = {"model": str(real_engines / "model-88m"), "port": 8000, "served_model_name": "m"}
    engine = VllmEngine({"program": program, "command": command})
    identity = engine.identity(a_workplace(tmp_path))
    shown = printed(program, "--version").split()[-1]
    assert f"vllm {shown}" in identity["version"].split(", ")
    assert "model.safetensors:" in identity["model"]
    assert engine.problems(a_workplace(tmp_path)) == []
