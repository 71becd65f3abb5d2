"""Phrases by which the logs of vLLM, SGLang, MindIE and what lies below them tell of each kind of failure.

Regular expressions, whose case does not matter. Order counts: a line is of the first kind that it speaks of, so that "NCCL
error: out of memory" is a lack of memory.
"""

from __future__ import annotations

import re
from functools import cache

from serviceoptd.domain import failures


@cache  # and not compiled where the phrases stand: a start waits for it, and only a failure asks for it
def any_of(phrases: tuple[str, ...]) -> re.Pattern[str]:
    """A pattern that finds any of these phrases."""
    return re.compile("|".join(phrases), re.IGNORECASE)


KINDS: tuple[tuple[str, tuple[str, ...]], ...] = (
    (
        failures.KV_CACHE,
        (
            *(
                "to serve at least one request",
                "no available memory for the cache",
                "KV cache (?:memory|is needed|size)",
            ),
            *(
                "in KV cache",
                "no available (?:GPU |NPU )?(?:memory|blocks)",
                "not enough memory.*(?:mem[-_ ]fraction|KV)",
            ),
            *(
                "kv ?cache.*(?:not enough|insufficient|too small|less than|larger)",
                "too little.*kv ?cache",
                "npuMemSize",
                "memory pool size is too small",
                "max_total_num_tokens=-?0",
                "available Mamba cache blocks",
            ),
        ),
    ),
    (
        failures.DEVICE_IN_USE,
        (
            *("less than desired GPU memory utilization", r"devices? (?:\S+ )?(?:is|are) busy", "busy or unavailable"),
            *("device busy", "occupied by other", "used by (?:an)?other process", "exclusive.process"),
            *("error in memory profiling", "other processes sharing", "last training process is running"),
            *("memory capacity is unbalanced", "devices? (?:is|are) (?:already )?(?:occupied|in use)"),
        ),
    ),
    (
        failures.OUT_OF_MEMORY,
        (
            *("out of memory", "OutOfMemory", r"\bOOM\b", "OOMKilled", "cannot allocate memory", "std::bad_alloc"),
            *(r"\bMemoryError\b", "CUBLAS_STATUS_ALLOC_FAILED", "failed to allocate", r"alloc(?:ation)? fail"),
            *(
                r"OUT_OF_(?:\w+_)?(?:MEMORY|RESOURCES)",
                "low on memory",
                r"\boom.?kill",
                r"[mM]alloc\w*\W.*fail",
                "unable to allocate",
            ),
            # Of the shared memory an engine needs more or less by its parameters.
            *(r"\b207001\b", "no space left on device.*shm", "shm.*no space left on device"),
            "</torch_.*no space left on device",
        ),
    ),
    (
        failures.NO_ROOM,
        ("no space left on device", "disk quota exceeded", r"Errno (?:28|122)\b", r"\bENOSPC\b", r"\bEDQUOT\b"),
    ),
    (
        failures.PORT,
        (
            *("address already in use", r"Errno (?:98|99|48)\b", "EADDRINUSE", "EADDRNOTAVAIL", "attempting to bind"),
            *(r"ports? (?:\S+ )?(?:is|are|was) (?:already|in use|occupied|taken|not available|not free)",),
            *(
                "cannot assign requested address",
                "bind the IP port",
                "(?:failed|unable) to (?:bind|listen)",
                r"bind\S* (?:\S+ )?failed",
            ),
        ),
    ),
    (
        failures.COMMUNICATION,
        (
            *(
                r"\bnccl\w*",
                r"\bhccl\w*",
                r"\brccl\w*",
                "Dist(?:Backend|Store|Network)Error",
                r"\bgloo\b",
                r"\bE[IJ]\d{4}\b",
            ),
            *("ProcessGroup", "TCPStore", "client socket has timed out", "waiting for clients", "rank ?table"),
            *("connectFullMesh", "all_?reduce (?:failed|error)", "rendezvous"),
        ),
    ),
    (
        failures.TOO_FEW_DEVICES,
        (
            *("exceeds the (?:total )?number of", r"not enough (?:gpu|npu|cuda|device)s?\b", "number of available"),
            *("less than max(?:imum)? local (?:gpu|npu)", "world ?size", "invalid device ordinal"),
            *("placement group",),
        ),
    ),
    (
        failures.NO_DEVICE,
        (
            *("no CUDA GPUs", "no (?:CUDA-capable|NVIDIA|npu|gpu) ?(?:driver|devices?)", "no .*device is detected"),
            *("failed to infer device type", "NVIDIA driver", "driver version is insufficient"),
            *("libcuda", "no supported device", "rtSetDevice", r"\b107001\b", "drvMngGet", "no accelerator"),
            *(
                "has no (?:GPU|NPU|accelerator)",
                r"device ?count\b",
                "device not ready",
                "uncorrectable ECC",
                "off the bus",
            ),
            *("system not yet initialized", r"\bnvml", "nvidia-container", "select device driver", "TsdOpen", "dcmi"),
        ),
    ),
    (
        failures.MODEL,
        (
            *(
                "gated",
                "(?:Repository|LocalEntry|Entry|Revision)NotFound",
                "HFValidationError",
                "valid model identifier",
            ),
            *("not a local folder", "invalid repository ID", "does not appear to have a file", "repo id must"),
            *(
                "unrecognized model",
                "couldn.t connect to",
                "can.t load (?:the )?(?:config|token|model|feature|image|proc)",
            ),
            *(r"model architectures?\b.*(?:support|fail|inspect)", "safetensor", "any model weights", "HeaderTooLarge"),
            *(
                "MetadataIncomplete",
                "tokenizer.*(?:not|fail)",
                "offline mode",
                "huggingface",
                "hf[-_]hub",
                "modelscope",
            ),
            *(
                "modelWeightPath",
                r"(?:weights?|model)\b[\w ]*\b(?:path|director|file)\w*\b.*(?:not|no such|invalid|fail)",
            ),
            *("no such file or directory: .*(?:model|weight)", "name resolution", "trust_remote_code"),
            *("unsupported model", "model type .* (?:not|unknown)", "attempted to load weight", "size mismatch for"),
        ),
    ),
    (
        failures.INSTALLATION,
        (
            *(
                "ModuleNotFound",
                r"\bImportError",
                "shared librar",
                "shared object",
                "command not found",
                ": not found$",
            ),
            *(
                "undefined symbol",
                "no module named",
                "GLIBC",
                "cannot execute",
                "exec format",
                "permission ?(?:error|denied)",
            ),
            *(
                "no kernel image",
                r"could not find (?:nvcc|ninja|\w*cc\b)",
                "C compiler",
                "CUDA_HOME",
                "pull access denied",
            ),
            *("manifest unknown", "unable to find image", "permission (?:check )?fail"),
        ),
    ),
    (
        failures.REFUSED_ARGUMENT,
        (
            *("unrecognized arguments?", ": error: ", "invalid choice", "expected (?:one|at least one) argument"),
            *(
                "arguments? (?:is|are) required",
                "ambiguous option",
                "unknown (?:option|argument|flag)",
                "ValidationError",
            ),
            *(
                "not allowed with",
                "(?:not|must be) divisible",
                "must be (?:greater|less|larger|smaller|positive|at |one of)",
            ),
            *("must be (?:in |between|a multiple|set|<|>)", "is (?:greater|larger|smaller|less) than"),
            *(
                "(?:is|are) not supported",
                "(?:is|are) only supported",
                "not (?:yet )?implemented",
                "NotImplementedError",
                "unsupported",
                "cannot be used",
            ),
            *("not aligned with the quantized", "too large tensor parallel"),
            *("invalid (?:value|argument|literal|option|param)", "incompatible", "JSONDecodeError", r"check\w* param"),
        ),
    ),
)

CONSEQUENCES: tuple[str, ...] = (
    *("root cause above", "Engine core initialization failed", "EngineCore (?:failed|hit|encountered|died)"),
    *("EngineDead", "Engine process failed", "Engine loop (?:has died|is not running)", r"core proc\(s\)"),
    *(
        "Worker(?:Proc)? (?:failed|initialization failed|proc|died)",
        "resource_tracker",
        "leaked (?:shared|sema)",
    ),
    *("received sigquit", r"child process (?:died|exited|failed|\d)", "ChildFailedError", "hit an exception"),
    *("scheduler (?:is dead|died|process)", r"is dead\b", "has died", "Failed to init endpoint"),
    *("failed to init LLMInferModels", "Exception in worker", "broken ?pipe", "ConnectionReset"),
    *("connection (?:reset|closed) by (?:peer|remote)", "EOFError", "KeyboardInterrupt", "SystemExit"),
    *("CancelledError", "RuntimeError: cancelled", "Application startup failed", "destroy_process_group"),
    *("Exception ignored in", "ERR99999", "RayTaskError", "Actor(?:Died|Unavailable)", "actor died"),
    *("exited with code", "Process(?:Raised|Exited)", "terminated (?:unexpectedly|by signal)"),
    *(r"rank \d+ (?:exited|failed)", "shm_broadcast", "remote process exited", "MPI_ABORT"),
    *("other ranks that didn.t", "worker died or was killed"),
    *("Initialize model failed", r"Initialization failed\. ?$", r"failed to start\.? ?$"),
)
"""What other processes, launchers and Python itself say of a failure that lies elsewhere."""

NOISE: tuple[str, ...] = (
    *("CUDA kernel errors might be", "HIP kernel errors might be", "CUDA_LAUNCH_BLOCKING", "USE_(?:CUDA|HIP)_DSA"),
    *("potential root causes",),
    *("^Search for .* for more information", "^Possible solutions:"),
)
"""What PyTorch and engines say after an error to help, which is none itself."""

DEATHS: tuple[str, ...] = (
    *("EngineDead", "Engine loop (?:has died|is not running)", "EngineCore encountered (?:a fatal|an) (?:error|issue)"),
    *("Background loop has errored", "Scheduler hit an exception", "Got fatal signal from worker processes"),
    *("MQLLMEngine is (?:dead|not running)", "Engine process .*died", r"engine core .*\bdied\b"),
)
"""How an engine logs that it serves nothing any more, though its server may go on answering."""
