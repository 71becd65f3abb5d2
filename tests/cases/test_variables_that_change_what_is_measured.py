"""Variables of the environment that change what is measured: a value measured with another one is not reused."""

from __future__ import annotations

from pathlib import Path

import pytest

from serviceoptd.engines.mindie.engine import MindieEngine
from serviceoptd.engines.sglang import SglangEngine
from serviceoptd.engines.vllm import VllmEngine
from serviceoptd.toolkit.interface import Workplace
from serviceoptd.toolkit.provenance import relevant_environment

OF_MINDIE = (
    "BIND_CPU", "CPU_BINDING_NUM", "RESERVED_MEMORY_GB", "DP_MOVE_UP_ENABLE", "DYNAMIC_PBS_ENABLE", "PREFILL_CUT_NUM",
    "LONG_PREFILL_LEN_THRESHOLD", "DEEPSEEK_MTP", "LM_HEAD_LOCAL_TP", "POST_PROCESSING_SPEED_MODE_TYPE",
    "PERFORMANCE_PREFIX_TREE_ENABLE", "ATB_OPERATION_EXECUTE_ASYNC", "LCCL_DETERMINISTIC", "TASK_QUEUE_ENABLE",
    "MINDIE_ASYNC_SCHEDULING_ENABLE", "PYTORCH_NPU_ALLOC_CONF",
)  # fmt: skip
OF_PYTORCH = ("NVSHMEM_IBGDA_SUPPORT", "DG_JIT_CACHE", "CUTE_DSL_ARCH", "TVM_FFI_X", "TORCHINDUCTOR_FREEZING")
OF_ALL = ("PYTHONPATH", "LD_LIBRARY_PATH", "LD_PRELOAD", "OMP_PROC_BIND", "HCCL_OP_EXPANSION_MODE")


@pytest.mark.parametrize(
    ("engine", "name"),
    [
        *((MindieEngine, name) for name in (*OF_MINDIE, *OF_ALL)),
        *((engine, name) for engine in (VllmEngine, SglangEngine) for name in (*OF_PYTORCH, *OF_ALL)),
    ],
)
def test_another_value_of_it_is_another_setting(
    tmp_path: Path, engine: type[MindieEngine | VllmEngine | SglangEngine], name: str
) -> None:
    patterns = engine.relevant_variables
    told = {
        value: relevant_environment(Workplace(tmp_path, tmp_path, {name: value, "PATH": "/bin"}), {}, patterns)
        for value in ("1", "2")
    }
    assert told["1"] == f"{name}=1"
    assert told["1"] != told["2"]


@pytest.mark.parametrize("name", ["HOME", "PATH", "TERM", "ATB_HOME_PATH", "CUDA_HOME", "HF_HOME", "OLDPWD", "LANG"])
def test_what_changes_from_shell_to_shell_is_no_setting(tmp_path: Path, name: str) -> None:
    place = Workplace(tmp_path, tmp_path, {name: "/x"})
    for engine in (MindieEngine, VllmEngine, SglangEngine):
        assert relevant_environment(place, {}, engine.relevant_variables) == ""
