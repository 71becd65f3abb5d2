"""Any service and any client, described in TOML: the `command` engine and client with the stub programs."""

from __future__ import annotations

from pathlib import Path

from stubs.scenario import STUB, assert_sound, free_port, standalone

RUN = """
engine = "command"
benchmark = "command"
n_particles = 3
iters = 1
seed = 3
tpot_slo = 0.05
tpot_penalty = 1

[command.service]
argv = ["{stub}", "serve", "any", "--port", "$PORT", "--max-num-seqs", "$MAX_NUM_SEQS", "--stub-ready-line",
  "serving now"]
host = "127.0.0.1"
port = {port}
ready_log = "serving now"

[command.client]
argv = ["{stub}", "bench", "serve", "--port", "$PORT", "--num-prompts", "$NUM_PROMPTS", "--max-concurrency",
  "$CONCURRENCY", "--result-dir", "$RESULT_DIR", "--result-filename", "result.json"]
num_prompts = 12
result_file = "result.json"

[command.client.metrics]
generate_speed = {{ path = "output_throughput", unit = "tok/s" }}
throughput = {{ path = "request_throughput", unit = "req/s" }}
completed = {{ path = "completed" }}
failed = {{ path = "failed" }}
"ttft.mean" = {{ path = "mean_ttft_ms", unit = "ms" }}
"tpot.mean" = {{ path = "mean_tpot_ms", unit = "ms" }}

[[command.target_field]]
name = "MAX_NUM_SEQS"
config_position = "env"
dtype = "int"
min = 1
max = 64
value = 16

[[command.target_field]]
name = "CONCURRENCY"
config_position = "env"
dtype = "int"
min = 1
max = 64
value = 8
"""


def test_any_service_and_client_are_tuned_from_their_description(tmp_path: Path) -> None:
    configuration = tmp_path / "config.toml"
    configuration.write_text(RUN.format(stub=STUB, port=free_port()))

    ended, recorded, rows = standalone(configuration)

    assert ended.returncode == 0, ended.stderr
    assert len(rows) == 3
    assert [row["error"] for row in rows] == ["", "", ""]
    assert all(float(row["generate_speed"]) > 0 for row in rows)
    assert_sound(recorded)
