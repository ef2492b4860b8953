"""The spiking VGG: what it is made of, what it computes, what it refuses."""

from __future__ import annotations

import copy
import itertools
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import saltation as st
from saltation.layers import LAYERS
from saltation.models.vgg import BENCHMARK, SpikingVGG, vgg_of_depth
from tests.facts import IN_MV


class Looped(nn.Module):
    """The network written with snnTorch, one step after the other: an independent second reading.

    snnTorch's surrogates return float32 spikes, so what passes back through them is float32 too.
    """

    def __init__(
        self, channels: list[int], blocks: int, side: int, classes: int, steps: int = 4
    ) -> None:
        super().__init__()
        snntorch = pytest.importorskip(
            "snntorch", reason="comparison with snnTorch needs: pip install snntorch==1.0.0"
        )
        surrogate = pytest.importorskip("snntorch.surrogate").fast_sigmoid(slope=25)
        self.steps, self.blocks = steps, blocks
        self.convs, self.norms, self.neurons = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for one, two in itertools.pairwise(channels):
            for fan_in in [one] + [two] * (blocks - 1):
                self.convs.append(nn.Conv2d(fan_in, two, 3, padding=1, bias=False))
                self.norms.append(nn.BatchNorm2d(two))
                # A tensor, for snnTorch would round a number to float32.
                beta = torch.tensor(0.9, dtype=torch.get_default_dtype())
                self.neurons.append(snntorch.Leaky(beta=beta, threshold=1.0, spike_grad=surrogate))
        self.dropout = nn.Dropout(0.25)
        self.readout = nn.Linear(channels[-1] * side * side, classes)

    def forward(self, x: Tensor) -> Tensor:
        potentials: list[Any] = [None] * len(self.convs)
        total: Any = 0
        for t in range(self.steps):
            s, potentials = self.step(x if x.ndim == 4 else x[t], potentials)
            total = total + s.flatten(1)
        return self.readout(self.dropout(total))

    def step(self, s: Tensor, potentials: list[Any]) -> tuple[Tensor, list[Any]]:
        """Pooled spikes and potentials from an image and the potentials before, None at first."""
        after = []
        for i, (conv, norm, leaky) in enumerate(
            zip(self.convs, self.norms, self.neurons, strict=True)
        ):
            current = norm(conv(s))
            before = torch.zeros_like(current) if potentials[i] is None else potentials[i]
            s, potential = leaky(current, before)
            after.append(potential)
            s = s.to(current.dtype)
            if (i + 1) % self.blocks == 0:
                s = nn.functional.avg_pool2d(s, 2)
        return s, after

    def exponent(self, x: Tensor, eps: float, seed: int) -> Tensor:
        """Mean growth per step and sample of two trajectories, eps apart, in one batch."""
        noise, samples = torch.Generator().manual_seed(seed), len(x)
        _, shapes = self.step(x, [None] * len(self.convs))
        potentials = [
            torch.cat([torch.zeros_like(v), eps * drawn.to(v.dtype)])
            for v in shapes
            for drawn in [torch.randn(v.shape, generator=noise, dtype=torch.float32)]
        ]
        growth = torch.zeros(samples)
        for _ in range(self.steps):
            _, after = self.step(torch.cat([x, x]), potentials)
            apart = [v[samples:] - v[:samples] for v in after]
            distance = sum(d.square().flatten(1).sum(1) for d in apart).sqrt()  # type: ignore[union-attr]
            growth = growth + (distance / eps).log()
            pull = (eps / distance).view(-1, 1, 1, 1)
            potentials = [
                torch.cat([v[:samples], v[:samples] + pull * d])
                for v, d in zip(after, apart, strict=True)
            ]
        return growth / self.steps

    def take(self, network: SpikingVGG) -> None:
        """The parameters and running statistics of ``network``."""
        mine = [
            *itertools.chain(*zip(self.convs, self.norms, strict=True)),
            self.readout,
        ]
        weighted = (nn.Conv2d, nn.BatchNorm2d, nn.Linear)
        theirs = [m for m in network.modules() if isinstance(m, weighted)]
        for one, two in zip(mine, theirs, strict=True):
            one.load_state_dict(two.state_dict())

    def ordered(self) -> list[nn.Parameter]:
        """The parameters in the order of our network."""
        pairs = zip(self.convs, self.norms, strict=True)
        blocks = [p for conv, norm in pairs for p in (*conv.parameters(), *norm.parameters())]
        return [*blocks, *self.readout.parameters()]


@pytest.fixture
def _float64() -> Any:
    """Everything is made in float64."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def small(in_channels: int = 2, size: int = 8, **options: Any) -> SpikingVGG:
    """Two stages of two blocks and 4 and 8 channels, as the depth benchmark has them."""
    torch.manual_seed(0)
    options = {"stages": 2, "base_channels": 4, **BENCHMARK, **options}
    return st.spiking_vgg(in_channels, 5, size, **options)


def images(*shape: int, seed: int = 0) -> Tensor:
    return 2 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def spread(network: nn.Module) -> None:
    """Running statistics and affine parameters other than those of a fresh network."""
    noise = torch.Generator().manual_seed(3)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            with torch.no_grad():
                for tensor, low in (
                    (module.weight, 0.7),
                    (module.bias, 0.0),
                    (module.running_mean, -0.3),
                    (module.running_var, 0.5),
                ):
                    tensor.copy_(low + 0.6 * torch.rand(tensor.shape, generator=noise))


def statistics(network: nn.Module) -> list[Tensor]:
    """Running means and variances, and counts, of every normalisation."""
    return [b for m in network.modules() if isinstance(m, nn.BatchNorm2d) for b in m.buffers()]


@pytest.mark.parametrize("blocks", [1, 2, 3])
@pytest.mark.parametrize("stages", [1, 4, 5])
def test_parameters_are_those_of_the_formula_and_of_snntorch(stages: int, blocks: int) -> None:
    """9 in out weights and 2 out factors a block, and a readout of what the poolings leave."""
    widths = [min(64 * 2**i, 512) for i in range(stages)]
    expected = (widths[-1] * (32 // 2**stages) ** 2 + 1) * 10
    for fan_in, fan_out in itertools.pairwise([3, *widths]):
        expected += 9 * fan_out * (fan_in + (blocks - 1) * fan_out) + 2 * fan_out * blocks
    made = st.spiking_vgg(3, 10, stages=stages, blocks_per_stage=blocks)
    assert sum(p.numel() for p in made.parameters()) == expected
    looped = Looped([3, *widths], blocks, 32 // 2**stages, 10)
    assert [p.shape for p in made.parameters()] == [p.shape for p in looped.ordered()]


@pytest.mark.parametrize("benchmark", [False, True])
def test_defaults_are_those_that_train_and_the_benchmark_has_its_own(benchmark: bool) -> None:
    """Depth 8 from 64 channels, T = 4, snnTorch's Leaky, dropout 0.25. The depth benchmark has a
    fast sigmoid of slope 25, and normalises each step by itself."""
    made = vgg_of_depth((3, 32, 32), 10, 8) if benchmark else st.spiking_vgg(3, 10)
    surrogate, statistics = (
        (st.surrogate.FastSigmoid(25.0), "step")
        if benchmark
        else (st.surrogate.Sigmoid(2.0), "all")
    )
    norms = [m for m in made.modules() if isinstance(m, nn.BatchNorm2d)]
    assert {norm.statistics for norm in norms} == {statistics}
    found = {name: m for name, m in made.named_modules() if isinstance(m, st.LIF)}
    assert list(found) == [f"stages.{i}.{j}.neurons" for i in range(4) for j in range(2)]
    for layer in found.values():
        neuron = layer.neuron
        assert (neuron.beta, neuron.v_threshold) == (0.9, 1.0)
        assert (neuron.jump, neuron.detach_reset) == ("soft_delayed", True)
        assert layer.surrogate == surrogate
    assert [m.out_channels for m in made.modules() if isinstance(m, nn.Conv2d)] == [
        *(64, 64, 128, 128, 256, 256, 512, 512)
    ]
    assert (made.steps, made.dropout.p) == (4, 0.25)


@pytest.mark.usefixtures("_float64")
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(
    ("in_channels", "size", "sequence"),
    [(3, 8, False), (1, 28, False), (3, 32, True), (1, 8, True)],
)
def test_agrees_with_snntorch(in_channels: int, size: int, sequence: bool, training: bool) -> None:
    """Logits, gradients and running statistics, with dropout drawn alike."""
    made = small(in_channels, size).train(training)
    spread(made)
    looped = Looped([in_channels, 4, 8], 2, size // 4, 5).train(training)
    looped.take(made)
    x = images(*([4] if sequence else []), 3, in_channels, size, size).requires_grad_()
    weight = images(3, 5, seed=1)
    results = []
    for network, parameters in ((made, list(made.parameters())), (looped, looped.ordered())):
        torch.manual_seed(7)
        logits = network(x)
        results.append((logits, torch.autograd.grad((weight * logits).sum(), [x, *parameters])))
    (mine, gradients), (other, others) = results
    assert mine.std() > 0.1
    torch.testing.assert_close(mine, other, rtol=0, atol=1e-10)
    for one, two in zip(gradients, others, strict=True):
        size_of = one.abs().max().item()
        assert size_of > 1e-6
        torch.testing.assert_close(one, two, rtol=0, atol=1e-5 * size_of)
    for one, two in zip(statistics(made), statistics(looped), strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=1e-12)


@pytest.mark.usefixtures("_float64")
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("eps", [1e-4, 1e-2])
def test_exponent_agrees_with_snntorch(eps: float, training: bool) -> None:
    """The two-trajectory λ of every sample, for the same perturbation, and its gradient."""
    made = small(3, 8).train(training)
    spread(made)
    looped = Looped([3, 4, 8], 2, 2, 5).train(training)
    looped.take(made)
    x = images(3, 3, 8, 8)
    mine = st.lyapunov(made, st.direct(x, 4), estimator="finite", eps=eps, seed=5).exponents[0]
    other = looped.exponent(x, eps, 5)
    assert mine.std() > 1e-3
    torch.testing.assert_close(mine, other, rtol=0, atol=1e-9)
    (one,) = torch.autograd.grad(mine.mean(), [made.stages[0][0].conv.weight])
    (two,) = torch.autograd.grad(other.mean(), [looped.convs[0].weight])
    # snnTorch passes gradients through float32 spikes, and their difference is divided by eps.
    torch.testing.assert_close(one, two, rtol=0, atol=1e-7 / eps * one.abs().max().item())
    adapted = st.lyapunov(st.adapt(looped), x, estimator="finite", eps=eps, seed=5)
    torch.testing.assert_close(adapted.exponents[0], other, rtol=0, atol=1e-9)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("batch_norm", ["step", "all"])
def test_an_image_is_its_repetition(batch_norm: str, training: bool) -> None:
    """An image, a sequence of views of it, and a sequence of copies."""
    made = small(batch_norm=batch_norm, steps=3, dropout=0.0).double().train(training)
    x = images(4, 2, 8, 8).double()
    views, copies = st.direct(x, 3), st.direct(x, 3).contiguous()
    results = []
    for form in (x, views, copies):
        network = copy.deepcopy(made)
        logits = network(form)
        gradients = torch.autograd.grad(logits.square().sum(), list(network.parameters()))
        first = network.stages[0][0].norm.running_var
        if batch_norm == "all" and training and form is not copies:
            # This variance counts the image once: 256 values a channel, where 3 copies have 768.
            first.sub_(0.9).mul_((768 / 767) / (256 / 255)).add_(0.9)
        results.append([logits.detach(), *gradients, *statistics(network)])
    for other in results[1:]:
        for one, two in zip(results[0], other, strict=True):
            torch.testing.assert_close(one, two, rtol=1e-10, atol=1e-10)


def first_inputs(network: SpikingVGG, x: Tensor) -> dict[str, list[tuple[int, ...]]]:
    """Shapes with which the first block's convolution and neurons were called."""
    block = network.stages[0][0]
    seen: dict[str, list[tuple[int, ...]]] = {"conv": [], "neurons": []}
    handles = [
        getattr(block, name).register_forward_pre_hook(
            lambda _, given, name=name: seen[name].append(tuple(given[0].shape))
        )
        for name in seen
    ]
    network(x)
    for handle in handles:
        handle.remove()
    return seen


@pytest.mark.parametrize("batch_norm", ["step", "all"])
def test_an_image_is_convolved_once(batch_norm: str) -> None:
    """And repeated for the neurons as a view; a sequence is convolved in one call."""
    made = small(batch_norm=batch_norm)
    x = images(3, 2, 8, 8)
    for given in (x, st.direct(x, 4)):
        assert first_inputs(made, given) == {"conv": [(3, 2, 8, 8)], "neurons": [(4, 3, 4, 8, 8)]}
    assert first_inputs(made, images(6, 3, 2, 8, 8)) == {
        "conv": [(18, 2, 8, 8)],
        "neurons": [(6, 3, 4, 8, 8)],
    }
    block = made.stages[0][0]
    currents = block.norm(st.direct(block.conv(x), 4))
    assert currents.stride(0) == 0


@pytest.mark.parametrize(
    ("batch_norm", "training"), [("step", True), ("step", False), ("all", False)]
)
def test_runs_one_step_at_a_time(batch_norm: str, training: bool) -> None:
    """With states passed by hooks, as estimators do: the spikes are those of the whole sequence."""
    made = small(batch_norm=batch_norm, dropout=0.0).double().train(training)
    spread(made)
    x = images(5, 3, 2, 8, 8).double()
    stepwise = copy.deepcopy(made)
    whole = made(x)
    states: dict[nn.Module, Any] = {}

    def give(layer: Any, args: Any, kwargs: Any) -> Any:
        assert len(args) == 1
        assert not kwargs
        return args, {"state": states.get(layer, layer.rest(args[0][0]))}

    def take(layer: nn.Module, _: Any, __: Any, output: Any) -> Tensor:
        spikes, states[layer] = output
        return spikes

    for module in stepwise.modules():
        if isinstance(module, st.LIF):
            module.register_forward_pre_hook(give, with_kwargs=True)
            module.register_forward_hook(take, with_kwargs=True)
    # Every step adds the bias of the readout.
    total = sum(stepwise(x[t : t + 1]) for t in range(5)) - 4 * stepwise.readout.bias
    assert len(states) == 4
    torch.testing.assert_close(total, whole, rtol=0, atol=1e-10)
    for one, two in zip(statistics(stepwise), statistics(made), strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=1e-12)


@pytest.mark.parametrize("init", ["kaiming", "scaled", "truncated"])
def test_initial_weights(init: str) -> None:
    """Normal of variance 2 / fan_out, half as large if scaled, or of deviation 0.02; the readout by
    its own rule."""
    torch.manual_seed(0)
    made = st.spiking_vgg(3, 10, stages=3, base_channels=32, init=init)
    factor = 0.5 if init == "scaled" else 1.0
    for conv in (m for m in made.modules() if isinstance(m, nn.Conv2d)):
        kaiming = factor * math.sqrt(2 / (9 * conv.out_channels))
        deviation = 0.02 if init == "truncated" else kaiming
        count = conv.weight.numel()
        assert abs(conv.weight.mean()) < 4 * deviation / math.sqrt(count)
        assert abs(conv.weight.std() / deviation - 1) < 4 / math.sqrt(2 * count)
    weight = made.readout.weight
    if init == "scaled":
        torch.testing.assert_close(weight @ weight.T, torch.eye(10) / 4, rtol=0, atol=1e-6)
    elif init == "truncated":
        assert abs(weight.std() / 0.02 - 1) < 4 / math.sqrt(2 * weight.numel())
    else:
        bound = math.sqrt(6 / (weight.shape[0] + weight.shape[1]))
        assert 0.99 * bound < weight.abs().max() <= bound
    assert made.readout.bias.count_nonzero() == 0


@pytest.mark.parametrize("neuron", [name for name in LAYERS if name not in IN_MV])
@pytest.mark.parametrize(("in_channels", "size", "stages"), [(1, 8, 3), (3, 28, 4), (1, 32, 4)])
def test_sizes_and_models(neuron: str, in_channels: int, size: int, stages: int) -> None:
    """Images of any size that the poolings leave something of; gradients reach all weights."""
    # Behind a synapse potentials rise more slowly.
    threshold = 0.05 if neuron == "cuba_lif" else 0.2
    made = small(
        in_channels, size, stages=stages, neuron=neuron, dropout=0.0, v_threshold=threshold, dt=0.5
    )
    assert all(
        type(block.neurons) is LAYERS[neuron] for stage in made.stages for block in stage[:-1]
    )
    assert made.stages[0][0].neurons.neuron.dt == 0.5
    logits = made(images(4, in_channels, size, size))
    assert logits.shape == (4, 5)
    logits.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in made.parameters())
    assert all(p.grad.count_nonzero() for p in made.parameters() if p.ndim == 4)


def test_an_empty_batch() -> None:
    """In evaluation no images give no logits."""
    made = small().eval()
    assert made(images(0, 2, 8, 8)).shape == made(images(3, 0, 2, 8, 8)).shape == (0, 5)


def test_beta_gives_way_to_tau() -> None:
    """The default beta stands in for tau, dt and scheme, unless one of them is given."""
    neuron = small(tau=3.0).stages[0][0].neurons.neuron
    assert (neuron.beta, neuron.tau, neuron.jump) == (None, 3.0, "soft_delayed")
    assert small(beta=0.5, tau=None).stages[0][0].neurons.neuron.beta == 0.5
    with pytest.raises(st.SaltationError, match="either beta or tau"):
        small(beta=0.5, tau=3.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stages": 0}, "stages must be a positive integer, got 0"),
        ({"stages": 2.0}, "stages must be a positive integer, got 2.0"),
        ({"blocks_per_stage": -1}, "blocks_per_stage must be a positive integer, got -1"),
        ({"steps": True}, "steps must be a positive integer, got True"),
        ({"in_channels": 0}, "in_channels must be a positive integer, got 0"),
        ({"base_channels": 513}, "base_channels must be at most 512, got 513"),
        ({"size": 8, "stages": 4}, "got size 8 and 4 stages .allowed for this size: at most 3"),
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\), got 1.0"),
        ({"neuron": "lift"}, "unknown neuron 'lift'; did you mean 'lif'"),
        ({"batch_norm": "steps"}, "unknown batch_norm 'steps'; did you mean 'step'"),
        ({"init": "scale"}, "unknown init 'scale'; did you mean 'scaled'"),
        ({"surrogate": "atna"}, "unknown surrogate 'atna'; did you mean 'atan'"),
        ({"tao": 2.0}, "unknown LIF parameter 'tao'; did you mean 'tau'"),
    ],
)
def test_bad_options_are_refused(options: dict[str, Any], message: str) -> None:
    """What is wrong, what was given, what is allowed."""
    with pytest.raises(st.SaltationError, match=message):
        small(**options)


@pytest.mark.parametrize(
    "x",
    [
        torch.zeros(3, 1, 8, 8),
        torch.zeros(3, 2, 8, 9),
        torch.zeros(2, 8, 8),
        torch.zeros(0, 3, 2, 8, 8),
        torch.zeros(3, 2, 8, 8, dtype=torch.uint8),
    ],
)
def test_bad_inputs_are_refused(x: Tensor) -> None:
    """Other channels, sizes, dimensions or types, and sequences without a step."""
    with pytest.raises(st.SaltationError, match=r"images \[B, 2, 8, 8\] or sequences"):
        small()(x)
