from __future__ import annotations

import pytest
from pbkd_zoo.families import _with_cfg
from torch import nn
from torchvision.models import get_model_weights

from pbkd.config.load import load_config
from pbkd.data.normalization import Normalization
from pbkd.data.preprocessing import CFG, pretrained_cfg, with_preprocessing
from pbkd.models.teacher import build_network, load_teacher
from pbkd.plugin.registry import Registry

FOLDER = {"name": "imagefolder", "path": "pictures"}


LITE0 = {"size": 224, "channels": 3, "crop_pct": 0.875, "interpolation": "bicubic"}
B1 = {"size": 240, "channels": 3, "crop_pct": 240 / 255, "interpolation": "bilinear"}


def without_crop(options: dict[str, object]) -> dict[str, object]:
    return {key: value for key, value in options.items() if key != "crop_pct"}


@pytest.mark.parametrize(
    ("name", "own_weights", "wanted"),
    [
        ("timm:efficientnet_lite0", False, LITE0),
        ("timm:efficientnet_lite0", True, without_crop(LITE0)),
        ("torchvision:efficientnet_b1", True, without_crop(B1)),
    ],
)
def test_pictures_are_made_as_the_weights_of_the_teacher_want_them(
    registry: Registry, name: str, own_weights: bool, wanted: dict[str, object]
) -> None:
    network = build_network(registry, {"name": name})
    choice, origins = with_preprocessing(FOLDER, network, registry, own_weights=own_weights)
    assert choice == {**wanted, **FOLDER}
    assert origins == {"crop_pct": "whole pictures"} | dict.fromkeys(wanted, CFG)
    own = {**FOLDER, "size": 96, "crop_pct": 0.5}
    choice, origins = with_preprocessing(own, network, registry, own_weights=own_weights)
    assert choice == {**wanted, **own}
    assert (origins["size"], origins["crop_pct"]) == ("data.size", "data.crop_pct")


def test_pretrained_weights_of_torchvision_keep_their_crop(registry: Registry) -> None:
    weights = get_model_weights("efficientnet_b1").DEFAULT
    network = _with_cfg(nn.Identity(), weights, crop=True)
    assert with_preprocessing(FOLDER, network, registry, own_weights=False)[0] == {**B1, **FOLDER}


def test_a_crop_that_an_own_network_declares_is_used(registry: Registry) -> None:
    network = nn.Identity()
    network.pretrained_cfg = {"input_size": (1, 48, 48), "crop_pct": 0.75}  # type: ignore[assignment]
    choice, origins = with_preprocessing(FOLDER, network, registry, own_weights=True)
    assert choice == {**FOLDER, "size": 48, "channels": 1, "crop_pct": 0.75}
    assert origins == {
        "size": CFG, "channels": CFG, "crop_pct": CFG, "interpolation": "default"
    }  # fmt: skip


def test_other_sources_and_networks_are_left_as_they_are(registry: Registry) -> None:
    network = build_network(registry, {"name": "torchvision:resnet18"})
    for choice in ({"name": "digits"}, {"name": "synthetic", "height": 8}, {"name": "mine"}):
        assert with_preprocessing(choice, network, registry, own_weights=False) == (choice, {})
    assert pretrained_cfg(nn.ReLU()) == {}
    assert with_preprocessing(FOLDER, nn.ReLU(), registry, own_weights=True)[0] == FOLDER


def test_torchvisions_own_normalisation_is_the_teachers(registry: Registry) -> None:
    choice = {"name": "torchvision:efficientnet_v2_l", "weights": "random"}
    teacher = load_teacher(registry, choice)
    assert teacher.normalization == Normalization((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    assert teacher.origins == {"mean": CFG, "std": CFG}
    given = load_teacher(
        registry,
        {"name": "torchvision:squeezenet1_1", "weights": "random", "mean": [0.4, 0.4, 0.4]},
    )
    assert given.normalization.mean == (0.4, 0.4, 0.4)
    assert given.origins == {"mean": "teacher.mean", "std": CFG}


def test_options_are_a_layer_of_the_configuration() -> None:
    config = load_config(options={"builder": {"name": "ghost", "ratio": 3}, "data": "synthetic"})
    assert config.builder == {"name": "ghost", "ratio": 3}
    assert config.data == {"name": "synthetic"}
    assert load_config(["workers=3"], options={"workers": 2}).workers == 3
