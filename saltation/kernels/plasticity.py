"""Pair-based spike-timing-dependent plasticity behind a third factor, in plain torch.

Of every synapse from neuron h to neuron c, in a step of length dt:

    x_h = kappa_+ x_h + pre_h                              presynaptic trace
    pair = A_+ x_h post_c - A_- (kappa_- y_c) pre_h        y_c: of the steps before
    y_c = kappa_- y_c + post_c                             postsynaptic trace
    e = gamma e + pair                                     eligibility
    change = change + m e                                  m: the third factor of the step

(Izhikevich, "Solving the distal reward problem through linkage of STDP and dopamine signaling",
Cerebral Cortex, 2007; Frémaux & Gerstner, "Neuromodulated spike-timing-dependent plasticity, and
theory of three-factor learning rules", Frontiers in Neural Circuits, 2016.) There is no delay: a
spike that drives a neuron over threshold in its own step has come before that neuron's spike.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Pair(NamedTuple):
    """Numbers of the rule, per step: amplitudes ``a_plus`` and ``a_minus`` of a pair, and what
    remains of the traces, ``keep_pre`` and ``keep_post``, and of the eligibility, ``keep``."""

    a_plus: float
    a_minus: float
    keep_pre: float
    keep_post: float
    keep: float


@torch.no_grad()
def run(pre: Tensor, post: Tensor, factor: Tensor, pair: Pair) -> Tensor:
    """Changes ``[B, C, H]`` after all steps.

    Parameters
    ----------
    pre, post
        Spikes ``[T, B, H]`` and ``[T, B, C]``, 0 or 1.
    factor
        The third factor ``[T, B]``.
    """
    x, y = torch.zeros_like(pre[0]), torch.zeros_like(post[0])
    eligibility = torch.zeros(*y.shape, x.shape[1], dtype=x.dtype, device=x.device)
    change = torch.zeros_like(eligibility)
    for pre_t, post_t, m in zip(pre, post, factor, strict=True):
        x = pair.keep_pre * x + pre_t
        y = pair.keep_post * y
        after = pair.a_plus * post_t[:, :, None] * x[:, None, :]
        before = pair.a_minus * y[:, :, None] * pre_t[:, None, :]
        eligibility = pair.keep * eligibility + (after - before)
        y = y + post_t
        change = change + m[:, None, None] * eligibility
    return change
