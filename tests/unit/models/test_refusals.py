from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import nn

from pbkd.errors import TeacherError
from pbkd.models.adopt import adopt

if TYPE_CHECKING:
    from collections.abc import Callable


def layers() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(16, 2)).eval()


IMAGES = torch.zeros(2, 1, 4, 4)


class FullyShardedDataParallel(nn.Module):
    """Named as torch's; that one needs a process group."""


class ModelProto:
    """Named as onnx's."""


def on_meta() -> nn.Module:
    with torch.device("meta"):
        return layers()


def part_on_meta() -> nn.Module:
    network = layers()
    network[2].to("meta")
    return network


QUANTIZATION: Any = torch.ao.quantization
REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "lazy": (lambda: nn.Sequential(nn.LazyConv2d(4, 3)), "'0.weight' yet, .* call it once"),
    "meta": (on_meta, "'0.weight' on the meta device"),
    "part on meta": (part_on_meta, "'2.weight' on the meta device"),
    "quantized": (
        lambda: QUANTIZATION.quantize_dynamic(layers(), {nn.Linear}),
        "quantized layer '2' .* quantize the student",
    ),
    "sharded": (FullyShardedDataParallel, "is sharded .* full state dict"),
    "onnx": (ModelProto, "ONNX model .* that was exported"),
    "class": (lambda: nn.Identity, "the class Identity, .* call it"),
    "function": (lambda: layers, "the function layers, .* what it returns"),
    "state dict": (lambda: layers().state_dict(), "state dict .* build the network"),
    "text": (lambda: "resnet18", "the text 'resnet18'"),
    "trainer": (lambda: SimpleNamespace(model=layers()), "give its attribute 'model'"),
    "nothing": (lambda: None, "of type NoneType, not a torch module"),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", REFUSED)
def test_it_is_refused_by_name_with_the_cure_in_one_sentence(kind: str) -> None:
    make, text = REFUSED[kind]
    with pytest.raises(TeacherError, match=text) as caught:
        adopt(make())
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith(".")


def test_a_float_network_that_is_ready_for_quantization_is_taken() -> None:
    network = nn.Sequential(QUANTIZATION.QuantStub(), layers())
    assert adopt(network).notes == ()


def test_a_graph_of_layers_is_taken() -> None:
    network = torch.fx.symbolic_trace(layers())
    assert torch.equal(adopt(network).network(IMAGES), network(IMAGES))
