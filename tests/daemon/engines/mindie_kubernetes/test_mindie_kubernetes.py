"""The plan of a deployment on Kubernetes: which files are edited, how the supervisor is called, what is refused before."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from serviceopt_journal.errors import InvalidConfiguration
from serviceopt_journal.events import Configuration
from serviceoptd.contract.engine import EngineContract
from serviceoptd.contract.orders import a_field, a_program, a_service_order, a_workplace
from serviceoptd.domain.settings import Field
from serviceoptd.engines.interface import Repairing, ServicePlan, Surveying
from serviceoptd.engines.mindie.engine import MindieEngine
from serviceoptd.engines.mindie_kubernetes.cluster import Pod, pods_in
from serviceoptd.engines.mindie_kubernetes.deployment import accelerators, node_port, winning_variable
from serviceoptd.engines.mindie_kubernetes.engine import MindieKubernetesEngine
from serviceoptd.engines.mindie_kubernetes.supervisor import READY, parser
from serviceoptd.toolkit.interface import LogProbe
from stubs.kubernetes_scenario import STUBS, StubCluster

BATCH = a_field("max_batch_size", "BackendConfig.ScheduleConfig.maxBatchSize", min=10, max=1000)
PREFILL = a_field("default_p_rate", "default_p_rate", min=1, max=3)
DECODE = a_field("default_d_rate", "default_d_rate", dtype="share", dtype_param="default_p_rate", min=1, max=3)
CONCURRENCY = a_field("CONCURRENCY", min=1, max=100)
FIELDS = (BATCH, PREFILL, DECODE, CONCURRENCY)
CONFIGURATION: Configuration = {"max_batch_size": 64, "default_p_rate": 2, "default_d_rate": 2, "CONCURRENCY": 8}
DEFAULT_FIELDS = tuple(msgspec.convert(MindieEngine.defaults["target_field"], list[Field], strict=False))


class TestMindieKubernetes(EngineContract):
    engine = MindieKubernetesEngine
    options: ClassVar[dict[str, Any]] = {"kubectl_default_path": str(STUBS / "scripts")}
    fields: ClassVar[tuple[Field, ...]] = FIELDS
    configuration: ClassVar[Configuration] = CONFIGURATION


@pytest.fixture
def cluster(tmp_path: Path) -> StubCluster:
    return StubCluster.below(tmp_path)


def an_engine(cluster: StubCluster, **options: Any) -> MindieKubernetesEngine:
    section = {"kubectl_default_path": str(cluster.scripts), **options}
    return MindieKubernetesEngine(MindieKubernetesEngine.section.model_validate(section).model_dump(mode="json"))


def planned(
    cluster: StubCluster,
    tmp_path: Path,
    configuration: Configuration = CONFIGURATION,
    fields: tuple[Field, ...] = FIELDS,
    **options: Any,
) -> ServicePlan:
    return an_engine(cluster, **options).plan(a_service_order(a_workplace(tmp_path), configuration, fields))


def orders(plan: ServicePlan) -> Any:
    """What the supervisor reads from its command line."""
    assert plan.command is not None
    return parser().parse_args(plan.command.argv[4:])


def test_each_value_is_written_to_its_file_and_nothing_else_of_it_changes(cluster: StubCluster, tmp_path: Path) -> None:
    edits = planned(cluster, tmp_path).edits
    before = cluster.files()
    assert {str(path.relative_to(cluster.scripts)): content for path, content in edits.items()} == {
        "conf/config.json": before["conf/config.json"].replace(b'"maxBatchSize" : 200', b'"maxBatchSize" : 64'),
        "conf/ms_controller.json": before["conf/ms_controller.json"]
        .replace(b'"default_p_rate": 1', b'"default_p_rate": 2')
        .replace(b'"default_d_rate": 3', b'"default_d_rate": 2'),
    }


def test_a_file_that_keeps_its_values_is_not_edited(cluster: StubCluster, tmp_path: Path) -> None:
    assert list(planned(cluster, tmp_path, {"max_batch_size": 64}, (BATCH,)).edits) == [
        cluster.scripts / "conf/config.json"
    ]
    assert planned(cluster, tmp_path, {"default_p_rate": 1}, (PREFILL,)).edits == {}


def test_it_is_planned_from_what_the_user_wrote_while_a_launch_has_it_edited(
    cluster: StubCluster, tmp_path: Path
) -> None:
    original = (cluster.scripts / "conf/config.json").read_bytes()
    engine, place = an_engine(cluster), a_workplace(tmp_path)
    untouched, identity = planned(cluster, tmp_path).edits, engine.identity(place)
    (cluster.scripts / "conf/config.json").write_text('{"left": "by a crash"}')
    during = type(place)(
        place.directory, place.working_directory, place.environment, {cluster.scripts / "conf/config.json": original}
    )
    assert engine.plan(a_service_order(during, CONFIGURATION, FIELDS)).edits == untouched
    assert engine.identity(during) == identity
    assert engine.identity(place) != identity


def test_the_supervisor_runs_on_our_own_interpreter_whatever_the_path(cluster: StubCluster, tmp_path: Path) -> None:
    plan = planned(cluster, tmp_path, deploy_arguments=["800i_a3"], pod_label="app in (a, b)", gone_timeout=7.5)
    assert plan.command is not None
    assert plan.stop is not None
    assert plan.command.argv[:3] == (sys.executable, "-I", "-m")
    assert plan.ready == LogProbe(READY)
    assert plan.listens_on is None
    assert plan.devices == 8
    given = orders(plan)
    assert (given.directory, given.port, given.host) == (str(cluster.scripts), cluster.port, "127.0.0.1")
    assert (given.pod_prefix, given.pod_label, given.gone_timeout) == ("mindie", "app in (a, b)", 7.5)
    assert (given.ready_log, given.request_path) == ("MindIE-MS coordinator is ready!!!", "/")
    assert json.loads(given.request_body)["inputs"]
    assert (given.delete, given.deploy_arguments) == (False, ["800i_a3"])
    assert Path(given.lock).parent == tmp_path / "private"
    stopping = parser().parse_args(plan.stop.argv[4:])
    assert (stopping.delete, stopping.lock, stopping.deploy_arguments) == (True, given.lock, [])


def test_a_value_that_looks_like_a_flag_is_still_a_value(cluster: StubCluster, tmp_path: Path) -> None:
    given = orders(planned(cluster, tmp_path, ready_log="--ready--", deploy_arguments=["--heter"], pod_label="-x"))
    assert (given.ready_log, given.deploy_arguments, given.pod_label) == ("--ready--", ["--heter"], "-x")


def test_the_environment_of_the_section_and_of_env_fields_reaches_the_scripts(
    cluster: StubCluster, tmp_path: Path
) -> None:
    field = a_field("LEVEL", min=0, max=9)
    plan = planned(cluster, tmp_path, {"LEVEL": 3}, (field,), environment={"KUBECONFIG": "/etc/k-$LEVEL"})
    assert plan.command is not None
    assert plan.stop is not None
    assert plan.command.environment == plan.stop.environment == {"KUBECONFIG": "/etc/k-3", "LEVEL": "3"}


@pytest.mark.parametrize(
    ("field", "value", "why"),
    [
        (a_field("x", "BackendConfig.ScheduleConfig.maxBatchsize"), 5, "maxBatchSize"),
        (a_field("x", "default_e_rate"), 5, "default_p_rate"),
        (a_field("x", "argument:--workers"), 5, "serviceopt does not start the pods"),
        (a_field("CONCURRENCY", "BackendConfig.ScheduleConfig.maxBatchSize"), 5, "tunes the load"),
        (a_field("x", "default_p_rate"), 0, "both are 0"),
        (a_field("x", "default_p_rate"), 14, "more than 16 together"),
        (a_field("x", "default_p_rate"), "2", "would not be"),
        (a_field("x", "BackendConfig.ScheduleConfig.maxPrefillBatchSize"), 300, "must not be above maxBatchSize"),
    ],
)
def test_what_mindie_would_refuse_is_refused_before(
    cluster: StubCluster, tmp_path: Path, field: Field, value: Any, why: str
) -> None:
    with pytest.raises(InvalidConfiguration, match=why):
        planned(cluster, tmp_path, {field.name: value}, (field,))


def test_two_fields_for_one_place_are_refused(cluster: StubCluster, tmp_path: Path) -> None:
    other = a_field("other", "default_p_rate")
    with pytest.raises(InvalidConfiguration, match="two fields"):
        planned(cluster, tmp_path, {"default_p_rate": 1, "other": 2}, (PREFILL, other))


def test_a_ratio_that_the_pod_would_overrule_is_refused(cluster: StubCluster, tmp_path: Path) -> None:
    deployment = cluster.scripts / "deployment/mindie_service_single_container.yaml"
    deployment.write_text(deployment.read_text().replace("# - name: MINDIE_MS_P_RATE", "- name: MINDIE_MS_P_RATE"))
    with pytest.raises(InvalidConfiguration, match="MINDIE_MS_P_RATE, which wins over `default_p_rate`"):
        planned(cluster, tmp_path)
    assert planned(cluster, tmp_path, {"max_batch_size": 64}, (BATCH,)).edits


def test_nothing_is_edited_or_run_for_somebody_elses_deployment(cluster: StubCluster, tmp_path: Path) -> None:
    order = a_service_order(a_workplace(tmp_path), {"CONCURRENCY": 8}, (CONCURRENCY,), managed=False)
    assert an_engine(cluster).plan(order) == ServicePlan(command=None, ready=None)
    searched = a_service_order(a_workplace(tmp_path), CONFIGURATION, FIELDS, managed=False)
    with pytest.raises(InvalidConfiguration, match="max_batch_size"):
        an_engine(cluster).plan(searched)


def test_current_values_are_those_of_both_files(cluster: StubCluster, tmp_path: Path) -> None:
    engine = an_engine(cluster)
    assert isinstance(engine, Surveying)
    found = engine.surveyed(FIELDS, a_workplace(tmp_path), {}).fields
    assert {field.name: field.value for field in found} == {
        "max_batch_size": 200, "default_p_rate": 1, "default_d_rate": 3, "CONCURRENCY": None,
    }  # fmt: skip
    controller = cluster.scripts / "conf/ms_controller.json"
    controller.write_text(controller.read_text().replace('"default_p_rate": 1', '"default_p_rate": 0'))
    assert engine.surveyed((PREFILL,), a_workplace(tmp_path), {}).fields == (PREFILL,)  # MindIE decides: no value
    controller.unlink()
    assert engine.surveyed(FIELDS, a_workplace(tmp_path), {}).fields == FIELDS


def test_it_knows_mindies_limits(cluster: StubCluster) -> None:
    engine = an_engine(cluster)
    assert isinstance(engine, Repairing)
    some = {"max_batch_size": 100, "max_prefill_batch_size": 0}
    assert engine.repaired(some, DEFAULT_FIELDS)["max_prefill_batch_size"] == 1


def test_what_is_missing_is_a_problem(cluster: StubCluster, tmp_path: Path) -> None:
    place = a_workplace(tmp_path)
    key = "kubectl.kubectl_default_path"
    a_program(tmp_path, "kubectl")
    assert an_engine(cluster).problems(place) == []
    assert an_engine(cluster, kubectl_default_path="scripts").problems(place, managed=False) == []
    (relative,) = an_engine(cluster, kubectl_default_path="scripts").problems(place)
    assert (relative.key, relative.message) == (key, '"scripts" is not an absolute path')
    (absent,) = an_engine(cluster, kubectl_default_path="").problems(place)
    assert absent.message == "is missing"
    (cluster.scripts / "delete.sh").unlink()
    (cluster.scripts / "conf/ms_controller.json").write_text("{")
    missing, broken = (problem.message for problem in an_engine(cluster).problems(place))
    assert missing == f"{cluster.scripts}/delete.sh does not exist"
    assert broken.startswith(f"{cluster.scripts}/conf/ms_controller.json is not JSON: ")


def test_a_missing_kubectl_or_node_port_is_a_problem(cluster: StubCluster, tmp_path: Path) -> None:
    place = a_workplace(tmp_path, {"PATH": f"{tmp_path}/bin"})
    a_program(tmp_path, "bash")
    assert [problem.key for problem in an_engine(cluster).problems(place)] == ["kubectl.program"]
    a_program(tmp_path, "kubectl")
    deployment = cluster.scripts / "deployment/mindie_service_single_container.yaml"
    deployment.write_text("kind: Deployment\n")
    (problem,) = an_engine(cluster).problems(place)
    assert "has no line `nodePort: NUMBER`" in problem.message
    assert an_engine(cluster, node_port=31099).problems(place) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everything")
def test_files_that_cannot_be_written_are_a_problem(cluster: StubCluster, tmp_path: Path) -> None:
    a_program(tmp_path, "kubectl")
    (cluster.scripts / "conf").chmod(0o500)
    messages = [problem.message for problem in an_engine(cluster).problems(a_workplace(tmp_path))]
    (cluster.scripts / "conf").chmod(0o700)
    assert len(messages) == 2
    assert all("cannot be written" in message for message in messages)


@pytest.mark.parametrize("name", ["deploy.sh", "deployment/mindie_service_single_container.yaml"])
def test_another_deployment_is_another_identity(cluster: StubCluster, tmp_path: Path, name: str) -> None:
    place = a_workplace(tmp_path)
    before = an_engine(cluster).identity(place)
    (cluster.scripts / name).write_text("# changed\nnodePort: 31015\n")
    assert an_engine(cluster).identity(place) != before


def test_each_value_of_both_files_is_named_in_the_identity_by_its_position(
    cluster: StubCluster, tmp_path: Path
) -> None:
    identity = an_engine(cluster).identity(a_workplace(tmp_path))
    assert identity["BackendConfig.ScheduleConfig.maxBatchSize"] == "200"
    assert (identity["default_p_rate"], identity["default_d_rate"]) == ("1", "3")
    assert an_engine(cluster, kubectl_default_path="/nowhere").identity(a_workplace(tmp_path))["directory"] == "absent"


@pytest.mark.parametrize("key", ["working_directory", "stop_command"])
def test_a_key_that_would_have_no_effect_is_refused(key: str) -> None:
    with pytest.raises(ValidationError, match=key):
        MindieKubernetesEngine.section.model_validate({key: ["x"] if key == "stop_command" else "x"})


@pytest.mark.parametrize("namespace", ["", "Mindie", "-n", "a b", "../x"])
def test_a_namespace_is_a_name(namespace: str) -> None:
    with pytest.raises(ValidationError, match="namespace"):
        MindieKubernetesEngine.section.model_validate({"namespace": namespace})


@pytest.mark.parametrize(
    ("text", "port"),
    [
        ("spec:\n  ports:\n    - nodePort: 31015\n", 31015),
        ("      nodePort:   31016  # infer\n      nodePort: 31017\n", 31016),
        ('  "nodePort": "31018"\r\n', 31018),
        ("# nodePort: 1\nnodePort: 31019", 31019),
    ],
)
def test_the_node_port_is_read_from_the_deployment_file(text: str, port: int) -> None:
    assert node_port(text, "f.yaml") == port


@pytest.mark.parametrize("text", ["", "port: 1025", "nodePort:", "nodePort: {{ .Values.port }}", "nodePort: 70000"])
def test_a_node_port_that_is_none_is_an_error_that_names_the_file(text: str) -> None:
    with pytest.raises(InvalidConfiguration, match=r"f\.yaml"):
        node_port(text, "f.yaml")


@given(st.text() | st.builds("nodePort: {}\n{}".format, st.integers() | st.text(), st.text()))
def test_any_text_is_read_or_refused(text: str) -> None:
    assert accelerators(text) is None or accelerators(text) >= 1
    assert winning_variable(text, "default_p_rate") in (None, "MINDIE_MS_P_RATE")
    try:
        port = node_port(text, "f.yaml")
    except InvalidConfiguration:
        return
    assert 1 <= port <= 65535
    assert str(port) in text


def test_accelerators_are_counted_once_although_they_are_requested_and_limited() -> None:
    assert accelerators("requests:\n  huawei.com/Ascend910: 8\nlimits:\n  huawei.com/Ascend910: 8\n") == 8
    assert accelerators('huawei.com/Ascend310P: "4"\n') == 4
    assert accelerators("nvidia.com/gpu: 8\n# huawei.com/Ascend910: 8\n") is None


def a_pod(name: str, phase: str, **container: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "uid": name}, "status": {"phase": phase, "containerStatuses": [container]}}


def test_pods_are_those_of_the_prefix_with_what_keeps_them_from_running() -> None:
    running = a_pod("mindie-server-1", "Running", restartCount=0, state={"running": {}})
    waiting = a_pod("mindie-server-2", "Pending", restartCount=2, state={"waiting": {"reason": "ImagePullBackOff"}})
    early = {"metadata": {"name": "mindie-server-3"}, "status": {"phase": "Pending"}}
    listed = json.dumps({"items": [running, waiting, early, a_pod("etcd", "Running")]})
    found = pods_in(listed, "mindie")
    assert found == [
        Pod("mindie-server-1", "mindie-server-1", "Running", 0, ()),
        Pod("mindie-server-2", "mindie-server-2", "Pending", 2, ("ImagePullBackOff",)),
        Pod("mindie-server-3", "", "Pending", 0, ()),
    ]
    assert [pod.runs for pod in found] == [True, False, False]


ANYTHING = (
    st.none() | st.booleans() | st.integers() | st.text(max_size=3) | st.lists(st.none() | st.just({}), max_size=2)
)


def some_table(**parts: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return ANYTHING | st.fixed_dictionaries({}, optional={name: ANYTHING | part for name, part in parts.items()})


CONTAINER = some_table(restartCount=st.integers(), state=some_table(waiting=some_table(reason=st.text())))
POD = some_table(
    metadata=some_table(name=st.text(), uid=st.text()),
    status=some_table(phase=st.text(), containerStatuses=st.lists(CONTAINER, max_size=2)),
)


@given(some_table(items=st.lists(POD, max_size=3)))
def test_any_answer_of_kubectl_is_a_list_of_pods_or_no_answer(answer: Any) -> None:
    items = answer.get("items") if isinstance(answer, dict) else None
    usable = isinstance(items, list) and all(isinstance(item, dict) for item in items)
    try:
        found = pods_in(json.dumps(answer), "")
    except ValueError:
        assert not usable
    else:
        assert usable
        assert len(found) == len(items or ())


def test_every_key_is_documented_with_its_default() -> None:
    text = (Path(__file__).parents[4] / "docs" / "disaggregation.md").read_text()
    rows = dict(re.findall(r"^\| (`[^|]+`) \| ([^|]+) \|", text[text.index("### `[kubectl]`") :], re.MULTILINE))
    for name, field in MindieKubernetesEngine.section.model_fields.items():
        if name in ("working_directory", "stop_command"):  # refused
            continue
        (default,) = (value for keys, value in rows.items() if f"`{name}`" in keys)
        if isinstance(field.default, float):
            assert default == f"{field.default:g} s"
        elif isinstance(field.default, str) and field.default and name != "request_body":
            assert f'"{field.default}"' in default
