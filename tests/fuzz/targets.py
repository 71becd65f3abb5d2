"""What is attacked: for each parser the inputs, and what is done with one of them."""

from __future__ import annotations

import contextlib
import itertools
import json
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import msgspec
from hypothesis import strategies as st

from ais_bench_files import a_result, requests_beside, summary, table
from contract.vllm import REAL, an_order
from contract.vllm import a_client as a_vllm_benchmark
from daemon.benchmarks.ais_bench.test_ais_bench_result import outcome_of, work_of
from daemon.benchmarks.guidellm.guidellm_documents import a_document, a_request, an_error
from daemon.benchmarks.guidellm.test_guidellm import a_client as a_guidellm
from daemon.benchmarks.test_command import CLIENT, LINES, RESULT, TEXT
from daemon.benchmarks.test_command import a_client as a_command
from fuzz.mutations import PIECES, changed_bytes, documents, texts
from fuzz.promise import Broken, kept
from journal_builders import a_journal, contents
from predecessor_results import RESULTS
from profiling_files import BATCH_COLUMNS, REQUEST_COLUMNS
from serviceopt_journal.codec import UNDECODABLE, Recorded, decode
from serviceopt_journal.documents.requests import Submission
from serviceopt_journal.errors import JournalError
from serviceopt_journal.metrics import Metrics
from serviceopt_journal.reader import JournalReader
from serviceopt_journal.store import Journal
from serviceopt_journal.verification import verify
from serviceoptd.benchmarks.interface import Benchmark
from serviceoptd.benchmarks.result_checks import telling_line
from serviceoptd.benchmarks.vllm_benchmark.client import RESULT as VLLM_RESULT
from serviceoptd.config import plugins
from serviceoptd.config.load import load_text, text_of
from serviceoptd.config.masking import masked_text
from serviceoptd.contract.orders import a_measurement_order, a_workplace, an_outcome
from serviceoptd.domain.settings import LogPatterns
from serviceoptd.engines.mindie.configuration import JsonText
from serviceoptd.engines.mindie.deployment import accelerators, read_model, tensor_parallel, world_size
from serviceoptd.engines.mindie_kubernetes.cluster import pods_in
from serviceoptd.engines.mindie_kubernetes.deployment import accelerators as accelerators_asked_for
from serviceoptd.engines.mindie_kubernetes.deployment import node_port
from serviceoptd.engines.vllm import VllmEngine
from serviceoptd.io.log_follower import LogFollower, plain, scan
from serviceoptd.io.metrics_scrape import counters, samples
from serviceoptd.predicting import model_file
from serviceoptd.predicting.data_set.lengths import data_set
from serviceoptd.predicting.prediction import lengths_in
from serviceoptd.predicting.section import DataSetOptions
from serviceoptd.profiling.data.reading import read_profile
from serviceoptd.submitting.importing.predecessor_table import read as read_table
from serviceoptd.submitting.preparing import prepare
from serviceoptd.toolkit.config_file import options_of
from serviceoptd.toolkit.ended_logs.root_cause import root_cause
from stubs.scenario import STUB, stub_run
from trained_models import a_trained_model

ROOT = Path(__file__).parent.parent.parent


@dataclass(frozen=True)
class Target:
    """One parser. `attempt` gets an empty directory and an input; it says what became of it, or raises Broken."""

    inputs: Callable[[], st.SearchStrategy[Any]]
    attempt: Callable[[Path, Any], str]


def configuration(place: Path, written: bytes) -> str:
    path = place / "config.toml"
    path.write_bytes(written)

    def read() -> None:
        text = text_of(path)
        masked = masked_text(text)  # whatever it is: what is wrong is shown masked, too
        masked.encode()
        loaded = load_text(text, path, environment={"HOME": "/root"})
        again = load_text(masked, path, environment={"HOME": "/root"})
        if loaded.settings.objective != again.settings.objective:
            raise Broken("the masked configuration means something else")
        msgspec.json.encode(loaded.settings)

    return kept(read, unchanged=place)


def _configurations() -> st.SearchStrategy[bytes]:
    valid = [path.read_text() for path in sorted((ROOT / "docs/examples").glob("*.toml"))]
    deep = st.tuples(
        st.sampled_from(("[", "{a=", "a.", "[[a]]\n", '"a".', "[a.b]\n", "x='''", "\\\n")), st.integers(1, 20_000)
    )
    towers = deep.map(lambda drawn: f"x = {drawn[0] * drawn[1]}" if drawn[0] in ("[", "{a=") else drawn[0] * drawn[1])
    keys = st.text(st.characters(exclude_categories=("Cs",)), max_size=30)
    tables = st.dictionaries(keys, st.sampled_from(PIECES), max_size=20).map(
        lambda told: "".join(f"{json.dumps(key)} = {json.dumps(value)}\n" for key, value in told.items())
    )
    whole = st.one_of(texts(valid), texts(valid), towers, tables).map(lambda text: text.encode(errors="replace"))
    return st.one_of(whole, whole, whole, changed_bytes([text.encode() for text in valid]))


def submission(place: Path, text: str) -> str:
    """All that is checked before a run is accepted, on a machine whose only programs are stubs."""
    programs = place / "bin"
    programs.mkdir()
    for name in ("vllm", "guidellm", "llama-server", "sglang", "ais_bench"):
        (programs / name).symlink_to(found if (found := STUB.with_name(name)).exists() else STUB)
    (programs / "python3").symlink_to(sys.executable)
    (place / "model").mkdir()
    (place / "model/config.json").write_text(json.dumps(_MODEL))
    sent = Submission(
        configuration_text=text.replace("PLACE", str(place)),
        configuration_path=str(place / "config.toml"),
        working_directory=str(place),
        environment={"PATH": str(programs), "HF_TOKEN": "s3cr3t"},
    )

    def read() -> None:
        prepared = prepare(sent, plugins, tool_prefix=None, port_is_ours=True)
        again = msgspec.json.decode(msgspec.json.encode(prepared.settings), type=type(prepared.settings))
        if again != prepared.settings:
            raise Broken("settings that come back as others")

    return kept(read, unchanged=place)


def _submissions() -> st.SearchStrategy[str]:
    import tempfile

    with tempfile.TemporaryDirectory() as place:
        stubs = stub_run(Path(place)).read_text().replace(place, "PLACE").replace(str(STUB), "vllm")
    examples = [(ROOT / "docs/examples" / name).read_text() for name in EXAMPLES]
    return texts([stubs, stubs, *examples], pieces=[*WORDS, *PIECES])


EXAMPLES = ("demo.toml", "config.toml", "vllm.toml", "sglang-guidellm.toml", "llama-cpp.toml", "vllm-options.toml")
WORDS = (
    "--max-model-len 8192", "--port 8001", "--tensor-parallel-size $TP", "$MAX_NUM_SEQS", "${CONCURRENCY}", "$HOME", "$$",
    "--config x.yaml", "--host", "--num-prompts=7", "'", "-tp 2", "--json '{\\\"a\\\": 1}'", "--api-key k", "ratio",
    "--request-rate inf", "--speculative-config {\\\"a\\\":[", "share", "enum", "range", "factories", "times", "PLACE",
    "PLACE/model", "vllm",
)  # fmt: skip
"""What stands in configurations."""


def _result(client: Benchmark, order: Any, name: str) -> Callable[[Path, Any], str]:
    def attempt(place: Path, written: bytes) -> str:
        outcome = an_outcome(client, order(place))
        path = outcome.order.workplace.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(written)
        return kept(lambda: _storable(client.read(outcome)))

    return attempt


def _storable(found: Metrics) -> None:
    """What was read goes into an event, and has to come out of it again."""
    try:
        again = msgspec.json.decode(msgspec.json.encode(found), type=Metrics)
    except UNDECODABLE as error:
        raise Broken(f"metrics that no event can hold: {error}: {found!r}"[:2000]) from error
    if again != found:
        raise Broken(f"metrics that come back as others: {found!r}"[:2000])


_DETAILED = REAL | {
    "input_lens": [64] * 50, "output_lens": [32] * 49 + [0], "ttfts": [0.4] * 50, "itls": [[0.003] * 31] * 49 + [[]],
    "errors": [""] * 49 + ["HTTP 500"], "start_times": [1000.0 + 0.01 * n for n in range(50)], "generated_texts": ["x"] * 50,
}  # fmt: skip
_GUIDELLM = a_document([a_request(number) for number in range(9)], [an_error(9)])
_FAILED = a_document([], [an_error(number) for number in range(10)])


def guidellm(place: Path, written: bytes) -> str:
    client = a_guidellm()
    outcome = an_outcome(client, a_measurement_order(a_workplace(place), {"CONCURRENCY": 16}))
    (path,) = (outcome.plan.artefacts or {}).values()
    path.write_bytes(written)
    return kept(lambda: _storable(client.read(outcome)))


def ais_bench(place: Path, written: tuple[bytes, bytes, bytes, bytes]) -> str:
    told, statistics, details, database = written
    client, outcome = outcome_of(place)
    beside = a_result(work_of(outcome))
    (beside / "synthetic.csv").write_bytes(statistics)
    (beside / "synthetic.json").write_bytes(told)
    requests_beside(beside, [(10.0 + number, 10.5 + number, 11.0 + number, 32) for number in range(50)])
    if details:
        (beside / "synthetic_details.jsonl").write_bytes(details)
    if database:
        (beside / "db_data/0b348d6e.db").write_bytes(database)
    return kept(lambda: _storable(client.read(outcome)))


def _of_ais_bench() -> st.SearchStrategy[tuple[bytes, bytes, bytes, bytes]]:
    told, statistics = summary(), table()
    line = {"id": 1, "success": True, "time_points": {"__db_ref__": 1}, "output_tokens": 32, "db_name": "0b348d6e.db"}
    good = (st.just(told.encode()), st.just(statistics.encode()), st.just(b""), st.just(b""))
    changed = (
        documents([json.loads(told)]),
        texts([statistics]).map(lambda text: text.encode(errors="replace")),
        st.lists(documents([line]), min_size=1, max_size=3).map(b"\n".join),
        changed_bytes([b"SQLite format 3\0" + bytes(4080)]),
    )
    return st.integers(0, 3).flatmap(
        lambda which: st.tuples(*(changed[n] if n == which else good[n] for n in range(4)))
    )  # fmt: skip


def _command(client: Benchmark, *, output: bool) -> Callable[[Path, Any], str]:
    def attempt(place: Path, written: bytes) -> str:
        outcome = an_outcome(client, a_measurement_order(a_workplace(place)))
        path = outcome.output if output else outcome.order.workplace.directory / "out.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(written)
        return kept(lambda: _storable(client.read(outcome)))

    return attempt


def predecessors_table(place: Path, written: str) -> str:
    return kept(lambda: read_table(written, "data_storage.csv"))


_METRICS = """\
# HELP vllm:generation_tokens_total Number of generation tokens processed.
# TYPE vllm:generation_tokens_total counter
vllm:generation_tokens_total{engine="0",model_name="m"} 1600.0
vllm:request_success_total{engine="0",finished_reason="stop",model_name="m"} 50.0
vllm:request_success_total{engine="0",finished_reason="abort",model_name="m"} 2.0
vllm:num_requests_running{engine="0",model_name="m"} 12.0
vllm:num_requests_waiting{engine="0",model_name="m"} 3.0
vllm:time_to_first_token_seconds_bucket{engine="0",le="0.5",model_name="m"} 40.0
vllm:time_to_first_token_seconds_bucket{engine="0",le="+Inf",model_name="m"} 50.0
vllm:time_to_first_token_seconds_count{engine="0",model_name="m"} 50.0
vllm:time_to_first_token_seconds_sum{engine="0",model_name="m"} 20.5
"""


def metrics(place: Path, written: str) -> str:
    def read() -> None:
        counters(samples(written), VllmEngine.series, 1.0)

    return kept(read)


_LOG = """\
INFO 11-23 10:15:00 [core.py:58] Initializing a V1 LLM engine
(EngineCore pid=7) ERROR 11-23 10:15:09 [core.py:708] EngineCore failed to start.
(EngineCore pid=7) ERROR 11-23 10:15:09 [core.py:708] Traceback (most recent call last):
(EngineCore pid=7) ERROR 11-23 10:15:09 [core.py:708]   File "/x/core.py", line 699, in run_engine_core
(EngineCore pid=7) ERROR 11-23 10:15:09 [core.py:708] torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.
Loading safetensors:  50% 1/2\rLoading safetensors: 100% 2/2
vllm: error: unrecognized arguments: --max-sequences --api-key s3cr3t
[rank0]: RuntimeError: NCCL error in: ProcessGroupNCCL.cpp:3356
"""


def log(place: Path, written: bytes) -> str:
    path = place / "service.log"
    path.write_bytes(written)
    patterns = LogPatterns(fatal={"out_of_memory": ("out of memory",)}, retryable={"port": ("in use",)})

    def read() -> None:
        follower = LogFollower(path)
        lines = [plain(line) for line in (*follower.lines(), *follower.lines(ended=True))]
        told = [telling_line(path), *(match.reason(200) for line in lines if (match := scan(line, patterns)))]
        cause = root_cause(lines)
        for text in (*told, *([cause.line] if cause else [])):
            msgspec.json.encode(text)
            if any(character in text for character in "\x1b\x9b\u202e\0"):
                raise Broken(f"a terminal would obey {text[:200]!r}")

    return kept(read, unchanged=place)


def journal_bytes(place: Path, written: Mapping[str, bytes]) -> str:
    """A journal in which files were changed is opened, or refused and not changed by a byte; reading it is as safe."""
    for name, content in written.items():
        (place / name).write_bytes(content)
    before = contents(place)

    def read() -> None:
        report = verify(place)
        with contextlib.suppress(JournalError):
            list(JournalReader.open(place).events())
        error = report.error()
        if contents(place) != before:
            raise Broken("reading changed the journal")
        try:
            with Journal.open(place):
                pass
        except JournalError:
            if contents(place) != before:
                raise Broken("a refused opening changed the journal") from None
            raise
        if error is not None:
            raise Broken(f"opened, though verification says: {error}")

    return kept(read)


def _journals() -> st.SearchStrategy[dict[str, bytes]]:
    import tempfile

    with tempfile.TemporaryDirectory() as place:
        a_journal(Path(place) / "state")
        whole = contents(Path(place) / "state")
    names = sorted(name for name in whole if whole[name])
    return st.sampled_from(names).flatmap(
        lambda name: changed_bytes([whole[name]]).map(lambda changed: whole | {name: changed})
    )


def record(place: Path, written: bytes) -> str:
    """The bytes of one event: decoded, or refused as damaged or newer."""

    def read() -> None:
        found = decode(written)
        if not isinstance(found, Recorded):
            raise Broken("no record")

    return kept(read)


def _records() -> st.SearchStrategy[bytes]:
    import tempfile

    with tempfile.TemporaryDirectory() as place:
        a_journal(Path(place) / "state")
        found = [msgspec.to_builtins(each) for each in JournalReader.open(Path(place) / "state").events()]
    return documents(found)


def yaml_options(place: Path, written: str) -> str:
    def read() -> None:
        try:
            json.dumps(options_of(written))
        except ValueError as error:  # what it promises; its callers name the file
            if isinstance(error, UnicodeError):
                raise

    return kept(read)


_YAML = """\
model: org/model
tensor-parallel-size: 4
enforce-eager: true
served-model-name: [a, b]
speculative-config: {method: eagle, num_speculative_tokens: 3}
max-model-len: &length 8192
other: *length
"""
_BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n" for before, name in itertools.pairwise("abcdefghij")
)
_LOOP = "a: &a {b: [*a, 1], c: 2}\nd: *a\n"

_MINDIE = {
    "ServerConfig": {"ipAddress": "127.0.0.1", "port": 1025, "managementPort": 1026},
    "BackendConfig": {
        "npuDeviceIds": [[0, 1, 2, 3]],
        "ModelDeployConfig": {"maxSeqLen": 2560, "ModelConfig": [{"modelName": "m", "worldSize": 4, "tp": 4}]},
        "ScheduleConfig": {"maxBatchSize": 200, "maxPrefillTokens": 8192, "cacheBlockSize": 128},
    },
}
_MODEL = {
    "architectures": ["LlamaForCausalLM"], "hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32,
    "num_key_value_heads": 8, "torch_dtype": "bfloat16", "max_position_embeddings": 8192, "vocab_size": 32000,
}  # fmt: skip


def mindie(place: Path, written: tuple[bytes, bytes]) -> str:
    configuration, model = written
    (place / "config.json").write_bytes(model)

    def read() -> None:
        text = JsonText.of(configuration, "config.json")
        accelerators(text.document), world_size(text.document), tensor_parallel(text.document)
        text.replaced({"BackendConfig.ScheduleConfig.maxBatchSize": 100})
        read_model(place)

    return kept(read, unchanged=place)


def kubernetes(place: Path, written: str) -> str:
    def read() -> object:
        accelerators_asked_for(written)
        with contextlib.suppress(ValueError):  # what it promises of an answer that is no list of pods
            return pods_in(written, "mindie")
        return node_port(written, "deployment.yaml")

    return kept(read)


_DEPLOYMENT = "spec:\n  ports:\n  - nodePort: 31015\n    resources:\n      limits:\n        huawei.com/Ascend910: 8\n"
_PODS = """{"items": [{"metadata": {"name": "mindie-0", "uid": "u"}, "status": {"phase": "Running", "containerStatuses":
[{"restartCount": 1, "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]}}]}"""


def latency_model(place: Path, written: bytes) -> str:
    (place / "latency_model.json").write_bytes(written)
    return kept(lambda: model_file.load(place / "latency_model.json"), unchanged=place)


def _latency_models() -> st.SearchStrategy[bytes]:
    import tempfile

    with tempfile.TemporaryDirectory() as place:
        path = model_file.save(a_trained_model(), Path(place))
        return documents([json.loads(path.read_bytes())])


def data_sets(place: Path, written: tuple[str, bytes]) -> str:
    name, content = written
    kind = {"d.jsonl": "custom", "s.json": "sharegpt", "b.csv": "burstgpt"}[name]
    (place / name).write_bytes(content)
    return kept(lambda: data_set(DataSetOptions(path=name, kind=cast(Any, kind)), place), unchanged=place)


def _data_sets() -> st.SearchStrategy[tuple[str, bytes]]:
    line = {"prompt": "one two three", "output_tokens": 11}
    talk = [{"conversations": [{"value": "one two three four five"}, {"value": "six seven eight nine ten"}]}]
    rows = "Timestamp,Model,Request tokens,Response tokens,Total tokens\n5,GPT-4,472,18,490\n45,GPT-4,1087,230,1317\n"
    return st.one_of(
        st.tuples(st.just("d.jsonl"), st.lists(documents([line]), min_size=1, max_size=4).map(b"\n".join)),
        st.tuples(st.just("s.json"), documents([talk])),
        st.tuples(st.just("b.csv"), texts([rows]).map(lambda text: text.encode(errors="replace"))),
    )


def lengths(place: Path, written: bytes) -> str:
    return kept(lambda: lengths_in(written, "lengths.csv"))


def profiles(place: Path, written: tuple[bytes, bytes]) -> str:
    batches, requests = written
    (place / "batch.csv").write_bytes(batches)
    (place / "request.csv").write_bytes(requests)
    return kept(lambda: read_profile(place, framework="vllm"), unchanged=place)


def _profiles() -> st.SearchStrategy[tuple[bytes, bytes]]:
    steps = [f"""modelExec,"[{{'rid': '{n}', 'iter': {n}}}]",1000,1001,1,Decode,{n + 1}.5\n""" for n in range(4)]
    batch = ",".join(BATCH_COLUMNS) + "\n" + "".join(steps).replace("Decode", "Prefill", 1)
    request = ",".join(REQUEST_COLUMNS) + "\n" + "".join(f"{n},1,{n + 5},8,1.0,0.1,0.5\n" for n in range(4))
    encoded = [text.encode() for text in (batch, request)]
    changed = [texts([text]).map(lambda found: found.encode(errors="replace")) for text in (batch, request)]
    return st.one_of(
        st.tuples(changed[0], st.just(encoded[1])), st.tuples(st.just(encoded[0]), changed[1]),
        st.tuples(changed_bytes([encoded[0]]), st.just(encoded[1])),
    )  # fmt: skip


def emptied(place: Path) -> Path:
    """The directory, made anew."""
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    return place


TARGETS: Mapping[str, Target] = {
    "configuration": Target(_configurations, configuration),
    "submission": Target(_submissions, submission),
    "vllm_benchmark": Target(lambda: documents([REAL]), _result(a_vllm_benchmark(), an_order, VLLM_RESULT)),
    "vllm_benchmark, detailed": Target(
        lambda: documents([_DETAILED]),
        _result(a_vllm_benchmark(), lambda place: an_order(place, details=True), VLLM_RESULT),
    ),
    "guidellm": Target(lambda: documents([_GUIDELLM, _FAILED]), guidellm),
    "ais_bench": Target(_of_ais_bench, ais_bench),
    "command, JSON": Target(lambda: documents([RESULT]), _command(a_command(CLIENT), output=False)),
    "command, output": Target(
        lambda: texts([LINES]).map(lambda text: text.encode(errors="replace")), _command(a_command(TEXT), output=True)
    ),
    "predecessor's table": Target(lambda: texts([RESULTS]), predecessors_table),
    "metrics": Target(lambda: texts([_METRICS]), metrics),
    "log": Target(
        lambda: st.one_of(texts([_LOG]).map(lambda text: text.encode(errors="replace")), changed_bytes([_LOG.encode()])), log
    ),
    "journal": Target(_journals, journal_bytes),
    "record": Target(_records, record),
    "YAML of options": Target(lambda: texts([_YAML, _YAML, _YAML, _BOMB, _LOOP]), yaml_options),
    "MindIE's files": Target(lambda: st.tuples(documents([_MINDIE]), documents([_MODEL])), mindie),
    "Kubernetes": Target(lambda: texts([_DEPLOYMENT, _PODS]), kubernetes),
    "latency model": Target(_latency_models, latency_model),
    "data set": Target(_data_sets, data_sets),
    "lengths": Target(
        lambda: texts(["input_tokens,output_tokens\n10,20\n30,40\n"]).map(lambda t: t.encode(errors="replace")), lengths
    ),
    "profile": Target(_profiles, profiles),
}  # fmt: skip
"""Name -> what is attacked. The API is attacked over its socket (api.py)."""
