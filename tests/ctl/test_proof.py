"""How sure a recommendation is: said in sentences, and told to programs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from builders import Story, a_journal, some_metrics, some_settings
from serviceopt_journal import events as e
from serviceopt_journal.metrics import Metrics
from serviceopt_journal.proof import Proof, SloProof
from serviceoptctl.render.units import apart
from stubs.scenario import rows

Invoke = Callable[..., Any]

PROOF = Proof(
    confidence=0.95, estimate=1210.0, interval=(1180.0, 1240.0), noise=0.021,
    slos=(SloProof(slo="mean TTFT <= 1 s", limit=1.0, estimate=0.82, probability=0.997),), success_rate=1.0, gain=0.34,
    gain_interval=(0.29, 0.4), measurements=1, total=2, finalists=(2, 1), told_apart=True,
)  # fmt: skip


def confirmed(
    proof: Proof, *, feasible: bool = True, simulated: bool = False, before: Metrics | None = None
) -> Iterator[e.Event]:
    """A run whose second particle was confirmed once, faster than the search had measured it."""
    story = Story(settings=some_settings(), simulated=simulated)
    yield from story.submitted()
    yield from story.measured(before or some_metrics(900), "current-setting", MAX_NUM_SEQS=256, CONCURRENCY=100)
    yield from story.measured(some_metrics(1300, ttft=0.8), MAX_NUM_SEQS=128, CONCURRENCY=200)
    yield e.ConfirmationRequested(run=1, particle=2, round=1, reason="one of the best of the search")
    yield from story.ready()
    yield from story.measuring()
    yield e.MeasurementFinished(
        run=1, particle=2, evaluation=3, measurement=1, attempt=1, metrics=some_metrics(1210, ttft=0.82), seconds=90.0,
        simulated=simulated,
    )  # fmt: skip
    yield from story.stopped()
    for event in story.finished(recommended=2, feasible=feasible):
        yield msgspec.structs.replace(event, proof=proof)  # type: ignore[type-var]


def test_best_says_how_sure_it_is(invoke: Invoke, state: Path) -> None:
    a_journal(state, confirmed(PROOF))
    shown = " ".join(invoke("best").stdout.split())
    assert "1210 tok/s, between 1180 tok/s and 1240 tok/s at 95 % confidence" in shown
    assert "measured again once, noise of one measurement 2.1 %" in shown
    assert "mean TTFT <= 1 s holds with probability 99.7 %: 820 ms" in shown
    assert "1 other was measured again: this one is the best of those that meet every SLO" in shown
    assert "+34 % over the current setting (+29 % to +40 % at 95 % confidence)" in shown
    # what the search measured is too good to be true: said once, with the reason
    assert shown.count("1300 tok/s") == 1
    assert "in the search: particle 2 had shown 1300 tok/s, measured once: the best of many is mostly luck" in shown


def test_best_says_how_many_requests_were_above_the_limit_of_a_percentile(invoke: Invoke, state: Path) -> None:
    slo = SloProof(slo="p99 TTFT <= 1 s", limit=1.0, estimate=0.82, probability=0.98, requests=3000, above=7)
    a_journal(state, confirmed(msgspec.structs.replace(PROOF, slos=(slo,))))
    shown = " ".join(invoke("best").stdout.split())
    assert "p99 TTFT <= 1 s holds with probability 98 %: 820 ms, 7 of 3000 requests above the limit" in shown


def test_where_none_is_sure_it_names_the_condition_that_binds(invoke: Invoke, state: Path) -> None:
    unsure = msgspec.structs.replace(PROOF, binding="mean TTFT <= 1 s", told_apart=False)
    a_journal(state, confirmed(unsure, feasible=False))
    shown = invoke("best").stdout
    assert shown.startswith("No configuration is certain to meet every SLO; this one comes closest.")
    assert "What limits it: mean TTFT <= 1 s." in shown
    assert "not certain to meet every SLO" in invoke("status").stdout
    assert "over the current setting" not in shown


def test_what_is_not_sure_enough_is_shown_with_what_is_required(invoke: Invoke, state: Path) -> None:
    slo = SloProof(slo="mean TTFT <= 1 s", limit=1.0, estimate=0.95, probability=0.951)
    unsure = msgspec.structs.replace(PROOF, slos=(slo,), binding="mean TTFT <= 1 s", told_apart=False)
    a_journal(state, confirmed(unsure, feasible=False))
    shown = " ".join(invoke("best").stdout.split())
    assert "holds with probability 95.1 %: 950 ms not sure enough: 95.1 %, and 97.5 % is required" in shown
    assert "since 2 finalists share an error of 5 %" in shown


def test_of_several_slos_the_probability_that_all_hold_is_compared(invoke: Invoke, state: Path) -> None:
    slos = tuple(
        SloProof(slo=f"mean {name} <= 1 s", limit=1.0, estimate=0.9, probability=0.97) for name in ("TTFT", "TPOT")
    )
    unsure = msgspec.structs.replace(PROOF, slos=slos, binding="mean TTFT <= 1 s", finalists=(2,), total=1)
    a_journal(state, confirmed(unsure, feasible=False))
    shown = " ".join(invoke("best").stdout.split())
    assert "not sure enough: every SLO holds with probability 94.0 %, and 95.0 % is required" in shown
    assert "finalists share" not in shown


def test_a_sure_recommendation_shows_no_threshold(invoke: Invoke, state: Path) -> None:
    a_journal(state, confirmed(PROOF))
    assert "required" not in invoke("best").stdout


def test_two_probabilities_that_differ_are_seen_to_differ() -> None:
    assert apart(0.98702, 0.98704) == ("98.702 %", "98.704 %")
    assert apart(0.95, 0.975) == ("95.0 %", "97.5 %")


def test_intervals_and_noise_that_say_nothing_are_not_shown(invoke: Invoke, state: Path) -> None:
    exact = msgspec.structs.replace(
        PROOF, estimate=533.0, interval=(533.0, 533.2), noise=0.0, gain_interval=(0.34, 0.34)
    )
    a_journal(state, confirmed(exact))
    shown = " ".join(invoke("best").stdout.split())
    assert "confirmed: 533 tok/s (measured again once)" in shown
    assert "gain: +34 % over the current setting To deploy" in shown


def test_a_loss_against_a_setting_that_breaks_its_slo_says_that_it_does(invoke: Invoke, state: Path) -> None:
    lower = msgspec.structs.replace(PROOF, gain=-0.106, gain_interval=None)
    a_journal(state, confirmed(lower, before=some_metrics(1400, ttft=1.6)))
    shown = " ".join(invoke("best").stdout.split())
    assert "-10.6 % against the current setting; but the current setting breaks its SLO: mean TTFT 1.6 s > 1 s" in shown


def test_a_gain_over_a_setting_that_breaks_its_slo_says_it_too_with_an_interval_between(
    invoke: Invoke, state: Path
) -> None:
    a_journal(state, confirmed(PROOF, before=some_metrics(900, ttft=1.6)))
    shown = " ".join(invoke("best").stdout.split())
    assert "+34 % over the current setting (+29 % to +40 % at 95 % confidence); but the current setting breaks" in shown


def test_a_current_setting_that_failed_is_called_so(invoke: Invoke, state: Path) -> None:
    story = Story(settings=some_settings())
    told = (
        *story.submitted(),
        *story.failed("CUDA out of memory", "current-setting", MAX_NUM_SEQS=256, CONCURRENCY=100),
        *story.measured(some_metrics(1300, ttft=0.8), MAX_NUM_SEQS=128, CONCURRENCY=200),
        *story.finished(recommended=2, feasible=True),
    )
    a_journal(state, iter(told))
    shown = " ".join(invoke("best").stdout.split())
    assert "current setting: failed: CUDA out of memory" in shown
    assert "gain:" not in shown


def test_a_faster_one_that_is_not_certain_to_meet_its_slo_is_not_called_luck(invoke: Invoke, state: Path) -> None:
    proof = msgspec.structs.replace(PROOF, unsure=(2,), finalists=(1, 2), estimate=1100.0, interval=(1090.0, 1110.0))
    a_journal(state, confirmed(proof))
    shown = " ".join(invoke("best").stdout.split())
    assert (
        "particle 2 had shown 1300 tok/s, measured once: measured again, it is not certain to meet every SLO" in shown
    )
    assert "luck" not in shown


def test_a_result_that_was_not_measured_again_says_so(invoke: Invoke, state: Path) -> None:
    a_journal(state)
    assert "confirmed: no: measured once in the search" in " ".join(invoke("best").stdout.split())


def test_programs_get_the_proof_and_the_table_the_confirmed_result(invoke: Invoke, state: Path) -> None:
    a_journal(state, confirmed(PROOF))
    best = json.loads(invoke("best", "--json").stdout)
    assert msgspec.convert(best["proof"], Proof) == PROOF
    assert (best["feasible"], best["gain"], best["unit"], best["confirmations"]) == (True, 0.34, "tokens/s", 1)
    assert best["metrics"]["generate_speed"] == 1210
    counts = json.loads(invoke("status", "--json").stdout)["last"]["counts"]
    assert (counts["measurements"], counts["confirmations"], counts["finalists"]) == (2, 1, 1)
    row = rows(invoke("export").stdout)[1]
    assert (row["generate_speed"], row["confirmations"]) == ("1210.0", "1")


def test_proven_figures_of_a_simulation_are_called_simulated(invoke: Invoke, state: Path) -> None:
    a_journal(state, confirmed(PROOF, simulated=True))
    assert all("simulated" in line for line in invoke("best").stdout.splitlines() if "tok/s" in line)


def test_what_the_budgets_still_allow_is_shown_while_a_run_is_under_way(invoke: Invoke, state: Path) -> None:
    events = [event for event in confirmed(PROOF) if not isinstance(event, e.RunFinished)]
    a_journal(state, iter(events))
    shown = " ".join(invoke("status").stdout.split())
    assert "6 configurations, 8 confirmations at most" in shown
    current = json.loads(invoke("status", "--json").stdout)["current"]
    assert (current["evaluations_left"], current["confirmations_left"]) == (6, 8)


def test_a_faster_one_that_was_no_finalist_is_not_called_luck(invoke: Invoke, state: Path) -> None:
    def faster_and_less_sure() -> Iterator[e.Event]:
        story = Story(settings=some_settings())
        yield from story.submitted()
        yield from story.measured(some_metrics(900), "current-setting", MAX_NUM_SEQS=256, CONCURRENCY=100)
        yield from story.measured(some_metrics(1300, ttft=0.99), MAX_NUM_SEQS=128, CONCURRENCY=200)
        yield e.ConfirmationRequested(run=1, particle=1, round=1, reason="one of the best of the search")
        yield from story.ready()
        yield from story.measuring()
        yield e.MeasurementFinished(
            run=1, particle=1, evaluation=3, measurement=1, attempt=1, metrics=some_metrics(900), seconds=90.0
        )
        yield from story.stopped()
        for event in story.finished(recommended=1, feasible=True):
            yield msgspec.structs.replace(event, proof=proof)  # type: ignore[type-var]

    proof = msgspec.structs.replace(PROOF, estimate=900.0, interval=(890.0, 910.0), finalists=(1,))
    a_journal(state, faster_and_less_sure())
    shown = " ".join(invoke("best").stdout.split())
    assert (
        "particle 2 had shown 1300 tok/s, measured once, and was not among the finalists: they are chosen by" in shown
    )
    assert "luck" not in shown
