from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serviceopt_journal.errors import EnvironmentLacks, InvalidConfiguration
from serviceoptd.io.children_environment import isolated, own_prefix, read_environment_file

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


def test_an_environment_file_is_read_like_one_of_systemd(tmp_path: Path) -> None:
    path = tmp_path / "vllm.env"
    path.write_text(
        "# a comment\n; another\n\nPLAIN=a b \nexport EXPORTED=1\nEMPTY=\nSINGLE='a \"$b\\'\n"
        'DOUBLE="a \\"b\\" \\\\ $c"\nHASH=a#b\nEQUALS=a=b\nCRLF=x\r\n'
    )
    assert read_environment_file(path) == {
        "PLAIN": "a b",
        "EXPORTED": "1",
        "EMPTY": "",
        "SINGLE": 'a "$b\\',
        "DOUBLE": 'a "b" \\ $c',
        "HASH": "a#b",
        "EQUALS": "a=b",
        "CRLF": "x",
    }


@pytest.mark.parametrize("line", ["no equals sign", "A B=1", "1A=1", "=1", "A='open", 'A="open\\"', "A='x' y"])
def test_a_wrong_line_is_named_with_its_file_and_number(tmp_path: Path, line: str) -> None:
    path = tmp_path / "vllm.env"
    path.write_text(f"GOOD=1\n{line}\n")
    with pytest.raises(InvalidConfiguration, match=f"^{path}:2: ") as caught:
        read_environment_file(path)
    assert caught.value.hint


def test_an_environment_file_that_is_not_there_is_something_the_machine_lacks(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentLacks, match=r"absent\.env cannot be read"):
        read_environment_file(tmp_path / "absent.env")


NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True)
VALUES = st.text(st.characters(exclude_characters="\0\n\r", exclude_categories=("Cs",)), max_size=20)


@given(variables=st.dictionaries(NAMES, VALUES, max_size=5))
def test_what_is_quoted_is_read_back(variables: dict[str, str]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "env"
        quoted = {name: value.replace("\\", "\\\\").replace('"', '\\"') for name, value in variables.items()}
        path.write_text("".join(f'{name}="{value}"\n' for name, value in quoted.items()), encoding="utf-8")
        assert read_environment_file(path) == variables
