"""A data set in words, as it was read."""

from __future__ import annotations

import torch

from saltation.data.dataset import Dataset, Split
from saltation.data.trains import SpikeTrains


def in_words(data: Dataset) -> list[str]:
    """Lines on samples, values, what is alike over them, and classes."""
    shape = list(data.train.images.shape[1:])
    if data.dt is not None:
        steps, features = shape
        kind = (
            f"sequences [T, F] = {shape}: {steps} moments of {features} numbers, "
            f"{data.dt:g} apart, {steps * data.dt:g} in all"
        )
    elif data.duration is not None:
        kind = (
            f"spikes of {list(data.shape)} units over {data.duration:g} (ms in published sets), "
            f"{data.train.images.counts.mean():.0f} in a recording"
        )
    elif data.sample_shape != data.shape:
        kind = f"vectors [F] = {list(data.sample_shape)}"
    else:
        kind = f"images [C, H, W] = {shape}"
    return [
        f"{data.name}: {kind}",
        f"train {len(data.train)} samples, {_values(data.train)}",
        f"test  {len(data.test)} samples, {_values(data.test)}",
        _wanted(data),
    ]


def _wanted(data: Dataset) -> str:
    labels = data.train.labels
    if data.regression:
        form, labels = "[T, k]" if data.of_moments else "[k]", labels.flatten(0, -2)
        labels = labels[labels.isfinite().all(1)]
        low, high = (float(value) for value in labels.aminmax())
        return (
            f"targets {form} = {list(data.train.labels.shape[1:])} from {low:g} to {high:g}, "
            f"standard deviation {float(labels.std()):.3g}"
        )
    counts = torch.bincount(labels, minlength=data.classes)
    return (
        f"{data.classes} classes, {int(counts.min())} to {int(counts.max())} training samples each"
    )


def _values(split: Split) -> str:
    images = split.images
    if isinstance(images, SpikeTrains):
        return f"{images.counts.min()} to {images.counts.max()} spikes each"
    low, high = float(images.min()), float(images.max())
    what = f"{str(images.dtype).removeprefix('torch.')} from {low:g} to {high:g}"
    if split.lengths is not None:
        return f"{what}, {int(split.lengths.min())} to {int(split.lengths.max())} moments long"
    if images.ndim == 3:
        return what
    mean = float(images.float().mean()) / (255 if images.dtype == torch.uint8 else 1)
    inked = float((images > 0).float().mean())
    return f"{what}, mean rate {mean:.3g}, {100 * inked:.3g} % of the values above 0"
