"""The checks of the self-test: each runs a piece of the library as its users do, with whatever
kernel is the default here, and the same piece in plain torch."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from saltation.encoding import POISSON_METHODS, poisson
from saltation.kernels import dispatch
from saltation.kernels.events import SpikeTensor
from saltation.kernels.reference import MEMORIES
from saltation.layers import LAYERS, READOUTS, Recurrent, SpikeConv2d, SpikeLinear, SpikingLayer
from saltation.models import spiking_mlp
from saltation.models.blocks import SequenceBatchNorm
from saltation.neurons import NEURONS, Neuron
from saltation.selftest.cases import Choice, balanced, doubled, inputs, run, twin_of
from saltation.selftest.learning import learning
from saltation.selftest.printed import printed
from saltation.selftest.row import Row
from saltation.surrogate import SURROGATES

Check = Callable[[Row], None]
Settings = dict[str, Any]

# Every model runs in the same loops, made of its program: these in all of them and in every form,
# some others in their default scheme.
_WHOLE = ("lif", "cuba_lif", "izhikevich")
_MORE = ("adex", "adlif", "alif", "qif")

# One step for all, as some kernels are compiled anew for another; so short that no model runs away
# where it has no jump.
_DT = 0.1


def checks() -> Iterator[tuple[str, Check]]:
    """Every check by its name; a new kernel adds its own here."""
    for name, layer in LAYERS.items():
        model = NEURONS[name]
        few = (model.scheme,) if name in _MORE else ()
        for scheme in model.schemes if name in _WHOLE else few:
            yield f"{model.title} {scheme}", partial(_loop, layer, {"scheme": scheme, "dt": _DT})
        if "beta" in model.parameters() and name in _WHOLE:
            yield f"{model.title} beta", partial(_loop, layer, {"beta": 0.75, "v_rest": -0.25})
        if name in _WHOLE:
            yield f"{model.title} Recurrent", partial(_recurrent, layer)
    yield "poisson", _sampler
    yield "SpikeLinear", _product
    yield "SpikeConv2d", _convolution
    yield "LIF behind normalisation", _normalised
    for name in _WHOLE:
        for what, settings in _networks(NEURONS[name]):
            yield f"{NEURONS[name].title} MLP {what}", partial(_network, name, settings)
    yield "R-STDP", learning
    yield "any number of threads", _threads
    yield from printed((*_WHOLE, *_MORE))


# Vectors of any width, unrolled or not, and some left over.
_SHAPE = (12, 3, 67)


def _loop(layer: type[SpikingLayer], settings: Settings, row: Row) -> None:
    """A neuron's loop: every jump, surrogate and detach_reset; with gradients and without."""
    pairs = itertools.product(SURROGATES, (False, True))
    variants: list[Settings] = [{"surrogate": s, "detach_reset": detach} for s, detach in pairs]
    variants += _OTHER_MEMORIES
    for jump in layer.neuron_type.jumps:
        build: Callable[..., SpikingLayer] = partial(layer, jump=jump, **settings)
        reference = build(backend="reference")
        x, state = inputs(reference, reference, *_SHAPE)
        expected = run(reference, x, state, gradients=False).values
        row.same(run(build(), x, state, gradients=False).values, expected)
        choice = dispatch.resolve("auto", reference.neuron, reference.surrogate, x)
        row.reason = "" if choice[1] == dispatch.FIRST else choice[1]
        for variant in variants:
            ours = run(build(**variant), x, state)
            exact = run(build(**variant, backend="reference"), doubled(x), doubled(state))
            row.note(ours.values[0])
            row.same(ours.values, expected)
            row.near(ours.gradients, exact.gradients)


def _pairs(model: type[Neuron]) -> list[Settings]:
    """Every scheme and every surrogate, each of the schemes first; not all with each other, for
    where they are compiled into one kernel that would take long."""
    schemes, surrogates = list(model.schemes), list(SURROGATES)
    return [
        {"scheme": schemes[i % len(schemes)], "surrogate": surrogates[i % len(surrogates)]}
        for i in range(max(len(schemes), len(surrogates)))
    ]


def _jumps(model: type[Neuron]) -> list[Settings]:
    pairs = itertools.product(model.jumps, (False, True))
    return [{"jump": jump, "detach_reset": detach} for jump, detach in pairs]


_OTHER_MEMORIES: list[Settings] = [{"memory": memory} for memory in MEMORIES[1:]]


def _recurrent(layer: type[SpikingLayer], row: Row) -> None:
    """Neurons that feed back, with gradients and without."""
    model = layer.neuron_type
    for number, settings in enumerate([*_pairs(model), *_jumps(model), *_OTHER_MEMORIES]):

        def build(settings: Settings = settings, bias: bool = number % 2 == 1, **more: Any) -> Any:
            return Recurrent(layer(dt=_DT, **settings, **more), _SHAPE[-1], bias=bias)

        reference, ours = build(backend="reference"), build()
        twin = twin_of(reference, 2.0)
        ours.load_state_dict(reference.state_dict())
        x, state = inputs(reference, twin, *_SHAPE)
        expected = run(reference, x, state, gradients=False).values
        row.same(run(ours, x, state, gradients=False).values, expected)
        result = run(ours, x, state)
        row.note(result.values[0])
        row.same(result.values, expected)
        row.near(result.gradients, run(twin, doubled(x), doubled(state)).gradients)


def _sampler(row: Row) -> None:
    """The encoder's compiled sampler: the bits of the one in torch, which doubles take."""
    noise = torch.Generator().manual_seed(0)
    shape = (9, 5, 31)
    kind = torch.randint(0, 5, shape, generator=noise)
    inner = torch.rand(shape, generator=noise)
    x = torch.stack([0 * inner, inner, 0 * inner + 1, 1e-9 * inner, 1 - 1e-7 * inner])
    x = x.gather(0, kind.unsqueeze(0)).squeeze(0)
    index = torch.randperm(1000, generator=noise)[: len(x)]
    for method, steps, dt in itertools.product(POISSON_METHODS, (1, 16, 50, 65), (0.05, 1.0, 50.0)):
        draw: Any = {"method": method, "index": index, "seed": steps + 2**40, "epoch": steps}
        row.same([poisson(x, steps, dt, **draw)], [poisson(x.double(), steps, dt, **draw)])
    spikes = poisson(x.flatten(1), 5)
    row.ran = "cpu poisson" if isinstance(spikes, SpikeTensor) else "reference"


def _product(row: Row) -> None:
    """The product that follows the spikes, of any density, against the dense one in float64."""
    steps, batch, fan_in, fan_out = 17, 24, 211, 130
    for density, bias in itertools.product((0.0, 0.01, 0.1, 0.3, 1.0), (False, True)):
        layer = SpikeLinear(fan_in, fan_out, bias=bias)
        events = poisson(torch.full((batch, fan_in), density), steps, method="bernoulli")
        dense = _spikes(density, steps, batch, fan_in)
        _weighted(layer, functional.linear, (events, dense.requires_grad_()), row)


def _convolution(row: Row) -> None:
    """The convolution that follows the spikes, of any density, against the dense one in float64."""
    dense = partial(functional.conv2d, padding=1)
    for shape, density, bias in itertools.product(
        ((3, 20, 17, 23), (25, 24, 4, 4)), (0.0, 0.01, 0.1, 0.3, 1.0), (False, True)
    ):
        layer = SpikeConv2d(shape[1], 80, 3, padding=1, bias=bias)
        x = _spikes(density, *shape)
        _weighted(layer, dense, (x, x.clone().requires_grad_()), row)


def _normalised(row: Row) -> None:
    """Batch normalisation and neurons in one piece, against the modules one by one in float64."""
    noise = torch.Generator().manual_seed(0)
    # Channels last in memory, as behind a network's convolutions.
    maps = torch.randn(4, 5, 7, 6, 32, generator=noise).movedim(-1, 2)
    for statistics, surrogate in itertools.product(("step", "all"), SURROGATES):
        norm = SequenceBatchNorm(32, statistics)
        twin = SequenceBatchNorm(32, statistics).double()
        neurons = LAYERS["lif"](beta=0.75, surrogate=surrogate)
        reference = LAYERS["lif"](beta=0.75, surrogate=surrogate, backend="reference")
        x, double = maps.clone().requires_grad_(), maps.double().requires_grad_()
        ours, exact = norm.into(neurons, x, len(x)), reference(twin(double))
        if ours is None:
            row.reason = "no kernel can run it in one piece"
            ours = neurons(norm(x))
        row.note(ours)
        row.same([ours], [exact])
        g = torch.randn(ours.shape, generator=noise)
        found = torch.autograd.grad(ours, (x, *norm.parameters()), g)
        row.near(found, torch.autograd.grad(exact, (double, *twin.parameters()), g.double()))


def _spikes(density: float, *shape: int) -> Tensor:
    return (torch.rand(shape, generator=torch.Generator().manual_seed(0)) < density).float()


def _weighted(layer: Any, dense: Any, inputs: Sequence[Tensor], row: Row) -> None:
    """A layer of weights against ``dense(x, weight, bias)`` in float64."""
    twin, noise = twin_of(layer, 1.0), torch.Generator().manual_seed(0)
    for x in inputs:
        double = x.detach().double().requires_grad_(x.requires_grad)
        y, exact = layer(x), dense(double, twin.weight, twin.bias)
        g = torch.randn(y.shape, generator=noise)
        leaves: list[Tensor] = [*layer.parameters()]
        twins: list[Tensor] = [*twin.parameters()]
        if x.requires_grad:
            leaves, twins = [*leaves, x], [*twins, double]
        row.note(y)
        row.same([y], [exact])
        row.near(torch.autograd.grad(y, leaves, g), torch.autograd.grad(exact, twins, g.double()))


# Numbers of steps that are powers of two, so that means over time are exact as well; and more than
# the bits of a word.
_SIZES, _STEPS, _MANY_STEPS, _BATCH = (196, 67, 48, 10), 8, 128, 13


def _networks(model: type[Neuron]) -> Iterator[tuple[str, list[Settings]]]:
    """Sets of settings for networks of that model, which share a row."""
    pairs, number = _pairs(model), len(model.schemes)
    # Where input reaches the potential late, few spikes come in so few steps.
    for pair in (pair for pair in pairs[:number] if pair["scheme"] != "exponential_split"):
        yield pair["scheme"], [pair | jump | {"readout": "sum"} for jump in _jumps(model)]
    outputs = itertools.product(READOUTS, (False, True))
    readouts = [{"readout": readout, "bias": bias} for readout, bias in outputs]
    yield "readouts", [*readouts, *pairs[number:], *_OTHER_MEMORIES]
    yield "many steps", [{"steps": _MANY_STEPS}]


def _network(neuron: str, settings: list[Settings], row: Row) -> None:
    """Whole networks, from rates to the gradients of a loss."""
    noise = torch.Generator().manual_seed(0)
    rates = torch.rand(_BATCH, _SIZES[0], generator=noise)
    rates *= torch.rand(rates.shape, generator=noise) < 0.2
    labels = torch.randint(_SIZES[-1], (_BATCH,), generator=noise)

    def of_the_loss(network: nn.Module, x: Tensor) -> tuple[Tensor, ...]:
        loss = functional.cross_entropy(network(x), labels)
        return torch.autograd.grad(loss, [*network.parameters()])

    likely: list[Choice] = []  # what settings like these were balanced by
    for given in settings:
        steps = given.get("steps", _STEPS)
        events, dense = poisson(rates, steps), poisson(rates.double(), steps)
        options = {name: value for name, value in given.items() if name != "steps"}
        build = partial(spiking_mlp, _SIZES, neuron=neuron, dt=_DT, **options)
        reference, network = build(backend="reference"), build()
        twin, gradients, choice = balanced(reference, dense, of_the_loss, likely[::-1])
        if choice not in likely:
            likely.append(choice)
        network.load_state_dict(reference.state_dict())
        exact = twin(dense)
        for x in (events, dense.float()):
            logits = network(x)
            row.note(logits)
            row.same([logits], [exact])
            row.near(of_the_loss(network, x), gradients)
            with torch.no_grad():
                row.same([network(x)], [exact])


def _threads(row: Row) -> None:
    """Every bit with one thread and with several: loops, networks and the sampler."""
    noise = torch.Generator().manual_seed(0)
    rates = torch.rand(64, 784, generator=noise)
    rates *= torch.rand(rates.shape, generator=noise) < 0.2
    currents = 30 * torch.rand(5, 40_001, generator=noise) - 1
    wide = 30 * torch.rand(5, 64, 67, generator=noise) - 1
    loops = [LAYERS[name](dt=_DT) for name in _WHOLE]
    feedback = [Recurrent(loop, 67) for loop in loops]
    sizes = (784, 256, 10)
    maps = SpikeConv2d(20, 80, 3, padding=1)
    networks = [spiking_mlp(sizes, neuron=name, readout="sum", dt=_DT) for name in _WHOLE]

    def bits() -> list[Tensor]:
        spikes = poisson(rates, 2 * _STEPS)
        found = [spikes]
        for layer, x in [(loop, currents) for loop in loops] + [(f, wide) for f in feedback]:
            result = run(layer, x, layer.rest(x[0]))
            row.note(result.values[0])
            found += [*result.values, *result.gradients]
        sums = maps(_spikes(0.1, 3, 20, 17, 23))
        row.note(sums)
        found += [sums, *torch.autograd.grad(sums.logsumexp(1).sum(), [*maps.parameters()])]
        for network in networks:
            logits = network(spikes)
            row.note(logits)
            loss = logits.logsumexp(1).sum()
            found += [logits, *torch.autograd.grad(loss, [*network.parameters()])]
        return found

    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        expected = bits()
        for number in (2, 3):
            torch.set_num_threads(number)
            row.same(bits(), expected)
    finally:
        torch.set_num_threads(before)
