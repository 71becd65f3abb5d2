"""What a run tells of its service's limits."""

from __future__ import annotations

from pathlib import Path

from serviceoptd.domain.settings import ModelFacts
from serviceoptd.predicting.prediction import Predictor
from serviceoptd.predicting.section import SimulatedSection
from serviceoptd.predicting.validation import told_limits
from serviceoptd.simulation.schedulers.vllm_limits import VllmLimits
from trained_models import a_model_file


def test_blocks_of_the_reported_size_hold_what_the_service_held(tmp_path: Path) -> None:
    a_model_file(tmp_path)
    given = {"max_num_seqs": 8, "max_num_batched_tokens": 2048, "max_model_len": 8192, "block_size": 16}
    predictor = Predictor.of(SimulatedSection(model="latency_model.json", limits=given), tmp_path)
    # 256 blocks of 16 tokens could not hold one sequence, and every prediction would be refused
    limits = predictor.limits({}, (), told_limits(ModelFacts(), 256, 128, predictor))
    assert isinstance(limits, VllmLimits)
    assert (limits.kv_blocks, limits.block_size) == (256, 128)


def test_a_length_that_is_told_nowhere_is_what_the_reported_cache_holds(tmp_path: Path) -> None:
    a_model_file(tmp_path)
    options = SimulatedSection(model="latency_model.json", limits={"max_num_seqs": 8, "max_num_batched_tokens": 2048})
    predictor = Predictor.of(options, tmp_path)
    assert told_limits(ModelFacts(), 257, 128, predictor)["max_model_len"] == 256 * 128
    assert told_limits(ModelFacts(), 257, None, predictor)["max_model_len"] == 256 * 16
