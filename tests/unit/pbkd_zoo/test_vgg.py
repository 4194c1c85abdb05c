from __future__ import annotations

import inspect
import math
import typing
from pathlib import Path

import pytest
import torch
from pbkd_zoo import register_models, vgg
from torch import nn
from torchvision import models

from pbkd.errors import ConfigError

DEPTHS = {"vgg11": 8, "vgg13": 10, "vgg16": 13, "vgg19": 16}


def parameter_count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def convolutions(network: nn.Module) -> list[nn.Conv2d]:
    return [layer for layer in network.modules() if isinstance(layer, nn.Conv2d)]


@pytest.mark.parametrize("name", DEPTHS)
@pytest.mark.parametrize("batch_norm", [True, False])
def test_features_have_torchvisions_keys_and_shapes(name: str, batch_norm: bool) -> None:
    with torch.device("meta"):
        ours = getattr(vgg, name)(batch_norm=batch_norm)
        theirs = models.get_model(f"{name}_bn" if batch_norm else name)

    def shapes(network: nn.Module) -> dict[str, torch.Size]:
        state = network.get_submodule("features").state_dict()
        return {key: tensor.shape for key, tensor in state.items()}

    assert shapes(ours) == shapes(theirs)
    assert len(convolutions(ours)) == DEPTHS[name]


def test_vgg16_has_the_usual_14_728_266_parameters() -> None:
    with torch.device("meta"):
        assert parameter_count(vgg.vgg16()) == 14_728_266
        features = models.vgg16_bn().features
    assert parameter_count(features) + (512 + 1) * 10 == 14_728_266


def test_32x32_images_see_the_usual_rounded_down_poolings() -> None:
    torch.manual_seed(0)
    network = vgg.vgg16(width=0.125).eval()
    images = torch.randn(2, 3, 32, 32)
    features = network.features(images)
    for layer in network.features:
        if isinstance(layer, nn.MaxPool2d):
            layer.ceil_mode = False
    assert features.shape == (2, 64, 1, 1)
    assert torch.equal(network.features(images), features)


@pytest.mark.parametrize("size", [1, 7, 8, 28, 33])
def test_other_sizes_give_logits_that_depend_on_the_image(size: int) -> None:
    torch.manual_seed(0)
    network = vgg.vgg11(width=0.125, in_channels=1, num_classes=7).eval()
    logits = network(torch.randn(2, 1, size, size))
    assert logits.shape == (2, 7)
    assert not torch.equal(logits[0], logits[1])


@pytest.mark.parametrize(
    ("width", "channels"),
    [(1.0, {64, 128, 256, 512}), (0.5, {32, 64, 128, 256}), (0.2, {16, 24, 48, 104}), (0.01, {8})],
)
def test_width_multiplies_channels_in_multiples_of_8(width: float, channels: set[int]) -> None:
    with torch.device("meta"):
        network = vgg.vgg13(width=width)
    assert {layer.out_channels for layer in convolutions(network)} == channels


@pytest.mark.parametrize("width", [0.0, -1.0, math.nan, math.inf])
def test_an_impossible_width_is_refused(width: float) -> None:
    with pytest.raises(ConfigError, match="must be above 0"):
        vgg.vgg11(width=width)


@pytest.mark.parametrize("name", DEPTHS)
def test_options_can_be_read_from_the_registered_builder(name: str) -> None:
    model = {model.name: model for model in register_models()}[name]
    parameters = inspect.signature(model.build).parameters
    hints = typing.get_type_hints(model.build)
    options = {key: (hints[key], parameter.default) for key, parameter in parameters.items()}
    assert options == {
        "width": (float, 1.0),
        "batch_norm": (bool, True),
        "num_classes": (int, 10),
        "in_channels": (int, 3),
    }
    assert (model.mean, model.std) == ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))


def test_the_digits_teacher_is_small_and_registered_with_its_files() -> None:
    model = {model.name: model for model in register_models()}["digits-vgg"]
    network = model.build().eval()
    assert parameter_count(network) <= 450_000
    assert model.input_shape == (1, 8, 8)
    assert network(torch.zeros(3, *model.input_shape)).shape == (3, 10)
    package = Path(vgg.__file__).parent
    assert model.weights == package / "weights" / "digits-vgg.safetensors"
    assert model.card == package / "cards" / "digits-vgg.yaml"
