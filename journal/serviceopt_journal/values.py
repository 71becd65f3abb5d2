"""The values that parameters can have.

Both events and documents carry them; every other room may import them from `events`.
"""

from __future__ import annotations

from typing import Literal

Value = int | float | bool | str
Configuration = dict[str, Value]
"""Field name -> value."""

Kind = Literal["measured", "simulated", "predicted", "imported", ""]
"""What a result is: of a real service, of a simulated one, of a model or bound, of a file; empty: there is none."""
