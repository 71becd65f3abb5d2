"""A real AISBench measures a real `vllm serve` on the CPU: a whole run, and side by side with `vllm bench serve`.

The figures of the second test are in docs/evidence/ais-bench.md.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import statistics
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from real.conftest import Sized
from real.sizes import Shape
from real.tuning import APART, QUIET, wait_until_healthy
from serviceopt_journal import events as e
from serviceopt_journal.metrics import Metrics
from serviceoptd.benchmarks.ais_bench.client import WORK, AisBench
from serviceoptd.benchmarks.ais_bench.requests import latencies_in
from serviceoptd.benchmarks.interface import Benchmark, ClientOutcome, MeasurementOrder
from serviceoptd.benchmarks.vllm_benchmark.client import VllmBenchmark
from serviceoptd.domain.settings import Field, Objective
from serviceoptd.domain.statistics.confidence import t_quantile
from serviceoptd.toolkit.interface import Workplace
from stubs.scenario import assert_sound, client, free_port, of_type, places, standalone, verified

pytestmark = [pytest.mark.real, pytest.mark.timeout(2400)]

ALIKE = 0.1
"""Logarithm; further apart the two clients must not be for sure, by the pairs of their measurements in turn."""
AT_A_TIME = 16
WHOLE_RUN = 2400.0  # seconds
ONE_CLIENT = 900.0

MODEL = """
from ais_bench.benchmark.models import VLLMCustomAPI

models = [
    dict(
        attr="service",
        type=VLLMCustomAPI,
        abbr="vllm-api-general-stream",
        path="",
        model="",
        stream=True,
        request_rate=0,
        use_timestamp=False,
        retry=2,
        api_key="",
        host_ip="localhost",
        host_port=8080,
        url="",
        max_out_len={output},  # as --random-output-len
        batch_size=1,
        trust_remote_code=False,
        generation_kwargs=dict(temperature=0, ignore_eos=True),
    )
]
"""

DATASET = """
from ais_bench.benchmark.datasets import SyntheticDataset, MATHEvaluator, math_postprocess_v2
from ais_bench.benchmark.openicl.icl_inferencer import GenInferencer
from ais_bench.benchmark.openicl.icl_prompt_template import PromptTemplate
from ais_bench.benchmark.openicl.icl_retriever import ZeroRetriever

# random tokens, other ones in each measurement; as --random-input-len 64
synthetic_config = {
    "Type": "tokenid", "RequestCount": {prompts}, "TrustRemoteCode": False,
    "TokenIdConfig": {"RequestSize": 64, "PrefixLen": 0},
}
synthetic_datasets = [
    dict(
        abbr="synthetic",
        type=SyntheticDataset,
        config=synthetic_config,
        reader_cfg=dict(input_columns=["question"], output_column="answer"),
        infer_cfg=dict(
            prompt_template=dict(type=PromptTemplate, template="{question}"),
            retriever=dict(type=ZeroRetriever),
            inferencer=dict(type=GenInferencer),
        ),
        eval_cfg=dict(
            evaluator=dict(type=MATHEvaluator, version="v2"), pred_postprocessor=dict(type=math_postprocess_v2)
        ),
    )
]
"""

RUN = """
engine = "vllm"
benchmark = "ais_bench"
n_particles = 2
iters = 2
seed = 3
launch_timeout = 600
measurement_timeout = 900

[proof]
measurements = 0

[measurement]
warm_up_requests = 4

[early_stopping]
enabled = false  # where a measurement takes long enough, one that is beaten would be ended early, and its row would say so

[vllm]
program = "{engines}/vllm/bin/vllm"

[vllm.command]
host = "127.0.0.1"
port = {port}
model = "{engines}/{model}"
served_model_name = "tiny"
others = "--max-model-len 1024 --enforce-eager --max-num-batched-tokens 2048 --dtype {dtype}"

[[vllm.target_field]]
name = "MAX_NUM_SEQS"
config_position = "env"
dtype = "int"
min = 1
max = 64
value = 16

[[vllm.target_field]]
name = "CONCURRENCY"
config_position = "env"
dtype = "int"
min = 1
max = 64
value = 16

[ais_bench]
program = "{engines}/aisbench/bin/ais_bench"

[ais_bench.command]
models = "chat_88m"
datasets = "tokens"
mode = "perf"
num_prompts = {prompts}
host = "127.0.0.1"
port = {port}
model = "{engines}/{model}"
served_model_name = "tiny"
"""


@pytest.fixture(scope="module")
def ais_bench(real_engines: Path) -> Path:
    program = real_engines / "aisbench/bin/ais_bench"
    if not program.exists():
        pytest.skip(f"{program} is not there: run tests/real/install_aisbench.sh {real_engines}")
    return program


def configurations(directory: Path, shape: Shape) -> Path:
    for name, text in (("models/chat_88m.py", MODEL), ("datasets/tokens.py", DATASET)):
        path = directory / "configs" / name
        path.parent.mkdir(parents=True)
        path.write_text(text.replace("{output}", str(shape.output)).replace("{prompts}", str(shape.prompts)))
    return directory / "configs"


def digests(*directories: Path) -> dict[Path, str]:
    files = [path for directory in directories for path in directory.rglob("*.py")]
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_a_run_of_four_evaluations_is_measured_by_the_real_aisbench(
    real_engines: Path, ais_bench: Path, sized: Sized, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shape = sized.shape("a run with AISBench")
    (installed,) = ais_bench.parents[1].glob("lib/python3*/site-packages/ais_bench/benchmark/configs")
    before = digests(installed, configurations(tmp_path, shape))
    file = tmp_path / "config.toml"
    file.write_text(
        RUN.format(
            engines=real_engines, port=free_port(), prompts=shape.prompts, dtype=sized.dtype, model=sized.model
        )
    )  # fmt: skip
    for name, value in QUIET.items():
        monkeypatch.setenv(name, value)

    ended, recorded, rows = standalone(file, limit=WHOLE_RUN)

    assert ended.returncode == 0, ended.stderr
    assert len(rows) == 4
    for row in rows:
        assert (row["error"], row["real_evaluation"], row["source"], row["success_rate"]) == (
            "",
            "true",
            "measured",
            "1.0",
        )
        assert float(row["generate_speed"]) > 0
        assert float(row["time_to_first_token"]) > float(row["time_per_output_token"]) > 0
    finished = of_type(recorded, e.MeasurementFinished)
    assert len(finished) == 4
    assert all({"result.csv", "result.json", "client.log"} <= event.artefacts.keys() for event in finished)
    assert all(event.metrics.output_tokens == shape.output * shape.prompts for event in finished)
    assert_sound(recorded)
    verified(tmp_path)
    assert digests(installed, tmp_path / "configs") == before, "a file of AISBench or of the user was changed"
    best = json.loads(client("best", "--json", environment=places(tmp_path)).stdout)
    assert best["metrics"]["generate_speed"] == max(event.metrics.generate_speed for event in finished)


def test_aisbench_and_vllms_own_client_agree_within_the_noise_of_their_pairs(
    real_engines: Path, ais_bench: Path, sized: Sized, tmp_path: Path
) -> None:
    shape = sized.shape("two clients compared")
    configurations(tmp_path, shape)
    port, model = free_port(), str(real_engines / sized.model)
    program = str(real_engines / "vllm/bin/vllm")
    common = {
        "host": "127.0.0.1",
        "port": port,
        "model": model,
        "served_model_name": "tiny",
        "num_prompts": shape.prompts,
    }
    clients: dict[str, Benchmark] = {
        "ais_bench": AisBench(
            {"program": str(ais_bench), "command": {**common, "models": "chat_88m", "datasets": "tokens"}}
        ),
        "vllm_benchmark": VllmBenchmark(
            {
                "program": program,
                "command": {
                    **common,
                    "dataset_name": "random",
                    "others": f"--random-input-len 64 --random-output-len {shape.output} --ignore-eos",
                },
            }
        ),
    }
    measured: dict[str, list[Metrics]] = {name: [] for name in clients}
    print(f"\nload of the machine before: {Path('/proc/loadavg').read_text().strip()}")
    with a_service(program, model, port, tmp_path / "service.log", sized.dtype):
        for number in range(1, shape.repeats + 1):
            for name, benchmark in clients.items():
                metrics = measure(benchmark, name, number, tmp_path)
                print(f"{number} {name:15}{line(metrics)}")
                measured[name].append(metrics)

    for what, of in (
        ("output tokens/s", lambda metrics: metrics.generate_speed),
        ("mean TTFT", lambda metrics: metrics.ttft["mean"]),
        ("mean TPOT", lambda metrics: metrics.tpot["mean"]),
        ("mean end-to-end latency", lambda metrics: metrics.e2el["mean"]),
    ):
        pairs = [math.log(of(ours) / of(theirs)) for ours, theirs in zip(*measured.values(), strict=True)]
        width = t_quantile(0.975, shape.repeats - 1) * statistics.stdev(pairs) / math.sqrt(shape.repeats)
        apart = abs(statistics.fmean(pairs))
        print(f"{what}: {100 * apart:.1f} % apart, 95 % interval +-{100 * width:.1f} %")
        # A client has its own work to do beside the service; what they read differs by a unit or a definition, or not.
        assert apart - width <= ALIKE, (what, pairs)

    (table,) = (tmp_path / "ais_bench-1").glob(f"{WORK}/*/performances/*/*.csv")
    single, told = latencies_in(table, shape.prompts), measured["ais_bench"][0]
    for name in ("ttft", "tpot", "e2el"):
        assert len(single[name]) == shape.prompts
        assert statistics.fmean(single[name]) == pytest.approx(getattr(told, name)["mean"], abs=1e-4)


def line(metrics: Metrics) -> str:
    return (
        f"{metrics.generate_speed:8.1f} tok/s {metrics.throughput:6.2f} req/s   TTFT {1e3 * metrics.ttft['mean']:7.1f} ms"
        f"   TPOT {1e3 * metrics.tpot['mean']:6.1f} ms   E2EL {1e3 * metrics.e2el['mean']:7.1f} ms"
    )


@contextmanager
def a_service(program: str, model: str, port: int, log: Path, dtype: str) -> Iterator[None]:
    with log.open("wb") as output:
        service = subprocess.Popen(
            [
                program, "serve", model, "--served-model-name", "tiny", "--host", "127.0.0.1", "--port", str(port),
                "--max-model-len", "1024", "--enforce-eager", "--max-num-seqs", "64",
                "--max-num-batched-tokens", "2048", "--dtype", dtype,
            ],
            env={**os.environ, **APART}, stdout=output, stderr=output,
        )  # fmt: skip
    try:
        wait_until_healthy(port, service)
        yield
    finally:
        service.terminate()
        service.wait(timeout=60)


def measure(benchmark: Benchmark, name: str, number: int, directory: Path) -> Metrics:
    """Plans, runs and reads one measurement as the daemon does."""
    place = directory / f"{name}-{number}"
    place.mkdir()
    order = MeasurementOrder(
        configuration={"CONCURRENCY": AT_A_TIME},
        fields=(Field(name="CONCURRENCY", dtype="int", min=1, max=64, load=True),),
        concurrency=AT_A_TIME,
        request_rate=None,
        seed=number,
        warm_up_requests=4,
        objective=Objective(),
        workplace=Workplace(place, directory, {**os.environ, **QUIET}),
    )
    plan = benchmark.plan(order)
    assert plan.command is not None
    for path, content in plan.command.files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    output = place / "client.log"
    with output.open("wb") as log:
        ended = subprocess.run(
            plan.command.argv, cwd=plan.command.working_directory or directory, stdout=log, stderr=log, check=False,
            env={**order.workplace.environment, **plan.command.environment}, timeout=ONE_CLIENT,
        )  # fmt: skip
    return benchmark.read(ClientOutcome(ended.returncode, output, order, plan))
