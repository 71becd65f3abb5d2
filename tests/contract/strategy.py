"""Where it was before it became part of the package."""

from serviceoptd.contract.strategy import *  # noqa: F403
