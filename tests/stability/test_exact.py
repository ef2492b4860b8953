"""Exponents of the equations themselves, with exact spike times."""

from __future__ import annotations

import math
from typing import Any

import mpmath as mp
import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from torch import Tensor

import saltation as st
from saltation.neurons import IzhikevichNeuron
from saltation.stability.exact import Run

D = torch.float64


def constant(x: float, steps: int) -> Tensor:
    return torch.full((steps, 1), x, dtype=D)


@pytest.mark.parametrize("decay_input", [True, False])
def test_a_periodic_neuron_keeps_its_phase(decay_input: bool) -> None:
    """What the flow forgets between two spikes, exp(-P / tau), the jump gives back, f+ / f-; left
    is what was forgotten since the last."""
    tau, dt, steps, x = 2.0, 0.5, 40, 1.5
    scale = 1 if decay_input else 1 / tau
    layer = st.LIF(tau=tau, dt=dt, decay_input=decay_input)
    found = st.true_exponents(layer, constant(scale * x, steps))
    period = tau * math.log(x / (x - 1))
    time = steps * dt
    spikes = int(time / period)
    assert found.settings["spikes"] == spikes
    expected = -(time - spikes * period) / tau / time
    assert float(found.exponent) == pytest.approx(expected, abs=1e-9)


def test_below_threshold() -> None:
    """-1 / tau, and -1 / tau_syn too where there is a synapse."""
    assert float(st.true_exponents(st.LIF(tau=3.0), constant(0.5, 9)).exponent) == pytest.approx(
        -1 / 3
    )
    pair = st.true_exponents(st.CubaLIF(tau=2.0, tau_syn=5.0), constant(0.5, 400)).spectrum
    assert pair.tolist() == pytest.approx([-1 / 5, -1 / 2], abs=2e-2)
    assert float(pair.sum()) == pytest.approx(-1 / 5 - 1 / 2, abs=1e-9)


@pytest.mark.parametrize("jump", ["hard", "soft"])
@pytest.mark.parametrize(
    "layer", [st.LIF, st.CubaLIF, st.Izhikevich], ids=["lif", "cuba_lif", "izhikevich"]
)
def test_tangents_against_two_solutions(layer: Any, jump: str) -> None:
    """The volume of the frame after spikes at other times, from solutions begun a little apart."""
    model = layer(tau=2.0, dt=1.0, jump=jump).neuron
    currents = np.array([1.7, 2.3, 1.4, 2.9, 1.6, 2.2])
    rest = np.array([float(part) for part in model.rest(torch.zeros((), dtype=D))])
    frame = np.eye(len(rest))
    run = Run(model, currents, rest, frame)
    assert run.spikes >= 2
    eps = 1e-5
    ends = [
        (
            Run(model, currents, rest + eps * m, frame).state
            - Run(model, currents, rest - eps * m, frame).state
        )
        / (2 * eps)
        for m in frame
    ]
    expected = math.log(abs(np.linalg.det(np.stack(ends, 1))))
    assert run.growth.sum() == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    ("tau", "dt"), [(0.01, 1), (0.02, 1), (1e-6, 1), (2, 60), (2, 100), (2, 200), (2, 1e5)]
)
def test_any_contraction_within_a_step(tau: float, dt: float) -> None:
    """A step that multiplies by exp(-dt / tau), down to exp(-1,000,000)."""
    found = st.true_exponents(st.LIF(tau=tau, dt=float(dt)), constant(0.5, 10))
    assert float(found.exponent) == pytest.approx(-1 / tau, rel=1e-12)
    assert found.floored == 0


@pytest.mark.parametrize(
    ("tau", "tau_syn", "dt"),
    [(2, 1, 50), (1e-3, 1, 1), (2, 1e-3, 1), (2, 2, 1e3), (2, 2 + 1e-9, 30), (0.01, 0.02, 5)],
)
def test_two_variables_under_contraction(tau: float, tau_syn: float, dt: float) -> None:
    """In long steps as in short ones, the sum exact, and each as it is once the frame has turned
    into the flow's own directions."""
    x = constant(0.5, 10)
    whole = st.true_exponents(st.CubaLIF(tau=float(tau), tau_syn=tau_syn, dt=float(dt)), x)
    short = st.CubaLIF(tau=float(tau), tau_syn=tau_syn, dt=dt / 40)
    parts = st.true_exponents(short, x.repeat_interleave(40, 0))
    assert whole.spectrum.tolist() == pytest.approx(parts.spectrum.tolist(), rel=1e-11)
    assert float(whole.spectrum.sum()) == pytest.approx(-1 / tau - 1 / tau_syn, rel=1e-12)
    if tau != tau_syn and dt * abs(1 / tau - 1 / tau_syn) > 10:
        later = st.true_exponents(
            st.CubaLIF(tau=float(tau), tau_syn=tau_syn, dt=float(dt)), x, transient=5
        )
        rates = sorted([-1 / tau, -1 / tau_syn], reverse=True)
        assert later.spectrum.tolist() == pytest.approx(rates, rel=1e-9)


@pytest.mark.parametrize(
    ("tau", "tau_w", "dt", "x"),
    [(2, 2, 15, -100), (2, 2, 20, -4), (2, 2, 200, -4), (1e-3, 1, 8, -100), (1, 1e-3, 8, -1)],
)
def test_a_nonlinear_neuron_under_contraction(
    tau: float, tau_w: float, dt: float, x: float
) -> None:
    """At a fixed point the exponents are the eigenvalues' real parts, however stiff."""
    layer = st.Izhikevich(tau=float(tau), tau_w=float(tau_w), dt=float(dt))
    model = layer.neuron
    # a0 (v - v_rest) (v - v_c) - a (v - v_rest) + x = 0
    roots = np.roots([1, -(-0.1 + 0.8) - 0.02, -0.08 + 0.02 * -0.1 + x])
    v = roots.min()
    at = [[(2 * v - 0.7) / model.tau, -1 / model.tau], [0.02 / model.tau_w, -1 / model.tau_w]]
    expected = sorted(np.linalg.eigvals(np.array(at)).real, reverse=True)
    found = st.true_exponents(layer, constant(x, 6), transient=4)
    assert found.settings["spikes"] == found.floored == 0
    assert found.spectrum.tolist() == pytest.approx(expected, rel=1e-8)


def pulse(peak: float, tau: float, tau_syn: float) -> Tensor:
    """A pulse of one unit of time after which v of a CUBA-LIF neuron has this maximum."""
    with mp.workdps(40):
        tau, tau_syn = mp.mpf(tau), mp.mpf(tau_syn)
        gain = tau_syn / (tau - tau_syn)
        current = 1 - mp.exp(-1 / tau_syn)
        start = 1 - mp.exp(-1 / tau) - gain * (mp.exp(-1 / tau) - mp.exp(-1 / tau_syn))

        def v(s: Any) -> Any:
            shape = mp.exp(-s / tau) - mp.exp(-s / tau_syn)
            return start * mp.exp(-s / tau) + current * gain * shape

        top = mp.findroot(lambda s: mp.diff(v, s), 0.5)
        x = torch.zeros(8, 1, dtype=D)
        x[0] = float(peak / v(top))
    return x


@pytest.mark.parametrize(("tau", "tau_syn"), [(2.0, 1.0), (1.0, 2.0), (3.0, 0.5)])
@pytest.mark.parametrize("above", [1e-2, 3e-4, 1e-6, 1e-9, 1e-12, -1e-12, -1e-9, -3e-4])
def test_crossings_however_short(above: float, tau: float, tau_syn: float) -> None:
    """A pulse after which the potential rises above threshold by so little, and falls again."""
    x = pulse(1 + above, tau, tau_syn)
    found = st.true_exponents(st.CubaLIF(tau=tau, tau_syn=tau_syn, dt=1.0), x)
    assert found.settings["spikes"] == (above > 0)


@pytest.mark.parametrize("above", [1e-2, 3e-4, 1e-6])
def test_the_factor_of_a_short_crossing(above: float) -> None:
    """The volume: the flow's trace and ``f+ / f- = i / (i - 1)`` at the spike, at 40 digits."""
    x = pulse(1 + above, 2.0, 1.0)
    found = st.true_exponents(st.CubaLIF(tau=2.0, tau_syn=1.0, dt=1.0), x)
    with mp.workdps(40):
        a, b = mp.exp(mp.mpf(-1) / 2), mp.exp(-1)
        size = mp.mpf(float(x[0, 0]))
        start, current = size * (1 - 2 * a + b), size * (1 - b)
        # start e^(-s/2) + current (e^(-s/2) - e^-s) = 1, a quadratic in e^(-s/2); the earlier root
        root = start + current + mp.sqrt((start + current) ** 2 - 4 * current)
        i = current * (root / (2 * current)) ** 2
        expected = float(-8 * mp.mpf(3) / 2 + mp.log(i / (i - 1)))
    assert 8 * float(found.spectrum.sum()) == pytest.approx(expected, abs=1e-9)


def test_a_peak_at_the_threshold_is_refused() -> None:
    """Where rounding decides whether there is a spike, a factor would be 1e8 or none."""
    x = pulse(1.0, 2.0, 1.0)
    with pytest.raises(st.SaltationError, match="neuron 1 in step 1 touches its threshold"):
        st.true_exponents(st.CubaLIF(tau=2.0, tau_syn=1.0, dt=1.0), torch.cat([0 * x, x], 1))


def exact_run(model: Any, currents: list[float]) -> tuple[list[float], Any]:
    """Spike times and last state by scipy, in steps far shorter than anything the model does."""
    times, u = [], np.array([float(part) for part in model.rest(torch.zeros((), dtype=D))])
    for t, x in enumerate(currents):
        now, end = t * model.dt, (t + 1) * model.dt

        def velocity(_: float, y: Any, x: float = x) -> Any:
            return np.array(model.velocity(x, *y))

        def reached(_: float, y: Any) -> float:
            return float(y[0]) - float(model.v_threshold)

        reached.terminal, reached.direction = True, 1  # type: ignore[attr-defined]
        while now < end:
            run = solve_ivp(
                velocity, (now, end), u, "DOP853", rtol=1e-12, atol=1e-13, max_step=0.02,
                events=reached,
            )  # fmt: skip
            now, u = run.t[-1], run.y[:, -1]
            if run.status == 1:
                times.append(float(now))
                u = np.array(model.apply_jump(model.State(*u), 1.0))
    return times, u


@pytest.mark.parametrize("jump", ["hard", "soft"])
@pytest.mark.parametrize("layer", [st.LIF, st.CubaLIF, st.Izhikevich])
def test_many_spikes_in_one_step(layer: Any, jump: str) -> None:
    """As an integration in short steps has them, and as short steps of input have them."""
    model = layer(tau=2.0, dt=12.0, jump=jump).neuron
    times, end = exact_run(model, [2.5, 0.7, 4.0])
    start = np.array([float(part) for part in model.rest(torch.zeros((), dtype=D))])
    run = Run(model, np.array([2.5, 0.7, 4.0]), start, np.eye(len(start)))
    assert run.spikes == len(times) > 10
    assert run.state == pytest.approx(end, abs=1e-8)
    short = layer(tau=2.0, dt=0.5, jump=jump).neuron
    parts = Run(short, np.repeat([2.5, 0.7, 4.0], 24), start, np.eye(len(start)))
    assert parts.spikes == run.spikes
    assert parts.state == pytest.approx(run.state, abs=1e-8)
    assert parts.growth.sum(0) == pytest.approx(run.growth.sum(0), abs=1e-7)


@pytest.mark.parametrize("above", [1e-3, 1e-6, 1e-9, -1e-9, -1e-3])
def test_short_crossings_of_a_nonlinear_neuron(above: float) -> None:
    """Adaptation pulls the potential back; the threshold is set a little below its maximum."""
    given: dict[str, Any] = {"a": 3.0, "tau_w": 2.0, "tau": 1.0, "v_reset": -0.5}
    free = st.Izhikevich(**given, v_threshold=9.0).neuron

    def velocity(_: float, y: Any) -> Any:
        return np.array(free.velocity(1.0, *y))

    def turning(_: float, y: Any) -> float:
        return float(velocity(0, y)[0])

    turning.terminal, turning.direction = True, -1  # type: ignore[attr-defined]
    run = solve_ivp(
        velocity, (0, 30), [-0.5, 0.0], "DOP853", rtol=1e-13, atol=1e-14, max_step=0.01,
        events=turning,
    )  # fmt: skip
    top = float(run.y[0, -1])
    assert 0 < run.t[-1] < 29
    for steps, dt in ((1, float(run.t[-1]) + 1), (40, 0.25)):
        layer = st.Izhikevich(**given, v_threshold=top - above, dt=dt)
        found = st.true_exponents(layer, constant(1.0, steps)[: int((run.t[-1] + 1) / dt) + 1])
        assert found.settings["spikes"] == (above > 0)


@pytest.mark.parametrize("jump", ["hard", "soft"])
@pytest.mark.parametrize("after", [0.0, -5.0, 2.0])
@pytest.mark.parametrize(("spikes", "steps"), [(1, 1), (1, 3), (1, 100), (7, 1), (512, 1), (3, 6)])
def test_spikes_on_the_end_of_a_step(spikes: int, steps: int, after: float, jump: str) -> None:
    """The last is neither lost, when the input falls there, nor counted again when it stays."""
    period = 2 * math.log(2)
    x = torch.cat([constant(2.0, steps), constant(after, 1)])
    layer = st.LIF(tau=2.0, dt=spikes * period / steps, jump=jump)
    found = st.true_exponents(layer, x)
    again = (spikes // steps or int(steps == 1)) if after == 2 else 0
    assert found.settings["spikes"] == spikes + again
    # Every period forgets half, and f+ / f- = 2 gives it back.
    assert float(found.growth[:-1].sum()) == pytest.approx(0, abs=1e-9)


def test_states_that_begin_above_threshold() -> None:
    """They spike at once, and as often as it takes; what a perturbation becomes is the jump's."""
    silent = constant(-9.0, 4)
    hard = st.true_exponents(st.LIF(v_rest=1.5), silent)
    assert hard.settings == {"estimator": "true", "spikes": 1, "vanished": 1}
    assert hard.spectrum.tolist() == [-math.inf]
    assert "one sample" not in str(st.true_exponents(st.LIF(v_rest=1.5), silent.expand(4, 2)))
    later = st.true_exponents(st.LIF(v_rest=1.5), silent, transient=1)
    assert later.spectrum.tolist() == pytest.approx([-0.5])
    for v, spikes in ((1.0, 0), (1.5, 1), (2.0, 1), (2.5, 2), (3.5, 3)):
        soft = st.true_exponents(st.LIF(v_rest=v, jump="soft"), silent)
        assert soft.settings == {"estimator": "true", "spikes": spikes}
        assert soft.spectrum.tolist() == pytest.approx([-0.5])
    both = st.true_exponents(st.CubaLIF(v_rest=1.5), silent)
    assert both.settings["spikes"] == both.settings["vanished"] == 1
    assert both.spectrum[1] == -math.inf
    assert both.spectrum[0] == pytest.approx(-1, abs=0.5)
    # On the threshold it depends on where it goes, as with steps of any length.
    for build in (st.LIF, st.CubaLIF):
        for x, spikes in ((-1.0, 0), (0.0, 1), (1e-3, 1)):
            there = st.true_exponents(build(v_rest=1.0, dt=0.01), constant(x, 2))
            assert there.settings["spikes"] == spikes
            assert int(build(v_rest=1.0, dt=0.01)(constant(x, 2)[..., None]).sum()) == spikes
    # At threshold and driven on: the reset, and then whole periods.
    driven = st.true_exponents(st.LIF(v_rest=1.0, dt=10.0), constant(1.0, 1))
    assert driven.settings["spikes"] == 1 + int(10 / (2 * math.log(2)))


def test_a_threshold_that_is_never_reached() -> None:
    """At rheobase the potential creeps towards it, in rounding onto it, and there is no spike."""
    for layer in (st.LIF(tau=3.0), st.LIF(tau=3.0, v_rest=0.3, v_threshold=1.3), st.CubaLIF()):
        found = st.true_exponents(layer, constant(1.0, 300))
        assert found.settings["spikes"] == 0
    driven = st.true_exponents(st.LIF(tau=3.0), torch.cat([constant(1, 300), constant(1.5, 1)]))
    assert driven.settings["spikes"] == 1


@pytest.mark.parametrize(
    ("layer", "x", "message"),
    [
        (st.LIF(v_threshold=1e-12, jump="soft"), 1.0, "spikes more than 10000 times"),
        (st.CubaLIF(v_threshold=1e-12, jump="soft"), 1.0, "spikes more than 10000 times"),
        (st.LIF(), 1e12, "spikes more than 10000 times"),
        (st.LIF(v_rest=0.0, v_threshold=-0.5, jump="soft"), 0.0, "spikes without end"),
        (st.LIF(v_rest=-1.0, v_threshold=-0.5, jump="soft"), 2.0, "spikes without end"),
        (st.LIF(v_rest=-1.0, v_threshold=0.0, jump="soft"), 2.0, "spikes without end"),
        (IzhikevichNeuron(a0=-1.0), -5.0, "in step 1 has a solution that ends"),
        (st.LIF(), math.inf, "must be finite, got inf"),
        (st.LIF(), math.nan, "must be finite, got nan"),
    ],
)
def test_solutions_that_do_not_get_on_are_refused(layer: Any, x: float, message: str) -> None:
    with pytest.raises(st.SaltationError, match=message) as raised:
        st.true_exponents(layer, constant(x, 3))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("layer", "x", "message"),
    [
        (st.LIF(beta=0.9), constant(1, 3), "give tau and not beta"),
        (st.LIF(jump="none"), constant(1, 3), "jumps 'hard' or 'soft'"),
        (st.LIF(), torch.ones(3), r"\[T, B\]"),
        (st.LIF(), torch.ones(3, 1, dtype=torch.int64), "floating-point"),
        (torch.nn.Linear(1, 1), constant(1, 3), "of a neuron, got Linear"),
    ],
)
def test_what_has_no_exponents_is_refused(layer: Any, x: Tensor, message: str) -> None:
    with pytest.raises(st.SaltationError, match=message):
        st.true_exponents(layer, x)
    with pytest.raises(st.SaltationError, match="transient"):
        st.true_exponents(st.LIF(), constant(1, 3), transient=3)
