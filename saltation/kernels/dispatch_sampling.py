"""Choice of the sampler that draws spikes."""

from __future__ import annotations

import torch
from torch import Tensor

from saltation.kernels import sampling
from saltation.kernels.events import SpikeTensor
from saltation.kernels.gpu import loop as gpu_loop
from saltation.kernels.sampling import Sites
from saltation.kernels.support import lacks


def active(x: Tensor) -> Sites:
    """`sampling.active`; on a GPU also of zeros, which never spike."""
    if _printed(x):
        from saltation.kernels.gpu import poisson as printed

        return printed.everywhere(x)
    if lacks(torch.float32, x):
        return sampling.active(x)
    from saltation.kernels.cpu.events import poisson  # imports numba

    return poisson.active(x)


def _printed(x: Tensor) -> bool:
    """Whether printed loops sample where ``x`` is."""
    is_plain = type(x) is Tensor and x.device.type == "cuda"
    return is_plain and not (torch.compiler.is_compiling() or gpu_loop.missing())


def bernoulli_trains(
    sites: Sites,
    threshold: Tensor,
    shape: tuple[int, int, int],
    index: Tensor,
    dtype: torch.dtype,
    *,
    seed: int,
    epoch: int,
    stream: int,
) -> Tensor:
    """`sampling.bernoulli_trains` as numbers 0 and 1 of ``dtype``; on a CPU a `SpikeTensor`."""
    draw = {"seed": seed, "epoch": epoch, "stream": stream}
    if _printed(index) and 0 not in shape:
        from saltation.kernels.gpu import poisson as printed

        return printed.bernoulli_trains(sites, threshold, shape, index, dtype, **draw)
    if dtype != torch.float32 or 0 in shape or lacks(torch.int64, index):
        return sampling.bernoulli_trains(sites, threshold, shape, index, **draw).to(dtype)
    from saltation.kernels.cpu.events import poisson  # imports numba

    return SpikeTensor(poisson.bernoulli_trains(sites, threshold, shape, index, **draw))
