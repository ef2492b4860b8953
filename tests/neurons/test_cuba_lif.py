"""CUBA-LIF: coefficients and runs against the closed form, steps by hand, limits, derivatives."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import saltation as st
from saltation.kernels.dispatch import resolve
from saltation.neurons import CubaLIFNeuron, CubaLIFState
from saltation.surrogate import Sigmoid, Smooth
from tests.facts import ORDERS, TOLERANCE, cuba_relaxation

F64 = torch.float64

every_scheme = pytest.mark.parametrize("scheme", CubaLIFNeuron.schemes)
inexact = pytest.mark.parametrize(
    "scheme", [s for s in CubaLIFNeuron.schemes if s != "exponential"]
)
PER_VARIABLE = ("exponential_split", "exponential_symplectic")
# Apart, the same, and so close that a formula with tau - tau_syn in it would lose all digits.
TAUS = [(2.0, 1.0), (0.7, 3.0), (2.0, 2.0), (2.0, 2.0 + 1e-9)]
every_tau = pytest.mark.parametrize(("tau", "tau_syn"), TAUS)


def state_of(v: float, i: float) -> CubaLIFState:
    """Of one neuron."""
    return CubaLIFState(torch.tensor([v], dtype=F64), torch.tensor([i], dtype=F64))


def run(neuron: CubaLIFNeuron, x: float, steps: int, start: CubaLIFState) -> tuple[float, float]:
    """(v, i) after so many steps of constant input."""
    layer = st.CubaLIF(**dataclasses.asdict(neuron))
    _, state = layer(torch.full((steps, 1), x, dtype=F64), start)
    return state.v.item(), state.i.item()


def errors(scheme: str, tau: float, tau_syn: float, dt: float, steps: int) -> tuple[float, float]:
    """Of v and i at the end of a run from off rest under constant input, without jumps."""
    rest, x, start = -0.2, 0.9, (0.3, -0.7)
    neuron = CubaLIFNeuron(tau, tau_syn, dt, scheme, v_rest=rest, v_reset=-1.0, jump="none")
    exact = cuba_relaxation(dt * steps, tau, tau_syn, (start[0] - rest, start[1]), x)
    v, i = run(neuron, x, steps, state_of(*start))
    return abs(v - rest - exact[0]), abs(i - exact[1])


@inexact
@every_tau
def test_one_step_error_falls_by_two_to_the_order_plus_one(
    scheme: str, tau: float, tau_syn: float
) -> None:
    """Per halving of the step, within 3 %, in both variables."""
    dt = (1 / 16 if ORDERS[scheme] > 2 else 1 / 512) * min(tau, tau_syn)
    pairs = zip(
        errors(scheme, tau, tau_syn, dt, 1), errors(scheme, tau, tau_syn, dt / 2, 1), strict=True
    )
    for coarse, fine in pairs:
        if coarse > 1e-15 or scheme not in PER_VARIABLE:  # by itself i is solved without error
            assert coarse / fine == pytest.approx(2 ** (ORDERS[scheme] + 1), rel=0.03)


@inexact
@every_tau
def test_error_over_a_run_falls_by_two_to_the_order(
    scheme: str, tau: float, tau_syn: float
) -> None:
    """Per halving of the step, within 3 %, in both variables."""
    time = 4.0
    steps = 128 if ORDERS[scheme] == 4 else 512
    pairs = zip(
        errors(scheme, tau, tau_syn, time / steps, steps),
        errors(scheme, tau, tau_syn, time / (2 * steps), 2 * steps),
        strict=True,
    )
    for coarse, fine in pairs:
        if coarse > 1e-13 or scheme not in PER_VARIABLE:
            assert coarse / fine == pytest.approx(2 ** ORDERS[scheme], rel=0.03)


@every_tau
@pytest.mark.parametrize("z", [1e-12, 1e-6, 1e-3, 0.5, 3.0, 30.0])
def test_exponential_is_exact(tau: float, tau_syn: float, z: float) -> None:
    """Its coefficients are those of the solution; the input's keep their digits at tiny steps."""
    dt = z * tau
    step = CubaLIFNeuron(tau, tau_syn, dt).affine_step
    assert step is not None
    ((m_vv, m_vi), (m_iv, m_ii)), (n_v, n_i) = step.m, step.n
    of_v = cuba_relaxation(dt, tau, tau_syn, (1.0, 0.0), 0.0)
    of_i = cuba_relaxation(dt, tau, tau_syn, (0.0, 1.0), 0.0)
    of_x = cuba_relaxation(dt, tau, tau_syn, (0.0, 0.0), 1.0)
    assert m_iv is None
    assert of_v == (pytest.approx(m_vv, rel=1e-13, abs=1e-15), 0.0)
    assert of_i == pytest.approx((m_vi, m_ii), rel=1e-13, abs=1e-15)
    assert of_x == pytest.approx((n_v, n_i), rel=1e-13)


@every_tau
@pytest.mark.parametrize("dt", [0.01, 0.5, 3.0, 100.0])
def test_exponential_is_exact_on_input_that_changes_every_step(
    tau: float, tau_syn: float, dt: float
) -> None:
    """A run on random steps of input is the solution, piece by piece."""
    x = torch.randn(12, 1, dtype=F64, generator=torch.Generator().manual_seed(1))
    layer = st.CubaLIF(tau, tau_syn, dt, v_rest=0.25, v_reset=-1.0, jump="none")
    states = layer.record(x).states
    exact = (0.0, 0.0)
    for t, x_t in enumerate(x.flatten().tolist()):
        exact = cuba_relaxation(dt, tau, tau_syn, exact, x_t)
        ours = states.v[t].item() - 0.25, states.i[t].item()
        assert ours == pytest.approx(exact, rel=0, abs=1e-14)


def stages(scheme: str) -> list[tuple[float, list[float]]]:
    """Weight of each Runge-Kutta slope, and how far along those before it is taken."""
    return {
        "euler": [(1.0, [])],
        "rk2": [(1 / 2, []), (1 / 2, [1.0])],
        "heun": [(1 / 2, []), (1 / 2, [1.0])],
        "rk3": [(1 / 6, []), (2 / 3, [1 / 2]), (1 / 6, [-1.0, 2.0])],
        "ssprk3": [(1 / 6, []), (1 / 6, [1.0]), (2 / 3, [1 / 4, 1 / 4])],
        "rk4": [(1 / 6, []), (1 / 3, [1 / 2]), (1 / 3, [0.0, 1 / 2]), (1 / 6, [0.0, 0.0, 1.0])],
    }[scheme]


def stepped(n: CubaLIFNeuron, u: float, i: float, x: float) -> tuple[float, float]:
    """One step of ``u = v - v_rest`` and ``i``, in numbers and from the scheme's own definition."""
    z, z_syn = n.dt / n.tau, n.dt / n.tau_syn
    if n.scheme == "exponential":
        return cuba_relaxation(n.dt, n.tau, n.tau_syn, (u, i), x)
    if n.scheme == "implicit_euler":
        new = (i + z_syn * x) / (1 + z_syn)
        return (u + z * new) / (1 + z), new
    if n.scheme == "trapezoid":
        new = (i + z_syn / 2 * (2 * x - i)) / (1 + z_syn / 2)
        return (u + z / 2 * (i + new - u)) / (1 + z / 2), new
    if n.scheme in PER_VARIABLE:  # i does not see v, so that both are one
        return (
            i + (u - i) * math.exp(-z),
            x + (i - x) * math.exp(-z_syn),
        )
    slopes: list[tuple[float, float]] = []
    sum_u = sum_i = 0.0
    for weight, along in stages(n.scheme):
        at_u = u + sum(a * du for a, (du, _) in zip(along, slopes, strict=True))
        at_i = i + sum(a * di for a, (_, di) in zip(along, slopes, strict=True))
        slopes.append((z * (at_i - at_u), z_syn * (x - at_i)))
        sum_u, sum_i = sum_u + weight * slopes[-1][0], sum_i + weight * slopes[-1][1]
    return u + sum_u, i + sum_i


@every_scheme
@pytest.mark.parametrize("jump", CubaLIFNeuron.jumps)
@pytest.mark.parametrize(("tau", "tau_syn"), [(2.0, 1.0), (1.5, 1.5)])
def test_against_a_plain_loop(scheme: str, jump: str, tau: float, tau_syn: float) -> None:
    """Equal spikes, potentials and currents to rounding, on random input."""
    neuron = CubaLIFNeuron(
        tau, tau_syn, 0.5, scheme, v_threshold=0.8, v_reset=-0.3, v_rest=0.1, jump=jump
    )
    x = 3 * torch.randn(200, 4, dtype=F64, generator=torch.Generator().manual_seed(0)) + 0.5
    trace = st.CubaLIF(**dataclasses.asdict(neuron)).record(x)
    assert trace.h is not None
    found: list[list[float]] = []
    for column in x.T.tolist():
        v, i = neuron.v_rest, 0.0
        for x_t in column:
            u, i = stepped(neuron, v - neuron.v_rest, i, x_t)
            late = jump == "soft_delayed" and v >= neuron.v_threshold
            h = v = u + neuron.v_rest - (neuron.v_threshold if late else 0.0)
            spike = h >= neuron.v_threshold
            if spike and jump in ("hard", "soft"):
                v = neuron.v_reset if jump == "hard" else h - neuron.v_threshold
            found.append([float(spike), h, v, i])
    spikes, h_all, v_all, i_all = torch.tensor(found, dtype=F64).view(4, 200, 4).permute(2, 1, 0)
    assert 0.05 < spikes.mean() < 0.6
    assert torch.equal(trace.spikes, spikes)
    ours = (trace.h, trace.states.v, trace.states.i)
    for mine, theirs in zip(ours, (h_all, v_all, i_all), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=TOLERANCE[F64])


def test_jump_by_hand() -> None:
    """v to v_reset, or less the threshold, or left alone; the current never jumps."""
    h = CubaLIFState(torch.tensor([3.0, 1.5]), torch.tensor([4.0, 5.0]))
    s = torch.tensor([1.0, 0.0])
    for jump, v in (("hard", -0.5), ("soft", 1.0), ("soft_delayed", 3.0), ("none", 3.0)):
        neuron = CubaLIFNeuron(jump=jump, v_reset=-0.5, v_threshold=2.0)
        after = neuron.apply_jump(h, s)
        assert after.v.tolist() == [v, 1.5]
        assert after.i.tolist() == [4.0, 5.0]


def test_starts_at_rest() -> None:
    """v at v_rest, no current, of the input's dtype."""
    state = st.CubaLIF(v_rest=-0.3).rest(torch.zeros(2, dtype=F64))
    assert (state.v.tolist(), state.i.tolist()) == ([-0.3, -0.3], [0.0, 0.0])
    assert state.v.dtype == state.i.dtype == F64


@every_scheme
def test_rheobase(scheme: str) -> None:
    """The least constant input that ever makes a spike is v_threshold - v_rest, in every scheme."""
    layer = st.CubaLIF(5.0, 2.0, 0.5, scheme, v_rest=-0.5, v_threshold=1.5)
    x = torch.tensor([[1 - 1e-6, 1 + 1e-6]], dtype=F64).expand(500, 2) * 2.0
    assert (layer(x).sum(0) > 0).tolist() == [False, True]


def test_a_spike_makes_the_known_postsynaptic_potential() -> None:
    """x = 1 for one short step: v peaks at t = tau tau_syn / (tau - tau_syn) log(tau / tau_syn)."""
    tau, tau_syn, dt = 2.0, 0.5, 1e-3
    x = torch.zeros(3000, 1, dtype=F64)
    x[0] = 1.0
    trace = st.CubaLIF(tau, tau_syn, dt).record(x)
    assert trace.h is not None
    peak = tau * tau_syn / (tau - tau_syn) * math.log(tau / tau_syn)
    # The step is an impulse in its middle.
    assert (trace.h.argmax().item() + 0.5) * dt == pytest.approx(peak, abs=dt)
    height = dt / tau * (tau_syn / tau) ** (tau_syn / (tau - tau_syn))
    assert trace.h.max().item() == pytest.approx(height, rel=1e-3)


# Largest dt over the shorter time constant, as tests/test_schemes.py derives them.
LIMITS = {
    **dict.fromkeys(("euler", "rk2", "heun"), 2.0),
    **dict.fromkeys(("rk3", "ssprk3"), 2.5127453266183286),
    "rk4": 2.785293563405282,
}


@every_scheme
@every_tau
def test_dt_limit(scheme: str, tau: float, tau_syn: float) -> None:
    """Where the largest eigenvalue of the step itself, by autograd, reaches 1 in modulus."""
    limit = CubaLIFNeuron(tau, tau_syn, scheme=scheme).dt_limit
    assert limit == pytest.approx(LIMITS.get(scheme, math.inf) * min(tau, tau_syn), rel=1e-6)

    def radius(dt: float) -> float:
        neuron = CubaLIFNeuron(tau, tau_syn, dt, scheme)

        def step(y: Tensor) -> Tensor:
            at = CubaLIFState(y[0], y[1])
            return torch.stack(neuron.integrate(torch.zeros((), dtype=F64), at, torch.sign))

        jacobian = torch.func.jacrev(step)(torch.zeros(2, dtype=F64))
        of_the_step = float(np.abs(np.linalg.eigvals(jacobian.numpy())).max())
        assert neuron.is_stable == (of_the_step <= 1 + 1e-9)
        return of_the_step

    if math.isinf(limit):
        assert radius(100.0) < 1
    else:
        assert radius(0.999 * limit) < 1 < radius(1.001 * limit)


@every_scheme
def test_dt_limit_is_where_a_simulation_turns(scheme: str) -> None:
    """Just below the limit a perturbation of rest dies out, just above it grows."""
    limit = CubaLIFNeuron(scheme=scheme).dt_limit

    def left(dt: float) -> float:
        return math.hypot(*run(CubaLIFNeuron(dt=dt, scheme=scheme), 0.0, 1000, start))

    start = state_of(1e-7, -0.6e-7)
    if math.isinf(limit):
        assert left(20.0) < 1e-12
    else:
        assert left(0.98 * limit) < 1e-12
        with pytest.warns(st.StabilityWarning):
            assert left(1.02 * limit) > 1e-5


def test_the_warning_names_the_time_constant() -> None:
    """The limit in terms of the shorter one, whose mode it is that grows."""
    current = (
        r"dt <= 2 \(= 2 tau_syn\): the synaptic current's mode \(rate -1\).* by -2 and changes"
    )
    with pytest.warns(st.StabilityWarning, match=current):
        st.CubaLIF(tau=2.0, tau_syn=1.0, dt=3.0, scheme="euler")
    potential = r"dt <= 4 \(= 2 tau\): the potential's mode \(rate -0.5\).* by -1.5 and changes"
    with pytest.warns(st.StabilityWarning, match=potential):
        st.CubaLIF(tau=2.0, tau_syn=5.0, dt=5.0, scheme="euler")


@pytest.mark.parametrize("detach_reset", [False, True])
@pytest.mark.parametrize("jump", CubaLIFNeuron.jumps)
def test_gradient_by_hand(jump: str, detach_reset: bool) -> None:
    """d s2 / d x1 = g2 (n_i m_vi + n_v m_vv (1 - what the jump takes away)).

    Of dv1 / dh1 the hard jump takes s1 + h1 g1, the soft one g1, the delayed one g1 / m_vv, as it
    is subtracted from what has decayed; detached, nothing of g1.
    """
    x = torch.tensor([[7.0], [2.0]], dtype=F64, requires_grad=True)
    layer = st.CubaLIF(jump=jump, detach_reset=detach_reset, surrogate=Sigmoid(2.0))
    trace = layer.record(x)
    assert trace.h is not None
    assert trace.spikes[0].item() == 1
    (gradient,) = torch.autograd.grad(trace.spikes[1].sum(), x)
    h1, h2 = trace.h.flatten().tolist()
    g1, g2 = (0.5 / math.cosh(h - 1) ** 2 for h in (h1, h2))
    step = layer.neuron.affine_step
    assert step is not None
    ((m_vv, m_vi), _), (n_v, n_i) = step.m, step.n
    through = {"hard": h1 * g1, "soft": g1, "soft_delayed": g1 / m_vv, "none": 0.0}[jump]
    taken = (1.0 if jump == "hard" else 0.0) + (0.0 if detach_reset else through)
    expected = [g2 * (n_i * m_vi + n_v * m_vv * (1 - taken)), g2 * n_v]
    assert gradient.flatten().tolist() == pytest.approx(expected, rel=1e-12)


def function(jump: str, tau_syn: float, surrogate: Any) -> Any:
    """``(currents, v, i) -> (spikes, potentials, v, i)`` with every parameter off its default."""
    layer = st.CubaLIF(
        1.5, tau_syn, 0.7, v_threshold=0.6, v_reset=-0.3, v_rest=0.2, jump=jump, surrogate=surrogate
    )

    def outputs(x: Tensor, v: Tensor, i: Tensor) -> tuple[Tensor, ...]:
        trace = layer.record(x, CubaLIFState(v, i))
        assert trace.h is not None
        return trace.spikes, trace.h, *trace.state

    return outputs


def parts(steps: int) -> list[Tensor]:
    """Random currents and a random first state."""
    noise = torch.Generator().manual_seed(3)
    x = 2 * torch.randn(steps, 3, dtype=F64, generator=noise) + 0.5
    return [x, *(torch.randn(3, dtype=F64, generator=noise) for _ in range(2))]


@pytest.mark.parametrize("tau_syn", [0.8, 1.5])
@pytest.mark.parametrize("jump", CubaLIFNeuron.jumps)
def test_gradients_of_smooth_spikes(jump: str, tau_syn: float) -> None:
    """Reverse and forward mode, and double backward, against finite differences."""
    smooth = function(jump, tau_syn, Smooth(Sigmoid(2.0)))
    inputs = tuple(part.requires_grad_() for part in parts(4))
    assert torch.autograd.gradcheck(smooth, inputs, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(smooth, inputs)


@pytest.mark.parametrize("tau_syn", [0.8, 1.5])
@pytest.mark.parametrize("jump", CubaLIFNeuron.jumps)
def test_forward_mode_is_reverse_mode(jump: str, tau_syn: float) -> None:
    """<g, J t> = <J' g, t> with true spikes."""
    spiking, primals = function(jump, tau_syn, Sigmoid(4.0)), tuple(parts(20))
    outputs, pull = torch.func.vjp(spiking, *primals)
    assert 0 < outputs[0].mean() < 1
    noise = torch.Generator().manual_seed(4)
    t, g = (
        tuple(torch.randn(part.shape, dtype=F64, generator=noise) for part in like)
        for like in (primals, outputs)
    )
    pushed = torch.func.jvp(spiking, primals, t)[1]
    forward = sum((a * b).sum() for a, b in zip(g, pushed, strict=True))
    reverse = sum((a * b).sum() for a, b in zip(pull(g), t, strict=True))
    torch.testing.assert_close(forward, reverse, rtol=1e-11, atol=TOLERANCE[F64])


def test_runs_in_the_compiled_loop() -> None:
    """By default."""
    assert resolve("auto", CubaLIFNeuron(), Sigmoid(), torch.zeros(3, 2, 4))[0].name == "cpu"


def mixed() -> st.Sequential:
    """Neurons with a compiled loop before and behind neurons without, and feedback."""
    torch.manual_seed(0)
    return st.Sequential(
        st.SpikeLinear(30, 20),
        st.LIF(),
        st.SpikeLinear(20, 20),
        st.CubaLIF(),
        st.SpikeLinear(20, 20),
        st.Recurrent(st.CubaLIF(tau_syn=2.0), 20),
        st.SpikeLinear(20, 15),
        st.Izhikevich(),
        st.SpikeLinear(15, 3),
    )


def outcome(network: Any, net: torch.nn.Module, x: Tensor) -> list[Tensor]:
    """Outputs and the gradients of all weights."""
    out = network(x)
    return [out, *torch.autograd.grad(out.square().sum(), list(net.parameters()))]


def gained(net: torch.nn.Module) -> torch.nn.Module:
    """With weights so large that every layer spikes."""
    with torch.no_grad():
        for weight in net.parameters():
            weight.mul_(8)
    return net


@pytest.mark.parametrize(
    "build", [mixed, lambda: st.spiking_mlp((30, 20, 3), neuron="cuba_lif", readout="spike_count")]
)
def test_networks_on_events_are_networks_on_tensors(build: Any) -> None:
    """Chains that cannot run in one piece run module by module, with the same numbers."""
    net = gained(build())
    events = st.poisson(torch.rand(4, 30, generator=torch.Generator().manual_seed(0)), 12)
    ours = outcome(net, net, events)
    assert ours[0].abs().sum() > 0
    assert all(part.isfinite().all() for part in ours)
    assert all(part.abs().sum() > 0 for part in ours)
    for one, two in zip(ours, outcome(net, net, events * 1), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-5, atol=1e-5)


def test_torch_compile() -> None:
    """The same numbers, compiled before the first step was taken."""
    layer = st.CubaLIF(dt=0.5)
    x = 4 * torch.rand(6, 3, 4, generator=torch.Generator().manual_seed(0))
    captured = torch.compile(layer, backend="aot_eager")
    given, again = x.clone().requires_grad_(), x.clone().requires_grad_()
    spikes, expected = captured(given), layer(again)
    assert torch.equal(spikes, expected)
    assert 0 < spikes.mean() < 1
    spikes.sum().backward()
    expected.sum().backward()
    torch.testing.assert_close(given.grad, again.grad)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"tau": 0.0}, "CUBA-LIF tau must be a finite number above 0, got 0.0"),
        ({"tau_syn": -1.0}, "CUBA-LIF tau_syn must be a finite number above 0, got -1.0"),
        ({"tau_syn": math.inf}, "CUBA-LIF tau_syn must be a finite number above 0, got inf"),
        ({"dt": math.nan}, "CUBA-LIF dt must be a finite number above 0, got nan"),
        ({"v_rest": math.nan}, "CUBA-LIF v_rest must be finite, got nan"),
        ({"v_reset": 1.0}, "CUBA-LIF v_reset must be below v_threshold = 1.0, got 1.0"),
        ({"scheme": "symplectic"}, "no scheme 'symplectic': it is made for two variables that"),
        ({"scheme": "eulr"}, "unknown scheme 'eulr'; did you mean 'euler'"),
        ({"jump": "softly"}, "unknown CUBA-LIF jump 'softly'; did you mean 'soft'"),
    ],
)
def test_bad_parameters_are_refused(parameters: dict[str, Any], message: str) -> None:
    """Each at construction, saying what was given and what is allowed."""
    with pytest.raises(st.SaltationError, match=message):
        CubaLIFNeuron(**parameters)


def test_an_unknown_parameter_is_refused() -> None:
    """By the layer, with the nearest name."""
    with pytest.raises(st.SaltationError, match=r"CUBA-LIF parameter 'tau_sin'.*'tau_syn'"):
        st.CubaLIF(tau_sin=1.0)
