"""Parts of convolutional networks: maps of sequences ``[T, B, C, H, W]``, all steps in one call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from saltation.encoding import direct
from saltation.errors import SaltationError, choose
from saltation.kernels import dispatch
from saltation.kernels.support import has_tangents, unfit
from saltation.layers import (
    SpikeConv2d,
    SpikingBatchNorm1d,
    SpikingBatchNorm2d,
    SpikingLayer,
)
from saltation.layers.sequential import are_plain_neurons, more_than_forward
from saltation.neurons import Neuron, get_neuron

STATISTICS = ("step", "all", "tdbn")
NORMS = (*STATISTICS, "per_step", "none")


def at_every_step(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """``function`` of ``[B, ...]`` applied to every step of ``x`` of ``[T, B, ...]``.

    It is called once, with the steps behind each other as ``[T B, ...]``; where ``x`` is one step
    repeated (see `saltation.direct`), with that step alone, and the result is repeated as a view.
    """
    if _repeats(x):
        return direct(function(x[0]), len(x))
    y = function(x.flatten(0, 1))
    return y.reshape(*x.shape[:2], *y.shape[1:])


def _repeats(x: Tensor) -> bool:
    """Whether all steps are the same memory."""
    return x.stride(0) == 0


def channels_last(x: Tensor) -> Tensor:
    """A sequence ``[T, B, C, H, W]`` whose channels come last in memory, where a CPU's kernels run:
    all that follows keeps that form, in which dense convolutions and poolings take less time."""
    if unfit(torch.float32, x):
        return x
    if _repeats(x):
        return direct(x[0].contiguous(memory_format=torch.channels_last), len(x))
    last = x.flatten(0, 1).contiguous(memory_format=torch.channels_last)
    return last.view(*x.shape[:2], *last.shape[1:])


class SequenceBatchNorm(nn.BatchNorm2d):
    """`torch.nn.BatchNorm2d` of a sequence.

    Parameters
    ----------
    channels : int
        Number of channels C.
    statistics : str, default "step"
        Over what mean and variance are taken in training: the samples of each ``step`` by itself,
        as when the steps are normalised one after the other, or of ``all`` steps together. In
        evaluation the running statistics serve every step. ``tdbn`` is ``all`` with a weight that
        begins at the threshold in place of 1, ``y = γ (x - mean) / sqrt(var + eps) + β`` with γ =
        V_th, so that currents have the threshold's size (Zheng et al., "Going deeper with
        directly-trained larger spiking neural networks", AAAI 2021, with their α = 1).
    v_threshold : float, default 1
        V_th of the neurons behind it, for ``tdbn``.

    Raises
    ------
    SaltationError
        If ``statistics`` is unknown.

    Notes
    -----
    A repeated step is normalised once. With ``step`` the running statistics are then those of T
    updates with it; otherwise the unbiased running variance counts its samples once, not T times.
    """

    num_batches_tracked: Tensor

    def __init__(self, channels: int, statistics: str = "step", v_threshold: float = 1.0) -> None:
        super().__init__(channels)
        self.statistics = choose("batch_norm", statistics, STATISTICS)
        if statistics == "tdbn":
            nn.init.constant_(self.weight, v_threshold)

    def forward(self, x: Tensor) -> Tensor:
        """``[T, B, C, H, W]`` to the same shape."""
        normalise = super().forward
        # As in torch: without running statistics evaluation takes those of its batch, too.
        known = self.running_mean is not None
        if has_tangents() and self.affine and (not known or self._is_uncounted):
            out = dispatch.batch_norm_of_both(x, self.statistics != "step", self)
            if out is not None:
                return out
        if self.statistics != "step" or (known and not self.training):
            return at_every_step(normalise, x)
        if not _repeats(x):
            # In memory as a step is.
            return torch.cat([normalise(step) for step in x]).view(x.shape)
        counts = known and self.track_running_stats
        return direct(self._repeated(x[0], len(x)) if counts else normalise(x[0]), len(x))

    @property
    def _is_uncounted(self) -> bool:
        """Whether a call normalises with the statistics of its batch, and does not enter them."""
        return self.training and not self.track_running_stats

    @property
    def counts(self) -> bool:
        """Whether a call normalises with the statistics of its batch, and enters them."""
        known = self.running_mean is not None and self.track_running_stats
        return self.training and known and self.affine and self.momentum is not None

    def into(self, neurons: SpikingLayer, x: Tensor, steps: int) -> Tensor | None:
        """Spikes of ``neurons`` of the normalised ``x`` in one piece, if this `counts`; None where
        no kernel can. ``x`` is ``[T, B, C, H, W]``, or ``[1, B, C, H, W]`` where all steps are."""
        each = self.statistics == "step"
        out = dispatch.normalised(x, steps, not each, self, neurons.neuron, neurons.surrogate)
        if out is None:
            return None
        spikes, found = out
        variance = found.variance * (found.rows / (found.rows - 1))
        repeats = steps // len(found.mean) if each else 1
        weight = 1 - (1 - self.momentum) ** repeats  # type: ignore[operator]
        self.num_batches_tracked.add_(steps if each else 1)
        with torch.no_grad():
            for running, values in ((self.running_mean, found.mean), (self.running_var, variance)):
                for value in torch.from_numpy(values).float():
                    running.lerp_(value, weight)  # type: ignore[union-attr]
        return spikes

    def _repeated(self, x: Tensor, steps: int) -> Tensor:
        """``x`` of ``[B, C, H, W]`` normalised, the running statistics updated ``steps`` times."""
        self.num_batches_tracked.add_(steps)
        if self.momentum is None:  # a cumulative average
            weight = steps / self.num_batches_tracked.item()
        else:
            weight = 1 - (1 - self.momentum) ** steps
        return functional.batch_norm(
            x,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            training=True,
            momentum=weight,
            eps=self.eps,
        )

    def extra_repr(self) -> str:
        return f"{self.num_features}, statistics={self.statistics!r}"


class RowBatchNorm(SequenceBatchNorm):
    """`SequenceBatchNorm` of features ``[T, B, F]``."""

    def _check_input_dim(self, input: Tensor) -> None:  # noqa: A002  # as in torch
        if input.ndim != 2:
            raise SaltationError(
                f"the normalisation takes features [T, B, F], got steps of {input.ndim} dimensions"
            )


def normalisation(
    channels: int, batch_norm: str, v_threshold: float, steps: int, *, rows: bool = False
) -> nn.Module:
    """The normalisation in front of neurons, by name: of maps, or of ``rows`` of features.

    ``step``, ``all`` and ``tdbn`` are those of `SequenceBatchNorm`, whose running statistics serve
    every step. ``per_step`` has running statistics of each of ``steps`` steps apart (see
    `SpikingBatchNorm2d`), ``none`` is no normalisation.

    Raises
    ------
    SaltationError
        If the name is unknown.
    """
    if choose("batch_norm", batch_norm, NORMS) == "none":
        return nn.Identity()
    if batch_norm == "per_step":
        return (SpikingBatchNorm1d if rows else SpikingBatchNorm2d)(channels, steps)
    kind = RowBatchNorm if rows else SequenceBatchNorm
    return kind(channels, batch_norm, v_threshold)


class AvgPool(nn.AvgPool2d):
    """`torch.nn.AvgPool2d` of every step."""

    def forward(self, x: Tensor) -> Tensor:
        """``[T, B, C, H, W]`` to ``[T, B, C, H // k, W // k]`` with windows of k."""
        return at_every_step(self._step, x)

    def _step(self, x: Tensor) -> Tensor:
        form = self.kernel_size, self.stride, self.padding, self.ceil_mode, self.divisor_override
        out = dispatch.pooled(x) if form == (2, 2, 0, False, None) else None
        return super().forward(x) if out is None else out


class MaxPool(nn.MaxPool2d):
    """`torch.nn.MaxPool2d` of every step, 3x3 windows with stride 2 and padding 1.

    Of spikes it is their disjunction: one where any neuron of the window spikes.
    """

    def __init__(self) -> None:
        super().__init__(3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """``[T, B, C, H, W]`` to ``[T, B, C, ceil(H / 2), ceil(W / 2)]``."""
        return at_every_step(super().forward, x)


class ConvBlock(nn.Module):
    """Convolution, batch normalisation, neurons.

    ``s = neurons(norm(conv(x)))``: the normalised convolution is the neurons' input current.

    Parameters
    ----------
    fan_in, fan_out : int
        Channels of the input and of the spikes.
    neuron : str or type of Neuron
        Model of the neurons.
    batch_norm : str, default "step"
        Statistics of the normalisation, see `normalisation`; ``none`` leaves it out.
    steps : int, default 1
        Number of steps that have statistics, for ``per_step``.
    kernel : int, default 3
        Side of the convolution's windows, odd; the input is padded by half of it.
    stride : int, default 1
        Of the convolution.
    bias : bool, default False
        Whether the convolution has one.
    **parameters
        Of the neuron layer.
    """

    def __init__(
        self,
        fan_in: int,
        fan_out: int,
        neuron: str | type[Neuron],
        batch_norm: str = "step",
        *,
        steps: int = 1,
        kernel: int = 3,
        stride: int = 1,
        bias: bool = False,
        **parameters: Any,
    ) -> None:
        super().__init__()
        self.conv = SpikeConv2d(fan_in, fan_out, kernel, stride, kernel // 2, bias=bias)
        neurons = get_neuron(neuron).layer(**parameters)
        self.norm = normalisation(fan_out, batch_norm, neurons.neuron.v_threshold, steps)
        self.neurons = neurons  # in the order in which they are run, as `at_dt` reads it

    def forward(self, x: Tensor) -> Tensor:
        """``[T, B, fan_in, H, W]`` to spikes ``[T, B, fan_out, ceil(H / s), ceil(W / s)]`` with
        stride s."""
        norm: Any = self.norm
        repeats = _repeats(x)
        currents = self.conv(x[0])[None] if repeats else at_every_step(self.conv, x)
        spikes = None
        if self._is_one_piece():
            spikes = norm.into(self.neurons, currents, len(x))
        if spikes is None:
            spikes = self.neurons(norm(direct(currents[0], len(x)) if repeats else currents))
        return spikes  # type: ignore[no-any-return]

    def _is_one_piece(self) -> bool:
        """Whether normalisation and neurons do nothing but what they do in one piece."""
        if torch.compiler.is_compiling() or type(self.norm) is not SequenceBatchNorm:
            return False
        plain = not more_than_forward(self.norm) and are_plain_neurons(self.neurons)
        return plain and self.norm.counts
