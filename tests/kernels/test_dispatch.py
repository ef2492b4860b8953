"""Which loop runs, and what is said where one cannot."""

from __future__ import annotations

import logging
import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import Tensor

import saltation as st
from saltation.kernels import dispatch
from saltation.kernels.dispatch import KERNELS, in_words, resolve
from saltation.neurons import LIFNeuron
from saltation.neurons.base import Spike
from saltation.surrogate import Sigmoid, Smooth

LIF = st.LIF().neuron
X = torch.zeros(3, 2, 4)


class Graded(Sigmoid):
    """A surrogate whose spikes are not 0 and 1."""

    def __call__(self, u: Tensor) -> Tensor:
        return self.primitive(u)


class Twice(LIFNeuron):
    """A model that inherits from another and changes its equations."""

    def integrate(self, x: Tensor, state: Any, spike: Spike) -> Any:
        return super().integrate(2 * x, state, spike)


class Branching(LIFNeuron):
    """A step that has no form in a graph."""

    def integrate(self, x: Tensor, state: Any, spike: Spike) -> Any:
        return super().integrate(x if (x > 0).any() else 0 * x, state, spike)


@pytest.mark.parametrize("model", st.NEURONS)
def test_the_compiled_loop_is_the_default_on_a_cpu(model: str) -> None:
    """For every model."""
    kernel, reason = resolve("auto", st.NEURONS[model](), Sigmoid(), X)
    assert (kernel.name, reason) == ("cpu", "first choice")


def test_a_model_of_ones_own_is_compiled() -> None:
    """With the equations that it changes."""
    x = 3 * torch.rand(20, 2, 5, generator=torch.Generator().manual_seed(0))
    assert resolve("auto", Twice(), Sigmoid(), x)[0].name == "cpu"
    ours, same = (
        KERNELS[name].run(Twice(), Sigmoid(), x, Twice().rest(x[0]), False)
        for name in ("cpu", "reference")
    )
    assert ours.spikes.sum() > 0
    assert torch.equal(ours.spikes, same.spikes)
    assert torch.equal(ours.state.v, same.state.v)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"x": X.double()}, "it takes torch.float32 on cpu, not torch.float64 on cpu"),
        ({"x": X.to("meta")}, "not torch.float32 on meta"),
        ({"x": X[:, :0]}, "there is nothing to compute"),
        ({"spike": Smooth(Sigmoid())}, "spikes are 0 and 1, not those of Smooth"),
        ({"neuron": Branching()}, "cannot compile this step: Tensor.any has no rule"),
        ({"spike": Graded()}, "spikes are 0 and 1, not those of Graded"),
        ({"record": True}, "it keeps no traces"),
        ({"state": LIF.State(X[0].double())}, "not torch.float64 on cpu"),
    ],
    ids=["dtype", "device", "empty", "smooth", "branching", "graded", "record", "state"],
)
def test_what_it_refuses(change: dict[str, Any], reason: str) -> None:
    """``auto`` falls back and knows why; by name it is an error that says so."""
    request = {"neuron": LIF, "spike": Sigmoid(), "x": X, **change}
    kernel, why = resolve("auto", **request)
    assert kernel.name == "reference"
    assert reason in why
    with pytest.raises(st.SaltationError, match="backend 'cpu' cannot run this: ") as error:
        resolve("cpu", **request)
    assert reason in str(error.value)


def test_transforms_are_refused_with_a_reason() -> None:
    """A named backend within torch.func raises."""
    with pytest.raises(st.SaltationError, match=r"no forward-mode derivative"):
        torch.func.jvp(st.LIF(backend="cpu"), (X,), (X,))


def test_the_reference_is_last() -> None:
    """It refuses nothing, so whatever follows it would never run."""
    assert list(KERNELS)[-1] == "reference"


def test_a_fallback_is_said_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At debug level, for every reason; nothing where the first choice runs."""
    monkeypatch.setattr(dispatch, "_said", set())
    layer = st.LIF()
    layer(X)  # the first time of all it says that it compiles
    with caplog.at_level(logging.DEBUG, "saltation"):
        layer(X)
        assert caplog.messages == []
        for _ in range(2):
            layer.record(X)
            layer(X.double())
    assert caplog.messages == [
        "LIF runs in the reference loop: cpu: it keeps no traces",
        "LIF runs in the reference loop: cpu: it takes torch.float32 on cpu, "
        "not torch.float64 on cpu",
    ]


def test_nothing_is_said_by_default(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what was not said then is said once somebody listens."""
    monkeypatch.setattr(dispatch, "_said", set())
    st.LIF().record(X)
    assert capfd.readouterr() == ("", "")
    assert dispatch._said == set()


def test_in_words() -> None:
    """A name where nothing needs explaining."""
    assert in_words(resolve("auto", LIF, Sigmoid(), X)) == "cpu"
    assert in_words(resolve("reference", LIF, Sigmoid(), X)) == "reference"
    assert in_words(resolve("auto", Branching(), Sigmoid(), X)) == (
        "reference (cpu: it cannot compile this step: Tensor.any has no rule)"
    )


def test_import_is_light() -> None:
    """numba is imported by the first loop that runs, and torch's compiler by torch.compile."""
    code = "import sys, saltation; sys.exit(bool({'numba', 'torch._dynamo'} & {*sys.modules}))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_compiled_networks_are_equal() -> None:
    """torch.compile goes around the loop and gives the same outputs and gradients.

    Without inductor, whose part this is not: it would take most of the time of these tests.
    """
    torch.manual_seed(0)
    net = torch.nn.Sequential(st.spiking_mlp((6, 5, 4)), torch.nn.Linear(4, 3, bias=False))
    x = (torch.rand(5, 2, 6) < 0.5).float() * 3
    expected = net(x)
    wanted = torch.autograd.grad(expected.sum(), list(net.parameters()))
    ours = torch.compile(net, backend="aot_eager")(x)
    torch.testing.assert_close(ours, expected)
    torch.testing.assert_close(torch.autograd.grad(ours.sum(), list(net.parameters())), wanted)
