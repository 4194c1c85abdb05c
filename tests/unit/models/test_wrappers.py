from __future__ import annotations

import copy
import threading
from typing import TYPE_CHECKING, Any

import pytest
import torch
from timm.utils.model_ema import ModelEma, ModelEmaV2, ModelEmaV3
from torch import Tensor, nn
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper
from torch.optim.swa_utils import AveragedModel

from pbkd.models.wrappers import copied, unwrapped

if TYPE_CHECKING:
    from collections.abc import Callable


def layers() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 2))


def compiled(network: nn.Module) -> Any:
    return torch.compile(network, backend="eager")


IMAGES = torch.linspace(-1, 1, 32).reshape(2, 1, 4, 4)
WRAPPERS: dict[str, Callable[[nn.Module], Any]] = {
    "DataParallel": nn.DataParallel,
    "AveragedModel": AveragedModel,
    "OptimizedModule": compiled,
    "ModelEma": ModelEma,
    "ModelEmaV2": ModelEmaV2,
    "ModelEmaV3": ModelEmaV3,
    "CheckpointWrapper": checkpoint_wrapper,
}


@pytest.mark.parametrize("name", WRAPPERS)
def test_a_wrapper_is_named_and_its_network_is_computed(name: str) -> None:
    network = layers()
    inner, names = unwrapped(WRAPPERS[name](network))
    assert names == [name]
    assert torch.equal(inner(IMAGES), network(IMAGES))


def test_wrappers_in_wrappers_are_removed_in_any_order() -> None:
    for order in (list(WRAPPERS), list(reversed(WRAPPERS))):
        wrapped: Any = layers()
        nested = [name for name in order if name != "ModelEma"]  # that one needs a module
        for name in nested:
            wrapped = WRAPPERS[name](wrapped)
        inner, names = unwrapped(wrapped)
        assert type(inner) is nn.Sequential
        assert names == nested[::-1]


def test_a_subclass_of_a_wrapper_is_one_and_a_module_with_such_an_attribute_is_none() -> None:
    class Parallel(nn.DataParallel[nn.Module]):
        pass

    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.module = layers()

    assert unwrapped(Parallel(layers()))[1] == ["Parallel"]
    own = Own()
    assert unwrapped(own) == (own, [])


@pytest.mark.parametrize("wrap", [nn.DataParallel, compiled, checkpoint_wrapper, AveragedModel])
def test_parts_are_copied_without_their_wrappers(wrap: Callable[[nn.Module], Any]) -> None:
    network = nn.Sequential(nn.Sequential(wrap(nn.DataParallel(nn.Conv2d(1, 4, 3)))), nn.ReLU())
    expected, keys = network(IMAGES), list(network.state_dict())
    plain = copied(network)
    assert isinstance(plain[0], nn.Sequential)  # type: ignore[index]
    assert list(plain.state_dict()) == ["0.0.weight", "0.0.bias"]
    assert torch.equal(plain(IMAGES), expected)
    assert list(network.state_dict()) == keys


def test_a_module_that_compiles_itself_is_copied_without_the_compiled_code() -> None:
    network = layers()
    network.compile(backend="eager")
    assert copied(network)._compiled_call_impl is None
    assert network._compiled_call_impl is not None


def test_hooks_and_results_that_cannot_be_copied_are_no_obstacle() -> None:
    network: Any = layers()
    lock = threading.Lock()
    network[0].register_forward_hook(lambda *_: lock.locked() or None)
    network.last, network.kept = network(IMAGES), {"features": [network[0](IMAGES)]}
    with pytest.raises(RuntimeError):
        copy.deepcopy(network)
    plain: Any = copied(network)
    assert torch.equal(plain(IMAGES), network(IMAGES))
    assert plain[0].weight is not network[0].weight
    assert network.last.requires_grad


def test_weights_that_two_layers_share_stay_shared() -> None:
    network: Any = nn.Sequential(nn.Linear(4, 4), nn.DataParallel(nn.Linear(4, 4)))
    network[1].module.weight = network[0].weight
    plain: Any = copied(network)
    assert plain[1].weight is plain[0].weight


def test_weights_made_in_inference_mode_can_be_trained_in_the_copy() -> None:
    with torch.inference_mode():
        network = layers()
    output: Tensor = copied(network)(IMAGES)
    output.sum().backward()  # type: ignore[no-untyped-call]
