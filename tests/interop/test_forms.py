"""Networks of snnTorch, SpikingJelly and saltation in the forms that their users write, against the
same network as a plain chain of saltation's layers: exponents, growth over depth, penalties and
gradients are equal."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

import saltation as st

D = torch.float64
CLASSES = 4
# Networks of a form: of other libraries, whose forms are 15, and of our own.
IN_CI, OURS_IN_CI, IN_FULL = 14, 2, 150
SLOPE = 4.0


class Draw(NamedTuple):
    """One network: its sizes and constants, and what is around its neurons."""

    seed: int
    widths: tuple[int, ...]
    steps: int
    samples: int
    beta: float
    jump: str
    norm: bool
    drop: bool
    subclass: bool
    compiled: bool
    mean: bool  # whether it returns the mean over its steps
    both: bool  # whether it returns a tuple

    def linear(self) -> list[nn.Module]:
        """What is in front of each layer of neurons, the same for all forms."""
        torch.manual_seed(self.seed)
        made: list[nn.Module] = []
        for fan_in, fan_out in pairwise(self.widths):
            one = nn.Linear(fan_in, fan_out)
            with torch.no_grad():
                one.weight *= 3
                one.bias += 0.3
            parts = [nn.Dropout(0.5)] if self.drop and made else []
            parts += [one, nn.LayerNorm(fan_out)] if self.norm else [one]
            made.append(nn.Sequential(*parts).to(D))
        return made

    def input(self, static: bool) -> Tensor:
        """``[T, B, F]``, every step the same if ``static``."""
        noise = torch.Generator().manual_seed(self.seed + 1)
        x = torch.rand(self.steps, self.samples, self.widths[0], generator=noise, dtype=D)
        return x[:1].expand_as(x).contiguous() if static else x


def draw(seed: int, layers: int = 2, steps: int = 4) -> Draw:
    """With at most so many hidden layers and steps."""
    choose = random.Random(seed)
    flag = lambda: choose.random() < 0.25  # noqa: E731
    inner = [choose.randint(5, 12) for _ in range(choose.randint(1, layers))]
    return Draw(
        seed,
        (choose.randint(4, 10), *inner, CLASSES),
        choose.randint(2, steps),
        choose.randint(1, 6),
        choose.choice([0.5, 0.75, 0.875, 0.9375]),
        choose.choice(["hard", "soft"]),
        *(flag() for _ in range(6)),
    )


def chain(linear: Sequence[nn.Module], neurons: Sequence[nn.Module]) -> nn.Sequential:
    return nn.Sequential(*(m for pair in zip(linear, neurons, strict=True) for m in pair))


class Form(NamedTuple):
    """How a network is written: its library, the form of its input, and whether it takes all steps
    in one call, so that two trajectories cannot be pulled together after each."""

    build: Callable[[Draw], nn.Module]
    axes: str  # "TB", "BT" or "B", the leading dimensions of the input
    whole: bool = False


class Written(nn.Module):
    """A network of linear maps and neurons, with a forward of its own."""

    def __init__(self, given: Draw, neurons: Sequence[nn.Module]) -> None:
        super().__init__()
        self.linear = nn.ModuleList(given.linear())
        self.neurons = nn.ModuleList(neurons)
        self.given = given

    def end(self, outputs: list[Tensor]) -> Any:
        """What the network returns, from its output in every step."""
        return self.finished(torch.stack(outputs))

    def finished(self, whole: Tensor) -> Any:
        out = whole.mean(0) if self.given.mean else whole
        return (out, whole.sum()) if self.given.both else out


def steps_of(form: str) -> Callable[[Draw, Tensor], list[Tensor]]:
    """The inputs of each step, from the network's own."""
    return {
        "TB": lambda given, x: list(x),
        "BT": lambda given, x: [x[:, t] for t in range(x.shape[1])],
        "B": lambda given, x: [x] * given.steps,
    }[form]


# saltation


def ours(given: Draw, count: int, package: str = "") -> list[nn.Module]:
    """Layers that do what those of a package do; snnTorch subtracts in the next step."""
    kind: Any = type("Mine", (st.LIF,), {}) if given.subclass else st.LIF
    spike = st.surrogate.Sigmoid(SLOPE)
    more = {"jump": given.jump}
    if package == "snntorch" and given.jump == "soft":
        more = {"jump": "soft_delayed", "detach_reset": True}
    return [kind(beta=given.beta, surrogate=spike, **more) for _ in range(count)]


def saltation_at_once(axes: str) -> Callable[[Draw], nn.Module]:
    class Net(Written):
        def forward(self, x: Tensor) -> Any:
            x = torch.stack(steps_of(axes)(self.given, x))
            for linear, neurons in zip(self.linear, self.neurons, strict=True):
                x = neurons(linear(x))
            return self.finished(x)

    return lambda given: Net(given, ours(given, len(given.widths) - 1))


def saltation_in_steps(axes: str, call: str) -> Callable[[Draw], nn.Module]:
    class Net(Written):
        def forward(self, x: Tensor) -> Any:
            states: list[Any] = [None] * len(self.linear)
            outputs = []
            for step in steps_of(axes)(self.given, x):
                for i, (linear, neurons) in enumerate(zip(self.linear, self.neurons, strict=True)):
                    step = linear(step)
                    if call == "step":
                        step, states[i] = neurons.step(step, states[i])
                    else:
                        state = neurons.rest(step) if states[i] is None else states[i]
                        step, states[i] = neurons(step[None], state)
                        step = step[0]
                outputs.append(step)
            return self.end(outputs)

    return lambda given: Net(given, ours(given, len(given.widths) - 1))


# snnTorch


def leaky(given: Draw, count: int, **more: Any) -> list[nn.Module]:
    import snntorch
    from snntorch import surrogate

    kind: Any = type("Mine", (snntorch.Leaky,), {}) if given.subclass else snntorch.Leaky
    return [
        kind(
            beta=given.beta,
            reset_mechanism="zero" if given.jump == "hard" else "subtract",
            reset_delay=given.jump == "soft",
            spike_grad=surrogate.sigmoid(slope=SLOPE),
            **more,
        )
        for _ in range(count)
    ]


def hidden_outside(given: Draw) -> nn.Module:
    neurons = leaky(given, len(given.widths) - 1, init_hidden=True)
    neurons[-1].output = given.both  # type: ignore[assignment]
    return chain(given.linear(), neurons)


def hidden_inside(axes: str) -> Callable[[Draw], nn.Module]:
    class Net(Written):
        def forward(self, x: Tensor) -> Any:
            from snntorch import utils

            utils.reset(self)
            outputs = []
            for step in steps_of(axes)(self.given, x):
                for linear, neurons in zip(self.linear, self.neurons, strict=True):
                    step = neurons(linear(step))
                outputs.append(step)
            return self.end(outputs)

    return lambda given: Net(given, leaky(given, len(given.widths) - 1, init_hidden=True))


def handed(axes: str, keyword: bool = False) -> Callable[[Draw], nn.Module]:
    class Net(Written):
        def forward(self, x: Tensor) -> Any:
            states = [neurons.init_leaky() for neurons in self.neurons]
            outputs = []
            for step in steps_of(axes)(self.given, x):
                for i, (linear, neurons) in enumerate(zip(self.linear, self.neurons, strict=True)):
                    named = {"mem": states[i]} if keyword else {}
                    given = () if keyword else (states[i],)
                    step, states[i] = neurons(linear(step), *given, **named)
                outputs.append(step)
            return self.end(outputs)

    return lambda given: Net(given, leaky(given, len(given.widths) - 1))


# SpikingJelly


def nodes(given: Draw, count: int, mode: str) -> list[nn.Module]:
    from spikingjelly.activation_based import neuron, surrogate

    kind: Any = type("Mine", (neuron.LIFNode,), {}) if given.subclass else neuron.LIFNode
    return [
        kind(
            tau=1 / (1 - given.beta),
            decay_input=False,
            v_reset=0.0 if given.jump == "hard" else None,
            step_mode=mode,
            surrogate_function=surrogate.Sigmoid(SLOPE),
        )
        for _ in range(count)
    ]


def single_outside(given: Draw) -> nn.Module:
    return chain(given.linear(), nodes(given, len(given.widths) - 1, "s"))


def single_inside(axes: str) -> Callable[[Draw], nn.Module]:
    class Net(Written):
        def forward(self, x: Tensor) -> Any:
            from spikingjelly.activation_based import functional

            functional.reset_net(self)
            outputs = []
            for step in steps_of(axes)(self.given, x):
                for linear, neurons in zip(self.linear, self.neurons, strict=True):
                    step = neurons(linear(step))
                outputs.append(step)
            return self.end(outputs)

    return lambda given: Net(given, nodes(given, len(given.widths) - 1, "s"))


def multi(axes: str) -> Callable[[Draw], nn.Module]:
    class Net(Written):
        def forward(self, x: Tensor) -> Any:
            x = {"TB": lambda: x, "BT": lambda: x.permute(1, 0, 2)}.get(
                axes, lambda: x.unsqueeze(0).repeat(self.given.steps, 1, 1)
            )()
            for linear, neurons in zip(self.linear, self.neurons, strict=True):
                x = neurons(linear(x))
            return self.finished(x)

    return lambda given: Net(given, nodes(given, len(given.widths) - 1, "m"))


FORMS = {
    "saltation, sequence": Form(saltation_at_once("TB"), "TB"),
    "saltation, permuted": Form(saltation_at_once("BT"), "BT"),
    "saltation, step": Form(saltation_in_steps("TB", "step"), "TB"),
    "saltation, step, static": Form(saltation_in_steps("B", "step"), "B"),
    "saltation, state": Form(saltation_in_steps("TB", "call"), "TB"),
    "saltation, state, batch first": Form(saltation_in_steps("BT", "call"), "BT"),
    "hidden, loop outside": Form(hidden_outside, "TB"),
    "hidden, loop inside": Form(hidden_inside("TB"), "TB"),
    "hidden, batch first": Form(hidden_inside("BT"), "BT"),
    "hidden, static": Form(hidden_inside("B"), "B"),
    "handed": Form(handed("TB"), "TB"),
    "handed by keyword": Form(handed("TB", keyword=True), "TB"),
    "handed, batch first": Form(handed("BT"), "BT"),
    "handed, static": Form(handed("B"), "B"),
    "single step, loop outside": Form(single_outside, "TB"),
    "single step, loop inside": Form(single_inside("TB"), "TB"),
    "single step, batch first": Form(single_inside("BT"), "BT"),
    "single step, static": Form(single_inside("B"), "B"),
    "multi-step": Form(multi("TB"), "TB"),
    "multi-step, permuted": Form(multi("BT"), "BT"),
    # One call has all steps in it.
    "multi-step, repeated": Form(multi("B"), "B", whole=True),
    "saltation, repeated": Form(saltation_at_once("B"), "B", whole=True),
}
PACKAGES = {
    "hidden": "snntorch",
    "handed": "snntorch",
    "single": "spikingjelly",
    "multi-": "spikingjelly",
}


def package_of(form: str) -> str:
    """The library that a form is written in; skips where it is not installed."""
    package = PACKAGES.get(form[:6], "")
    if package:
        pytest.importorskip(package, reason=f"{package} is not installed")
    return package


def inputs(given: Draw, axes: str) -> tuple[Tensor, Tensor]:
    """The input as a sequence, and as the form takes it."""
    sequence = given.input(static=axes == "B")
    x = {"TB": sequence, "BT": sequence.transpose(0, 1), "B": sequence[0]}[axes]
    return sequence, x.contiguous()


def measured(network: nn.Module, x: Tensor, weight: Tensor, whole: bool) -> dict[str, Tensor]:
    """Everything that is estimated of a network, and gradients with respect to a weight."""
    found = {}
    estimators = ("tangent", "telescoped") if whole else ("tangent", "telescoped", "finite")
    for estimator in estimators:
        result = st.lyapunov(network, x, estimator=estimator, seed=3)
        found[f"{estimator} exponents"] = result.exponents.detach()
        found[f"{estimator} horizon"] = torch.tensor(result.horizon)
    growth = st.depth_growth(network, x, seed=4)
    found["norms over depth"] = growth.norms.detach()
    term = st.LyapunovPenalty(target=-3.0, samples=None, every=1)(network, x)
    found["penalty"] = term.detach()
    found["gradient of the penalty"] = torch.autograd.grad(term, weight)[0]
    y = torch.arange(growth.norms.shape[1]) % CLASSES
    diagnosis = st.diagnose(network, x, y, trial=0)
    found["loss"] = torch.tensor(diagnosis.loss)
    found["rates"] = torch.tensor([layer.rate for layer in diagnosis.layers])
    found["gradient norms of layers"] = torch.tensor([one.gradient for one in diagnosis.layers])
    found["gradient norms of weights"] = torch.tensor([one.norm for one in diagnosis.weights])
    return found


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_a_network_is_the_same_network(form: str, full: bool) -> None:
    """Networks drawn at random, in the form and as a chain of saltation's layers."""
    package = package_of(form)
    build, axes, whole = FORMS[form]
    count = IN_FULL if full else IN_CI if package else OURS_IN_CI
    for seed in range(count):
        given = draw(1000 * list(FORMS).index(form) + seed, *((3, 8) if full else ()))
        sequence, x = inputs(given, axes)
        network = build(given)
        seen = torch.compile(network) if given.compiled else network
        if whole:
            with pytest.raises(st.SaltationError, match="estimator 'finite' takes the network"):
                st.lyapunov(seen, x, estimator="finite")
        linear = given.linear()
        expected_of = nn.Sequential(*chain(linear, ours(given, len(linear), package)))
        weights = [next(p for p in n.parameters() if p.ndim == 2) for n in (expected_of, network)]
        expected = measured(expected_of, sequence, weights[0], whole)
        found = measured(seen, x, weights[1], whole)
        for name, value in expected.items():
            # snnTorch's spikes and surrogates are float32.
            told = f"{name} of {given}: {found[name]} for {value}"
            torch.testing.assert_close(found[name], value, rtol=2e-4, atol=2e-5, msg=told)


@pytest.mark.parametrize("form", FORMS)
def test_a_diagnosis_leaves_a_network_as_it_was(form: str) -> None:
    """With its trial: parameters and buffers, hidden states and hooks."""
    package_of(form)
    build, axes, _ = FORMS[form]
    given = draw(77 + 100 * list(FORMS).index(form))
    _, x = inputs(given, axes)
    network = build(given)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    st.diagnose(network, x, torch.arange(given.samples) % CLASSES)
    after = network.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in network.modules())
