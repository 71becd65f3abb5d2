"""The columns of a profile: what a batch consists of, one row a batch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from serviceoptd.simulation.virtual_clock.interface import StepComposition

Column = NDArray[np.float64]

COMPOSITION = StepComposition._fields
"""The names of a batch's numbers, in their order."""
