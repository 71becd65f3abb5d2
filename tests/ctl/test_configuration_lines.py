"""The log of a run: one line for each configuration, what is of the whole run once, and what is to come before it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import Result

from builders import BEGIN, Story, a_failed_story, a_finished_story, a_journal, some_metrics, some_settings
from serviceopt_journal import events as e
from serviceopt_journal.documents.requests import Expected
from serviceoptctl.documents import Selection
from serviceoptctl.from_journal import FromJournal
from serviceoptctl.render.configuration_lines import ConfigurationLines, Remarks
from serviceoptctl.render.outlook import outlook
from serviceoptd.domain.settings import Budget, Proving
from serviceoptd.submitting.expectation import expected

Invoke = Callable[..., Result]
REMARK = "early stopping could not look at it: the metrics are missing ({} of 7)"


def log(state: Path, *, document: bool = True) -> list[str]:
    """What is said of the records of run 1, without the clock; how the run stands is told up to each of them."""
    lines, remarks, shown = ConfigurationLines(), Remarks(), list[str]()
    for record in FromJournal.open(state).events(Selection(run=1)):
        if lines.due(record):
            then = FromJournal.open(state, until=record.seq).run("1").document if document else None
            shown.append(lines.line(record.time, then))
        shown += lines.take(remarks.once(record))
    return [line.split(" ", 1)[1] for line in shown]


def test_each_configuration_has_one_line_with_what_changed_the_result_the_best_and_the_time(state: Path) -> None:
    a_journal(state)
    told = log(state)
    logs = [line for line in told if "'s log: /" in line]
    assert [line.split("'s log")[0] for line in logs] in (["the service"], ["the service", "the client"])
    told = [line for line in told if line not in logs]
    numbers = [line.split()[1] for line in told if re.match(r"(\d+/8 )?#", line)]
    assert [line.split(" ")[0] for line in told if line[0].isdigit()] == ["1/8", "2/8", "3/8", "4/8"]
    assert len(numbers) == 6
    first, second = told[1], told[2]
    assert first.startswith(
        "1/8 #1 MAX_NUM_SEQS=256 CONCURRENCY=100: 900 tok/s, TTFT 400 ms, TPOT 35.0 ms, every SLO met"
    )
    assert re.search(r"; best so far #1 900 tok/s, measured once; about .* left, until about \d\d:\d\d:\d\d$", first)
    assert second.startswith("2/8 #2 MAX_NUM_SEQS=512: ")
    assert "failed (fatal): CUDA out of memory" in second
    assert "CONCURRENCY=100" not in second.split(": ")[0]


def test_what_was_not_measured_says_why_and_does_not_count(state: Path) -> None:
    a_journal(state)
    unmeasured = [line for line in log(state, document=False) if "not measured" in line]
    assert unmeasured[0].endswith("the same as particle 4 of run 1, not measured again")
    assert "not measured, by the rule memory-bound: needs 84 GiB of 80 GiB" in unmeasured[1]
    assert all(line.startswith("#") for line in unmeasured)


def remarked() -> Iterator[e.Event]:
    story = Story()
    yield from story.submitted()
    for number in range(3):
        for event in story.measured(some_metrics(), MAX_NUM_SEQS=100 + number, CONCURRENCY=1):
            finished = isinstance(event, e.MeasurementFinished)
            yield msgspec.structs.replace(event, remark=REMARK.format(number)) if finished else event  # type: ignore[call-overload]
    yield from story.finished(recommended=1, feasible=True)


def test_a_condition_that_holds_for_the_whole_run_is_said_once(state: Path) -> None:
    a_journal(state, remarked())
    assert [line for line in log(state) if "the metrics are missing" in line] == [f"note: {REMARK.format(0)}"]
    remarks = Remarks()
    measured = list(FromJournal.open(state).events(Selection(types=("measurement_finished",))))
    assert [bool(getattr(remarks.once(record).event, "remark", None)) for record in measured] == [True, False, False]


def test_a_failed_run_says_of_each_configuration_that_it_failed(state: Path) -> None:
    a_journal(state, a_failed_story())
    told = log(state)
    assert any(": failed" in line for line in told)
    assert "best" not in "".join(told[:-1])


def a_service_that_dies_under_load() -> Iterator[e.Event]:
    story = Story()
    yield from story.submitted()
    yield from story.proposed(MAX_NUM_SEQS=128, CONCURRENCY=1)
    yield from story.ready()
    yield from story.measuring()
    dead = "the engine of the service is dead (GET /health: status 503)"
    of_it: dict[str, Any] = {"run": 1, "evaluation": 1, "attempt": 1, "reason": dead}
    yield e.MeasurementFailed(particle=1, measurement=1, kind="service", **of_it)
    yield e.ServiceFailed(kind="retryable", **of_it)
    yield from story.stopped(error=dead)
    yield from story.failed("CUDA out of memory", MAX_NUM_SEQS=512, CONCURRENCY=1)
    yield from story.finished(recommended=None, feasible=False)


def test_a_service_that_dies_while_it_is_measured_is_one_failure_and_not_two(state: Path) -> None:
    a_journal(state, a_service_that_dies_under_load())
    failures = [line.split(";")[0] for line in log(state) if ": failed" in line and line[0].isdigit()]
    assert failures == [
        "1/8 #1 MAX_NUM_SEQS=128 CONCURRENCY=1: failed: the engine of the service is dead (GET /health: status 503)",
        "2/8 #2 MAX_NUM_SEQS=512: failed (fatal): CUDA out of memory",
    ]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "; about 12 min 34 s, by what run 4 took, until about 12:12:34"),
        ({"source": "max_hours", "seconds": 7200.0},
         "; 2 h 00 min at most (max_hours), until 14:00 at the latest"),
        ({"source": "simulated", "seconds": 123000.0},
         "; they are simulated, and take no longer than the simulator computes"),
        ({"source": "limits", "seconds": 123000.0, "managed": False},
         "; 1 d 10 h at most by the time limits, until 2026-03-02 22:10 at the latest: nothing was measured so far"),
    ],
)  # fmt: skip
def test_the_outlook_says_how_many_how_long_and_until_when(state: Path, changes: dict[str, Any], said: str) -> None:
    usual = Expected(launches=17, seconds=754.0, source="history", runs=(4,))
    how_many, _, how_long = outlook(msgspec.structs.replace(usual, **changes), BEGIN).partition(";")
    assert f";{how_long}" == said
    what = "launches of the service" if changes.get("managed", True) else "measurements"
    assert how_many == f"at most 17 {what}, confirmations included and retries not"


def test_the_time_is_expected_from_the_same_identity_else_from_the_limits_and_never_beyond_the_budget(
    state: Path,
) -> None:
    settings = some_settings()
    fresh = Story(run=2, settings=msgspec.structs.replace(settings, proof=Proving(measurements=3)))
    short = Story(run=3, settings=msgspec.structs.replace(settings, budget=Budget(evaluations=8, max_hours=0.01)))
    a_journal(state, a_finished_story(), fresh.submitted(), short.submitted())
    folded = FromJournal.open(state).state
    own = expected(folded.runs[2], folded)
    spent = [p.seconds for p in folded.runs[1].particles.values() if p.admitted]
    assert (own.launches, own.source, own.runs) == (11, "history", (1,))
    assert own.seconds == pytest.approx(11 * sum(spent) / len(spent))
    assert (expected(folded.runs[3], folded).source, expected(folded.runs[3], folded).seconds) == ("max_hours", 36.0)
    alone = msgspec.structs.replace(folded, runs={2: folded.runs[2]})
    limits = fresh.settings.limits
    assert expected(folded.runs[2], alone).seconds == 11 * (
        limits.launch + limits.measurement + limits.stop + limits.device_memory
    )
    assert expected(folded.runs[2], alone).source == "limits"


def test_in_the_foreground_warnings_and_the_outlook_come_before_the_run(invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / "few.toml").write_text('engine = "simulated"\nn_particles = 2\niters = 1\n')
    result = invoke("run", "--standalone", "-lb", "-c", "few.toml", "-b", "simulated")
    assert result.exit_code in (0, 11), result.output
    together = result.output  # both streams, in the order of writing
    places = [
        together.index(part)
        for part in ("no earlier run has this identity", "at most ", "submitted: simulated", "1/2 #1", "is over:")
    ]
    assert places == sorted(places)
    assert together.count("no earlier run has this identity") == 1


def test_programs_and_quiet_people_get_no_outlook(invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / "few.toml").write_text('engine = "simulated"\nn_particles = 2\niters = 1\n')
    for arguments in (("run", "--standalone", "--json"), ("optimizer", "--standalone", "-q")):
        result = invoke(*arguments, "-c", "few.toml", "-b", "simulated", "-e", "simulated")
        assert "at most" not in result.stderr, arguments


def test_verbose_gives_a_line_for_every_event(invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / "few.toml").write_text('engine = "simulated"\nn_particles = 2\niters = 1\n')
    command = ("run", "--standalone", "-c", "few.toml", "-b", "simulated", "--seed")
    plain, verbose = invoke(*command, "1").stdout, invoke(*command, "2", "-v").stdout
    assert "measurement 1 (particle 1) finished" in verbose
    assert "launching for particle" not in plain
    assert "launching for particle" in verbose
