"""``python -m benchmarks.faults``: planted faults, what the diagnosis names, and its first remedy.

Networks of three libraries with the same weights, each with one fault, and the same without it
(the twin), trained alike on the digits of 8 x 8 pixels. A remedy restores learning where the mended
network comes to within five points of its twin.
"""

from __future__ import annotations

import argparse
import math
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import saltation as st
from saltation.data import load
from saltation.errors import SaltationError

STEPS, TRAINED, EPOCHS, BATCH, LR = 8, 1200, 8, 64, 2e-3
NEAR = 5.0  # points of accuracy to the twin


@dataclass
class Design:
    """A network, in words that all libraries have."""

    depth: int = 3
    width: int = 64
    beta: float = 0.8
    threshold: list[float] = field(default_factory=lambda: [1.0])
    alpha: float = 4.0  # of a logistic surrogate
    norm: bool = False
    momentum: float = 0.1
    rows: bool = False  # an image is shown row by row, and the last step is read
    scale: float = 1.0  # of the input
    weights: Callable[[Any], None] = lambda network: None  # what else is done to it

    def thresholds(self) -> list[float]:
        """Of every layer of neurons."""
        given = self.threshold
        return [*given[:1] * (self.depth - len(given)), *given]


class Network(nn.Module):
    """Linear maps, normalisations or none, neurons, and a readout: its mean over steps.

    `Looped` goes step by step with states in its hands, as snnTorch's tutorials do.
    """

    def __init__(self, design: Design, neurons: list[nn.Module]) -> None:
        super().__init__()
        width, inputs = design.width, 8 if design.rows else 64
        sizes = [inputs, *[width] * design.depth]
        self.maps = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        self.norms = nn.ModuleList(
            nn.BatchNorm1d(width, momentum=design.momentum) if design.norm else nn.Identity()
            for _ in self.maps
        )
        self.neurons = nn.ModuleList(neurons)
        self.readout = nn.Linear(width, 10)
        self.rows = design.rows
        with torch.no_grad():
            for one in self.maps:
                one.weight.mul_(1.0 if design.norm else 2.5)
            design.weights(self)

    def forward(self, x: Tensor) -> Tensor:
        """``[T, B, features]`` to logits ``[B, 10]``."""
        for linear, norm, neurons in zip(self.maps, self.norms, self.neurons, strict=True):
            current = norm(linear(x).flatten(0, 1)).unflatten(0, x.shape[:2])
            x = neurons(current)
        logits: Tensor = self.readout(x[-1] if self.rows else x.mean(0))
        return logits


class Looped(Network):
    """The same, one step after the other."""

    def forward(self, x: Tensor) -> Tensor:
        """``[T, B, features]`` to logits ``[B, 10]``."""
        potentials: list[Any] = [None] * len(self.neurons)
        spikes = []
        for s in x:
            for place, parts in enumerate(zip(self.maps, self.norms, self.neurons, strict=True)):
                linear, norm, neurons = parts
                current = norm(linear(s))
                v = potentials[place]
                s, potentials[place] = neurons(
                    current, torch.zeros_like(current) if v is None else v
                )
            spikes.append(s)
        logits: Tensor = self.readout(spikes[-1] if self.rows else torch.stack(spikes).mean(0))
        return logits


def ours(design: Design) -> nn.Module:
    """Of saltation."""
    made: list[nn.Module] = [
        st.LIF(
            beta=design.beta,
            jump="soft_delayed",
            detach_reset=True,
            v_threshold=threshold,
            surrogate=st.surrogate.Sigmoid(design.alpha),
        )
        for threshold in design.thresholds()
    ]
    return Network(design, made)


def snntorch(design: Design) -> nn.Module:
    """Of snnTorch, with a loop over the steps in ``forward``, and its default surrogate as wide as
    the others: its logistic one is NaN from 89 / alpha below threshold on."""
    from snntorch import Leaky, surrogate  # type: ignore[import-untyped]

    width = math.acosh(3) / design.alpha

    return Looped(
        design,
        [
            Leaky(
                beta=design.beta,
                threshold=threshold,
                spike_grad=surrogate.atan(alpha=2 / (math.pi * width)),
            )
            for threshold in design.thresholds()
        ],
    )


def spikingjelly(design: Design) -> nn.Module:
    """Of SpikingJelly, in multi-step mode."""
    from spikingjelly.activation_based import neuron, surrogate  # type: ignore[import-untyped]

    return Network(
        design,
        [
            neuron.LIFNode(
                tau=max(1 / (1 - design.beta), 1.0001),  # it takes none of 1
                decay_input=False,
                v_threshold=threshold,
                v_reset=None,
                detach_reset=True,
                step_mode="m",
                surrogate_function=surrogate.Sigmoid(alpha=design.alpha),
            )
            for threshold in design.thresholds()
        ],
    )


LIBRARIES: dict[str, Callable[[Design], nn.Module]] = {
    "saltation": ours,
    "snnTorch": snntorch,
    "SpikingJelly": spikingjelly,
}


class Fault(NamedTuple):
    """What is changed in a design, and in the one of its twin."""

    planted: dict[str, Any]
    twin: dict[str, Any]


def _hidden(network: Any, factor: float) -> None:
    for linear in network.maps[1:]:
        linear.weight.mul_(factor)
        linear.bias.mul_(factor)


def _zero(network: Any) -> None:
    for linear in network.maps[1:]:
        linear.weight.zero_()
        linear.bias.zero_()


def _constant(network: Any) -> None:
    for linear in (*network.maps, network.readout):
        linear.weight.fill_(0.03)
        linear.bias.zero_()


HEALTHY = "none"
NARROW: dict[str, Any] = {"depth": 4, "alpha": 10.0}
ROWS: dict[str, Any] = {"depth": 2, "width": 128, "beta": 0.9, "rows": True}
DEEPER: dict[str, Any] = {"depth": 12, "norm": True}
DEEP: dict[str, Any] = {"depth": 8, "norm": True}
FAULTS: dict[str, Fault] = {
    "weights too small": Fault({**NARROW, "weights": lambda net: _hidden(net, 0.02)}, NARROW),
    "weights too large": Fault({"weights": lambda net: _hidden(net, 30.0)}, {}),
    "saturated layer": Fault({"weights": lambda net: net.maps[1].bias.add_(20.0)}, {}),
    "dead neurons": Fault({"weights": lambda net: net.maps[1].bias[:60].sub_(20.0)}, {}),
    "zero weights": Fault({"weights": _zero}, {}),
    "constant weights": Fault({"weights": _constant}, {}),
    "surrogate too steep": Fault({"alpha": 400.0}, {}),
    "vanishing by depth": Fault({**DEEP, "alpha": 40.0}, DEEP),
    "exploding by depth": Fault({**DEEPER, "alpha": 12.0}, DEEPER),
    "modes disagree": Fault({"norm": True, "momentum": 1e-4}, {"norm": True}),
    "tau in the wrong unit": Fault({**ROWS, "beta": 0.0}, ROWS),
    "inputs not scaled": Fault({"scale": 255.0}, {}),
    "readout too large": Fault({"weights": lambda net: net.readout.weight.mul_(1000.0)}, {}),
    "readout fed by nothing": Fault({"threshold": [1.0, 1.0, 100.0]}, {}),
    HEALTHY: Fault({}, {}),
}


def network(library: str, options: dict[str, Any], seed: int = 0) -> nn.Module:
    """A network of a library, the same weights in all of them."""
    torch.manual_seed(seed)
    return LIBRARIES[library](Design(**options))


@cache
def digits() -> tuple[Tensor, Tensor]:
    """Images ``[N, 8, 8]`` from 0 to 1, and labels."""
    data = load("digits")
    parts = data.train, data.test
    images = torch.cat([part.images for part in parts]).reshape(-1, 8, 8).float()
    return images / images.max(), torch.cat([part.labels for part in parts])


def shown(places: Tensor, options: dict[str, Any]) -> Tensor:
    """``[T, B, features]``: all pixels at every step, or row after row."""
    images = digits()[0][places] * Design(**options).scale
    return images.transpose(0, 1) if Design(**options).rows else st.direct(images.flatten(1), STEPS)


def accuracy_after(net: nn.Module, options: dict[str, Any], epochs: int = EPOCHS) -> float:
    """Percent of the images that were not trained with, in evaluation mode."""
    labels = digits()[1]
    optimizer = torch.optim.Adam(net.parameters(), lr=LR)
    order = torch.Generator().manual_seed(0)
    net.train()
    for _ in range(epochs):
        for places in torch.randperm(TRAINED, generator=order).split(BATCH):
            loss = cross_entropy(_run(net, shown(places, options)), labels[places])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    net.eval()
    rest = torch.arange(TRAINED, len(labels))
    with torch.no_grad():
        right = _run(net, shown(rest, options)).argmax(1) == labels[rest]
    return 100 * float(right.double().mean())


def _run(net: nn.Module, x: Tensor) -> Tensor:
    logits: Tensor = net(x)
    for module in net.modules():  # SpikingJelly's neurons keep their state
        if hasattr(module, "_memories"):
            module.reset()
    return logits


class Row(NamedTuple):
    """What came of one fault in one library."""

    fault: str
    library: str
    found: str
    remedy: str
    accuracy: float
    mended: float
    twin: float

    @property
    def restored(self) -> bool:
        """Whether the mended network learns as its twin does."""
        return self.mended >= self.twin - NEAR


def row(name: str, library: str, epochs: int = EPOCHS) -> Row:
    """Diagnose, apply the first remedy of the first finding, and train all three."""
    fault, places = FAULTS[name], torch.arange(64)
    net = network(library, fault.planted)
    x, y = shown(places, fault.planted), digits()[1][places]
    findings = st.diagnose(net, x, y).findings
    named = [r for f in findings[:1] for r in f.remedies[:1]]
    mended = network(library, fault.planted)
    for remedy in named:
        try:
            st.REMEDIES[remedy]().apply(mended, x, y)
        except SaltationError as error:
            named = [f"{remedy} (refused: {error})"]
    return Row(
        name,
        library,
        findings[0].kind if findings else "",
        "".join(named),
        accuracy_after(net, fault.planted, epochs),
        accuracy_after(mended, fault.planted, epochs),
        accuracy_after(network(library, fault.twin), fault.twin, epochs),
    )


def rows(faults: list[str], libraries: list[str]) -> Iterator[Row]:
    """One of every fault and library."""
    for name in faults:
        for library in libraries:
            yield row(name, library)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.faults", description=__doc__)
    parser.add_argument("--faults", nargs="+", default=list(FAULTS), choices=list(FAULTS))
    parser.add_argument("--libraries", nargs="+", default=list(LIBRARIES), choices=list(LIBRARIES))
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    print("| fault | library | found | first remedy | as it is | mended | without the fault |")
    print("| --- | --- | --- | --- | ---: | ---: | ---: |")
    made = []
    for one in rows(options.faults, options.libraries):
        made.append(one)
        print(
            f"| {one.fault} | {one.library} | {one.found or 'nothing'} | {one.remedy or '-'} | "
            f"{one.accuracy:.1f} | {one.mended:.1f} | {one.twin:.1f} |",
            flush=True,
        )
    planted = [one for one in made if one.fault != HEALTHY]
    print(f"\n{sum(one.restored for one in planted)} of {len(planted)} learn as without the fault.")


if __name__ == "__main__":
    main()
