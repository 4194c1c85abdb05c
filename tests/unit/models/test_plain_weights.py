from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any, cast

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize, prune, spectral_norm, weight_norm

from pbkd.errors import TeacherError
from pbkd.models.plain_weights import bake_weights
from pbkd.models.wrappers import copied

if TYPE_CHECKING:
    from collections.abc import Callable

IMAGES = torch.linspace(-1, 1, 96).reshape(2, 3, 4, 4)


class Positive(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return weight.abs()


def convolution() -> nn.Module:
    return nn.Conv2d(3, 4, 3)


def positive() -> nn.Module:
    layer = convolution()
    parametrize.register_parametrization(layer, "weight", Positive())
    return layer


def pruned() -> nn.Module:
    layer, pruning = convolution(), cast("Any", prune)
    pruning.ln_structured(layer, "weight", 0.5, 2, 0)
    pruning.l1_unstructured(layer, "weight", 0.2)
    pruning.random_unstructured(layer, "bias", 0.5)
    return layer


KINDS: dict[str, Callable[[], nn.Module]] = {
    "weight normalisation": lambda: weight_norm(convolution()),
    "weight normalisation, parametrized": lambda: parametrizations.weight_norm(convolution()),
    "spectral normalisation": lambda: spectral_norm(convolution()),
    "spectral normalisation, parametrized": lambda: parametrizations.spectral_norm(convolution()),
    "the parametrization Positive": positive,
    "pruning": pruned,
}


@pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm` is deprecated")
@pytest.mark.parametrize("kind", KINDS)
def test_computed_weights_become_plain_parameters_of_the_same_values(kind: str) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(KINDS[kind]())
    network(IMAGES)
    expected, keys = network.eval()(IMAGES), list(network.state_dict())
    plain = copied(network).eval()
    assert bake_weights(plain)[0] == kind.partition(",")[0]
    assert {name for name, _ in plain.named_parameters()} == {"0.weight", "0.bias"}
    assert sorted(plain.state_dict()) == ["0.bias", "0.weight"]
    assert type(plain[0]) is nn.Conv2d  # type: ignore[index]
    assert torch.equal(plain(IMAGES), expected)
    pickle.loads(pickle.dumps(plain)).load_state_dict(plain.state_dict())
    assert list(network.state_dict()) == keys
    assert torch.equal(network(IMAGES), expected)


def test_a_network_of_plain_layers_is_left_alone() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    assert bake_weights(network) == []


def test_a_weight_computed_by_a_hook_of_ones_own_is_refused_by_name() -> None:
    def scale(layer: nn.Module, _inputs: object) -> None:
        layer.weight = layer.stored * 0.1  # type: ignore[operator, assignment]

    network: Any = nn.Sequential(nn.Conv2d(3, 4, 3))
    network[0].stored = network[0]._parameters.pop("weight")
    network[0].register_forward_pre_hook(scale)
    network(IMAGES)
    with pytest.raises(TeacherError, match=r"a hook computes '0\.weight'"):
        bake_weights(network)
