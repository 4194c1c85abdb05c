"""Replacements in fake quantisation: their weights and activations are whole multiples of steps."""

from __future__ import annotations

import copy
import operator
from dataclasses import dataclass, field, is_dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, fx, nn
from torch.fx.passes.shape_prop import ShapeProp
from torch.nn import functional

from pbkd import Built, ask_builder, hookimpl, layer_inputs
from pbkd.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pbkd import Block
    from pbkd.protocols import BlockBuilder

PBKD_CONTRACT = 2

_SUMS = (operator.add, operator.iadd, torch.add, "add", "add_")
_IMAGE_CHANNELS = 4
_SAMPLES = 4096  # of each 16 inputs' activations
_CLIPPED = torch.linspace(1, 0.4, 13)  # shares of the range among which the best is chosen
_SMALLEST = 1e-12


@dataclass(frozen=True, kw_only=True)
class QuantisedBuilder:
    """Quantise a block: the teacher's own layers, or what another builder replaces them by.

    Convolutions and linear layers get weights of `weight_bits`, with a step for each output
    channel, and inputs of 8 bits, with a step and a zero point for each tensor; so do sums, as of
    residual connections. The steps are learned with the weights (LSQ, arXiv 1902.08153), block by
    block (BRECQ, arXiv 2102.05426) and in fine-tuning; they begin with the smallest error of the
    weights, and of the activations of the calibration.

    With 4 bits, convolutions of images and linear layers keep 8. BatchNorms are trained as usual;
    an export multiplies them into the steps. Needs a block that torch.fx can trace.

    Args:
        of: The builder whose replacements are quantised, a name or a mapping of a `name` and
            options; blocks that it does not replace are quantised as they are. None for all blocks.
        weight_bits: Bits of a weight: 8 or 4.
    """

    name: ClassVar[str] = "quantised"
    of: Any = field(default=None, metadata={"slot": "builder"})
    weight_bits: int = 8

    def __post_init__(self) -> None:
        """Raise `ConfigError` if an option is out of range."""
        if self.weight_bits not in (4, 8):
            raise ConfigError(f"'builder.weight_bits' is {self.weight_bits}, but must be 8 or 4.")
        if isinstance(self.of, QuantisedBuilder):
            raise ConfigError("'builder.of' is 'quantised', which is no use within itself.")

    def build(
        self, segment: nn.Module, block: Block, calibration: Tensor | None = None
    ) -> Built | None:
        """Copy the segment, or replace it, and quantise its layers.

        Args:
            segment: The teacher's segment, which stays as it is.
            block: The block's name, position and shapes.
            calibration: Inputs of the segment, from which the steps of activations begin.

        Returns:
            The replacement, with the options that the other builder chose; None if the block has no
            convolution or linear layer, or cannot be traced.
        """
        inner = None if self.of is None else ask_builder(self.of, segment, block, calibration)
        network = copy.deepcopy(segment) if inner is None else inner.module
        quantised = _quantised(network.eval(), block.input_shape, self.weight_bits, calibration)
        if quantised is None:
            return None
        if inner is None or not inner.options:
            return Built(quantised)
        own = vars(self.of) if is_dataclass(self.of) else {}
        return Built(quantised, {"of": {"name": self.of.name, **own, **inner.options}})


class QuantisedLayer(nn.Module):
    """A convolution or linear layer whose weights are whole multiples of a step per channel."""

    start: Tensor

    def __init__(self, layer: nn.Conv2d | nn.Linear, bits: int) -> None:
        """Quantise a layer.

        Args:
            layer: The layer, which becomes a part of this one.
            bits: Bits of a weight, one code of which is not used: 4 bits are -7 to 7.
        """
        super().__init__()
        self.layer = layer
        self.levels = 2 ** (bits - 1) - 1
        self.stored_bits = {"layer.weight": bits}
        steps = _weight_steps(layer.weight.detach(), self.levels)
        steps = steps.view(-1, *[1] * (layer.weight.dim() - 1))
        self.register_buffer("start", steps)
        self.growth = nn.Parameter(torch.zeros_like(steps))

    def forward(self, x: Tensor) -> Tensor:
        """Compute the layer with its quantised weights."""
        layer, steps = self.layer, self.start * self.growth.exp()
        weight = _quantise(layer.weight, steps, -self.levels, self.levels, learns=self.training)
        if isinstance(layer, nn.Conv2d):
            convolved: Tensor = layer._conv_forward(x, weight, layer.bias)
            return convolved
        return functional.linear(x, weight, layer.bias)


class QuantisedActivation(nn.Module):
    """Rounds a tensor to one of 256 multiples of a step."""

    start: Tensor
    lowest: Tensor

    def __init__(self, step: float, lowest: int) -> None:
        """Begin with a step and the lowest multiple of it, from -255 to 0."""
        super().__init__()
        self.register_buffer("start", torch.tensor(step))
        self.register_buffer("lowest", torch.tensor(float(lowest)))
        self.growth = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """Round and clip."""
        step, highest = self.start * self.growth.exp(), self.lowest + 255
        return _quantise(x, step, self.lowest, highest, learns=self.training)


def _quantise(x: Tensor, step: Tensor, lowest: Any, highest: Any, *, learns: bool) -> Tensor:
    """Round to multiples of a step, or one per row."""
    if learns:
        quantised: Tensor = _LearnedStep.apply(x.float(), step, lowest, highest)
        return quantised
    return _rounded(x, step, lowest, highest)


def _rounded(x: Tensor, step: Tensor, lowest: Any, highest: Any) -> Tensor:
    """Round, in operations that every format of exports has."""
    return x.div(step).round().clamp(lowest, highest).mul(step)


class _LearnedStep(torch.autograd.Function):
    """Rounding with the gradients of LSQ (arXiv 1902.08153), for the logarithm of the steps.

    The logarithm keeps steps positive, and is what Adam can learn: it moves every parameter by the
    same amount, which steps of a hundredth would not survive. The gradient of a step is divided by
    its square, so that SGD moves the steps as much as if it learned them directly.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, step: Tensor, lowest: Any, highest: Any) -> Tensor:
        ratio = x / step
        codes = ratio.round().clamp_(lowest, highest)
        ctx.save_for_backward(ratio, codes, step)
        ctx.bounds = lowest, highest
        return codes * step

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        ratio, codes, step = ctx.saved_tensors
        lowest, highest = ctx.bounds
        inside = gradients[0] * ((ratio >= lowest) & (ratio <= highest))
        by_step = (gradients[0] * codes).sub_(inside * ratio).sum_to_size(step.shape)
        values = ratio[0].numel()  # of a channel's weights, or of an image's activations
        scale = (values * float(highest - lowest)) ** -0.5
        return inside, by_step.mul_(scale / step.square()), None, None


def _quantised(
    network: nn.Module, shape: tuple[int, ...], bits: int, calibration: Tensor | None
) -> fx.GraphModule | None:
    """Quantise a network in evaluation mode, whose modules are taken over."""
    for module in network.modules():
        if getattr(module, "inplace", False):
            module.inplace = False  # type: ignore[assignment]
    try:
        graph = fx.symbolic_trace(nn.Sequential(network))  # which may be one layer itself
        ShapeProp(graph).propagate(torch.zeros(1, *shape))
    except Exception:  # fx and the network's own code raise anything on what stands for a tensor
        return None
    layers = {str(n.target): graph.get_submodule(str(n.target)) for n in _layers(graph)}
    if not layers:
        return None
    activations = _insert(graph)
    seen = _seen(graph, activations, calibration)
    for name in activations:
        graph.set_submodule(name, _activation(seen.get(name)))
    wrapped: dict[nn.Module, QuantisedLayer] = {}
    for name, layer in layers.items():
        assert isinstance(layer, (nn.Conv2d, nn.Linear))
        wrapped.setdefault(layer, QuantisedLayer(layer, _bits(layer, bits)))
        graph.set_submodule(name, wrapped[layer])
    return graph


def _bits(layer: nn.Conv2d | nn.Linear, bits: int) -> int:
    is_image = isinstance(layer, nn.Conv2d) and layer.in_channels <= _IMAGE_CHANNELS
    return 8 if is_image or isinstance(layer, nn.Linear) else bits


def _layers(graph: fx.GraphModule) -> Iterator[fx.Node]:
    for node in graph.graph.nodes:
        is_module = node.op == "call_module"
        if is_module and type(graph.get_submodule(str(node.target))) in (nn.Conv2d, nn.Linear):
            yield node


def _insert(graph: fx.GraphModule) -> list[str]:
    """Insert placeholders before layers and sums, one for each value; return their names."""
    sums = [n for n in graph.graph.nodes if n.target in _SUMS and len(_tensors(n)) == 2]
    takers = {*_layers(graph), *sums}
    values = dict.fromkeys(
        value for taker in graph.graph.nodes if taker in takers for value in _tensors(taker)
    )
    names = [f"quantised_{value.name}" for value in values]
    for name, value in zip(names, values, strict=True):
        graph.add_submodule(name, nn.Identity())
        with graph.graph.inserting_after(value):
            rounded = graph.graph.call_module(name, (value,))
        value.replace_all_uses_with(rounded, takers.__contains__)
    graph.recompile()
    return names


def _tensors(node: fx.Node) -> list[fx.Node]:
    """Return the operands that are computed and are tensors of floating-point numbers."""
    return [
        operand
        for operand in node.all_input_nodes
        if operand.op != "get_attr"
        and (meta := operand.meta.get("tensor_meta")) is not None
        and getattr(meta, "dtype", None) == torch.float32
    ]


@torch.no_grad()
def _seen(network: nn.Module, names: list[str], calibration: Tensor | None) -> dict[str, Tensor]:
    """Return a sample of what each placeholder gets, its extremes included."""
    if calibration is None:
        return {}
    layers = {name: network.get_submodule(name) for name in names}
    parts: dict[str, list[Tensor]] = {name: [] for name in names}
    for name, x in layer_inputs(network, layers, calibration):
        flat = x.flatten()
        parts[name] += [
            flat[:: max(1, len(flat) // _SAMPLES)],
            flat.aminmax().min[None],
            flat.max()[None],
        ]
    return {name: torch.cat(each) for name, each in parts.items()}


def _activation(seen: Tensor | None) -> QuantisedActivation:
    """Choose the step with the smallest squared error, for a range that contains zero."""
    if seen is None or not len(seen) or not seen.isfinite().all():
        return QuantisedActivation(1 / 16, -128)
    low, high = seen.min().clamp_max(0), seen.max().clamp_min(0)
    steps = (_CLIPPED * (high - low) / 255).clamp_min(_SMALLEST)
    lowest = (low * _CLIPPED / steps).round()
    errors = _rounded(seen, steps[:, None], lowest[:, None], lowest[:, None] + 255) - seen
    best = int(errors.square().mean(1).argmin())
    return QuantisedActivation(float(steps[best]), int(lowest[best]))


def _weight_steps(weight: Tensor, levels: int) -> Tensor:
    """Choose the step of each output channel with the smallest squared error."""
    rows = weight.flatten(1)
    most = (rows.abs().amax(1) / levels).clamp_min(_SMALLEST)

    def error(steps: Tensor) -> Tensor:
        return (_rounded(rows, steps[:, None], -levels, levels) - rows).square().sum(1)

    steps = _CLIPPED[:, None] * most
    best = torch.stack([error(each) for each in steps]).argmin(0)
    return steps.gather(0, best[None])[0]


@hookimpl
def register_builders() -> list[type[BlockBuilder]]:
    """Register the builder `quantised`."""
    return [QuantisedBuilder]
