"""Settings that hold for every test: seeded property tests, and one thread per worker."""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import settings
from matplotlib.figure import Figure

# The same examples in every run, and no deadline: a busy machine is not a failure.
settings.register_profile("saltation", deadline=None, derandomize=True, max_examples=50)
settings.register_profile("full", deadline=None, max_examples=1000)

torch.set_num_threads(1)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--full", action="store_true", help="slow tests too, and property tests on many examples"
    )


def pytest_configure(config: pytest.Config) -> None:
    settings.load_profile("full" if config.getoption("--full") else "saltation")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the tests marked slow, unless everything was asked for."""
    if config.getoption("--full"):
        return
    slow = [item for item in items if item.get_closest_marker("slow")]
    if slow:
        config.hook.pytest_deselected(items=slow)
        items[:] = [item for item in items if not item.get_closest_marker("slow")]


_BLANK = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"></svg>'
_savefig = Figure.savefig


def _save_blank(self: Figure, file: Any, **options: Any) -> None:
    if isinstance(file, str | Path):
        Path(file).write_text(_BLANK)
    else:
        _savefig(self, file, **options)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, Any, Any]:
    """Figures are made by every test, but drawn into files only for those that look at them, marked
    ``drawn``: it takes four fifths of the time of a small study."""
    if item.get_closest_marker("drawn") or item.config.getoption("--full"):
        return (yield)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", _save_blank)
        return (yield)


@pytest.fixture(scope="session")
def full(pytestconfig: pytest.Config) -> bool:
    """Whether everything was asked for: a test that draws cases by itself then draws many."""
    return bool(pytestconfig.getoption("--full"))


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """In CI nothing may be missing: a skipped test fails the run."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("CI") and reporter and reporter.stats.get("skipped"):
        reporter.write_line("a test was skipped, which in CI is a failure", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
