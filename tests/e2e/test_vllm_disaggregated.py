"""docs/examples/vllm_disaggregated.py: prefill and decode instances of vLLM behind a proxy, with stand-ins for both."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tomllib
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from patience import HANG
from stubs.scenario import STUB, assert_sound, free_port, standalone, wait_for

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
LAUNCHER = EXAMPLES / "vllm_disaggregated.py"
PROXY = STUB.with_name("stub_proxy.py")


def free_ports(count: int) -> int:
    """The first of so many ports in a row on which nobody listens now; another place for each worker of the tests."""
    begin = 20_000 + os.getpid() * 8 % 10_000
    for first in range(begin, begin + 2_000, count):
        if all(is_free(port) for port in range(first, first + count)):
            return first
    raise AssertionError("no ports are free")


def is_free(port: int) -> bool:
    import socket

    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


class Deployment:
    """The launcher as a process, and what it has started."""

    def __init__(self, tmp_path: Path) -> None:
        self.log = tmp_path / "log"
        self.port = free_port()
        self.first = free_ports(4)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *more: str, service: tuple[str, ...] = (), proxy: str = "") -> subprocess.Popen[bytes]:
        words = [sys.executable, str(LAUNCHER), "--port", str(self.port), "--proxy", str(PROXY)]
        words += ["--first-port", str(self.first), *more]
        words += ["--", str(STUB), "serve", "model", "--max-num-seqs", "16", *service]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                words, stdout=log, stderr=log, env={**os.environ, "STUB_PROXY": proxy}, start_new_session=True
            )
        return self.process

    @property
    def printed(self) -> str:
        return self.log.read_text()

    def children(self) -> list[dict[str, Any]]:
        """The command line and the environment of each living program that it has started, in their order."""
        assert self.process is not None
        found = []
        for entry in sorted(Path("/proc").iterdir(), key=lambda entry: entry.name.zfill(9)):
            try:
                fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
                if entry.name.isdigit() and int(fields[1]) == self.process.pid and fields[0] != "Z":
                    argv = (entry / "cmdline").read_bytes().decode().split("\0")[:-1]
                    variables = (entry / "environ").read_bytes().decode().split("\0")
                    found.append({"argv": argv, "environment": dict(v.split("=", 1) for v in variables if "=" in v)})
            except OSError:
                continue
        return found

    def health(self) -> Any:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/healthcheck", timeout=5) as answer:
            return json.loads(answer.read())

    def until_ready(self) -> None:
        assert self.process is not None
        wait_for(lambda: "stub-proxy:" in self.printed or self.process.poll() is not None, "the proxy")
        assert self.process.poll() is None, self.printed
        wait_for(lambda: not is_free(self.port), "the proxy's port")


@pytest.fixture
def deployment(tmp_path: Path) -> Iterator[Deployment]:
    made = Deployment(tmp_path)
    yield made
    if made.process is not None and made.process.poll() is None:
        made.process.terminate()
        made.process.wait(HANG)


def after(flag: str, argv: list[str]) -> str:
    return argv[argv.index(flag) + 1]


def test_each_instance_has_its_port_its_devices_and_its_part(deployment: Deployment) -> None:
    deployment.start(
        "--prefill", "1", "--decode", "2", "--devices", "0,1,2,3,4,5", "--devices-each", "2",
        "--decode-others", "--max-model-len 2048",
    )  # fmt: skip
    deployment.until_ready()

    assert deployment.health() == {"status": "ok", "prefill_instances": 1, "decode_instances": 2}
    *instances, proxy = deployment.children()
    first = deployment.first
    assert [after("--port", each["argv"]) for each in instances] == [str(first), str(first + 1), str(first + 2)]
    assert [each["environment"]["CUDA_VISIBLE_DEVICES"] for each in instances] == ["0,1", "2,3", "4,5"]
    transfers = [json.loads(after("--kv-transfer-config", each["argv"])) for each in instances]
    assert [each["kv_role"] for each in transfers] == ["kv_producer", "kv_consumer", "kv_consumer"]
    assert {each["kv_connector"] for each in transfers} == {"NixlConnector"}
    assert len({each["environment"]["VLLM_NIXL_SIDE_CHANNEL_PORT"] for each in instances}) == 3
    assert ["--max-model-len" in each["argv"] for each in instances] == [False, True, True]
    assert all(after("--max-num-seqs", each["argv"]) == "16" for each in instances)
    assert "--prefiller-ports" in proxy["argv"]
    told = json.loads(deployment.printed.split("stub-proxy:")[1].splitlines()[0])
    assert told == {
        "prefill": [["127.0.0.1", first]], "decode": [["127.0.0.1", first + 1], ["127.0.0.1", first + 2]],
    }  # fmt: skip


def test_all_of_them_end_on_sigterm(deployment: Deployment) -> None:
    process = deployment.start("--prefill", "1", "--decode", "1", "--devices", "0,1")
    deployment.until_ready()
    pids = [int(entry.name) for entry in Path("/proc").iterdir() if _parent(entry) == process.pid]
    assert len(pids) == 3
    process.send_signal(signal.SIGTERM)
    assert process.wait(HANG) == 0
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]


def _parent(entry: Path) -> int | None:
    try:
        return int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1]) if entry.name.isdigit() else None
    except OSError:
        return None


@pytest.mark.parametrize("moment", ["--stub-delay 30 --stub-die-after 0.2", "--stub-die-after 2"])
def test_an_instance_that_ends_ends_all(deployment: Deployment, moment: str) -> None:
    process = deployment.start(
        "--prefill", "1", "--decode", "1", "--devices", "0,1",
        service=(*moment.split(), "--stub-when", f"port={deployment.first + 1}"),
    )  # fmt: skip
    assert process.wait(HANG) == 1
    assert f"decode instance on port {deployment.first + 1} ended with status 3" in deployment.printed.splitlines()[-1]
    assert is_free(deployment.first)
    assert is_free(deployment.port)


def test_a_proxy_that_ends_ends_all(deployment: Deployment) -> None:
    process = deployment.start(
        "--prefill", "1", "--decode", "1", "--devices", "0,1", proxy="--stub-die-after 0.5"
    )  # fmt: skip
    assert process.wait(HANG) == 1
    assert "proxy ended with status 5" in deployment.printed.splitlines()[-1]
    assert is_free(deployment.first)


@pytest.mark.parametrize(
    ("arguments", "service", "why"),
    [
        (("--devices", "0"), (), "2 devices are needed, and --devices has 1"),
        (("--devices", "0,1", "--start-timeout", "0.5"), ("--stub-hang",), "was not ready within 0.5 s"),
        (("--devices", "0,1", "--proxy-python", "/nowhere/python"), (), "/nowhere/python cannot be started"),
    ],
)
def test_what_cannot_be_deployed_is_named(
    deployment: Deployment, arguments: tuple[str, ...], service: tuple[str, ...], why: str
) -> None:
    process = deployment.start("--prefill", "1", "--decode", "1", *arguments, service=service)
    assert process.wait(HANG) == 1
    assert why in deployment.printed.splitlines()[-1]
    assert is_free(deployment.first)


def test_the_example_tunes_the_ratio_of_prefill_to_decode(tmp_path: Path) -> None:
    text = (EXAMPLES / "vllm-disaggregated.toml").read_text()
    given = tomllib.loads(text)
    model = tmp_path / "model"
    model.mkdir()
    first = free_ports(4)
    for old, new in {
        "/opt/vllm/bin/python": sys.executable,
        "/opt/serviceopt/vllm_disaggregated.py": str(LAUNCHER),
        "/opt/vllm/toy_proxy_server.py": str(PROXY),
        "/opt/vllm/bin/vllm": str(STUB),
        given["command"]["service"]["model"]: str(model),
        "8192\nmodel": f"{free_port()}\nmodel",
        "n_particles = 8": "n_particles = 3\nseed = 3",
        "iters = 3": "iters = 1\nstop_timeout = 20",
        '"--devices-each", "1",': f'"--devices-each", "1", "--first-port", "{first}",',
        "num_prompts = 1000": "num_prompts = 12",
    }.items():
        assert old in text
        text = text.replace(old, new)
    configuration = tmp_path / "config.toml"
    configuration.write_text(text)

    ended, recorded, rows = standalone(configuration)

    assert ended.returncode in (0, 11), ended.stderr
    assert [row["error"] for row in rows] == ["", "", ""]
    assert all(int(row["default_p_rate"]) + int(row["default_d_rate"]) == 4 for row in rows)
    assert len({row["default_p_rate"] for row in rows}) > 1
    assert_sound(recorded)
