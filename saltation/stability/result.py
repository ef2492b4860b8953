"""What an estimate of Lyapunov exponents returns."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from saltation import inline


@dataclass(frozen=True)
class Lyapunov:
    """Lyapunov exponents per step, natural logarithm: of every sample, and their mean.

    Attributes
    ----------
    exponents : Tensor, [k, B]
        Of every sample, differentiable where the estimate was. The longer the horizon, the surer
        the largest comes first; two that are nearly equal may come the other way round.
    growth : Tensor, [S, k, B]
        Logarithm of the growth over each of S stretches of the horizon.
    spans : tuple of int
        Steps of each stretch; the first ``transient`` of all are in none.
    norms : Tensor, [S, L, B]
        Euclidean norm of the first perturbation's part in every layer at the end of each stretch,
        as a fraction of the whole.
    layers : tuple of str
        Names of the L layers.
    transient : int
        Steps at the beginning that are not counted.
    floored : int
        How often a perturbation was lost: exactly 0, below the numbers its dtype has, or rounding.
        Its growth counts as log 1e-12, with gradient 0.
    settings : dict
        The estimator and its arguments.
    unit : str
        What an exponent is per: a step, or a unit of time.
    cuts : int
        How often ``telescoped`` cut the gradient of the states, because a perturbation had grown by
        more than e^11 since; 0 without gradients. Exponents do not depend on it.
    """

    exponents: Tensor
    growth: Tensor
    spans: tuple[int, ...]
    norms: Tensor
    layers: tuple[str, ...]
    transient: int
    floored: int
    settings: dict[str, Any] = field(default_factory=dict)
    unit: str = "step"
    cuts: int = 0

    @property
    def horizon(self) -> int:
        """Steps that are counted."""
        return sum(self.spans)

    @property
    def exponent(self) -> Tensor:
        """The first exponent, mean over samples: a scalar, and the largest up to its error."""
        return self.exponents[0].mean()

    @property
    def spectrum(self) -> Tensor:
        """All exponents, ``[k]``, mean over samples."""
        return self.exponents.mean(1)

    @property
    def standard_error(self) -> Tensor:
        """Of the mean over samples, ``[k]``; NaN for a single sample."""
        samples = self.exponents.shape[1]
        if samples == 1:
            return torch.full_like(self.exponents[:, 0], float("nan"), requires_grad=False)
        error: Tensor = self.exponents.detach().std(1) / samples**0.5
        return error

    @property
    def dimension(self) -> float:
        """Kaplan-Yorke dimension of the spectrum.

        NaN if all k exponents add up to 0 or more, so that k are too few to tell.
        """
        spectrum = self.spectrum.detach().double()
        sums = spectrum.cumsum(0)
        if sums[-1] >= 0:
            return float("nan")
        whole = int((sums >= 0).sum())
        inside = float(sums[whole - 1]) if whole else 0.0
        return whole + inside / abs(float(spectrum[whole]))

    def __str__(self) -> str:
        values, errors = self.spectrum.detach(), self.standard_error
        lines = [f"{'':>4}  exponent per {self.unit}   standard error"]
        for i, (value, error) in enumerate(zip(values, errors, strict=True), start=1):
            alone = self.exponents.shape[1] == 1
            shown = "one sample" if alone else f"{float(error):.4f}"
            lines.append(f"{f'λ{i}':>4}  {float(value):+17.4f}   {shown:>14}")
        lines.append(
            f"{self.exponents.shape[1]} samples, {self.horizon} steps after {self.transient}; "
            + ", ".join(f"{name} {value}" for name, value in self.settings.items())
        )
        if self.floored:
            lines.append(
                f"{self.floored} times a perturbation vanished; its growth counts as log 1e-12"
            )
        if self.cuts:
            lines.append(f"the gradient was cut {self.cuts} times, where growth had passed e^11")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        """The same in a notebook, with the figure."""
        drawn = inline.figure(self.plot, "Exponents, their growth over time, and where it is")
        return inline.text(str(self)) + drawn

    def plot(self, path: str | Path) -> Path:
        """Draw growth over time and where in the network the perturbation is.

        Returns
        -------
        The path of the figure; its ending chooses the format.
        """
        from saltation.stability.figures import draw_lyapunov  # imports matplotlib

        return draw_lyapunov(self, Path(path))
