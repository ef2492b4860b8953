"""A loss sees what the user's own loop has; input and labels that cannot be are refused."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss

import saltation as st

TARGET = torch.rand(10, 8, 5, generator=torch.Generator().manual_seed(5))
Loop = Callable[[nn.Module, Tensor], Any]


class Both(NamedTuple):
    spikes: Tensor
    potentials: Tensor


def x_and_y() -> tuple[Tensor, Tensor]:
    noise = torch.Generator().manual_seed(2)
    return 2 * torch.rand(10, 8, 20, generator=noise), torch.arange(8) % 5


def snntorch_hidden(form: Callable[[Any], Any]) -> tuple[nn.Module, Loop]:
    """One step a call; the form is how spikes and potentials are returned."""
    snntorch = pytest.importorskip("snntorch", reason="snnTorch is not installed")
    kinds = {"beta": 0.9, "init_hidden": True}

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(
                nn.Linear(20, 16),
                snntorch.Leaky(**kinds),
                nn.Linear(16, 5),
                snntorch.Leaky(**kinds, output=True),
            )

        def forward(self, x: Tensor) -> Any:
            return form(self.body(x))

    def loop(network: nn.Module, x: Tensor) -> Any:
        for module in network.modules():
            if isinstance(module, snntorch.Leaky):
                module.reset_mem()
        steps = [network(step) for step in x]
        parts = [list(one.values()) if isinstance(one, dict) else one for one in steps]
        return [torch.stack([one[i] for one in parts]) for i in range(len(parts[0]))]

    return Net(), loop


def snntorch_loop() -> tuple[Any, Loop]:
    """The loop over time in the network, which returns two sequences."""
    snntorch = pytest.importorskip("snntorch", reason="snnTorch is not installed")

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(20, 16), nn.Linear(16, 5)
            self.one, self.two = snntorch.Leaky(beta=0.9), snntorch.Leaky(beta=0.9)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            first, second, spikes, potentials = (
                self.one.init_leaky(),
                self.two.init_leaky(),
                [],
                [],
            )
            for step in x:
                s, first = self.one(self.a(step), first)
                s, second = self.two(self.b(s), second)
                spikes.append(s)
                potentials.append(second)
            return torch.stack(spikes), torch.stack(potentials)

    return st.adapt(Net(), batch_dim=1), lambda network, x: network(x)


def jelly(mode: str) -> tuple[nn.Module, Loop]:
    reason = "SpikingJelly is not installed"
    neuron = pytest.importorskip("spikingjelly.activation_based.neuron", reason=reason)
    from spikingjelly.activation_based import functional

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(20, 16), nn.Linear(16, 5)
            self.one = neuron.LIFNode(step_mode=mode)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            spikes = self.one(self.a(x))
            return self.b(spikes), self.b(spikes) ** 2

    def loop(network: nn.Module, x: Tensor) -> Any:
        functional.reset_net(network)
        if mode == "m":
            return network(x)
        steps = [network(step) for step in x]
        return [torch.stack(part) for part in zip(*steps, strict=True)]

    return Net(), loop


class Ours(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.lif, self.b = nn.Linear(20, 16), st.LIF(beta=0.9), nn.Linear(16, 5)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        spikes = self.lif(self.a(x))
        return self.b(spikes), self.b(spikes) ** 2


NETWORKS: dict[str, Callable[[], tuple[Any, Loop]]] = {
    "saltation": lambda: (Ours(), lambda network, x: network(x)),
    "snnTorch, tuple": lambda: snntorch_hidden(tuple),
    "snnTorch, list": lambda: snntorch_hidden(list),
    "snnTorch, named tuple": lambda: snntorch_hidden(lambda out: Both(*out)),
    "snnTorch, loop within": snntorch_loop,
    "SpikingJelly, steps": lambda: jelly("s"),
    "SpikingJelly, sequences": lambda: jelly("m"),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_loss_sees_the_whole_output(name: str) -> None:
    """The loss of the second part is that of the user's own loop, in the trial too."""
    torch.manual_seed(0)
    network, loop = NETWORKS[name]()
    module = getattr(network, "network", network)
    x, y = x_and_y()
    seen: list[Any] = []

    def loss(output: Any, target: Tensor) -> Tensor:
        seen.append(output)
        return mse_loss(output[1], target)

    found = st.diagnose(network, x, TARGET, loss=loss)
    expected = loop(module, x)
    torch.testing.assert_close(seen[0][1], expected[1])
    torch.testing.assert_close(seen[0][0], expected[0])
    assert found.loss == pytest.approx(float(mse_loss(expected[1], TARGET)), rel=1e-5)
    assert found.trial is not None
    assert found.trial.before == pytest.approx(found.loss, rel=1e-5)
    assert math.isnan(found.chance)
    default = st.diagnose(network, x, y)
    first = float(cross_entropy(expected[0].mean(0), y))
    assert default.loss == pytest.approx(first, rel=1e-5)
    assert default.chance == pytest.approx(math.log(5))


def test_parts_of_a_dict() -> None:
    torch.manual_seed(0)
    network, loop = snntorch_hidden(lambda out: {"spikes": out[0], "potentials": out[1]})
    x, _ = x_and_y()
    found = st.diagnose(network, x, TARGET, loss=lambda o, t: mse_loss(o["potentials"], t))
    assert found.loss == pytest.approx(float(mse_loss(loop(network, x)[1], TARGET)), rel=1e-5)
    with pytest.raises(st.SaltationError, match=r"give a loss for any other, got dict"):
        st.diagnose(network, *x_and_y())


def test_a_single_step_is_a_sequence_of_one() -> None:
    torch.manual_seed(0)
    network, _ = snntorch_hidden(tuple)
    shapes: list[Any] = []

    def loss(output: Any, target: Tensor) -> Tensor:
        shapes.append(list(output[1].shape))
        return mse_loss(output[1], target)

    x, _ = x_and_y()
    st.diagnose(network, x[:1], TARGET[:1], loss=loss, trial=0)
    assert shapes == [[1, 8, 5]]


@pytest.mark.parametrize("form", ["calls the network", "calls a module in it", "returns"])
def test_walks(form: str) -> None:
    """The output is that of what the walk calls, or what it returns."""
    torch.manual_seed(0)
    network, loop = snntorch_hidden(tuple)
    x, _ = x_and_y()

    def walk(net: nn.Module, x: Tensor, end: Callable[[], None]) -> Any:
        outputs = []
        for step in x:
            out = net(step) if form != "calls a module in it" else net.body(step)  # type: ignore[operator]
            outputs.append(out[1])
            end()
        return (None, torch.stack(outputs)) if form == "returns" else None

    found = st.diagnose(
        st.adapt(network, walk=walk), x, TARGET, loss=lambda o, t: mse_loss(o[1], t)
    )
    assert found.loss == pytest.approx(float(mse_loss(loop(network, x)[1], TARGET)), rel=1e-5)


LABELS: dict[str, tuple[Callable[[Tensor], Any], str]] = {
    "too large": (lambda y: y + 3, r"labels must be from 0 to 4, .* got 3 to 7"),
    "from 1": (lambda y: y + 1, r"labels must be from 0 to 4, .* got 1 to 5; they count from 0"),
    "negative": (lambda y: y - 1, r"labels must be from 0 to 4, .* got -1 to 3"),
    "ignored": (lambda y: torch.full_like(y, -100), r"got -100 to -100"),
    "too few": (
        lambda y: y[:4],
        r"labels must be \[8\], .* got \[4\]; in sequences",
    ),
    "too many": (lambda y: torch.cat([y, y]), r"got \[16\]"),
    "a column": (lambda y: y[:, None], r"labels must be \[8\], .* got \[8, 1\]"),
    "per step": (lambda y: y.expand(10, 8), r"got \[10, 8\]"),
    "one-hot integers": (
        lambda y: nn.functional.one_hot(y, 5),
        r"\[8, 5\]; of one-hot rows",
    ),
    "floats": (lambda y: y.float(), r"labels must be int64, as of y.long\(\), got torch.float32"),
    "int32": (lambda y: y.int(), r"labels must be int64, as of y.long\(\), got torch.int32"),
    "bool": (lambda y: y > 2, r"labels must be int64, as of y.long\(\), got torch.bool"),
    "a list": (lambda y: y.tolist(), r"labels must be a tensor of int64, got list"),
    "an array": (lambda y: y.numpy(), r"got ndarray"),
    "nothing": (lambda y: None, r"got NoneType"),
}


@pytest.mark.parametrize("name", LABELS)
def test_labels_that_cannot_be(name: str) -> None:
    change, message = LABELS[name]
    x, y = x_and_y()
    with pytest.raises(st.SaltationError, match=message):
        st.diagnose(Ours(), x, change(y))


def test_labels_may_be_probabilities() -> None:
    x, y = x_and_y()
    soft = nn.functional.one_hot(y, 5).float()
    assert st.diagnose(Ours(), x, soft, trial=0).loss > 0


def _with(value: float) -> Tensor:
    x = x_and_y()[0]
    x[3, 2, 1] = value
    return x


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (_with(math.nan), "the input must be finite, got 1 of 1600"),
        (_with(math.inf), "the input must be finite, got 1 of 1600"),
        (_with(-math.inf), "the input must be finite"),
        (torch.zeros(10, 8, 20, dtype=torch.int64), "floating-point"),
        (torch.zeros(10, 0, 20), "floating-point"),
        ([[1.0]], "got list"),
        (None, "got NoneType"),
    ],
)
def test_input_that_cannot_be(x: Any, message: str) -> None:
    with pytest.raises(st.SaltationError, match=message):
        st.diagnose(Ours(), x, torch.arange(8) % 5)


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (lambda o, y: 3.0, "got float"),
        (lambda o, y: None, "got NoneType"),
        (lambda o, y: o[0].mean(0), r"got torch.float32 \[8, 5\]"),
        (lambda o, y: y.sum(), r"got torch.int64"),
    ],
)
def test_a_loss_that_is_no_number(loss: Any, message: str) -> None:
    with pytest.raises(st.SaltationError, match=message):
        st.diagnose(Ours(), *x_and_y(), loss=loss)


def test_a_walk_without_an_output() -> None:
    """Several modules in turn: the network's own output, or one line where it is not one of the
    walk."""
    torch.manual_seed(0)
    network, loop = snntorch_hidden(tuple)
    x, _ = x_and_y()

    def walk(net: Any, x: Tensor, end: Callable[[], None]) -> None:
        for step in x:
            for module in net.body:
                step = module(step)
            end()

    with pytest.raises(st.SaltationError, match=r"return its output.* 20 times.* 2 times"):
        st.diagnose(st.adapt(network, walk=walk), x, TARGET, loss=lambda o, t: o[1].sum())
    body = network.body

    class Loop(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = body

        def forward(self, x: Tensor) -> Any:
            return [2 * part for part in loop(network, x)]

    found = st.diagnose(st.adapt(Loop(), walk=walk), x, TARGET, loss=lambda o, t: mse_loss(o[1], t))
    expected = mse_loss(2 * loop(network, x)[1], TARGET)
    assert found.loss == pytest.approx(float(expected), rel=1e-5)


def test_potentials_are_counted_once_in_every_form() -> None:
    """snnTorch's neurons ask for a spike twice a step; the reset's question does not count."""
    torch.manual_seed(0)
    network, loop = snntorch_hidden(tuple)
    x, y = x_and_y()
    body = network.body

    class Loop(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = body

        def forward(self, x: Tensor) -> Any:
            return loop(network, x)

    def walk(net: Any, x: Tensor, end: Callable[[], None]) -> None:
        for step in x:
            net.body(step)
            end()

    forms = [network, Loop(), st.adapt(Loop(), walk=walk)]
    tables = [st.diagnose(form, x, y, trial=0).table for form in forms]
    for table in tables[1:]:
        assert table["distance"].tolist() == pytest.approx(tables[0]["distance"].tolist())
        assert table["reached"].tolist() == pytest.approx(tables[0]["reached"].tolist())
