"""A whole search on the virtual time line, and how far it may be trusted."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from ais_bench_files import a_config_directory
from daemon.service.daemons import a_loop, finished, submitted
from memory_journal import MemoryJournal
from serviceopt_journal import events as e
from serviceopt_journal.documents.requests import Submission
from serviceopt_journal.errors import InvalidConfiguration
from serviceoptd.config import plugins
from serviceoptd.domain.deployment import beyond_its_training
from serviceoptd.domain.documents import particle_document, recommendation
from serviceoptd.domain.state import RunState
from serviceoptd.domain.table import rows
from serviceoptd.predicting.validation import errors, points, predictor_for
from serviceoptd.submitting.checking import check
from serviceoptd.submitting.draft import Prepared
from serviceoptd.submitting.preparing import prepare
from stubs.kubernetes_scenario import StubCluster
from stubs.mindie_home import a_mindie
from tokenizer_files import a_word_tokenizer, words
from trained_models import a_model_file, simulated_toml

TOP = "n_particles = 4\niters = 3\nttft_slo = 2.0\n[measurement]\nrepeats = 2\n"
BOTH = {"MODEL_EVAL_STATE_ALL": "True", "MODEL_EVAL_STATE_IS_SLEEP_FLAG": "True"}


def searched(directory: Path, text: str, **submission: object) -> tuple[RunState, MemoryJournal]:
    async def search() -> RunState:
        context, loop = a_loop(directory, journal)
        return await finished(context, loop, await submitted(context, text, **submission))

    a_model_file(directory)
    journal = MemoryJournal()
    return asyncio.run(search()), journal


def test_a_search_on_a_trained_model_is_simulated_everywhere(tmp_path: Path) -> None:
    run, journal = searched(tmp_path, TOP + simulated_toml())
    assert run.outcome
    assert len([p for p in run.particles.values() if p.measurements]) > 3
    table = rows(run)
    assert {(row["source"], row["real_evaluation"]) for row in table} == {("simulated", False)}
    done = [record.event for record in journal.records if isinstance(record.event, e.MeasurementFinished)]
    assert all(event.simulated for event in done)
    assert all(event.metrics.output_tokens == 40 * 40 for event in done)


def test_a_result_outside_of_the_training_data_says_so_in_event_row_and_document(tmp_path: Path) -> None:
    run, journal = searched(tmp_path, TOP + simulated_toml(input_tokens=4))
    (first, *_) = [record.event for record in journal.records if isinstance(record.event, e.MeasurementFinished)]
    assert first.remark.startswith("outside the latency model's training data for ")
    particle = run.particles[first.particle]
    assert particle_document(run, particle).remark == particle.remark != ""
    assert {row["particle"]: row["remark"] for row in rows(run)}[particle.number] == particle.remark
    best = recommendation(run)
    assert best is not None
    assert beyond_its_training(run.particles[best.particle])
    assert run.proof is not None  # there were repetitions: they say nothing of what the model has not seen
    assert best.proof is None


@pytest.mark.parametrize(("tokens", "warned"), [(4, True), (200, False)])
def test_what_lies_outside_of_the_training_data_is_said_before_the_start(
    tmp_path: Path, tokens: int, warned: bool
) -> None:
    a_model_file(tmp_path)
    submission = Submission(
        configuration_text=TOP + simulated_toml(input_tokens=tokens), working_directory=str(tmp_path)
    )
    warnings = prepare(submission, plugins, tool_prefix=None).warnings
    assert any("first configuration: outside the latency model's" in warning for warning in warnings) is warned


def test_the_two_variables_search_the_space_of_the_real_engine(tmp_path: Path) -> None:
    table, _, space = simulated_toml().partition("[[simulated.target_field]]")
    real = ("[[simulated.target_field]]" + space).replace("[[simulated.", "[[vllm.")
    run, _ = searched(tmp_path, TOP + real + table, engine="vllm", benchmark="vllm_benchmark", environment=dict(BOTH))
    assert run.settings.engine == "simulated"
    assert {field.name for field in run.settings.fields} == {"MAX_NUM_BATCHED_TOKENS", "MAX_NUM_SEQS", "CONCURRENCY"}
    assert all(p.simulated for p in run.particles.values() if p.measurements)


MINDIE = """
[[mindie.target_field]]
name = "max_batch_size"
config_position = "BackendConfig.ScheduleConfig.maxBatchSize"
min = 10
max = 60
dtype = "int"
value = 50
[[mindie.target_field]]
name = "CONCURRENCY"
config_position = "env"
min = 2
max = 64
dtype = "int"
[simulated]
model = "latency_model.json"
num_prompts = 40
"""


LENGTHS = "input_tokens = 200\noutput_tokens = 40\n"


def of_mindie(directory: Path, table: str = "", lengths: str = LENGTHS, benchmark: str = "vllm_benchmark") -> Prepared:
    a_model_file(directory)
    configuration = a_mindie(directory / "mindie-service")
    submission = Submission(
        configuration_text=TOP + MINDIE + lengths + table, engine="mindie", benchmark=benchmark,
        working_directory=str(directory), environment={**BOTH, "MIES_CONFIG_JSON_PATH": str(configuration)},
    )  # fmt: skip
    return prepare(submission, plugins, tool_prefix=None)


def test_the_limits_of_mindies_own_file_are_simulated_and_the_table_wins(tmp_path: Path) -> None:
    run = of_mindie(tmp_path, "[simulated.limits]\nnpu_blocks = 900\nmax_prefill_tokens = 4096\n")
    limits = run.settings.engine_options["limits"]
    assert run.settings.benchmark_options["limits"] == limits
    assert (limits["npu_blocks"], limits["max_prefill_tokens"]) == (900, 4096)
    assert (limits["max_seq_len"], limits["max_prefill_batch_size"], limits["cache_block_size"]) == (2560, 50, 128)
    assert (limits["max_input_token_len"], limits["max_iter_times"]) == (2048, 512)


def test_the_requests_of_ais_bench_are_simulated_as_its_configurations_say(tmp_path: Path) -> None:
    table = '[simulated.limits]\nnpu_blocks = 900\n[ais_bench.command]\nmodels = "chat"\ndatasets = "synthetic"\n'
    for lengths, expected in (("", (64, 512)), ("input_tokens = 200\n", (200, 512))):
        directory = tmp_path / f"at-{len(lengths)}"
        a_config_directory(directory / "configs")
        run = of_mindie(directory, table, lengths, benchmark="ais_bench")
        options = run.settings.engine_options
        assert (options["input_tokens"], options["output_tokens"]) == expected
        assert not any("lengths of requests are not known" in warning for warning in run.warnings)


ADVISED = """
[vllm.command]
others = "--max-model-len 4096"
[[vllm.target_field]]
name = "MAX_NUM_SEQS"
config_position = "env"
min = 8
max = 64
dtype = "int"
[ais_bench.command]
models = "chat"
datasets = "synthetic"
[search]
simulation = true
[simulated]
model = "latency_model.json"
"""


def test_a_search_that_is_advised_simulates_the_requests_of_ais_bench_too(tmp_path: Path) -> None:
    a_config_directory(tmp_path / "configs")
    (tmp_path / "config.toml").write_text(TOP + ADVISED)
    draft = check(
        tmp_path / "config.toml", engine="vllm", benchmark="ais_bench", environment={}, working_directory=tmp_path
    )
    simulated = draft.settings.search.simulation
    assert (simulated["input_tokens"], simulated["output_tokens"]) == (64, 512)
    assert not any("lengths of requests" in str(warning) for warning in draft.loaded.warnings)


def test_the_limits_of_mindie_on_kubernetes_are_simulated_too(tmp_path: Path) -> None:
    a_model_file(tmp_path)
    cluster = StubCluster.below(tmp_path)
    scripts = f'[kubectl]\nkubectl_default_path = "{cluster.scripts}"\n'
    text = TOP + MINDIE + LENGTHS + "[simulated.limits]\nnpu_blocks = 900\n" + scripts
    run = prepare(
        Submission(
            configuration_text=text, engine="mindie", pd="disaggregation", benchmark="vllm_benchmark",
            working_directory=str(tmp_path), environment=dict(BOTH),
        ),
        plugins,
        tool_prefix=None,
    )  # fmt: skip
    limits = run.settings.engine_options["limits"]
    assert (limits["max_seq_len"], limits["max_prefill_batch_size"], limits["cache_block_size"]) == (2560, 8, 128)
    assert limits["npu_blocks"] == 900


def test_blocks_that_only_a_running_mindie_knows_are_asked_for(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfiguration, match="does not know npu_blocks") as refused:
        of_mindie(tmp_path)
    assert "`totalNpuBlockNums`" in refused.value.hint


def test_a_run_without_a_readable_model_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    journal = MemoryJournal()
    context, _ = a_loop(tmp_path, journal)
    with pytest.raises(InvalidConfiguration, match=r"simulated\.model: .*cannot be read"):
        asyncio.run(submitted(context, TOP + simulated_toml()))
    assert not journal.records


def test_a_run_on_the_simulator_itself_is_predicted_to_the_noise(tmp_path: Path) -> None:
    run, _ = searched(tmp_path, TOP + simulated_toml(range_ratio=0.5))
    predictor, told = predictor_for(run, model=None, table=None, directory=tmp_path)
    assert told
    assert points(run, predictor, simulated=False, lengths_from_metrics=False) == []
    compared = points(run, predictor, simulated=True, lengths_from_metrics=False)
    lines = {line.reading: line for line in errors(compared)}
    speed = lines["generate_speed"]
    assert speed.points == len(compared) > 3
    assert speed.spread is not None
    assert speed.median <= 2 * speed.spread < 0.1
    assert speed.rank is not None
    assert speed.rank > 0.8


def prepared(directory: Path, text: str) -> Prepared:
    a_model_file(directory)
    a_word_tokenizer(directory / "tok")
    submission = Submission(configuration_text=text, working_directory=str(directory))
    return prepare(submission, plugins, tool_prefix=None)


DATA = '[simulated.data_set]\npath = "d.jsonl"\nkind = "custom"\ntokenizer = "tok"\noutput_tokens = 7\n'


def test_what_is_simulated_of_a_data_set_is_summed_up_before_the_start(tmp_path: Path) -> None:
    (tmp_path / "d.jsonl").write_text("".join(f'{{"prompt": "{words(size)}"}}\n' for size in (100, 200, 300)))
    run = prepared(tmp_path, TOP + simulated_toml() + DATA)
    (said,) = [warning for warning in run.warnings if warning.startswith("simulated.data_set: ")]
    assert "3 requests of d.jsonl are simulated: prompts of 200 (P50 200, P99 300) tokens, answers of 7" in said
    assert "counted with" in said


def test_a_data_set_that_cannot_be_read_is_asked_for_before_the_start(tmp_path: Path) -> None:
    run = prepared(tmp_path, TOP + simulated_toml() + DATA)
    (said,) = [warning for warning in run.warnings if warning.startswith("simulated.data_set: ")]
    assert said.endswith("d.jsonl: no such file: 200 and 40 tokens a request are simulated in its place")


def test_the_content_of_the_data_set_is_part_of_the_identity_and_its_place_is_not(tmp_path: Path) -> None:
    identities = []
    for name, size in (("a", 100), ("b", 100), ("c", 101)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "d.jsonl").write_text(f'{{"prompt": "{words(size)}"}}\n')
        text = TOP + simulated_toml() + DATA.replace("d.jsonl", str(tmp_path / name / "d.jsonl"))
        identities.append(prepared(tmp_path, text).measurement_identity)
    assert identities[0] == identities[1] != identities[2]


def test_a_search_simulates_the_lengths_of_the_data_set(tmp_path: Path) -> None:
    (tmp_path / "d.jsonl").write_text("".join(f'{{"prompt": "{words(size)}"}}\n' for size in (100, 200, 300)))
    a_word_tokenizer(tmp_path / "tok")
    _, journal = searched(tmp_path, TOP + simulated_toml(num_prompts=30) + DATA)
    done = [record.event for record in journal.records if isinstance(record.event, e.MeasurementFinished)]
    assert done
    assert {event.metrics.output_tokens for event in done} == {30 * 7}
    assert len({event.metrics.input_tokens for event in done}) > 1  # each measurement draws its own
