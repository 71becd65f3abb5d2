"""The values that parameters can have.

Both events and documents carry them; every other room may import them from `events`.
"""

from __future__ import annotations

Value = int | float | bool | str
Configuration = dict[str, Value]
"""Field name -> value."""
