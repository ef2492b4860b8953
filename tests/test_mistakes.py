"""Mistakes of new users at layers, networks, encoders and weights, and the line that each gets.

Each entry is what somebody writes, and the error or warning that it gives, word by word.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import saltation as st


def mlp(**parameters: Any) -> nn.Module:
    """A network of some size."""
    return st.spiking_mlp((4, 3, 2), **parameters)


MISTAKES: list[tuple[str, type[Exception], str]] = [
    # layers
    (
        "st.LIF(tua=3)",
        st.SaltationError,
        "unknown LIF parameter 'tua'; did you mean 'tau'? (allowed: tau, dt, scheme, beta, "
        "decay_input, v_threshold, v_reset, v_rest, jump, detach_reset, refractory, "
        "spike_time, input, surrogate, backend, memory)",
    ),
    (
        'st.LIF(tau="2")',
        st.SaltationError,
        "LIF tau must be a finite number above 0, got '2'",
    ),
    (
        "st.LIF(dt=nn.Parameter(torch.tensor(2.0)))",
        st.SaltationError,
        "LIF dt must be a finite number above 0, got a Parameter of shape [], which is not "
        "learned here",
    ),
    (
        "st.LIF(beta=torch.full((128,), 1.5))",
        st.SaltationError,
        "LIF beta must be in [0, 1], got a tensor with 1.5",
    ),
    (
        "st.LIF(beta=1.5)",
        st.SaltationError,
        "LIF beta must be in [0, 1], got 1.5",
    ),
    (
        "st.LIF(tau=-2.0)",
        st.SaltationError,
        "LIF tau must be a finite number above 0, got -2.0",
    ),
    (
        "st.LIF(beta=0.9, tau=2.0)",
        st.SaltationError,
        "LIF takes either beta or tau, dt and scheme, got beta=0.9 and tau=2.0",
    ),
    (
        'st.LIF(scheme="Euler")',
        st.SaltationError,
        "unknown scheme 'Euler'; did you mean 'euler'? (allowed: euler, exponential, "
        "symplectic, symplectic_v, rk2, rk3, ssprk3, heun, rk4, "
        "exponential_split, exponential_symplectic, implicit_euler, trapezoid)",
    ),
    (
        'st.LIF(scheme="symplectic")',
        st.SaltationError,
        "LIF has no scheme 'symplectic': it updates two variables in turn, and the potential "
        "is the only one (allowed: euler, exponential, rk2, rk3, ssprk3, heun, rk4, "
        "implicit_euler, trapezoid)",
    ),
    (
        'st.LIF(jump="zero")',
        st.SaltationError,
        "unknown LIF jump 'zero' (allowed: hard, soft, soft_delayed, none)",
    ),
    (
        "st.LIF(v_reset=1.0)",
        st.SaltationError,
        "LIF v_reset must be below v_threshold = 1.0, got 1.0",
    ),
    (
        'st.LIF(detach_reset="no")',
        st.SaltationError,
        "LIF detach_reset must be True or False, got 'no'",
    ),
    (
        "st.LIF(surrogate=st.surrogate.ATan)",
        st.SaltationError,
        "surrogate must be a name or an object of saltation.surrogate, got the class ATan: "
        "write ATan(...) (allowed: sigmoid, fast_sigmoid, atan, triangle, rectangle, "
        "gaussian, escape_noise)",
    ),
    (
        "st.LIF(surrogate=torch.sigmoid)",
        st.SaltationError,
        "surrogate must be a name or an object of saltation.surrogate, got the function "
        "sigmoid (allowed: sigmoid, fast_sigmoid, atan, triangle, rectangle, gaussian, "
        "escape_noise)",
    ),
    (
        'st.LIF(surrogate="arctan")',
        st.SaltationError,
        "unknown surrogate 'arctan'; did you mean 'atan'? (allowed: sigmoid, fast_sigmoid, "
        "atan, triangle, rectangle, gaussian, escape_noise)",
    ),
    (
        "st.surrogate.ATan(alpha=0)",
        st.SaltationError,
        "ATan alpha must be a finite number above 0, got 0.0",
    ),
    (
        'st.LIF(backend="cuda")',
        st.SaltationError,
        "unknown backend 'cuda' (allowed: auto, cpu, triton, reference)",
    ),
    (
        "st.LIF(tau=20e-3, dt=1.0)",
        st.UnitWarning,
        "LIF with tau = 0.02 and dt = 1 has 50 tau in a step: give both in the same unit of "
        "time, such as milliseconds",
    ),
    (
        "st.LIF(tau=20.0, dt=1e-3)",
        st.UnitWarning,
        "LIF with tau = 20 and dt = 0.001 has 2e+04 steps in tau: give both in the same unit "
        "of time, such as milliseconds",
    ),
    (
        "st.CubaLIF(tau=10.0, tau_syn=5e-3)",
        st.UnitWarning,
        "CUBA-LIF with tau_syn = 0.005 and dt = 1 has 200 tau_syn in a step: give both in the"
        " same unit of time, such as milliseconds",
    ),
    (
        'st.LIF(tau=2.0, dt=6.0, scheme="euler")',
        st.StabilityWarning,
        "LIF with scheme 'euler' and dt = 6 is outside the scheme's stability limit dt <= 4 "
        "(= 2 tau): the potential's mode (rate -0.5) decays in the equations, but every step "
        "multiplies it by -2 and changes its sign, so it grows between spikes. Use dt <= 4, "
        "or a scheme without a limit: exponential, implicit_euler, trapezoid. Stable is not yet "
        "accurate: for a dt that is both, saltation recommend.",
    ),
    (
        "st.LIF()(torch.rand(784))",
        st.SaltationError,
        "input currents must be [T, B, ...] with at least one step, got [784]",
    ),
    (
        "st.LIF()(torch.ones(10, 8, 784, dtype=torch.int64))",
        st.SaltationError,
        "input currents must be floating point, got torch.int64",
    ),
    (
        "st.LIF()(np.random.rand(10, 8, 784))",
        st.SaltationError,
        "input currents must be a torch tensor, got ndarray: torch.as_tensor makes one of it",
    ),
    (
        'st.LIF()(torch.full((10, 8, 784), float("nan")))',
        st.NotFiniteError,
        "input currents must be finite, got NaN or infinity in 62720 of 62720 values [10, 8, "
        "784]: look at the network's input and at the weights",
    ),
    (
        "st.LIF()(torch.rand(10, 8, 784), torch.zeros(8, 784))",
        st.SaltationError,
        "the state of LIF is LIFState(v), got Tensor",
    ),
    (
        "st.LIF()(torch.rand(10, 8, 784), st.LIF().rest(torch.rand(4, 784)))",
        st.SaltationError,
        "state v must have the shape of one step, [8, 784], got [4, 784]",
    ),
    (
        'type("LIF2", (st.NEURONS["lif"],), {"name": "lif"})',
        st.SaltationError,
        "neuron 'lif' is taken by LIFNeuron: give LIF2 a name of its own",
    ),
    # recurrent
    (
        "st.Recurrent(128, 128)",
        st.SaltationError,
        "Recurrent takes a neuron layer such as st.LIF(), got int",
    ),
    (
        "st.Recurrent(st.LIF(), 12.5)",
        st.SaltationError,
        "features must be a positive integer, got 12.5",
    ),
    (
        "st.Recurrent(st.LIF(), 128)(torch.rand(10, 8, 64))",
        st.SaltationError,
        "input currents must be [T, B, F] with at least one step and F = 128, got [10, 8, 64]",
    ),
    (
        "st.Recurrent(st.LIF(), 128)(torch.rand(8, 128))",
        st.SaltationError,
        "input currents must be [T, B, F] with at least one step and F = 128, got [8, 128]",
    ),
    (
        "st.Recurrent(st.LIF(), 128)(torch.rand(10, 8, 128), torch.zeros(8, 128))",
        st.SaltationError,
        "the state of Recurrent is RecurrentState(spikes, neuron), got Tensor",
    ),
    # models
    (
        "st.spiking_mlp(784)",
        st.SaltationError,
        "sizes must be two or more positive integers, input first, got 784",
    ),
    (
        "st.spiking_mlp((784, 128.0, 10))",
        st.SaltationError,
        "sizes must be two or more positive integers, input first, got [784, 128.0, 10]",
    ),
    (
        "st.spiking_mlp((784,))",
        st.SaltationError,
        "sizes must be two or more positive integers, input first, got [784]",
    ),
    (
        'st.spiking_mlp((784, 10), neuron="LIF")',
        st.SaltationError,
        "unknown neuron 'LIF'; did you mean 'lif'? (allowed: eif, adex, adlif, alif, "
        "balanced_resonate_and_fire, cuba_lif, hodgkin_huxley, izhikevich, izhikevich_2003, lif, "
        "plif, qif, resonate_and_fire)",
    ),
    (
        "st.spiking_mlp((784, 128, 10), hidden=3)",
        st.SaltationError,
        "unknown LIF parameter 'hidden' (allowed: tau, dt, scheme, beta, decay_input, "
        "v_threshold, v_reset, v_rest, jump, detach_reset, refractory, spike_time, input, "
        "surrogate, backend, memory)",
    ),
    (
        "st.spiking_mlp((784, 128, 10))(torch.rand(8, 784))",
        st.SaltationError,
        "the network takes floating-point spikes or currents [T, B, 784] of at least one "
        "step, got torch.float32 [8, 784]: time is missing, which an encoder such as "
        "saltation.poisson(x, steps) gives",
    ),
    (
        "st.spiking_mlp((784, 128, 10))(torch.rand(8, 1, 28, 28))",
        st.SaltationError,
        "the network takes floating-point spikes or currents [T, B, 784] of at least one "
        "step, got torch.float32 [8, 1, 28, 28]: images are rows of pixels here, as in "
        "saltation.poisson(x.flatten(1), steps)",
    ),
    (
        "st.spiking_mlp((784, 128, 10))(torch.rand(10, 8, 1, 28, 28))",
        st.SaltationError,
        "the network takes floating-point spikes or currents [T, B, 784] of at least one "
        "step, got torch.float32 [10, 8, 1, 28, 28]: images are rows of pixels here, "
        "x.flatten(2)",
    ),
    (
        "st.spiking_mlp((784, 128, 10))(torch.rand(10, 8, 100))",
        st.SaltationError,
        "the network takes floating-point spikes or currents [T, B, 784] of at least one "
        "step, got torch.float32 [10, 8, 100]",
    ),
    (
        "st.spiking_mlp((784, 128, 10))(torch.rand(10, 784, 8))",
        st.SaltationError,
        "the network takes floating-point spikes or currents [T, B, 784] of at least one "
        "step, got torch.float32 [10, 784, 8]: features come last",
    ),
    (
        "st.spiking_vgg(3, 10)(torch.zeros(8, 3, 32, 32, dtype=torch.uint8))",
        st.SaltationError,
        "the network takes floating-point images [B, 3, 32, 32] or sequences [T, B, 3, 32, "
        "32] of at least one step, got torch.uint8 [8, 3, 32, 32]; divide pixels of 0 to 255 "
        "by 255",
    ),
    (
        "st.spiking_vgg(3, 10)(torch.rand(8, 32, 32, 3))",
        st.SaltationError,
        "the network takes floating-point images [B, 3, 32, 32] or sequences [T, B, 3, 32, "
        "32] of at least one step, got torch.float32 [8, 32, 32, 3]",
    ),
    (
        "st.spiking_vgg(3, 10)(torch.rand(8, 1, 32, 32))",
        st.SaltationError,
        "the network takes floating-point images [B, 3, 32, 32] or sequences [T, B, 3, 32, "
        "32] of at least one step, got torch.float32 [8, 1, 32, 32]",
    ),
    (
        "st.spiking_vgg(1, 10, 8, stages=2, base_channels=4)(torch.rand(8, 4, 1, 8, 8))",
        st.LayoutWarning,
        "a sequence [8, 4, 1, 8, 8] is read as 8 steps of 4 images, by a network that shows "
        "an image for 4 steps: if the batch comes first, give x.transpose(0, 1)",
    ),
    (
        "st.spiking_vgg(1, 10, 28, stages=5)",
        st.SaltationError,
        "size must be at least 2 ** stages, because every stage halves it, got size 28 and 5 "
        "stages (allowed for this size: at most 4)",
    ),
    (
        "st.spiking_vgg(3, 10, dropout=25)",
        st.SaltationError,
        "dropout must be in [0, 1), got 25.0",
    ),
    (
        'st.sew_resnet("basic", 2, 3, 10)',
        st.SaltationError,
        "counts must hold the number of blocks of one stage or more, got 2",
    ),
    (
        'st.sew_resnet("basicblock", (2, 2), 3, 10)',
        st.SaltationError,
        "unknown block 'basicblock'; did you mean 'basic'? (allowed: basic, bottleneck)",
    ),
    (
        "st.spikformer(3, 10, 30)",
        st.SaltationError,
        "size must be a multiple of patch = 4, got 30",
    ),
    (
        "st.spikformer(3, 10, width=100)",
        st.SaltationError,
        "width must be a multiple of 8, got 100",
    ),
    # encoders
    (
        "st.poisson(torch.zeros(8, 784, dtype=torch.uint8), 10)",
        st.SaltationError,
        "an encoder takes a floating-point tensor [B, ...], got torch.uint8 [8, 784]; divide "
        "pixels of 0 to 255 by 255",
    ),
    (
        "st.poisson(torch.full((8, 784), 255.0), 10)",
        st.UnitWarning,
        "rates up to 255 spikes per unit of time at dt = 1 are 255 events in a step, so that "
        "nearly every step has a spike; divide pixels of 0 to 255 by 255, and give rates in "
        "the unit of dt",
    ),
    (
        'st.poisson(torch.full((8, 784), 255.0), 10, method="bernoulli")',
        st.SaltationError,
        "bernoulli takes probabilities in [0, 1], got values up to 255.0; divide pixels of 0 "
        "to 255 by 255",
    ),
    (
        "st.poisson(torch.randn(8, 784, generator=torch.Generator().manual_seed(0)), 10)",
        st.SaltationError,
        "rates must be finite and at least 0, got values from -4.09374 to 4.10149",
    ),
    (
        "st.poisson(np.random.rand(8, 784), 10)",
        st.SaltationError,
        "x must be a torch tensor, got ndarray: torch.as_tensor makes one of it",
    ),
    (
        "st.poisson(torch.rand(8, 784), 0.5, 10)",
        st.SaltationError,
        "steps must be a positive integer, got 0.5",
    ),
    (
        'st.poisson(torch.rand(8, 784), 10, method="rate")',
        st.SaltationError,
        "unknown poisson method 'rate' (allowed: exact, linear, bernoulli)",
    ),
    (
        "st.poisson(torch.rand(8, 784), 10, dt=0)",
        st.SaltationError,
        "dt must be a finite number above 0, got 0.0",
    ),
    (
        "st.poisson(torch.rand(8, 784), 10, stream=16)",
        st.SaltationError,
        "stream must be an integer in [0, 16), got 16",
    ),
    (
        "st.poisson(torch.rand(8, 784), 10, index=torch.arange(4))",
        st.SaltationError,
        "index must hold one integer per sample, shape [8], got torch.int64 [4]",
    ),
    (
        "st.poisson(torch.rand(8, 784, requires_grad=True), 10)",
        st.SaltationError,
        "an encoder's spikes have no gradient with respect to x: detach it",
    ),
    (
        "st.latency(torch.full((8, 784), 255.0), 10)",
        st.SaltationError,
        "latency takes intensities in [0, 1], got values up to 255.0; divide pixels of 0 to "
        "255 by 255",
    ),
    (
        "st.latency(torch.rand(8, 784), None)",
        st.SaltationError,
        "steps must be a positive integer, got None",
    ),
    (
        "st.direct([[0.5, 0.2]], 10)",
        st.SaltationError,
        "x must be a torch tensor, got list: torch.as_tensor makes one of it",
    ),
    # readouts
    (
        'st.Readout("average")',
        st.SaltationError,
        "unknown readout 'average' (allowed: max, mean, sum, last, spike_count)",
    ),
    (
        'st.Readout("mean")(torch.rand(8, 10))',
        st.SaltationError,
        "a readout takes floating-point outputs [T, B, classes] of at least one step, got "
        "torch.float32 [8, 10]",
    ),
    (
        'st.Readout("sum")(torch.ones(10, 8, 10, dtype=torch.int64))',
        st.SaltationError,
        "a readout takes floating-point outputs [T, B, classes] of at least one step, got "
        "torch.int64 [10, 8, 10]",
    ),
    (
        "st.SpikeStatistics().update(torch.rand(784))",
        st.SaltationError,
        "spikes must be [T, B, ...], got torch.float32 [784]",
    ),
    # learning
    (
        "st.WinnerTakeAllNetwork(784, hidden=0)",
        st.SaltationError,
        "hidden must be a positive integer, got 0",
    ),
    (
        "st.WinnerTakeAllNetwork(784)(torch.rand(8, 784))",
        st.SaltationError,
        "input spikes must be [T, B, 784] with at least one step, got [8, 784]",
    ),
    (
        "st.WinnerTakeAllNetwork(784)(torch.zeros(5, 8, 784), torch.full((8,), 10))",
        st.SaltationError,
        "labels must be in 0..9, got 10 to 10",
    ),
    (
        'st.RSTDP(lr="0.1")',
        st.SaltationError,
        "lr must be a finite number above 0, got '0.1'",
    ),
    # loading
    (
        "mlp(dt=0.5).load_state_dict(mlp().state_dict())",
        st.OtherNumericsError,
        "the weights for '1' are of a network with dt=1.0, this one has dt=0.5; to load them "
        "all the same: with saltation.allow_other_numerics()",
    ),
    (
        'mlp(scheme="euler").load_state_dict(mlp().state_dict())',
        st.OtherNumericsError,
        "the weights for '1' are of a network with scheme='exponential', this one has "
        "scheme='euler'; to load them all the same: with saltation.allow_other_numerics()",
    ),
    (
        'mlp(jump="soft").load_state_dict(mlp().state_dict())',
        st.OtherNumericsError,
        "the weights for '1' are of a network with jump='hard', this one has jump='soft'; to "
        "load them all the same: with saltation.allow_other_numerics()",
    ),
    (
        'mlp().load_state_dict(mlp(neuron="cuba_lif").state_dict())',
        st.OtherNumericsError,
        "the weights for '1' are of a network with neuron='cuba_lif', this one has "
        "neuron='lif'; to load them all the same: with saltation.allow_other_numerics()",
    ),
    (
        'mlp().load_state_dict(mlp(readout="mean").state_dict())',
        st.OtherNumericsError,
        "the weights for '3' are of a network with readout='mean', this one has "
        "readout='max'; to load them all the same: with saltation.allow_other_numerics()",
    ),
    (
        "st.LIF().load_state_dict({})",
        st.UnknownNumericsWarning,
        "the state dict does not say by which dt, scheme and other numerics its weights were "
        "made, so they are taken for those of the network",
    ),
]


@pytest.mark.parametrize(("code", "kind", "line"), MISTAKES, ids=[code for code, _, _ in MISTAKES])
def test_the_line_that_a_mistake_gets(code: str, kind: type[Exception], line: str) -> None:
    """One, of this kind, with these words."""
    names = {"st": st, "torch": torch, "np": np, "nn": nn, "mlp": mlp}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            eval(code, names)
        except st.SaltationError as error:
            found: list[tuple[type, str]] = [(type(error), str(error))]
        else:
            found = [(each.category, str(each.message)) for each in caught]
    assert found == [(kind, line)]
    assert "\n" not in line
