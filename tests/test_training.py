"""The training loop on a problem small enough to know the answers."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

import saltation as st
from saltation.training import (
    OPTIMIZERS,
    Diverged,
    EpochRecord,
    Optimisation,
    Task,
    evaluate,
    fit,
)

CPU = torch.device("cpu")


class Batch(NamedTuple):
    images: Tensor
    labels: Tensor


def two_blobs(batches: int = 4, size: int = 32) -> list[Batch]:
    """Two linearly separable classes in four dimensions."""
    generator = torch.Generator().manual_seed(0)
    made = []
    for _ in range(batches):
        labels = torch.randint(2, (size,), generator=generator)
        centre = torch.where(labels.unsqueeze(1) == 1, 2.0, 0.2)
        made.append(Batch(centre + 0.1 * torch.rand(size, 4, generator=generator), labels))
    return made


def spiking_logits(network: nn.Module, batch: Batch, epoch: int, training: bool) -> Tensor:
    assert network.training == training
    logits: Tensor = network(st.direct(batch.images, 6))
    return logits


def run(optimisation: Optimisation, network: nn.Module | None = None, **options: Any):
    torch.manual_seed(0)
    network = network or st.spiking_mlp((4, 16, 2), readout="mean", dt=0.5)
    data = two_blobs()
    settings = {"train": lambda _: data, "test": lambda _: data, "logits": spiking_logits}
    return network, fit(network, optimisation, device=CPU, **settings | options)


def test_learns_and_repeats_to_the_bit() -> None:
    first = list(run(Optimisation(epochs=12, lr=0.05))[1])
    again = list(run(Optimisation(epochs=12, lr=0.05))[1])
    assert first[-1].test.accuracy == 100
    assert first[0].train.loss > 1.5 * first[-1].train.loss
    for a, b in zip(first, again, strict=True):
        assert (a.train, a.test, a.gradient_norm) == (b.train, b.test, b.gradient_norm)
    assert [r.epoch for r in first] == list(range(1, 13))


@pytest.mark.parametrize("batches", [4, 5])
def test_accumulated_gradients_are_those_of_a_larger_batch(batches: int) -> None:
    """Also of what is left at the end of an epoch."""
    small = two_blobs(batches, 16)
    pairs = [small[i : i + 2] for i in range(0, batches, 2)]
    large = [Batch(*(torch.cat(parts) for parts in zip(*pair, strict=True))) for pair in pairs]
    found = []
    for data, accumulate in ((small, 2), (large, 1)):
        how = Optimisation(epochs=3, lr=0.05, optimizer="sgd", accumulate=accumulate)
        network, records = run(how, train=lambda _, data=data: data)
        last = list(records)[-1]
        found.append((list(network.parameters()), last.gradient_norm, last.train.loss))
    torch.testing.assert_close(found[0], found[1], rtol=1e-5, atol=1e-6)


def test_targets_have_an_error_and_no_accuracy() -> None:
    """Its negative tells which epoch is the best."""
    records = list(
        run(
            Optimisation(epochs=6, lr=0.05),
            train=lambda _: [b._replace(labels=b.labels[:, None] + 0.5) for b in two_blobs()],
            test=lambda _: [b._replace(labels=b.labels[:, None] + 0.5) for b in two_blobs()],
            loss=lambda outputs, labels: (outputs[:, :1] - labels).square().mean(),
        )[1]
    )
    assert records[-1].test.loss < records[0].test.loss
    assert math.isnan(records[-1].test.accuracy)
    assert records[-1].test.merit == -records[-1].test.loss


def test_scores_are_means_over_samples_not_batches() -> None:
    network = st.spiking_mlp((4, 16, 2), readout="mean", dt=0.5)
    whole = two_blobs(1, 30)[0]
    uneven = [Batch(whole.images[:7], whole.labels[:7]), Batch(whole.images[7:], whole.labels[7:])]

    def logits(batch: Batch) -> Tensor:
        return network(st.direct(batch.images, 6))

    one, one_layers = evaluate(network, [whole], logits)
    two, two_layers = evaluate(network, uneven, logits)
    assert two.accuracy == pytest.approx(one.accuracy, abs=1e-9)
    assert two.loss == pytest.approx(one.loss, rel=1e-6)
    assert list(two_layers) == list(one_layers) == ["1"]
    assert two_layers["1"].sites == one_layers["1"].sites
    assert two_layers["1"].spikes == one_layers["1"].spikes


def test_cosine_schedule_ends_near_zero() -> None:
    rates = [r.lr for r in run(Optimisation(epochs=4, lr=0.1, schedule="cosine"))[1]]
    expected = [0.05 * (1 + math.cos(math.pi * k / 4)) for k in range(4)]
    assert rates == pytest.approx(expected)


def test_clipping_bounds_the_step() -> None:
    torch.manual_seed(0)
    network = st.spiking_mlp((4, 16, 2), readout="mean", dt=0.5)
    before = [p.detach().clone() for p in network.parameters()]
    data = two_blobs(1)
    settings = Optimisation(epochs=1, lr=1.0, optimizer="sgd", clip=1e-3)
    next(run(settings, network, train=lambda _: data)[1])
    moved = math.sqrt(
        sum(
            float((p - b).detach().square().sum())
            for p, b in zip(network.parameters(), before, strict=True)
        )
    )
    assert moved == pytest.approx(1e-3, rel=1e-3)


class Exploding(nn.Module):
    """Finite logits until the weight passes a mark, then what ``broken`` makes of them."""

    def __init__(self, broken: str, at: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(4, 2))
        self.calls, self.broken, self.at = 0, broken, at

    def forward(self, x_seq: Tensor) -> Tensor:
        out = x_seq.mean(0) @ self.weight
        if self.training:
            self.calls += 1
            if self.calls == self.at:
                # The square root of zero has an infinite gradient and a finite value.
                out = out * math.nan if self.broken == "loss" else out + (out * 0).sqrt()
        return out


@pytest.mark.parametrize("broken", ["loss", "gradient"])
def test_divergence_is_recorded_with_its_epoch_and_step(broken: str) -> None:
    _, records = run(Optimisation(epochs=5), Exploding(broken, at=7))
    seen: list[EpochRecord] = []
    with pytest.raises(Diverged, match=rf"the {broken} is not finite at epoch 2, step 3") as stop:
        seen.extend(drain(records, seen))
    assert (stop.value.epoch, stop.value.step) == (2, 3)
    assert [r.epoch for r in seen] == [1, 2]


def test_currents_that_are_not_finite_are_a_divergence() -> None:
    """Of neurons that fall silent by it the loss says nothing: NaN in the third batch of images."""
    data = two_blobs()
    data[2].images[3, 1] = math.nan
    seen: list[EpochRecord] = []
    _, records = run(Optimisation(epochs=2), train=lambda _: data)
    with pytest.raises(Diverged, match="a neuron's current is not finite at epoch 1, step 3"):
        seen.extend(drain(records, seen))
    assert math.isfinite(seen[0].train.loss)


def drain(records: Iterator[EpochRecord], into: list[EpochRecord]) -> list[EpochRecord]:
    for record in records:
        into.append(record)
    return []


def test_a_task_is_its_parts() -> None:
    """The same bits of both; not both of them, and nothing else."""
    data = two_blobs()
    task = Task(lambda _: data, lambda _: data, spiking_logits)
    how = Optimisation(epochs=2, lr=0.05)
    parts = list(run(how)[1])
    torch.manual_seed(0)
    network = st.spiking_mlp((4, 16, 2), readout="mean", dt=0.5)
    whole = list(fit(network, how, task, device=CPU))
    for a, b in zip(parts, whole, strict=True):
        assert (a.train, a.test, a.gradient_norm) == (b.train, b.test, b.gradient_norm)
    with pytest.raises(st.SaltationError, match="either a task or its parts, got a task and loss"):
        fit(network, how, task, device=CPU, loss=nn.functional.cross_entropy)
    with pytest.raises(TypeError, match="tset"):
        run(how, tset=lambda _: data)


def test_options_say_of_every_setting_what_it_is() -> None:
    """With the default that the training has, and the names that are allowed."""
    settings = Optimisation.settings()
    plain = Optimisation(epochs=1)
    assert all(one["help"].endswith(".") for one in settings.values())
    assert {n: s["default"] for n, s in settings.items() if n != "epochs"} == {
        name: getattr(plain, name) for name in settings if name != "epochs"
    }
    assert settings["optimizer"]["names"] == tuple(OPTIMIZERS)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
        ({"epochs": 1, "lr": 0.0}, "lr must be a finite number above 0"),
        ({"epochs": 1, "optimizer": "adm"}, "did you mean 'adam'"),
        ({"epochs": 1, "schedule": "step"}, "allowed: none, cosine"),
        ({"epochs": 1, "clip": -1.0}, "clip"),
        ({"epochs": 1, "weight_decay": -1.0}, "weight_decay"),
    ],
)
def test_settings_are_checked(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(st.SaltationError, match=message):
        Optimisation(**settings)


def test_terms_are_added_to_the_loss_but_not_to_its_record() -> None:
    seen: list[tuple[int, int]] = []

    def shrink(network: nn.Module, batch: Batch, epoch: int) -> Tensor:
        assert network.training
        seen.append((epoch, len(batch.labels)))
        return 100.0 * network[0].weight.square().sum()

    plain, records = run(Optimisation(epochs=2, lr=0.01))
    alone = list(records)
    network, records = run(Optimisation(epochs=2, lr=0.01), terms=[shrink])
    with_term = list(records)
    assert seen == [(1, 32)] * 4 + [(2, 32)] * 4
    assert network[0].weight.norm() < 0.8 * plain[0].weight.norm()
    assert with_term[0].gradient_norm > 2 * alone[0].gradient_norm
    # A cross-entropy of two classes; the term alone is far above it.
    assert with_term[0].train.loss < 2


def test_a_term_that_is_not_finite_ends_the_epoch_before_the_step() -> None:
    calls: list[int] = []

    def breaks(network: nn.Module, batch: Batch, epoch: int) -> Tensor:
        calls.append(1)
        return torch.tensor(math.inf if len(calls) == 6 else 0.0)

    network, records = run(Optimisation(epochs=5), terms=[breaks])
    seen: list[EpochRecord] = []
    with pytest.raises(Diverged, match="a term of the loss is not finite at epoch 2, step 2"):
        seen.extend(drain(records, seen))
    assert [r.epoch for r in seen] == [1, 2]
    assert all(p.isfinite().all() for p in network.parameters())
