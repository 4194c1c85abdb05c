"""Hostile pickled files as weights: nothing runs, is changed, or takes long or much memory."""

from __future__ import annotations

import io
import pickle
import resource
import struct
import time
import zipfile
from collections import Counter, OrderedDict
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch.nn import Parameter

from pbkd.errors import WeightsError
from pbkd.models.checkpoint_files import read_checkpoint
from pbkd.models.plain_values import PLAIN_VALUES

if TYPE_CHECKING:
    from collections.abc import Iterator

GIB = 2**30


def name(module: str, what: str) -> bytes:
    return f"c{module}\n{what}\n".encode()


def number(value: int) -> bytes:
    content = pickle.encode_long(value)
    return b"\x8a" + bytes([len(content)]) + content


def call(function: bytes, *arguments: bytes) -> bytes:
    return function + b"(" + b"".join(arguments) + b"tR"


def text(content: str) -> bytes:
    return b"X" + struct.pack("<I", len(content.encode())) + content.encode()


def storage(count: int, kind: str = "FloatStorage") -> bytes:
    parts = [text("storage"), name("torch", kind), text("0"), text("cpu"), number(count)]
    return b"(" + b"".join(parts) + b"tQ"


def tensor(count: int, size: int, stride: int = 1, offset: int = 0) -> bytes:
    empty = call(name("collections", "OrderedDict"))
    rebuild = name("torch._utils", "_rebuild_tensor_v2")
    shape = [b"(" + number(value) + b"t" for value in (size, stride)]
    return call(rebuild, storage(count), number(offset), *shape, b"\x89", empty)


def changing(target: bytes, state: bytes) -> bytes:
    """Set an attribute of a shared object, by the part of a state that is for slots."""
    return target + b"(N}" + text("planted") + state + b"stb"


def nested(depth: int) -> bytes:
    return b")" + b"\x85" * depth


LAUGHS = b"]q\x00" + b"".join(
    b"](" + b"h" + bytes([step]) + (b"h" + bytes([step])) * 99 + b"eq" + bytes([step + 1])
    for step in range(9)
)
ALL = call(name("builtins", "range"), number(10**11))
KEYS = b"".join(number(k * (2**61 - 1)) + b"N" for k in range(1, 40_000))
OUTSIDE = [text("module"), name("argparse", "Namespace"), text("x"), text("y")]
PICKLES = {
    "a memo of 16 GiB": b"]r\xff\xff\xff\x7f",
    "a list of all numbers": call(name("builtins", "list"), ALL),
    "a set of all numbers": call(name("builtins", "set"), ALL),
    "bytes": call(name("builtins", "bytearray"), number(10**12)),
    "bytes in Python 2": call(name("__builtin__", "bytes"), number(10**12)),
    "bytes that are not there": b"\x8e" + struct.pack("<Q", 2**62),
    "a frame that is not there": b"\x95" + struct.pack("<Q", 2**62),
    "text of a codec": call(name("_codecs", "encode"), text("x" * 9), text("idna")),
    "a number of many digits": call(name("builtins", "int"), text("9" * 10**6)),
    "a storage that is called": call(name("torch", "FloatStorage"), number(10**13)),
    "a storage of a giant": tensor(2**45, 2**45),
    "a storage larger than its file": tensor(10**6, 10**6),
    "a negative storage": tensor(-4, 4),
    "a view beyond its storage": tensor(16, 10**6),
    "an offset beyond its storage": tensor(16, 4, 1, 10**6),
    "a negative stride": tensor(16, 4, -1, 8),
    "a view of one number, a million million times": tensor(16, 10**12, 0),
    "an array": call(name("numpy", "ndarray"), b"(" + number(10**13) + b"t"),
    "a text of an array": call(name("numpy", "dtype"), text("U999999999999")),
    "a type with fields": call(name("numpy", "dtype"), b"]" + b"(" + text("x") + text("O") + b"ta"),
    "a deep key": b"}" + nested(10**5) + b"Ns",
    "a deep set": b"\x8f(" + nested(10**5) + b"\x90",
    "a deep frozen set": b"(" + nested(10**5) + b"\x91",
    "keys of one hash": b"}(" + KEYS + b"u",
    "a module outside": b"(" + b"".join(OUTSIDE) + b"tQ",
    "something outside by name": b"Pevil\n",
    "an extension": b"\x82\x01",
    "a buffer outside": b"\x97",
    "many types": b"(" + b"".join(name("evil", f"T{k}") for k in range(20_000)) + b"l",
    "an attribute of a function": changing(name("torch._utils", "_rebuild_tensor_v2"), b"N"),
    "an attribute of a class": changing(name("torch.nn.parameter", "Parameter"), b"N"),
    "an attribute of a counter": changing(name("collections", "Counter"), b"N"),
    "a method of a mapping": call(name("collections", "OrderedDict"))
    + b"}"
    + text("items")
    + b"Nsb",
    "an attribute by its dotted name": call(name("torch", "FloatStorage.from_file"), text("evil")),
    "an attribute of a module": call(b"\x8c\x05torch\x8c\x0dstorage.os.sy\x93", text("x")),
    "lists in lists": LAUGHS,
    "nothing": b"",
    "an old class": b"(ios\nsystem\n",
    "an old object": b"(" + name("os", "system") + text("touch canary") + b"o",
    "a new object": name("builtins", "list") + b"(" + number(10**11) + b"t\x81",
}  # fmt: skip


def written(content: bytes, path: Path, *, entry: bytes = bytes(64)) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02" + content + b".")
        archive.writestr("archive/version", "3\n")
        archive.writestr("archive/data/0", entry)
    return path


def attempt(path: Path) -> str | None:
    """Read a file; return the refusal, one sentence."""
    try:
        read_checkpoint(path)
    except WeightsError as error:
        assert "\n" not in str(error)
        return str(error)
    return None


@pytest.fixture(autouse=True)
def _bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Check time and memory, what lies beside a file, and what a file could change for others."""
    monkeypatch.chdir(tmp_path)
    start, before = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert time.monotonic() - start < 5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**20  # KiB
    assert {path.suffix for path in tmp_path.iterdir()} <= {".pt"}
    for shared in (Parameter, Counter, OrderedDict, *PLAIN_VALUES.values()):
        assert not hasattr(shared, "planted")


@pytest.mark.parametrize("which", PICKLES)
def test_a_pickle_does_nothing(which: str, tmp_path: Path) -> None:
    harmless = {"a method of a mapping", "an attribute by its dotted name", "nothing"}
    harmless |= {"an attribute of a module", "a memo of 16 GiB"}
    zipped = attempt(written(PICKLES[which], tmp_path / "zipped.pt"))
    (tmp_path / "plain.pt").write_bytes(b"\x80\x04" + PICKLES[which] + b".")
    plain = attempt(tmp_path / "plain.pt")
    assert (zipped and plain) or which in harmless, (zipped, plain)


def test_a_method_of_a_mapping_stays(tmp_path: Path) -> None:
    path = written(PICKLES["a method of a mapping"], tmp_path / "x.pt")
    assert callable(read_checkpoint(path).content.items)


def test_random_programs_do_nothing(tmp_path: Path) -> None:
    told = []
    for seed in range(300):
        program = random_program(Random(seed))
        told.append(attempt(written(program, tmp_path / "x.pt")))
    assert sum(text is None for text in told) > 10, "some are harmless"
    assert sum(text is not None for text in told) > 150


def random_program(random: Random) -> bytes:
    """Put operations together, with names that are known, on values that come before them."""
    names = [name(*pair) for pair in PLAIN_VALUES] + [name("evil", "Evil"), name("os", "system")]
    values = [*map(number, (0, -1, 7, 2**31, 2**63)), text("f4"), text("x"), b"N", b"]", b"}", b")"]
    values += [storage(16), tensor(16, 4), b"\x88"]
    program = [random.choice(names)]
    for _ in range(random.randrange(1, 12)):
        arguments = b"".join(random.choices([*values, *names], k=random.randrange(4)))
        operations = [
            b"(" + arguments + b"tR",
            b"(" + arguments + b"tb",
            b"(" + arguments + b"t\x81",
        ]
        operations += [b"0" + random.choice(names), random.choice(values), b"(" + arguments + b"e"]
        operations += [b"(" + arguments + b"u", b"2", b"q\x01", b"\x85", b"a", b"s"]
        program.append(random.choice(operations))
    return b"".join(program)


def test_archives_that_expand_overlap_or_mean_two_things_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("archive/data.pkl", bytes(100 * 2**20))
    assert attempt(path)
    written(tensor(16, 16), path)
    assert attempt(path) is None
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("archive/data.pkl", b"N.")
    assert attempt(path)
    inner = written(tensor(16, 16), tmp_path / "inner.pt").read_bytes()
    path.write_bytes(io.BytesIO(b"PK\x03\x04" + bytes(60) + inner).getvalue())
    assert attempt(path)


def test_old_files_with_impossible_storages_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    torch.save({"a": torch.zeros(4)}, path, _use_new_zipfile_serialization=False)
    whole = path.read_bytes()
    assert attempt(path) is None
    four = whole.index(b"K\x04", whole.index(b"storage"))
    for count in (2**45, -1, 2**70):
        path.write_bytes(whole[:four] + number(count) + whole[four + 2 :])
        assert attempt(path)
    for end in range(0, len(whole), 40):
        path.write_bytes(whole[:end])
        assert attempt(path)


def test_arrays_are_what_is_stored_of_them(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    arrays: list[Any] = [np.arange(6.0).reshape(2, 3), np.array(["a", "bc"]), np.float32(2.5)]
    arrays += [np.asfortranarray(np.ones((2, 3), ">i2")), np.array([1, "x"], dtype=object)]
    path.write_bytes(pickle.dumps(arrays, protocol=2))
    for found, array in zip(read_checkpoint(path).content, arrays, strict=True):
        assert np.array_equal(found, array)
    content = pickle.dumps(np.arange(64.0), protocol=2)
    path.write_bytes(content.replace(b"K@", b"J\xff\xff\xff\x7f"))
    assert attempt(path)
