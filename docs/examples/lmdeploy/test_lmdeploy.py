from typing import Any, ClassVar

from serviceopt_lmdeploy import LmdeployEngine

from serviceoptd.contract import EngineContract


class TestLmdeploy(EngineContract):
    engine = LmdeployEngine
    options: ClassVar[dict[str, Any]] = {"command": {"model": "org/model", "served_model_name": "m"}}
