"""Rejection rules in the loop, on the simulated engine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from typing import Any, ClassVar

import pytest

from daemon.service.daemons import SMALL, a_loop, finished, submitted
from memory_journal import MemoryJournal
from run_stories import some_metrics
from serviceopt_journal import events as e
from serviceopt_journal.events import Configuration
from serviceoptd.config import plugins
from serviceoptd.domain import table
from serviceoptd.domain.particles.rejections import rejection_record
from serviceoptd.domain.settings import default_rules
from serviceoptd.domain.state import RunState
from serviceoptd.domain.statistics.draws import uniform
from serviceoptd.evaluating import rejecting
from serviceoptd.rules.interface import Facts, Rejection
from serviceoptd.service import control


def a_rule(judge: Callable[[Configuration, Facts], Any], name: str = "test_rule") -> type[Any]:
    """A rule of that verdict."""

    class Judging:
        name: ClassVar[str] = ""

        def judge(self, configuration: Configuration, facts: Facts) -> Any:
            return judge(configuration, facts)

    Judging.name = name
    return Judging


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Installs rules beside what is installed; gives a configuration that selects them."""

    def installed(*rules: type[Any], options: str = "") -> str:
        real = plugins.installed()
        known = plugins.Plugins(
            {name: lambda name=name: real.engine(name) for name in real.engine_names},  # type: ignore[misc]
            {name: lambda name=name: real.benchmark(name) for name in real.benchmark_names},  # type: ignore[misc]
            rules={rule.name: lambda rule=rule: rule for rule in rules},  # type: ignore[misc]
        )
        monkeypatch.setattr(plugins, "installed", lambda: known)
        names = ", ".join(f'"{rule.name}"' for rule in rules)
        return f"{SMALL}[search]\nrules = [{names}]\n{options}"

    return installed


def wide(configuration: Configuration, facts: Facts) -> Rejection | None:
    """Against the upper half of the sequences."""
    if int(configuration["MAX_NUM_SEQS"]) <= 256:
        return None
    return Rejection(f"{configuration['MAX_NUM_SEQS']} sequences are too many", some_metrics(10.0, ttft=9.0))


def run(tmp_path: Path, text: str, journal: MemoryJournal | None = None) -> tuple[RunState, MemoryJournal]:
    """The run with this configuration, when it is over or held."""
    journal = journal or MemoryJournal()

    async def story() -> RunState:
        context, loop = a_loop(tmp_path, journal)
        number = await submitted(context, text) if not context.ledger.state.runs else 1
        context.ledger.listen(lambda _, state: loop.stop("held") if state.runs[number].held else None)
        return await finished(context, loop, number)

    return asyncio.run(story()), journal


def test_a_rejected_particle_costs_no_budget_and_is_recorded_in_one_commit(
    tmp_path: Path, install: Callable[..., str]
) -> None:
    state, journal = run(tmp_path, install(a_rule(wide)))
    rejected = [record for record in journal.records if isinstance(record.event, e.ParticleRejected)]
    assert rejected
    for record in rejected:
        assert isinstance(record.event, e.ParticleRejected)
        before = journal.records[record.seq - 2]
        assert isinstance(before.event, e.ParticleProposed)
        assert before.event.particle == record.event.particle
        assert before.commit == record.commit
    assert state.admitted == 6
    assert len(state.particles) > 6
    assert all(int(p.configuration["MAX_NUM_SEQS"]) <= 256 for p in state.particles.values() if p.measurements)


def test_a_rejected_row_is_a_prediction_and_no_evaluation(tmp_path: Path, install: Callable[..., str]) -> None:
    state, _ = run(tmp_path, install(a_rule(wide), a_rule(lambda c, f: None, "other")))
    rows = [row for row in table.rows(state) if row["error"].startswith("test_rule: ")]
    assert rows
    for row in rows:
        assert row["error"].endswith("sequences are too many")
        assert (row["source"], row["real_evaluation"], row["repeats"], row["evaluation"]) == (
            "predicted",
            False,
            0,
            None,
        )
        assert (row["generate_speed"], row["time_to_first_token"]) == (10.0, 9.0)
        assert (row["fitness"], row["feasible"], row["duration"]) == (1.0, False, 0.0)


def test_without_a_prediction_the_row_still_says_that_nothing_was_measured(
    tmp_path: Path, install: Callable[..., str]
) -> None:
    state, _ = run(tmp_path, install(a_rule(lambda c, f: Rejection("no") if wide(c, f) else None)))
    rows = [row for row in table.rows(state) if row["error"] == "test_rule: no"]
    assert rows
    assert all((row["source"], row["generate_speed"]) == ("predicted", None) for row in rows)


def test_the_current_setting_is_measured_whatever_the_rules_say(tmp_path: Path, install: Callable[..., str]) -> None:
    text = install(a_rule(lambda c, f: Rejection("never") if len(f.results) < 1 else None))
    state, _ = run(tmp_path, text)
    first = state.particles[1]
    assert first.origin == "current-setting"
    assert first.measurements


def test_rules_judge_in_their_order_and_the_first_that_is_against_it_counts(
    tmp_path: Path, install: Callable[..., str]
) -> None:
    asked: list[str] = []

    def noting(name: str, verdict: Rejection | None) -> type[Any]:
        def judge(configuration: Configuration, facts: Facts) -> Rejection | None:
            asked.append(name)
            return verdict if wide(configuration, facts) else None

        return a_rule(judge, name)

    state, _ = run(
        tmp_path, install(noting("zeta", None), noting("alpha", Rejection("a")), noting("mid", Rejection("m")))
    )
    assert {p.rejected for p in state.particles.values()} == {"", "alpha: a"}
    assert asked[:2] == ["zeta", "alpha"]
    assert asked.count("mid") == asked.count("zeta") - sum(bool(p.rejected) for p in state.particles.values())


def test_a_rule_knows_the_fields_the_settings_its_options_and_what_was_measured(
    tmp_path: Path, install: Callable[..., str]
) -> None:
    seen: list[Facts] = []

    def judge(configuration: Configuration, facts: Facts) -> None:
        seen.append(facts)

    run(tmp_path, install(a_rule(judge), options="[search.options.test_rule]\nmargin = 2\n"))
    first, last = seen[0], seen[-1]
    assert [field.name for field in first.space.fields][:2] == ["MAX_NUM_BATCHED_TOKENS", "MAX_NUM_SEQS"]
    assert first.settings.engine_options["num_prompts"] > 0
    assert first.options("test_rule") == {"margin": 2}
    assert first.options("another") == {}
    assert [result.particle for result in first.results] == [1]
    assert len(last.results) == 5
    measured = [result for result in last.results if result.metrics]
    assert measured
    assert all(result.kv_blocks and not result.error for result in measured)
    assert {result.feasible for result in last.results} >= {result.fitness <= 0 for result in last.results}


def test_a_run_whose_rules_leave_nothing_is_held_and_a_resume_tries_again(
    tmp_path: Path, install: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rejecting, "REJECTED_IN_A_ROW", 20)
    text = install(a_rule(lambda c, f: Rejection("I am against everything")))
    state, journal = run(tmp_path, text)
    assert state.held
    assert "20 particles in a row were rejected, the last by test_rule: I am against everything" in state.paused
    assert "[search] rules" in state.paused
    assert sum(bool(p.rejected) for p in state.particles.values()) == 20
    assert state.evaluation is None or state.evaluation.phase in ("stopped", "interrupted", "finished")

    async def resumed() -> RunState:
        context, loop = a_loop(tmp_path, journal)
        await control.resume(context.ledger, context.ledger.state.runs[1], "once more")
        context.ledger.listen(lambda _, now: loop.stop("held") if now.runs[1].held else None)
        return await finished(context, loop, 1)

    assert sum(bool(p.rejected) for p in asyncio.run(resumed()).particles.values()) == 40


def test_a_small_space_that_is_rejected_to_the_last_configuration_ends_and_says_so(
    tmp_path: Path, install: Callable[..., str]
) -> None:
    text = install(a_rule(lambda c, f: Rejection("no")))
    text += '[[simulated.target_field]]\nname = "MAX_NUM_SEQS"\ndtype = "int"\nmin = 32\nmax = 36\nvalue = 32\n'
    state, _ = run(tmp_path, text)
    assert state.over
    assert state.admitted == 1
    assert state.reason == "search space exhausted: every configuration has been measured or rejected"


@pytest.mark.parametrize(
    ("verdict", "told"),
    [(1.0, "judge returned 1.0, neither a Rejection nor None"), (None, "ZeroDivisionError: ")],
)
def test_a_rule_that_fails_holds_its_run_and_is_named(
    verdict: float | None, told: str, tmp_path: Path, install: Callable[..., str]
) -> None:
    state, _ = run(tmp_path, install(a_rule(lambda c, f: verdict if verdict is not None else 1 / 0)))
    assert state.held
    assert state.paused.startswith("rule `test_rule` failed: ")
    assert told in state.paused
    assert state.admitted == 1


def test_a_run_whose_rule_is_gone_is_held_with_its_name(
    tmp_path: Path, install: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> RunState:
        context, loop = a_loop(tmp_path, MemoryJournal())
        number = await submitted(context, install(a_rule(wide)))
        install()
        context.ledger.listen(lambda _, now: loop.stop("held") if now.runs[number].held else None)
        return await finished(context, loop, number)

    state = asyncio.run(story())
    assert state.held
    assert state.paused == "rule `test_rule` is not installed (install it, then resume the run)"


class Killed(BaseException):
    """The process ended here, as far as the test is concerned."""


def test_killed_at_every_commit_it_rejects_what_it_would_have_rejected(
    tmp_path: Path, install: Callable[..., str]
) -> None:
    rule = a_rule(lambda c, f: Rejection(f"{len(f.results)} results") if wide(c, f) else None)
    text = install(rule, options='strategy = "pso"\n[proof]\nmeasurements = 0\n')
    _, whole = run(tmp_path / "whole", text)
    wanted = decisions(whole)
    assert any(isinstance(event, e.ParticleRejected) for event in wanted)
    for seq in range(2, len(whole.records), 3):
        journal = MemoryJournal()

        def kill(head: int, at: int = seq) -> None:
            if head >= at:
                raise Killed

        journal.after_append = kill
        with pytest.raises(Killed):
            run(tmp_path / str(seq), text, journal)
        resumed = MemoryJournal(journal.records)
        run(tmp_path / str(seq), text, resumed)
        assert decisions(resumed) == wanted, seq


def decisions(journal: MemoryJournal) -> list[object]:
    types = e.ParticleProposed | e.ParticleMatched | e.ParticleRejected
    return [record.event for record in journal.records if isinstance(record.event, types)]


CONSTRAINED = f"""{SMALL.replace("n_particles = 3", "n_particles = 10").replace("iters = 2", "iters = 4")}
[search]
strategy = "random"
rules = ["declared"]
audit_share = SHARE
[[search.constraint]]
left = "max-num-seqs"
op = "<="
right = 256
source = "more never helped here"
"""


def test_what_a_constraint_rejects_costs_no_launch(tmp_path: Path) -> None:
    state, journal = run(tmp_path, CONSTRAINED.replace("SHARE", "0"))
    rejected = {number for number, particle in state.particles.items() if particle.rejected}
    assert rejected == {n for n, p in state.particles.items() if int(p.configuration["MAX_NUM_SEQS"]) > 256}
    assert len(rejected) > 5
    launched = {r.event.particle for r in journal.records if isinstance(r.event, e.ServiceLaunching)}
    assert not launched & rejected
    assert state.admitted == 40
    told = [r.event for r in journal.records if isinstance(r.event, e.ParticleRejected)]
    assert {(event.kind, event.audited) for event in told} == {("experience", False)}
    assert all(event.reason.endswith("more never helped here") for event in told)


def test_the_audit_measures_its_share_of_what_is_rejected_within_the_budget(tmp_path: Path) -> None:
    share = 0.1
    state, journal = run(tmp_path, CONSTRAINED.replace("SHARE", str(share)))
    told = [r.event for r in journal.records if isinstance(r.event, e.ParticleRejected)]
    drawn = {event.particle for event in told if uniform(state.seed, "audit", event.particle, 0) < share}
    checked = {event.particle for event in told if event.audited}
    assert checked == set(sorted(drawn)[:4])  # a tenth of the budget at most
    assert checked
    assert state.admitted == 40
    for number in checked:
        particle = state.particles[number]
        assert particle.audited
        assert not particle.rejected
        assert particle.measurements or particle.error
    record = rejection_record(state)
    assert (record.audited, record.rejected) == (len(checked), len(told) - len(checked))
    assert record.false_rate is not None
    assert record.hours_saved is not None


def test_rules_that_judge_from_measurements_are_passed_over_after_many_in_a_row(
    tmp_path: Path, install: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rejecting, "MEASURED_IN_A_ROW", 4)
    convinced = a_rule(lambda c, f: Rejection("nothing is better"))
    convinced.kind = "measured"
    text = install(convinced).replace("[search]", "[search]\naudit_share = 0")
    state, _ = run(tmp_path, text)
    assert state.over
    assert state.admitted == 6
    judged = [bool(particle.rejected) for particle in state.particles.values() if particle.matched is None]
    in_a_row = [len(list(group)) for rejected, group in groupby(judged) if rejected]
    assert in_a_row == [4] * 5


def test_built_in_rules_have_nothing_to_say_of_the_embedded_engine(tmp_path: Path) -> None:
    state, _ = run(tmp_path, SMALL)
    assert state.settings.search.rules == default_rules(state.settings.search.strategy)
    assert not any(particle.rejected or particle.audited for particle in state.particles.values())


def of_theory(refuted_by: str = "", judge: Callable[..., Any] = lambda *_: Rejection("nothing fits")) -> type[Any]:
    """A rule of theory, against everything unless told otherwise."""
    rule = a_rule(judge)
    rule.kind = "theory"  # type: ignore[attr-defined]
    if refuted_by:
        rule.refuted_by = refuted_by  # type: ignore[attr-defined]
    return rule


@pytest.mark.parametrize("shown_by", ["start", "result"])
def test_a_rule_of_theory_that_a_service_has_refuted_says_nothing_more(
    shown_by: str, tmp_path: Path, install: Callable[..., str]
) -> None:
    over, journal = run(tmp_path, install(of_theory(shown_by)))
    (refuted,) = [record.event for record in journal.records if isinstance(record.event, e.RuleRefuted)]
    assert (refuted.rule, refuted.particle, refuted.reason) == ("test_rule", 1, "nothing fits")
    assert over.refuted == ("test_rule",)
    assert over.outcome == "completed"
    assert not any(particle.rejected for particle in over.particles.values())


def test_a_rule_of_theory_that_nothing_has_refuted_goes_on(tmp_path: Path, install: Callable[..., str]) -> None:
    over, _ = run(tmp_path, install(of_theory("start", wide), options="audit_share = 0.0"))
    assert over.refuted == ()
    assert any(particle.rejected for particle in over.particles.values())


def test_a_rule_of_experience_is_an_opinion_that_nothing_refutes(
    tmp_path: Path, install: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rejecting, "REJECTED_IN_A_ROW", 5)
    rule = a_rule(lambda *_: Rejection("we do not want it"))
    rule.kind = "experience"  # type: ignore[attr-defined]
    over, _ = run(tmp_path, install(rule, options="audit_share = 0.0"))
    assert over.refuted == ()
    assert over.held
