from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from pbkd.errors import TeacherError
from pbkd.models.forward_pass import settle
from pbkd.models.outputs import logits_options
from pbkd.models.traced_network import TracedNetwork

if TYPE_CHECKING:
    from collections.abc import Callable

IMAGES = torch.linspace(-1, 1, 32).reshape(2, 1, 4, 4)


class Net(nn.Module):
    """A network whose forward ends with a function of one's own."""

    def __init__(self, end: Callable[[Any, Tensor], Any] = lambda _net, x: x) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(1, 4, 3), nn.Linear(16, 3)
        self.register_buffer("calls", torch.zeros(()))
        self.norm = nn.BatchNorm1d(3)
        self.end = end

    def forward(self, x: Tensor) -> Any:
        return self.end(self, self.fc(self.conv(x).flatten(1)))


def keep(net: Any) -> list[str]:
    return settle(net.eval().requires_grad_(False), IMAGES.clone(), 3, {})


RANDOM: dict[str, Callable[[Any, Tensor], Tensor]] = {
    "dropout that is always on": lambda _, x: functional.dropout(x, 0.5),
    "rare dropout": lambda _, x: functional.dropout(x, 0.05),
    "noise": lambda _, x: x + torch.randn_like(x),
    "stochastic depth": lambda _, x: x * torch.empty(2, 1).bernoulli_(0.8),
    "random of Python": lambda _, x: x if random.random() < 0.8 else -x,
    "random of NumPy": lambda _, x: x if np.random.rand() < 0.8 else -x,
    "Gumbel": lambda _, x: functional.gumbel_softmax(x),
}


@pytest.mark.parametrize("kind", RANDOM)
def test_a_network_that_is_random_in_evaluation_mode_is_refused(kind: str) -> None:
    with pytest.raises(TeacherError, match="differ between two calls with the same images"):
        keep(Net(RANDOM[kind]))


def test_random_numbers_that_do_not_matter_are_no_obstacle() -> None:
    network = Net(lambda _, x: x + 0 * torch.rand(2, 3))
    states = torch.get_rng_state(), random.getstate()
    assert keep(network) == []
    assert torch.equal(torch.get_rng_state(), states[0])
    assert random.getstate() == states[1]


def count(net: Any, x: Tensor) -> Tensor:
    net.calls += 1
    return x


STATEFUL: dict[str, Callable[[Any, Tensor], Tensor]] = {
    "counter": count,
    "statistics": lambda net, x: net.norm.train()(x),
    "functional statistics": lambda net, x: functional.batch_norm(
        x, net.norm.running_mean, net.norm.running_var, training=True
    ),
}


@pytest.mark.parametrize("kind", STATEFUL)
def test_a_network_that_changes_its_buffers_is_refused(kind: str) -> None:
    with pytest.raises(TeacherError, match="changes its own buffers"):
        keep(Net(STATEFUL[kind]))


def test_autocast_of_its_own_is_refused_and_switched_off_is_not() -> None:
    def mixed(net: Any, x: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return net.fc(x.repeat(1, 6)[:, :16]).float()  # type: ignore[no-any-return]

    def full(_net: Any, x: Tensor) -> Tensor:
        with torch.autocast("cpu", enabled=False):
            return x * 2

    with pytest.raises(TeacherError, match=r"switches torch\.autocast on"):
        keep(Net(mixed))
    assert keep(Net(full)) == []
    with pytest.raises(TeacherError, match="outputs are bfloat16"):
        keep(Net(lambda _, x: x.bfloat16()))


def test_hooks_are_removed_if_outputs_do_not_depend_on_them() -> None:
    network: Any = Net()
    seen: list[Tensor] = []
    network.conv.register_forward_hook(lambda _m, _i, output: seen.append(output))
    network.register_forward_pre_hook(lambda *_: None)
    network.fc.register_full_backward_hook(lambda *_: None)
    (note,) = keep(network)
    assert "Hooks" in note
    network(IMAGES)
    assert len(seen) == 2  # of the calls before
    assert len(TracedNetwork(network).nodes) == 3


@pytest.mark.parametrize("name", ["register_forward_hook", "register_forward_pre_hook"])
def test_a_hook_that_changes_the_outputs_is_refused_by_its_module(name: str) -> None:
    network: Any = Net()
    getattr(network.fc, name)(lambda _m, inputs, *output: (output or inputs)[0] * 2)
    with pytest.raises(TeacherError, match=r"\('fc'\) change its outputs"):
        keep(network)


def test_images_that_the_network_changes_are_copied() -> None:
    class Centring(Net):
        def forward(self, x: Tensor) -> Tensor:
            x -= 0.5
            return self.fc(self.conv(x.mul_(2)).flatten(1))  # type: ignore[no-any-return]

    network = Centring()
    assert keep(network) == []
    images = IMAGES.clone()
    first, second = network(images), network(images)
    assert torch.equal(images, IMAGES)
    assert torch.equal(first, second)


def test_settling_twice_changes_nothing_more() -> None:
    network = Net(lambda _, x: {"loss": None, "y": x, "maps": x[:, :, None]})
    assert keep(network) == ["Of the teacher's outputs, 'y' is taken as the logits."]
    assert keep(network) == []
    assert logits_options(network) == {"output": "y"}
    assert network(IMAGES).shape == (2, 3)


def test_logits_that_are_not_computed_last_are_the_end_of_the_chain() -> None:
    network = Net(lambda net, x: (x, net.conv(x[:, :1, None, None].expand(-1, -1, 4, 4))))
    keep(network)
    traced = TracedNetwork(network)
    segment = traced.segment(traced.nodes)
    assert torch.equal(segment(IMAGES), network(IMAGES))
    assert "conv_1" not in {node.name for node in traced.nodes}


def test_images_that_it_cannot_take_are_left_to_the_check_of_classes() -> None:
    assert settle(Net().eval(), torch.ones(2, 3, 4, 4), 3, {}) == []
