from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import msgspec
import pytest
from pydantic import ValidationError

from ais_bench_files import DATASET, MODEL, a_config_directory, a_result, an_installation, summary
from serviceopt_journal.errors import EnvironmentLacks, InvalidConfiguration
from serviceopt_journal.events import Configuration
from serviceoptd.benchmarks.ais_bench.client import WORK, AisBench
from serviceoptd.benchmarks.ais_bench.model import ModelFile
from serviceoptd.benchmarks.interface import ClientOutcome, MeasurementOrder, MeasurementPlan
from serviceoptd.benchmarks.untellable import Untellable
from serviceoptd.contract.benchmark import ProcessBenchmarkContract
from serviceoptd.contract.orders import VLLM_FIELDS, a_field, a_measurement_order, a_program, a_workplace
from serviceoptd.domain.settings import Objective, Slo

AT_16: Configuration = {"MAX_NUM_SEQS": 64, "CONCURRENCY": 16, "REQUESTRATE": 0.0}
COMMAND = {"models": "chat", "datasets": "synthetic", "num_prompts": 50}


def a_client(**command: Any) -> AisBench:
    section = AisBench.section.model_validate({"command": {**COMMAND, **command}})
    return AisBench(section.model_dump(mode="json"))


def an_order(tmp_path: Path, configuration: Configuration = AT_16, **more: Any) -> MeasurementOrder:
    """The user's ./configs holds `chat` and `synthetic`."""
    place = a_workplace(tmp_path)
    a_config_directory(place.working_directory / "configs")
    return a_measurement_order(place, configuration, VLLM_FIELDS, **more)


def argv_of(plan: MeasurementPlan) -> list[str]:
    assert plan.command is not None
    return list(plan.command.argv)


def model_of(plan: MeasurementPlan) -> ModelFile:
    """The copy that AISBench will read, found as it does: by the name after --models, below --config-dir."""
    assert plan.command is not None
    argv = argv_of(plan)
    name, root = argv[argv.index("--models") + 1], Path(argv[argv.index("--config-dir") + 1])
    found = {path: text for path, text in plan.command.files.items() if path.name == f"{name}.py"}
    ((path, text),) = found.items()
    assert path.is_relative_to(root / "models")
    return ModelFile.read(text, path.name)


class TestAisBench(ProcessBenchmarkContract):
    benchmark = AisBench
    options: ClassVar[dict[str, Any]] = {"command": COMMAND}
    configuration: ClassVar[Configuration] = AT_16

    def order(self, tmp_path: Path, **more: Any) -> MeasurementOrder:
        return an_order(tmp_path, self.configuration, **more)

    def write_good_result(self, outcome: ClientOutcome) -> None:
        a_result(outcome.order.workplace.directory / WORK)


OF_A_FILE = """
from ais_bench.benchmark.datasets import GSM8KDataset
gsm8k_reader_cfg = dict(input_columns=["question"], output_column="answer")
gsm8k_infer_cfg = dict(
    prompt_template=dict(type=PromptTemplate, template="Question: {question} Answer: {answer}"),
    retriever=dict(type=ZeroRetriever), inferencer=dict(type=GenInferencer))
gsm8k_datasets = [dict(abbr="g", type=GSM8KDataset, path="PATH", reader_cfg=gsm8k_reader_cfg, infer_cfg=gsm8k_infer_cfg)]
"""


def simulated_of(tmp_path: Path, dataset: str, model: str = MODEL, **command: Any) -> dict[str, Any]:
    place = a_workplace(tmp_path)
    configs = place.working_directory / "configs"
    a_config_directory(configs)
    (dataset_file,) = configs.rglob("synthetic.py")
    dataset_file.write_text(dataset)
    (model_file,) = configs.rglob("chat.py")
    model_file.write_text(model)
    return a_client(**command).simulated(place)


def test_synthetic_requests_are_as_long_as_both_configurations_say(tmp_path: Path) -> None:
    told = {"input_tokens": 64, "output_tokens": 512}
    assert simulated_of(tmp_path, DATASET) == {**told, "chat_template": "/srv/models/m"}
    other = MODEL.replace("VLLMCustomAPIChat", "VLLMCustomAPI")
    assert simulated_of(tmp_path, DATASET, other) == told
    prefixed = DATASET.replace('"RequestSize": 64', '"RequestSize": 64, "PrefixLen": 24')
    told = {"input_tokens": 40, "prefix_tokens": 24, "output_tokens": 512}
    assert simulated_of(tmp_path, prefixed, other) == told


def test_a_data_set_of_lines_is_simulated_with_its_template_and_the_models_tokenizer(tmp_path: Path) -> None:
    (tmp_path / "gsm8k").mkdir()
    dataset = OF_A_FILE.replace("PATH", str(tmp_path / "gsm8k"))
    expected = {
        "path": str(tmp_path / "gsm8k" / "test.jsonl"), "kind": "ais_bench", "template": "Question: {question} Answer: ",
        "tokenizer": "/srv/models/m", "output_tokens": 512, "shuffled": False, "chat": True, "own_output": False,
    }  # fmt: skip
    assert simulated_of(tmp_path, dataset) == {"data_set": expected}
    (tmp_path / "q.jsonl").write_text("")
    custom = OF_A_FILE.replace("PATH", str(tmp_path / "q.jsonl")).replace("GSM8KDataset", "CustomDataset")
    found = simulated_of(tmp_path, custom)["data_set"]
    assert found["path"] == str(tmp_path / "q.jsonl")
    limited = custom.replace('["question"]', '["question", "max_out_len"]')
    assert "own_output" not in simulated_of(tmp_path, limited)["data_set"]
    (tmp_path / "q.jsonl.meta.json").write_text("{}")
    with pytest.raises(Untellable, match=r"meta\.json may choose other records"):
        simulated_of(tmp_path, custom)


@pytest.mark.parametrize(
    ("before", "after", "why"),
    [
        ("ZeroRetriever", "FixKRetriever", "FixKRetriever does not choose"),
        ("ZeroRetriever", "RandomRetriever", "FixKRetriever does not choose"),
        ('template="Question: {question} Answer: {answer}"', "template=dict(round=[])", "has no message"),
        (
            "reader_cfg=gsm8k_reader_cfg",
            'reader_cfg=dict(test_range="[0:8]")',
            "`test_range`, which wins over num_prompts",
        ),
        ("GSM8KDataset", "ShareGPTDataset", "their template or inferencer is not AISBench's own"),
        ("GSM8KDataset", "CEvalDataset", "the data set class CEvalDataset"),
        ('path="PATH"', 'path="/nowhere"', "which are not here: path = '/nowhere'"),
        ("gsm8k_datasets = [", "gsm8k_datasets = [[", "not Python|is not a Python file"),
        ("gsm8k_datasets = [", "gsm8k_datasets = [] + [], [", "data sets in one configuration"),
        ("gsm8k_datasets = [", "for one in range(5): gsm8k_datasets = [", "only running it would tell"),
        ('abbr="g"', 'abbr="g", n=4', "each record is sent several times"),
    ],
)
def test_requests_that_cannot_be_known_without_running_it_are_asked_for_with_the_reason(
    tmp_path: Path, before: str, after: str, why: str
) -> None:
    assert before in OF_A_FILE
    with pytest.raises(Untellable, match=why):
        simulated_of(tmp_path, OF_A_FILE.replace(before, after).replace("PATH", str(tmp_path)))


@pytest.mark.parametrize(
    ("before", "after", "why"),
    [
        ("ignore_eos=True", "ignore_eos=False", "answers may end before `max_out_len` tokens"),
        ("max_out_len=512", "max_out_len=LONGEST", "`max_out_len` of .*, which is not a number"),
        ("use_timestamp=False", "use_timestamp=True", "time stamps tell when to send"),
    ],
)
def test_answers_of_an_unknown_length_are_asked_for(tmp_path: Path, before: str, after: str, why: str) -> None:
    with pytest.raises(Untellable, match=why):
        simulated_of(tmp_path, DATASET, MODEL.replace(before, after))


STRING = """
synthetic_reader_cfg = dict(input_columns=["question", "max_out_len"], output_column="answer")
synthetic_config = {"Type": "string", "RequestCount": 20, "StringConfig": {
    "Input": {"Method": "uniform", "Params": {"MinValue": 5, "MaxValue": 20}},
    "Output": {"Method": "gaussian", "Params": {"Mean": 100, "Var": 400, "MinValue": 60, "MaxValue": 120}}}}
synthetic_datasets = [dict(type=SyntheticDataset, config=synthetic_config, reader_cfg=synthetic_reader_cfg)]
"""


def test_lengths_of_synthetic_words_are_spread_as_the_configuration_says(tmp_path: Path) -> None:
    told = simulated_of(tmp_path, STRING)
    assert told["input_distribution"] == {"kind": "uniform", "min": 5, "max": 19}
    assert told["output_distribution"] == {"kind": "normal", "min": 60, "max": 120, "mean": 99.5, "deviation": 20.0}
    zipf = STRING.replace('"uniform", "Params": {', '"zipf", "Params": {"Alpha": 1.5, ')
    assert simulated_of(tmp_path, zipf)["input_distribution"] == {"kind": "zipf", "min": 5, "max": 20, "exponent": 1.5}
    fixed = simulated_of(tmp_path, STRING.replace(', "max_out_len"]', "]"))
    assert (fixed["output_tokens"], "output_distribution" in fixed) == (512, False)
    with pytest.raises(Untellable, match="MinValue 50, MaxValue 20"):
        simulated_of(tmp_path, STRING.replace('"MinValue": 5,', '"MinValue": 50,'))


def test_the_configuration_that_comes_with_ais_bench_is_read_where_it_is_installed(tmp_path: Path) -> None:
    dataset = DATASET.replace('synthetic_config = {"Type": "tokenid"', '_ = {"Type": ""').replace(
        "synthetic_datasets =",
        "with read_base():\n    from ais_bench.datasets.synthetic.synthetic_config import synthetic_config\n"
        "synthetic_datasets =",
    )
    an_installation(tmp_path)
    base = tmp_path / "lib/python3.11/site-packages/ais_bench/datasets/synthetic/synthetic_config.py"
    base.parent.mkdir(parents=True)
    identities = []
    for size in (30, 40):
        base.write_text(
            f"size = {size}\nsynthetic_config = dict(Type='tokenid', TokenIdConfig=dict(RequestSize=size))\n"
        )
        assert simulated_of(tmp_path, dataset)["input_tokens"] == size
        identities.append(a_client().identity(a_workplace(tmp_path))["dataset"])
    assert identities[0] != identities[1]


TURNS = """
sharegpt_infer_cfg = dict(
    prompt_template=dict(type=MultiTurnPromptTemplate, template=dict(
        round=[dict(role="HUMAN", prompt="{question}"), dict(role="BOT", prompt="{answer}")])),
    retriever=dict(type=ZeroRetriever), inferencer=dict(type=MultiTurnGenInferencer, infer_mode="every"))
sharegpt_datasets = [dict(type=ShareGPTDataset, disable_shuffle=True, path="PATH", reader_cfg=dict(
    input_columns=["question", "answer"], output_column="answer"), infer_cfg=sharegpt_infer_cfg)]
"""


def test_conversations_are_simulated_turn_by_turn(tmp_path: Path) -> None:
    (tmp_path / "s.json").write_text("[]")
    dataset = TURNS.replace("PATH", str(tmp_path / "s.json"))
    found = simulated_of(tmp_path, dataset)["data_set"]
    assert (found["kind"], found["output_tokens"], found["chat"], found.get("turns")) == (
        "ais_bench_sharegpt",
        512,
        True,
        None,
    )
    found = simulated_of(tmp_path, dataset.replace('"every"', '"last"').replace("ShareGPT", "MTBench"))["data_set"]
    assert (found["kind"], found["turns"]) == ("ais_bench_mtbench", "last")
    with pytest.raises(Untellable, match="infer_mode 'some'"):
        simulated_of(tmp_path, dataset.replace('"every"', '"some"'))
    with pytest.raises(Untellable, match="their template or inferencer"):
        simulated_of(tmp_path, dataset.replace('prompt="{question}"', 'prompt="Q: {question}"'))


FEW_SHOTS = """
reader = dict(input_columns=["question"], output_column="answer")
infer = dict(
    ice_template=dict(type=PromptTemplate, template=ONE),
    prompt_template=dict(type=PromptTemplate, template=ALL, ice_token="</E>"),
    retriever=dict(type=FixKRetriever, fix_id_list=[2, 0]), inferencer=dict(type=GenInferencer))
gsm8k_datasets = [dict(abbr="g", type=GSM8KDataset, path="PATH", reader_cfg=reader, infer_cfg=infer)]
"""


def few_shots(directory: Path, one: str, whole: str) -> str:
    (directory / "gsm8k").mkdir(exist_ok=True)
    lines = [f'{{"question": "q{n}", "answer": "a{n}"}}\n' for n in range(3)]
    (directory / "gsm8k" / "train.jsonl").write_text("".join(lines))
    return FEW_SHOTS.replace("ONE", one).replace("ALL", whole).replace("PATH", str(directory / "gsm8k"))


def test_examples_stand_before_each_question(tmp_path: Path) -> None:
    texts = few_shots(tmp_path, '"Q: {question} A: {answer}"', '"</E>Q: {question} A: {answer}"')
    found = simulated_of(tmp_path, texts)["data_set"]
    assert found["template"] == "Q: q2 A: a2\nQ: q0 A: a0\nQ: {question} A: "
    rounds = 'dict(round=[dict(role="HUMAN", prompt="{question}"), dict(role="BOT", prompt="{answer}")])'
    dialogue = few_shots(tmp_path, rounds, f'dict(begin="</E>", {rounds[5:]}')
    found = simulated_of(tmp_path, dialogue)["data_set"]
    assert [(each["role"], each["prompt"]) for each in found["messages"]] == [
        ("HUMAN", "q2"), ("BOT", "a2"), ("HUMAN", "q0"), ("BOT", "a0"), ("HUMAN", "{question}"),
    ]  # fmt: skip
    plain = simulated_of(tmp_path, dialogue, MODEL.replace("VLLMCustomAPIChat", "VLLMCustomAPI"))["data_set"]
    assert plain["template"] == "q2\na2\nq0\na0\n{question}"
    with pytest.raises(Untellable, match="has no record 9"):
        simulated_of(tmp_path, texts.replace("[2, 0]", "[9]"))


def test_a_dialogue_as_a_template_is_sent_as_messages(tmp_path: Path) -> None:
    asked = (
        'dict(begin=[dict(role="SYSTEM", prompt="s")], round=[dict(role="HUMAN", prompt="x"), PREFIX + "{question}"])'
    )
    rounds = asked.replace('PREFIX + "{question}"', 'dict(role="HUMAN", prompt=PREFIX + "{question}")')
    dataset = OF_A_FILE.replace('"Question: {question} Answer: {answer}"', rounds).replace("PATH", str(tmp_path))
    found = simulated_of(tmp_path, 'PREFIX = "Q: "\n' + dataset)["data_set"]
    assert [(each["role"], each["prompt"]) for each in found["messages"]] == [
        ("SYSTEM", "s"),
        ("HUMAN", "x\nQ: {question}"),
    ]


def test_the_traffic_that_the_models_configuration_asks_for_is_simulated(tmp_path: Path) -> None:
    def of(traffic: str) -> dict[str, Any]:
        return simulated_of(tmp_path, DATASET, MODEL.replace("retry=2,", f"retry=2, traffic_cfg={traffic},"))

    assert of("dict(burstiness=0.5)")["burstiness"] == 0.5
    assert of("dict(burstiness=0)")["burstiness"] == 1e9  # equal gaps
    told = of('dict(ramp_up_strategy="linear", ramp_up_start_rps=1, ramp_up_end_rps=9)')
    assert told["ramp_up"] == {"strategy": "linear", "start": 1.0, "end": 9.0}
    with pytest.raises(Untellable, match="traffic_cfg"):
        of('dict(ramp_up_strategy="linear")')


def test_the_command_line_is_the_manuals_with_private_directories(tmp_path: Path) -> None:
    order = an_order(tmp_path, warm_up_requests=8)
    private = order.workplace.directory
    assert argv_of(a_client(others="--max-num-workers 1").plan(order)) == [
        "ais_bench", "--models", "serviceopt_chat", "--datasets", "synthetic", "--mode", "perf", "--num-prompts", "50",
        "--work-dir", str(private / "ais_bench"), "--config-dir", str(private / "configs"), "--num-warmups", "8",
        "--max-num-workers", "1",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("configuration", "at_a_time", "rate"),
    [
        ({"CONCURRENCY": 16, "REQUESTRATE": 0.0}, 16, 0),
        ({"CONCURRENCY": 7, "REQUESTRATE": 2.5}, 7, 2.5),
        ({"MAXCONCURRENCY": 9}, 9, 0),
        ({"CONCURRENCY": 0, "REQUESTRATE": -1.0}, 50, 0),
        ({}, 50, 0),
    ],
)
def test_the_load_stands_in_the_private_copy(
    tmp_path: Path, configuration: Configuration, at_a_time: int, rate: float
) -> None:
    plan = a_client().plan(an_order(tmp_path, configuration))
    model = model_of(plan)
    assert (model.stated("batch_size"), model.stated("request_rate")) == (at_a_time, rate)
    assert model.stated("host_port") == 8080


def test_the_users_files_stay_as_they_are_and_go_with_the_copy(tmp_path: Path) -> None:
    order = an_order(tmp_path)
    own = order.workplace.working_directory / "configs"
    (own / "models/vllm_api/common.py").write_text("seed = 3\n")
    (own / "models/shared").mkdir()
    (own / "models/shared/kwargs.py").write_text("more = {}\n")
    model = own / "models/vllm_api/chat.py"
    head = "from mmengine.config import read_base\nwith read_base():\n    from .common import seed\n"
    model.write_text(head + "    from ..shared.kwargs import more\n" + MODEL)
    before = {path: path.read_bytes() for path in own.rglob("*.py")}
    command = a_client().plan(order).command
    assert command is not None
    root = order.workplace.directory / "configs"
    copied = {path.relative_to(root) for path in command.files}
    assert copied == {Path(path) for path in (
        "models/vllm_api/serviceopt_chat.py", "models/vllm_api/common.py", "models/shared/kwargs.py",
        "datasets/synthetic/synthetic.py",
    )}  # fmt: skip
    assert command.files[root / "datasets/synthetic/synthetic.py"] == DATASET.encode()
    assert {path: path.read_bytes() for path in own.rglob("*.py")} == before


def test_a_base_outside_the_configuration_directory_cannot_be_copied(tmp_path: Path) -> None:
    order = an_order(tmp_path)
    model = order.workplace.working_directory / "configs/models/vllm_api/chat.py"
    model.write_text("with read_base():\n    from ....elsewhere import more\n" + MODEL)
    with pytest.raises(InvalidConfiguration, match=r"chat\.py builds on .*elsewhere\.py, which is outside"):
        a_client().plan(order)


@pytest.mark.parametrize("link", [False, True])
def test_the_installed_configurations_are_found_beside_the_programs_interpreter(tmp_path: Path, link: bool) -> None:
    place = a_workplace(tmp_path)
    script = an_installation(tmp_path / "venv", program=f"#!{tmp_path}/venv/bin/python3\n")
    if link:
        (tmp_path / "bin").mkdir()
        (tmp_path / "bin/ais_bench").symlink_to(script)
    client = AisBench({"program": None if link else str(script), "command": COMMAND})
    plan = client.plan(a_measurement_order(place, AT_16))
    assert plan.command is not None
    assert [path.name for path in plan.command.files] == ["serviceopt_chat.py"], "the data set is found by AISBench"
    assert model_of(plan).stated("batch_size") == 16
    assert client.problems(place) == []
    assert client.identity(place)["version"] == "ais_bench_benchmark 3.1.20260630"


@pytest.mark.parametrize("note", ["direct_url.json", "easy-install.pth", "ais-bench-benchmark.egg-link"])
def test_the_configurations_of_an_editable_installation_are_found(tmp_path: Path, note: str) -> None:
    place, source = a_workplace(tmp_path), tmp_path / "source with space"
    a_config_directory(source / "ais_bench/benchmark/configs")
    script = a_program(tmp_path, "ais_bench", f"#!{tmp_path}/bin/python3\n")
    packages = tmp_path / "lib/python3.11/site-packages"
    info = packages / "ais_bench_benchmark-3.1.dist-info"
    info.mkdir(parents=True)
    if note == "direct_url.json":
        (info / note).write_text(msgspec.json.encode({"url": source.as_uri(), "dir_info": {"editable": True}}).decode())
    else:
        (packages / note).write_text(f"import nothing\n{source}\n.\n")
    client = AisBench({"program": str(script), "command": COMMAND})
    assert model_of(client.plan(a_measurement_order(place, AT_16))).stated("batch_size") == 16


def test_the_users_directory_comes_before_the_installed_one(tmp_path: Path) -> None:
    script = an_installation(tmp_path / "venv", model=MODEL.replace("8080", "9999"))
    order = an_order(tmp_path)
    assert model_of(AisBench({"program": str(script), "command": COMMAND}).plan(order)).stated("host_port") == 8080
    other = a_config_directory(order.workplace.working_directory / "mine", MODEL.replace("8080", "7777"))
    for given in ("mine", "./mine", str(other)):
        assert model_of(a_client(config_dir=given).plan(order)).stated("host_port") == 7777


def test_two_configurations_of_one_name_are_an_error_that_names_both(tmp_path: Path) -> None:
    order = an_order(tmp_path)
    other = order.workplace.working_directory / "configs/models/Chat.py"
    other.write_text(MODEL)
    with pytest.raises(InvalidConfiguration, match=r"several configurations: .*Chat\.py, .*vllm_api/chat\.py"):
        a_client().plan(order)


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ({"models": "nothing"}, "no model configuration named nothing"),
        ({"datasets": "nothing/x"}, "no data set configuration named nothing"),
        ({"config_dir": "absent"}, "absent does not exist"),
    ],
)
def test_what_is_not_there_is_an_error_with_the_places_that_were_looked_at(
    tmp_path: Path, command: dict[str, str], said: str
) -> None:
    order = an_order(tmp_path)
    with pytest.raises(EnvironmentLacks, match=said) as error:
        a_client(**command).plan(order)
    assert "configs" in error.value.hint or "config_dir" in error.value.hint
    assert said in "".join(problem.message for problem in a_client(**command).problems(order.workplace))


def test_host_port_and_model_of_the_section_take_the_place_of_the_files(tmp_path: Path) -> None:
    order = an_order(tmp_path)
    (order.workplace.working_directory / "weights").mkdir()
    told = {"host": "*", "port": "8100", "model": "./weights", "served_model_name": "tiny"}
    model = model_of(a_client(**told).plan(order))
    assert [model.stated(key) for key in ("host_ip", "host_port", "path", "model")] == [
        "127.0.0.1", 8100, str(order.workplace.working_directory / "weights"), "tiny",
    ]  # fmt: skip


def test_a_tokenizers_relative_path_is_seen_from_where_the_run_was_submitted(tmp_path: Path) -> None:
    order = an_order(tmp_path)
    here = order.workplace.working_directory
    (here / "weights").mkdir()
    file = here / "configs/models/vllm_api/chat.py"
    file.write_text(MODEL.replace("/srv/models/m", "weights"))
    plan = a_client().plan(order)
    assert plan.command is not None
    assert plan.command.working_directory == order.workplace.directory, "AISBench writes into its working directory"
    assert model_of(plan).stated("path") == str(here / "weights")
    file.write_text(MODEL.replace("/srv/models/m", "org/model-on-a-hub"))
    assert model_of(a_client().plan(order)).stated("path") == "org/model-on-a-hub"


def test_no_measurement_profits_from_the_prefixes_of_another(tmp_path: Path) -> None:
    def salts(first: MeasurementOrder, second: MeasurementOrder, **command: Any) -> set[bytes]:
        plans = [a_client(**command).plan(order) for order in (first, second)]
        return {
            text for plan in plans if plan.command for path, text in plan.command.files.items() if "chat" in path.name
        }

    order = an_order(tmp_path, seed=1)
    (tmp_path / "elsewhere").mkdir()
    elsewhere = an_order(tmp_path / "elsewhere", seed=1)
    assert len(salts(order, an_order(tmp_path, seed=2))) == 2
    assert len(salts(order, elsewhere)) == 2, "a service that outlives the run"
    assert len(salts(order, an_order(tmp_path, seed=2), cache_salt=False)) == 1


@pytest.mark.parametrize(("wanted", "words"), [(0, ["--num-warmups", "0"]), (1, []), (80, ["--num-warmups", "50"])])
def test_warm_up_requests_are_asked_for_unless_they_are_aisbenchs_own(
    tmp_path: Path, wanted: int, words: list[str]
) -> None:
    order = an_order(tmp_path, warm_up_requests=wanted)
    assert argv_of(a_client().plan(order))[13:] == words
    assert argv_of(a_client(others="--num-warmups 3").plan(order))[13:] == ["--num-warmups", "3"]


@pytest.mark.parametrize("mode", ["all", "infer", "eval", "viz", "judge", "infer_judge"])
def test_accuracy_modes_are_refused_with_a_clear_word(mode: str) -> None:
    with pytest.raises(ValidationError, match=f'"{mode}" measures the accuracy of answers, not throughput'):
        a_client(mode=mode)


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ({"mode": "perf_viz"}, "draws the results of an earlier measurement"),
        ({"mode": "fast"}, "is not a mode of AISBench"),
        ({"models": "a b"}, "several model configurations"),
        ({"models": "../../etc/a"}, "is not the name of a model configuration"),
        ({"datasets": "a,b"}, "several data sets"),
        ({"datasets": "a/b/c"}, "is not the name of a data set configuration"),
        ({"num_prompts": 0}, "greater than or equal to 1"),
        ({"workdir": "/x"}, "Extra inputs are not permitted"),
    ],
)
def test_what_cannot_be_meant_is_refused_while_loading(command: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        a_client(**command)


@pytest.mark.parametrize(
    ("others", "said"),
    [
        ("--debug", "limits the throughput"),
        ("--deb", "limits the throughput"),
        ("-r", "another measurement"),
        ("--reuse 20261123_101500", "another measurement"),
        ("--pressure", "not num_prompts"),
        ("--dry_run", "sends no request"),
        ("--summarizer stable_stage", "of the default summarizer"),
        ("-w /tmp/x", "--work-dir is given twice"),
        ("--mode=all", "--mode is given twice"),
        ("--config /tmp", "which .* gives"),
    ],
)
def test_flags_that_would_change_the_meaning_of_the_result_are_refused(tmp_path: Path, others: str, said: str) -> None:
    order = an_order(tmp_path)
    with pytest.raises(InvalidConfiguration, match=said):
        a_client(others=others).plan(order)
    assert [p.key for p in a_client(others=others).problems(order.workplace)][1:] == ["ais_bench.command.others"]


def test_fields_of_the_load_reach_the_client(tmp_path: Path) -> None:
    order = an_order(tmp_path)
    fields = (*VLLM_FIELDS, a_field("WORKERS", "argument:--max-num-workers", load=True))
    order = a_measurement_order(order.workplace, {**AT_16, "WORKERS": 2}, fields)
    plan = a_client(others="--max-workers-per-gpu $CONCURRENCY").plan(order)
    assert argv_of(plan)[-4:] == ["--max-num-workers", "2", "--max-workers-per-gpu", "16"]
    assert plan.command is not None
    assert plan.command.environment["CONCURRENCY"] == "16"


@pytest.mark.parametrize(
    ("change", "more", "said"),
    [
        (("stream=True", "stream=False"), {"objective": Objective(slos=(Slo(metric="tpot", limit=1),))}, "is no tpot"),
        (("use_timestamp=False", "use_timestamp=True"), {"configuration": {"REQUESTRATE": 2.0}}, "would be ignored"),
        (("", ""), {"configuration": {"REQUESTRATE": 0.0001}}, "as unlimited"),
    ],
)
def test_a_model_configuration_that_cannot_give_what_is_asked_for_is_refused(
    tmp_path: Path, change: tuple[str, str], more: dict[str, Any], said: str
) -> None:
    order = an_order(tmp_path, **more)
    (order.workplace.working_directory / "configs/models/vllm_api/chat.py").write_text(MODEL.replace(*change))
    with pytest.raises(InvalidConfiguration, match=said):
        a_client().plan(order)


@pytest.mark.parametrize(
    ("command", "model", "keys"),
    [
        ({}, MODEL, []),
        ({"models": "models"}, MODEL, ["models"]),
        ({"datasets": "datasets"}, MODEL, ["datasets"]),
        ({}, MODEL.replace("batch_size = 1,", ""), ["models"]),
        ({}, MODEL.replace('path="/srv/models/m"', 'path=""'), ["models"]),
        ({"model": "/srv/absent"}, MODEL, ["model"]),
        ({"port": "port"}, MODEL, ["port", "models"]),
        ({"port": 8100}, MODEL.replace('url=""', 'url="http://gate/"'), ["models"]),
        ({"num_prompts": 201}, MODEL, ["num_prompts"]),
    ],
)
def test_problems_are_found_before_anything_starts(
    tmp_path: Path, command: dict[str, Any], model: str, keys: list[str]
) -> None:
    order = an_order(tmp_path)
    (order.workplace.working_directory / "configs/models/vllm_api/chat.py").write_text(model)
    a_program(tmp_path, "ais_bench")
    problems = a_client(**command).problems(order.workplace)
    assert [problem.key for problem in problems] == [f"ais_bench.command.{key}" for key in keys]
    assert all(problem.hint for problem in problems)


def test_a_missing_program_is_a_problem(tmp_path: Path) -> None:
    (problem,) = a_client().problems(an_order(tmp_path).workplace)
    assert problem.key == "ais_bench.program"


def test_the_identity_changes_with_what_is_measured_and_not_with_the_load_or_the_port(tmp_path: Path) -> None:
    order = an_order(tmp_path)
    place, own = order.workplace, order.workplace.working_directory / "configs"
    model, dataset = own / "models/vllm_api/chat.py", own / "datasets/synthetic/synthetic.py"
    before = a_client().identity(place)

    def changed(path: Path, *change: str) -> set[str]:
        text = path.read_text()
        path.write_text(text.replace(*change))
        after = a_client().identity(place)
        path.write_text(text)
        return {key for key in after if after[key] != before[key]}

    assert changed(model, "batch_size = 1", "batch_size = 99") == set()
    assert changed(model, "host_port=8080", "host_port=8081") == set()
    assert changed(model, "max_out_len=512", "max_out_len=64") == {"model_configuration"}
    assert changed(dataset, '"RequestSize": 64', '"RequestSize": 65') == {"dataset"}
    assert a_client(port=1).identity(place) == before
    assert a_client(served_model_name="other").identity(place) != before
    assert a_client(num_prompts=51).identity(place) != before


def test_the_identity_holds_the_data_files_where_aisbench_finds_them(tmp_path: Path) -> None:
    script, place = an_installation(tmp_path / "venv"), a_workplace(tmp_path)
    packages = tmp_path / "venv/lib/python3.11/site-packages"
    config = packages / "ais_bench/benchmark/configs/datasets/synthetic/synthetic.py"
    config.write_text("gsm_datasets = [dict(abbr='gsm', path='data/gsm', reader_cfg={'path': '/nowhere'})]")
    data = packages / "data/gsm/test.jsonl"
    data.parent.mkdir(parents=True)
    data.write_text("{}\n")
    client = AisBench({"program": str(script), "command": COMMAND})
    before = client.identity(place)["dataset_content"]
    data.write_text('{"question": 1}\n')
    assert before.startswith("sha256")
    assert client.identity(place)["dataset_content"] != before
    moved = a_workplace(tmp_path, {"AIS_BENCH_DATASETS_CACHE": str(tmp_path / "cache")})
    assert client.identity(moved)["dataset_content"] == ""


def test_the_identity_can_be_told_even_where_nothing_is_there(tmp_path: Path) -> None:
    identity = a_client(models="nothing").identity(a_workplace(tmp_path))
    assert identity["model_configuration"] == "nothing absent"
    assert identity["version"] == "absent"


def test_the_result_and_the_summary_are_kept_where_the_journal_looks_for_them(tmp_path: Path) -> None:
    order, client = an_order(tmp_path), a_client()
    log = order.workplace.directory / "client.log"
    log.write_text("")
    plan = client.plan(order)
    a_result(order.workplace.directory / WORK)
    client.read(ClientOutcome(exit_status=0, output=log, order=order, plan=plan))
    assert plan.artefacts is not None
    assert plan.artefacts["result.json"].read_text() == summary()
    assert plan.artefacts["result.csv"].read_text().startswith("Performance Parameters")
