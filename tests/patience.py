"""How long the tests wait for what must happen: a limit ends a hang, it does not judge a slow machine."""

HANG = 300.0
"""Seconds after which a wait is given up. A wait ends as soon as what it waits for is there: a long limit costs nothing."""
