"""Fingerprints of nested tensors and plain values, to tell whether they are what was written."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

# Parts beyond which nobody's snapshot goes: lists that hold each other can be walked for ever.
_MOST = 1_000_000
_PLAIN = (bool, int, float, complex, str, bytes, torch.dtype, torch.device)


def fingerprint(content: Any, room: float = float("inf")) -> str:
    """A digest of ``content`` that depends on every bit of its tensors, its names and its values.

    Parameters
    ----------
    content
        Mappings, lists, tuples, tensors, numbers, texts, None.
    room
        Bytes that its tensors may take when each is written out in full.

    Raises
    ------
    ValueError
        If there is no room for it.
    TypeError
        If it holds anything else.
    """
    digest = hashlib.blake2b(digest_size=16)
    for part in _walk(content):
        if isinstance(part, Tensor):
            room -= part.numel() * part.element_size()
            if room < 0:
                raise ValueError("its tensors are larger than the file")
            digest.update(f"{part.dtype} {list(part.shape)};".encode())
            plain = part.detach().cpu().contiguous().flatten()
            digest.update(plain.view(torch.uint8).numpy().data)
        elif part is None or isinstance(part, _PLAIN):
            digest.update(f"{type(part).__name__} {part!r};".encode("utf-8", "surrogatepass"))
        else:
            raise TypeError(f"it holds a {type(part).__name__}")
    return digest.hexdigest()


def not_finite(parts: Mapping[str, Any]) -> list[str]:
    """Names of the ``parts`` that hold a tensor whose values are not all finite."""
    return [name for name, part in parts.items() if not all(map(_finite, _walk(part)))]


def _finite(part: Any) -> bool:
    if not isinstance(part, Tensor) or not (part.is_floating_point() or part.is_complex()):
        return True
    return bool(part.isfinite().all())


def _walk(content: Any, left: list[int] | None = None) -> Iterator[Any]:
    """All leaves, with what says where one list or mapping ends and the next begins."""
    left = [_MOST] if left is None else left
    left[0] -= 1
    if left[0] < 0:
        raise ValueError(f"it has more than {_MOST} parts")
    if isinstance(content, Mapping):
        yield f"{len(content)} names"
        for name, value in content.items():
            yield name if isinstance(name, str | int) else type(name).__name__
            yield from _walk(value, left)
    elif isinstance(content, list | tuple):
        yield f"{len(content)} values"
        for value in content:
            yield from _walk(value, left)
    else:
        yield content
