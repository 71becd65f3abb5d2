from __future__ import annotations

from pathlib import Path

import pytest

from serviceoptd.io.children_environment import isolated, own_prefix

TOOL = Path("/opt/serviceopt/venv")


def test_the_tools_own_virtual_environment_is_taken_out_of_every_search_path() -> None:
    found = isolated(
        {
            "PATH": "/opt/serviceopt/venv/bin:/usr/bin:/opt/serviceopt/venv2/bin",
            "PYTHONPATH": "/opt/serviceopt/venv/lib",
            "LD_LIBRARY_PATH": "/usr/lib:/opt/serviceopt/../serviceopt/venv/lib/x",
            "VIRTUAL_ENV": "/opt/serviceopt/venv",
            "VIRTUAL_ENV_PROMPT": "serviceopt",
            "PYTHONHOME": "/opt/serviceopt/venv",
        },
        TOOL,
    )
    assert found == {"PATH": "/usr/bin:/opt/serviceopt/venv2/bin", "LD_LIBRARY_PATH": "/usr/lib"}


def test_the_tools_environment_is_recognised_through_a_symbolic_link(tmp_path: Path) -> None:
    (tmp_path / "real" / "bin").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    for entry, prefix in (("link", "real"), ("real", "link")):
        found = isolated({"PATH": f"{tmp_path / entry / 'bin'}:/bin"}, tmp_path / prefix)
        assert found["PATH"] == "/bin"


def test_the_users_own_virtual_environment_stays() -> None:
    environment = {"PATH": "/home/a/venv/bin:/usr/bin", "VIRTUAL_ENV": "/home/a/venv", "CUDA_VISIBLE_DEVICES": "1"}
    assert isolated(environment, TOOL) == environment
    assert isolated(environment, None) == environment


def test_a_tool_installed_for_the_system_takes_nothing_away() -> None:
    assert isolated({"PATH": "/usr/bin"}, Path("/usr"))["PATH"] == "/usr/bin"


def test_a_child_cannot_speak_to_systemd_in_our_name() -> None:
    ours = dict.fromkeys(("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "INVOCATION_ID"), "x")
    assert isolated({**ours, "SERVICEOPT_LAUNCH_ID": "x", "SERVICEOPT_STATE_DIR": "x", "HOME": "/root"}, None) == {
        "HOME": "/root"
    }


def test_the_path_prefix_comes_first() -> None:
    assert isolated({"PATH": "/usr/bin"}, None, "/opt/vllm/bin")["PATH"] == "/opt/vllm/bin:/usr/bin"
    assert isolated({}, None, "/opt/vllm/bin")["PATH"].startswith("/opt/vllm/bin:")


def test_this_test_runs_in_a_virtual_environment_or_not_but_never_in_that_of_the_system() -> None:
    assert own_prefix() not in (Path("/"), Path("/usr"))


@pytest.mark.parametrize(
    ("given", "excepted"),
    [
        ({"http_proxy": "http://p:1"}, {"no_proxy": "localhost,127.0.0.1,::1"}),
        ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": "a.b"}, {"NO_PROXY": "a.b,localhost,127.0.0.1,::1"}),
        ({"ALL_PROXY": "http://p:1", "no_proxy": "*"}, {"no_proxy": "*"}),
        ({"no_proxy": "a.b"}, {"no_proxy": "a.b"}),
        ({"http_proxy": ""}, {}),
    ],
)
def test_requests_to_this_machine_go_past_a_proxy(given: dict[str, str], excepted: dict[str, str]) -> None:
    found = isolated(given, None)
    assert {name: value for name, value in found.items() if name.lower() == "no_proxy"} == excepted
