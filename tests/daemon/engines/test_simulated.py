from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from pydantic import ValidationError

from serviceoptd.contract.engine import EngineContract
from serviceoptd.contract.orders import VLLM_CONFIGURATION, a_service_order, a_workplace
from serviceoptd.domain.settings import Field
from serviceoptd.domain.space.space import Space
from serviceoptd.engines.simulated import SimulatedEngine
from serviceoptd.engines.vllm import VllmEngine
from serviceoptd.simulation.schedulers.limits import MissingLimits
from trained_models import LIMITS, a_model_file


class TestSimulated(EngineContract):
    engine = SimulatedEngine


def test_a_launch_that_works_tells_its_blocks(tmp_path: Path) -> None:
    plan = SimulatedEngine({}).plan(a_service_order(a_workplace(tmp_path)))
    assert plan.simulated
    assert plan.failure is None
    assert plan.kv_blocks is not None
    assert plan.kv_blocks > 0


def test_a_launch_that_does_not_fit_fails_with_a_reason(tmp_path: Path) -> None:
    too_much = VLLM_CONFIGURATION | {"MAX_NUM_BATCHED_TOKENS": 65536, "MAX_NUM_SEQS": 512}
    plan = SimulatedEngine({}).plan(a_service_order(a_workplace(tmp_path), too_much))
    assert plan.failure == "out of memory: no room is left for the KV cache"
    assert plan.kv_blocks is None


def test_its_pace_is_the_configured_one() -> None:
    assert SimulatedEngine({"launch_seconds": 0.25}).pace == 0.25


def test_its_pace_is_no_part_of_the_identity_and_its_machine_is(tmp_path: Path) -> None:
    place = a_workplace(tmp_path)
    identity = SimulatedEngine({}).identity(place)
    assert SimulatedEngine({"launch_seconds": 1.0, "measurement_seconds": 1.0}).identity(place) == identity
    assert SimulatedEngine({"machine": {"device_gb": 80.0}}).identity(place) != identity


def test_its_fields_have_the_bounds_of_vllm() -> None:
    ours, theirs = (
        msgspec.convert(engine.defaults["target_field"], list[Field], strict=False)
        for engine in (SimulatedEngine, VllmEngine)
    )
    assert [(f.name, f.dtype, f.min, f.max) for f in ours] == [(f.name, f.dtype, f.min, f.max) for f in theirs]
    assert Space.of(ours).current() is not None


@pytest.mark.parametrize(
    "section", [{"num_prompts": 0}, {"launch_seconds": -1}, {"machine": {"device_gb": 0}}, {"machne": {}}]
)
def test_impossible_machines_do_not_load(section: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        SimulatedEngine.section.model_validate(section)


def test_parallel_devices_are_counted_whatever_the_capitals() -> None:
    engine = SimulatedEngine({})
    assert [engine.devices({name: 4}) for name in ("TENSOR_PARALLEL_SIZE", "tensor_parallel_size")] == [4, 4]


TRAINED = {"model": "latency_model.json", "limits": LIMITS}
SMALL = {"MAX_NUM_SEQS": 16, "MAX_NUM_BATCHED_TOKENS": 512, "CONCURRENCY": 8}


def test_with_a_trained_model_its_blocks_are_the_configured_ones(tmp_path: Path) -> None:
    place = a_workplace(tmp_path)
    a_model_file(place.working_directory)
    plan = SimulatedEngine(TRAINED).plan(a_service_order(place, SMALL))
    assert (plan.simulated, plan.failure, plan.kv_blocks) == (True, None, LIMITS["kv_blocks"])
    refused = SimulatedEngine(TRAINED).plan(a_service_order(place, SMALL | {"MAX_NUM_SEQS": 600}))
    assert refused.failure == "max_num_batched_tokens (512) is below max_num_seqs (600)"


def test_a_limit_that_nothing_tells_is_the_end_of_every_configuration(tmp_path: Path) -> None:
    place = a_workplace(tmp_path)
    a_model_file(place.working_directory)
    with pytest.raises(MissingLimits, match="kv_blocks"):
        SimulatedEngine({"model": "latency_model.json"}).plan(a_service_order(place, SMALL))


def test_a_model_that_cannot_be_read_is_a_problem_with_its_key(tmp_path: Path) -> None:
    (problem,) = SimulatedEngine(TRAINED).problems(a_workplace(tmp_path))
    assert (problem.key, problem.configuration) == ("simulated.model", True)
    assert "cannot be read" in problem.message
    assert "serviceoptctl train" in problem.hint


def test_the_identity_of_the_demonstration_is_what_it_was_before_there_were_models(tmp_path: Path) -> None:
    numbers = SimulatedEngine({}).identity(a_workplace(tmp_path))["numbers"]
    assert numbers.startswith(
        "{'num_prompts': 1000, 'input_tokens': 1024, 'output_tokens': 256, 'noise': True, 'machine':"
    )
    assert "limits" not in numbers


def test_the_model_is_part_of_the_identity(tmp_path: Path) -> None:
    place = a_workplace(tmp_path)
    model = a_model_file(place.working_directory)
    before = SimulatedEngine(TRAINED).identity(place)
    model.write_bytes(model.read_bytes() + b" ")
    after = SimulatedEngine(TRAINED).identity(place)
    assert {key for key in before if before[key] != after[key]} == {"model"}
    assert SimulatedEngine(TRAINED | {"overheads": {"delay": 0.1}}).identity(place) != after
