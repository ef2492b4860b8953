"""Outputs that follow their currents slowly: what a network of spikes says of numbers."""

from __future__ import annotations

from typing import Any, overload

import torch
from torch import Tensor

from saltation.errors import Number, SaltationError, positive, tensor
from saltation.layers.numerics import WithNumerics

_BLOCK = 64  # steps that one matrix product takes


class LeakyIntegrator(WithNumerics):
    """``tau dy/dt = -y + x``: neurons without a threshold, whose potential is the output.

    Exact for currents that are held over a step: ``y[t] = alpha y[t-1] + (1 - alpha) x[t]``,
    ``alpha = exp(-dt / tau)``, from y = 0. It has no weights: put it behind a `SpikeLinear`.

    Parameters
    ----------
    tau : float, default 20
        Time constant, in the unit of time of ``dt``.
    dt : float, default 1
        Length of a step.

    Raises
    ------
    SaltationError
        If one of them is not positive.

    Examples
    --------
    >>> net = st.Sequential(
    ...     st.SpikeLinear(4, 64), st.AdLIF(), st.SpikeLinear(64, 4), st.LeakyIntegrator(10.0)
    ... )
    """

    def __init__(self, tau: Number = 20.0, dt: Number = 1.0) -> None:
        super().__init__()
        self.tau, self.dt = positive("tau", tau), positive("dt", dt)

    @overload
    def forward(self, x: Tensor, state: None = None) -> Tensor: ...
    @overload
    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]: ...
    def forward(self, x: Tensor, state: Tensor | None = None) -> Any:
        """Potentials for a sequence of currents.

        Parameters
        ----------
        x : Tensor, [T, B, ...]
            Currents, floating point, T >= 1.
        state : Tensor, [B, ...], optional
            Start from these potentials (see `rest`) and return the last ones too.

        Returns
        -------
        potentials [T, B, ...], or ``(potentials, state)`` if a state was given.

        Raises
        ------
        SaltationError
            If ``x`` or the state has another form.
        """
        if tensor("currents", x).ndim < 2 or not len(x) or not x.is_floating_point():
            raise SaltationError(
                "currents must be floating point [T, B, ...] with at least one step, got "
                f"{x.dtype} {list(x.shape)}"
            )
        if state is not None and tensor("state", state).shape != x.shape[1:]:
            raise SaltationError(
                f"the state must have the shape of one step, {list(x.shape[1:])}, got "
                f"{list(state.shape)}"
            )
        last = self.rest(x[0]) if state is None else state
        found = []
        for block in torch.split(x.flatten(1), _BLOCK):
            kernel, decay = self._of(len(block), x)
            found.append(kernel @ block + decay[:, None] * last.flatten())
            last = found[-1][-1]
        y = torch.cat(found).view(x.shape)
        return y if state is None else (y, y[-1])

    def rest(self, x: Tensor) -> Tensor:
        """The potentials at rest, for one step's currents ``x`` of ``[B, ...]``."""
        return torch.zeros_like(x)

    def numerics(self) -> dict[str, Any]:
        return {"tau": self.tau, "dt": self.dt}

    def _of(self, steps: int, like: Tensor) -> tuple[Tensor, Tensor]:
        """What currents ``[steps]`` are multiplied with, and the potential before them."""
        ago = torch.arange(steps, dtype=torch.float64)
        decay = torch.exp(-(ago + 1) * self.dt / self.tau)
        behind = ago[:, None] - ago
        kernel = torch.exp(-behind.clamp(min=0) * self.dt / self.tau) * (behind >= 0)
        kernel = kernel * -torch.expm1(torch.tensor(-self.dt / self.tau, dtype=torch.float64))
        return kernel.to(like), decay.to(like)

    def extra_repr(self) -> str:
        return f"tau={self.tau:g}, dt={self.dt:g}"
