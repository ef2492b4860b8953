"""Hostile files, each small until it is read: run as a program, reads them one after the other.

Prints a line of JSON for each: its name, the error, the seconds of work and the peak memory so far
in MB.
"""

from __future__ import annotations

import gzip
import io
import json
import lzma
import os
import pickle
import struct
import sys
import tarfile
import time
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from saltation.data import load
from saltation.errors import SaltationError
from tests.data import make

FOLDER = "cifar-10-batches-py"
MB = 1_000_000


def _pickles() -> Iterator[tuple[str, bytes]]:
    """What a batch of CIFAR-10 may say in place of what it should."""
    yield "bytearray of 20 GB", b"\x80\x05\x96" + struct.pack("<Q", 20 << 30) + b"."
    yield "bytes of 20 GB", b"\x80\x04\x8e" + struct.pack("<Q", 20 << 30) + b"."
    yield "frame of 20 GB", b"\x80\x04\x95" + struct.pack("<Q", 20 << 30) + b"N."
    yield "long of 2 GB", b"\x8b" + struct.pack("<i", (1 << 31) - 1) + b"."
    yield "memo at 2**31", b"Nr\xff\xff\xff\x7f0."
    doubled = b")q\x00" + b"h\x00h\x00\x86q\x00" * 60
    yield "a key whose hash takes 2**60 steps", b"}" + doubled + b"Ns."
    yield "a set of it", b"\x80\x04\x8f(" + doubled + b"\x90."
    yield "a name whose repr takes 2**60 steps", b"c_codecs\nencode\nVx\n" + doubled + b"\x86R."
    yield "a dtype whose repr takes 2**60 steps", b"cnumpy\ndtype\n" + doubled + b"\x85R."
    yield "a list in itself", b"]q\x00h\x00a."
    yield "lists a million deep", b"]" * MB + b"a" * 9 + b"."
    yield "tuples a million deep", b")" + b"\x85" * MB + b"."
    yield "dicts a million deep", b"}" * MB + b"."
    yield "a million marks", b"(" * MB + b"."
    yield "many lists", b"]" * (4 * MB) + b"."
    yield "many memos", b"\x80\x04N" + b"\x94" * (4 * MB) + b"."
    text = b"X" + struct.pack("<I", 20 * MB) + b"a" * (20 * MB)
    again = b"(c_codecs\nencode\nq\x00" + text + b"q\x01X\x06\x00\x00\x00latin1q\x020"
    again += b"h\x00h\x01h\x02\x86R" * 1000
    yield "one text encoded a thousand times", again + b"l."
    wide = "a" * (40 * MB) + "\U0001f600"
    yield "a text four times as wide in memory", pickle.dumps({"data": wide}, 4)
    line = b"V" + b"a" * (40 * MB) + b"\\U0001f600\n."
    yield "the same in a line", line
    yield "an integer of 40 million digits", b"L" + b"9" * (40 * MB) + b"L\n."
    yield "a slot of a million digits", b"Np" + b"9" * MB + b"\n."
    ndarray = pickle.dumps({b"data": np.zeros(4, np.uint8), b"labels": [0]}, 2)
    yield "an array of objects", ndarray.replace(b"u1", b"O8")
    yield "a dtype within the state of one", ndarray.replace(b"|", b"O")
    yield (
        "an array of 2**62 bytes",
        ndarray.replace(b"K\x04\x85", b"\x8a\x08" + b"\0" * 7 + b"\x40\x85"),
    )
    yield "a bytearray that grows", b"\x96" + struct.pack("<Q", 1) + b"a(K\x01K\x02e."


def _tar(name: str, size: int, kind: bytes = tarfile.REGTYPE, **headers: str) -> bytes:
    """The header of a member that claims a size, and before it what else is said of it."""
    member = tarfile.TarInfo(name)
    member.size, member.type, member.pax_headers = size, kind, headers
    return member.tobuf(tarfile.PAX_FORMAT if headers else tarfile.GNU_FORMAT)


def _described(records: bytes, kind: bytes = tarfile.XHDTYPE) -> bytes:
    padded = records + bytes(-len(records) % 512)
    return _tar("x", len(records), kind) + padded + _tar(f"{FOLDER}/data_batch_1", 3) + bytes(512)


def _sparse(name: str, size: int) -> bytes:
    """A member of the old GNU kind that claims to be of that size, and holds nothing."""
    header = bytearray(_tar(name, 0, tarfile.GNUTYPE_SPARSE))
    header[386:482] = bytes(96)
    header[386:410] = b"%011o\0%011o\0" % (size, 0)
    header[482:483], header[483:495] = b"\0", b"%011o\0" % size
    header[148:156] = b"        "
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header)


def _tars(full: bool) -> Iterator[tuple[str, bytes]]:
    """What an archive of CIFAR-10 may be."""
    names = [*(f"{FOLDER}/data_batch_{n}" for n in range(1, 6)), f"{FOLDER}/test_batch"]
    yield (
        "six sparse members of 500 MB",
        b"".join(_sparse(n, 500 * MB) for n in names) + bytes(1024),
    )
    for minor in "01":
        said = {"GNU.sparse.major": minor, "GNU.sparse.minor": "0" if minor == "1" else "1"}
        said |= {"GNU.sparse.size": str(220 * MB), "GNU.sparse.realsize": str(220 * MB)}
        said |= {"GNU.sparse.map": f"0,0,{220 * MB},0"} if minor == "0" else {}
        yield (
            f"sparse by pax {minor}",
            b"".join(_tar(n, 512, **said) + b"1\n0\n" + bytes(508) for n in names),
        )
    plain = {"GNU.sparse.size": str(220 * MB), "GNU.sparse.offset": "1", "GNU.sparse.numbytes": "x"}
    yield "sparse by pax, as first written", _tar(names[0], 0, **plain)
    yield "500 MB of pax digits", _tar("x", 500 * MB, tarfile.XHDTYPE) + b"9" * MB
    yield "as many of a global header", _tar("x", 500 * MB, tarfile.XGLTYPE) + b"9" * MB
    yield "a name of 500 MB", _tar("x", 500 * MB, tarfile.GNUTYPE_LONGNAME) + b"9" * MB
    for number, records in enumerate(
        [
            b"9" * 5000 + b" size=1\n",
            b"10 size=x\n",
            b"12 size=-5\n",
            b"0 size=1\n",
            b"18 mtime=infinity\n",
            b"30 GNU.sparse.map=1,x,3\n",
            b"25 GNU.sparse.major=1\n25 GNU.sparse.minor=0\n",
            b"99999999999 path=x\n",
            b"\xff\xfe\n",
            b"15 path=\xff\xfe\xfd\n",
            b"30 hdrcharset=BINARY\n12 path=\xff\n",
        ]
    ):
        yield f"pax records {number}", _described(records)
        yield f"global pax records {number}", _described(records, tarfile.XGLTYPE)
    yield (
        "descriptions without end",
        b"".join(
            _tar("x", 12, tarfile.XHDTYPE) + b"12 path=abc\n".ljust(512, b"\0") for _ in range(5000)
        ),
    )
    yield "a size below zero", _tar("a", 5)[:124] + b"\xff" * 12 + _tar("a", 5)[136:]
    count = 1_000_000 if full else 20_000
    yield "very many members", b"".join(_tar(f"{number}", 0) for number in range(count))
    if full:
        yield "a bomb", gzip.compress(bytes(1000 * MB), 1)
    yield "a bomb of a member", gzip.compress(_tar(names[0], 280 * MB) + bytes(300 * MB), 1)


def _zips() -> Iterator[tuple[str, bytes]]:
    """What an archive of Tiny ImageNet may be."""
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 65535, 65535, 3_000_000_000, 0, 0)
    yield "a list of 3 GB", bytes(1000) + end
    entry = struct.pack("<4s4B4H3L5H2L", b"PK\x01\x02", 20, 3, 20, *(0,) * 8, 1, *(0,) * 6) + b"a"
    entries = entry * 600_000
    fields = (0, 0, 65535, 65535, len(entries), 0, 0)
    yield "600,000 members", entries + struct.pack("<4s4H2LH", b"PK\x05\x06", *fields)

    def archive(method: int, **files: bytes) -> bytes:
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w", method) as whole:
            for name, content in (make.tiny_imagenet() | files).items():
                whole.writestr(f"tiny-imagenet-200/{name}", content)
        return stream.getvalue()

    yield (
        "a list of classes of 20 MB",
        archive(zipfile.ZIP_DEFLATED, **{"wnids.txt": bytes(20 * MB)}),
    )
    yield "the same in LZMA", archive(zipfile.ZIP_LZMA, **{"wnids.txt": bytes(20 * MB)})
    first = "train/n00000010/images/n00000010_0.JPEG"
    pixels = zlib.compress(bytes(1000), 9)
    head = struct.pack(">2I5B", 60_000, 60_000, 8, 2, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in ((b"IHDR", head), (b"IDAT", pixels), (b"IEND", b""))
    )
    yield "a PNG of 60,000 x 60,000", archive(zipfile.ZIP_STORED, **{first: png})
    jpeg = make.jpeg(3)
    place = jpeg.index(b"\xff\xc0") + 5
    large = jpeg[:place] + struct.pack(">2H", 65_000, 65_000) + jpeg[place + 4 :]
    yield "a JPEG of 65,000 x 65,000", archive(zipfile.ZIP_STORED, **{first: large})
    lines = b"".join(b"val_0.JPEG\tn00000010\t0\n" for _ in range(150_000))
    yield (
        "more images than there are",
        archive(zipfile.ZIP_DEFLATED, **{"val/val_annotations.txt": lines}),
    )
    yield "no zip but xz", lzma.compress(bytes(MB))


def _idx() -> Iterator[tuple[str, bytes]]:
    """What the images of MNIST may be."""
    for shape in ((0xFFFFFFFF,) * 3, (1 << 31, 28, 28), (1 << 22, 28, 28), (300_000, 28, 28)):
        header = struct.pack(">4I", 0x0803, *shape)
        yield f"idx of {shape}", header + bytes(1000)
        yield f"idx of {shape} in gzip", gzip.compress(header + bytes(1000))
    yield (
        "a bomb of images",
        gzip.compress(struct.pack(">4I", 0x0803, 340_000, 28, 28) + bytes(280 * MB), 1),
    )
    yield "gzip in gzip", gzip.compress(gzip.compress(bytes(20 * MB), 1), 1)


def main(work: Path, full: bool) -> None:
    """Read them all."""

    def attempt(what: str, name: str, root: Path) -> None:
        start = time.process_time()
        try:
            load(name, root)
            told = None
        except SaltationError as error:
            told = str(error)
        # Of this program alone: what the system counts for a process is at least what the one that
        # started it had.
        status = Path("/proc/self/status").read_text()
        peak = int(status.partition("VmHWM:")[2].split()[0]) / 1000
        seconds = time.process_time() - start
        print(
            json.dumps({"what": what, "told": told, "seconds": seconds, "peak": peak}), flush=True
        )

    batches = make.write(work / "a" / FOLDER, make.cifar10())
    archive = work / "b" / "cifar-10-python.tar"
    archive.parent.mkdir()
    photographs = work / "c" / "tiny-imagenet-200.zip"
    photographs.parent.mkdir()
    images = make.mnist(work / "d") / "train-images-idx3-ubyte"
    kinds = {"pickle": (_pickles(), "cifar10", batches / "data_batch_1")}
    kinds["tar"] = (_tars(full), "cifar10", archive)
    kinds["zip"] = (_zips(), "tiny_imagenet", photographs)
    kinds["idx"] = (_idx(), "mnist", images)
    for files, name, place in kinds.values():
        root = work / place.relative_to(work).parts[0]
        made = work / "made"
        # Another process makes them: what that takes is no cost of reading them.
        child = os.fork()
        if not child:
            made.mkdir()
            for number, (what, content) in enumerate(files):
                (made / f"{number:03d} {what.replace('/', ' ')}").write_bytes(content)
            os._exit(0)
        os.waitpid(child, 0)
        for file in sorted(made.iterdir()):
            file.replace(place)
            attempt(f"{name}: {file.name[4:]}", name, root)
        made.rmdir()
    images.unlink()
    os.mkfifo(images)
    attempt("a pipe", "mnist", work / "d")
    images.unlink()
    images.symlink_to("/dev/zero")
    attempt("a device", "mnist", work / "d")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:] == ["full"])
