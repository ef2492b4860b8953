"""Spikes as events: where they are, instead of a tensor of zeros and ones."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils._pytree import tree_map


class Events(NamedTuple):
    """Spikes of T steps, B samples and F sites, sample by sample: step by step and site by site.

    Attributes
    ----------
    shape
        ``(T, B, F)``.
    offsets, sites
        int64 ``[B + 1]`` and int32 ``[N]``: the sites of sample b that may have spiked are
        ``sites[offsets[b]:offsets[b + 1]]``, ascending.
    rows
        int64 ``[B, T + 1]``: the spikes of sample b at step t lie at ``rows[b, t]`` up to
        ``rows[b, t + 1]`` in ``places``. Between two samples there may be unused room.
    places
        int32, one flat array: which of the sample's sites spiked, ascending within a row.
    bits
        uint64 ``[T / 64, N]``: bit t % 64 of word t // 64 is 1 where the site spiked at step t.
        Empty where nobody will ask for them.
    loan
        Held for as long as the arrays are used, where they are only lent.
    """

    shape: tuple[int, int, int]
    offsets: NDArray[np.int64]
    sites: NDArray[np.int32]
    rows: NDArray[np.int64]
    places: NDArray[np.int32]
    bits: NDArray[np.uint64]
    loan: Any = None

    @property
    def has_bits(self) -> bool:
        """Whether they were asked for; nothing else is missing where there are no sites."""
        return bool(self.bits.shape[-1] == len(self.sites))

    @property
    def total(self) -> int:
        """Number of spikes."""
        return int((self.rows[:, -1] - self.rows[:, 0]).sum())

    @property
    def density(self) -> float:
        """Spikes per step, sample and site."""
        return self.total / max(1, self.shape[0] * self.shape[1] * self.shape[2])

    def counts(self) -> Tensor:
        """float32 ``[B, F]``: the spikes of each sample and site."""
        _, batch, sites = self.shape
        counts = np.zeros((batch, sites), np.float32)
        for b, rows in enumerate(self.rows):
            here = self.sites[self.offsets[b] : self.offsets[b + 1]]
            found = np.bincount(self.places[rows[0] : rows[-1]], minlength=len(here))
            counts[b, here] = found
        with torch.inference_mode(False):
            return torch.from_numpy(counts)

    def dense(self) -> Tensor:
        """float32 ``[T, B, F]``, 1 where a spike is."""
        steps, batch, sites = self.shape
        spikes = np.zeros((steps, batch, sites), np.float32)
        for b, rows in enumerate(self.rows):
            step = np.repeat(np.arange(steps), np.diff(rows))
            local = self.places[rows[0] : rows[-1]]
            spikes[step, b, self.sites[self.offsets[b] + local]] = 1
        # Plain, also where it is first needed within a transform or in inference mode.
        with torch.inference_mode(False):
            return torch.from_numpy(spikes)


@functools.lru_cache(maxsize=8)
def every_site(batch: int, width: int) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Offsets and sites of events that may be anywhere. Not to be written to."""
    return np.arange(batch + 1) * width, np.tile(np.arange(width, dtype=np.int32), batch)


class SpikeTensor(Tensor):
    """A float32 tensor ``[T, B, F]`` of zeros and ones that is kept as its events.

    Layers that can use the events do, and a sum over time counts them; every other operation sees
    the ordinary dense tensor, which is made once, when it is first needed, and is what any such
    operation reads or changes.

    From the first operation on that changes the dense tensor, or hands out memory of it (a view, a
    numpy array, a pointer), it alone counts: whoever holds its memory can write to it unseen.
    """

    _events: Events
    _dense: Tensor | None
    _out: bool

    @staticmethod
    def __new__(cls, events: Events) -> SpikeTensor:
        self: SpikeTensor = Tensor._make_wrapper_subclass(cls, events.shape, dtype=torch.float32)
        self._events = events
        self._dense, self._out = None, False
        return self

    def __init__(self, events: Events) -> None: ...

    @classmethod
    def __torch_function__(
        cls,
        function: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if function in OF_THE_SHAPE and args[0]._dense is None:
            return super().__torch_function__(function, types, args, kwargs)  # type: ignore[no-untyped-call]
        if function in _SUMS and (args[1:], kwargs or {}) in _OVER_TIME:
            events = events_of(args[0])
            if events is not None:
                return events.counts()
        if function in ROUTES and args and type(args[0]) is cls:
            out = ROUTES[function](*args, **(kwargs or {}))
            if out is not None:
                return out
        return _on_dense(function, args, kwargs or {})

    # What reaches the tensor below Python's functions, from C++, sees the dense tensor as well.
    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls,
        function: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        return _on_dense(function, args, kwargs or {})


def _on_dense(function: Callable[..., Any], args: Any, kwargs: dict[str, Any]) -> Any:
    """``function`` on the dense tensors; takes note of those whose memory it hands out."""
    used: list[SpikeTensor] = []

    def densely(value: Any) -> Any:
        if not isinstance(value, SpikeTensor):
            return value
        used.append(value)
        return dense_of(value)

    # Noted also where it fails: it may have written by then.
    result: Any = None
    try:
        result = function(*tree_map(densely, args), **tree_map(densely, kwargs))
    finally:
        schema = getattr(function, "_schema", None)
        writes = function is Tensor.data_ptr or (schema is not None and schema.is_mutable)
        for spikes in used:
            made = spikes.__dict__["_dense"]
            if made is not None and (writes or _reaches(result, made)):
                spikes.__dict__["_out"] = True
    return result


def _reaches(result: Any, dense: Tensor) -> bool:
    """Whether memory of ``dense`` may be reached through ``result``; where there is none, something
    has been done to it."""
    if isinstance(result, Tensor):
        if result.layout != torch.strided or type(result) not in (Tensor, torch.nn.Parameter):
            return True
        mine, its = dense.untyped_storage(), result.untyped_storage()
        return its.data_ptr() == mine.data_ptr()
    if isinstance(result, tuple | list):
        return any(isinstance(part, list) or _reaches(part, dense) for part in result)
    return not isinstance(result, _NUMBERS)


_NUMBERS = (bool, int, float, complex, str, torch.dtype, torch.device, torch.layout)


def dense_of(spikes: SpikeTensor) -> Tensor:
    """The dense tensor, always the same one; but within a torch.func transform one of its own.

    Not to be written to, nor handed on to who might.
    """
    made: Tensor | None = spikes.__dict__["_dense"]
    if made is None:
        made = spikes.__dict__["_events"].dense()
        if not torch._C._are_functorch_transforms_active():
            spikes.__dict__.update(_dense=made, _made=(made._version, made.data_ptr(), made.shape))
    return made


def events_of(x: Tensor) -> Events | None:
    """The events of a `SpikeTensor` that nobody can have changed and that wants no gradient."""
    if type(x) is not SpikeTensor:
        return None
    made = x.__dict__["_dense"]
    if made is not None:
        now = made._version, made.data_ptr(), made.shape
        if x.__dict__["_out"] or made.requires_grad or now != x.__dict__["_made"]:
            return None
    events: Events = x.__dict__["_events"]
    return events


def settled(x: Tensor) -> Tensor:
    """``x``, or the dense tensor in the place of a `SpikeTensor` whose events no longer count."""
    return dense_of(x) if type(x) is SpikeTensor and events_of(x) is None else x


# Operations that can use events; what is registered here returns None where it cannot.
ROUTES: dict[Callable[..., Any], Callable[..., Tensor | None]] = {}

_SUMS = {Tensor.sum, torch.sum}
_OVER_TIME: tuple[Any, ...] = (((0,), {}), ((), {"dim": 0}), ((), {"axis": 0}))

# What a tensor without data can answer.
OF_THE_SHAPE = {
    Tensor.shape.__get__,  # type: ignore[attr-defined]
    Tensor.dtype.__get__,  # type: ignore[attr-defined]
    Tensor.device.__get__,
    Tensor.ndim.__get__,  # type: ignore[attr-defined]
    Tensor.requires_grad.__get__,  # type: ignore[attr-defined]
    Tensor.dim,
    Tensor.size,
    Tensor.numel,
    Tensor.is_floating_point,
    Tensor.__len__,
}
