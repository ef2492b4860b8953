"""What a network computes beside its weights, kept with them in state dicts.

The same weights at another dt, scheme or threshold are another network. So each module whose result
depends on more than its weights writes these numbers into its state dict, and compares them when
weights are loaded.
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from saltation.errors import OtherNumericsError, UnknownNumericsWarning

_ALLOWED: ContextVar[bool] = ContextVar("other numerics allowed", default=False)


@contextmanager
def allow_other_numerics() -> Iterator[None]:
    """Within the block, weights may be loaded into a network that computes something else.

    The network keeps its own dt, scheme and all other numerics; only weights are loaded.

    Examples
    --------
    >>> with st.allow_other_numerics():
    ...     finer.load_state_dict(coarse.state_dict())
    """
    token = _ALLOWED.set(True)
    try:
        yield
    finally:
        _ALLOWED.reset(token)


class WithNumerics(nn.Module):
    """Base of the modules whose result depends on more than their weights.

    Their state dict has an entry ``_extra_state``: the numerics as JSON, the text as a tensor of
    bytes, so that whatever clones, moves or stores a state dict's tensors goes on working.
    """

    # What state dicts of earlier versions do not have, and what it was then.
    added: ClassVar[dict[str, Any]] = {}

    def numerics(self) -> dict[str, Any]:
        """By name: plain values that decide what the module makes of its input."""
        raise NotImplementedError(f"{type(self).__name__} does not say what it computes by")

    def get_extra_state(self) -> Tensor:
        text = json.dumps(self.numerics(), default=str)
        # On the CPU, also where torch is told to make tensors elsewhere.
        return torch.tensor(list(text.encode()), dtype=torch.uint8, device="cpu")

    def set_extra_state(self, state: Any) -> None:
        """Nothing, for weights do not change what a network computes by."""

    def _load_from_state_dict(
        self,
        state_dict: dict[str, Any],
        prefix: str,
        local_metadata: Any,
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        """As torch's, once the numerics have been compared.

        Raises
        ------
        OtherNumericsError
            If the weights are of other numerics, unless within `allow_other_numerics`; also where
            loading is not strict, which is about names.

        Warns
        -----
        UnknownNumericsWarning
            If the state dict does not say what they were.
        """
        key = f"{prefix}_extra_state"
        if not _ALLOWED.get():
            if key in state_dict:
                self._compare(prefix.rstrip(".") or type(self).__name__, state_dict[key])
            else:
                warnings.warn(
                    "the state dict does not say by which dt, scheme and other numerics its "
                    "weights were made, so they are taken for those of the network",
                    UnknownNumericsWarning,
                    stacklevel=2,
                )
        super()._load_from_state_dict(
            state_dict,
            prefix,
            local_metadata,
            strict,
            missing_keys,
            unexpected_keys,
            error_msgs,
        )
        if key in missing_keys:
            missing_keys.remove(key)

    def _compare(self, name: str, saved: Any) -> None:
        if isinstance(saved, Tensor) and saved.is_meta:  # nor are there weights
            return
        theirs, ours = _read(name, saved), json.loads(json.dumps(self.numerics(), default=str))
        theirs = {**{k: v for k, v in self.added.items() if k in ours}, **theirs}
        other = [k for k, value in theirs.items() if k not in ours or not _same(ours[k], value)]
        if "neuron" in other:  # another model has other parameters
            other = ["neuron"]
        if other:
            given = ", ".join(f"{k}={theirs[k]!r}" for k in other)
            own = ", ".join(f"{k}={ours[k]!r}" if k in ours else f"no {k}" for k in other)
            raise OtherNumericsError(
                f"the weights for '{name}' are of a network with {given}, this one has {own}; to "
                "load them all the same: with saltation.allow_other_numerics()"
            )


def _same(ours: Any, theirs: Any) -> bool:
    """Whether two values are equal, numbers up to the rounding of float32."""
    if isinstance(ours, float) and isinstance(theirs, float):
        return math.isclose(ours, theirs, rel_tol=1e-7)
    return bool(ours == theirs)


def _read(name: str, saved: Any) -> dict[str, Any]:
    try:
        # Whatever converted all tensors of a state dict has left the bytes as numbers.
        found = json.loads(bytes(torch.as_tensor(saved).round().int().tolist()))
    except (TypeError, ValueError, RuntimeError):
        found = None
    if not isinstance(found, dict):
        raise OtherNumericsError(
            f"the numerics of '{name}' in the state dict cannot be read (have its tensors been "
            "averaged or changed?); to load it all the same: with saltation.allow_other_numerics()"
        )
    return found
