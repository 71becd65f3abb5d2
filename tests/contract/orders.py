"""Where these were before they became part of the package."""

from serviceoptd.contract.orders import *  # noqa: F403
