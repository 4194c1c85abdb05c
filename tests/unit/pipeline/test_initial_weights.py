from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import nn

from pbkd.errors import RunFolderError
from pbkd.models.weights import write_weights
from pbkd.pipeline.initial_weights import (
    recorded_builders,
    restore_initial_weights,
    write_builders,
    write_initial_weights,
)

if TYPE_CHECKING:
    from pathlib import Path


def replacements(seed: int = 0) -> dict[str, nn.Module]:
    torch.manual_seed(seed)
    return {name: nn.Linear(4, 4) for name in ("a", "b")}


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "initial").iterdir()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_initial_weights(tmp_path, replacements())
    return tmp_path


def test_whole_weights_are_left_alone_on_a_machine_that_builds_others(folder: Path) -> None:
    before = content(folder)
    assert restore_initial_weights(folder, replacements(seed=1)) == ()
    assert content(folder) == before


@pytest.mark.parametrize("damage", ["missing", "cut", "flipped", "swapped"])
def test_damaged_weights_are_built_again_bit_by_bit_with_a_note(folder: Path, damage: str) -> None:
    before = content(folder)
    path = folder / "initial" / "a.safetensors"
    flipped = bytearray(before[path.name])
    flipped[-1] ^= 1
    new = {
        "cut": before[path.name][:-9],
        "flipped": bytes(flipped),
        "swapped": before["b.safetensors"],
    }
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(new[damage])
    notes = restore_initial_weights(folder, replacements())
    assert notes == ("The initial weights of 'a' were damaged and were built again.",)
    assert content(folder) == before


def test_weights_that_would_be_built_differently_are_refused(folder: Path) -> None:
    (folder / "initial" / "a.safetensors").unlink()
    with pytest.raises(RunFolderError, match="resume the run where it was begun"):
        restore_initial_weights(folder, replacements(seed=1))


@pytest.mark.parametrize("list_", [None, b"", b"{", b"[1]"])
def test_a_damaged_list_of_checksums_is_made_up_for_by_the_weights(
    folder: Path, list_: bytes | None
) -> None:
    before = content(folder)
    path = folder / "initial" / "checksums.json"
    path.unlink()
    if list_ is not None:
        path.write_bytes(list_)
    assert restore_initial_weights(folder, replacements()) == ()
    write_weights(folder / "initial" / "a.safetensors", replacements()["b"].state_dict())
    with pytest.raises(RunFolderError, match="builds other initial weights"):
        restore_initial_weights(folder, replacements())
    (folder / "initial" / "a.safetensors").write_bytes(before["a.safetensors"][:-5])
    assert len(restore_initial_weights(folder, replacements())) == 1
    assert (folder / "initial" / "a.safetensors").read_bytes() == before["a.safetensors"]


def test_a_folder_in_the_place_of_weights_is_told(folder: Path) -> None:
    path = folder / "initial" / "a.safetensors"
    path.unlink()
    path.mkdir()
    with pytest.raises(RunFolderError, match="cannot be written"):
        restore_initial_weights(folder, replacements())


@pytest.mark.parametrize("damage", [None, b"", b"{", b"[1]", b'{"a": 3}'])
def test_the_options_that_builders_chose_are_read_again_unless_damaged(
    folder: Path, damage: bytes | None
) -> None:
    chosen = {"a": {"name": "low-rank", "ranks": [3]}, "a.1": {"name": "ghost"}}
    blocks = [SimpleNamespace(name=name, builder=choice) for name, choice in chosen.items()]
    plan: Any = SimpleNamespace(trained=blocks)
    write_builders(folder, plan)
    assert recorded_builders(folder) == chosen
    path = folder / "initial" / "builders.json"
    path.unlink()
    if damage is not None:
        path.write_bytes(damage)
    assert recorded_builders(folder) == {}
