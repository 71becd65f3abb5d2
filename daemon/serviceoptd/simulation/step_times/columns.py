"""The columns of a profile: what a batch consists of, one row a batch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Column = NDArray[np.float64]

COMPOSITION = ("prefill_sequences", "prefill_tokens", "prefill_attention", "decode_sequences", "decode_context")
"""What a batch consists of, in the order of `serviceoptd.simulation.virtual_clock.interface.StepTimes.step_seconds`."""
