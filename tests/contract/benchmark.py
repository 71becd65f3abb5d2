"""Where it was before it became part of the package."""

from serviceoptd.contract.benchmark import *  # noqa: F403
