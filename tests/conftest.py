"""Settings that hold for every test: seeded property tests, and one thread per worker."""

from __future__ import annotations

import os

import pytest
import torch
from hypothesis import settings

# The same examples in every run, and no deadline: a busy machine is not a failure.
settings.register_profile("saltation", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("saltation")

torch.set_num_threads(1)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """In CI nothing may be missing: a skipped test fails the run."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("CI") and reporter and reporter.stats.get("skipped"):
        reporter.write_line("a test was skipped, which in CI is a failure", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
