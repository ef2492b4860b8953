"""`spring_mass`: where four coupled masses will be (Baronig, Ferrand, Sabathiel & Legenstein,
"Advancing spatio-temporal processing through adaptation in spiking neural networks", Nature
Communications, 2025)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from saltation import random
from saltation.data.dataset import Split
from saltation.data.generated import Generated, check_between
from saltation.data.registry import Spec, register
from saltation.errors import SaltationError, count, number, positive

_SPRINGS = 1 << 16  # sites of the springs, behind those of the masses


@dataclass(frozen=True)
class SpringMass(Generated):
    """Displacements of masses in a chain of springs between two walls, without friction.

    ``m x'' = -K x``, K tridiagonal with ``k[i] + k[i+1]`` on its diagonal and ``-k[i]`` beside it,
    starting at rest from displacements that are drawn for every sample, uniformly in (-1, 1). The
    springs are drawn once from the seed: one system, whose motions differ by where they start. It
    is solved exactly, by its modes.

    The input are the displacements, and the targets those of a step later. From ``observed`` on the
    input is 0: from there the network goes on by itself.

    Taken from the published task: 4 masses of 1 kg between two walls, stiffnesses drawn in 500 to
    10,000 N/m, one system for all samples, no friction, no initial velocity, half a second, 4,096
    samples, the next displacement as the target and its mean squared error as the loss. Different
    here: steps are of 1 ms, where the authors' configuration has 402 samples a second (stiffnesses
    6.19 times as large move as fast in a step); displacements are uniform, where theirs are normal;
    in their second half the authors feed the network's own prediction back, here it is given
    nothing; 1,024 further samples are tested on.

    Parameters
    ----------
    masses, steps : int
        Number of masses, and duration in ms.
    stiffness : (float, float)
        Range of the springs in N/m, of masses of 1 kg.
    observed : float
        Fraction of the time that displacements are seen.
    seed : int
        Of springs and samples.

    Raises
    ------
    SaltationError
        If a number is out of range.
    """

    masses: int = 4
    steps: int = 500
    stiffness: tuple[float, float] = (500.0, 10_000.0)
    observed: float = 0.5
    seed: int = 0

    name = "spring_mass"
    title = "four masses and springs, generated (Baronig et al., 2025)"
    sizes = (4_096, 1_024)

    def __post_init__(self) -> None:
        count("masses", self.masses)
        count("steps", self.steps)
        check_between("stiffness", self.stiffness, 0.0)
        positive("stiffness", self.stiffness[0])
        if not 0 < number("observed", self.observed) <= 1:
            raise SaltationError(f"observed must be above 0 and at most 1, got {self.observed}")

    def springs(self) -> Tensor:
        """Stiffness of every spring, float64 ``[masses + 1]`` in N/m."""
        low, high = self.stiffness
        site = _SPRINGS + torch.arange(self.masses + 1)
        drawn = self.uniform(0, site, torch.tensor(0), random.ORDER)[0]
        return low + (high - low) * drawn

    def matrix(self) -> Tensor:
        """K, float64 ``[masses, masses]``."""
        k = self.springs()
        beside = torch.diag(k[1:-1], 1)
        return torch.diag(k[:-1] + k[1:]) - beside - beside.T

    def motion(self, index: Tensor, *, stream: int = random.TRAIN) -> Tensor:
        """Displacements at every ms from 0 on, float64 ``[B, steps + 1, masses]``."""
        start = 2 * self.uniform(0, torch.arange(self.masses), index[:, None], stream)[0] - 1
        squares, modes = torch.linalg.eigh(self.matrix())
        time = torch.arange(self.steps + 1, dtype=torch.float64) / 1000
        swing = torch.cos(time[:, None] * squares.sqrt())
        moved: Tensor = ((start @ modes)[:, None] * swing) @ modes.T
        return moved

    def split(self, samples: int, *, stream: int = random.TRAIN) -> Split:
        motion = self.motion(torch.arange(samples), stream=stream).float()
        seen = motion[:, :-1].clone()
        seen[:, math.ceil(self.observed * self.steps) :] = 0
        return Split(seen, motion[:, 1:].contiguous())

    def spec(self) -> Spec:
        return Spec(
            name=self.name,
            title=self.title,
            classes=self.masses,
            shape=(self.steps, self.masses),
            samples=self.sizes[0],
            read=self.read,
            bundled=True,
            dt=1.0,
            regression=True,
            of_moments=True,
        )


register(SpringMass().spec())
