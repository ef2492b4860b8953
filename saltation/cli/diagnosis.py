"""The diagnosis of a network that a function in a user's file returns."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import saltation
from saltation.stability import Cure
from saltation.studies.given import Given


def diagnosis_of(
    source: str, trial: int | None, cure: bool = False, lr: float | None = None
) -> Iterator[str]:
    """What `saltation.diagnose` says of what ``source`` returns, then what `saltation.cure` does.

    Parameters
    ----------
    source
        ``FILE.py:FUNCTION``. The function takes nothing and returns ``(network, x, y)`` or
        ``(network, x, y, loss)``.
    trial
        As for `saltation.diagnose`.
    cure
        Whether remedies are tried, too.
    lr
        As for both.

    Yields
    ------
    str
        The diagnosis; then, if asked for, the cure.

    Raises
    ------
    ConfigError
        If there is no such file or function, it fails, or it returns something else.
    """
    given = Given.of(source)
    network, x, y, loss = given.made()
    with given.in_one_line():
        found = saltation.diagnose(network, x, y, loss=loss, trial=trial, lr=lr)
    yield str(found)
    if cure:
        rate: dict[str, Any] = {} if lr is None else {"lr": lr}
        with given.in_one_line():
            cured = saltation.cure(network, x, y, loss=loss, **rate)
        options = ["loss=loss"] * (loss is not None) + [f"lr={value!r}" for value in rate.values()]
        yield _told_of(cured, options)


def _told_of(cured: Cure, options: list[str]) -> str:
    """The table of a cure and how to have it in Python, or that there is no need for one."""
    if not cured.findings:
        return (
            f"No cure is needed: in {cured.trial}, the held-out loss comes to "
            f"{cured.after.loss:.3f} (chance: {cured.chance:.3f})."
        )
    if not cured.treatments:
        return str(cured)
    arguments = ", ".join(["network, x, y", *options])
    told = f"{cured}\nin Python: network = saltation.cure({arguments}).network"
    suits = any(one.kept and one.group == "rate" for one in cured.attempts)
    return f"{told}, with a learning rate of {cured.lr:g}" if suits else told
