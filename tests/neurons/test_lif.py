"""LIF: coefficients, jumps and gradients by hand, rheobase, rate and decay from the equation."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as some
from torch import Tensor

import saltation as st
from saltation.neurons import LIFNeuron
from tests.facts import TOLERANCE, lif_interval

F64 = torch.float64

# A(z) as SPEC lists them, written out once more.
FACTOR = {
    "euler": lambda z: 1 - z,
    "exponential": lambda z: math.exp(-z),
    "rk2": lambda z: 1 - z + z**2 / 2,
    "heun": lambda z: 1 - z + z**2 / 2,
    "rk3": lambda z: 1 - z + z**2 / 2 - z**3 / 6,
    "ssprk3": lambda z: 1 - z + z**2 / 2 - z**3 / 6,
    "rk4": lambda z: 1 - z + z**2 / 2 - z**3 / 6 + z**4 / 24,
    "implicit_euler": lambda z: 1 / (1 + z),
    "trapezoid": lambda z: (1 - z / 2) / (1 + z / 2),
}


def column(*values: float) -> Tensor:
    """Input of T steps for one neuron, [T, 1]."""
    return torch.tensor(values, dtype=F64).unsqueeze(1)


def factors(neuron: LIFNeuron) -> tuple[float, float]:
    """A and C of a step."""
    step = neuron.affine_step
    assert step is not None
    return step.m[0][0], step.n[0]


@pytest.mark.parametrize("scheme", LIFNeuron.schemes)
@pytest.mark.parametrize("decay_input", [True, False])
def test_coefficients(scheme: str, decay_input: bool) -> None:
    """C = 1 - A with decay_input, tau (1 - A) without, whatever the scheme."""
    tau, dt = 3.0, 0.9
    a, c = factors(LIFNeuron(tau, dt, scheme, decay_input=decay_input))
    assert a == pytest.approx(FACTOR[scheme](dt / tau), rel=1e-15)
    assert c == pytest.approx((1 if decay_input else tau) * (1 - a), rel=1e-15)


def test_beta_is_the_decay_and_leaves_the_input_alone() -> None:
    """A = beta, C = 1; the ends 0 and 1 are legal."""
    for beta in (0.0, 0.3, 1.0):
        assert factors(LIFNeuron(beta=beta)) == (beta, 1.0)
        assert factors(LIFNeuron(beta=beta, decay_input=False)) == (beta, 1.0)


# beta 1/2 and threshold 1 with these inputs: every number below is exact in binary.
JUMPS = {
    #            h before the jump                v after it                       spikes
    "hard": ([0.75, 1.375, 0.75, 1.0], [0.75, 0.0, 0.75, 0.0], [0, 1, 0, 1]),
    "soft": ([0.75, 1.375, 0.9375, 1.09375], [0.75, 0.375, 0.9375, 0.09375], [0, 1, 0, 1]),
    "soft_delayed": ([0.75, 1.375, 0.4375, 0.84375], [0.75, 1.375, 0.4375, 0.84375], [0, 1, 0, 0]),
    "none": ([0.75, 1.375, 1.4375, 1.34375], [0.75, 1.375, 1.4375, 1.34375], [0, 1, 1, 1]),
}


@pytest.mark.parametrize("jump", LIFNeuron.jumps)
def test_jump_by_hand(jump: str) -> None:
    """Four steps on paper for each jump; a potential at the threshold spikes."""
    h, v, spikes = JUMPS[jump]
    trace = st.LIF(beta=0.5, jump=jump).record(column(0.75, 1.0, 0.75, 0.625))
    assert trace.h is not None
    assert trace.h.flatten().tolist() == h
    assert trace.states.v.flatten().tolist() == v
    assert trace.spikes.flatten().tolist() == spikes


def test_hard_jump_to_another_potential() -> None:
    """v_reset is met exactly, and the decay is towards v_rest: h = rest + A (v - rest) + C x."""
    layer = st.LIF(tau=2.0, dt=1.0, scheme="euler", v_reset=-0.5, v_rest=0.25, v_threshold=2.0)
    trace = layer.record(column(4.0, 1.0))
    assert trace.h is not None
    assert trace.h.flatten().tolist() == [2.25, 0.25 - 0.375 + 0.5]
    assert trace.states.v.flatten().tolist() == [-0.5, 0.375]


def test_jumps_use_the_threshold() -> None:
    """Soft jumps subtract v_threshold, not 1."""
    x = column(3.0, 0.0)
    soft = st.LIF(beta=0.5, v_threshold=2.0, jump="soft").record(x)
    delayed = st.LIF(beta=0.5, v_threshold=2.0, jump="soft_delayed").record(x)
    assert soft.states.v.flatten().tolist() == [1.0, 0.5]
    assert delayed.states.v.flatten().tolist() == [3.0, -0.5]


@pytest.mark.parametrize("detach_reset", [False, True])
@pytest.mark.parametrize("jump", LIFNeuron.jumps)
def test_gradient_by_hand(jump: str, detach_reset: bool) -> None:
    """d s2 / d x1 of two steps, beta 0.5: 0.5 g2 (1 - what the jump takes away).

    With u1 = x1 - 1 and g = the surrogate's derivative: hard takes s1 + x1 g1, soft g1, soft
    delayed 2 g1 (it subtracts from the decayed potential), and nothing of g1 if detached.
    """
    surrogate = st.surrogate.Sigmoid(2.0)
    x = column(1.3, 0.2).requires_grad_()
    layer = st.LIF(beta=0.5, jump=jump, detach_reset=detach_reset, surrogate=surrogate)
    trace = layer.record(x)
    assert trace.h is not None
    (gradient,) = torch.autograd.grad(trace.spikes[1].sum(), x)

    def g(u: float) -> float:
        return 0.5 / math.cosh(u) ** 2

    g1, g2 = g(0.3), g(trace.h[1].item() - 1)
    through_spike = {"hard": 1.3 * g1, "soft": g1, "soft_delayed": 2 * g1, "none": 0.0}[jump]
    taken = (1.0 if jump == "hard" else 0.0) + (0.0 if detach_reset else through_spike)
    assert gradient.flatten().tolist() == pytest.approx([0.5 * g2 * (1 - taken), g2], rel=1e-12)


@given(
    tau=some.floats(0.5, 20),
    dt=some.floats(0.05, 3),
    drive=some.floats(1.05, 5),
    reset=some.floats(-1, 0.9),
    rest=some.floats(-1, 0.5),
    decay_input=some.booleans(),
)
def test_periodic_lif_spikes_at_the_analytic_interval(
    tau: float, dt: float, drive: float, reset: float, rest: float, decay_input: bool
) -> None:
    """Under constant input all intervals are the analytic one, rounded up to whole steps."""
    end = rest + drive * (1 - rest)
    steps = lif_interval(tau, reset, end, 1.0) / dt
    first = lif_interval(tau, rest, end, 1.0) / dt
    # Too near a whole number of steps, rounding decides.
    assume(all(abs(s - round(s)) > 1e-6 and s < 300 for s in (steps, first)))
    layer = st.LIF(tau, dt, v_reset=reset, v_rest=rest, decay_input=decay_input)
    x = torch.full((1000, 1), (end - rest) / (1 if decay_input else tau), dtype=F64)
    times = layer(x).flatten().nonzero().flatten() + 1
    assert times[0] == math.ceil(first)
    assert set(torch.diff(times).tolist()) == {math.ceil(steps)}


@pytest.mark.parametrize("decay_input", [True, False])
@pytest.mark.parametrize("scheme", LIFNeuron.schemes)
def test_rheobase(scheme: str, decay_input: bool) -> None:
    """The least constant input that ever makes a spike: v_threshold - v_rest, over tau without
    decay_input; the same for every scheme, since all share the fixed point."""
    tau, rest, threshold = 5.0, -0.5, 1.5
    layer = st.LIF(tau, 0.5, scheme, v_rest=rest, v_threshold=threshold, decay_input=decay_input)
    rheobase = (threshold - rest) / (1 if decay_input else tau)
    x = torch.tensor([[1 - 1e-6, 1 + 1e-6]], dtype=F64).expand(400, 2) * rheobase
    assert (layer(x).sum(0) > 0).tolist() == [False, True]


@pytest.mark.parametrize("scheme", LIFNeuron.schemes)
def test_silent_lif_decays_by_the_factor(scheme: str) -> None:
    """Without input v - v_rest shrinks by A every step."""
    layer = st.LIF(2.0, 0.5, scheme, v_rest=0.25)
    start = layer.rest(torch.zeros(1, dtype=F64))._replace(v=torch.tensor([0.75], dtype=F64))
    v = layer.record(torch.zeros(8, 1, dtype=F64), start).states.v.flatten()
    decayed = [0.25 + 0.5 * FACTOR[scheme](0.25) ** n for n in range(1, 9)]
    expected = torch.tensor(decayed, dtype=F64)
    torch.testing.assert_close(v, expected, rtol=0, atol=TOLERANCE[F64])


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"beta": 0.9, "tau": 2.0}, "either beta or tau, dt and scheme, got beta=0.9 and tau=2.0"),
        ({"beta": 0.9, "scheme": "euler"}, "got beta=0.9 and scheme='euler'"),
        ({"beta": 1.1}, r"beta must be in \[0, 1\], got 1.1"),
        ({"beta": float("nan")}, r"beta must be in \[0, 1\], got nan"),
        ({"tau": 0.0}, "LIF tau must be a finite number above 0, got 0.0"),
        ({"dt": -1.0}, "LIF dt must be a finite number above 0, got -1.0"),
        ({"v_threshold": float("inf")}, "v_threshold must be finite, got inf"),
        ({"v_reset": 1.0}, "v_reset must be below v_threshold = 1.0, got 1.0"),
        ({"scheme": "symplectic"}, "LIF has no scheme 'symplectic': it updates two variables"),
        ({"jump": "hart"}, "unknown LIF jump 'hart'; did you mean 'hard'"),
    ],
)
def test_bad_parameters_are_refused(parameters: dict[str, object], message: str) -> None:
    """Each at construction, saying what was given and what is allowed."""
    with pytest.raises(st.SaltationError, match=message):
        LIFNeuron(**parameters)  # type: ignore[arg-type]


def test_neurons_cannot_be_changed() -> None:
    """A parameter set after construction would do half; it is refused."""
    with pytest.raises(AttributeError):
        LIFNeuron().tau = 3.0  # type: ignore[misc]
