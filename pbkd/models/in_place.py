"""Operations of a traced network that change a tensor in place."""

from __future__ import annotations

import inspect
import operator
from typing import TYPE_CHECKING, Any

from torch import fx, nn

if TYPE_CHECKING:
    from collections.abc import Mapping


__all__ = ["is_overwritten", "written_tensors"]

_OPERATORS = {
    operator.iadd, operator.iand, operator.iconcat, operator.ifloordiv, operator.ilshift,
    operator.imatmul, operator.imod, operator.imul, operator.ior, operator.ipow, operator.irshift,
    operator.isub, operator.itruediv, operator.ixor, operator.setitem,
}  # fmt: skip
_VIEWS = {
    "alpha_dropout", "chunk", "contiguous", "cpu", "detach", "diagonal", "dropout", "dropout1d",
    "dropout2d", "dropout3d", "expand", "expand_as", "feature_alpha_dropout", "flatten", "float",
    "getitem", "movedim", "moveaxis", "narrow", "permute", "ravel", "reshape", "reshape_as",
    "select", "split", "split_with_sizes", "squeeze", "stochastic_depth", "swapaxes", "swapdims",
    "t", "tensor_split", "to", "transpose", "type_as", "unbind", "unflatten", "unfold", "unsqueeze",
    "view", "view_as",
}  # fmt: skip
_VIEW_ATTRIBUTES = {"data", "T", "mT", "H", "mH", "real"}
_VIEW_LAYERS = (nn.Identity, nn.Flatten, nn.Unflatten, nn.modules.dropout._DropoutNd)


def is_overwritten(node: fx.Node, modules: Mapping[str, nn.Module]) -> bool:
    """Whether a later operation changes the result of `node`, itself or through a view of it.

    Args:
        node: An operation, or the input.
        modules: The network's modules, by path.
    """
    for user in node.users:
        if node in written_tensors(user, modules):
            return True
        if _is_view(user, modules) and is_overwritten(user, modules):
            return True
    return False


def written_tensors(node: fx.Node, modules: Mapping[str, nn.Module]) -> list[Any]:
    """List the arguments that an operation changes in place.

    Args:
        node: The operation.
        modules: The network's modules, by path.
    """
    if node.op not in ("call_module", "call_function", "call_method"):
        return []
    if (out := node.kwargs.get("out")) is not None:
        return list(out) if isinstance(out, (tuple, list)) else [out]
    if not _is_in_place(node, modules):
        return []
    first = node.args[0] if node.args else node.kwargs.get("input")
    return [first]


def _is_in_place(node: fx.Node, modules: Mapping[str, nn.Module]) -> bool:
    if node.op == "call_module":
        return bool(getattr(modules[str(node.target)], "inplace", False))
    if node.target in _OPERATORS or _ends_in_underscore(_name(node)):
        return True
    return node.op == "call_function" and bool(_inplace_argument(node))


def _name(node: fx.Node) -> str:
    if isinstance(node.target, str):
        return node.target
    return str(getattr(node.target, "__name__", ""))


def _ends_in_underscore(name: str) -> bool:
    return name.endswith("_") and not name.endswith("__")


def _inplace_argument(node: fx.Node) -> Any:
    """The value of a function's argument `inplace`, given by name or by position."""
    if "inplace" in node.kwargs:
        return node.kwargs["inplace"]
    target: Any = node.target
    try:
        names = list(inspect.signature(target).parameters)
    except (TypeError, ValueError):  # built-in functions have no such argument
        return False
    position = names.index("inplace") if "inplace" in names else len(node.args)
    return node.args[position] if position < len(node.args) else False


def _is_view(node: fx.Node, modules: Mapping[str, nn.Module]) -> bool:
    """Whether the result of an operation can share memory with its first argument."""
    if node.op == "call_module":
        return isinstance(modules[str(node.target)], _VIEW_LAYERS)
    if node.target is getattr:
        return node.args[1] in _VIEW_ATTRIBUTES
    return _name(node) in _VIEWS
