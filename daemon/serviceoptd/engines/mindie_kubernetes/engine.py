"""MindIE with prefill and decode on instances of their own, on Kubernetes, by the deployment scripts that MindIE ships.

The process that the daemon starts is a supervisor of ours (mindie_kubernetes_supervisor.py): it lives as long as the
pods, and prints what they print. The files of the scripts' directory are edited by the daemon, and put back by it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from msgspec.structs import replace

from serviceopt_journal.errors import EnvironmentLacks, InvalidConfiguration, ServiceoptError
from serviceopt_journal.events import Configuration
from serviceoptd.domain.settings import LOAD_NAMES, Field, ModelFacts
from serviceoptd.engines.interface import ServiceOrder, ServicePlan, Survey
from serviceoptd.engines.mindie.configuration import JsonText, leaves
from serviceoptd.engines.mindie.limits import repaired
from serviceoptd.engines.mindie.section import VARIABLES
from serviceoptd.engines.mindie.simulated_limits import facts_of, limits_in
from serviceoptd.engines.mindie.survey import current_values
from serviceoptd.engines.mindie_kubernetes.deployment import accelerators, node_port, winning_variable
from serviceoptd.engines.mindie_kubernetes.files import (
    CONFIGURATION,
    CONTROLLER,
    OF_THE_CONTROLLER,
    by_file,
    content_of,
    refuse_unusable,
    text_of,
    unwritable,
)
from serviceoptd.engines.mindie_kubernetes.section import KubectlSection
from serviceoptd.engines.mindie_kubernetes.supervisor import READY
from serviceoptd.toolkit import arguments, program, provenance
from serviceoptd.toolkit.find_program import find_program
from serviceoptd.toolkit.interface import Command, LogProbe, Options, Problem, Refusals, Workplace
from serviceoptd.toolkit.position_checks import refuse_searched_service

SCRIPTS = ("deploy.sh", "delete.sh")
_TIMEOUTS = ("script", "kubectl", "gone", "running", "ready", "answer")


class MindieKubernetesEngine:
    """`-e mindie --pd disaggregation`: fields from `[mindie]`, the rest from `[kubectl]`."""

    name: ClassVar[str] = "mindie_kubernetes"
    table: ClassVar[str] = "kubectl"
    fields_table: ClassVar[str] = "mindie"
    section: ClassVar[type[Options]] = KubectlSection
    defaults: ClassVar[Mapping[str, Any]] = {}
    relevant_variables: ClassVar[Sequence[str]] = VARIABLES  # the scripts may hand them to the pods

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.options = KubectlSection.model_validate(options)

    @staticmethod
    def usual_stop_limit(options: Mapping[str, Any]) -> float:
        """Seconds that deleting the pods may take: longer than any process needs."""
        return KubectlSection.model_validate(options).stop_limit

    def plan(self, order: ServiceOrder) -> ServicePlan:
        """The supervisor, with both files of the scripts' directory edited.

        Raises:
            InvalidConfiguration: as the interface says; also where the deployment file would overrule a searched ratio.
            EnvironmentLacks: a file of the directory cannot be read.
        """
        if not order.managed:
            refuse_searched_service(order.fields, self.name)
            return ServicePlan(command=None, ready=None)
        directory = self._directory(order.workplace)
        deployment = self._deployment(order.workplace)
        edits: dict[Path, bytes] = {}
        refusals = Refusals()
        for name, values in by_file(order).items():
            text = text_of(directory / name, order.workplace)
            edited = text.replaced(values)
            with refusals.collected():
                refuse_unusable(name, edited)
            if edited != text:
                edits[directory / name] = edited.encoded()
        for position in by_file(order)[CONTROLLER]:
            if variable := winning_variable(deployment, position):
                message = (
                    f"{directory / self.options.deployment} sets {variable}, which wins over `{position}`: every ratio "
                    "would be measured as the same one"
                )
                refusals.add(InvalidConfiguration(message, hint=f"remove {variable} from that file"))
        refusals.tell()
        values = {field.name: order.configuration[field.name] for field in _service_fields(order)}
        environment = program.section_environment(self.options, order.workplace, values)
        environment |= arguments.field_environment(order.fields, order.configuration, load=False)
        argv = self._supervisor(order.workplace, deployment)
        return ServicePlan(
            command=Command(argv=(*argv, *self._deploy_arguments()), environment=environment),
            ready=LogProbe(READY),
            stop=Command(argv=(*argv, "--delete"), environment=environment),
            edits=edits,
            configured_by=tuple(directory / name for name in (CONFIGURATION, CONTROLLER)),
            devices=accelerators(deployment),
        )

    @staticmethod  # the same for all of its engines: what a space decodes to is known from run to run
    def repaired(configuration: Configuration, fields: Sequence[Field]) -> Configuration:
        """As MindIE's parameters limit each other."""
        return repaired(configuration, fields)

    def surveyed(self, fields: Sequence[Field], workplace: Workplace, guidance: Mapping[str, Any]) -> Survey:
        """Current values from conf/config.json and conf/ms_controller.json.

        No bound of the batch: the model lies in the pods, and the memory of one instance depends on its role.
        """
        try:
            directory = self._directory(workplace)
            configuration, controller = (text_of(directory / name, workplace) for name in (CONFIGURATION, CONTROLLER))
        except ServiceoptError:
            return Survey(tuple(fields))
        return Survey(tuple(_with_current_rate(field, controller) for field in current_values(fields, configuration)))

    def problems(self, workplace: Workplace, managed: bool = True) -> list[Problem]:
        """What a launch lacks, with the key that is to blame.

        `managed` false: nothing is needed, since nothing is started.
        """
        if not managed:
            return []
        key = f"{self.table}.kubectl_default_path"
        given = self.options.kubectl_default_path
        if not given.startswith(("/", "~/")):
            said = f'"{given}" is not an absolute path' if given else "is missing"
            return [
                Problem(
                    key, said, "give the directory of MindIE's Kubernetes scripts: `serviceoptctl docs disaggregation`"
                )
            ]
        found = list(self._missing(workplace, key))
        if not found:
            try:
                self._port(self._deployment(workplace))
                found += unwritable(self._directory(workplace), key)
            except ServiceoptError as error:
                found.append(Problem(key, error.message, error.hint))
        return found + program.program_problems(self.table, self._kubectl, self.options, workplace)

    def identity(self, workplace: Workplace) -> dict[str, str]:
        """The scripts and the deployment file by their content, and each value of both JSON files under its position."""
        own = provenance.safely_read_environment(self.options, workplace)
        parts = {
            "environment": provenance.relevant_environment(workplace, own, self.relevant_variables),
            "request": f"{self.options.host} {self.options.node_port or ''}",
            "arguments": " ".join(self.options.deploy_arguments),
        }
        try:
            directory = self._directory(workplace)
            names = (*SCRIPTS[:1], self.options.deployment)
            parts |= {name: provenance.file_digest(directory / name) for name in names}
            for name in (CONFIGURATION, CONTROLLER):
                document = text_of(directory / name, workplace).document
                parts |= {position: JsonText.shown(value) for position, value in leaves(document)}
        except ServiceoptError:
            return {**parts, "directory": provenance.ABSENT}
        return parts

    def kv_blocks(self, report: str) -> int | None:
        """MindIE reports no number of blocks that a program could read."""
        return None

    def simulated(self, workplace: Workplace) -> Mapping[str, Any]:
        """The limits of an instance's scheduler, as conf/config.json has them."""
        try:
            return {"limits": limits_in(text_of(self._directory(workplace) / CONFIGURATION, workplace), workplace)}
        except ServiceoptError:  # told by `problems`, where it is to be started
            return {}

    def model_facts(self, workplace: Workplace) -> ModelFacts:
        """The fixed limits of the scheduler alone: the model lies in the pods."""
        return facts_of(self.simulated(workplace).get("limits", {}))

    def devices(self, configuration: Configuration, fields: Sequence[Field] = ()) -> int:
        """The plan tells it, from the deployment file: the ratio divides a fixed number of accelerators."""
        return 1

    @property
    def _kubectl(self) -> str:
        return self.options.program or "kubectl"

    def _directory(self, workplace: Workplace) -> Path:
        return Path(program.located(self.options.kubectl_default_path, workplace))

    def _deployment(self, workplace: Workplace) -> str:
        path = self._directory(workplace) / self.options.deployment
        return content_of(path).decode(errors="replace")

    def _port(self, deployment: str) -> int:
        return self.options.node_port or node_port(deployment, self.options.deployment)

    def _deploy_arguments(self) -> tuple[str, ...]:
        return ("--", *self.options.deploy_arguments) if self.options.deploy_arguments else ()

    def _supervisor(self, workplace: Workplace, deployment: str) -> tuple[str, ...]:
        given = self.options
        words = ["--directory", str(self._directory(workplace)), "--lock", str(workplace.directory / "supervisor.lock")]
        words += ["--kubectl", program.located(self._kubectl, workplace), "--namespace", given.namespace]
        # one word each: a value may begin with a dash, or be empty
        words += [
            f"--pod-prefix={given.pod_prefix}",
            f"--pod-label={given.pod_label}",
            f"--ready-log={given.ready_log}",
        ]
        words += ["--host", given.host, "--port", str(self._port(deployment))]
        words += [f"--request-path={given.request_path}", f"--request-body={given.request_body}"]
        for name in _TIMEOUTS:
            words += [f"--{name}-timeout", f"{getattr(given, f'{name}_timeout'):g}"]
        return (sys.executable, "-I", "-m", "serviceoptd.engines.mindie_kubernetes.supervisor", *words)

    def _missing(self, workplace: Workplace, key: str) -> Iterator[Problem]:
        directory = self._directory(workplace)
        for name in (*SCRIPTS, CONFIGURATION, CONTROLLER, self.options.deployment):
            if not (directory / name).is_file():
                yield Problem(key, f"{directory / name} does not exist", "give the directory that holds deploy.sh")
        for name in (CONFIGURATION, CONTROLLER):
            if (directory / name).is_file():
                try:
                    text_of(directory / name, workplace)
                except ServiceoptError as error:
                    yield Problem(key, error.message, error.hint)
        try:
            find_program("bash", workplace.environment, workplace.working_directory)
        except EnvironmentLacks as error:
            yield Problem(key, error.message, "the deployment scripts are written for bash")


def _service_fields(order: ServiceOrder) -> list[Field]:
    names = order.configuration.keys() - LOAD_NAMES
    return [field for field in order.fields if field.name in names and not field.load]


def _with_current_rate(field: Field, controller: JsonText) -> Field:
    if field.value is not None or field.constant is not None or not field.config_position.startswith(OF_THE_CONTROLLER):
        return field
    present = controller.get(field.config_position)
    if isinstance(present, bool) or not isinstance(present, int | float) or not field.min <= present <= field.max:
        return field  # such as 0: MindIE decides, and that is no point of the search space
    return replace(field, value=present)
