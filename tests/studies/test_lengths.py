"""Samples that end early, targets of samples and data from memory, in studies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import TensorDataset

from saltation.data import as_file, batches
from saltation.data.sets.bursts import BurstSequences
from saltation.errors import ConfigError
from saltation.random import TEST
from saltation.studies import DepthStudy, IntegratorsStudy, RemediesStudy, RSTDPStudy
from saltation.studies.exponents import exponents_of_network
from saltation.studies.integrators.trial import answered

MASKED = """
import saltation as st


def build(shape, classes, neuron, scheme, dt):
    return st.Sequential(
        st.SpikeLinear(shape[0], 16),
        neuron.layer(dt=dt, scheme=scheme),
        st.SpikeLinear(16, classes),
        st.Readout("mean"),
    )


def plain(shape, classes, neuron, scheme, dt):
    return torch.nn.Sequential(*build(shape, classes, neuron, scheme, dt))
"""


def even(junk: float, **changes: Any) -> str:
    """Sequences of 4 to 9 moments whose first channel tells the class, with junk behind them."""
    random = np.random.default_rng(0)
    arrays: dict[str, Any] = {"dt": 1.0}
    for part, count in (("train", 48), ("test", 16)):
        y = np.arange(count) % 2
        lengths = random.integers(4, 10, count)
        x = random.random((count, 9, 3)) + 4 * y[:, None, None] * [1, 0, 0]
        x[np.arange(9) >= lengths[:, None]] = junk
        arrays |= {f"x_{part}": x, f"y_{part}": y, f"lengths_{part}": lengths}
    path = Path(f"lengths{junk:g}.npz").absolute()
    np.savez(path, **arrays | changes)
    return str(path)


def test_what_stands_behind_a_sample_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights, losses and accuracies are the same whatever the padding is, at any dt."""
    monkeypatch.chdir(tmp_path)
    Path("masked.py").write_text("import torch\n" + MASKED)
    settings: dict[str, Any] = {
        **{"neurons": ["lif"], "schemes": ["exponential"], "dt": [1.0, 0.6], "lr": 0.02},
        **{"epochs": 3, "batch_size": 16, "device": "cpu", "progress": False, "readout": "mean"},
    }
    columns = ["dt", "train_loss", "test_loss", "test_accuracy"]
    found = [
        IntegratorsStudy(dataset=even(junk), hidden=[16], out_dir=f"out{junk}", **settings).run()
        for junk in (0.0, 50.0)
    ]
    assert found[0][columns].equals(found[1][columns])
    assert (found[0]["test_accuracy"] > 80).all()
    del settings["readout"]
    IntegratorsStudy(dataset=even(0.0), network="masked.py:build", out_dir="own", **settings).run()
    with pytest.raises(ConfigError, match="so the network must take a mask"):
        IntegratorsStudy(dataset=even(0.0), network="masked.py:plain", **settings).run()
    with pytest.raises(ConfigError, match="sequences of different lengths, which λ is not"):
        exponents_of_network(
            "masked.py:build", even(0.0), data_dir=None, steps=None, samples=2, k=1, seed=0
        )


@pytest.mark.parametrize("of_moments", [False, True])
def test_targets_of_samples_and_of_moments_that_end_early(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, of_moments: bool
) -> None:
    """Neither junk in the samples nor in the targets behind the end has a part in the error."""
    monkeypatch.chdir(tmp_path)
    found = []
    for junk in (0.0, 50.0):
        random = np.random.default_rng(1)
        y = {}
        for part, count in (("train", 48), ("test", 16)):
            one = random.random((count, 9, 2)) if of_moments else random.random((count, 2))
            lengths = np.load(even(junk))[f"lengths_{part}"]
            if of_moments:
                one[np.arange(9) >= lengths[:, None]] = junk
            y[f"y_{part}"] = one
        study = IntegratorsStudy(
            dataset=even(junk, **y),
            **{"neurons": ["lif"], "schemes": ["exponential"], "dt": [1.0, 0.6], "hidden": [8]},
            **{"epochs": 2, "batch_size": 16, "progress": False, "out_dir": f"out{junk}"},
        )
        found.append(study.run())
    columns = ["dt", "train_loss", "test_loss"]
    assert found[0]["status"].tolist() == ["finished"] * 2
    assert found[0][columns].equals(found[1][columns])
    assert found[0]["test_accuracy"].isna().all()
    assert found[0]["readout"].tolist() == ["integrator" if of_moments else "max"] * 2


def test_data_from_memory_and_spikes_of_their_own_length(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A generated set of another size is given as it is; every sample is answered as if it were
    alone, until its last event."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    bursts = BurstSequences(classes=2, steps=40).dataset(32, 8)
    settings: dict[str, Any] = {
        **{"neurons": ["lif"], "schemes": ["exponential"], "dt": [2.0], "hidden": [8]},
        **{"epochs": 1, "batch_size": 16, "progress": False, "input": ["held"]},
    }
    study = IntegratorsStudy(
        dataset=bursts, own_lengths=True, readout="last", out_dir="own", **settings
    )
    assert study.config.dataset == as_file(bursts)
    assert study.run()["own_lengths"].tolist() == [True]
    (trial,), data = study.trials(), study.data(torch.device("cpu"))
    network = study.network(trial, data)
    with torch.no_grad():
        for weights in network.parameters():
            weights *= 10
        batch = next(batches(data.test, 8))
        found = answered(network, trial, batch, 1, TEST)
        lengths = batch.images.lengths(20, 2.0)  # type: ignore[attr-defined]
        assert lengths.min() < lengths.max()
        spikes = torch.as_tensor(batch.images.at(20, 2.0))  # type: ignore[attr-defined]
        for n, length in enumerate(lengths):
            alone = network(spikes[:length, n : n + 1].contiguous())
            torch.testing.assert_close(found[n : n + 1], alone)
        assert found.abs().min() > 0
    x, y = torch.rand(40, 6), torch.arange(40) % 2
    study = IntegratorsStudy(dataset=((x, y), TensorDataset(x, y)), **settings)
    assert study.config.steps_at(2.0) == 2
    with pytest.raises(ConfigError, match="own_lengths is of recorded spikes"):
        IntegratorsStudy(dataset="digits", own_lengths=True)
    with pytest.raises(ConfigError, match="data from Python are"):
        IntegratorsStudy(dataset=[x, y, y])


@pytest.mark.parametrize("study", [DepthStudy, RemediesStudy, RSTDPStudy])
def test_targets_of_images_are_no_labels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, study: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    x, y = np.zeros((6, 1, 8, 8)), np.ones((6, 1))
    np.savez("numbers.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    with pytest.raises(ConfigError, match="targets in place of labels"):
        study(dataset="numbers.npz")


@pytest.mark.parametrize("of_moments", [False, True])
def test_rates_and_energies_do_not_see_the_padding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, of_moments: bool
) -> None:
    """The same samples padded to 9 and to 30 steps spike and cost the same."""
    monkeypatch.chdir(tmp_path)
    arrays = dict(np.load(even(0.0)))
    found = []
    for steps in (9, 30):
        longer = arrays.copy()
        for part in ("train", "test"):
            x = arrays[f"x_{part}"]
            longer[f"x_{part}"] = np.pad(x, ((0, 0), (0, steps - 9), (0, 0)))
            if of_moments:
                longer[f"y_{part}"] = longer[f"x_{part}"][:, :, :1]
        np.savez("padded.npz", **longer)
        study = IntegratorsStudy(
            dataset=str(tmp_path / "padded.npz"),
            **{"neurons": ["lif"], "schemes": ["exponential"], "dt": [0.5], "hidden": [16]},
            **{"epochs": 1, "batch_size": 16, "progress": False, "out_dir": f"to{steps}"},
        )
        found.append(study.run().iloc[0])
    for column in ("mean_spike_rate", "synops", "energy_nj"):
        assert found[0][column] > 0
        assert found[1][column] == pytest.approx(found[0][column], rel=1e-9), column
