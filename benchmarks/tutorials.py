"""Networks as the tutorials of snnTorch and SpikingJelly write them, for conversion."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional


class Tutorial(NamedTuple):
    """One network and how its tutorial runs it.

    Attributes
    ----------
    library
        ``snntorch`` or ``spikingjelly``.
    source
        The tutorial or example.
    make
        ``(scale) -> network``: hidden layers a ``scale`` as wide as in the tutorial.
    shape
        Of one step of one sample.
    steps
        T.
    shown
        Whether the network shows one input for all steps.
    by_step
        Whether the caller has the loop over the steps.
    """

    library: str
    source: str
    make: Callable[[float], nn.Module]
    shape: tuple[int, ...]
    steps: int
    shown: bool = False
    by_step: bool = True

    def input(self, batch: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """Random input as the tutorial's loader gives it; pixels, or spikes of sensors."""
        noise = torch.Generator().manual_seed(0)
        shape = (batch, *self.shape) if self.shown else (self.steps, batch, *self.shape)
        x = torch.rand(shape, generator=noise)
        return (x if self.shown or self.shape == (1,) else (x < 0.2).float()).to(dtype)

    def run(self, network: nn.Module, x: Tensor) -> Any:
        """What the network gives for ``x``, from rest; steps are stacked."""
        reset(self.library, network)
        if not self.by_step:
            return network(x)
        outputs = [network(step) for step in x]
        if isinstance(outputs[0], tuple):
            return tuple(torch.stack(parts) for parts in zip(*outputs, strict=True))
        return torch.stack(outputs)


def reset(library: str, network: nn.Module) -> None:
    """Forget hidden states."""
    if library == "spikingjelly":
        from spikingjelly.activation_based import functional as sj

        sj.reset_net(network)
    else:
        from snntorch import utils

        utils.reset(network)


def _wide(features: int, scale: float) -> int:
    return max(4, round(features * scale))


class Dense(nn.Module):
    """snnTorch's tutorial 5: a static image for 25 steps, spikes and potentials returned."""

    def __init__(self, scale: float) -> None:
        import snntorch as snn

        super().__init__()
        hidden = _wide(1000, scale)
        self.fc1, self.lif1 = nn.Linear(784, hidden), snn.Leaky(beta=0.95)
        self.fc2, self.lif2 = nn.Linear(hidden, 10), snn.Leaky(beta=0.95)

    def forward(self, x: Tensor) -> Any:
        mem1, mem2 = self.lif1.init_leaky(), self.lif2.init_leaky()
        spk2_rec, mem2_rec = [], []
        for _ in range(25):
            spk1, mem1 = self.lif1(self.fc1(x), mem1)
            spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
            spk2_rec.append(spk2)
            mem2_rec.append(mem2)
        return torch.stack(spk2_rec, dim=0), torch.stack(mem2_rec, dim=0)


class Convolutional(nn.Module):
    """snnTorch's tutorial 6 as a class: one step per pass of ``forward``'s loop."""

    def __init__(self, scale: float) -> None:
        import snntorch as snn
        from snntorch import surrogate

        super().__init__()
        grad = surrogate.fast_sigmoid(slope=25)
        one, two = _wide(12, scale), _wide(64, scale)
        self.conv1, self.lif1 = nn.Conv2d(1, one, 5), snn.Leaky(beta=0.5, spike_grad=grad)
        self.conv2, self.lif2 = nn.Conv2d(one, two, 5), snn.Leaky(beta=0.5, spike_grad=grad)
        self.fc1, self.lif3 = nn.Linear(two * 16, 10), snn.Leaky(beta=0.5, spike_grad=grad)

    def forward(self, x: Tensor) -> Any:
        mem1, mem2, mem3 = self.lif1.reset_mem(), self.lif2.reset_mem(), self.lif3.reset_mem()
        spikes, potentials = [], []
        for _ in range(50):
            cur1 = functional.max_pool2d(self.conv1(x), 2)
            spk1, mem1 = self.lif1(cur1, mem1)
            cur2 = functional.max_pool2d(self.conv2(spk1), 2)
            spk2, mem2 = self.lif2(cur2, mem2)
            cur3 = self.fc1(spk2.view(x.size(0), -1))
            spk3, mem3 = self.lif3(cur3, mem3)
            spikes.append(spk3)
            potentials.append(mem3)
        return torch.stack(spikes), torch.stack(potentials)


def events(scale: float) -> nn.Module:
    """snnTorch's tutorial 7: events of N-MNIST, hidden states, potentials of the last layer."""
    import snntorch as snn
    from snntorch import surrogate

    grad = surrogate.atan()
    one, two = _wide(12, scale), _wide(32, scale)
    leaky = {"beta": 0.5, "spike_grad": grad, "init_hidden": True}
    return nn.Sequential(
        nn.Conv2d(2, one, 5),
        nn.MaxPool2d(2),
        snn.Leaky(**leaky),
        nn.Conv2d(one, two, 5),
        nn.MaxPool2d(2),
        snn.Leaky(**leaky),
        nn.Flatten(),
        nn.Linear(two * 25, 10),
        snn.Leaky(**leaky, output=True),
    )


class Regression(nn.Module):
    """snnTorch's regression tutorial 1: learned decays and thresholds, a potential as output."""

    def __init__(self, scale: float) -> None:
        import snntorch as snn
        from snntorch import surrogate

        super().__init__()
        hidden = _wide(128, scale)
        noise = torch.Generator().manual_seed(1)
        grad = surrogate.fast_sigmoid()
        thresholds, betas = torch.rand(hidden, generator=noise), torch.rand(hidden, generator=noise)
        self.fc1 = nn.Linear(1, hidden)
        self.lif1 = snn.Leaky(
            beta=betas, threshold=thresholds, learn_beta=True, learn_threshold=True, spike_grad=grad
        )
        self.fc2 = nn.Linear(hidden, 1)
        self.lif2 = snn.Leaky(
            beta=torch.tensor(0.7), learn_beta=True, spike_grad=grad, reset_mechanism="none"
        )

    def forward(self, x: Tensor) -> Tensor:
        mem1, mem2 = self.lif1.init_leaky(), self.lif2.init_leaky()
        potentials = []
        for step in range(x.size(0)):
            spk1, mem1 = self.lif1(self.fc1(x[step, :, :]), mem1)
            _, mem2 = self.lif2(self.fc2(spk1), mem2)
            potentials.append(mem2)
        return torch.stack(potentials, dim=0)


class Recurrent(nn.Module):
    """snnTorch's regression tutorial 2: recurrent neurons."""

    def __init__(self, scale: float) -> None:
        import snntorch as snn

        super().__init__()
        hidden = _wide(128, scale)
        self.fc1 = nn.Linear(700, hidden)
        self.rlif = snn.RLeaky(beta=0.9, linear_features=hidden)
        self.fc2, self.lif = nn.Linear(hidden, 20), snn.Leaky(beta=0.9)

    def forward(self, x: Tensor) -> Tensor:
        spk1, mem1 = self.rlif.init_rleaky()
        mem2 = self.lif.init_leaky()
        spikes = []
        for step in range(x.shape[0]):
            spk1, mem1 = self.rlif(self.fc1(x[step]), spk1, mem1)
            spk2, mem2 = self.lif(self.fc2(spk1), mem2)
            spikes.append(spk2)
        return torch.stack(spikes).sum(0)


def synaptic(scale: float) -> nn.Module:
    """snnTorch's tutorial 4: second-order neurons."""
    import snntorch as snn

    hidden = _wide(1000, scale)
    return nn.Sequential(
        nn.Linear(784, hidden),
        snn.Synaptic(alpha=0.75, beta=0.8, init_hidden=True),
        nn.Linear(hidden, 10),
        snn.Synaptic(alpha=0.75, beta=0.8, init_hidden=True),
    )


def lif_fc_mnist(scale: float) -> nn.Module:
    """SpikingJelly's first example: one layer, step by step."""
    from spikingjelly.activation_based import layer, neuron, surrogate

    return nn.Sequential(
        layer.Flatten(),
        layer.Linear(28 * 28, 10, bias=False),
        neuron.LIFNode(tau=2.0, surrogate_function=surrogate.ATan()),
    )


class CSNN(nn.Module):
    """SpikingJelly's convolutional network for Fashion-MNIST: image shown for T steps."""

    def __init__(self, scale: float) -> None:
        from spikingjelly.activation_based import functional as sj
        from spikingjelly.activation_based import layer, neuron, surrogate

        super().__init__()
        channels, self.T = _wide(128, scale), 4
        node = lambda: neuron.IFNode(surrogate_function=surrogate.ATan())  # noqa: E731
        self.conv_fc = nn.Sequential(
            layer.Conv2d(1, channels, kernel_size=3, padding=1, bias=False),
            layer.BatchNorm2d(channels),
            node(),
            layer.MaxPool2d(2, 2),
            layer.Conv2d(channels, channels, kernel_size=3, padding=1, bias=False),
            layer.BatchNorm2d(channels),
            node(),
            layer.MaxPool2d(2, 2),
            layer.Flatten(),
            layer.Linear(channels * 7 * 7, channels * 4 * 4, bias=False),
            node(),
            layer.Linear(channels * 4 * 4, 10, bias=False),
            node(),
        )
        sj.set_step_mode(self, "m")

    def forward(self, x: Tensor) -> Tensor:
        x_seq = x.unsqueeze(0).repeat(self.T, 1, 1, 1, 1)
        return self.conv_fc(x_seq).mean(0)


def gestures(scale: float) -> nn.Module:
    """SpikingJelly's network for DVS Gesture: five blocks, dropout, voting."""
    from spikingjelly.activation_based import functional as sj
    from spikingjelly.activation_based import neuron, surrogate
    from spikingjelly.activation_based.model import parametric_lif_net

    net = parametric_lif_net.DVSGestureNet(
        channels=_wide(128, scale),
        spiking_neuron=neuron.LIFNode,
        surrogate_function=surrogate.ATan(),
        detach_reset=True,
    )
    sj.set_step_mode(net, "m")
    return net


def parametric(scale: float) -> nn.Module:
    """SpikingJelly's network for MNIST with learned time constants (Fang et al., 2021)."""
    from spikingjelly.activation_based import functional as sj
    from spikingjelly.activation_based import neuron, surrogate
    from spikingjelly.activation_based.model import parametric_lif_net

    net = parametric_lif_net.MNISTNet(
        channels=_wide(128, scale),
        spiking_neuron=neuron.ParametricLIFNode,
        init_tau=2.0,
        surrogate_function=surrogate.ATan(),
        detach_reset=True,
    )
    sj.set_step_mode(net, "m")
    return net


class SEWBlock(nn.Module):
    """A block of SpikingJelly's SEW-ResNet: spikes are added to spikes."""

    def __init__(self, channels: int) -> None:
        from spikingjelly.activation_based import layer, neuron, surrogate

        super().__init__()
        node = lambda: neuron.IFNode(detach_reset=True, surrogate_function=surrogate.ATan())  # noqa: E731
        conv = lambda: layer.Conv2d(channels, channels, 3, padding=1, bias=False)  # noqa: E731
        self.conv1, self.bn1, self.sn1 = conv(), layer.BatchNorm2d(channels), node()
        self.conv2, self.bn2, self.sn2 = conv(), layer.BatchNorm2d(channels), node()

    def forward(self, x: Tensor) -> Tensor:
        out = self.sn1(self.bn1(self.conv1(x)))
        out = self.sn2(self.bn2(self.conv2(out)))
        return out + x


class SEW(nn.Module):
    """SpikingJelly's SEW-ResNet for small images: four blocks, a readout of mean rates."""

    def __init__(self, scale: float) -> None:
        from spikingjelly.activation_based import functional as sj
        from spikingjelly.activation_based import layer, neuron, surrogate

        super().__init__()
        channels = _wide(64, scale)
        self.conv1 = layer.Conv2d(3, channels, 3, padding=1, bias=False)
        self.bn1 = layer.BatchNorm2d(channels)
        self.sn1 = neuron.IFNode(detach_reset=True, surrogate_function=surrogate.ATan())
        self.blocks = nn.Sequential(*(SEWBlock(channels) for _ in range(4)))
        self.pool, self.fc = layer.AdaptiveAvgPool2d((1, 1)), layer.Linear(channels, 10)
        sj.set_step_mode(self, "m")

    def forward(self, x: Tensor) -> Tensor:
        x = self.sn1(self.bn1(self.conv1(x)))
        x = self.pool(self.blocks(x))
        return self.fc(torch.flatten(x, 2)).mean(0)


TUTORIALS = {
    "dense": Tutorial("snntorch", "tutorial 5", Dense, (784,), 25, shown=True, by_step=False),
    "convolutional": Tutorial(
        "snntorch", "tutorial 6", Convolutional, (1, 28, 28), 50, shown=True, by_step=False
    ),
    "events": Tutorial("snntorch", "tutorial 7", events, (2, 34, 34), 25),
    "regression": Tutorial("snntorch", "regression 1", Regression, (1,), 50, by_step=False),
    "recurrent": Tutorial("snntorch", "regression 2", Recurrent, (700,), 50, by_step=False),
    "synaptic": Tutorial("snntorch", "tutorial 4", synaptic, (784,), 25),
    "lif_fc_mnist": Tutorial("spikingjelly", "lif_fc_mnist.py", lif_fc_mnist, (1, 28, 28), 100),
    "csnn": Tutorial(
        "spikingjelly", "conv_fashion_mnist.py", CSNN, (1, 28, 28), 4, shown=True, by_step=False
    ),
    "gestures": Tutorial(
        "spikingjelly", "classify_dvsg.py", gestures, (2, 128, 128), 16, by_step=False
    ),
    "parametric": Tutorial(
        "spikingjelly", "MNISTNet, PLIF", parametric, (1, 28, 28), 8, by_step=False
    ),
    "sew": Tutorial("spikingjelly", "SEW-ResNet", SEW, (3, 32, 32), 4, by_step=False),
}
