"""The graph of a network traced with torch.fx: its operations and where it can be cut."""

from __future__ import annotations

import operator
import re
import sys
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from torch import fx, nn

from pbkd.errors import ChainError
from pbkd.models.in_place import is_overwritten, written_tensors
from pbkd.models.outputs import LogitsHook, logits_options

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


__all__ = ["TracedNetwork"]

_RESHAPES = ("view", "reshape")
_UNSPELLABLE = re.compile(r'["\\\x00-\x1f\x7f]')  # in the quoted names of fx's generated code


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
            ChainError: The network cannot be traced.
        """
        graph = _trace(network, _Tracer(leaf_modules, leaf_functions))
        _localise_batch_sizes(graph)
        self.modules = dict(network.named_modules())
        end = next(node for node in graph.nodes if node.op == "output")
        if "output" in logits_options(network):
            _remove_unused(graph, self.modules)
        _use_in_place_results(graph, self.modules)
        self._output = end.args[0]
        self._root = _graph_module(network, graph, self.modules)
        self.input: fx.Node = next(node for node in graph.nodes if node.op == "placeholder")
        if is_overwritten(self.input, self.modules):
            _copy_input(graph, self.input)
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
        last = self._output if nodes[-1] is self.nodes[-1] else nodes[-1]
        graph.output(copies[last])
        return fx.GraphModule(self._root, graph)

    def _find_cuts(self, graph: fx.Graph) -> set[fx.Node]:
        output = next(node for node in graph.nodes if node.op == "output")
        index_of = {node: index for index, node in enumerate(self.nodes)}
        index_of[output] = len(self.nodes)
        last_use = {n: max((index_of.get(u, -1) for u in n.users), default=-1) for n in self.nodes}
        furthest = max(index_of.get(user, -1) for user in self.input.users)
        cuts = set()
        for index, node in enumerate(self.nodes):
            if furthest <= index and not is_overwritten(node, self.modules):
                cuts.add(node)
            furthest = max(furthest, last_use[node])
        return cuts


class _Proxy(fx.Proxy):
    """A value of the traced network; assignments to its parts are operations too."""

    def __setitem__(self, index: Any, value: Any) -> None:
        arguments = (self, index, value)
        assigned = self.tracer.create_proxy("call_function", operator.setitem, arguments, {})
        self.node = assigned.node  # fx's code gives an assignment the value of its tensor


class _Tracer(fx.Tracer):
    """Traces into all modules but torch's own and the given leaves; knows where it is.

    The network is called with one image batch, so that its further parameters have their defaults.
    """

    def __init__(
        self, modules: Sequence[type[nn.Module]], functions: Sequence[Callable[..., Any]]
    ) -> None:
        super().__init__(autowrap_functions=tuple(functions))
        self._leaves = tuple(modules)
        self.call_stack: list[str] = []

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, self._leaves) or super().is_leaf_module(m, module_qualified_name)

    def create_args_for_root(
        self,
        root_fn: Any,  # noqa: ARG002
        is_module: bool,  # noqa: ARG002
        concrete_args: Any = None,  # noqa: ARG002
    ) -> tuple[Any, list[Any]]:
        return self._call_root, [self.create_proxy("placeholder", "x", (), {})]

    def proxy(self, node: fx.Node) -> fx.Proxy:
        return _Proxy(node, self)

    def _call_root(self, images: fx.Proxy) -> Any:
        output = self.root.forward(images)
        for hook in self.root._forward_hooks.values():
            if isinstance(hook, LogitsHook):
                output = hook(self.root, (images,), output)
        return output

    def call_module(self, m: nn.Module, forward: Any, args: Any, kwargs: Any) -> Any:
        self.call_stack.append(self.path_of_module(m))
        result = super().call_module(m, forward, args, kwargs)
        self.call_stack.pop()
        return result


def _trace(network: nn.Module, tracer: _Tracer) -> fx.Graph:
    try:
        with _traced_compiled_functions():
            return tracer.trace(network)
    except Exception as error:
        stack = tracer.call_stack
        where = f"at its module '{stack[-1]}'" if stack else "at its top level"
        reason = " ".join(str(error).split()).split(". ")[0].rstrip(".")
        cure = "wrap that part with torch.fx.wrap, or write a partitioner plugin"
        if (
            "not installed as a submodule" in reason
        ):  # a stored method of the network that was copied
            cure = "call layers through self, not through functions that belong to another copy"
        raise ChainError(
            f"{type(network).__name__} cannot be traced, {where} ({reason}): {cure}."
        ) from error


def _traced_compiled_functions() -> AbstractContextManager[None]:
    """Let functions that torch.compile has wrapped be traced like others."""
    if "torch._dynamo" not in sys.modules:
        return nullcontext()
    from torch._dynamo import config

    patched: AbstractContextManager[None] = config.patch(error_on_nested_fx_trace=False)
    return patched


def _remove_unused(graph: fx.Graph, modules: dict[str, nn.Module]) -> None:
    """Remove what only those outputs need that are not the logits."""
    for node in reversed(graph.nodes):
        called = node.op in ("call_module", "call_function", "call_method")
        if called and not node.users and not written_tensors(node, modules):
            graph.erase_node(node)


def _use_in_place_results(graph: fx.Graph, modules: dict[str, nn.Module]) -> None:
    """Let uses of `x` after a statement `x.relu_()` use its result, for a cut between them."""
    earlier: set[fx.Node] = set()
    for node in graph.nodes:
        earlier.add(node)
        written = [] if node.users else written_tensors(node, modules)
        for tensor in written:
            written += written_tensors(tensor, modules)  # of a chain, as in x.add_(1).mul_(2)
            for user in [user for user in tensor.users if user not in earlier]:
                user.replace_input_with(tensor, node)


def _graph_module(
    network: nn.Module, graph: fx.Graph, modules: dict[str, nn.Module]
) -> fx.GraphModule:
    """Make a module of a graph; targets that its code cannot spell get other names.

    Args:
        network: The network.
        graph: Its graph; targets are renamed.
        modules: The network's modules, by path; the new paths are added.
    """
    nodes = [node for node in graph.nodes if node.op in ("call_module", "get_attr")]
    held = {str(n.target): operator.attrgetter(str(n.target))(network) for n in nodes}
    if not any(map(_UNSPELLABLE.search, held)):
        return fx.GraphModule(network, graph)
    names: dict[str, str] = {}
    for target in held:
        name = plain = _UNSPELLABLE.sub("_", target)
        while name in names.values() or (name != target and name in held):
            name = f"{plain}_{len(names)}"
        names[target] = name
    for node in nodes:
        node.target = names[str(node.target)]
    modules |= {names[p]: held[p] for p in names if isinstance(held[p], nn.Module)}
    module = fx.GraphModule({names[target]: held[target] for target in held}, graph)
    module.training = network.training
    return module


def _copy_input(graph: fx.Graph, images: fx.Node) -> None:
    """Let a network that changes its input in place change a copy."""
    users = list(images.users)
    with graph.inserting_after(images):
        copy = graph.call_method("clone", (images,))
    for user in users:
        user.replace_input_with(images, copy)


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
