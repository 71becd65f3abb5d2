from __future__ import annotations

from msgspec.structs import replace

from daemon.rules.machines import facts_of
from serviceoptd.contract import RuleContract
from serviceoptd.contract.orders import VLLM_FIELDS
from serviceoptd.domain.settings import Constraint, Field, ModelFacts
from serviceoptd.rules.declared import Declared
from serviceoptd.rules.interface import Facts

LENGTH = Field(name="LENGTH", dtype="int", min=512, max=131072, config_position="argument:--max-model-len", value=8192)
NARROW = Field(name="MAX_NUM_BATCHED_TOKENS", dtype="int", min=64, max=65536, value=8192)


class TestDeclared(RuleContract):
    rule = Declared


def known(arguments: dict[str, str], *constraints: Constraint, engine: str = "vllm") -> Facts:
    facts = facts_of(ModelFacts(arguments=arguments), fields=(NARROW, *VLLM_FIELDS[1:], LENGTH))
    search = replace(facts.settings.search, constraints=constraints)
    return Facts(facts.space, replace(facts.settings, search=search, engine=engine), ())


def test_vllm_needs_a_token_in_each_step_for_every_sequence() -> None:
    verdict = Declared().judge({"MAX_NUM_BATCHED_TOKENS": 256, "MAX_NUM_SEQS": 512}, known({}))
    assert verdict is not None
    assert verdict.reason == (
        "max_num_batched_tokens (256) must be >= max_num_seqs (512): "
        "vLLM refuses it when it starts (check of its SchedulerConfig)"
    )
    assert Declared().judge({"MAX_NUM_BATCHED_TOKENS": 512, "MAX_NUM_SEQS": 512}, known({})) is None


def test_another_engine_has_constraints_of_its_own() -> None:
    configuration = {"MAX_NUM_BATCHED_TOKENS": 256, "MAX_NUM_SEQS": 512}
    assert Declared().judge(configuration, known({}, engine="simulated")) is None


def test_without_chunked_prefill_a_whole_prompt_must_fit_into_a_step() -> None:
    small = {"MAX_NUM_BATCHED_TOKENS": 4096, "MAX_NUM_SEQS": 64, "LENGTH": 8192}
    assert Declared().judge(small, known({"enable_chunked_prefill": "false"})) is not None
    assert Declared().judge(small, known({"enable_chunked_prefill": "true"})) is None
    assert Declared().judge(small, known({})) is None
    fixed = known({"enable_chunked_prefill": "false", "max_model_len": "8192"})
    assert Declared().judge({"MAX_NUM_BATCHED_TOKENS": 4096}, fixed) is not None


def test_a_constraint_of_the_configuration_is_told_with_its_factor_and_its_source() -> None:
    ours = Constraint(left="--max-num-seqs", op="<=", right="Concurrency", factor=1.5, source="our load test")
    verdict = Declared().judge({"MAX_NUM_SEQS": 160, "CONCURRENCY": 100}, known({}, ours))
    assert verdict is not None
    assert verdict.reason == "--max-num-seqs (160) must be <= 1.5 x Concurrency (150): our load test"
    assert Declared().judge({"MAX_NUM_SEQS": 150, "CONCURRENCY": 100}, known({}, ours)) is None


def test_a_number_can_be_a_limit() -> None:
    ours = Constraint(left="CONCURRENCY", op="<", right=500.0, source="the network")
    verdict = Declared().judge({"CONCURRENCY": 500}, known({}, ours))
    assert verdict is not None
    assert verdict.reason == "CONCURRENCY (500) must be < (500): the network"
