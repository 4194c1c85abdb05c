from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune
from torch.optim.swa_utils import AveragedModel

from pbkd.errors import ChainError, TeacherError
from pbkd.models.adopt import adopt, loadable
from pbkd.models.traced_network import TracedNetwork

if TYPE_CHECKING:
    from collections.abc import Callable

IMAGES = torch.linspace(-1, 1, 32).reshape(2, 1, 4, 4)


def layers() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 2))


def mixed() -> nn.Module:
    network = layers()
    network[0].half()
    network[3].double()
    return network


@pytest.mark.parametrize(
    ("make", "types"),
    [
        (lambda: layers().half(), "float16"),
        (lambda: layers().bfloat16(), "bfloat16"),
        (lambda: layers().double(), "float64"),
        (mixed, "float16 and float64"),
    ],
)
def test_other_types_are_taken_as_float32_and_named(
    make: Callable[[], nn.Module], types: str
) -> None:
    network = make()
    before = [t.dtype for t in network.state_dict().values()]
    adopted = adopt(network)
    assert adopted.notes == (
        f"The teacher's weights are of type {types}: they are taken as float32.",
    )
    assert {p.dtype for p in adopted.network.parameters()} == {torch.float32}
    assert adopted.network(IMAGES).dtype == torch.float32
    assert [t.dtype for t in network.state_dict().values()] == before


def test_what_the_user_has_stays_as_it_is() -> None:
    network: Any = layers().train()
    network[0].weight.requires_grad_(False)
    adopted = adopt(network)
    assert adopted.notes == ()
    assert not any(m.training for m in adopted.network.modules())
    assert not any(p.requires_grad for p in adopted.network.parameters())
    assert all(m.training for m in network.modules())
    assert [p.requires_grad for p in network.parameters()] == [False, *[True] * 5]
    assert int(network[1].num_batches_tracked) == 0


def test_everything_at_once_is_taken_and_said() -> None:
    averaged: Any = AveragedModel(nn.DataParallel(layers().half()))
    network = averaged.module.module
    parametrizations.weight_norm(network[0])
    cast("Any", prune).l1_unstructured(network[3], "weight", 0.5)
    adopted = adopt(averaged)
    assert len(adopted.notes) == 3
    assert adopted.notes[0] == "The teacher is taken out of its AveragedModel and DataParallel."
    assert "weight normalisation and pruning" in adopted.notes[2]
    assert type(adopted.network[0]) is nn.Conv2d  # type: ignore[index]


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = layers()


def with_forward(forward: Callable[..., Any]) -> nn.Module:
    kind: type[nn.Module] = type("Net", (Net,), {"forward": forward})
    return kind().eval()


def own(net: Any, x: Tensor, scale: float | None = None, *, twice: bool = False) -> Any:
    x = net.layers(x)
    x = x if scale is None else x * scale
    return (x, x) if twice else x


TAKEN: list[Callable[..., Any]] = [
    own,
    lambda net, x, *args, **kwargs: (args, kwargs) if args or kwargs else net.layers(x),
    lambda net, *args: net.layers(args[0]),
    lambda net, x=None, labels=None: net.layers(x) if labels is None else labels,
    torch.no_grad()(own),
]
REFUSED: list[Callable[..., Any]] = [
    lambda net, x, mask: net.layers(x) * mask,
    lambda net, x, *, mask: net.layers(x) * mask,
    lambda net, *, x: net.layers(x),
    lambda net: net.layers(IMAGES),
    lambda net, **batch: net.layers(batch["x"]),
]


@pytest.mark.parametrize("forward", TAKEN)
def test_further_parameters_have_their_defaults_in_the_trace(forward: Callable[..., Any]) -> None:
    network = adopt(with_forward(forward)).network
    traced = TracedNetwork(network)
    assert torch.equal(traced.segment(traced.nodes)(IMAGES), network(IMAGES))


@pytest.mark.parametrize("forward", REFUSED)
def test_a_forward_that_does_not_take_images_alone_is_refused(forward: Callable[..., Any]) -> None:
    with pytest.raises(TeacherError, match=r"Net\.forward.* cannot be called with one batch"):
        adopt(with_forward(forward))


def test_a_forward_of_the_object_itself_is_traced() -> None:
    network: Any = layers().eval()
    network.forward = lambda x: cast("Any", nn.Sequential).forward(network, x) * 2
    traced = TracedNetwork(network)
    assert torch.equal(traced.segment(traced.nodes)(IMAGES), network(IMAGES))


def test_a_file_of_weights_is_loaded_in_full_precision_and_inside_wrappers() -> None:
    network = nn.DataParallel(layers().half())
    inner = loadable(network)
    inner.load_state_dict({key: value + 1e-5 for key, value in inner.state_dict().items()})
    assert inner is network.module
    for key, value in adopt(network).network.state_dict().items():
        assert torch.equal(value, inner.state_dict()[key])
        assert value.dtype in (torch.float32, torch.int64)


def test_functions_that_torch_compiles_are_traced() -> None:
    class Compiled(Net):
        def __init__(self) -> None:
            super().__init__()
            self.end = torch.compile(lambda x: x * 2, backend="eager")

        @torch.compile(backend="eager")
        def forward(self, x: Tensor) -> Any:
            return self.end(self.layers(x))

    network = Compiled().eval()
    traced = TracedNetwork(network)
    assert torch.equal(traced.segment(traced.nodes)(IMAGES), network(IMAGES))


def test_a_stored_method_of_the_original_is_no_part_of_a_copy() -> None:
    class Stored(Net):
        def __init__(self) -> None:
            super().__init__()
            self.end: Any = lambda x: self.layers(x)

        def forward(self, x: Tensor) -> Any:
            return self.end(x)

    with pytest.raises(ChainError, match="call layers through self"):
        TracedNetwork(adopt(Stored()).network)
