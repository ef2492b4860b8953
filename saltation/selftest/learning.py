"""The check of the loops that learn without gradients."""

from __future__ import annotations

import torch

from saltation.encoding import poisson
from saltation.kernels import dispatch_learning, plasticity
from saltation.kernels.events import SpikeTensor
from saltation.kernels.plasticity import Pair
from saltation.learning import WinnerTakeAllNetwork
from saltation.neurons import LIFNeuron
from saltation.selftest.cases import twin_of
from saltation.selftest.row import Row

_STEPS, _SIZES, _BATCH = 65, (97, 67, 10), 5


def learning(row: Row) -> None:
    """Both layers of the network that learns by reward, and what pairs of spikes change.

    A plain tensor of this size runs in plain torch.
    """
    noise = torch.Generator().manual_seed(0)
    rates = (2 * torch.rand(_BATCH, _SIZES[0], generator=noise) - 0.5).clamp(0, 1)
    labels = torch.randint(_SIZES[-1], (_BATCH,), generator=noise)
    factor = torch.randint(-1, 2, (_STEPS, _BATCH), generator=noise).float()
    x = poisson(rates, _STEPS, method="bernoulli")
    for scheme in LIFNeuron.schemes:
        network = WinnerTakeAllNetwork(*_SIZES, scheme=scheme, input_gain=4.0, output_gain=4.0)
        twin_of(network, 1.0)
        for teach in (0.0, 1.0):
            ours = network(x, labels, teach)
            row.same(ours, network(x.clone(), labels, teach))
            for keep in (0.0, 0.9):
                pair = Pair(1.0, 0.5, 0.8, 0.7, keep)
                change = dispatch_learning.stdp(ours.hidden, ours.outputs, factor, pair)
                hidden, outputs = ours.hidden.clone().double(), ours.outputs.double()
                row.near([change], [plasticity.run(hidden, outputs, factor.double(), pair)])
    compiled = isinstance(ours.hidden, SpikeTensor)
    row.ran = "cpu fixed, cpu plasticity, cpu winner" if compiled else "reference"
