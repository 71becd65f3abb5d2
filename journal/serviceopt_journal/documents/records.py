"""Events as the API answers them."""

from __future__ import annotations

import msgspec

from ..codec import Recorded


class Records(msgspec.Struct, frozen=True, kw_only=True):
    """Events as they stand in the journal."""

    events: tuple[Recorded, ...]  # oldest first
