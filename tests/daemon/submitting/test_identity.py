"""What -lb continues and what may be reused: never history of another model, engine, data set, space or objective."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from daemon.service.daemons import SMALL, a_loop, finished, submitted
from memory_journal import MemoryJournal
from patience import HANG
from serviceopt_journal.documents.requests import Submission
from serviceoptd.config import plugins
from serviceoptd.submitting.draft import Prepared
from serviceoptd.submitting.preparing import prepare
from serviceoptd.submitting.submission import NO_PREDECESSOR, submit
from serviceoptd.toolkit.interface import Workplace
from serviceoptd.toolkit.provenance import with_named_variables
from stubs.scenario import stub_run


@pytest.fixture
def prepared(tmp_path: Path) -> Callable[..., Prepared]:
    """A submission of the stub engine, with parts of its configuration replaced."""
    text = stub_run(tmp_path).read_text()
    data = tmp_path / "requests.jsonl"
    data.write_text("{}\n")

    def prepare_with(*changes: tuple[str, str], environment: dict[str, str] | None = None) -> Prepared:
        changed = text
        for old, new in changes:
            assert old in changed
            changed = changed.replace(old, new)
        submission = Submission(
            configuration_text=changed, working_directory=str(tmp_path), environment=environment or {}
        )
        return prepare(submission, plugins, tool_prefix=None)

    return prepare_with


def another_model(directory: Path) -> None:
    (directory / "model" / "config.json").write_text('{"hidden_size": 4096}')


@pytest.mark.parametrize(
    "change",
    [
        ('dataset_name = "random"', 'dataset_name = "sharegpt"\ndataset_path = "requests.jsonl"'),
        ("num_prompts = 24", "num_prompts = 25"),
        ('served_model_name = "stub"\nothers = ""\n\n[[', 'served_model_name = "stub"\nothers = "--x"\n\n[['),
        ("min = 1024\nmax = 8192", "min = 2048\nmax = 2048"),  # fixes a field at another value
    ],
    ids=["data set", "number of prompts", "arguments", "fixed parameter"],
)
def test_what_a_measured_value_depends_on_makes_another_identity(
    prepared: Callable[..., Prepared], change: tuple[str, str]
) -> None:
    usual, other = prepared(), prepared(change)
    assert other.measurement_identity != usual.measurement_identity
    assert other.run_identity != usual.run_identity


@pytest.mark.parametrize(
    "variable",
    [
        "CUDA_DEVICE_MAX_CONNECTIONS",
        "TORCHINDUCTOR_FREEZING",
        "TOKENIZERS_PARALLELISM",
        "PT_HPU_LAZY_MODE",
        "XLA_FLAGS",
    ],
)
def test_a_variable_that_engine_or_client_names_makes_another_identity(
    prepared: Callable[..., Prepared], variable: str
) -> None:
    unset, one, two = (prepared(environment=given) for given in ({}, {variable: "1"}, {variable: "2"}))
    assert len({each.measurement_identity for each in (unset, one, two)}) == 3
    assert prepared(environment={"EDITOR": "vi", "ONEAPI_ROOT": "/opt/intel"}).run_identity == unset.run_identity


class SaysNothing:
    """A plugin whose own identity tells of no variable."""

    relevant_variables = ("ECHO_*", "!ECHO_HOME", "ONE_NAME")


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        ({"ECHO_MODE": "fast", "ONE_NAME": "1", "PATH": "/bin"}, "ECHO_MODE=fast ONE_NAME=1"),
        ({"ECHO_HOME": "/opt/echo", "ONE_NAMED": "1"}, None),
        ({"ECHO_TOKEN": "hidden"}, None),
    ],
)
def test_named_variables_count_also_where_the_plugin_does_not_tell_them(
    tmp_path: Path, environment: dict[str, str], told: str | None
) -> None:
    identity = with_named_variables(SaysNothing(), {"version": "1"}, Workplace(tmp_path, tmp_path, environment))
    assert identity == {"version": "1", **({"variables": told} if told else {})}


def test_another_model_at_the_same_place_makes_another_identity(
    prepared: Callable[..., Prepared], tmp_path: Path
) -> None:
    usual = prepared()
    another_model(tmp_path)
    assert prepared().measurement_identity != usual.measurement_identity


@pytest.mark.parametrize(
    "change",
    [
        ("tpot_slo = 0.05", "tpot_slo = 0.06"),
        ("tpot_slo = 0.05", 'tpot_slo = "p99:0.05"'),
        ("max = 64\nvalue = 16", "max = 32\nvalue = 16"),
        ("seed = 7", "seed = 8"),
        ("n_particles = 2", "n_particles = 3"),
        ("repeats = 1", "repeats = 2"),
    ],
    ids=["SLO", "statistic", "space", "seed", "swarm", "repeats"],
)
def test_another_search_is_another_run_that_may_share_measured_values(
    prepared: Callable[..., Prepared], change: tuple[str, str]
) -> None:
    usual, other = prepared(), prepared(change)
    assert other.run_identity != usual.run_identity
    assert other.measurement_identity == usual.measurement_identity


@pytest.mark.parametrize(
    "change",
    [
        ("iters = 2", "iters = 5"),
        (f"launch_timeout = {HANG}", "launch_timeout = 30"),
        ("iters = 2", "iters = 2\nmax_hours = 8"),
    ],
    ids=["budget", "time limit", "hours"],
)
def test_a_larger_budget_or_another_time_limit_goes_on_with_the_same_run(
    prepared: Callable[..., Prepared], change: tuple[str, str]
) -> None:
    assert prepared(change).run_identity == prepared().run_identity


CONSTRAINT = '[[search.constraint]]\nleft = "CONCURRENCY"\nop = "<"\nright = 9\nsource = "us"\n'


@pytest.mark.parametrize(
    ("search", "same"),
    [
        ('rules = ["declared", "memory", "latency_bound"]\naudit_share = 0.05\n', True),
        ("rules = []\n", False),
        ("audit_share = 0\n", False),
        (CONSTRAINT, False),
    ],
    ids=["the defaults", "no rules", "no audit", "a constraint"],
)
def test_rejection_at_its_defaults_is_no_part_of_the_identity(search: str, same: bool, tmp_path: Path) -> None:
    def identity(text: str) -> str:
        return prepare(
            Submission(configuration_text=text, working_directory=str(tmp_path)), plugins, tool_prefix=None
        ).run_identity

    assert (identity(f"{SMALL}[search]\n{search}") == identity(SMALL)) is same


@pytest.mark.parametrize(
    ("text", "continued"),
    [
        (SMALL, True),
        (SMALL.replace("iters = 2", "iters = 3"), True),
        (SMALL.replace("ttft_slo = 2.0", "ttft_slo = 1.0"), False),
        (SMALL + "[simulated]\nnum_prompts = 77\n", False),
    ],
    ids=["the same", "a larger budget", "another SLO", "other requests"],
)
def test_the_breakpoint_option_continues_the_same_run_and_no_other(tmp_path: Path, text: str, continued: bool) -> None:
    async def story() -> None:
        context, loop = a_loop(tmp_path, MemoryJournal())
        first = await finished(context, loop, await submitted(context, SMALL))
        again = Submission(configuration_text=text, working_directory=str(tmp_path), load_breakpoint=True)
        accepted = await submit(context, prepare(again, context, tool_prefix=None), uid=0, through="standalone")
        assert accepted.continued is continued
        assert (accepted.run == first.number) is continued
        assert (NO_PREDECESSOR in accepted.warnings) is not continued

    asyncio.run(story())


def test_without_the_option_a_new_run_starts(tmp_path: Path) -> None:
    async def story() -> None:
        context, loop = a_loop(tmp_path, MemoryJournal())
        first = await finished(context, loop, await submitted(context, SMALL))
        assert await submitted(context, SMALL) == first.number + 1

    asyncio.run(story())


def test_a_larger_budget_measures_only_what_is_new(tmp_path: Path) -> None:
    async def story() -> None:
        journal = MemoryJournal()
        context, loop = a_loop(tmp_path, journal)
        first = await finished(context, loop, await submitted(context, SMALL))
        larger = SMALL.replace("iters = 2", "iters = 3")
        again = Submission(configuration_text=larger, working_directory=str(tmp_path), load_breakpoint=True)
        await submit(context, prepare(again, context, tool_prefix=None), uid=0, through="standalone")
        context, loop = a_loop(tmp_path, MemoryJournal(journal.records))
        run = await finished(context, loop, first.number)
        assert run.admitted == 9
        for number, particle in first.particles.items():
            assert run.particles[number].measurements == particle.measurements

    asyncio.run(story())
