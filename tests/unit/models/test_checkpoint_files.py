"""Files that are given as weights: what is read, and what is said of the others."""

from __future__ import annotations

import gzip
import json
import tarfile
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from pbkd.errors import WeightsError
from pbkd.models.checkpoint_files import read_checkpoint

if TYPE_CHECKING:
    from pathlib import Path


def state() -> dict[str, torch.Tensor]:
    return {"0.weight": torch.ones(2, 3), "0.bias": torch.arange(2.0)}


def told(path: Path) -> str:
    """Return what is said of a file that cannot be read: one sentence."""
    with pytest.raises(WeightsError) as caught:
        read_checkpoint(path)
    text = str(caught.value)
    assert "\n" not in text
    assert text.endswith(".")
    return text


def same(found: Any) -> bool:
    return found.keys() == state().keys() and all(torch.equal(found[k], state()[k]) for k in found)


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("name", ["w.pt", "w.pth.tar", "w.ckpt", "w.bin", "w", "w.pkl", "w 0123"])
def test_files_of_torch_are_read_under_any_name(tmp_path: Path, name: str, legacy: bool) -> None:
    torch.save(state(), tmp_path / name, _use_new_zipfile_serialization=not legacy)
    assert same(read_checkpoint(tmp_path / name).content)


@pytest.mark.parametrize("name", ["w.safetensors", "w.bin", "model"])
def test_safetensors_are_read_under_any_name(tmp_path: Path, name: str) -> None:
    save_file(state(), tmp_path / name)
    assert same(read_checkpoint(tmp_path / name).content)


def test_a_pickled_dictionary_of_arrays_is_read(tmp_path: Path) -> None:
    import pickle

    arrays = {"model": {key: value.numpy() for key, value in state().items()}}
    (tmp_path / "w.pkl").write_bytes(pickle.dumps(arrays))
    found = read_checkpoint(tmp_path / "w.pkl").content["model"]
    assert found["0.bias"].tolist() == [0, 1]
    assert isinstance(found["0.bias"], np.ndarray)


@pytest.mark.parametrize("suffix", ["safetensors", "bin"])
def test_a_folder_of_the_hub_is_read_whole_or_in_shards(tmp_path: Path, suffix: str) -> None:
    def write(tensors: dict[str, torch.Tensor], path: Path) -> None:
        save_file(tensors, path) if suffix == "safetensors" else torch.save(tensors, path)

    stem = "model" if suffix == "safetensors" else "pytorch_model"
    (tmp_path / "config.json").write_text("{}")
    write(state(), tmp_path / f"{stem}.{suffix}")
    assert same(read_checkpoint(tmp_path).content)
    (tmp_path / f"{stem}.{suffix}").unlink()
    shards = {key: f"{stem}-0000{i}.{suffix}" for i, key in enumerate(state())}
    for key, name in shards.items():
        write({key: state()[key]}, tmp_path / name)
    index = tmp_path / f"{stem}.{suffix}.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": shards}))
    assert same(read_checkpoint(tmp_path).content)
    assert same(read_checkpoint(index).content)
    index.write_text(json.dumps({"weight_map": {"a": "../../elsewhere/none.bin"}}))
    assert f"there is no file of weights '{tmp_path / 'none.bin'}'" in told(tmp_path)


def test_folders_without_a_file_that_is_known_are_told(tmp_path: Path) -> None:
    assert told(tmp_path).endswith("is a folder: name the file of weights.")
    (tmp_path / "best.pth").write_bytes(b"")
    (tmp_path / "last.pth").write_bytes(b"")
    assert told(tmp_path).endswith("name the file of weights, such as best.pth, last.pth.")
    (tmp_path / "__0_0.distcp").write_bytes(b"")
    assert "is a distributed checkpoint: convert it" in told(tmp_path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"\n\n", "is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
        (b"\n<!DOCTYPE html><html>", "is a web page"),
        (b"<html>Too many requests", "is a web page"),
        (b"<?xml version='1.0'?><Error>", "is a web page"),
        (gzip.compress(b"x", mtime=0), "is compressed with gzip"),
        (b"BZh91AY", "is compressed with bzip2"),
        (b"\xfd7zXZ\x00", "is compressed with xz"),
        (b"\x28\xb5\x2f\xfd", "is compressed with zstd"),
        (b"\x89HDF\r\n\x1a\n", "is an HDF5 file"),
        (b"\x93NUMPY\x01", "is an array of numpy"),
        (b'{"error": "not found"}', "is JSON"),
        (b"PK\x03\x04 and no more", "is cut off or damaged"),
        (b"any text", "cannot be read as plain weights"),
        (b"\x80\x02}q\x00", "cannot be read as plain weights"),
        (b"\xff" * 1000, "cannot be read as plain weights"),
    ],
)
def test_what_else_a_file_is_is_said(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "w.pt").write_bytes(content)
    assert said in told(tmp_path / "w.pt")


def test_other_archives_are_told_from_those_of_torch(tmp_path: Path) -> None:
    path = tmp_path / "w.pt"
    torch.save(state(), tmp_path / "real.pt")
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(tmp_path / "real.pt", "real.pt")
    assert "is a zip archive, but no file of torch.save: unpack it" in told(path)
    with tarfile.open(path, "w") as archive:
        archive.add(tmp_path / "real.pt", "real.pt")
    assert "is a tar archive: unpack it" in told(path)
    with tarfile.open(path, "w") as archive:
        for name in ("storages", "tensors", "pickle"):
            archive.addfile(tarfile.TarInfo(name))
    assert "a version of torch that is no longer read" in told(path)
    network = nn.Sequential(nn.Linear(3, 2))
    torch.jit.save(torch.jit.script(network), path)
    assert "is a TorchScript archive" in told(path)
    torch.export.save(torch.export.export(network, (torch.zeros(1, 3),)), tmp_path / "w.pt2")
    assert "is a program of torch.export" in told(tmp_path / "w.pt2")


@pytest.mark.parametrize("legacy", [False, True])
def test_a_file_that_is_cut_off_anywhere_is_told(tmp_path: Path, legacy: bool) -> None:
    torch.save(state(), tmp_path / "w.pt", _use_new_zipfile_serialization=not legacy)
    whole = (tmp_path / "w.pt").read_bytes()
    for length in range(1, len(whole), len(whole) // 7):
        (tmp_path / "w.pt").write_bytes(whole[:length])
        told(tmp_path / "w.pt")


def test_a_file_that_is_missing_is_told(tmp_path: Path) -> None:
    assert told(tmp_path / "none.pt") == f"there is no file of weights '{tmp_path / 'none.pt'}'."
