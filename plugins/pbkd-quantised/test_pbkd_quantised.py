from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pytest
import torch
from pbkd_quantised import QuantisedActivation, QuantisedBuilder, QuantisedLayer, register_builders
from torch import Tensor, nn

from pbkd import Block, Built
from pbkd.errors import ConfigError
from pbkd.testing import check_builder, tiny_segment

if TYPE_CHECKING:
    from pathlib import Path


class Thin:
    """Replaces a segment by a convolution whose rank it chooses."""

    name = "thin"

    def build(self, segment: nn.Module, block: Block) -> Built | None:  # noqa: ARG002
        if block.input_shape[0] != 8:
            return None
        return Built(nn.Conv2d(8, 8, 1), {"rank": 2})


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.norm(self.conv(x)) + x)


def build(segment: nn.Module, x: Tensor, **options: Any) -> nn.Module:
    block = Block("block", 0, tuple(x.shape[1:]), tuple(x.shape[1:]))
    built = QuantisedBuilder(**options).build(segment.eval(), block, x)
    assert built is not None
    return built.module.eval()


def images(rows: int = 64) -> Tensor:
    return torch.randn(rows, 8, 6, 6, generator=torch.Generator().manual_seed(0))


def error(segment: nn.Module, **options: Any) -> float:
    x = images()
    wanted = segment.eval()(x)
    found = build(segment, x, **options)(x)
    return float(((found - wanted).square().mean() / wanted.var()).item())


def test_it_keeps_the_contract_with_4_bits_around_the_teachers_block() -> None:
    check_builder(QuantisedBuilder(weight_bits=4))
    assert register_builders() == [QuantisedBuilder]


def test_it_states_the_options_that_the_inner_builder_chose() -> None:
    built = QuantisedBuilder(of=Thin()).build(
        tiny_segment().eval(), Block("b", 0, (8, 6, 6), (8, 6, 6))
    )
    assert built is not None
    assert built.options == {"of": {"name": "thin", "rank": 2}}
    assert {type(m) for m in built.module.modules()} >= {QuantisedLayer, QuantisedActivation}


def test_a_block_that_the_inner_builder_leaves_is_quantised_as_it_is() -> None:
    segment = nn.Sequential(nn.Flatten(), nn.Linear(8, 3))
    built = QuantisedBuilder(of=Thin()).build(segment.eval(), Block("b", 0, (2, 2, 2), (3,)))
    assert built is not None
    assert isinstance(built.module.get_submodule("0.1"), QuantisedLayer)


def test_8_bits_come_close_to_the_block_and_4_bits_less_so() -> None:
    torch.manual_seed(0)
    segment = Residual()
    assert error(segment) < 2e-4
    assert 1e-3 < error(segment, weight_bits=4) < 3e-2


def test_operands_of_a_sum_and_inputs_of_a_convolution_are_rounded_once() -> None:
    built = build(Residual(), images())
    rounded = [n for n in cast("Any", built).graph.nodes if str(n.target).startswith("quantised_")]
    assert [str(n.args[0]) for n in rounded] == ["input_1", "_0_norm"]
    x = rounded[0]
    assert {str(user) for user in x.users} == {"_0_conv", "add"}


def test_weights_are_multiples_of_their_channels_step() -> None:
    layer = QuantisedLayer(nn.Conv2d(4, 3, 3, padding=1, bias=False), 4).eval()
    impulses = torch.zeros(4, 4, 3, 3)
    impulses[range(4), range(4), 1, 1] = 1
    codes = (layer(impulses) / layer.start.view(1, -1, 1, 1)).detach()
    assert torch.allclose(codes, codes.round(), atol=1e-4)
    assert codes.abs().max() == pytest.approx(7, abs=1e-4)


def test_the_gradient_of_a_step_is_that_of_lsq() -> None:
    rounding = QuantisedActivation(0.5, -2)
    x = torch.tensor([[-9.0, 0.6, 1.4, 200.0]], requires_grad=True)
    rounding(x).sum().backward()
    # Inside the range the code less the ratio; at its ends, the codes of the ends.
    by_step = -2 + (1 - 1.2) + (3 - 2.8) + 253
    wanted = by_step * (4 * 255) ** -0.5 / 0.5
    assert rounding.growth.grad is not None
    assert float(rounding.growth.grad) == pytest.approx(wanted, rel=1e-5)
    assert x.grad is not None
    assert x.grad.tolist() == [[0, 1, 1, 0]]


def test_training_and_evaluation_round_alike() -> None:
    built = build(nn.Sequential(nn.Conv2d(8, 8, 3), nn.ReLU()), images(), weight_bits=4)
    assert torch.equal(built.train()(images(2)), built.eval()(images(2)))


@pytest.mark.parametrize(
    ("options", "reason"),
    [({"weight_bits": 3}, "must be 8 or 4"), ({"of": QuantisedBuilder()}, "no use within itself")],
)
def test_options_out_of_range_are_refused(options: dict[str, Any], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        QuantisedBuilder(**options)


def _onnx(network: nn.Module, path: Path) -> Any:
    onnx = pytest.importorskip("onnx", reason="needs pip install 'pbkd[export]'")
    from pbkd_onnx import write_onnx

    with torch.no_grad():
        batch = ({0: torch.export.Dim("batch")},)
        write_onnx(network, images(2), path, input_names=["images"], dynamic_shapes=batch)
    return onnx.load(path)


def _trained_norms(network: nn.Module) -> None:
    """Give BatchNorms other numbers, negative factors and one of zero included."""
    torch.manual_seed(1)
    for norm in network.modules():
        if isinstance(norm, nn.BatchNorm2d):
            for tensor in (norm.running_mean, norm.weight.data, norm.bias.data):
                cast("Tensor", tensor).normal_()
            norm.weight.data[0] = 0


@pytest.mark.slow
@pytest.mark.parametrize("bits", [8, 4])
def test_the_exported_graph_computes_with_integers_and_gives_the_same(
    bits: int, tmp_path: Path
) -> None:
    network = nn.Sequential(Residual(), nn.MaxPool2d(2), Residual())
    _trained_norms(network)
    quantised = build(network, images(), weight_bits=bits)
    graph = _onnx(quantised, tmp_path / "net.onnx").graph
    kinds = [node.op_type for node in graph.node]
    assert not {"Round", "Div", "BatchNormalization"} & set(kinds)
    types = {item.name: (item.data_type, len(item.dims)) for item in graph.initializer}
    int8, int4, float32 = 3, 22, 1
    weights = [kind for kind, dims in types.values() if dims == 4]
    assert weights == [int8 if bits == 8 else int4] * 2
    assert (float32, 4) not in types.values()
    onnxruntime = pytest.importorskip("onnxruntime", reason="needs pip install 'pbkd[export]'")
    x = images(16)
    (found,) = onnxruntime.InferenceSession(tmp_path / "net.onnx").run(None, {"images": x.numpy()})
    difference = (torch.from_numpy(found) - quantised(x)).detach().abs() / quantised(x).abs().max()
    assert difference.mean() < 1e-4 and difference.max() < 0.05
