"""The flags that `vllm bench serve` has had, from 0.8.4 to 0.32.0, and how they may be spelled.

Names only, without `--` and `--no-`, gathered from `vllm/benchmarks/serve.py` and `vllm/benchmarks/datasets` of 15 releases
and from `vllm bench serve --help` of 0.32.0. Its parser is the one of `vllm serve`: it takes every unique beginning.
"""

from __future__ import annotations

from serviceoptd.toolkit.spellings import Spellings

_NAMES = """
append-result asr-max-audio-len-sec asr-min-audio-len-sec backend base-url best-of bfcl-categories
blazedit-max-distance blazedit-min-distance burstiness chat-template-kwargs custom-ensure-client-side-data
custom-output-len custom-skip-chat-template dataset-name dataset-path disable-shuffle disable-tqdm
enable-multimodal-chat endpoint endpoint-type extra-body frequency-penalty goodput header help hf-name hf-output-len
hf-split hf-subset host ignore-eos input input-len insecure label logprobs lora-assignment lora-modules
max-concurrency metadata metric-percentiles min-p model num-prompts num-warmups output output-len oversample
percentile-metrics plot-dataset-stats plot-timeline port prefix-repetition-num-prefixes prefix-repetition-output-len
prefix-repetition-prefix-len prefix-repetition-suffix-len presence-penalty probe-request-rate profile
ramp-up-end-rps ramp-up-start-rps ramp-up-strategy random-batch-size random-input-len
random-mm-base-items-per-request random-mm-bucket-config random-mm-limit-mm-per-prompt
random-mm-num-mm-items-range-ratio random-output-len random-prefix-len random-range-ratio range-ratio
ready-check-timeout-sec repetition-penalty request-id-prefix request-rate reranker result-dir result-filename
save-detailed save-result seed self-timed served-model-name sharegpt-output-len skip-chat-template
skip-tokenizer-init sonnet-input-len sonnet-output-len sonnet-prefix-len spec-bench-category spec-bench-output-len
speed-bench-category speed-bench-dataset-subset speed-bench-output-len stream temperature
timed-trace-chunk-hash-size timed-trace-label-hash-ids timed-trace-label-input-length
timed-trace-label-output-length timed-trace-label-timestamp timed-trace-sec-multiplier timeline-itl-thresholds
tokenizer tokenizer-mode top-k top-p trust-remote-code use-beam-search
"""

SPELLINGS = Spellings(f"--{name}" for name in _NAMES.split())
