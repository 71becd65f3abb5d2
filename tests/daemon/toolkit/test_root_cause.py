"""Shapes of logs as engines end with them, in our own words: which line tells the reason, and of what kind it is."""

from __future__ import annotations

import json

import pytest

from serviceoptd.domain import failures
from serviceoptd.toolkit.ended_logs.root_cause import Cause, kind_of, last_words, root_cause

CORE = "(EngineCore_DP0 pid=123) ERROR 11-20 10:00:40 [core.py:708]"
FRAMES = (
    'Traceback (most recent call last):\n  File "/site/vllm/v1/engine/core.py", line 100, in start\n    begin(config)'
)
CASCADE = """
(APIServer pid=100) Traceback (most recent call last):
(APIServer pid=100)   File "/site/vllm/v1/engine/utils.py", line 800, in wait
(APIServer pid=100)     raise RuntimeError(
(APIServer pid=100) RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}
/usr/lib/python3.12/multiprocessing/resource_tracker.py:254: UserWarning: 1 leaked shared_memory objects to clean up
  warnings.warn('resource_tracker: There appear to be %d '
"""


def logged(prefix: str, text: str) -> str:
    """The text as a logger writes it that repeats its prefix on every line."""
    return "\n".join(f"{prefix} {line}" for line in text.splitlines())


def cause_of(log: str) -> Cause:
    found = root_cause(log.splitlines())
    assert found is not None
    return found


def of_the_core(message: str) -> str:
    return "\n".join([f"{CORE} EngineCore failed to start.", logged(CORE, f"{FRAMES}\n{message}"), CASCADE])


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 1.16 GiB.", failures.OUT_OF_MEMORY),
        (
            "RuntimeError: NPU out of memory. Tried to allocate 30.00 MiB (NPU 3; 60.96 GiB total)",
            failures.OUT_OF_MEMORY,
        ),
        ("ValueError: To serve at least one request with the model's max seq len (131072), 16 GiB", failures.KV_CACHE),
        ("ValueError: No available memory for the cache blocks. Try increasing the utilization.", failures.KV_CACHE),
        (
            "ValueError: Free memory on device (31.44/47.38 GiB) is less than desired GPU memory utilization (0.95)",
            failures.DEVICE_IN_USE,
        ),
        ("RuntimeError: CUDA error: CUDA-capable device(s) is/are busy or unavailable", failures.DEVICE_IN_USE),
        (
            "AssertionError: Error in memory profiling. Initial free memory 70.1 GiB, current free memory 72.3 GiB.",
            failures.DEVICE_IN_USE,
        ),
        ("RuntimeError: NCCL error: unhandled system error (run with NCCL_DEBUG=INFO)", failures.COMMUNICATION),
        ("RuntimeError: call HcclCommInitRootInfo failed, error code is EI0006", failures.COMMUNICATION),
        ("OSError: You are trying to access a gated repo.", failures.MODEL),
        ("RuntimeError: Cannot find any model weights with `/models/x`", failures.MODEL),
        ("RuntimeError: No CUDA GPUs are available", failures.NO_DEVICE),
        ("ValueError: Current node has no GPU available. current_node_resource={'node:1': 1.0}.", failures.NO_DEVICE),
        (
            "AssertionError: tensor_parallel_size (16) is not less than max local gpu count (8)",
            failures.TOO_FEW_DEVICES,
        ),
        (
            "ValueError: World size (8) is larger than the number of available GPUs (4) in this node.",
            failures.TOO_FEW_DEVICES,
        ),
        ("ValueError: Bfloat16 is only supported on GPUs with capability 8.0 or more.", failures.REFUSED_ARGUMENT),
        ("ModuleNotFoundError: No module named 'flashinfer'", failures.INSTALLATION),
        ("ValueError: heads (64) must be divisible by tensor parallel size (3).", failures.REFUSED_ARGUMENT),
    ],
)
def test_a_cascade_of_processes_is_told_by_the_error_that_began_it(message: str, kind: str) -> None:
    assert cause_of(of_the_core(message)) == Cause(message, kind)


def test_an_error_without_a_message_is_told_with_the_line_that_raised_it() -> None:
    log = logged(CORE, f"{FRAMES}\n    assert page_size == largest\n           ^^^^^^^^^\nAssertionError") + CASCADE
    assert cause_of(log) == Cause("AssertionError in `assert page_size == largest`", "")


def test_the_worker_that_ran_out_of_memory_counts_though_another_one_noticed_first() -> None:
    log = "\n".join(
        [
            logged("[rank1]:", f"{FRAMES}\ntorch.distributed.DistBackendError: NCCL error, remote rank left"),
            logged("[rank0]:", f"{FRAMES}\ntorch.OutOfMemoryError: CUDA out of memory."),
            CASCADE,
        ]
    )
    assert cause_of(log).kind == failures.OUT_OF_MEMORY


def test_communication_is_the_reason_where_nothing_else_is_told() -> None:
    log = logged("[rank1]:", f"{FRAMES}\ntorch.distributed.DistBackendError: NCCL error: internal") + CASCADE
    assert cause_of(log).kind == failures.COMMUNICATION


def test_the_innermost_of_chained_exceptions_counts() -> None:
    log = f"""{FRAMES}
huggingface_hub.errors.GatedRepoError: 401 Client Error.

The above exception was the direct cause of the following exception:

{FRAMES}
OSError: You are trying to access a gated repo.
"""
    assert cause_of(log) == Cause("huggingface_hub.errors.GatedRepoError: 401 Client Error.", failures.MODEL)


def test_a_refused_option_is_what_argparse_says() -> None:
    log = "usage: vllm serve [model_tag] [options]\nvllm serve: error: unrecognized arguments: --max-num-sequences 4"
    assert cause_of(log) == Cause(
        "vllm serve: error: unrecognized arguments: --max-num-sequences 4", failures.REFUSED_ARGUMENT
    )


def test_a_refused_combination_is_told_with_the_lines_that_pydantic_puts_below() -> None:
    log = logged(
        "(APIServer pid=7)",
        f"{FRAMES}\npydantic_core._pydantic_core.ValidationError: 1 validation error for SchedulerConfig\n"
        "  Value error, max_num_batched_tokens (1024) is smaller than max_model_len (4096). [type=value_error]\n"
        "    For further information visit the page",
    )
    found = cause_of(log)
    assert found.kind == failures.REFUSED_ARGUMENT
    assert found.line.endswith("Value error, max_num_batched_tokens (1024) is smaller than max_model_len (4096).")


def test_the_port_of_an_api_server_is_told() -> None:
    log = (
        "INFO 11-20 10:00:00 [api_server.py:1839] starting\n"
        "ERROR:    [Errno 98] error while attempting to bind on address ('0.0.0.0', 8000): address already in use"
    )
    assert cause_of(log).kind == failures.PORT


def test_sglang_s_scheduler_counts_and_not_the_signal_that_it_sent() -> None:
    log = f"""[2026-03-03 03:53:30] server_args=ServerArgs(mem_fraction_static=0.2, model='out of memory')
[2026-03-03 03:53:36 TP3] Scheduler hit an exception: {FRAMES}
RuntimeError: Not enough memory. Please try to increase --mem-fraction-static. self.server_args.mem_fraction_static=0.2

[2026-03-03 03:53:36] Received sigquit from a child process. It usually means the child failed.
/site/scheduler.py:2704: ResourceWarning: Unclosed socket <zmq.Socket(zmq.PUSH) at 0xfffb>
Killed"""
    assert cause_of(log).kind == failures.KV_CACHE


def test_mindie_s_daemon_merely_says_that_something_above_failed() -> None:
    log = """[2025-08-01 10:00:00.123456+08:00] [1234] [5678] [llm] [INFO] [llm_infer.cpp:99] : loading
[2025-08-01 10:00:09.123456+08:00] [1234] [5678] [llm] [ERROR] [model_runner.cpp:105] : NPU out of memory, asked for 2 GB
LLMInferEngine failed to init LLMInferModels
ERR: Failed to init endpoint! Please check the service log or console output.
Killed"""
    assert cause_of(log) == Cause("NPU out of memory, asked for 2 GB", failures.OUT_OF_MEMORY)


def test_a_library_that_is_not_there_is_told() -> None:
    log = "bin/mindieservice_daemon: error while loading shared libraries: libtorch.so: cannot open shared object file"
    assert cause_of(log).kind == failures.INSTALLATION


def test_a_ray_worker_s_line_counts_without_its_place_in_the_cluster() -> None:
    log = (
        "(NPURayWorkerWrapper pid=45464) ERROR 06-09 06:57:48 worker_base.py:581]     return fn(*args)\n"
        "(NPURayWorkerWrapper pid=45464) ERROR 06-09 06:57:48 worker_base.py:581] RuntimeError: NPU out of memory.\n"
        "(NPURayWorkerWrapper pid=44419) [rank7]:[W609 06:57:47.819535026 compiler.ts:877] Warning: the HCCL limit is off\n"
        "[ERROR] 2025-06-09-06:57:54 (PID:92380, Device:0, RankID:-1) ERR99999 UNKNOWN application exception"
    )
    assert cause_of(log) == Cause("RuntimeError: NPU out of memory.", failures.OUT_OF_MEMORY)


def test_an_abort_in_native_code_is_told() -> None:
    log = "terminate called after throwing an instance of 'c10::Error'\n  what():  CUDA error: out of memory\nAborted"
    assert cause_of(log) == Cause("what():  CUDA error: out of memory", failures.OUT_OF_MEMORY)


def test_warnings_and_notes_are_no_reason() -> None:
    log = """WARNING 11-20 10:00:00 [import.py:9] Failed to import from vllm._C with ImportError('libcuda.so.1')
INFO 11-20 10:00:01 [worker.py:9] If out of memory, lower the utilization
WARNING: ValueError: this was passed over
INFO:     Application startup complete."""
    assert root_cause(log.splitlines()) is None


def test_where_only_consequences_are_told_the_first_of_them_is_better_than_nothing() -> None:
    assert "Engine core initialization failed" in cause_of(CASCADE).line


def test_a_log_that_names_no_error_has_no_reason() -> None:
    assert root_cause(["loading weights: 40 %", "loading weights: 80 %"]) is None
    assert root_cause([]) is None


def test_what_is_asked_of_a_kind_is_told_by_its_phrases() -> None:
    assert kind_of("RuntimeError: NCCL error: out of memory") == failures.OUT_OF_MEMORY
    assert kind_of("something else") == ""


COMPLAINT = "torch.OutOfMemoryError: CUDA out of memory. Tried 1.16 GiB."


@pytest.mark.parametrize(
    "keeper",
    [
        "vllm-1  | ",
        "Aug 17 18:42:18 gpu-3 vllm[8052]: ",
        "Aug  7 18:42:18 gpu-3 docker/vllm[8052]: ",
        "2026-10-10T10:10:10.123456789Z stderr F ",
        "[pod/vllm-0/main] ",
        "2026-06-09 14:01:54.604 [Info] (Process) ",
        "2026-10-10T10:10:10+0800 gpu-3 vllm[8052]: ",
        "[1,0]<stderr>: ",
        "10:10:10.123 ",
    ],
)
def test_whoever_keeps_the_log_may_begin_each_line_in_its_own_way(keeper: str) -> None:
    log = "\n".join(keeper + line for line in of_the_core(COMPLAINT).strip().splitlines())
    assert cause_of(log) == Cause(COMPLAINT, failures.OUT_OF_MEMORY)


@pytest.mark.parametrize(("text", "level"), [("log", "stream"), ("message", "level"), ("msg", "severity")])
def test_a_log_of_json_documents_is_read_by_their_texts(text: str, level: str) -> None:
    lines = of_the_core(COMPLAINT).strip().splitlines()
    documents = [{text: line + "\n", level: "ERROR" if "ERROR" in line else "INFO"} for line in lines]
    documents[0] |= {level: "info", text: "OSError: passed over"} if level != "stream" else {}
    assert cause_of("\n".join(map(json.dumps, documents))) == Cause(COMPLAINT, failures.OUT_OF_MEMORY)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("(VllmWorker TP0 pid=35532) ERROR 08-26 04:05:22 [multiproc_executor.py:559] ", ""),
        ("(VllmWorker rank=1 pid=5) ERROR 06-09 06:57:48 [multiproc_executor.py:487] ", ""),
        ("(RayWorkerWrapper pid=1010, ip=10.0.0.1) ERROR 06-09 06:57:48 [worker_base.py:620] ", " [repeated 3x]"),
        ("2026-10-10 10:10:10,123 - vllm.worker - ERROR - ", ""),
        ("2026-10-10 10:10:10.123 | ERROR    | vllm.worker:main:10 - ", ""),
        ("E1010 10:10:10.123456 1234 model.cc:10] ", ""),
        ('time="2026-10-10T10:10:10Z" level=error msg="', '"'),
    ],
)
def test_a_line_says_what_stands_after_its_loggers_prefixes(before: str, after: str) -> None:
    found = cause_of(f"{before}{COMPLAINT}{after}")
    assert found.kind == failures.OUT_OF_MEMORY
    assert found.line.startswith(COMPLAINT)


@pytest.mark.parametrize(
    "quiet",
    [
        "2026-10-10 10:10:10.123 | WARNING  | vllm.worker:main:10 - ",
        "2026-10-10 10:10:10,123 - vllm.worker - INFO - ",
        'time="2026-10-10T10:10:10Z" level=info msg="',
        "I1010 10:10:10.123456 1234 model.cc:10] ",
        "vllm-1  | (EngineCore pid=3) WARNING 06-09 06:57:48 [worker.py:620] ",
    ],
)
def test_a_level_that_is_no_error_s_is_seen_behind_any_prefix(quiet: str) -> None:
    assert root_cause([quiet + COMPLAINT]) is None


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("RuntimeError: level_zero backend failed with error: 39 (UR_RESULT_ERROR_OUT_OF_DEVICE_MEMORY)", "out_of_memory"),
        ("RuntimeError: HIP error: HSA_STATUS_ERROR_OUT_OF_RESOURCES", failures.OUT_OF_MEMORY),
        ("slurmstepd: error: Detected 1 oom_kill event in StepId=12.0.", failures.OUT_OF_MEMORY),
        ("EL0004: [PID: 1] Failed to allocate memory.", failures.OUT_OF_MEMORY),
        ("ValueError: max_num_seqs (1024) exceeds available Mamba cache blocks (413).", failures.KV_CACHE),
        ("ValueError: The memory pool size is too small. max_total_num_tokens=0", failures.KV_CACHE),
        ("EJ0001: [PID: 3] Failed to initialize HCCP. Reason: Maybe the last training process is running.", "device_in_use"),
        ("EI0019: [PID: 52] Failed to bind the IP port. Reason: bound already.", failures.PORT),
        ("docker: Error response from daemon: Bind for 0.0.0.0:8000 failed: port is already allocated.", failures.PORT),
        ("RuntimeError: CUDA error: uncorrectable ECC error encountered", failures.NO_DEVICE),
        ("RuntimeError: Unexpected error from cudaGetDeviceCount(). Error 802: system not yet initialized", "no_device"),
        ('docker: Error response from daemon: could not select device driver "" with capabilities: [[gpu]].', "no_device"),
        ("docker: Error response from daemon: manifest for x:v9 not found: manifest unknown.", failures.INSTALLATION),
        ("Check path: config.json failed, by: Check Other group permission failed: 4, required 0.", "installation"),
        ("RuntimeError: Could not find nvcc and default cuda_home='/usr/local/cuda' doesn't exist", "installation"),
        ("ValueError: Cannot provide a placement group of 4 within 1800 seconds.", failures.TOO_FEW_DEVICES),
        ("AssertionError: Attempted to load weight ([4096]) into parameter ([8192])", failures.MODEL),
        ("ValueError: The input size is not aligned with the quantized weight shape.", failures.REFUSED_ARGUMENT),
    ],
)  # fmt: skip
def test_more_ways_to_fail_have_their_kind(line: str, kind: str) -> None:
    assert cause_of(line) == Cause(line, kind)


def test_a_process_that_merely_noticed_counts_where_it_alone_says_of_what() -> None:
    core = (
        "RuntimeError: Worker failed with error 'CUDA error: out of memory\nCUDA kernel errors might be reported later."
    )
    found = cause_of(of_the_core(core))
    assert found == Cause("RuntimeError: Worker failed with error 'CUDA error: out of memory", failures.OUT_OF_MEMORY)


def test_what_ray_says_of_a_killed_worker_counts_without_its_table_of_details() -> None:
    log = logged(
        CORE,
        "ray.exceptions.ActorDiedError: The actor died unexpectedly before finishing this task.\n"
        "\tclass_name: RayWorkerWrapper\n"
        "The actor is dead because its worker process has died. Worker exit type: NODE_OUT_OF_MEMORY",
    )
    assert cause_of(log).kind == failures.OUT_OF_MEMORY


def test_a_port_counts_though_the_communication_that_needed_it_failed_first() -> None:
    log = (
        "RuntimeError: HCCL function error: HcclCommInitRootInfo(numRanks), error code is 7\n"
        "EI0019: [PID: 52] Failed to bind the IP port. Reason: The port has been bound already."
    )
    assert cause_of(log).kind == failures.PORT


def test_the_last_error_of_nccl_stands_below_its_exception() -> None:
    log = logged(
        "[rank0]:",
        f"{FRAMES}\ntorch.distributed.DistBackendError: NCCL error in: ProcessGroupNCCL.cpp:2501, unhandled cuda error\n"
        "ncclUnhandledCudaError: Call to CUDA function failed.\nLast error:\nCuda failure 2 'out of memory'",
    )
    assert cause_of(log).kind == failures.OUT_OF_MEMORY


def test_what_ray_guesses_of_a_dead_worker_is_no_reason() -> None:
    log = (
        "(raylet) A worker died or was killed. Worker exit detail: connection error code 2. There are some potential root "
        "causes. (1) The process is killed by SIGKILL by OOM killer. (2) ray stop --force is called.\n"
        "ERROR 12-31 01:06:23 [core.py:603] ray.exceptions.ActorDiedError: The actor died unexpectedly before finishing."
    )
    assert cause_of(log).kind == ""


def test_a_rank_that_waited_for_another_one_is_a_consequence() -> None:
    log = """[2025-03-17 17:15:55 TP1] Scheduler hit an exception: Traceback (most recent call last):
ValueError: TP rank 1 could finish the model loading, but there are other ranks that didn't finish loading.
[2025-03-17 17:15:56 TP0] Scheduler hit an exception: Traceback (most recent call last):
KeyError: 'model.layers.61.weight_scale'"""
    assert cause_of(log).line == "KeyError: 'model.layers.61.weight_scale'"


def test_a_line_that_only_begins_like_json_is_read_as_it_is() -> None:
    deep = '{"a":' * 50_000
    assert root_cause([deep, "RuntimeError: CUDA out of memory"]) == root_cause(["RuntimeError: CUDA out of memory"])


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("ERROR 11-20 10:00:40 [x.py:408] vllm.v1.engine.exceptions.EngineDeadError: EngineCore encountered an issue.",
         "vllm.v1.engine.exceptions.EngineDeadError: EngineCore encountered an issue."),
        ("(EngineCore pid=3) ERROR 11-20 10:00:40 [core.py:710] EngineCore encountered a fatal error.",
         "EngineCore encountered a fatal error."),
        ("[2025-08-08 09:09:09 TP0] Scheduler hit an exception: Traceback (most recent call last):",
         "Scheduler hit an exception: Traceback (most recent call last):"),
        ("CRITICAL 04-16 11:53:49 [core_client.py:359] Got fatal signal from worker processes, shutting down.",
         "Got fatal signal from worker processes, shutting down."),
        ("INFO 11-20 10:00:40 [api.py:1] EngineDeadError is answered with 503", ""),
        ("ERROR 11-20 10:00:40 [serving.py:9] ValueError: max_tokens is too large", ""),
    ],
)  # fmt: skip
def test_the_last_words_of_an_engine_are_told_from_its_other_errors(line: str, told: str) -> None:
    assert last_words(["INFO 11-20 10:00:00 [x.py:1] fine", line, "INFO:     127.0.0.1:1 - GET /health 200"]) == told
