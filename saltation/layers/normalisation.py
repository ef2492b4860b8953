"""Batch normalisation over time: every step of a sequence has statistics of its own.

Of step t, channel c, over samples and places:

    y[t] = γ (x[t] - mean[t]) / sqrt(var[t] + eps) + β

In training mean and variance are those of the batch, in evaluation the running ones of the same
step. Membranes begin at rest and charge over the first steps, so that currents behind spikes have
another mean and variance in every step: one running mean for all of them normalises none.

Source: Kim & Panda, "Revisiting batch normalization for training low-latency deep spiking neural
networks from scratch", Frontiers in Neuroscience, 2021 (BNTT: γ of each step, no β).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from saltation.encoding import direct
from saltation.errors import SaltationError, choose

AFFINES = ("shared", "per_step")


class SpikingBatchNorm(_BatchNorm):
    """Base of `SpikingBatchNorm1d` and `SpikingBatchNorm2d`, which differ in the input they take.

    Parameters
    ----------
    channels : int
        Number of channels C.
    steps : int
        Number of steps T that have statistics. A sequence may be shorter. A later step is refused,
        in training and in evaluation: it has no statistics, and those of another step are not its.
    affine : str, default "shared"
        Whether all steps have one γ and β (``shared``) or each its own (``per_step``).
    bias : bool, default True
        Whether there is a β. BNTT as published is ``affine="per_step", bias=False``.
    eps : float, default 1e-5
        Added to variances.
    momentum : float or None, default 0.1
        Weight of a batch in the running statistics; None averages all batches.

    Attributes
    ----------
    weight, bias : Parameter, [C] or [T, C]
        γ, ones at first, and β, zeros at first.
    running_mean, running_var : Tensor, [T, C]
    num_batches_tracked : Tensor, [T]
        Training batches that had the step.
    begins : int
        The step that the next sequence begins with, 0. Who runs a network step by step sets it (as
        the estimators of this package do by themselves): a sequence of one step does not say which
        step it is.

    Raises
    ------
    SaltationError
        If a number is not a positive integer or a name unknown; in a call, if the input has another
        shape or more steps than there are statistics, if one value per channel is to be normalised
        in training, or if in evaluation some but not all of the steps have been trained.
    """

    num_batches_tracked: Tensor
    dimensions: tuple[int, ...]
    form: str

    def __init__(
        self,
        channels: int,
        steps: int,
        *,
        affine: str = "shared",
        bias: bool = True,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
    ) -> None:
        for name, count in (("channels", channels), ("steps", steps)):
            if not isinstance(count, int) or isinstance(count, bool) or count < 1:
                raise SaltationError(f"{name} must be a positive integer, got {count!r}")
        choose("affine", affine, AFFINES)
        super().__init__(channels, eps, momentum, affine=False)
        self.steps = steps
        self.begins = 0
        shape = (channels,) if affine == "shared" else (steps, channels)
        self.affine = True
        self.weight = nn.Parameter(torch.ones(shape))
        if bias:
            self.bias = nn.Parameter(torch.zeros(shape))
        self.running_mean = torch.zeros(steps, channels)
        self.running_var = torch.ones(steps, channels)
        self.num_batches_tracked = torch.zeros(steps, dtype=torch.long)

    def forward(self, x: Tensor) -> Tensor:
        """``[T, B, C, ...]`` to the same shape."""
        self._check(x)
        steps = range(self.begins, self.begins + len(x))
        known = self.running_mean is not None  # torch.func takes running statistics away
        if not self.training and known:
            self._check_trained(steps)
        if x.stride(0) == 0 and self.weight.ndim == 1 and (self.training or not known):
            # One step, repeated: it is normalised once.
            y = self._normalised(x[0], steps[0])
            for t in steps[1:]:
                self._count(x[0], t)
            return direct(y, len(x))
        return torch.stack([self._normalised(one, t) for one, t in zip(x, steps, strict=True)])

    def _normalised(self, x: Tensor, t: int) -> Tensor:
        """Step ``t``, ``[B, C, ...]``, normalised; in training it is counted."""
        own = self.weight.ndim == 2
        known = self.running_mean is not None
        counts = self.training and known and self.track_running_stats
        mean = var = None
        if counts or (known and not self.training):
            mean, var = self.running_mean[t], self.running_var[t]  # type: ignore[index]
        return functional.batch_norm(
            x,
            mean,
            var,
            self.weight[t] if own else self.weight,
            None if self.bias is None else self.bias[t] if own else self.bias,
            training=self.training or not known,
            momentum=self._momentum(t) if counts else 0.0,
            eps=self.eps,
        )

    def _momentum(self, t: int) -> float:
        """Weight of the next batch in the running statistics of step ``t``, which is counted."""
        self.num_batches_tracked[t] += 1
        if self.momentum is None:
            return 1 / float(self.num_batches_tracked[t])
        return self.momentum

    def _count(self, x: Tensor, t: int) -> None:
        """Let step ``t``, whose currents are ``x``, enter the running statistics."""
        if self.training and self.running_mean is not None and self.track_running_stats:
            with torch.no_grad():
                functional.batch_norm(
                    x,
                    self.running_mean[t],
                    self.running_var[t],  # type: ignore[index]
                    training=True,
                    momentum=self._momentum(t),
                )

    def _check(self, x: Tensor) -> None:
        fits = x.ndim in self.dimensions and len(x) and x.shape[2] == self.num_features
        if not fits or not x.is_floating_point():
            raise SaltationError(
                f"{type(self).__name__} takes floating-point sequences "
                f"{self.form.replace('C', str(self.num_features))} of at least one step, got "
                f"{x.dtype} {list(x.shape)}"
            )
        end = self.begins + len(x)
        if end > self.steps:
            raise SaltationError(
                f"{type(self).__name__} has statistics of {self.steps} steps, got a sequence that "
                f"ends with step {end}: make it with steps={end} and train it on so many"
            )
        if self.training and x.numel() == len(x) * self.num_features:
            raise SaltationError(
                f"{type(self).__name__} cannot normalise one value per step and channel in "
                f"training, got {list(x.shape)}: take more than one sample, or evaluation mode"
            )

    def _check_trained(self, steps: range) -> None:
        """Refuse steps without training where others were trained; a fresh module is as torch's."""
        if torch.compiler.is_compiling():
            return
        trained = (self.num_batches_tracked > 0).tolist()
        missing = [t for t in steps if not trained[t]]
        if missing and any(trained):
            raise SaltationError(
                f"{type(self).__name__} was trained on steps up to {max(_where(trained)) + 1}, got "
                f"a sequence that needs the running statistics of step {missing[0] + 1}: train it "
                f"on sequences as long as those it is evaluated on"
            )

    def _check_input_dim(self, input: Tensor) -> None:  # noqa: A002  # its name in torch
        self._check(input)

    def extra_repr(self) -> str:
        affine = "shared" if self.weight.ndim == 1 else "per_step"
        bias = "" if self.bias is not None else ", bias=False"
        return f"{self.num_features}, steps={self.steps}, affine={affine!r}{bias}"

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *rest: Any) -> None:
        # Not torch's, which would make up a count that is missing.
        nn.Module._load_from_state_dict(self, state_dict, prefix, *rest)


def _where(flags: list[bool]) -> list[int]:
    return [place for place, flag in enumerate(flags) if flag]


class SpikingBatchNorm2d(SpikingBatchNorm):
    """Batch normalisation of maps ``[T, B, C, H, W]`` with statistics of every step apart.

    ``y[t] = γ (x[t] - mean[t]) / sqrt(var[t] + eps) + β`` (BNTT, Kim & Panda, 2021). Parameters,
    attributes and errors as in `SpikingBatchNorm`.

    Examples
    --------
    >>> norm = st.SpikingBatchNorm2d(64, steps=4)
    """

    dimensions = (5,)
    form = "[T, B, C, H, W]"


class SpikingBatchNorm1d(SpikingBatchNorm):
    """Batch normalisation of features ``[T, B, C]`` or ``[T, B, C, L]``, every step by itself.

    ``y[t] = γ (x[t] - mean[t]) / sqrt(var[t] + eps) + β`` (BNTT, Kim & Panda, 2021). Parameters,
    attributes and errors as in `SpikingBatchNorm`.

    Examples
    --------
    >>> norm = st.SpikingBatchNorm1d(256, steps=10, affine="per_step", bias=False)
    """

    dimensions = (3, 4)
    form = "[T, B, C] or [T, B, C, L]"
