"""For every test: no deadline on a busy machine, and nothing of the developer's own installation."""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator

import pytest
import structlog
from hypothesis import HealthCheck, settings

# What a shell starts in the background ignores Ctrl-C, and so would every program that a test starts and interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile("serviceopt", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("serviceopt")

COUNTED = "counted"
"""The name under which a test records what it tried, and what came of it (`record_property`): printed at the end."""


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Prints the counts of the attacks, which say more than that their tests passed."""
    lines = [
        f"{report.nodeid.rpartition('/')[2]}: {text}"
        for outcome in ("passed", "failed")
        for report in terminalreporter.getreports(outcome)
        for name, text in report.user_properties
        if name == COUNTED
    ]
    if lines:
        terminalreporter.section("what was attacked, and what came of it")
        for line in lines:
            terminalreporter.write_line(line)


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """A test that runs a program of ours in its own process leaves its level of logging to no other one."""
    before = structlog.get_config()
    yield
    structlog.configure(**before)


for name in [name for name in os.environ if name.startswith(("SERVICEOPT_", "MODEL_EVAL_STATE", "MODELEVALSTATE"))]:
    if not name.startswith("SERVICEOPT_REAL_"):
        del os.environ[name]

# Where coverage is measured, the workers of pytest-xdist are (`make test COVERAGE=1`). The programs that tests start by the
# hundred would each pay for it at their start, and end too hard to tell.
if "PYTEST_XDIST_WORKER" in os.environ:
    for name in [name for name in os.environ if name.startswith("COVERAGE_")]:
        del os.environ[name]

# The programs that tests start compile every module anew where nothing may be written beside the sources: 2.4 s of CPU
# for each daemon instead of 1.0. The processes of one session share what is compiled, in a directory that ends with it.
if os.environ.pop("PYTHONDONTWRITEBYTECODE", "") and "PYTHONPYCACHEPREFIX" not in os.environ:
    os.environ["PYTHONPYCACHEPREFIX"] = tempfile.mkdtemp(prefix="serviceopt-bytecode-")
    atexit.register(shutil.rmtree, os.environ["PYTHONPYCACHEPREFIX"], ignore_errors=True)
