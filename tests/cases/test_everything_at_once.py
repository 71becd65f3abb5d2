"""One pass of check tells everything that is refused, however little one thing has to do with the other."""

from __future__ import annotations

from pathlib import Path

import pytest

from ais_bench_files import a_config_directory
from cases.configurations import CONCURRENCY, a_field, a_vllm_case, seen
from serviceopt_journal.errors import InvalidConfiguration
from serviceoptd.submitting.checking import check, dry_run


def refused(path: Path) -> list[str]:
    """The lines of what check refuses; the hints are one line more."""
    with pytest.raises(InvalidConfiguration) as caught:
        seen(path)
    return [*caught.value.message.split("\n"), caught.value.hint]


UNLIKE = {
    "--uds /run/v.sock": "listens on a socket file",
    "--max-num-seq 4": "--max-num-seqs is given twice",
    "--task embed": "embeddings, classification and reranking",
    "--model other": "the model is given twice",
    "--ssl-keyfile k": "speaks TLS",
    "--block-size $BLOCK": "$BLOCK in [vllm.command] others: nothing replaces it",
    "--seed $SEEDS": "$SEEDS in [vllm.command] others: nothing replaces it",
    "--rate $CONCURRENCY": "$CONCURRENCY in [vllm.command] others: the service keeps running",
    "--max-num 3": "--max-num can stand for",
    "--config broken.yaml": "not a table of options",
}


def test_unlike_refusals_of_one_engine_are_told_together(tmp_path: Path) -> None:
    (tmp_path / "broken.yaml").write_text("- a\n")
    fields = a_field("MAX_NUM_SEQS", "int", min="1", max="9", value="4") + CONCURRENCY
    fields += a_field("DOT", "int", min="1", max="9", value="4", config_position='"a.b"')
    lines = refused(a_vllm_case(tmp_path, others=" ".join(UNLIKE), fields=fields))
    for said in (*UNLIKE.values(), "DOT: vllm has no configuration file"):
        assert sum(said in line for line in lines[:-1]) == 1, (said, lines)
    assert len(lines) == len(UNLIKE) + 2
    assert "an abbreviation works only where it is unique" in lines[-1]
    assert "leave it out while the service is tuned" in lines[-1]


def test_unlike_refusals_of_one_client_are_told_together(tmp_path: Path) -> None:
    others = "--num-prompts 7 --burst 2 --random 5 --x $NOTHING --y $NEVER --backend openai-embeddings"
    field = a_field("b", "float", table="vllm_benchmark", config_position='"argument:--burstiness"',
                    min="1", max="2", value="1")  # fmt: skip
    lines = refused(a_vllm_case(tmp_path, client_others=others, fields=CONCURRENCY + field))
    for said in ("--num-prompts is given twice", "--burstiness is given twice", "--random can stand for", "$NOTHING",
                 "$NEVER", "embeddings"):  # fmt: skip
        assert sum(said in line for line in lines[:-1]) == 1, (said, lines)


def test_what_engine_and_client_refuse_is_told_beside_another_server(tmp_path: Path) -> None:
    text = 'environment = { OPENAI_BASE_URL = "http://127.0.0.1:9999/v1", API_BASE = "http://127.0.0.1:9998" }'
    lines = refused(a_vllm_case(tmp_path, client_section=text, fields=CONCURRENCY))
    assert [port in "".join(lines[:-1]) for port in ("9999", "9998")] == [True, True]


def test_a_contradiction_does_not_hide_what_engine_and_client_refuse(tmp_path: Path) -> None:
    path = a_vllm_case(tmp_path, others="--uds s --task embed", client_others="--random 5", fields=CONCURRENCY)
    path.write_text(path.read_text().replace("port = 18431", "port = 18432", 1))
    told = "\n".join(map(str, check(path, environment={}, working_directory=tmp_path).unusable))
    for said in (
        "18431 is not the service's 18432",
        "listens on a socket file",
        "embeddings",
        "--random can stand for",
    ):
        assert told.count(said) == 1, (said, told)


def test_what_the_engine_refuses_too_is_told_once(tmp_path: Path) -> None:
    fields = CONCURRENCY + a_field("MAX_NUM_SEQS", "int", min="1", max="9", value="4")
    path = a_vllm_case(tmp_path, section="manage_lifecycle = false", fields=fields)
    told = [str(each) for each in check(path, environment={}, working_directory=tmp_path).unusable]
    assert len(told) == 1
    assert "would need a restart" in told[0]


COMMAND = """
engine = "command"
benchmark = "command"
[command.service]
argv = ["vllm", "serve", "m", "--max-num-seq", "3", "--max-num-seqs", "4", "--a", "$NOWHERE", "--b", "$CONCURRENCY"]
port = 8000
ready_url = "/health"
[[command.target_field]]
name = "S"
dtype = "int"
min = 1
max = 9
value = 2
config_position = "argument:--max-num-seqs"
[[command.target_field]]
name = "CONCURRENCY"
dtype = "int"
min = 1
max = 9
value = 2
[command.client]
argv = ["bench", "--url", "$URL", "--host", "$HOST", "--port", "$PORT", "--model", "$MODEL"]
num_prompts = 3
result_file = "r.json"
[command.client.metrics]
generate_speed = { path = "a", unit = "tok/s" }
throughput = { path = "a", unit = "req/s" }
completed = { path = "n" }
"""


def test_engine_and_client_that_are_described_tell_everything_too(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(COMMAND)
    with pytest.raises(InvalidConfiguration) as caught:
        dry_run(check(path, environment={}, working_directory=tmp_path), tmp_path / "state")
    told = caught.value.message
    for said in ("$NOWHERE", "$CONCURRENCY in [command.service]", "--max-num-seqs is given twice", "$URL", "$MODEL"):
        assert said in told, (said, told)


AIS_BENCH = """
engine = "vllm"
benchmark = "ais_bench"
[vllm.command]
port = 8080
model = "org/model"
served_model_name = "m"
[ais_bench.command]
models = "vllm_api_stream_chat"
datasets = "gsm8k_gen_0_shot_cot_str_perf"
others = "--debug --reuse x --y $NEVER --mode perf"
"""


def test_ais_bench_tells_everything_too(tmp_path: Path) -> None:
    a_config_directory(tmp_path / "configs", names=("vllm_api_stream_chat", "gsm8k_gen_0_shot_cot_str_perf"))
    path = tmp_path / "config.toml"
    path.write_text(AIS_BENCH)
    with pytest.raises(InvalidConfiguration) as caught:
        dry_run(check(path, environment={}, working_directory=tmp_path), tmp_path / "state")
    for said in ("--debug must not be given", "--reuse must not be given", "$NEVER", "--mode is given twice"):
        assert said in caught.value.message, (said, caught.value.message)


def test_everything_that_a_described_client_lacks_is_told(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    client = '[command.client]\nargv = ["bench"]\nstdout = true\nresult_file = "/x"\nmetrics = {metrics}\n'
    metrics = '{ thoughput = { path = "a" }, ttft.mean = { path = "b", unit = "miles" } }'
    service = '[command.service]\nargv = ["server"]\nreset_url = "/reset"\n'
    path.write_text('engine = "command"\nbenchmark = "command"\n' + service + client.replace("{metrics}", metrics))
    with pytest.raises(InvalidConfiguration) as caught:
        check(path, environment={}, working_directory=tmp_path)
    for said in ("give one of result_file and stdout", "own directory, which is $RESULT_DIR", "thoughput is not a metric",
                 "'miles'", "metrics needs generate_speed", "metrics needs throughput", "metrics needs completed",
                 "give one of ready_url and ready_log", "needs `port`"):  # fmt: skip
        assert said in caught.value.message, (said, caught.value.message)
