from __future__ import annotations

import pytest
from torch import nn

from pbkd.config.load import load_config
from pbkd.data.load import pretrained_cfg, with_preprocessing
from pbkd.data.normalization import Normalization
from pbkd.models.teacher import build_network, load_teacher
from pbkd.plugin.registry import Registry

FOLDER = {"name": "imagefolder", "path": "pictures"}


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        (
            "timm:efficientnet_lite0",
            {"size": 224, "channels": 3, "crop_pct": 0.875, "interpolation": "bicubic"},
        ),
        (
            "torchvision:efficientnet_b1",
            {"size": 240, "channels": 3, "crop_pct": 240 / 255, "interpolation": "bilinear"},
        ),
    ],
)
def test_pictures_are_made_as_the_weights_of_the_teacher_want_them(
    registry: Registry, name: str, wanted: dict[str, object]
) -> None:
    network = build_network(registry, {"name": name})
    assert with_preprocessing(FOLDER, network) == {**wanted, **FOLDER}
    own = {**FOLDER, "size": 96, "interpolation": "nearest"}
    assert with_preprocessing(own, network) == {**wanted, **own}


def test_other_sources_and_networks_are_left_as_they_are(registry: Registry) -> None:
    network = build_network(registry, {"name": "torchvision:resnet18"})
    for choice in ({"name": "digits"}, {"name": "synthetic", "height": 8}, {"name": "mine"}):
        assert with_preprocessing(choice, network) == choice
    assert pretrained_cfg(nn.ReLU()) == {}
    assert with_preprocessing(FOLDER, nn.ReLU()) == FOLDER


def test_torchvisions_own_normalisation_is_the_teachers(registry: Registry) -> None:
    choice = {"name": "torchvision:efficientnet_v2_l", "weights": "random"}
    teacher = load_teacher(registry, choice)
    assert teacher.normalization == Normalization((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    given = load_teacher(registry, {**choice, "mean": [0.4, 0.4, 0.4]})
    assert given.normalization.mean == (0.4, 0.4, 0.4)


def test_options_are_a_layer_of_the_configuration() -> None:
    config = load_config(options={"builder": {"name": "ghost", "ratio": 3}, "data": "synthetic"})
    assert config.builder == {"name": "ghost", "ratio": 3}
    assert config.data == {"name": "synthetic"}
    assert load_config(["workers=3"], options={"workers": 2}).workers == 3
