"""Step times from coefficients with a physical meaning: a start, and what a trained model is compared with. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from serviceoptd.simulation.virtual_clock.interface import Composed


@dataclass(frozen=True)
class LinearStepTimes:
    """A sum of what a step does, in seconds each, in the order of `latency_model.physics.TERMS`, which fits them.

    With all coefficients 0 or more, more work never takes less time. See `interface.StepTimes`.
    """

    step: float  # launching the model, reading its weights
    with_prefill: float = 0.0  # once, where there is any
    prefill_sequence: float = 0.0
    prefill_token: float = 0.0
    prefill_attention: float = 0.0  # each pair of a query and a key
    decode_sequence: float = 0.0
    decode_context: float = 0.0  # each token of their contexts

    def step_seconds(self, step: Composed) -> float:
        seconds = self.step + self.decode_sequence * step.decode_sequences + self.decode_context * step.decode_context
        if step.prefill_sequences:
            seconds += (
                self.with_prefill
                + self.prefill_sequence * step.prefill_sequences
                + self.prefill_token * step.prefill_tokens
                + self.prefill_attention * step.prefill_attention
            )
        return seconds
