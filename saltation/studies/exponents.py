"""Lyapunov exponents and diagnoses of networks that a study trained."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from saltation.data import batches, load
from saltation.encoding import direct
from saltation.errors import ConfigError, DataError
from saltation.stability import Diagnosis, Lyapunov, diagnose, lyapunov
from saltation.studies.engine.study import Study
from saltation.studies.given import PLAIN, Builder
from saltation.studies.networks import label_of, trained


def exponents_of(
    study: Study[Any], samples: int, k: int, seed: int, device: torch.device
) -> pd.DataFrame:
    """λ of the last network of every trial, on test samples.

    Parameters
    ----------
    study
        As `studies.folder.study_of` gives it.
    samples
        Test samples, from the first.
    k
        Exponents, from the largest.
    seed
        Of the first perturbations.
    device
        Where the networks run.

    Returns
    -------
    DataFrame with a row for every trial that has a checkpoint: its id, the trial in words, epoch,
    test accuracy in percent, test loss, and λ with its standard error over samples: ``tangent`` and
    ``± tangent``, lists of k, with the surrogate's derivative; ``finite`` and ``± finite`` between
    two trajectories. Its ``attrs["left_out"]`` has a line for every trial whose row or checkpoint
    cannot be used.

    Raises
    ------
    DataError
        If no trial has a checkpoint that can be used.
    """
    data = study.data(device)
    rows = []
    left_out: list[str] = []
    for one in trained(study, data, left_out=left_out):
        network = one.network.to(device)
        x, _, _ = study.probe(one.settings, data, _count(samples), device)
        with torch.no_grad():
            tangent = lyapunov(network, x, k=k, seed=seed)
            later = int(len(x) > 1)
            finite = lyapunov(network, x, estimator="finite", transient=later, seed=seed)
        (epoch,) = [e for e in one.record["epochs"] if e["epoch"] == one.epoch] or [{}]
        rows.append(
            {
                "id": one.record["id"],
                "trial": label_of(study, one.record),
                "epoch": one.epoch,
                **{
                    name: math.nan if epoch.get(name) is None else epoch[name]
                    for name in ("test_accuracy", "test_loss")
                },
                "tangent": tangent.spectrum.tolist(),
                "± tangent": tangent.standard_error.tolist(),
                "finite": float(finite.exponent),
                "± finite": float(finite.standard_error[0]),
            }
        )
    if not rows:
        why = f": {left_out[0]}" if left_out else ""
        raise DataError(f"no trial of the study in {study.folder} has a checkpoint{why}")
    table = pd.DataFrame(rows)
    table.attrs["left_out"] = left_out
    return table


def exponents_of_network(
    source: str,
    dataset: str,
    data_dir: Path | None,
    *,
    steps: int | None,
    samples: int,
    k: int,
    seed: int,
) -> Lyapunov:
    """λ of the network that a user's function builds, as it is returned, on test samples.

    Parameters
    ----------
    source
        ``FILE.py:FUNCTION``; see `given.Builder`.
    dataset, data_dir
        As for `saltation.data.load`.
    steps
        Steps that an image is shown for, 10 if None; sequences have their own.
    samples, k, seed
        As for `exponents_of`.

    Raises
    ------
    SaltationError
        If there is no such function or data set, or the network does not fit.
    """
    builder = Builder.of(source)
    data = load(dataset, data_dir, limit_train=1, limit_test=_count(samples))
    if data.dt is not None and steps is not None:
        raise ConfigError(f"{data.name} holds sequences, whose steps are their own: give no steps")
    if data.duration is not None or data.test.lengths is not None:
        what = "spikes" if data.duration is not None else "sequences of different lengths"
        raise ConfigError(f"{data.name} holds {what}, which λ is not measured on here")
    images = data.test.images
    batch = next(batches(data.test, len(images)))
    x = direct(batch.images, steps or 10) if data.dt is None else batch.images.transpose(0, 1)
    torch.manual_seed(seed)
    network = builder.build(
        **PLAIN, shape=data.sample_shape, classes=data.classes, steps=len(x), depth=4
    )
    x = x.reshape(*x.shape[:2], *data.sample_shape)
    builder.check(network, x, data.classes, of_steps=data.of_moments)
    return lyapunov(network, x, k=k, seed=seed)


def diagnose_checkpoint(
    study: Study[Any],
    checkpoint: Path,
    out_dir: Path,
    samples: int,
    k: int,
    seed: int,
    device: torch.device,
) -> tuple[Diagnosis, list[Path]]:
    """The diagnosis of one trained network, and its figures, drawn into ``out_dir``.

    Raises
    ------
    DataError
        If the checkpoint cannot be read or belongs to no trial of the study.
    """
    data = study.data(device)
    (one,) = trained(study, data, checkpoint)
    network = one.network.to(device)
    x, y, loss = study.probe(one.settings, data, _count(samples), device)
    found = diagnose(network, x, y, loss=loss, seed=seed)
    with torch.no_grad():
        exponents = lyapunov(network, x, k=k, seed=seed)
    name = f"{one.record['id']}-{checkpoint.stem}"
    return found, [
        found.plot(out_dir / f"diagnosis-{name}.png"),
        exponents.plot(out_dir / f"lyapunov-{name}.png"),
    ]


def _count(samples: int) -> int:
    if samples < 1:
        raise ConfigError(f"samples must be at least 1, got {samples}")
    return samples
