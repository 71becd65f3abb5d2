"""The answer of a client that cannot tell what its requests will be like."""

from __future__ import annotations

from serviceopt_journal.errors import InvalidConfiguration


class Untellable(InvalidConfiguration):
    """The lengths of requests cannot be known; the message says from what, behind "not known from"."""
