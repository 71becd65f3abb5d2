"""Where it was before it became part of the package."""

from serviceoptd.contract.engine import *  # noqa: F403
