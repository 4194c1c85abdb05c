"""A plain network as JSON: layers and operations by name, from which it is rebuilt without code."""

from __future__ import annotations

import keyword
import re
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, fx, nn

from pbkd.core.files import read_json, write_json
from pbkd.errors import ExportError, RunFolderError
from pbkd.models.plain.arguments import decode, dtype_of, encode
from pbkd.models.plain.layers import build_layer, layer_options
from pbkd.models.plain.operations import ATTRIBUTES, functions, is_method, name_of
from pbkd.models.weights import other_types

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from pathlib import Path

__all__ = ["read_network", "write_network"]

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_MOST_CONSTANTS = 2**17


def write_network(path: Path, segments: Mapping[str, nn.Module], stored: Collection[str]) -> None:
    """Write the layers and operations of a network.

    Args:
        path: The file.
        segments: What `trace_segments` returns.
        stored: The names of its weights, which are kept in another file.

    Raises:
        ExportError: If an operation has an argument that has no form in JSON.
    """
    trees = {}
    for name, plain in segments.items():
        own = {key.removeprefix(f"{name}.") for key in stored if key.startswith(f"{name}.")}
        trees[name] = _segment_tree(plain, own)
    write_json(path, {"format": 1, "segments": trees})


def _segment_tree(plain: nn.Module, stored: Collection[str]) -> dict[str, Any]:
    if not isinstance(plain, fx.GraphModule):
        return {"layer": _layer_tree(plain)}
    modules = {str(node.target) for node in plain.graph.nodes if node.op == "call_module"}
    tensors = {str(node.target) for node in plain.graph.nodes if node.op == "get_attr"}
    layers = {name: plain.get_submodule(name) for name in sorted(modules)}
    return {
        "layers": {name: _layer_tree(layer) for name, layer in layers.items()},
        "tensors": {name: _tensor_tree(plain, name, stored) for name in sorted(tensors)},
        "operations": [_operation(node) for node in plain.graph.nodes],
    }


def _layer_tree(layer: nn.Module) -> dict[str, Any]:
    return {"type": type(layer).__name__, "options": encode(layer_options(layer))}


def _tensor_tree(plain: fx.GraphModule, name: str, stored: Collection[str]) -> dict[str, Any]:
    owner, _, leaf = name.rpartition(".")
    tensor: Tensor = getattr(plain.get_submodule(owner), leaf)
    tree = {"shape": list(tensor.shape), "dtype": str(tensor.dtype).removeprefix("torch.")}
    if name in stored:
        return {**tree, "parameter": isinstance(tensor, nn.Parameter)}
    if tensor.numel() > _MOST_CONSTANTS:
        raise ExportError(f"the constant '{name}' of the network is too large to be written.")
    return {**tree, "values": encode(tensor.flatten().tolist())}


def _operation(node: fx.Node) -> dict[str, Any]:
    target = str(node.target)
    if node.op == "call_function":
        target = "getattr" if node.target is getattr else str(name_of(node.target))
    args, kwargs = encode(list(node.args)), {key: encode(v) for key, v in node.kwargs.items()}
    return {"name": node.name, "op": node.op, "target": target, "args": args, "kwargs": kwargs}


def read_network(path: Path, weights: Mapping[str, Tensor]) -> nn.Sequential:
    """Rebuild a network from an untrusted file; no code in it is run.

    Args:
        path: What `write_network` wrote.
        weights: Its parameters and buffers by name; others are ignored.

    Returns:
        The network, a chain of its segments, in evaluation mode.

    Raises:
        RunFolderError: If the file is damaged, or does not fit the weights.
    """
    tree = read_json(path)
    try:
        if not isinstance(tree, dict) or tree.get("format") != 1:
            raise ValueError("it is not of this version of pbkd")
        network = nn.Sequential()
        for name, segment in tree["segments"].items():
            network.add_module(name, _segment(segment, _below(name, weights)))
        return network.eval()
    except (ValueError, TypeError, KeyError, AttributeError, IndexError, RecursionError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise RunFolderError(f"'{path}' does not describe a network: {reason}.") from error


def _is_attribute(name: str) -> bool:
    """Whether torch.fx can write the name of a module between quotes, or as an attribute."""
    return bool(name) and name.isprintable() and not set(name) & set('"\\')


def _below(name: str, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights whose names begin with `name` and a dot, without these."""
    prefix = f"{name}."
    return {k.removeprefix(prefix): t for k, t in weights.items() if k.startswith(prefix)}


def _segment(tree: Mapping[str, Any], weights: Mapping[str, Tensor]) -> nn.Module:
    if "layer" in tree:
        return _built(tree["layer"], weights)
    root = _Root(tree, weights)
    return fx.GraphModule(root.module, _graph(tree, root.module), "Segment")


class _Root:
    """A module with the layers and tensors of a segment at their paths, and with its weights."""

    def __init__(self, tree: Mapping[str, Any], weights: Mapping[str, Tensor]) -> None:
        self.module = nn.Module()
        for name, layer in tree["layers"].items():
            built = _built(layer, _below(name, weights))
            owner, leaf = self._place(name)
            owner.add_module(leaf, built)
        for name, tensor in tree["tensors"].items():
            value = self._tensor(name, tensor, weights)
            owner, leaf = self._place(name)
            if tensor.get("parameter"):
                owner.register_parameter(leaf, nn.Parameter(value))
            else:
                owner.register_buffer(leaf, value)

    def _place(self, path: str) -> tuple[nn.Module, str]:
        """Return the module that owns a path, made where it is missing, and the last name."""
        owner = self.module
        *names, leaf = path.split(".")
        if not all(map(_is_attribute, (*names, leaf))):
            raise ValueError(f"the name {path!r} is no path of a module")
        for name in names:
            if name not in owner._modules:
                owner.add_module(name, nn.Module())
            owner = owner.get_submodule(name)
        return owner, leaf

    def _tensor(self, name: str, tree: Mapping[str, Any], weights: Mapping[str, Tensor]) -> Tensor:
        dtype, shape = dtype_of(tree["dtype"]), tree["shape"]
        if name not in weights and "values" in tree:
            return torch.tensor(decode(tree["values"], {}), dtype=dtype).reshape(shape)
        return _stored(weights, name, torch.empty(shape, dtype=dtype, device="meta"))


def _built(tree: Mapping[str, Any], weights: Mapping[str, Tensor]) -> nn.Module:
    """Build a layer with its weights."""
    built = build_layer(tree["type"], decode(tree["options"], {}))
    own = {key: _stored(weights, key, tensor) for key, tensor in built.state_dict().items()}
    built.load_state_dict(own, assign=True)
    return built


def _stored(weights: Mapping[str, Tensor], name: str, wanted: Tensor) -> Tensor:
    stored = weights.get(name)
    if stored is None and name.endswith("num_batches_tracked"):
        return torch.zeros((), dtype=torch.long)
    if stored is None or stored.shape != wanted.shape:
        raise ValueError(f"'{name}' {tuple(wanted.shape)} is not among the weights")
    if other_types({name: wanted}, {name: stored}):
        raise ValueError(f"'{name}' is of type {stored.dtype} among the weights")
    return stored.to(wanted.dtype)


def _graph(tree: Mapping[str, Any], root: nn.Module) -> fx.Graph:
    graph = fx.Graph()
    nodes: dict[str, fx.Node] = {}
    for entry in tree["operations"]:
        op, name, target = entry["op"], entry["name"], entry["target"]
        if not _NAME.fullmatch(name) or keyword.iskeyword(name):
            raise ValueError(f"{name!r} is no name of an operation")
        args = tuple(decode(entry["args"], nodes))
        kwargs = {_keyword(key): decode(value, nodes) for key, value in entry["kwargs"].items()}
        called = _TARGETS[op](target, args, root)
        nodes[name] = graph.create_node(op, called, args, kwargs, name=name)
    graph.lint()
    return graph


def _keyword(name: str) -> str:
    if not _NAME.fullmatch(name) or keyword.iskeyword(name):
        raise ValueError(f"{name!r} is no name of an argument")
    return name


def _function(target: str, args: tuple[Any, ...], _root: nn.Module) -> Callable[..., Any]:
    if target == "getattr":
        if len(args) != 2 or args[1] not in ATTRIBUTES:
            raise ValueError("it reads an unknown attribute")
        return getattr
    if target not in functions():
        raise ValueError(f"there is no function '{target}'")
    return functions()[target]


def _method(target: str, _args: tuple[Any, ...], _root: nn.Module) -> str:
    if not is_method(target):
        raise ValueError(f"there is no method '{target}'")
    return target


def _layer(target: str, _args: tuple[Any, ...], root: nn.Module) -> str:
    root.get_submodule(target)
    return target


def _attribute(target: str, _args: tuple[Any, ...], root: nn.Module) -> str:
    owner, _, leaf = target.rpartition(".")
    if leaf not in {**root.get_submodule(owner)._parameters, **root.get_submodule(owner)._buffers}:
        raise ValueError(f"there is no tensor '{target}'")
    return target


def _placeholder(target: str, _args: tuple[Any, ...], _root: nn.Module) -> str:
    return _keyword(target)


def _output(_target: str, _args: tuple[Any, ...], _root: nn.Module) -> str:
    return "output"


_TARGETS: dict[str, Callable[[str, tuple[Any, ...], nn.Module], Any]] = {
    "placeholder": _placeholder,
    "get_attr": _attribute,
    "call_module": _layer,
    "call_function": _function,
    "call_method": _method,
    "output": _output,
}
