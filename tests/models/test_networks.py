"""What every network of images keeps to, whatever it is made of."""

from __future__ import annotations

import copy
import re
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as draw
from torch import Tensor, nn

import saltation as st
from saltation.layers import LAYERS
from saltation.models.image import ImageNetwork
from tests.facts import IN_MV
from tests.models.peer import images, spread

Make = Callable[..., ImageNetwork]

# Small ones, for images of 2 channels and 8 pixels a side, and 5 classes.
NETWORKS: dict[str, Make] = {
    "vgg": lambda **o: st.spiking_vgg(2, 5, 8, stages=2, base_channels=4, dropout=0.0, **o),
    "sew": lambda **o: st.sew_resnet("basic", (1, 1), 2, 5, width=4, **o),
    "sew-iand": lambda **o: st.sew_resnet("basic", (2,), 2, 5, width=4, connect="iand", **o),
    "sew-bottleneck": lambda **o: st.sew_resnet(
        "bottleneck", (1, 1), 2, 5, width=4, stem="imagenet", **o
    ),
    "spikformer": lambda v_threshold, **o: st.spikformer(
        *(2, 5, 8),
        patch=4,
        depth=1,
        width=16,
        heads=2,
        v_threshold=v_threshold,
        attention_threshold=v_threshold / 4,
        **o,
    ),
}


@pytest.fixture(params=NETWORKS)
def make(request: pytest.FixtureRequest) -> Make:
    """One of them, from the same weights each time."""

    def made(**options: Any) -> ImageNetwork:
        torch.manual_seed(0)
        network = NETWORKS[request.param](**{"v_threshold": 0.5, **options})
        spread(network)
        return network

    return made


@pytest.mark.parametrize(
    ("neuron", "batch_norm"),
    [
        *((neuron, "all") for neuron in LAYERS if neuron not in IN_MV),
        ("lif", "step"),
        ("lif", "tdbn"),
    ],
)
def test_models_of_neurons(make: Make, neuron: str, batch_norm: str) -> None:
    """Each drives every layer, and gradients reach all convolutions."""
    threshold = 0.05 if neuron == "cuba_lif" else 0.2  # behind a synapse potentials rise slowly
    made = make(neuron=neuron, batch_norm=batch_norm, dt=0.5, v_threshold=threshold)
    found = [m for m in made.modules() if type(m) in LAYERS.values()]
    assert {type(m) for m in found} == {LAYERS[neuron]}
    assert {m.neuron.dt for m in found} == {0.5}  # type: ignore[union-attr]
    logits = made(images(6, 2, 8, 8))
    assert logits.shape == (6, 5)
    logits.square().sum().backward()
    for name, parameter in made.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all()
        assert parameter.ndim < 4 or parameter.grad.count_nonzero(), name


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("batch_norm", ["step", "all"])
def test_an_image_is_its_repetition(make: Make, batch_norm: str, training: bool) -> None:
    """An image, and a sequence of copies of it: the same logits, and gradients of all weights."""
    made = make(batch_norm=batch_norm, steps=3).double().train(training)
    x = images(4, 2, 8, 8).double()
    results = []
    for form in (x, st.direct(x, 3).contiguous()):
        logits = made(form)
        results.append([logits, *torch.autograd.grad(logits.square().sum(), made.parameters())])
    assert results[0][0].std() > 1e-3
    for one, two in zip(*results, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-9, atol=1e-9)


def test_an_image_is_convolved_once(make: Make) -> None:
    """By the first convolution, which sees B images; the next sees T B."""
    made, seen = make(steps=3), []
    for module in made.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_pre_hook(lambda _, x: seen.append(len(x[0])))
    made(images(4, 2, 8, 8))
    assert seen[0] == 4
    assert set(seen[1:]) == {12}


@pytest.mark.parametrize(
    ("batch_norm", "training"), [("step", True), ("step", False), ("all", False)]
)
def test_runs_one_step_at_a_time(make: Make, batch_norm: str, training: bool) -> None:
    """With the states of all neurons passed on, as estimators do: spikes are those of the whole."""
    made = make(batch_norm=batch_norm).double().train(training)
    x = images(5, 3, 2, 8, 8).double()
    layers = [m for m in made.modules() if isinstance(m, st.LIF)]
    spikes: dict[nn.Module, list[Tensor]] = {layer: [] for layer in layers}
    states: dict[nn.Module, Any] = {}

    def give(layer: Any, args: Any, kwargs: Any) -> Any:
        return args, {"state": states.get(layer, layer.rest(args[0][0]))}

    def take(layer: nn.Module, _: Any, __: Any, output: Any) -> Tensor:
        emitted, states[layer] = output
        spikes[layer].append(emitted)
        return emitted  # type: ignore[no-any-return]

    stepwise = copy.deepcopy(made)
    whole = {
        layer: layer.register_forward_hook(lambda layer, _, s: spikes[layer].append(s))
        for layer in layers
    }
    made(x)
    for handle in whole.values():
        handle.remove()
    for layer in stepwise.modules():
        if isinstance(layer, st.LIF):
            spikes[layer] = []
            layer.register_forward_pre_hook(give, with_kwargs=True)
            layer.register_forward_hook(take, with_kwargs=True)
    for t in range(5):
        stepwise(x[t : t + 1])
    others = [m for m in stepwise.modules() if isinstance(m, st.LIF)]
    for one, two in zip(layers, others, strict=True):
        assert torch.equal(spikes[one][0], torch.cat(spikes[two]))
    rates = [float(spikes[layer][0].detach().mean()) for layer in layers]
    assert min(rates) > 0.005
    assert max(rates) < 0.9


@pytest.mark.parametrize("training", [False, True])
def test_compiled_loops_are_the_reference(make: Make, training: bool) -> None:
    """The same logits bit for bit, and gradients to the rounding of float32."""
    x = images(4, 3, 2, 8, 8)
    results = []
    for backend in ("auto", "reference"):
        made = make(backend=backend).train(training)
        logits = made(x)
        results.append([logits, *torch.autograd.grad(logits.square().sum(), made.parameters())])
    (one, *gradients), (two, *others) = results
    assert torch.equal(one, two)
    for first, second in zip(gradients, others, strict=True):
        torch.testing.assert_close(first, second, rtol=0, atol=1e-4 * second.abs().max() + 1e-7)


@given(draw.integers(1, 3), draw.integers(1, 2), draw.integers(1, 9), draw.integers(1, 9))
def test_a_residual_network_takes_any_size(
    steps: int, samples: int, height: int, width: int
) -> None:
    """And any number of steps, in evaluation."""
    for stem in ("cifar", "imagenet"):
        made = st.sew_resnet("basic", (1, 1), 2, 5, width=2, stem=stem, steps=2).eval()
        assert made(images(samples, 2, height, width)).shape == (samples, 5)
        assert made(images(steps, samples, 2, height, width)).shape == (samples, 5)


def test_an_empty_batch(make: Make) -> None:
    """In evaluation no images give no logits."""
    made = make().eval()
    assert made(images(0, 2, 8, 8)).shape == made(images(3, 0, 2, 8, 8)).shape == (0, 5)


@pytest.mark.parametrize("shape", [(3, 1, 8, 8), (2, 8, 8), (0, 3, 2, 8, 8), (3, 2, 0, 8)])
def test_bad_inputs_are_refused(make: Make, shape: tuple[int, ...]) -> None:
    """Other channels, dimensions, sides or types, and sequences without a step."""
    form = r"images \[B, 2, (8|H), (8|W)\] or sequences \[T, B, 2,"
    with pytest.raises(st.SaltationError, match=form):
        make()(torch.zeros(shape))
    with pytest.raises(st.SaltationError, match=r"at least one step, got torch\.uint8"):
        make()(torch.zeros(3, 2, 8, 8, dtype=torch.uint8))


@pytest.mark.parametrize(
    ("shape", "warns"), [((6, 3), True), ((2, 3), True), ((3, 3), False), ((1, 3), False)]
)
def test_time_that_came_second_warns(make: Make, shape: tuple[int, int], warns: bool) -> None:
    """A sequence whose batch is as large as the steps for which an image is shown; not one step."""
    made, x = make(steps=3).eval(), images(*shape, 2, 8, 8)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert made(x).shape == (3, 5)
    assert [w.category for w in caught] == [st.LayoutWarning] * warns
    if warns:
        text = rf"{shape[0]} steps of 3 images.* x\.transpose\(0, 1\)"
        assert re.search(text, str(caught[0].message))
        assert caught[0].filename == __file__


@pytest.mark.parametrize("encoder", [st.direct, st.poisson])
def test_time_that_came_first_is_seen(encoder: Callable[..., Tensor]) -> None:
    """Steps of an image are more alike than images: by chance the batch is as large as the steps
    for which an image is shown, and nothing is said; of the same with time second it is."""
    made = st.spiking_vgg(1, 5, 8, stages=2, base_channels=4, steps=4).eval()
    stripes = torch.zeros(7, 1, 8, 8)
    for place, image in enumerate(stripes):
        image[0, :, place : place + 2] = 0.8
    seed = {} if encoder is st.direct else {"seed": 0}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        made(encoder(stripes[:4], 7, **seed))
        assert caught == []
        made(encoder(stripes, 4, **seed).transpose(0, 1))
    assert [w.category for w in caught] == [st.LayoutWarning]


def test_arrays_and_nan_are_refused(make: Make) -> None:
    """By the name of their type, and where the first neurons see them."""
    made, x = make().eval(), images(3, 2, 8, 8)
    with pytest.raises(st.SaltationError, match="images must be a torch tensor, got ndarray"):
        made(x.numpy())
    x[1, 0, 4, 4] = torch.nan
    with pytest.raises(st.NotFiniteError, match="input currents must be finite"):
        made(x)


def smooth(make: Make) -> ImageNetwork:
    """In float64 and evaluation, with spikes that are the surrogate's primitive."""
    surrogate = st.surrogate.Smooth(st.surrogate.Sigmoid(4.0))
    return make(surrogate=surrogate, detach_reset=False).double().eval()


def test_small_perturbations_are_tangents(make: Make) -> None:
    """Through convolutions, poolings, residuals and attention, on the smooth network."""
    made, x = smooth(make), images(4, 3, 2, 8, 8).double()
    with torch.no_grad():
        tangent = st.lyapunov(made, x, transient=1)
        found = [
            st.lyapunov(made, x, estimator="finite", eps=eps, transient=1).growth
            for eps in (1e-4, 1e-7)
        ]
    errors = [float((growth - tangent.growth).abs().max()) for growth in found]
    assert errors[1] < 1e-3
    assert errors[1] < errors[0] / 10
    at_once = st.lyapunov(made, x, estimator="telescoped").exponents
    torch.testing.assert_close(at_once, st.lyapunov(made, x).exponents)


@pytest.mark.parametrize("estimator", ["tangent", "telescoped", "finite"])
def test_gradients_of_exponents(make: Make, estimator: str) -> None:
    """Of λ with respect to all weights, against differences along a direction."""
    made, x = smooth(make), images(3, 2, 2, 8, 8).double()
    weights = [p for name, p in made.named_parameters() if "readout" not in name]
    noise = torch.Generator().manual_seed(2)
    direction = [torch.randn(w.shape, generator=noise, dtype=w.dtype) for w in weights]
    value = st.lyapunov(made, x, estimator=estimator).exponent
    gradients = torch.autograd.grad(value, weights)
    along = sum(float((g * d).sum()) for g, d in zip(gradients, direction, strict=True))

    def moved(size: float) -> float:
        with torch.no_grad():
            for w, d in zip(weights, direction, strict=True):
                w.add_(d, alpha=size)
            found = float(st.lyapunov(made, x, estimator=estimator).exponent)
            for w, d in zip(weights, direction, strict=True):
                w.sub_(d, alpha=size)
        return found

    expected = (moved(1e-6) - moved(-1e-6)) / 2e-6
    assert along == pytest.approx(expected, rel=1e-3, abs=1e-6)


def test_diagnosis(make: Make) -> None:
    """Sees every layer of neurons and every weight."""
    made = make()
    names = [name for name, m in made.named_modules() if isinstance(m, st.LIF)]
    found = st.diagnose(made, st.direct(images(4, 2, 8, 8), 3), torch.tensor([0, 1, 2, 3]))
    assert sorted(layer.name for layer in found.layers) == sorted(names)
    assert all(0.005 < layer.rate < 0.9 for layer in found.layers)
    weights = [name for name, p in made.named_parameters() if p.ndim >= 2]
    assert [w.name for w in found.weights] == weights
    assert all(w.norm > 0 for w in found.weights)
