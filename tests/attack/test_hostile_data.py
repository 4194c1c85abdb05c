"""Pictures, folders and archives that hang, expand or start programs: one sentence, soon."""

from __future__ import annotations

import io
import json
import os
import socket
import struct
import subprocess
import time
import zipfile
import zlib
from typing import TYPE_CHECKING

import numpy as np
import pytest
from pbkd_npz import NpzSource
from PIL import Image

from pbkd.data.image_decoding import ImageDecoder
from pbkd.data.picture_files import list_pictures
from pbkd.errors import DataError, WeightsError
from pbkd.models.checkpoint_files import read_checkpoint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SLOWEST = 5.0  # CPU seconds


@pytest.fixture(autouse=True)
def _soon() -> Iterator[None]:
    start = time.process_time()
    yield
    assert time.process_time() - start < SLOWEST


def png(width: int, height: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """Return a PNG picture that says that it has this size."""
    head = (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in (head, *chunks, (b"IEND", b""))
    )


def encoded(form: str) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (64, 48), "red").save(stream, form)
    return stream.getvalue()


PICTURES = {
    "as many pixels as can be written": png(2**31 - 1, 2**31 - 1),
    "a bomb": png(2**14, 2**14, (b"IDAT", zlib.compress(bytes(2**20)))),
    "text that expands": png(9, 9, (b"zTXt", b"a\0\0" + zlib.compress(bytes(2**26)))),
    "PostScript": encoded("EPS"),
    "no bytes": b"",
    "half of a PNG": encoded("PNG")[:60],
    "half of a JPEG": encoded("JPEG")[:300],
    "a TIFF whose folders point to each other": b"II*\0\x08\0\0\0\0\0\x08\0\0\0",
    "a GIF of the largest size": b"GIF89a\xff\xff\xff\xff\0\0\0,\0\0\0\0\xff\xff\xff\xff\0\x02\0;",
    "a PPM without end": b"P6 99999 99999 255\n",
    "a BMP of a negative size": b"BM"
    + struct.pack("<IIIIiiHH", 99, 0, 54, 40, -9, 2**31 - 1, 1, 24),
}


@pytest.mark.parametrize("name", PICTURES)
def test_hostile_pictures_are_refused_and_start_nothing(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def started(*_: object, **__: object) -> None:
        pytest.fail("a program is started")

    monkeypatch.setattr(subprocess.Popen, "__init__", started)
    path = tmp_path / "a.png"
    path.write_bytes(PICTURES[name])
    with pytest.raises(DataError, match=r"the image .*a\.png cannot be read"):
        ImageDecoder(8).read(str(path))


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _socket(path: Path) -> None:
    socket.socket(socket.AF_UNIX).bind(str(path))


def _device(path: Path) -> None:
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize("make", [_pipe, _socket, _device])
def test_what_is_no_regular_file_is_neither_opened_nor_waited_for(
    make: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # the names of sockets are short
    make(tmp_path / "real.png")
    (tmp_path / "link.png").symlink_to(tmp_path / "real.png")
    for name, _ in list_pictures(tmp_path).files:
        with pytest.raises(DataError, match="cannot be read"):
            ImageDecoder(8).read(name)
    with pytest.raises(DataError):
        NpzSource("real.png").load()
    with pytest.raises(WeightsError):
        read_checkpoint(tmp_path / "real.png")


def test_folders_of_links_to_each_other_are_refused(tmp_path: Path) -> None:
    for one in range(12):
        (tmp_path / str(one)).mkdir()
        for other in range(12):
            (tmp_path / str(one) / f"to-{other}").symlink_to(tmp_path / str(other))
    with pytest.raises(DataError, match="links repeat"):
        list_pictures(tmp_path)


def test_folders_within_folders_without_end_are_refused(tmp_path: Path) -> None:
    (tmp_path / "/".join("a" * 200)).mkdir(parents=True)
    with pytest.raises(DataError, match="below 100 folders"):
        list_pictures(tmp_path)


def npz(path: Path, **arrays: bytes) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for key, content in arrays.items():
            archive.writestr(f"{key}.npy", content)


def npy(shape: tuple[int, ...], content: bytes = b"", dtype: str = "|u1") -> bytes:
    stream = io.BytesIO()
    head = {"descr": dtype, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, head)
    return stream.getvalue() + content


@pytest.mark.parametrize(
    "array",
    [
        npy((10**15,)), npy((2**40, 9, 9)), npy((-1, 8, 8)), npy((2, 8, 8), b"\0"),
        npy((2, 8, 8), bytes(128), "|O"), npy((2, 8, 8), bytes(128), "<M8[s]"), b"",
        b"\x93NUMPY\x01\x00\xff\xff" + b"(" * 65535, b"\x93NUMPY\x09\x00", b"not an array",
    ],
)  # fmt: skip
def test_hostile_arrays_are_refused(array: bytes, tmp_path: Path) -> None:
    npz(tmp_path / "a.npz", x_train=array)
    with pytest.raises(DataError, match="a.npz"):
        NpzSource(str(tmp_path / "a.npz"), labelled=False).load()


def test_an_archive_that_expands_is_refused_before(tmp_path: Path) -> None:
    path = tmp_path / "bomb.npz"
    npz(path, x_train=npy((2**16, 8, 8), bytes(2**22)))
    content = path.read_bytes()
    size = struct.pack("<I", 2**22 + 128)
    assert content.count(size) == 2, "the size in both heads"
    path.write_bytes(content.replace(size, struct.pack("<I", 2**31)))
    with pytest.raises(DataError, match="expand to 2,147 MB"):
        NpzSource(str(path), labelled=False).load()


def test_weights_that_expand_are_refused_before(tmp_path: Path) -> None:
    path = tmp_path / "bomb.pt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb/data.pkl", b"")
        archive.writestr("bomb/data/0", bytes(2**22))
    size, content = struct.pack("<I", 2**22), path.read_bytes()
    path.write_bytes(content.replace(size, struct.pack("<I", 2**31)))
    with pytest.raises(WeightsError, match="expand to 2,147 MB"):
        read_checkpoint(path)


@pytest.mark.parametrize("name", [b"\xfa", b"xx"])
def test_archives_whose_ends_are_damaged_are_refused(name: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 1, 1, 46 + len(name[:9]), 0, 0)
    entry = struct.pack(
        "<4s6H3L5H2L", b"PK\x01\x02", 20, 20, 1 << 11, 0, 0, 0, 0, 0, 0, 1, *[0] * 6
    )
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, 0, 9)
    path.write_bytes(entry + name[:1] + (locator if len(name) > 1 else b"") + end)
    with pytest.raises(WeightsError, match="damaged"):
        read_checkpoint(path)


def test_an_archive_that_is_encrypted_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    npz(path, x_train=npy((2, 8, 8), bytes(128)))
    content = bytearray(path.read_bytes())
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match="not a readable .npz file"):
        NpzSource(str(path), labelled=False).load()


def test_an_index_of_weights_that_names_itself_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors.index.json"
    path.write_text(json.dumps({"weight_map": {"a": path.name}}))
    with pytest.raises(WeightsError, match="names an index"):
        read_checkpoint(path)
