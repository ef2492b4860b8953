"""Two layers of LIF neurons whose outputs compete, for learning without gradients."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from saltation.errors import SaltationError, count, not_negative, positive, tensor
from saltation.kernels import dispatch_learning
from saltation.kernels.events import SpikeTensor
from saltation.layers import LIF, SpikeLinear, WithNumerics
from saltation.layers.inputs import check_finite


class Activity(NamedTuple):
    """What a network did on a batch.

    Attributes
    ----------
    hidden, outputs
        Spikes ``[T, B, H]`` and ``[T, B, C]``, 0 or 1.
    hidden_counts, output_counts
        Spikes of each sample and neuron, ``[B, H]`` and ``[B, C]``.
    """

    hidden: Tensor
    hidden_counts: Tensor
    outputs: Tensor
    output_counts: Tensor

    @property
    def steps(self) -> int:
        """Number of steps T."""
        return len(self.outputs)

    @property
    def answers(self) -> Tensor:
        """int64 ``[B]``: the output that spiked most, of equals the first. A sample without an
        output spike answers class 0."""
        return self.output_counts.argmax(1)

    @property
    def silent(self) -> Tensor:
        """bool ``[B]``: samples without an output spike."""
        return self.output_counts.sum(1) == 0


class WinnerTakeAllNetwork(WithNumerics):
    """Input, hidden and output layer of LIF neurons; in every step one output may keep its spike.

    ``dv/dt = -v / tau + x``, spike where ``v >= v_threshold``, then ``v = 0``; the currents are
    ``x = input_gain W_in s`` and ``x = output_gain W_out s``. Where any output of a sample spikes
    in a step, only the output of largest current keeps a spike. With labels, a teaching current is
    added to that of the label's output in every step. No weight has a gradient; rules such as
    `RSTDP` change ``output.weight``.

    Parameters
    ----------
    features, hidden, classes : int
        Neurons of the three layers.
    tau : float, default 2
        Membrane time constant, in the unit of time of ``dt``.
    dt : float, default 0.5
        Length of a step.
    scheme : str, default "euler"
        Integration scheme of both layers, one of LIF's.
    v_threshold : float, default 0.3
        Potential at which a neuron spikes.
    input_gain, output_gain : float, default 5
        Factors on the currents of the two layers.

    Attributes
    ----------
    input, output : SpikeLinear
        The weights ``[H, F]`` and ``[C, H]``, drawn as ``nn.Linear`` draws them.

    Raises
    ------
    SaltationError
        If a size, gain or neuron parameter is out of range.

    Examples
    --------
    >>> net = WinnerTakeAllNetwork(784, 256, 10, dt=0.05)
    >>> activity = net(spikes, labels, teach=1.0)
    >>> RSTDP(lr=0.05).learn(net.output.weight, activity, labels)
    """

    def __init__(
        self,
        features: int,
        hidden: int = 256,
        classes: int = 10,
        *,
        tau: float = 2.0,
        dt: float = 0.5,
        scheme: str = "euler",
        v_threshold: float = 0.3,
        input_gain: float = 5.0,
        output_gain: float = 5.0,
    ) -> None:
        super().__init__()
        features, hidden = count("features", features), count("hidden", hidden)
        classes = count("classes", classes)
        self.input_gain = positive("input_gain", input_gain)
        self.output_gain = positive("output_gain", output_gain)
        self.input = SpikeLinear(features, hidden, bias=False).requires_grad_(False)
        self.output = SpikeLinear(hidden, classes, bias=False).requires_grad_(False)
        self.neurons = LIF(
            tau=tau, dt=dt, scheme=scheme, decay_input=False, v_threshold=v_threshold
        )

    def forward(self, x: Tensor, labels: Tensor | None = None, teach: float = 0.0) -> Activity:
        """Run from rest.

        Parameters
        ----------
        x : Tensor, [T, B, F]
            Input spikes.
        labels : Tensor of int64, [B], optional
            Whose outputs are taught.
        teach : float, default 0
            Teaching current, at least 0.

        Raises
        ------
        SaltationError
            If shapes do not fit, spikes are not finite, a label is not a class, or the teaching
            current is negative or comes without labels.
        """
        features, classes = self.input.in_features, self.output.out_features
        if not tensor("input spikes", x).is_floating_point():
            raise SaltationError(f"input spikes must be floating point, got {x.dtype}")
        if x.ndim != 3 or x.shape[2] != features or len(x) == 0:
            raise SaltationError(
                f"input spikes must be [T, B, {features}] with at least one step, "
                f"got {list(x.shape)}"
            )
        if not isinstance(x, SpikeTensor):
            check_finite(x, (x,))
        teach = not_negative("teach", teach)
        if teach and labels is None:
            raise SaltationError(f"a teaching current of {teach:g} needs labels, got none")
        # Not x.new_zeros, which asks spikes that are kept as events for the dense tensor.
        taught = torch.zeros(x.shape[1], classes, dtype=x.dtype, device=x.device)
        if labels is not None:
            taught += teach * one_hot(checked_labels(labels, x.shape[1], classes), classes)
        hidden = dispatch_learning.fixed(
            x, self.neurons.stage(self.input_gain * self.input.weight, None)
        )
        outputs = dispatch_learning.compete(
            hidden.spikes,
            self.neurons.stage(self.output_gain * self.output.weight, None),
            taught,
        )
        return Activity(hidden.spikes, hidden.counts, outputs.spikes, outputs.counts)

    def numerics(self) -> dict[str, Any]:
        return {"input_gain": self.input_gain, "output_gain": self.output_gain}

    def extra_repr(self) -> str:
        return f"input_gain={self.input_gain:g}, output_gain={self.output_gain:g}"


def checked_labels(labels: Tensor, batch: int, classes: int) -> Tensor:
    """``labels`` if they are one class each of a batch, else `SaltationError`."""
    whole = not tensor("labels", labels).is_floating_point() and labels.dtype != torch.bool
    if labels.shape != (batch,) or not whole:
        raise SaltationError(
            f"labels must be one integer per sample, shape [{batch}], "
            f"got {labels.dtype} {list(labels.shape)}"
        )
    if batch and not (labels.min() >= 0 and labels.max() < classes):
        raise SaltationError(
            f"labels must be in 0..{classes - 1}, got {int(labels.min())} to {int(labels.max())}"
        )
    return labels.long()
