"""Cut any network that torch.fx can trace, where one tensor carries everything."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from torch import fx, nn

from pbkd import hookimpl
from pbkd.errors import ChainError, ConfigError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pbkd.protocols import Partitioner

PBKD_CONTRACT = 1

_GRANULARITIES = ("block", "stage", "conv")
_WEIGHTED = (nn.Conv2d, nn.Linear)
_POOLS = (nn.MaxPool2d, nn.AvgPool2d)
_ENDS = (nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d, nn.Flatten)
_ENDING = ("adaptive_avg_pool2d", "adaptive_max_pool2d", "flatten", "mean")
_RESHAPES = ("view", "reshape")
_INPLACE = (operator.iadd, operator.imul, operator.isub)


@dataclass(frozen=True)
class FxPartitioner:
    """Partitioner for every network whose forward pass `torch.fx` can trace.

    A chain can be cut after any operation whose result is all that later ones need. With
    `granularity="block"` a segment is the smallest module that can be cut out and holds several
    layers, such as a residual block, and what lies between is cut before every convolution;
    `"stage"` joins segments up to the next one that shrinks the map; `"conv"` cuts before every
    convolution that it can. `paths` says instead after which modules to cut, and nowhere else.
    Segments are named after module paths (`layer1_0`); before the first and after the last of them
    stand `stem` and `head`.

    Tracing fixes what depends on the input's size or on the mode: dropout stays as it is in
    evaluation. Raises `ChainError`, naming the module, where tracing fails.
    """

    name: ClassVar[str] = "fx"
    fallback: ClassVar[bool] = True
    granularity: str = "block"
    paths: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check the options."""
        if self.granularity not in _GRANULARITIES:
            raise ConfigError(
                f"the partitioner fx has no granularity '{self.granularity}': it is one of"
                f" {', '.join(_GRANULARITIES)}."
            )

    def accepts(self, teacher: nn.Module) -> bool:  # noqa: ARG002
        """Say yes: whether a network can be traced is told, with the reason, by `partition`."""
        return True

    def partition(self, teacher: nn.Module) -> nn.Sequential:
        """Return the chain; raises `ChainError` where the network cannot be traced or cut."""
        traced = _Traced(teacher)
        if self.paths:
            pieces = _after_paths(traced, self.paths)
        else:
            pieces = _pieces(traced, self.granularity)
        chain = nn.Sequential()
        for name, nodes in _named(pieces).items():
            chain.add_module(name, _segment(traced, nodes))
        return chain


@hookimpl
def register_partitioners() -> list[type[Partitioner]]:
    """Hand over the partitioner `fx`."""
    return [FxPartitioner]


@dataclass
class _Piece:
    """Operations in a row and the path of the module that they are, or that they begin with."""

    path: str
    nodes: list[fx.Node]
    loose: bool


class _Tracer(fx.Tracer):
    """Traces into everything but torch's own modules and those that timm says to leave whole."""

    def __init__(self) -> None:
        from timm import layers

        whole: Any = layers
        super().__init__(autowrap_functions=tuple(whole.get_notrace_functions()))
        self._whole = tuple(whole.get_notrace_modules())
        self.inside: list[str] = []

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, self._whole) or super().is_leaf_module(m, module_qualified_name)

    def call_module(self, m: nn.Module, forward: Any, args: Any, kwargs: Any) -> Any:
        self.inside.append(self.path_of_module(m))
        result = super().call_module(m, forward, args, kwargs)
        self.inside.pop()
        return result


class _Traced:
    """A network's operations in order, the module that each belongs to, and where cuts can be."""

    def __init__(self, network: nn.Module) -> None:
        tracer = _Tracer()
        try:
            graph = tracer.trace(network)
        except Exception as error:
            where = f"at its module '{tracer.inside[-1]}'" if tracer.inside else "at its top"
            reason = " ".join(str(error).split()).split(". ")[0].rstrip(".")
            raise ChainError(
                f"{type(network).__name__} cannot be traced, {where} ({reason}): wrap that part"
                " with torch.fx.wrap, or write a partitioner plugin."
            ) from error
        _ask_for_batch_sizes_anew(graph)
        self.module = fx.GraphModule(network, graph)
        self.modules = dict(network.named_modules())
        inputs = [node for node in graph.nodes if node.op == "placeholder"]
        if any(not node.args for node in inputs[1:]):
            raise ChainError(f"{type(network).__name__} takes {len(inputs)} inputs, not one.")
        self.input = inputs[0]
        self.nodes = [
            n for n in graph.nodes if n.op in ("call_module", "call_function", "call_method")
        ]
        self.places: dict[str, list[int]] = {}
        """By a module's path, where its operations stand."""
        for place, node in enumerate(self.nodes):
            for path in node.meta.get("nn_module_stack", {}):
                self.places.setdefault(path, []).append(place)
        self.cuts = self._cuts(graph)

    def _cuts(self, graph: fx.Graph) -> set[fx.Node]:
        """Return the operations after which theirs is the only value that is still needed."""
        output = next(node for node in graph.nodes if node.op == "output")
        place = {node: index for index, node in enumerate(self.nodes)}
        place[output] = len(self.nodes)
        last = {n: max((place.get(u, -1) for u in n.users), default=-1) for n in self.nodes}
        last[self.input] = max(place.get(user, -1) for user in self.input.users)
        cuts, furthest = set(), last[self.input]
        for index, node in enumerate(self.nodes):
            if furthest <= index and not any(map(self._in_place, node.users)):
                cuts.add(node)
            furthest = max(furthest, last[node])
        return cuts

    def _in_place(self, node: fx.Node) -> bool:
        if node.op == "call_module":
            return bool(getattr(self.modules[str(node.target)], "inplace", False))
        if node.op == "call_method":
            return str(node.target).endswith("_") and not str(node.target).endswith("__")
        return node.target in _INPLACE or bool(node.kwargs.get("inplace", False))

    def layer(self, node: fx.Node) -> nn.Module | None:
        """Return the module that an operation calls, if it calls one."""
        return self.modules[str(node.target)] if node.op == "call_module" else None

    def span(self, path: str) -> tuple[int, int] | None:
        """Return where a module's operations begin and end, if they can be cut out as they are."""
        places = self.places.get(path, [])
        if not places or places[-1] - places[0] + 1 != len(places):
            return None
        first, last = places[0], places[-1]
        before = self.nodes[first - 1] if first else None
        whole = (before is None or before in self.cuts) and self.nodes[last] in self.cuts
        return (first, last) if whole else None


def _ask_for_batch_sizes_anew(graph: fx.Graph) -> None:
    """Let what reshapes a tensor to a batch size take that tensor's own, not an earlier one's.

    Otherwise `x.view(images.size(0), -1)` at the end of a network would need the images, and no cut
    before it could be. Where the two differ the chain is not the teacher, which the core checks.
    """
    for size in filter(_is_batch_size, list(graph.nodes)):
        for user in list(size.users):
            if user.op == "call_method" and user.target in _RESHAPES and user.args[0] is not size:
                with graph.inserting_before(user):
                    anew = graph.call_method("size", (user.args[0], 0))
                anew.meta = dict(user.meta)
                user.replace_input_with(size, anew)
        unused: Any = size
        while isinstance(unused, fx.Node) and unused.op != "placeholder" and not unused.users:
            earlier = unused.args[0]
            graph.erase_node(unused)
            unused = earlier


def _is_batch_size(node: fx.Node) -> bool:
    if node.op == "call_method" and node.target == "size":
        return bool(len(node.args) == 2 and node.args[1] == 0)
    if node.target is not operator.getitem or node.args[1] != 0:
        return False
    whole = node.args[0]
    if not isinstance(whole, fx.Node):
        return False
    if whole.op == "call_method" and whole.target == "size":
        return len(whole.args) == 1
    return bool(whole.target is getattr and whole.args[1] == "shape")


def _blocks(traced: _Traced, path: str = "") -> list[str]:
    """Return the smallest modules that can be cut out and hold several layers."""
    children = [f"{path}.{n}" if path else n for n, _ in traced.modules[path].named_children()]
    inside = [block for child in children for block in _blocks(traced, child)]
    return inside or ([path] if path and _is_block(traced, path) else [])


def _is_block(traced: _Traced, path: str) -> bool:
    module = traced.modules[path]
    if type(module) is nn.Sequential and sum(map(_is_dense, module.children())) > 1:
        return False  # plain layers in a row, as in a VGG
    weighted = [layer for layer in module.modules() if isinstance(layer, _WEIGHTED)]
    return len(weighted) > 1 and any(map(_is_spatial, weighted)) and traced.span(path) is not None


def _is_spatial(layer: nn.Module | None) -> bool:
    return isinstance(layer, nn.Conv2d) and max(layer.kernel_size) > 1


def _is_dense(layer: nn.Module) -> bool:
    return _is_spatial(layer) and isinstance(layer, nn.Conv2d) and layer.groups == 1


def _pieces(traced: _Traced, granularity: str) -> list[_Piece]:
    """Cut the operations into pieces, the first and the last of them stem and head."""
    label: dict[fx.Node, str] = {}
    if granularity != "conv":
        for path in _blocks(traced):
            first, last = traced.span(path) or (0, -1)
            label |= dict.fromkeys(traced.nodes[first : last + 1], path)
    pieces: list[_Piece] = []
    before: fx.Node | None = None
    for node in traced.nodes:
        if before is None or (before in traced.cuts and _begins(traced, before, node, label)):
            pieces.append(_Piece(label.get(node, ""), [], loose=node not in label))
        pieces[-1].nodes.append(node)
        before = node
    for piece in pieces:
        piece.path = piece.path or _first_layer(traced, piece.nodes)
    pieces = _with_ends(traced, pieces)
    return _stages(traced, pieces) if granularity == "stage" else pieces


def _begins(traced: _Traced, before: fx.Node, node: fx.Node, label: dict[fx.Node, str]) -> bool:
    """Say whether a piece begins: a block, what follows one, a convolution, or the classifier."""
    if label.get(node) != label.get(before):
        return True
    if node in label:
        return False
    return _is_spatial(traced.layer(node)) or _ends_map(traced, node)


def _ends_map(traced: _Traced, node: fx.Node) -> bool:
    if node.op == "call_module":
        return isinstance(traced.layer(node), _ENDS)
    called = node.target if isinstance(node.target, str) else node.target.__name__
    return called in _ENDING


def _first_layer(traced: _Traced, nodes: Sequence[fx.Node]) -> str:
    calls = [node for node in nodes if node.op == "call_module"]
    weighted = [node for node in calls if isinstance(traced.layer(node), _WEIGHTED)]
    named = [str(node.target) for node in (*weighted, *calls)]
    return named[0] if named else nodes[0].name


def _with_ends(traced: _Traced, pieces: list[_Piece]) -> list[_Piece]:
    """Join what is loose before the first block, and after the last, into stem and head.

    Where most convolutions come before any block, as in a VGG, the stem is the first piece alone,
    and the head all that follows the last piece with a convolution.
    """
    counts = [sum(_is_spatial(traced.layer(node)) for node in piece.nodes) for piece in pieces]
    blocks = [index for index, piece in enumerate(pieces) if not piece.loose]
    inside = sum(counts[index] for index in blocks)
    if not blocks or inside < sum(counts[: blocks[0]]):
        blocks = [index for index, count in enumerate(counts) if count and index] or [0]
        blocks.insert(0, min(1, len(pieces) - 1))
    first, last = blocks[0], blocks[-1] + 1
    return [*_joined("stem", pieces[:first]), *pieces[first:last], *_joined("head", pieces[last:])]


def _joined(name: str, pieces: list[_Piece]) -> list[_Piece]:
    nodes = [node for piece in pieces for node in piece.nodes]
    return [_Piece(name, nodes, loose=True)] if nodes else []


def _stages(traced: _Traced, pieces: list[_Piece]) -> list[_Piece]:
    """Join pieces up to the next one that shrinks the map."""
    stages: list[_Piece] = []
    for piece in pieces:
        shrinks = any(_shrinks(traced.layer(node)) for node in piece.nodes)
        if not stages or shrinks or "stem" in (piece.path, stages[-1].path) or piece.path == "head":
            stages.append(piece)
        else:
            stages[-1].nodes.extend(piece.nodes)
    return stages


def _shrinks(layer: nn.Module | None) -> bool:
    if not isinstance(layer, (nn.Conv2d, *_POOLS)):
        return False
    stride = layer.stride if isinstance(layer.stride, tuple) else (layer.stride,)
    return max(stride) > 1


def _after_paths(traced: _Traced, paths: Sequence[str]) -> list[_Piece]:
    """Cut after each of these modules; raises `ChainError` where that cannot be."""
    pieces, start = [], 0
    for path in paths:
        if path not in traced.modules:
            raise ChainError(
                f"'partitioner.paths' has no module '{path}'.{did_you_mean(path, traced.modules)}"
            )
        places = traced.places.get(path, [])
        if not places or traced.nodes[places[-1]] not in traced.cuts or places[-1] < start:
            raise ChainError(
                f"the chain cannot be cut after '{path}': more than its output is needed later, or"
                " it comes before the path that stands before it."
            )
        pieces.append(_Piece(path, traced.nodes[start : places[-1] + 1], loose=False))
        start = places[-1] + 1
    if start < len(traced.nodes):
        pieces.append(_Piece("head", traced.nodes[start:], loose=True))
    return pieces


def _named(pieces: Sequence[_Piece]) -> dict[str, list[fx.Node]]:
    """Return the pieces by names that torch takes: paths with underscores, repeats numbered."""
    named: dict[str, list[fx.Node]] = {}
    for piece in pieces:
        name = plain = piece.path.replace(".", "_")
        count = 1
        while name in named:
            count += 1
            name = f"{plain}_{count}"
        named[name] = piece.nodes
    return named


def _segment(traced: _Traced, nodes: Sequence[fx.Node]) -> fx.GraphModule:
    """Return these operations as a module of one input; it holds the network's own modules."""
    graph = fx.Graph()
    entry = graph.placeholder("x")
    copies: dict[fx.Node, fx.Node] = {}

    def copied(node: fx.Node) -> fx.Node:
        if node not in copies:
            own = node.op == "get_attr"
            copies[node] = graph.node_copy(node, copied) if own else entry
        return copies[node]

    for node in nodes:
        copies[node] = graph.node_copy(node, copied)
    graph.output(copies[nodes[-1]])
    return fx.GraphModule(traced.module, graph)
