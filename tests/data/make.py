"""Writes small data sets in the official layouts, for the tests to read and to damage."""

from __future__ import annotations

import io
import pickle
import struct
import tarfile
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image


def idx(array: np.ndarray) -> bytes:
    dimensions = struct.pack(f">{array.ndim}I", *array.shape)
    return struct.pack(">I", 0x0800 + array.ndim) + dimensions + array.astype(np.uint8).tobytes()


def images(count: int, *, side: int = 28) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 256, (count, side, side), dtype=np.uint8)


def mnist(folder: Path, *, train: int = 12, test: int = 6) -> Path:
    """The four files with labels 0, 1, 2, ... under ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    for stem, count in (("train", train), ("t10k", test)):
        (folder / f"{stem}-images-idx3-ubyte").write_bytes(idx(images(count)))
        (folder / f"{stem}-labels-idx1-ubyte").write_bytes(idx(np.arange(count) % 10))
    return folder


def cifar_batch(count: int, *, key: str = "labels", protocol: int = 2) -> bytes:
    data = np.random.default_rng(count).integers(0, 256, (count, 3072), dtype=np.uint8)
    labels = [number % 10 for number in range(count)]
    return pickle.dumps({b"data": data, key.encode(): labels}, protocol=protocol)


def cifar10(**replaced: bytes) -> dict[str, bytes]:
    """Files of the extracted folder; ``replaced`` gives some of them other contents."""
    names = [f"data_batch_{number}" for number in range(1, 6)] + ["test_batch"]
    return {name: replaced.get(name, cifar_batch(4)) for name in names}


def write(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def tar(path: Path, files: dict[str, bytes], *, mode: str = "w:gz") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def zipped(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def jpeg(shade: int, *, side: int = 64, mode: str = "RGB") -> bytes:
    stream = io.BytesIO()
    Image.new(mode, (side, side), shade if mode == "L" else (shade,) * 3).save(stream, "JPEG")
    return stream.getvalue()


# Not in the order of the labels, as in the official wnids.txt.
WNIDS = ["n00000030", "n00000010", "n00000020"]


def tiny_imagenet(**replaced: bytes) -> dict[str, bytes]:
    """3 classes of 2 training images and 1 validation image, all of shade 10 * label + turn."""
    files = {"wnids.txt": "\n".join(WNIDS).encode()}
    annotations = []
    for label, wnid in enumerate(sorted(WNIDS)):
        for turn in range(2):
            mode = "L" if label == 0 else "RGB"
            name = f"train/{wnid}/images/{wnid}_{turn}.JPEG"
            files[name] = jpeg(10 * label + turn, mode=mode)
        files[f"val/images/val_{label}.JPEG"] = jpeg(100 + label)
        annotations.insert(0, f"val_{label}.JPEG\t{wnid}\t0\t0\t63\t63\n")
    files["val/val_annotations.txt"] = "".join(annotations).encode()
    return {**files, **replaced}
