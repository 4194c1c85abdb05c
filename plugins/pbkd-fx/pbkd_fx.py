"""Cuts any network that torch.fx can trace, wherever one tensor carries everything."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from torch import nn

from pbkd import hookimpl
from pbkd.errors import ChainError, ConfigError, did_you_mean
from pbkd.models import TracedNetwork

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import fx

    from pbkd.protocols import Partitioner

PBKD_CONTRACT = 2

_LONGEST_NAME = 100
_RESERVED = re.compile(r"con|prn|aux|nul|com\d|lpt\d", re.IGNORECASE)  # names of devices on Windows
_GRANULARITIES = ("block", "stage", "conv")
_WEIGHTED = (nn.Conv2d, nn.Linear)
_POOLS = (nn.MaxPool2d, nn.AvgPool2d)
_CLASSIFIER_LAYERS = (nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d, nn.Flatten)
_CLASSIFIER_CALLS = ("adaptive_avg_pool2d", "adaptive_max_pool2d", "flatten", "mean")


@dataclass(frozen=True)
class FxPartitioner:
    """Partitioner for every network whose forward pass `torch.fx` can trace.

    A network can be cut after any operation whose result is the only value that later ones need.
    With `granularity="block"` a segment is the smallest module that can be cut out and holds
    several layers, such as a residual block; what lies between blocks is cut before every
    convolution. `"stage"` joins segments up to the next one that downsamples. `"conv"` cuts before
    every convolution that allows it. `paths` instead names the modules after which to cut, and
    nowhere else. Segments are named after module paths (`layer1_0`), between `stem` and `head`.

    Tracing fixes what depends on the input's size or on the mode: dropout stays disabled.
    """

    name: ClassVar[str] = "fx"
    fallback: ClassVar[bool] = True
    granularity: str = "block"
    paths: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Raise `ConfigError` if an option is out of range."""
        if self.granularity not in _GRANULARITIES:
            raise ConfigError(
                f"the partitioner fx has no granularity '{self.granularity}': it is one of"
                f" {', '.join(_GRANULARITIES)}."
            )

    def accepts(self, teacher: nn.Module) -> bool:  # noqa: ARG002
        """Accept every network: `partition` says why one cannot be traced."""
        return True

    def partition(self, teacher: nn.Module) -> nn.Sequential:
        """Trace the teacher and cut it into named segments.

        Args:
            teacher: A network that takes one tensor (batch, channels, height, width).

        Returns:
            A chain of graph modules that hold the teacher's own layers.

        Raises:
            ChainError: The teacher cannot be traced, or not be cut after one of `paths`.
        """
        from timm import layers

        timm_layers: Any = layers
        network = TracedNetwork(
            teacher,
            leaf_modules=timm_layers.get_notrace_modules(),
            leaf_functions=timm_layers.get_notrace_functions(),
        )
        if self.paths:
            parts = _parts_after(network, self.paths)
        else:
            parts = _find_parts(network, self.granularity)
        chain = nn.Sequential()
        for name, nodes in _named(parts).items():
            chain.add_module(name, network.segment(nodes))
        return chain


@hookimpl
def register_partitioners() -> list[type[Partitioner]]:
    """Register the partitioner `fx`."""
    return [FxPartitioner]


@dataclass
class _Part:
    """Consecutive operations, and the path of their module or first layer.

    `in_block` is whether they are a block; only such parts may not be joined to stem or head.
    """

    path: str
    nodes: list[fx.Node]
    in_block: bool


def _blocks(network: TracedNetwork, path: str = "") -> list[str]:
    """Return the smallest modules that can be cut out and hold several layers."""
    children = [f"{path}.{n}" if path else n for n, _ in network.modules[path].named_children()]
    inside = [block for child in children for block in _blocks(network, child)]
    return inside or ([path] if path and _is_block(network, path) else [])


def _is_block(network: TracedNetwork, path: str) -> bool:
    module = network.modules[path]
    if type(module) is nn.Sequential and sum(map(_is_dense, module.children())) > 1:
        return False  # plain layers in a row, as in a VGG
    weighted = [layer for layer in module.modules() if isinstance(layer, _WEIGHTED)]
    return len(weighted) > 1 and any(map(_is_spatial, weighted)) and network.span(path) is not None


def _is_spatial(layer: nn.Module | None) -> bool:
    return isinstance(layer, nn.Conv2d) and max(layer.kernel_size) > 1


def _count_spatial(layer: nn.Module | None) -> int:
    """Count the convolutions in a module that is one operation, such as a whole block of timm."""
    return sum(map(_is_spatial, layer.modules())) if layer else 0


def _is_dense(layer: nn.Module) -> bool:
    return _is_spatial(layer) and isinstance(layer, nn.Conv2d) and layer.groups == 1


def _find_parts(network: TracedNetwork, granularity: str) -> list[_Part]:
    """Cut the operations into parts, the first and the last of them stem and head."""
    block_of: dict[fx.Node, str] = {}
    if granularity != "conv":
        for path in _blocks(network):
            first, last = network.span(path) or (0, -1)
            block_of |= dict.fromkeys(network.nodes[first : last + 1], path)
    parts: list[_Part] = []
    before: fx.Node | None = None
    for node in network.nodes:
        if before is None or (before in network.cuts and _begins(network, before, node, block_of)):
            parts.append(_Part(block_of.get(node, ""), [], in_block=node in block_of))
        parts[-1].nodes.append(node)
        before = node
    for part in parts:
        part.path = part.path or _first_layer(network, part.nodes)
    parts = _with_ends(network, parts)
    return _stages(network, parts) if granularity == "stage" else parts


def _begins(
    network: TracedNetwork, before: fx.Node, node: fx.Node, block_of: dict[fx.Node, str]
) -> bool:
    """Tell whether a part begins at `node`: a block or its end, a convolution, the classifier."""
    if block_of.get(node) != block_of.get(before):
        return True
    if node in block_of:
        return False
    return _is_spatial(network.layer(node)) or _begins_classifier(network, node)


def _begins_classifier(network: TracedNetwork, node: fx.Node) -> bool:
    if node.op == "call_module":
        return isinstance(network.layer(node), _CLASSIFIER_LAYERS)
    called = node.target if isinstance(node.target, str) else node.target.__name__
    return called in _CLASSIFIER_CALLS


def _first_layer(network: TracedNetwork, nodes: Sequence[fx.Node]) -> str:
    calls = [node for node in nodes if node.op == "call_module"]
    weighted = [node for node in calls if isinstance(network.layer(node), _WEIGHTED)]
    named = [str(node.target) for node in (*weighted, *calls)]
    return named[0] if named else nodes[0].name


def _with_ends(network: TracedNetwork, parts: list[_Part]) -> list[_Part]:
    """Join the parts before the first block, and after the last, into stem and head.

    If most convolutions come before any block, as in a VGG, the stem is the first part alone, and
    the head is everything after the last part with a convolution.
    """
    counts = [sum(_count_spatial(network.layer(node)) for node in part.nodes) for part in parts]
    blocks = [index for index, part in enumerate(parts) if part.in_block]
    inside = sum(counts[index] for index in blocks)
    if not blocks or inside < sum(counts[: blocks[0]]):
        blocks = [index for index, count in enumerate(counts) if count and index] or [0]
        blocks.insert(0, min(1, len(parts) - 1))
    first, last = blocks[0], blocks[-1] + 1
    return [*_joined("stem", parts[:first]), *parts[first:last], *_joined("head", parts[last:])]


def _joined(name: str, parts: list[_Part]) -> list[_Part]:
    nodes = [node for part in parts for node in part.nodes]
    return [_Part(name, nodes, in_block=False)] if nodes else []


def _stages(network: TracedNetwork, parts: list[_Part]) -> list[_Part]:
    """Join parts up to the next one that downsamples."""
    stages: list[_Part] = []
    for part in parts:
        downsamples = any(_downsamples(network.layer(node)) for node in part.nodes)
        if (
            not stages
            or downsamples
            or "stem" in (part.path, stages[-1].path)
            or part.path == "head"
        ):
            stages.append(part)
        else:
            stages[-1].nodes.extend(part.nodes)
    return stages


def _downsamples(layer: nn.Module | None) -> bool:
    if not isinstance(layer, (nn.Conv2d, *_POOLS)):
        return False
    stride = layer.stride if isinstance(layer.stride, tuple) else (layer.stride,)
    return max(stride) > 1


def _parts_after(network: TracedNetwork, paths: Sequence[str]) -> list[_Part]:
    """Cut after each of these modules; raise `ChainError` if that is impossible."""
    parts, start = [], 0
    for path in paths:
        if path not in network.modules:
            raise ChainError(
                f"'partitioner.paths' has no module '{path}'.{did_you_mean(path, network.modules)}"
            )
        last = max(network.positions.get(path, [-1]))
        if last < start or network.nodes[last] not in network.cuts:
            raise ChainError(
                f"the network cannot be cut after '{path}': later layers need more than its output,"
                " or it does not come after the previous one of 'partitioner.paths'."
            )
        parts.append(_Part(path, network.nodes[start : last + 1], in_block=True))
        start = last + 1
    if start < len(network.nodes):
        parts.append(_Part("head", network.nodes[start:], in_block=False))
    return parts


def _named(parts: Sequence[_Part]) -> dict[str, list[fx.Node]]:
    """Name the parts for torch and for files: duplicates, in whatever case, are numbered."""
    named: dict[str, list[fx.Node]] = {}
    taken: set[str] = set()
    for part in parts:
        name = plain = _file_name(part.path)
        count = 1
        while name.casefold() in taken or hasattr(nn.Sequential, name):
            count += 1
            name = f"{plain}_{count}"
        taken.add(name.casefold())
        named[name] = part.nodes
    return named


def _file_name(path: str) -> str:
    """Turn a module's path into a name that is valid for files on every system."""
    name = re.sub(r"[^A-Za-z0-9_-]", "_", path)
    if len(name) > _LONGEST_NAME:
        digest = hashlib.sha256(path.encode()).hexdigest()[:8]
        name = f"{name[: _LONGEST_NAME - 9]}_{digest}"
    if not name.strip("_-") or name.startswith("-"):
        name = f"block{name}"
    return f"block_{name}" if _RESERVED.fullmatch(name) else name
