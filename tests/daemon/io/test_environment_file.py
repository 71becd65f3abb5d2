from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serviceopt_journal.errors import EnvironmentLacks
from serviceoptd.io.environment_file import keep, load

# Names and values are any bytes but zero, and Python shows those that are no text as surrogates.
TEXT = st.binary(min_size=1, max_size=20).filter(lambda raw: b"\0" not in raw).map(os.fsdecode)


@given(environment=st.dictionaries(TEXT, TEXT, max_size=5))
def test_an_environment_comes_back_as_it_was(environment: dict[str, str]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        file, sha256 = keep(Path(directory), environment)
        assert load(Path(directory), file, sha256) == environment
        assert hashlib.sha256((Path(directory) / file).read_bytes()).hexdigest() == sha256


def test_only_we_can_read_what_is_kept(tmp_path: Path) -> None:
    previous = os.umask(0)
    try:
        file, _ = keep(tmp_path, {"TOKEN": "secret"})
    finally:
        os.umask(previous)
    assert stat.S_IMODE((tmp_path / file).stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / file).parent.stat().st_mode) == 0o700


def test_equal_environments_share_one_file_and_a_damaged_one_is_written_again(tmp_path: Path) -> None:
    first = keep(tmp_path, {"A": "1", "B": "2"})
    assert keep(tmp_path, {"B": "2", "A": "1"}) == first
    assert [path.name for path in (tmp_path / "environments").iterdir()] == [f"{first[1]}.json"]
    (tmp_path / first[0]).write_text("half")
    assert keep(tmp_path, {"A": "1", "B": "2"}) == first
    assert load(tmp_path, *first) == {"A": "1", "B": "2"}


def test_a_missing_or_altered_file_is_told_with_its_path(tmp_path: Path) -> None:
    file, sha256 = keep(tmp_path, {"A": "1"})
    (tmp_path / file).write_text('{"A": "2"}')
    with pytest.raises(EnvironmentLacks, match="is not what was kept") as altered:
        load(tmp_path, file, sha256)
    (tmp_path / file).unlink()
    with pytest.raises(EnvironmentLacks, match="No such file") as missing:
        load(tmp_path, file, sha256)
    for caught in (altered, missing):
        assert file in caught.value.message
        assert caught.value.hint


def test_nothing_outside_the_state_directory_is_read(tmp_path: Path) -> None:
    outside = tmp_path / "outside.json"
    outside.write_text("{}")
    state = tmp_path / "state"
    state.mkdir()
    sha256 = hashlib.sha256(b"{}").hexdigest()
    for file in ("../outside.json", str(outside)):
        with pytest.raises(EnvironmentLacks, match="is not below"):
            load(state, file, sha256)


def test_a_place_that_cannot_be_written_is_something_the_machine_lacks(tmp_path: Path) -> None:
    (tmp_path / "environments").write_text("a file in the way")
    with pytest.raises(EnvironmentLacks, match="cannot be kept"):
        keep(tmp_path, {"A": "1"})
