from __future__ import annotations

import inspect
import re
import typing
from pathlib import Path

import pytest
import torch
from pbkd_zoo import register_models, resnet
from torch import nn

from pbkd.errors import ConfigError

# He et al. 2016, table 6, gives 0.27, 0.46, 0.66, 0.85 and 1.7 million.
PARAMETERS = {
    "resnet20": 269_722,
    "resnet32": 464_154,
    "resnet44": 658_586,
    "resnet56": 853_018,
    "resnet110": 1_727_962,
}
KEY = re.compile(
    r"(layer[123]\.\d+\.)?(conv[12]\.weight|bn[12]\.(weight|bias|running_mean|running_var"
    r"|num_batches_tracked))|linear\.(weight|bias)"
)


def parameter_count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameter_counts_are_the_published_ones(name: str) -> None:
    with torch.device("meta"):
        network = getattr(resnet, name)()
    assert parameter_count(network) == PARAMETERS[name]


@pytest.mark.parametrize("name", PARAMETERS)
def test_depth_and_state_dict_keys(name: str) -> None:
    with torch.device("meta"):
        network = getattr(resnet, name)()
    weighted = [m for m in network.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    assert len(weighted) == int(name.removeprefix("resnet"))
    assert [key for key in network.state_dict() if not KEY.fullmatch(key)] == []
    first_block = [key for key in network.state_dict() if key.startswith("layer2.0.")]
    assert len(first_block) == 2 + 2 * 5


def test_the_shortcut_subsamples_and_pads_a_quarter_of_the_new_width_on_either_side() -> None:
    block = resnet.BasicBlock(16, 32, stride=2).eval()
    nn.init.zeros_(block.bn2.weight)  # the residual is zero
    x = torch.rand(2, 16, 8, 8)
    output = block(x)
    assert torch.equal(output[:, 8:24], x[:, :, ::2, ::2])
    assert not output[:, :8].any()
    assert not output[:, 24:].any()


def test_a_block_adds_its_residual_to_its_input_and_leaves_the_input_as_it_is() -> None:
    torch.manual_seed(0)
    block = resnet.BasicBlock(8, 8).eval()
    x = torch.randn(2, 8, 5, 5)
    before = x.clone()
    residual = block.bn2(block.conv2(torch.relu(block.bn1(block.conv1(x)))))
    assert torch.equal(block(x), torch.relu(residual + x))
    assert torch.equal(x, before)


def test_stages_double_the_width_and_halve_the_map() -> None:
    network = resnet.resnet20(width=5, in_channels=1, num_classes=7).eval()
    x = network.conv1(torch.randn(2, 1, 30, 30))
    shapes = []
    for stage in (network.layer1, network.layer2, network.layer3):
        x = stage(x)
        shapes.append(tuple(x.shape[1:]))
    assert shapes == [(5, 30, 30), (10, 15, 15), (20, 8, 8)]
    assert network(torch.randn(2, 1, 30, 30)).shape == (2, 7)


def test_an_impossible_width_is_refused() -> None:
    with pytest.raises(ConfigError, match="must be 1 or more"):
        resnet.resnet20(width=0)


@pytest.mark.parametrize("name", PARAMETERS)
def test_options_can_be_read_from_the_registered_builder(name: str) -> None:
    model = {model.name: model for model in register_models()}[name]
    parameters = inspect.signature(model.build).parameters
    hints = typing.get_type_hints(model.build)
    options = {key: (hints[key], parameter.default) for key, parameter in parameters.items()}
    assert options == {"num_classes": (int, 10), "in_channels": (int, 3), "width": (int, 16)}
    assert (model.mean, model.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def test_the_digits_teacher_is_small_and_registered_with_its_files() -> None:
    model = {model.name: model for model in register_models()}["digits-resnet"]
    network = model.build().eval()
    assert parameter_count(network) <= 450_000
    assert model.input_shape == (1, 8, 8)
    assert network(torch.zeros(3, *model.input_shape)).shape == (3, 10)
    package = Path(resnet.__file__).parent
    assert model.weights == package / "weights" / "digits-resnet.safetensors"
    assert model.card == package / "cards" / "digits-resnet.yaml"
