"""The network whose outputs compete, step by step and neuron by neuron, in plain numbers."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from saltation.learning import WinnerTakeAllNetwork


def counts_by_hand(
    net: WinnerTakeAllNetwork, x: Tensor, labels: list[int] | None = None, teach: float = 0.0
) -> tuple[list[list[int]], list[list[int]]]:
    """Hidden and output counts of each sample, with nothing but lists and numbers."""
    step: Any = net.neurons.neuron.affine_step
    a, c = step.m[0][0], step.n[0]
    threshold = net.neurons.neuron.v_threshold
    w_in = [[net.input_gain * w for w in row] for row in net.input.weight.double().tolist()]
    w_out = [[net.output_gain * w for w in row] for row in net.output.weight.double().tolist()]
    hidden_counts, output_counts = [], []
    for b in range(x.shape[1]):
        v, u = [0.0] * len(w_in), [0.0] * len(w_out)
        hidden, outputs = [0] * len(v), [0] * len(u)
        for spikes in x[:, b].tolist():
            s = []
            for h, row in enumerate(w_in):
                v[h] = a * v[h] + c * sum(w for w, one in zip(row, spikes, strict=True) if one)
                s.append(v[h] >= threshold)
                if s[h]:
                    v[h] = 0.0
                    hidden[h] += 1
            currents, any_spike = [], False
            for k, row in enumerate(w_out):
                current = sum(w for w, one in zip(row, s, strict=True) if one)
                current += teach if labels is not None and labels[b] == k else 0.0
                currents.append(current)
                u[k] = a * u[k] + c * current
                if u[k] >= threshold:
                    u[k] = 0.0
                    any_spike = True
            if any_spike:
                outputs[currents.index(max(currents))] += 1
        hidden_counts.append(hidden)
        output_counts.append(outputs)
    return hidden_counts, output_counts
