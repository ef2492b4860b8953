"""What was preserved when a network was given another dt, what was not, and its input's form."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from saltation import inline
from saltation.errors import SaltationError

PRESERVED = ("charge", "current")


@dataclass(frozen=True)
class Mapping:
    """From a network at one dt to the same at another.

    Attributes
    ----------
    before, after : float
        The two lengths of a step.
    preserve : str
        ``charge`` or ``current``, of a spike.
    impulse : bool
        Whether spikes are impulses.
    kept, lost : tuple of str
        What is the same as before, and what cannot be; a line each.
    """

    before: float
    after: float
    preserve: str
    impulse: bool
    kept: tuple[str, ...]
    lost: tuple[str, ...]

    @property
    def ratio(self) -> float:
        """Steps of the new network in one of the old."""
        return self.before / self.after

    def inputs(self, x: Tensor) -> Tensor:
        """What has the effect of ``x``, held constant over the old steps, in the new ones.

        Held over k steps each: as it is (``current``), or a k-th of it (``charge``), as the weights
        are k times theirs. As impulses: in the first of k steps.

        Parameters
        ----------
        x : Tensor, [T, ...]

        Returns
        -------
        Tensor, [k T, ...]

        Raises
        ------
        SaltationError
            If the old step is no whole number of new ones.
        """
        k = round(self.ratio)
        if k < 1 or abs(self.ratio / k - 1) > 1e-9:
            raise SaltationError(
                f"inputs are mapped where a step of dt = {self.before:g} is a whole number of "
                f"steps of dt = {self.after:g}: it is {self.ratio:g}"
            )
        if self.impulse:
            later = torch.zeros_like(x)
            return torch.stack([x, *[later] * (k - 1)], 1).flatten(0, 1)
        held = x.repeat_interleave(k, 0)
        return held / k if self.preserve == "charge" else held

    def __str__(self) -> str:
        lines = [f"dt {self.before:g} -> {self.after:g}, {self.preserve} of a spike preserved"]
        lines += [f"  the same: {line}" for line in self.kept]
        lines += [f"  not the same: {line}" for line in self.lost]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        """As it prints, in a notebook."""
        return inline.text(str(self))
