"""Loops that carry a tangent: against the reference loop in torch's forward mode."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import saltation as st
from saltation.kernels import dispatch, reference, tangents
from saltation.kernels.cpu.neurons import loop
from saltation.kernels.cpu.runtime.buffers import lent_pair
from saltation.kernels.support import joined, with_tangent
from saltation.kernels.tangents import Carrying
from saltation.models.blocks import SequenceBatchNorm
from saltation.neurons import NEURONS, Neuron
from saltation.stability.duals import differentiable, dual, parts
from saltation.surrogate import FastSigmoid

SPIKE = FastSigmoid(5.0)
STEPS, SIZE = 6, 37  # two vectors of neurons, and five

# A jump in the step after its spike; schemes that take derivatives of the equations; refractory
# neurons; a spike that moves the threshold; a discrete map.
CASES: dict[str, tuple[str, float, dict[str, Any]]] = {
    "late": ("lif", 8.0, {"jump": "soft_delayed"}),
    "attached": ("lif", 8.0, {"jump": "soft_delayed", "detach_reset": False}),
    "refractory": ("lif", 40.0, {"dt": 0.2, "refractory": 0.4, "detach_reset": False}),
    "two": ("cuba_lif", 20.0, {"dt": 0.5, "scheme": "rk2"}),
    "threshold": ("alif", 30.0, {"dt": 0.2, "scheme": "exponential"}),
    "rosenbrock": ("adex", 40.0, {"dt": 0.1, "scheme": "exponential"}),
    "split": ("adex", 40.0, {"dt": 0.1, "scheme": "exponential_split"}),
}


def drawn(neuron: Neuron, scale: float) -> list[Tensor]:
    """Currents, the state, and tangents of both."""
    noise = torch.Generator().manual_seed(0)
    x = scale * torch.rand(STEPS, SIZE, generator=noise)
    values = [x, *(part.clone() for part in neuron.rest(x[0]))]
    return [*values, *(torch.randn(part.shape, generator=noise) for part in values)]


def carried(run: Any, neuron: Neuron, given: list[Tensor]) -> list[Tensor]:
    """Spikes and last state, and behind them their tangents, of a loop."""
    half = len(given) // 2
    with differentiable():
        x, *state = map(dual, given[:half], given[half:])
        trace = run(neuron, Carrying(SPIKE), x, neuron.State(*state), False)
        pairs = [parts(part) for part in (trace.spikes, *trace.state)]
        return [value for value, _ in pairs] + [tangent for _, tangent in pairs]


def gradients(results: list[Tensor], given: list[Tensor], **options: Any) -> list[Tensor]:
    noise = torch.Generator().manual_seed(1)
    g = [torch.randn(part.shape, generator=noise) for part in results]
    kept = [(part, of) for part, of in zip(results, g, strict=True) if part.requires_grad]
    outputs, seeds = zip(*kept, strict=True)
    options |= {"allow_unused": True, "materialize_grads": True}
    return list(torch.autograd.grad(outputs, given, seeds, **options))


def near(one: Tensor, two: Tensor) -> bool:
    return bool((one - two).abs().max() <= 2e-6 * two.abs().max())


@pytest.mark.parametrize("name", CASES)
def test_what_is_carried_is_torchs_forward_mode(name: str) -> None:
    model, scale, options = CASES[name]
    neuron = NEURONS[model](**options)
    given = [part.requires_grad_() for part in drawn(neuron, scale)]
    ours, same = carried(loop.run, neuron, given), carried(reference.run, neuron, given)
    assert 0 < same[0].sum() < same[0].numel()
    assert all(map(torch.equal, ours[: len(ours) // 2], same[: len(same) // 2]))
    assert all(map(near, ours, same))
    assert all(map(near, gradients(ours, given), gradients(same, given)))


def test_second_derivatives_and_what_is_not_finite() -> None:
    neuron = NEURONS["lif"](jump="soft_delayed")
    given = [part.requires_grad_() for part in drawn(neuron, 8.0)]
    twice = []
    for run in (loop.run, reference.run):
        g = gradients(carried(run, neuron, given), given, create_graph=True)
        twice.append(gradients(g, given))
    assert all(map(near, *twice))
    broken = [part.detach().clone() for part in given]
    broken[2][0, 3] = torch.inf  # a tangent
    broken = [part.requires_grad_() for part in broken]
    found = gradients(carried(loop.run, neuron, broken), broken)
    exact = gradients(carried(reference.run, neuron, broken), broken)
    assert all(torch.equal(a.isfinite(), b.isfinite()) for a, b in zip(found, exact, strict=True))


def test_layers_choose_the_loop_and_say_why_not() -> None:
    x = torch.rand(3, 2, 4)
    with differentiable():
        pair, spike = dual(x, torch.ones_like(x)), Carrying(SPIKE)
        for neuron, reason in (
            (NEURONS["lif"](), ""),
            (NEURONS["lif"](tau=torch.full((4,), 2.0)), "constants tau are tensors"),
            (NEURONS["lif"](spike_time="linear"), "at the start too"),
        ):
            state = neuron.rest(x[0])
            kernel, why = dispatch.resolve("auto", neuron, spike, pair, state)  # type: ignore[arg-type]
            assert kernel.name == ("reference" if reason else "cpu")
            assert reason in why
    assert isinstance(tangents.refuses(NEURONS["lif"](), spike, x, None, True, "cpu"), str)


@pytest.mark.parametrize("spikes", [False, True])
def test_convolutions_and_pooling_take_both_in_one_call(spikes: bool) -> None:
    noise = torch.Generator().manual_seed(0)
    x, t = (torch.randn(4, 32, 16, 16, generator=noise) for _ in range(2))
    x = ((x > 1).float() if spikes else x).requires_grad_()
    t.requires_grad_()
    conv = st.SpikeConv2d(32, 32, 3, padding=1, bias=False)
    with differentiable():
        last = dual(x, t).contiguous(memory_format=torch.channels_last)
        for ours, theirs in (
            (conv, lambda part: torch.conv2d(part, conv.weight, None, 1, 1)),
            (dispatch.pooled, lambda part: torch.nn.functional.avg_pool2d(part, 2)),
        ):
            value, tangent = parts(ours(last))
            assert near(value, theirs(x))
            assert near(tangent, theirs(t))
            wanted = [x, t, *([conv.weight] if ours is conv else [])]
            found = gradients([value, tangent], wanted)
            for one, two in zip(found, gradients([theirs(x), theirs(t)], wanted), strict=True):
                assert (one - two).abs().max() <= 1e-5 * two.abs().max()  # tiles round more
        assert with_tangent(x) is None


@pytest.mark.parametrize("statistics", ["step", "all"])
def test_normalisation_of_values_and_tangents(statistics: str) -> None:
    noise = torch.Generator().manual_seed(0)
    norm = SequenceBatchNorm(32, statistics)
    with torch.no_grad():
        norm.weight.uniform_(0.5, 2, generator=noise)
        norm.bias.uniform_(-1, 1, generator=noise)
    norm.track_running_stats = False  # as in a pass that leaves a network as it was
    # More rows than are summed at once; a mean that is large beside the deviation.
    x, t = (1 + torch.randn(2, 3, 10, 10, 32, generator=noise) for _ in range(2))
    given = [x.requires_grad_(), t.requires_grad_(), norm.weight, norm.bias]
    exact = [part.detach().double().requires_grad_() for part in given]
    g = [torch.randn(2, 3, 10, 10, 32, generator=noise) for _ in range(2)]

    def of(parts_of: list[Tensor]) -> list[Tensor]:
        at_once = [part.flatten(0, 1)[None] for part in parts_of[:2]]
        steps = at_once if statistics == "all" else parts_of[:2]
        results = zip(
            *(_normal(*pair, *parts_of[2:], norm.eps) for pair in zip(*steps, strict=True)),
            strict=True,
        )
        return [torch.stack(part).view_as(x) for part in results]

    with differentiable():
        both = dual(x, t).permute(0, 1, 4, 2, 3)
        assert dispatch.batch_norm_of_both(both, statistics == "all", norm) is not None
        pair = parts(norm(both))
        ours = [part.permute(0, 1, 3, 4, 2) for part in pair]
        found = torch.autograd.grad(ours, given, g, retain_graph=True)
        again = torch.autograd.grad(ours, given, g, create_graph=True)
    theirs = of(exact)
    wanted = torch.autograd.grad(theirs, exact, [part.double() for part in g], create_graph=True)
    assert all(map(near, ours, theirs))
    for one, same, two in zip(found, again, wanted, strict=True):
        assert (one - two).abs().max() <= 1e-6 * two.abs().max()
        assert (same - two).abs().max() <= 1e-5 * two.abs().max()
    # That of β does not depend on anything.
    twice = torch.autograd.grad(sum(part.sin().sum() for part in again[:3]), given[:3])
    exactly = torch.autograd.grad(sum(part.sin().sum() for part in wanted[:3]), exact[:3])
    for one, two in zip(twice, exactly, strict=True):
        assert (one - two).abs().max() <= 1e-4 * two.abs().max()


def _normal(
    x: Tensor, t: Tensor, weight: Tensor, bias: Tensor, eps: float
) -> tuple[Tensor, Tensor]:
    """Batch normalisation of ``[..., C]`` and its tangent by torch's forward mode."""

    def normal(part: Tensor) -> Tensor:
        rows = part.flatten(0, -2)
        deviation = (rows.var(0, correction=0) + eps).sqrt()
        return (part - rows.mean(0)) / deviation * weight + bias

    value, tangent = torch.func.jvp(normal, (x,), (t,))
    return value, tangent


def test_normalisation_of_what_is_not_finite() -> None:
    """One channel of one step is none then, as in torch; nobody is warned."""
    norm = SequenceBatchNorm(16)
    norm.track_running_stats = False
    x, t = torch.rand(2, 3, 4, 4, 16), torch.rand(2, 3, 4, 4, 16)
    x[1, 0, 0, 0, 5], x[0, 0, 0, 0, 2], t[0, 0, 0, 0, 3] = torch.inf, 1e30, torch.nan
    x.requires_grad_()
    with differentiable():
        value, tangent = parts(norm(dual(x, t).permute(0, 1, 4, 2, 3)))
        (g,) = torch.autograd.grad(value.sum() + tangent.sum(), x)
    whole = torch.ones(2, 16, dtype=torch.bool)
    whole[1, 5] = False
    assert torch.equal(value.isfinite().all(4).all(3).all(1), whole)
    whole[0, 3] = False
    assert torch.equal(tangent.isfinite().all(4).all(3).all(1), whole)
    assert torch.equal(g.isfinite().all(3).all(2).all(1), whole)


def test_pairs_are_taken_where_they_lie() -> None:
    one, two = lent_pair(3, 4)
    for part, value in ((one, 1.0), (two, 2.0)):
        part.fill_(value)
    both = joined(one, two)
    assert both.data_ptr() == one.data_ptr()
    assert joined(two, one).data_ptr() not in (one.data_ptr(), two.data_ptr())
    one[0, 0] = 5  # it is the same memory, and held
    del one, two
    lent_pair(3, 4)[0].fill_(9)
    assert both[0, 0, 0] == 5
    assert bool((both[1] == 2).all())
