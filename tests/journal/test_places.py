from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from serviceopt_journal.places import Places, places


@pytest.mark.parametrize(
    ("environment", "uid", "state", "socket"),
    [
        ({}, 0, "/var/lib/serviceoptd", "/run/serviceoptd/serviceoptd.sock"),
        ({"HOME": "/h"}, 1000, "/h/.local/state/serviceoptd", "/h/.local/state/serviceoptd/serviceoptd.sock"),
        ({"HOME": "/h", "XDG_STATE_HOME": "/s", "XDG_RUNTIME_DIR": "/r"}, 1000,
         "/s/serviceoptd", "/r/serviceoptd/serviceoptd.sock"),
        ({"HOME": "/h", "XDG_STATE_HOME": "relative"}, 1000,
         "/h/.local/state/serviceoptd", "/h/.local/state/serviceoptd/serviceoptd.sock"),
        ({"SERVICEOPT_STATE_DIR": "/d", "XDG_RUNTIME_DIR": "/r"}, 1000, "/d", "/d/serviceoptd.sock"),
        ({"SERVICEOPT_STATE_DIR": "/d"}, 0, "/d", "/d/serviceoptd.sock"),
        ({"SERVICEOPT_SOCKET": "/x.sock"}, 0, "/var/lib/serviceoptd", "/x.sock"),
        ({"SERVICEOPT_STATE_DIR": "/d", "SERVICEOPT_SOCKET": "/x.sock"}, 1000, "/d", "/x.sock"),
    ],
)  # fmt: skip
def test_daemon_and_client_agree_on_the_places(environment: dict[str, str], uid: int, state: str, socket: str) -> None:
    assert places(environment, uid=uid) == Places(Path(state), Path(socket))


def test_a_relative_state_directory_is_of_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert places({"SERVICEOPT_STATE_DIR": "state"}).socket == tmp_path / "state" / "serviceoptd.sock"


def test_the_places_are_known_without_pydantic_and_sqlite() -> None:
    code = (
        "import sys, serviceopt_journal.places; print(sorted({'pydantic', 'sqlite3', 'msgspec'} & sys.modules.keys()))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "[]\n"
