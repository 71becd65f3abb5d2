"""`[kubectl]`: the deployment scripts, where their pods are, and a limit on every wait."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StrictInt, model_validator

from serviceoptd.toolkit.interface import ProcessOptions

Seconds = Annotated[float, Field(gt=0, le=7 * 24 * 3600, allow_inf_nan=False)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")]
Text = Annotated[str, Field(min_length=1)]

DEPLOYMENT = "deployment/mindie_service_single_container.yaml"
READY = "MindIE-MS coordinator is ready!!!"
REQUEST = '{"inputs": "Hello", "parameters": {"max_new_tokens": 1}}'


class KubectlSection(ProcessOptions):
    """The table `[kubectl]`; `program` is kubectl itself. `environment` reaches the scripts and kubectl, not the pods."""

    kubectl_default_path: str = ""  # the directory of deploy.sh and delete.sh
    namespace: Name = "mindie"
    pod_prefix: Name = "mindie"  # the pods whose names begin so are ours,
    pod_label: str = ""  # or, where given, those that this label selector finds
    deploy_arguments: tuple[str, ...] = ()  # of deploy.sh, such as "800i_a3"
    deployment: Text = DEPLOYMENT  # below kubectl_default_path; tells node port and accelerators
    ready_log: Text = READY  # text of the pods' log line after which the node port is asked
    host: Text = "127.0.0.1"  # of a node of the cluster
    node_port: Annotated[StrictInt, Field(ge=1, le=65535)] | None = None  # None: the one in the deployment file
    request_path: Annotated[str, Field(pattern=r"^/")] = "/"  # a POST there is the service's first request
    request_body: Text = REQUEST
    script_timeout: Seconds = 300.0  # one run of deploy.sh or delete.sh
    kubectl_timeout: Seconds = 30.0  # one answer of kubectl
    gone_timeout: Seconds = 300.0  # until the deleted pods are gone
    running_timeout: Seconds = 1800.0  # until they run again
    ready_timeout: Seconds = 1800.0  # from there to the log line
    answer_timeout: Seconds = 300.0  # from there to the first answered request

    @model_validator(mode="after")
    def _nothing_without_effect(self) -> KubectlSection:
        for key in ("working_directory", "stop_command"):
            if getattr(self, key) is not None:
                raise ValueError(f"{key} has no meaning here: the scripts run in kubectl_default_path, delete.sh stops")
        return self

    @property
    def stop_limit(self) -> float:
        """Seconds that stopping may take: the script, the pods' end, and asking for it."""
        return self.script_timeout + self.gone_timeout + self.kubectl_timeout
