"""What every rejection rule must do. A rule's test subclasses `RuleContract` and gives `rule`."""

from __future__ import annotations

from typing import Any, ClassVar, get_args

import msgspec
import pytest

from serviceopt_journal.events import Configuration
from serviceopt_journal.metrics import Metrics
from serviceoptd.config.plugins import RULE_GROUP
from serviceoptd.contract.orders import VLLM_FIELDS
from serviceoptd.contract.registration import loaded_with_engine, registered
from serviceoptd.domain.objective import judge
from serviceoptd.domain.settings import Budget, Field, Objective, RunSettings, Search
from serviceoptd.domain.space.space import Space
from serviceoptd.engines.interface import Engine
from serviceoptd.rules.interface import Facts, Kind, Rejection, Result, Rule

STEPS = (0.0, 0.25, 0.5, 0.75, 1.0)


class RuleContract:
    """`rule` is the class, `engine` the one that it knows, `options` its `[search.options.<rule>]`.

    The engine's default fields and section are what it judges by; `fields` and `engine_options` replace them. A rule for
    any engine gets the fields of vLLM.
    """

    rule: ClassVar[type[Rule]]
    engine: ClassVar[type[Engine] | None] = None
    fields: ClassVar[tuple[Field, ...]] = VLLM_FIELDS
    options: ClassVar[dict[str, Any]] = {}
    engine_options: ClassVar[dict[str, Any]] = {}

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if cls.engine is not None and cls.fields is VLLM_FIELDS:
            loaded = loaded_with_engine(cls.engine, cls.engine_options)
            cls.fields, cls.engine_options = loaded.settings.fields, loaded.settings.engine_options

    def facts(self, *results: Result) -> Facts:
        """What the rule may know after these results."""
        settings = RunSettings(
            engine="any",
            benchmark="any",
            fields=self.fields,
            objective=Objective(),
            search=Search(rules=(self.rule.name,), options={self.rule.name: self.options}),
            budget=Budget(evaluations=100),
            engine_options=self.engine_options,
        )
        return Facts(space=Space.of(self.fields), settings=settings, results=results)

    def configurations(self) -> list[Configuration]:
        """Legal ones, from one end of the space to the other, and where its fields differ most."""
        space = Space.of(self.fields)
        size = len(space.dimensions)
        diagonal = [space.decode((step,) * size) for step in STEPS]
        corners = [space.decode(tuple(float(index == raised) for index in range(size))) for raised in range(size)]
        return [*diagonal, *corners]

    def results(self) -> tuple[Result, ...]:
        """Plausible ones: each configuration faster than the last, and one that failed."""
        found = [measured(number, at, 100.0 * number) for number, at in enumerate(self.configurations(), start=1)]
        return (*found[:-1], failed(len(found), self.configurations()[-1]))

    def test_it_is_registered_under_its_name(self) -> None:
        assert registered(RULE_GROUP, self.rule.name) is self.rule

    def test_what_it_judges_from_is_one_of_the_known_kinds_or_not_said(self) -> None:
        assert getattr(self.rule, "kind", "") in ("", *get_args(Kind))

    def test_it_judges_every_legal_configuration_with_and_without_results(self) -> None:
        for facts in (self.facts(), self.facts(*self.results())):
            for configuration in self.configurations():
                verdict = self.rule().judge(configuration, facts)
                assert verdict is None or isinstance(verdict, Rejection)

    def test_a_rejection_has_a_reason_on_one_line_and_a_prediction_that_the_journal_keeps(self) -> None:
        for facts in (self.facts(), self.facts(*self.results())):
            for configuration in self.configurations():
                verdict = self.rule().judge(configuration, facts)
                if verdict is None:
                    continue
                assert verdict.reason.strip()
                assert len(verdict.reason.splitlines()) == 1
                kept = msgspec.json.decode(msgspec.json.encode(verdict.predicted), type=Metrics | None)
                assert kept == verdict.predicted

    def test_it_remembers_nothing(self) -> None:
        facts, veteran = self.facts(*self.results()), self.rule()
        for configuration in self.configurations():
            veteran.judge(configuration, self.facts())
            veteran.judge(configuration, facts)
        for configuration in self.configurations():
            assert veteran.judge(configuration, facts) == self.rule().judge(configuration, facts)

    def test_it_changes_nothing_that_it_is_given(self) -> None:
        facts = self.facts(*self.results())
        before = msgspec.json.encode([facts.settings, [result.configuration for result in facts.results]])
        for configuration in self.configurations():
            given = dict(configuration)
            self.rule().judge(given, facts)
            assert given == configuration
        after = msgspec.json.encode([facts.settings, [result.configuration for result in facts.results]])
        assert after == before

    def test_it_leaves_something_to_measure(self) -> None:
        verdicts = [self.rule().judge(configuration, self.facts()) for configuration in self.configurations()]
        if all(verdicts):
            pytest.fail(f"rejects all of {len(verdicts)} configurations before anything was measured: {verdicts[0]}")


def measured(particle: int, configuration: Configuration, speed: float) -> Result:
    """A result of this many tokens/s that keeps every objective."""
    metrics = Metrics(
        generate_speed=speed,
        throughput=speed / 100,
        success_rate=1.0,
        completed=100,
        failed=0,
        duration=100 * 100 / speed,
        ttft={"mean": 0.2, "p99": 0.5},
        tpot={"mean": 0.02, "p99": 0.05},
    )
    judgement = judge(metrics, Objective())
    return Result(
        particle, configuration, metrics, "", judgement.fitness, judgement.feasible, objective=judgement.objective
    )


def failed(particle: int, configuration: Configuration, error: str = "out of memory") -> Result:
    """A configuration that could not be served."""
    judgement = judge(None, Objective())
    return Result(particle, configuration, None, error, judgement.fitness, judgement.feasible)
