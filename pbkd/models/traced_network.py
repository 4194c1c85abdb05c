"""The graph of a network traced with torch.fx: its operations and where it can be cut."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

from torch import fx, nn

from pbkd.errors import ChainError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


__all__ = ["TracedNetwork"]

_RESHAPES = ("view", "reshape")
_INPLACE = (operator.iadd, operator.imul, operator.isub)


class TracedNetwork:
    """Operations in order of execution, and the points where a single tensor is passed on.

    Attributes:
        input: The placeholder of the network's only input.
        nodes: The operations, in order of execution.
        modules: The network's modules, by path.
        positions: By module path, the indices in `nodes` of its operations.
        cuts: The operations after which the network can be cut, because their result is the only
            value that later operations need.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        leaf_modules: Sequence[type[nn.Module]] = (),
        leaf_functions: Sequence[Callable[..., Any]] = (),
    ) -> None:
        """Trace a network (torch.fx, arXiv 2112.08429).

        Args:
            network: A module that takes one tensor; in evaluation mode its dropout disappears.
            leaf_modules: Module types that are one operation, beside torch's own.
            leaf_functions: Functions that are one operation.

        Raises:
            ChainError: The network cannot be traced, or takes several inputs.
        """
        graph = _trace(network, _Tracer(leaf_modules, leaf_functions))
        _localise_batch_sizes(graph)
        self._root = fx.GraphModule(network, graph)
        self.modules = dict(network.named_modules())
        inputs = [node for node in graph.nodes if node.op == "placeholder"]
        if any(not node.args for node in inputs[1:]):
            raise ChainError(f"{type(network).__name__} takes {len(inputs)} inputs, not one.")
        self.input: fx.Node = inputs[0]
        self.nodes: list[fx.Node] = [
            n for n in graph.nodes if n.op in ("call_module", "call_function", "call_method")
        ]
        self.positions: dict[str, list[int]] = {}
        for index, node in enumerate(self.nodes):
            for path in node.meta.get("nn_module_stack", {}):
                self.positions.setdefault(path, []).append(index)
        self.cuts = self._find_cuts(graph)

    def layer(self, node: fx.Node) -> nn.Module | None:
        """Return the module that an operation calls; None if it calls a function or a method."""
        return self.modules[str(node.target)] if node.op == "call_module" else None

    def span(self, path: str) -> tuple[int, int] | None:
        """Return the indices of a module's first and last operation, if it can be cut out.

        Args:
            path: The module's path, such as `layer1.0`.
        """
        positions = self.positions.get(path, [])
        if not positions or positions[-1] - positions[0] + 1 != len(positions):
            return None
        first, last = positions[0], positions[-1]
        before = self.nodes[first - 1] if first else None
        separable = (before is None or before in self.cuts) and self.nodes[last] in self.cuts
        return (first, last) if separable else None

    def segment(self, nodes: Sequence[fx.Node]) -> fx.GraphModule:
        """Make a module of one input from consecutive operations.

        Args:
            nodes: Operations between two cuts.

        Returns:
            A module that holds the network's own layers.
        """
        graph = fx.Graph()
        entry = graph.placeholder("x")
        copies: dict[fx.Node, fx.Node] = {}

        def copy(node: fx.Node) -> fx.Node:
            if node not in copies:
                is_attribute = node.op == "get_attr"
                copies[node] = graph.node_copy(node, copy) if is_attribute else entry
            return copies[node]

        for node in nodes:
            copies[node] = graph.node_copy(node, copy)
        graph.output(copies[nodes[-1]])
        return fx.GraphModule(self._root, graph)

    def _find_cuts(self, graph: fx.Graph) -> set[fx.Node]:
        output = next(node for node in graph.nodes if node.op == "output")
        index_of = {node: index for index, node in enumerate(self.nodes)}
        index_of[output] = len(self.nodes)
        last_use = {n: max((index_of.get(u, -1) for u in n.users), default=-1) for n in self.nodes}
        furthest = max(index_of.get(user, -1) for user in self.input.users)
        cuts = set()
        for index, node in enumerate(self.nodes):
            if furthest <= index and not any(map(self._is_inplace, node.users)):
                cuts.add(node)
            furthest = max(furthest, last_use[node])
        return cuts

    def _is_inplace(self, node: fx.Node) -> bool:
        if node.op == "call_module":
            return bool(getattr(self.modules[str(node.target)], "inplace", False))
        if node.op == "call_method":
            return str(node.target).endswith("_") and not str(node.target).endswith("__")
        return node.target in _INPLACE or bool(node.kwargs.get("inplace", False))


class _Tracer(fx.Tracer):
    """Traces into all modules but torch's own and the given leaves; knows where it is."""

    def __init__(
        self, modules: Sequence[type[nn.Module]], functions: Sequence[Callable[..., Any]]
    ) -> None:
        super().__init__(autowrap_functions=tuple(functions))
        self._leaves = tuple(modules)
        self.call_stack: list[str] = []

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, self._leaves) or super().is_leaf_module(m, module_qualified_name)

    def call_module(self, m: nn.Module, forward: Any, args: Any, kwargs: Any) -> Any:
        self.call_stack.append(self.path_of_module(m))
        result = super().call_module(m, forward, args, kwargs)
        self.call_stack.pop()
        return result


def _trace(network: nn.Module, tracer: _Tracer) -> fx.Graph:
    try:
        return tracer.trace(network)
    except Exception as error:
        stack = tracer.call_stack
        where = f"at its module '{stack[-1]}'" if stack else "at its top level"
        reason = " ".join(str(error).split()).split(". ")[0].rstrip(".")
        raise ChainError(
            f"{type(network).__name__} cannot be traced, {where} ({reason}): wrap that part"
            " with torch.fx.wrap, or write a partitioner plugin."
        ) from error


def _localise_batch_sizes(graph: fx.Graph) -> None:
    """Let a reshape to a batch size use the size of its own input, not of an earlier tensor.

    Otherwise `x.view(images.size(0), -1)` at the end of a network would need the images, and rule
    out every cut before it. If the two sizes differ, the core finds that the chain does not compute
    the teacher's function.
    """
    for size in filter(_is_batch_size, list(graph.nodes)):
        for user in list(size.users):
            if user.op == "call_method" and user.target in _RESHAPES and user.args[0] is not size:
                with graph.inserting_before(user):
                    local = graph.call_method("size", (user.args[0], 0))
                local.meta = dict(user.meta)
                user.replace_input_with(size, local)
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
    shape = node.args[0]
    if not isinstance(shape, fx.Node):
        return False
    if shape.op == "call_method" and shape.target == "size":
        return len(shape.args) == 1
    return bool(shape.target is getattr and shape.args[1] == "shape")
