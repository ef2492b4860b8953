"""The sampler of independent bins on a GPU: the bits of `sampling.bernoulli_trains`.

Its generator is printed from the definition that all backends share.
"""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor

from saltation.kernels.gpu.launch import executed, launched
from saltation.kernels.gpu.text import HEAD
from saltation.kernels.sampling import REST, REST_BLOCKS, TOP, Sites
from saltation.random import epoch_word, key, philox

_WORDS = 4  # of a call of the generator


class _Word:
    """An integer that is written down, not computed."""

    def __init__(self, name: str, lines: list[str]) -> None:
        self.name, self._lines = name, lines

    def _wrote(self, sign: str, other: Any) -> _Word:
        name = f"{self._lines[0]}{len(self._lines)}"
        right = other.name if isinstance(other, _Word) else other
        self._lines.append(f"{name} = {self.name} {sign} {right}")
        return _Word(name, self._lines)

    def __mul__(self, other: Any) -> _Word:
        return self._wrote("*", other)

    def __add__(self, other: Any) -> _Word:
        return self._wrote("+", other)

    def __xor__(self, other: Any) -> _Word:
        return self._wrote("^", other)

    def __and__(self, other: Any) -> _Word:
        return self._wrote("&", other)

    def __rshift__(self, other: Any) -> _Word:
        return self._wrote(">>", other)


def _generator(prefix: str, block: str) -> tuple[list[str], list[str]]:
    """Lines of a call of the generator, and the names of its four words."""
    lines = [prefix]
    counter = (_Word(name, lines) for name in (block, "site", "sample", "epoch"))
    found = philox(*counter, *(_Word(name, lines) for name in ("key0", "key1")))
    return lines[1:], [word.name for word in found]


def module() -> str:
    """Text of a module with the function ``trains``."""
    top, tops = _generator("top", "(wide + block)")
    lines = [f"first = block * {TOP}", *top]
    for group in range(TOP // REST):
        place = f"(wide + {REST_BLOCKS} + block * {TOP // REST} + {group})"
        rest, rests = _generator(f"rest{group}_", place)
        lines += rest
        for j in range(REST):
            step = group * REST + j
            byte = f"({tops[step // _WORDS]} >> {step % _WORDS * 8} & 255)"
            lines += [
                f"drawn = {byte} << 24 | {rests[j]} >> 8",
                f"on = place < tl.where(first + {step} < steps, count, 0)",
                "tl.store(to, tl.where(drawn < threshold, 1.0, 0.0), mask=on)",
                "to += wide + size",
            ]
    body = [
        "place = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)",
        "alive = place < count",
        *(
            f"{name} = tl.load({name}s + place, mask=alive, other=0)"
            for name in ("site", "sample", "batch", "threshold")
        ),
        "wide = tl.full((BLOCK,), 0, tl.int64)",
        "key0, key1, epoch = wide + seed0, wide + seed1, wide + epoch_word",
        "to = out + batch * features + site",
        "for block in range(blocks):",
        *(f"    {line}" for line in lines),
    ]
    arguments = (
        "sites, samples, batchs, thresholds, out, count, size, features, steps, blocks, "
        "seed0, seed1, epoch_word, BLOCK: tl.constexpr"
    )
    text = "".join(f"    {line}\n" for line in body)
    return f"{HEAD}\n\ndef trains({arguments}):\n{text}"


@functools.cache
def _trains() -> Any:
    import triton

    changing = ["count", "steps", "blocks", "seed0", "seed1", "epoch_word"]
    return triton.jit(executed(module(), "trains")["trains"], do_not_specialize=changing)


def everywhere(x: Tensor) -> Sites:
    """Every place of the tensor ``x`` [B, F], also where it is 0: finding those that are not would
    wait for the device, and where a rate is 0 no draw is below it."""
    size, features = x.shape
    offsets = torch.arange(size + 1, device=x.device) * features
    sites = torch.arange(features, dtype=torch.int32, device=x.device).repeat(size)
    return Sites(offsets, sites, x.reshape(-1).double())


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
    """`sampling.bernoulli_trains` as numbers 0 and 1 of ``dtype``, of the sites of `everywhere`."""
    steps, size, features = shape
    batch = torch.arange(size, device=index.device).repeat_interleave(features)
    out = torch.zeros(steps, size * features, dtype=dtype, device=index.device)
    launched(
        _trains(),
        len(batch),
        *(sites.sites.long(), index[batch], batch, threshold, out),
        *(len(batch), size * features, features, steps, -(-steps // TOP)),
        *(*key(seed), epoch_word(epoch, stream)),
    )
    return out.view(shape)
