"""Data that a configuration names: of a plugin, or of a function of the user's own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from pbkd import hookimpl
from pbkd.data import ArraySplit, Dataset
from pbkd.data.load import declared_data, load_data
from pbkd.errors import ConfigError, DataError, PbkdError, TrustError, UnknownNameError
from pbkd.plugin.registry import Registry, build_registry

MODULE = """
import torch

ready = torch.zeros(20, 1, 4, 4, dtype=torch.uint8), torch.arange(20) % 2

def load(count: int = 20, share: float = 0.5):
    return torch.full((count, 1, 4, 4), share), torch.arange(count) % 2

def broken():
    raise OSError("no such disk")

def leaves():
    raise SystemExit(3)

def nothing():
    return None
"""

Change = Callable[[Dataset], Any]


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """The name of a module in the current folder, another one for each test."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [*__import__("sys").path])
    name = f"own_data_{abs(hash(request.node.name))}"
    Path(f"{name}.py").write_text(MODULE)
    return name


def loaded(name: str, **options: Any) -> Dataset:
    return load_data({"name": name, **options}, build_registry(functions=[name]))


def test_a_function_gets_its_options_and_returns_what_compress_takes(module: str) -> None:
    data = loaded(f"{module}:load", count="40", share="0.25")
    assert data.name == f"{module}:load"
    assert len(data.train) + len(data.validation) + len(data.test) == 40
    assert (data.num_classes, data.image_shape) == (2, (1, 4, 4))
    assert torch.equal(data.train.images(torch.arange(1)), torch.full((1, 1, 4, 4), 0.25))
    assert not data.augmentation.is_random, "the same in every epoch, so that it can be cached"
    assert len(loaded(f"{module}:ready").train) > 10


def test_options_of_a_function_are_written_with_their_types(module: str) -> None:
    registry = build_registry(functions=[f"{module}:load"])
    choice = {"name": f"{module}:load", "count": "40"}
    assert declared_data(registry, choice) == {"name": f"{module}:load", "count": 40}


@pytest.mark.parametrize(
    ("function", "options", "kind", "message"),
    [
        ("load", {"counts": 3}, ConfigError, "unknown option 'data.counts'. Did you mean 'count'"),
        ("load", {"count": "many"}, ConfigError, "'data.count': "),
        ("ready", {"count": 3}, ConfigError, "unknown option 'data.count'"),
        ("lod", {}, UnknownNameError, "has no function 'lod'. Did you mean 'load'"),
        ("broken", {}, DataError, r"^data=own_\w+:broken failed \(OSError: no such disk\)\.$"),
        ("leaves", {}, DataError, r"failed \(SystemExit: 3\)"),
        ("nothing", {}, DataError, r"returned nothing: return a pbkd\.data\.Dataset, what "),
    ],
)
def test_what_is_wrong_with_a_function_is_one_sentence(
    module: str, function: str, options: dict[str, Any], kind: type[PbkdError], message: str
) -> None:
    with pytest.raises(kind, match=message):
        loaded(f"{module}:{function}", **options)


@pytest.mark.usefixtures("module")
def test_a_missing_or_broken_module_is_one_sentence() -> None:
    with pytest.raises(UnknownNameError, match="'no_such' is neither a data source nor a module"):
        loaded("no_such:load")
    Path("sick_data.py").write_text("1 / 0")
    with pytest.raises(DataError, match="'sick_data' cannot be imported: ZeroDivisionError"):
        loaded("sick_data:load")


def test_a_function_that_was_not_typed_is_not_imported(module: str) -> None:
    with pytest.raises(TrustError, match=rf"type data={module}:load, or vouch"):
        load_data({"name": f"{module}:load"}, build_registry())


def registry_with(load: Callable[[], Any]) -> Registry:
    source = type("Mine", (), {"name": "mine", "load": lambda _self: load()})
    registry = build_registry()
    plugin = SimpleNamespace(register_data=hookimpl(lambda: [source]), __name__="my_plugin")
    registry.add("my-plugin", plugin, version="", origin="here")
    return registry


def pair(count: int) -> tuple[Any, Any]:
    return torch.randint(256, (count, 3, 4, 4), dtype=torch.uint8), np.arange(count) % 2


def test_a_plugin_returns_a_mapping_of_its_splits() -> None:
    given = {"train": pair(20), "test": pair(6)}
    data = load_data({"name": "mine"}, registry_with(lambda: given))
    assert (len(data.train), len(data.validation), len(data.test)) == (18, 2, 6)
    assert (data.name, data.num_classes) == ("mine", 2)


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (3, "a int cannot be read from"),
        ("data.npz", "a str cannot be read from"),
        ({}, "returned no training images"),
        ({"train": pair(20), "valid": pair(4)}, "returned a mapping with 'valid'"),
        ({"train": (pair(20)[0], np.arange(20) / 2)}, "numbers such as 0.5, as for regression"),
        ({"train": pair(20), "test": pair(0)}, "test"),
        (torch.zeros(20, 4, 4), "images"),
        (torch.zeros(20, 3, 4, 4, dtype=torch.complex64), "complex64"),
        ((pair(20)[0], torch.full((20,), -5)), "labels"),
    ],
)
def test_what_a_plugin_may_not_return_is_one_sentence(returned: Any, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        load_data({"name": "mine"}, registry_with(lambda: returned))
    assert "\n" not in str(caught.value)


class Images:
    """A split of a plugin's own."""

    def __init__(self, images: Callable[[int], Any], labels: Any, count: int = 20) -> None:
        self.labels = labels
        self._images = images
        self._count = count

    def __len__(self) -> int:
        return self._count

    def images(self, indices: torch.Tensor) -> Any:
        return self._images(len(indices))


def dataset(train: Any, **changes: Any) -> Dataset:
    other = ArraySplit(torch.zeros(4, 3, 4, 4, dtype=torch.uint8), torch.arange(4) % 2)
    facts: dict[str, Any] = {"num_classes": 2, "image_shape": (3, 4, 4)}
    return Dataset(name="mine", train=train, validation=other, test=other, **facts | changes)


LABELS = torch.arange(20) % 2


@pytest.mark.parametrize(
    ("labels", "changes", "message"),
    [
        ([0, 1] * 10, {}, "train labels of data set 'mine' are list, but must be a tensor"),
        (LABELS.float(), {}, "are torch.float32"),
        (LABELS[:9], {}, r"are \(9,\), but must be \(20,\), one for each image"),
        (LABELS + 1, {}, "run from 1 to 2, but must be 0 … 1"),
        (LABELS, {"num_classes": 2.0}, "num_classes of data set 'mine' is 2.0"),
        (LABELS, {"image_shape": (4, 4)}, r"image_shape of data set 'mine' is \(4, 4\)"),
        (None, {"num_classes": None}, "train labels of data set 'mine' are NoneType"),
    ],
)
def test_facts_that_contradict_the_splits_are_refused(
    labels: Any, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        load_data(
            {"name": "mine"}, registry_with(lambda: dataset(Images(torch.empty, labels), **changes))
        )


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (lambda count: torch.zeros(count, 3, 5, 4, dtype=torch.uint8), r"are \(2, 3, 5, 4\)"),
        (lambda count: torch.zeros(count + 1, 3, 4, 4), r"are \(3, 3, 4, 4\) on cpu: give a"),
        (lambda count: torch.zeros(count, 3, 4, 4, dtype=torch.float64), "are float64"),
        (lambda count: np.zeros((count, 3, 4, 4)), "are a ndarray: give a tensor"),
        (lambda count: 1 // (count - count), r"failed in reading images \(ZeroDivisionError"),
    ],
)
def test_images_of_a_plugins_own_split_are_checked_when_they_are_read(
    images: Callable[[int], Any], message: str
) -> None:
    registry = registry_with(lambda: dataset(Images(images, LABELS)))
    data = load_data({"name": "mine"}, registry)
    with pytest.raises(DataError, match=rf"the data 'mine' of the plugin .*{message}"):
        data.train.images(torch.arange(2))
