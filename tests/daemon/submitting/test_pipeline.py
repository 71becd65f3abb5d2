"""A submission and `check` walk the same way: what one refuses the other one tells, and neither leaves anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from serviceopt_journal.documents.requests import Submission
from serviceopt_journal.errors import InvalidConfiguration, ServiceoptError
from serviceoptd.config import plugins
from serviceoptd.config.problems import ConfigurationErrors
from serviceoptd.submitting.checking import check, dry_run
from serviceoptd.submitting.draft import Prepared
from serviceoptd.submitting.preparing import prepare
from stubs.scenario import stub_run


def changed(directory: Path, old: str, new: str) -> Path:
    """A run of the stub programs whose configuration has `new` in place of the last `old`."""
    path = stub_run(directory)
    before, found, after = path.read_text().rpartition(old)
    assert found
    path.write_text(f"{before}{new}{after}")
    return path


def submitted(path: Path) -> Prepared:
    """The same configuration as a client submits it from the file's directory."""
    submission = Submission(
        configuration_text=path.read_text(), configuration_path=str(path), working_directory=str(path.parent)
    )
    return prepare(submission, plugins, tool_prefix=None)


def files(directory: Path) -> dict[Path, bytes]:
    """Every file below a directory, with what it holds."""
    return {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('served_model_name = "stub"', 'served_model_name = "other"'),
        ('served_model_name = "stub"', 'served_model_name = "served_model_name"'),
        ('benchmark = "vllm_benchmark"', 'benchmark = "simulated"'),
        ("[vllm]\n", "[vllm]\nmanage_lifecycle = false\n"),
        ("min = 1024\nmax = 8192\nvalue = 2048", "min = 8\nmax = 16\nvalue = 8"),
    ],
    ids=["another model", "placeholder", "simulated client", "service of somebody else", "no start possible"],
)
def test_what_check_calls_unusable_refuses_the_submission_in_the_same_words(tmp_path: Path, old: str, new: str) -> None:
    path = changed(tmp_path, old, new).rename(tmp_path / "run.toml")
    if "min = 8" in new:
        path.write_text(path.read_text().replace("min = 1\nmax = 64\nvalue = 16", "min = 32\nmax = 64\nvalue = 32"))
    before = files(tmp_path)
    told = check(path, environment={}, working_directory=tmp_path).unusable
    assert told
    with pytest.raises(ConfigurationErrors) as refused:
        submitted(path)
    assert tuple(refused.value.problems) == told
    assert files(tmp_path) == before


def test_a_first_particle_that_the_engine_refuses_is_told_by_both_and_nothing_is_made(tmp_path: Path) -> None:
    path = changed(tmp_path, 'others = ""\n\n[[', 'others = "--max-num-seqs 3"\n\n[[')
    before = files(tmp_path)
    with pytest.raises(InvalidConfiguration) as told:
        dry_run(check(path, environment={}, working_directory=tmp_path), tmp_path / "state")
    with pytest.raises(InvalidConfiguration) as refused:
        submitted(path)
    assert str(refused.value) == str(told.value)
    assert files(tmp_path) == before


def test_contradictions_are_told_before_what_is_missing_on_this_machine(tmp_path: Path) -> None:
    path = changed(tmp_path, 'served_model_name = "stub"', 'served_model_name = "other"')
    text = path.read_text()
    path.write_text(text.replace("tests/stubs/vllm", "tests/stubs/no-such-program"))
    with pytest.raises(ConfigurationErrors):
        submitted(path)
    path.write_text(path.read_text().replace('served_model_name = "other"', 'served_model_name = "stub"'))
    with pytest.raises(ServiceoptError, match="no-such-program"):
        submitted(path)


def test_a_prepared_run_has_the_plan_of_its_first_service_and_has_made_nothing(tmp_path: Path) -> None:
    path = stub_run(tmp_path)
    before = files(tmp_path)
    plan = submitted(path).draft.plan
    assert plan is not None
    assert plan.command is not None
    service, _ = dry_run(check(path, environment={}, working_directory=tmp_path), tmp_path / "state")
    assert plan.command.argv == service.argv
    assert files(tmp_path) == before
