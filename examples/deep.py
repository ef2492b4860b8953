"""A deep network that does not learn: the diagnosis in words, the cure, and the curve after it.

python examples/deep.py --depth 16 --out-dir runs/demo/depth
saltation diagnose examples/deep.py:build --cure
"""

from __future__ import annotations

import argparse
import copy
from pathlib import Path

import torch
from torch import Tensor, nn

import saltation as st
from saltation.data import Dataset, batches, load
from saltation.models import ARCHITECTURES
from saltation.training import Optimisation, fit


def vgg(data: Dataset, depth: int = 16, seed: int = 0) -> nn.Module:
    """The depth study's network, with the surrogate and the normalisation of its benchmark."""
    torch.manual_seed(seed)
    return ARCHITECTURES["vgg"].build(data.shape, data.classes, depth, base_channels=8)


def sample(data: Dataset, size: int = 640) -> tuple[Tensor, Tensor]:
    """The first images and labels of the training set."""
    batch = next(iter(batches(data.train, min(size, len(data.train)))))
    return batch.images, batch.labels


def build() -> tuple[nn.Module, Tensor, Tensor]:
    """What ``saltation diagnose`` asks for."""
    data = load("digits", side=16)
    return vgg(data), *sample(data, 128)


def curve(net: nn.Module, data: Dataset, lr: float, epochs: int) -> list[float]:
    """Test accuracy after each epoch of AdamW with cosine annealing, in evaluation mode."""
    torch.manual_seed(0)
    records = fit(
        net,
        Optimisation(epochs, lr=lr, optimizer="adamw", schedule="cosine", clip=10.0),
        train=lambda epoch: batches(
            data.train, 32, seed=0, epoch=epoch, shuffle=True, drop_last=True
        ),
        test=lambda epoch: batches(data.test, 256),
        logits=lambda network, batch, epoch, training: network(batch.images),
        device=torch.device("cpu"),
    )
    return [record.test.accuracy for record in records]


def draw(curves: dict[str, list[float]], chance: float, path: Path) -> None:
    """Accuracy against epoch."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(5, 3.2), layout="constrained")
    for (name, values), style in zip(curves.items(), ("o--", "s-"), strict=True):
        axes.plot(range(1, len(values) + 1), values, style, label=name)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.axhline(chance, color="grey", linestyle=":", label="chance")
    axes.set(xlabel="epoch", ylabel="test accuracy (%)", ylim=(0, 100))
    axes.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--depth", type=int, default=16)
    parser.add_argument("--limit-train", type=int)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--steps", type=int, default=60, help="of a trial of the cure")
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--out-dir", type=Path, default=Path("runs/demo/depth"))
    given = parser.parse_args()

    data = load("digits", side=16, limit_train=given.limit_train)
    net, (x, y) = vgg(data, given.depth), sample(data)
    print(f"A VGG of depth {given.depth}. What is wrong with it?\n", flush=True)
    print(st.diagnose(net, x[:64], y[:64]), flush=True)
    print("\nWhat mends it?\n", flush=True)
    cured = st.cure(net, x, y, lr=given.lr, steps=given.steps)
    print(cured, flush=True)

    print(f"\nTest accuracy in {given.epochs} epochs\n", flush=True)
    runs = {"as it is": (net, given.lr), "cured": (copy.deepcopy(cured.network), cured.lr)}
    curves = {}
    for name, (network, lr) in runs.items():
        curves[name] = curve(network, data, lr, given.epochs)
        print(f"{name:>8}: {' '.join(f'{value:5.1f}' for value in curves[name])}", flush=True)
    path = given.out_dir / "cure.png"
    draw(curves, 100 / data.classes, path)
    print(f"written: {path}")


if __name__ == "__main__":
    main()
