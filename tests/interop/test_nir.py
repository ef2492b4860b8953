"""NIR graphs: those of its paper against the peers' own execution of them, and round trips."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import saltation as st
from saltation.kernels import dispatch
from saltation.layers import neuron_layers

nir = pytest.importorskip("nir", reason="graphs are written by nir: pip install nir")

GRAPHS = Path(__file__).parent / "graphs"
# The graph, the scheme and step that the peers have, the input, and who can run it.
PAPER: dict[str, tuple[str, float, tuple[int, ...], tuple[str, ...]]] = {
    "braille_noDelay_noBias_subtract": ("symplectic", 1e-4, (12,), ("norse", "spikingjelly")),
    "braille_noDelay_bias_zero": ("symplectic", 1e-4, (12,), ("norse", "spikingjelly")),
    "cnn_sinabs": ("euler", 1.0, (2, 34, 34), ("spikingjelly",)),
    "lif_norse": ("euler", 1e-4, (1,), ("norse", "spikingjelly", "snntorch")),
}


def imported(library: str, path: Path, dt: float) -> Any:
    """The network that a library makes of a graph; snnTorch has a step of its own."""
    graph = nir.read(path)
    with contextlib.redirect_stdout(io.StringIO()):
        if library == "norse":
            return pytest.importorskip("norse.torch").from_nir(graph, dt=dt)
        if library == "spikingjelly":
            name = "spikingjelly.activation_based.nir_exchange.from_nir"
            return pytest.importorskip(name).import_from_nir(graph, dt=dt)
        return pytest.importorskip("snntorch.import_nir").import_from_nir(graph)


def stepped(network: Any, x: Tensor) -> Tensor:
    """Outputs step by step, with the state handed on."""
    state, outputs = None, []
    for step in x:
        output = network(step, state)
        spikes, state = output if isinstance(output, tuple) else (output, None)
        outputs.append(spikes)
    return torch.stack(outputs)


def input_of(shape: tuple[int, ...], steps: int = 40) -> Tensor:
    noise = torch.Generator().manual_seed(0)
    return (torch.rand(steps, 3, *shape, generator=noise) < 0.4).float()


@pytest.mark.parametrize("name", PAPER)
def test_graphs_of_the_paper(name: str) -> None:
    """The same spikes as the peers' where their discretisation is the one that was asked for."""
    scheme, dt, shape, peers = PAPER[name]
    path = GRAPHS / f"{name}.nir"
    x = input_of(shape)
    with torch.no_grad():
        network = st.nir.load(path, scheme=scheme, dt=dt)
        assert type(network) is st.Sequential
        ours = network(x)
        assert 0.02 < ours.mean() < 0.6
        if name == "braille_noDelay_bias_zero":
            # At the first step the peers leave the bias of feedback out.
            currents = network[0](x)
            currents[0] -= network[1].bias
            ours = network[2:](network[1](currents))
        for peer in peers:
            assert torch.equal(stepped(imported(peer, path, dt), x), ours), peer
    for layer in neuron_layers(network).values():
        own: Any = getattr(layer, "layer", layer)
        rest = own.rest(torch.zeros(2, 4))
        kernel, why = dispatch.resolve(
            "auto", own.neuron, own.surrogate, torch.zeros(3, 2, 4), rest
        )
        assert (kernel.name, why) == ("cpu", dispatch.FIRST)


@pytest.mark.parametrize("name", PAPER)
@pytest.mark.parametrize("scheme", ["exponential", "euler"])
def test_round_trips_of_the_paper(name: str, scheme: str, tmp_path: Path) -> None:
    """Loaded, saved and loaded: the same bits, and a graph that nir reads with its own checks."""
    _, dt, shape, _ = PAPER[name]
    network = st.nir.load(GRAPHS / f"{name}.nir", scheme=scheme, dt=dt)
    st.nir.save(network, tmp_path / "again.nir", shape=shape)
    again = st.nir.load(tmp_path / "again.nir", scheme=scheme, dt=dt)
    x = input_of(shape, 12)
    with torch.no_grad():
        assert torch.equal(again(x), network(x))
    kinds = [type(node).__name__ for node in nir.read(GRAPHS / f"{name}.nir").nodes.values()]
    written = nir.read(tmp_path / "again.nir").nodes.values()
    assert sorted(type(node).__name__ for node in written) == sorted(kinds)


class Residual(nn.Module):
    """Currents from two places that are added."""

    def __init__(self) -> None:
        super().__init__()
        self.into, self.lif = st.SpikeLinear(6, 6), st.LIF(dt=0.5)
        self.between, self.out = st.SpikeLinear(6, 6), st.LIF(dt=0.5, v_threshold=0.6)

    def forward(self, x: Tensor) -> Tensor:
        x = self.into(x)
        return self.out(self.between(self.lif(x)) + x)


def maps() -> nn.Module:
    """Convolution, pooling, one time constant per neuron, and resistance."""
    return st.Sequential(
        st.SpikeConv2d(2, 4, 3, padding=1, bias=False),
        st.LIF(dt=0.5, tau=torch.rand(4, 8, 8) + 1, decay_input=False),
        nn.Flatten(2),
        st.SpikeLinear(256, 9),
        st.CubaLIF(dt=0.5, v_threshold=0.1, v_rest=-0.1),
    )


OWN: dict[str, tuple[Any, tuple[int, ...]]] = {
    "residual": (Residual, (6,)),
    "maps": (maps, (2, 8, 8)),
    "recurrent": (
        lambda: st.Sequential(
            st.SpikeLinear(6, 5), st.Recurrent(st.LIF(dt=0.5, tau=1.5), 5, bias=True)
        ),
        (6,),
    ),
    "learned": (
        lambda: st.Sequential(st.SpikeLinear(6, 5), st.PLIF(dt=0.5, v_threshold=0.4)),
        (6,),
    ),
}


@pytest.mark.parametrize("name", OWN)
def test_round_trips_of_our_own(name: str, tmp_path: Path) -> None:
    """Saved, and loaded with the scheme and step that they have: the same spikes."""
    torch.manual_seed(0)
    make, shape = OWN[name]
    network = make()
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim > 1:
                parameter.mul_(4)
        st.nir.save(network, tmp_path / "own.nir", shape=shape)
        again = st.nir.load(tmp_path / "own.nir", scheme="exponential", dt=0.5)
        x = 2 * input_of(shape)
        theirs = network(x)
        assert 0.05 < theirs.mean() < 0.9
        assert torch.equal(again(x), theirs)


def test_what_is_before_a_readout(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = st.spiking_mlp((6, 9, 3), dt=0.5)
    st.nir.save(network[:-1], tmp_path / "mlp.nir")
    again = st.nir.load(tmp_path / "mlp.nir", scheme="exponential", dt=0.5)
    x = 20 * input_of((6,))
    assert torch.equal(again(x).max(0).values, network(x))
    assert again(x).abs().max() > 0


def test_decays_per_step_have_equations(tmp_path: Path) -> None:
    """LIF(beta=...) is the exact step of length 1 of some LIF; one that does not leak is IF."""
    torch.manual_seed(0)
    for beta, kind in ((0.8, "LIF"), (1.0, "IF")):
        network = st.Sequential(st.SpikeLinear(6, 5), st.LIF(beta=beta, v_threshold=0.3))
        st.nir.save(network, tmp_path / "beta.nir")
        assert type(nir.read(tmp_path / "beta.nir").nodes["1"]).__name__ == kind
        again = st.nir.load(tmp_path / "beta.nir", scheme="exponential", dt=1.0)
        x = input_of((6,))
        assert network(x).mean() > 0.05
        assert torch.equal(again(x), network(x))


def graph(nodes: dict[str, Any], edges: list[tuple[str, str]], size: int = 3) -> Any:
    """A graph in memory with an input and an output of ``size`` numbers."""
    ends = {"input": nir.Input(np.array([size])), "output": nir.Output(np.array([size]))}
    return nir.NIRGraph(nodes={**ends, **nodes}, edges=edges, type_check=False)


def lif(size: int = 3, **other: float) -> Any:
    values = {"tau": 0.02, "r": 1.0, "v_leak": 0.0, "v_threshold": 1.0, "v_reset": 0.0, **other}
    return nir.LIF(**{name: np.full(size, value) for name, value in values.items()})


def test_integrators_sums_scales_and_subgraphs() -> None:
    """LI, I and CubaLI give potentials; a node adds up what drives it; two outputs have names."""
    ones = np.ones(3)
    inner = graph({"scale": nir.Scale(2 * ones)}, [("input", "scale"), ("scale", "output")])
    whole = nir.NIRGraph(
        nodes={
            "input": nir.Input(np.array([3])),
            "part": inner,
            "li": nir.LI(0.02 * ones, ones, ones),
            "cuba": nir.CubaLI(0.01 * ones, 0.02 * ones, 3 * ones, 0 * ones),
            "i": nir.I(4 * ones),
            "one": nir.Output(np.array([3])),
            "two": nir.Output(np.array([3])),
        },
        edges=[
            ("input", "part"), ("part", "li"), ("input", "li"), ("input", "cuba"), ("input", "i"),
            ("li", "one"), ("cuba", "two"), ("i", "two"),
        ],
        type_check=False,
    )  # fmt: skip
    network = st.nir.load(whole, scheme="exponential", dt=1e-3)
    x = torch.ones(30, 2, 3)
    found = network(x)
    t = 1e-3 * torch.arange(1, 31)
    torch.testing.assert_close(found["one"][:, 0, 0], 1 + 3 * (1 - torch.exp(-t / 0.02)))
    cuba = 3 * (1 - 2 * torch.exp(-t / 0.02) + torch.exp(-t / 0.01))
    torch.testing.assert_close(found["two"][:, 0, 0], cuba + 4 * t)


def test_feedback_without_weights() -> None:
    """An edge from neurons to themselves is the identity, a step later."""
    looped = graph({"lif": lif()}, [("input", "lif"), ("lif", "lif"), ("lif", "output")])
    network = st.nir.load(looped, scheme="euler", dt=1e-3)
    assert torch.equal(network[0].weight, torch.eye(3))


def test_certificate() -> None:
    """Numbers that are known: exact potentials, Euler's error, and what peers leave out."""
    exact = st.nir.certificate(GRAPHS / "lif_norse.nir", scheme="exponential", dt=1e-4)
    euler = st.nir.certificate(GRAPHS / "lif_norse.nir", scheme="euler", dt=1e-4)
    assert [row.who for row in exact.rows] == [
        "saltation", "snnTorch 1.0", "Norse 1.1", "SpikingJelly 2.0",
    ]  # fmt: skip
    assert exact.rows[0].potential < 1e-12
    # To first order z exp(-1) / 2 at t = tau, of 0.9 of the way.
    z = 1e-4 / 2.5e-3
    assert euler.rows[0].potential == pytest.approx(0.9 * z * np.exp(-1) / 2, rel=0.03)
    for row in euler.rows[1:]:
        assert row[4:] == pytest.approx(euler.rows[0][4:], rel=1e-9)
    # A spike is seen at the end of its step: half a step late in the mean, never early.
    assert 0 < exact.rows[0].first_spike < 1
    assert -0.05 < exact.rows[0].rate < 0
    halves = [
        st.nir.certificate(GRAPHS / "lif_norse.nir", scheme="euler", dt=dt).rows[0].potential
        for dt in (1e-4, 5e-5)
    ]
    assert halves[0] / halves[1] == pytest.approx(2, rel=0.02)
    told = str(st.nir.certificate(graph({"a": lif(r=2.0)}, [("input", "a"), ("a", "output")]),
                                  scheme="euler", dt=1e-3))  # fmt: skip
    assert "r is left out" in told
    assert "not imported: r must be 1 or tau / dt" in told
    ones = np.ones(3)
    apart = graph(
        {"a": nir.CubaLIF(1e-9 * ones, ones, ones, 0 * ones, ones, 0 * ones)},
        [("input", "a"), ("a", "output")],
    )
    stiff = st.nir.certificate(apart, scheme="exponential", dt=0.01).rows[0]
    assert abs(stiff.potential) < 1e-6
    assert -0.1 < stiff.rate < 0
    leaking = graph({"a": lif(v_leak=1.5)}, [("input", "a"), ("a", "output")])
    assert "spikes without input" in str(st.nir.certificate(leaking, scheme="euler", dt=1e-3))


def refused_graphs() -> dict[str, tuple[Any, str]]:
    """Graphs in memory that cannot be loaded, and what the message must name."""
    ends = [("input", "a"), ("a", "output")]
    weight = nir.Linear(np.ones((3, 3)))
    return {
        "delay": (graph({"a": nir.Delay(np.ones(3))}, ends), "'a' is a 'Delay'"),
        "threshold": (graph({"a": nir.Threshold(np.ones(3))}, ends), "'a' is a 'Threshold'"),
        "size": (graph({"a": lif(4)}, ends), "'a', a LIF, is of [4], but is given [3]"),
        "weights": (graph({"a": nir.Linear(np.ones((3, 5)))}, ends), "takes [5], but is given"),
        "no input": (
            graph({"a": lif(), "b": lif()}, [*ends, ("b", "output")]), "nothing drives node 'b'"
        ),
        "cycle": (
            graph(
                {"a": lif(), "b": lif(), "w": weight},
                [("input", "a"), ("a", "w"), ("w", "b"), ("b", "a"), ("b", "output")],
            ),
            "is a cycle",
        ),
        "tau": (graph({"a": lif(tau=0.0)}, ends), "'tau' of node 'a' must be above 0"),
        "nan": (graph({"a": lif(r=np.nan)}, ends), "'r' of node 'a' is not finite"),
        "reset": (graph({"a": lif(v_reset=2.0)}, ends), "v_reset must be below v_threshold"),
        "other": (3, "must be a file or a nir.NIRGraph, got int"),
    }  # fmt: skip


REFUSED = (
    "delay", "threshold", "size", "weights", "no input", "cycle", "tau", "nan", "reset", "other",
)  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_graphs_that_are_refused(name: str) -> None:
    given, told = refused_graphs()[name]
    with pytest.raises(st.DataError) as error:
        st.nir.load(given, scheme="exponential", dt=1e-3)
    assert told in str(error.value)
    assert "\n" not in str(error.value)


def test_networks_that_are_refused(tmp_path: Path) -> None:
    """What NIR cannot say is named."""
    soft = st.Sequential(st.SpikeLinear(3, 3), st.LIF(jump="soft"))
    cases = {
        "'1' has jump='soft'": soft,
        "'1' are neurons of Izhikevich": st.Sequential(st.SpikeLinear(3, 3), st.Izhikevich()),
        "'1' is a BatchNorm2d": nn.Sequential(st.LIF(), nn.BatchNorm2d(3)),
        "'3' is a Readout, which NIR has none of: save what": st.spiking_mlp((3, 3, 2)),
        "'1' has input='impulse', of which a graph says nothing": st.Sequential(
            st.SpikeLinear(3, 3), st.LIF(input="impulse")
        ),
        "'1' has a refractory time": st.Sequential(st.SpikeLinear(3, 3), st.LIF(refractory=2.0)),
    }
    for told, network in cases.items():
        with pytest.raises(st.SaltationError, match=told):
            st.nir.save(network, tmp_path / "no.nir", shape=(3,))
    with pytest.raises(st.SaltationError, match="the shape of one step"):
        st.nir.save(st.Sequential(st.LIF()), tmp_path / "no.nir")
    fine = st.Sequential(st.SpikeLinear(3, 3), st.LIF())
    with pytest.raises(st.SaltationError, match="cannot be written"):
        st.nir.save(fine, tmp_path / "nowhere" / "no.nir")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(st.SaltationError, match="unknown scheme"):
        st.nir.load(GRAPHS / "lif_norse.nir", scheme="oiler", dt=1e-3)
    with pytest.raises(st.SaltationError, match="dt must be"):
        st.nir.load(GRAPHS / "lif_norse.nir", scheme="euler", dt=0)
