from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from pbkd_digits import DigitsSource

from pbkd.core.files import write_json
from pbkd.errors import UnknownNameError, ZooError
from pbkd.models.weights import read_weights, write_weights
from pbkd.plugin.registry import Registry
from pbkd.zoo.verify import Check, verify

EVERY = ["checksum", "parameters", "MACs", "accuracy"]


@pytest.fixture
def small(added: Callable[[Path, str], Path], zoo: Path) -> Path:
    """A student of digits in the zoo."""
    return added(zoo, "small")


def checks(registry: Registry, *names: str, **data: str) -> dict[str, Check]:
    return {check.what: check for check in verify(registry, names, data)}


def rewrite(folder: Path, **changes: object) -> None:
    card = yaml.safe_load((folder / "card.yaml").read_text())
    (folder / "card.yaml").write_text(yaml.safe_dump({**card, **changes}))


def test_everything_that_is_shipped_or_added_holds(registry: Registry, small: Path) -> None:
    found = list(verify(registry, []))
    names = [check.name for check in found if check.passed]
    for name in ("digits-vgg", "digits-resnet", small.name):
        assert names.count(name) == 4
    assert [check.what for check in found if check.name == small.name] == EVERY
    assert not any(check.passed is False for check in found)


def test_weights_of_other_bytes_fail_by_their_checksum(registry: Registry, small: Path) -> None:
    path = small / "model.safetensors"
    weights = read_weights(path)
    name = next(key for key in weights if key.startswith("head") and key.endswith("weight"))
    write_weights(path, {**weights, name: -weights[name]})
    found = checks(registry, "small")
    assert found["checksum"].passed is False
    assert ", but the card has " in found["checksum"].detail
    assert (found["parameters"].passed, found["MACs"].passed) == (True, True)
    assert found["accuracy"].passed is False


def test_a_file_that_is_cut_off_fails_and_stops_no_other(registry: Registry, small: Path) -> None:
    path = small / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-8])
    found = list(verify(registry, ["small", "digits-vgg"]))
    mine = [check for check in found if check.name == "small"]
    assert [check.what for check in mine] == ["checksum", "network"]
    assert not any(check.passed for check in mine)
    assert all(check.passed for check in found if check.name == "digits-vgg")


@pytest.mark.parametrize(
    ("changes", "failing"),
    [
        ({"parameters": 1}, "parameters"),
        ({"macs": 1}, "MACs"),
        ({"accuracy": {"test": 0.5}}, "accuracy"),
        ({"sha256": "00"}, "checksum"),
        ({"data": {"name": "no-such"}}, "data"),
        ({"licence": 1}, "card"),
    ],
)
def test_a_figure_that_is_not_so_fails(
    registry: Registry, small: Path, changes: dict[str, object], failing: str
) -> None:
    rewrite(small, **changes)
    found = checks(registry, "small")
    assert [what for what, check in found.items() if check.passed is False] == [failing]


def test_one_image_more_or_less_is_the_order_of_sums(registry: Registry, small: Path) -> None:
    card = yaml.safe_load((small / "card.yaml").read_text())
    for images, passes in ((1, True), (2, False)):
        rewrite(small, accuracy={"test": card["accuracy"]["test"] - images / 360})
        assert checks(registry, "small")["accuracy"].passed is passes


def test_a_figure_that_the_card_lacks_is_not_checked_and_said(
    registry: Registry, small: Path
) -> None:
    card = yaml.safe_load((small / "card.yaml").read_text())
    del card["macs"], card["accuracy"]
    (small / "card.yaml").write_text(yaml.safe_dump(card))
    found = checks(registry, "small")
    for what in ("MACs", "accuracy"):
        assert (found[what].passed, found[what].detail) == (None, "not on the card")


def test_data_that_is_not_at_hand_is_said_and_a_path_brings_it(
    registry: Registry, small: Path, tmp_path: Path
) -> None:
    rewrite(small, data={"name": "npz", "path": "digits.npz"})
    accuracy = checks(registry, "small")["accuracy"]
    assert (accuracy.passed, accuracy.detail) == (
        None, "data not available (set data.path=FILE)",
    )  # fmt: skip
    digits = DigitsSource().load()
    arrays: dict[str, Any] = {}
    for which in ("train", "test"):
        split = getattr(digits, which)
        rows = np.arange(len(split))
        arrays[f"x_{which}"] = split.images(split.labels.new_tensor(rows)).numpy()[:, 0]
        arrays[f"y_{which}"] = split.labels.numpy()
    np.savez(tmp_path / "digits.npz", **arrays)
    assert checks(registry, "small", path=str(tmp_path / "digits.npz"))["accuracy"].passed
    # One path for all: what has no path is left as it is.
    assert checks(registry, "digits-vgg", path=str(tmp_path / "digits.npz"))["accuracy"].passed
    gone = checks(registry, "small", path=str(tmp_path / "gone.npz"))
    assert gone["data"].passed is False


def test_data_of_another_shape_fails(registry: Registry, small: Path) -> None:
    rewrite(small, data={"name": "synthetic", "height": 16, "width": 16, "channels": 1})
    found = checks(registry, "small")
    assert found["data"].passed is False
    assert (
        found["data"].detail
        == "the data has images of (1, 16, 16), but the network takes (1, 8, 8)."
    )


def test_a_student_whose_builder_is_not_installed_fails(registry: Registry, small: Path) -> None:
    recipe = json.loads((small / "config.json").read_text())
    recipe["replaced"]["conv3_2"] = {"name": "elsewhere"}
    write_json(small / "config.json", recipe)
    network = checks(registry, "small")["network"]
    assert network.passed is False
    assert network.detail.startswith("unknown builder 'elsewhere'.")


def test_names_that_cannot_be_verified_are_told_before_anything_is(registry: Registry) -> None:
    with pytest.raises(UnknownNameError, match="unknown model or student 'digit-vgg'. Did you"):
        next(verify(registry, ["digits-vgg", "digit-vgg"]))
    with pytest.raises(ZooError, match="'vgg16' has no weights with a card"):
        next(verify(registry, ["vgg16"]))


def test_a_model_that_takes_any_size_needs_its_data_for_macs(registry: Registry) -> None:
    model = replace(registry.find("model", "digits-vgg"), input_shape=None)
    strategies = copy.copy(registry.strategies) | {"model": {"digits-vgg": model}}
    found = checks(type(registry)(registry.manager, strategies), "digits-vgg")
    assert found["MACs"].passed
