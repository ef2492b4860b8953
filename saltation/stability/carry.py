"""The loop that carries tangents through a recurrent layer, with a backward pass of its own.

One step takes the tangents of spikes and states, ``z``, to

    z' = sum over j of factors[:, j] u[j],     u = (V z[0], z[1], ...),

and every few steps they are made orthonormal, ``z' = Q R``. Written as single operations of torch
this is some twenty nodes of a graph per step, each with its cost whatever it computes; here the
backward pass is one loop, and what does not depend on the order of the steps is done for all of
them together.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from saltation.stability.frames import full_rank


def carried(factor: Tensor, weight: Tensor, z: Tensor) -> Tensor:
    """Tangents ``z`` [B, k, n, F] after one step with the factors ``[B, n, n, F]``."""
    u = torch.cat([z[:, :, :1] @ weight.T, z[:, :, 1:]], 2)
    return (factor[:, None] * u[:, :, None]).sum(3)


class Carry(torch.autograd.Function):
    """``(factors [T, B, n, n, F], weight [F, F], first [B, k, n, F], every) -> log |R_ii|``.

    ``log``, ``[S, k, B]``, is of the S stretches of ``every`` steps, the last of which may be
    shorter. The second result is False if a frame had vectors that depend on each other: there is
    then no derivative, and `frames.Orthonormal` knows what to do.

    Of the decomposition ``V = Q R``: with ``M = R dR^T - dQ^T Q`` and copyltu(M) its lower triangle
    reflected at the diagonal, ``dV = (dQ + Q copyltu(M)) R^-T`` (Walter, Lehmann & Lamour, "On
    evaluating higher-order derivatives of the QR decomposition of tall matrices with full column
    rank in forward and reverse mode algorithmic differentiation", 2012). Here ``R dR^T`` has in its
    lower triangle the derivative with respect to ``log |R_ii|`` alone, in the diagonal.
    """

    @staticmethod
    def forward(
        ctx: Any, factors: Tensor, weight: Tensor, first: Tensor, every: int
    ) -> tuple[Tensor, bool]:
        steps, samples, n, _, features = factors.shape
        carry = factors.new_empty(steps, samples, first.shape[1], n, features)  # u
        spikes = torch.empty_like(carry[:, :, :, 0])  # z[0] before every step
        columns, rows = factors[:, :, None].unbind(0), weight.T
        z, frames = first, []
        for t in range(steps):
            u = carry[t]
            spikes[t] = z[:, :, 0]
            u[:, :, 1:] = z[:, :, 1:]
            u[:, :, 0] = spikes[t] @ rows
            z = (columns[t] * u[:, :, None]).sum(3)
            if (t + 1) % every == 0 or t + 1 == steps:
                frames.append(torch.linalg.qr(z.flatten(2).mT))
                z = frames[-1][0].mT.view(z.shape)
        r = torch.stack([r for _, r in frames])
        ctx.every, ctx.frames = every, frames
        ctx.save_for_backward(factors, weight, spikes, carry)
        return r.diagonal(dim1=2, dim2=3).abs().log().mT, full_rank(r.flatten(0, 1))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, _: Any) -> tuple[Tensor, Tensor, None, None]:
        factors, weight, spikes, carry = ctx.saved_tensors
        steps, rows = len(factors), factors[:, :, None].unbind(0)
        diagonals = torch.diag_embed(grad.mT)
        # Gradients with respect to z' of every step, and to u[0].
        after, feedback = torch.empty_like(carry), torch.empty_like(spikes)
        dz = torch.zeros_like(carry[0])
        for t in range(steps - 1, -1, -1):
            if (t + 1) % ctx.every == 0 or t + 1 == steps:
                stretch = t // ctx.every
                q, r = ctx.frames[stretch]
                dz = _before_decomposition(dz, q, r, diagonals[stretch])
            after[t] = dz
            du = (rows[t] * dz[:, :, :, None]).sum(2)
            feedback[t] = du[:, :, 0]
            du[:, :, 0] = feedback[t] @ weight
            dz = du
        d_factors = torch.einsum("tbkif,tbkjf->tbijf", after, carry)
        d_weight = feedback.flatten(0, 2).T @ spikes.flatten(0, 2)
        return d_factors, d_weight, None, None


def _before_decomposition(dz: Tensor, q: Tensor, r: Tensor, diagonal: Tensor) -> Tensor:
    """The gradient with respect to V, from that with respect to Q, as tangents, and to log R_ii."""
    dq = dz.flatten(2)
    lower = torch.baddbmm(diagonal, dq, q, alpha=-1).tril_()
    whole = torch.baddbmm(dq.mT, q, lower + lower.tril(-1).mT)
    dv: Tensor = torch.linalg.solve_triangular(r.mT, whole, upper=False, left=False)
    return dv.mT.reshape(dz.shape)
