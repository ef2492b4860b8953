"""Models of files that are not there any more: what a study keeps of them, for its reports."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NoReturn

from saltation.errors import SaltationError
from saltation.neurons.base import Neuron


@dataclass(frozen=True, eq=False)
class Remembered:
    """In the place of a model and, called with ``dt`` and ``scheme``, of a neuron of it.

    It has no equations: whoever asks for anything else is told that the file is gone.

    Attributes
    ----------
    source
        ``FILE.py:NAME``.
    title
        The model's.
    schemes
        Those of it that the study has.
    limits
        On dt, of each scheme.
    stable
        The dt of the study that are within them.
    fingerprint
        Of the file.
    """

    source: str
    title: str
    schemes: tuple[str, ...]
    limits: Mapping[str, float]
    stable: Mapping[str, tuple[float, ...]]
    fingerprint: str
    scheme: str = ""
    dt: float = 1.0

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> Remembered:
        """As `facts_of` gave them."""
        return cls(
            source=str(facts["source"]),
            title=str(facts["title"]),
            schemes=tuple(map(str, facts["limits"])),
            limits={k: math.inf if v is None else float(v) for k, v in facts["limits"].items()},
            stable={k: tuple(map(float, v)) for k, v in facts["stable"].items()},
            fingerprint=str(facts["fingerprint"]),
        )

    def __call__(self, **parameters: Any) -> Remembered:
        asked = {name: parameters[name] for name in ("scheme", "dt") if name in parameters}
        return replace(self, **asked)

    def parameters(self) -> list[str]:
        """Those that a study gives."""
        return ["tau", "dt", "scheme", "input"]

    @property
    def dt_limit(self) -> float:
        """As of `Neuron`."""
        return self.limits[self.scheme]

    @property
    def is_stable(self) -> bool:
        """As of `Neuron`."""
        return self.dt in self.stable[self.scheme]

    def gone(self) -> NoReturn:
        """Say so.

        Raises
        ------
        SaltationError
            Always.
        """
        raise SaltationError(f"neuron '{self.source}': its file is not there any more")

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)  # of those that ask what can be copied or shown
        self.gone()


def facts_of(
    model: type[Neuron],
    source: str,
    fingerprint: str,
    schemes: Iterable[str],
    dts: Iterable[float],
    **parameters: Any,
) -> dict[str, Any]:
    """What `Remembered.of` takes, of a model with some schemes and dt, as JSON has it."""
    make: Any = model
    dts = list(dts)
    own = {k: v for k, v in parameters.items() if k in model.parameters()}
    limits = {s: make(scheme=s, **own).dt_limit for s in schemes if s in model.schemes}
    return {
        "source": source,
        "title": model.title,
        "fingerprint": fingerprint,
        "limits": {s: limit if math.isfinite(limit) else None for s, limit in limits.items()},
        "stable": {s: [d for d in dts if make(scheme=s, dt=d, **own).is_stable] for s in limits},
    }
