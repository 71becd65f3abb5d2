"""Where a model may be believed: what its training data covered. Pure."""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from serviceoptd.simulation.step_times.columns import Column
from serviceoptd.simulation.virtual_clock.interface import StepComposition

STAGES = ("prefill", "mixed", "decode")
MEASURES = {
    "prefill": ("prefill_sequences", "prefill_tokens", "keys_per_prompt_token"),
    "decode": ("decode_sequences", "context_per_sequence"),
}
MEASURES["mixed"] = MEASURES["prefill"] + MEASURES["decode"]
WORDS = {
    "prefill_sequences": "sequences in prefill",
    "prefill_tokens": "prompt tokens",
    "keys_per_prompt_token": "keys that a prompt token attends to",
    "decode_sequences": "decoding sequences",
    "context_per_sequence": "context tokens of a decoding sequence",
}


def stages(composition: Column) -> Column:
    """The index in STAGES of each batch; mixed batches have sequences in prefill and decoding ones."""
    return np.where(composition[:, 0] == 0, 2, np.where(composition[:, 3] == 0, 0, 1))


class Validity(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The range of batches that the training data covered.

    Attributes:
        ranges: by stage and measure the smallest and the largest value.
        cells: combinations of prompt tokens and decoding sequences of mixed batches, each as its number of binary digits.
    """

    ranges: dict[str, dict[str, tuple[float, float]]]
    cells: frozenset[tuple[int, int]]

    def outside(self, step: StepComposition) -> list[str]:
        """Why a prediction for this batch goes beyond the training data; empty where it does not."""
        stage = "decode" if not step.prefill_sequences else "mixed" if step.decode_sequences else "prefill"
        if stage not in self.ranges:
            return [f"no {stage} batch was seen in training"]
        batch = np.array([step], dtype=float)
        reasons = []
        for measure, (lowest, highest) in self.ranges[stage].items():
            value = float(_measures(batch)[measure][0])
            if not lowest <= value <= highest:
                reasons.append(
                    f"{value:.0f} {WORDS[measure]} in a {stage} batch: trained on {lowest:.0f} to {highest:.0f}"
                )
        if not reasons and stage == "mixed":
            tokens, sequences = step.prefill_tokens.bit_length(), step.decode_sequences.bit_length()
            near = ((tokens + i, sequences + j) for i in (-1, 0, 1) for j in (-1, 0, 1))
            if not any(cell in self.cells for cell in near):
                beside = f"{step.prefill_tokens} prompt tokens beside {step.decode_sequences} decoding sequences"
                reasons.append(f"nothing like {beside} was seen in training")
        return reasons

    def beyond(self, composition: Column) -> NDArray[np.bool_]:
        """Whether `outside` has a reason, for many batches at once: one row of COMPOSITION each."""
        of_batch, found = stages(composition), _measures(composition)
        outside = np.zeros(len(composition), dtype=bool)
        for number, stage in enumerate(STAGES):
            rows = of_batch == number
            if stage not in self.ranges:
                outside |= rows
                continue
            for measure, (lowest, highest) in self.ranges[stage].items():
                outside |= rows & ((found[measure] < lowest) | (found[measure] > highest))
        mixed = np.logical_and(of_batch == STAGES.index("mixed"), ~outside)
        outside[mixed] = ~self._near(composition[mixed])
        return outside

    def _near(self, mixed: Column) -> NDArray[np.bool_]:
        """Whether training saw a combination of prompt tokens and decoding sequences like that of each batch."""
        most = 1 + max((max(cell) for cell in self.cells), default=0)
        known = np.zeros((most + 1, most + 1), dtype=bool)
        for tokens, sequences in self.cells:
            known[max(tokens - 1, 0) : tokens + 2, max(sequences - 1, 0) : sequences + 2] = True
        digits = np.minimum(np.floor(np.log2(mixed[:, (1, 3)])).astype(int) + 1, most + 1)
        inside = (digits <= most).all(axis=1)
        digits = np.minimum(digits, most)
        return np.asarray(inside & known[digits[:, 0], digits[:, 1]])


def covered(composition: Column) -> Validity:
    """What these batches cover."""
    of_batch = stages(composition)
    ranges = {}
    for number, stage in enumerate(STAGES):
        rows = composition[of_batch == number]
        if len(rows):
            found = _measures(rows)
            ranges[stage] = {name: (float(found[name].min()), float(found[name].max())) for name in MEASURES[stage]}
    mixed = composition[of_batch == STAGES.index("mixed")]
    digits = np.floor(np.log2(mixed[:, (1, 3)])).astype(int) + 1
    return Validity(ranges, frozenset(map(tuple, np.unique(digits, axis=0).tolist())))


def _measures(composition: Column) -> dict[str, Column]:
    sequences, tokens, attention, decoding, context = composition.T
    return {
        "prefill_sequences": sequences,
        "prefill_tokens": tokens,
        "keys_per_prompt_token": attention / np.maximum(tokens, 1),
        "decode_sequences": decoding,
        "context_per_sequence": context / np.maximum(decoding, 1),
    }
