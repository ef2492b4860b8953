"""One training step of the same network in every library, from encoding to optimiser.

Everyone draws the same kind of spikes, probability 1 - exp(-x dt) in every step, and has the same
weights, batch, optimiser (fused Adam) and ``max`` readout. Peers appear in the form of their
tutorials, a loop over the steps that encodes as it goes, and in the best form that a skilled user
can write: all steps encoded and multiplied with the first weights at once, the second product at
once where spikes of all steps are at hand, and torch.compile on top. Peers whose neuron has no dt
do the same arithmetic with another constant, so their cost is comparable.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import saltation as st
from benchmarks.timing import Step


class Task(NamedTuple):
    """Images as rates ``[N, F]``, labels, layer sizes, steps, and dt.

    All images are one batch, or ``batch`` of them in turn are. The weights are given, or those that
    a library begins with.
    """

    x: Tensor
    labels: Tensor
    sizes: tuple[int, ...]
    steps: int
    dt: float
    batch: int | None = None
    weights: tuple[Tensor, ...] = ()

    def of_step(self, number: int) -> tuple[Tensor, Tensor]:
        """The images and labels of a training step."""
        size = self.batch or len(self.x)
        first = number % (len(self.x) // size) * size
        return self.x[first : first + size], self.labels[first : first + size]


Logits = Callable[[Tensor, int], Tensor]


def trainer(network: nn.Module, logits: Logits, task: Task) -> Step:
    """A step of training ``network`` on the task's batches."""
    if task.weights:
        matrices = [m for m in network.modules() if isinstance(m, nn.Linear)]
        with torch.no_grad():
            for matrix, weight in zip(matrices, task.weights, strict=True):
                matrix.weight.copy_(weight)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, fused=True)

    def step(number: int) -> None:
        x, labels = task.of_step(number)
        loss = cross_entropy(logits(x, number), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def linears(task: Task) -> nn.ModuleList:
    """The weights, as every library but ours holds them."""
    pairs = zip(task.sizes, task.sizes[1:], strict=False)
    return nn.ModuleList(nn.Linear(*pair, bias=False) for pair in pairs)


def spikes(x: Tensor, task: Task) -> Tensor:
    """Dense spikes of all steps."""
    return (torch.rand(task.steps, *x.shape) < -torch.expm1(-x * task.dt)).float()


def spikes_of_a_step(x: Tensor, task: Task) -> Tensor:
    """Dense spikes of one step."""
    return (torch.rand_like(x) < -torch.expm1(-x * task.dt)).float()


def ours(task: Task, neuron: str = "lif", scheme: str = "euler", **more: Any) -> Step:
    """saltation, as in its README."""
    network = st.spiking_mlp(task.sizes, neuron=neuron, dt=task.dt, scheme=scheme, **more)
    return trainer(network, lambda x, n: network(st.poisson(x, task.steps, task.dt, epoch=n)), task)


class _Module(nn.Module):
    """A network as tutorials write it."""

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.linears = linears(task)
        self.neurons = nn.ModuleList(st.LIF(dt=task.dt, scheme="euler") for _ in task.sizes[2:])

    def forward(self, x: Tensor) -> Tensor:
        for linear, neurons in zip(self.linears[:-1], self.neurons, strict=True):
            x = neurons(linear(x))
        return self.linears[-1](x).max(0).values  # type: ignore[no-any-return]


def ours_by_hand(task: Task) -> Step:
    """saltation in an ``nn.Module`` of ``nn.Linear`` and neuron layers."""
    network = _Module(task)
    return trainer(network, lambda x, n: network(st.poisson(x, task.steps, task.dt, epoch=n)), task)


def trained(task: Task, steps: int) -> Task:
    """The task with the weights that ``steps`` of training on its batches end with."""
    network = st.spiking_mlp(task.sizes, dt=task.dt, scheme="euler")
    step = trainer(network, lambda x, n: network(st.poisson(x, task.steps, task.dt, epoch=n)), task)
    for number in range(steps):
        step(number)
    matrices = [m.weight.detach().clone() for m in network if isinstance(m, nn.Linear)]
    return task._replace(weights=tuple(matrices))


class _Spike(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, u: Tensor) -> Tensor:
        ctx.save_for_backward(u)
        return (u >= 0).to(u.dtype)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:
        s = torch.sigmoid(4 * ctx.saved_tensors[0])
        return g * 4 * s * (1 - s)


def _plain_loop(currents: Tensor, z: float) -> Tensor:
    v = torch.zeros_like(currents[0])
    out = []
    for current in currents:
        h = v + z * (current - v)
        s = _Spike.apply(h - 1.0)
        v = h * (1 - s)
        out.append(s)
    return torch.stack(out)


def plain(task: Task, compiled: bool) -> Step:
    """What a skilled user writes in torch alone: every product for all steps at once."""
    layers = linears(task)
    loop: Any = torch.compile(_plain_loop) if compiled else _plain_loop

    def logits(x: Tensor, _: int) -> Tensor:
        out = spikes(x, task)
        for layer in layers[:-1]:
            out = loop(layer(out), task.dt / 2)
        return layers[-1](out).max(0).values  # type: ignore[no-any-return]

    return trainer(layers, logits, task)


def _sequence(task: Task, neuron: Callable[[], nn.Module]) -> nn.Sequential:
    layers = linears(task)
    modules: list[nn.Module] = []
    for layer in layers[:-1]:
        modules += [layer, neuron()]
    return nn.Sequential(*modules, layers[-1])


def spikingjelly_steps(task: Task, izhikevich: bool = False) -> Step:
    """SpikingJelly, step by step, as in its tutorials."""
    from spikingjelly.activation_based import functional, neuron

    kind = neuron.IzhikevichNode if izhikevich else neuron.LIFNode
    network = _sequence(task, lambda: kind(tau=2.0))

    def logits(x: Tensor, _: int) -> Tensor:
        functional.reset_net(network)
        outputs = [network(spikes_of_a_step(x, task)) for _ in range(task.steps)]
        return torch.stack(outputs).max(0).values

    return trainer(network, logits, task)


def spikingjelly_multi(task: Task, compiled: bool = False, izhikevich: bool = False) -> Step:
    """SpikingJelly in its multi-step mode: all steps encoded and multiplied at once."""
    from spikingjelly.activation_based import functional, neuron

    kind = neuron.IzhikevichNode if izhikevich else neuron.LIFNode
    network = _sequence(task, lambda: kind(tau=2.0, step_mode="m"))
    run: Any = torch.compile(network) if compiled else network

    def logits(x: Tensor, _: int) -> Tensor:
        functional.reset_net(network)
        return run(spikes(x, task)).max(0).values  # type: ignore[no-any-return]

    return trainer(network, logits, task)


def snntorch_steps(task: Task) -> Step:
    """snnTorch, step by step, as in its tutorials."""
    import snntorch

    layers = linears(task)
    neurons = [snntorch.Leaky(beta=0.5, reset_mechanism="zero") for _ in layers[:-1]]

    def logits(x: Tensor, _: int) -> Tensor:
        potentials = [neuron.init_leaky() for neuron in neurons]
        outputs = []
        for _ in range(task.steps):
            out = spikes_of_a_step(x, task)
            for i, neuron in enumerate(neurons):
                out, potentials[i] = neuron(layers[i](out), potentials[i])
            outputs.append(layers[-1](out))
        return torch.stack(outputs).max(0).values

    return trainer(nn.ModuleList([layers, *neurons]), logits, task)


def snntorch_at_once(task: Task) -> Step:
    """snnTorch with all steps encoded and multiplied at once around its neurons' loop."""
    import snntorch

    layers = linears(task)
    neurons = [snntorch.Leaky(beta=0.5, reset_mechanism="zero") for _ in layers[:-1]]

    def logits(x: Tensor, _: int) -> Tensor:
        out = spikes(x, task)
        for layer, neuron in zip(layers, neurons, strict=False):
            potential, emitted = neuron.init_leaky(), []
            for current in layer(out):
                spike, potential = neuron(current, potential)
                emitted.append(spike)
            out = torch.stack(emitted)
        return layers[-1](out).max(0).values  # type: ignore[no-any-return]

    return trainer(nn.ModuleList([layers, *neurons]), logits, task)


def norse_steps(task: Task, at_once: bool) -> Step:
    """Norse's LIF without synapses, step by step or with the products at once."""
    from norse.torch import LIFBoxCell, LIFBoxParameters

    layers = linears(task)
    p = LIFBoxParameters(tau_mem_inv=torch.tensor(0.5), v_th=torch.tensor(1.0))
    cells = nn.ModuleList(LIFBoxCell(p=p, dt=1.0) for _ in layers[:-1])

    def logits(x: Tensor, _: int) -> Tensor:
        states: list[Any] = [None] * len(cells)
        if at_once:
            out = spikes(x, task)
            for i, cell in enumerate(cells):
                emitted = []
                for current in layers[i](out):
                    spike, states[i] = cell(current, states[i])
                    emitted.append(spike)
                out = torch.stack(emitted)
            return layers[-1](out).max(0).values  # type: ignore[no-any-return]
        outputs = []
        for _ in range(task.steps):
            out = spikes_of_a_step(x, task)
            for i, cell in enumerate(cells):
                out, states[i] = cell(layers[i](out), states[i])
            outputs.append(layers[-1](out))
        return torch.stack(outputs).max(0).values

    return trainer(nn.ModuleList([layers, cells]), logits, task)


OURS, BY_HAND = "saltation", "saltation, nn.Module, nn.Linear"

# Contenders by name: a builder of a training step of LIF networks for each.
LIF: dict[str, Callable[[Task], Step]] = {
    OURS: ours,
    BY_HAND: ours_by_hand,
    "plain torch, all steps at once": lambda task: plain(task, compiled=False),
    "plain torch, all at once, torch.compile": lambda task: plain(task, compiled=True),
    "SpikingJelly 2.0, step by step": spikingjelly_steps,
    "SpikingJelly 2.0, multi-step": spikingjelly_multi,
    "SpikingJelly 2.0, multi-step, torch.compile": lambda task: spikingjelly_multi(task, True),
    "snnTorch 1.0, step by step": snntorch_steps,
    "snnTorch 1.0, products at once": snntorch_at_once,
    "Norse 1.1, step by step": lambda task: norse_steps(task, at_once=False),
    "Norse 1.1, products at once": lambda task: norse_steps(task, at_once=True),
}

# The same for Izhikevich networks; `symplectic_v` is SpikingJelly's arithmetic.
IZHIKEVICH: dict[str, Callable[[Task], Step]] = {
    OURS: lambda task: ours(task, "izhikevich", "symplectic_v"),
    "saltation, exponential": lambda task: ours(task, "izhikevich", "exponential"),
    "SpikingJelly 2.0, step by step": lambda task: spikingjelly_steps(task, izhikevich=True),
    "SpikingJelly 2.0, multi-step": lambda task: spikingjelly_multi(task, izhikevich=True),
}

_TABLES = {"lif": LIF, "izhikevich": IZHIKEVICH}


def made(neuron: str, name: str, task: Task) -> Step:
    """The contender of that name; a function that can be sent to another process."""
    return _TABLES[neuron][name](task)
