"""One training step, from encoding to optimiser: saltation beside its peers, in one run.

The network is 784-256-10 without biases on random images with the density of MNIST, batch 128,
T = 50, LIF with tau 2 and a hard reset, max readout, Adam. Everyone draws the same kind of spikes
(probability 1 - exp(-x dt)) and takes turns; medians over the rounds and the spread between
quartiles are shown. Peers whose neuron has no dt do the same arithmetic with another constant, so
their cost is comparable. Run with ``make bench``.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import snntorch
import torch
from spikingjelly.activation_based import functional, neuron
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import saltation as st

STEPS, BATCH, SIZES = 50, 128, (784, 256, 10)
ROUNDS, WARM_UP = 15, 3

Step = Callable[[Tensor, Tensor, int], None]


def images() -> tuple[Tensor, Tensor]:
    """A batch of which 19 % of the pixels are not black, as in MNIST, and labels."""
    generator = torch.Generator().manual_seed(0)
    ink = torch.rand(BATCH, SIZES[0], generator=generator) < 0.19
    x = ink * torch.rand(BATCH, SIZES[0], generator=generator)
    return x, torch.randint(SIZES[-1], (BATCH,), generator=generator)


def trainer(network: nn.Module, logits: Callable[[Tensor, int], Tensor]) -> Step:
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)

    def step(x: Tensor, labels: Tensor, number: int) -> None:
        loss = cross_entropy(logits(x, number), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def ours(dt: float) -> Step:
    network = st.spiking_mlp(SIZES, dt=dt, scheme="euler")
    return trainer(network, lambda x, n: network(st.poisson(x, STEPS, dt, epoch=n)))


def spikes(x: Tensor, dt: float) -> Tensor:
    """The dense spikes of all steps, as a skilled user of a peer writes it."""
    return (torch.rand(STEPS, *x.shape) < -torch.expm1(-x * dt)).float()


def spikingjelly_multi_step(dt: float) -> Step:
    lif = neuron.LIFNode(tau=2.0, step_mode="m")
    network = nn.Sequential(
        nn.Linear(*SIZES[:2], bias=False), lif, nn.Linear(*SIZES[1:], bias=False)
    )

    def logits(x: Tensor, _: int) -> Tensor:
        functional.reset_net(network)
        return network(spikes(x, dt)).max(0).values

    return trainer(network, logits)


def spikingjelly_step_by_step(dt: float) -> Step:
    lif = neuron.LIFNode(tau=2.0)
    network = nn.Sequential(
        nn.Linear(*SIZES[:2], bias=False), lif, nn.Linear(*SIZES[1:], bias=False)
    )

    def logits(x: Tensor, _: int) -> Tensor:
        functional.reset_net(network)
        p = -torch.expm1(-x * dt)
        return torch.stack([network((torch.rand_like(p) < p).float()) for _ in range(STEPS)]).amax(
            0
        )

    return trainer(network, logits)


def snntorch_step_by_step(dt: float) -> Step:
    first, last = nn.Linear(*SIZES[:2], bias=False), nn.Linear(*SIZES[1:], bias=False)
    leaky = snntorch.Leaky(beta=0.5, reset_mechanism="zero")

    def logits(x: Tensor, _: int) -> Tensor:
        currents = first(spikes(x, dt))
        mem, outputs = leaky.init_leaky(), []
        for current in currents:
            spike, mem = leaky(current, mem)
            outputs.append(last(spike))
        return torch.stack(outputs).amax(0)

    return trainer(nn.ModuleList([first, leaky, last]), logits)


def main() -> None:
    x, labels = images()
    builders = {
        "saltation": ours,
        "SpikingJelly 2.0, multi-step": spikingjelly_multi_step,
        "SpikingJelly 2.0, step by step": spikingjelly_step_by_step,
        "snnTorch 1.0, products at once": snntorch_step_by_step,
    }
    print(f"{torch.get_num_threads()} threads, {ROUNDS} rounds; ms: median (quartiles)\n")
    print("| dt | library | ms | times ours |\n| --- | --- | --- | --- |")
    for dt in (0.05, 0.5, 1.0, 5.0):
        steps = {name: build(dt) for name, build in builders.items()}
        times: dict[str, list[float]] = {name: [] for name in steps}
        for number in range(WARM_UP + ROUNDS):
            for name, step in steps.items():
                start = time.perf_counter()
                step(x, labels, number)
                if number >= WARM_UP:
                    times[name].append(1e3 * (time.perf_counter() - start))
        own = statistics.median(times["saltation"])
        for name, taken in times.items():
            low, median, high = statistics.quantiles(taken, n=4)
            print(f"| {dt:g} | {name} | {median:.1f} ({low:.1f}-{high:.1f}) | {median / own:.2f} |")


if __name__ == "__main__":
    main()
