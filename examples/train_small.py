"""Train a small SEW-ResNet or Spikformer on a CPU.

python examples/train_small.py sew --dataset digits
python examples/train_small.py spikformer --dataset mnist --data-dir DIR --limit-train 10000
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator

import torch
from torch import nn

import saltation as st
from saltation.data import Dataset, batches, load
from saltation.training import EpochRecord, Optimisation, fit


def sew(data: Dataset) -> nn.Module:
    """Two stages of one basic block; larger images go through the stem of ImageNet and three."""
    if data.side < 16:
        return st.sew_resnet("basic", (1, 1), data.channels, data.classes, width=12)
    return st.sew_resnet("basic", (1, 1, 1), data.channels, data.classes, width=16, stem="imagenet")


def spikformer(data: Dataset) -> nn.Module:
    """One block of 64 channels and 4 heads on patches of 4, T = 2, thresholds of 1/2."""
    return st.spikformer(
        data.channels,
        data.classes,
        data.side,
        depth=1,
        width=64,
        heads=4,
        mlp_ratio=2,
        steps=2,
        v_threshold=0.5,
    )


NETWORKS: dict[str, Callable[[Dataset], nn.Module]] = {"sew": sew, "spikformer": spikformer}


def train(
    name: str, data: Dataset, epochs: int, batch_size: int = 32, seed: int = 0
) -> Iterator[EpochRecord]:
    """AdamW with rate 0.01 and cosine annealing; a record after each epoch."""
    torch.manual_seed(seed)
    return fit(
        NETWORKS[name](data),
        Optimisation(epochs, lr=1e-2, optimizer="adamw", schedule="cosine"),
        train=lambda epoch: batches(
            data.train, batch_size, seed=seed, epoch=epoch, shuffle=True, drop_last=True
        ),
        test=lambda epoch: batches(data.test, 256),
        logits=lambda network, batch, epoch, training: network(batch.images),
        device=torch.device("cpu"),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("network", choices=NETWORKS)
    parser.add_argument("--dataset", default="digits")
    parser.add_argument("--data-dir")
    parser.add_argument("--limit-train", type=int)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--batch-size", type=int, default=32)
    given = parser.parse_args()
    data = load(given.dataset, given.data_dir, limit_train=given.limit_train)
    for record in train(given.network, data, given.epochs, given.batch_size):
        print(
            f"epoch {record.epoch}: loss {record.train.loss:.3f}, train "
            f"{record.train.accuracy:.1f} %, test {record.test.accuracy:.2f} %, "
            f"{record.spikes.mean_spike_rate:.3f} spikes per neuron and step",
            flush=True,
        )


if __name__ == "__main__":
    main()
