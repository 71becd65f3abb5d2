from __future__ import annotations

from pathlib import Path

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
