from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from pbkd.errors import ExportError
from pbkd.models.plain.layers import layer_options
from pbkd.models.plain.operations import is_method, name_of
from pbkd.models.plain.tracing import trace_plain, trace_segments
from pbkd.models.weights import fingerprint
from tests.unit.models.plain.networks import NETWORKS, around

SHAPE = (1, 9, 9)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_becomes_torchs_own_layers_and_functions(name: str) -> None:
    network = NETWORKS[name]()
    before = fingerprint(network)
    plain = trace_plain(network, SHAPE)
    for node in plain.graph.nodes:
        if node.op == "call_module":
            assert layer_options(plain.get_submodule(str(node.target))) is not None
        elif node.op == "call_function":
            assert node.target is getattr or name_of(node.target)
        elif node.op == "call_method":
            assert is_method(str(node.target))
    for batch in (1, 2, 7):
        images = torch.randn(batch, *SHAPE)
        torch.testing.assert_close(plain(images), network(images), rtol=1e-5, atol=1e-6)
    assert fingerprint(network) == before
    assert not any("plain" in str(value) for value in vars(network))


def test_segments_together_compute_what_the_student_does() -> None:
    network = NETWORKS["layers"]()
    images, x = torch.randn(3, *SHAPE), torch.randn(0)
    x = images
    segments = trace_segments(network, SHAPE)
    assert list(segments) == [name for name, _ in network.named_children()]
    for segment in segments.values():
        x = segment(x)
    torch.testing.assert_close(x, network(images), rtol=1e-5, atol=1e-6)


def test_it_can_be_trained_further() -> None:
    plain = trace_plain(NETWORKS["layers"](), SHAPE).train()
    assert any(isinstance(module, nn.Dropout) and module.training for module in plain.modules())
    plain(torch.randn(4, *SHAPE)).sum().backward()
    assert all(p.grad is not None for p in plain.parameters())


class Branching(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x if x.mean() > 0 else -x


class Doubled(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * len(x)


class Looped(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([x[i] for i in range(x.shape[0])])


class Counted(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + float(x.detach().sum().item())


@pytest.mark.parametrize("layer", [Branching(), Doubled(), Looped(), Counted(), nn.LSTM(7, 7)])
def test_what_depends_on_the_images_is_refused_in_a_sentence(layer: nn.Module) -> None:
    with pytest.raises(ExportError, match=r"cannot be written as plain PyTorch code \(.*\)\.$"):
        trace_plain(around(layer) if not isinstance(layer, nn.LSTM) else layer, SHAPE)


def test_the_module_that_cannot_be_written_is_named() -> None:
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Sequential(nn.ReLU(), Looped()))
    with pytest.raises(ExportError, match=r"at its module '1\.1'"):
        trace_plain(network, SHAPE)
