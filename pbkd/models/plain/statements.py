"""The operations of a plain network as statements of Python."""

from __future__ import annotations

import keyword
import operator
import re
from typing import TYPE_CHECKING, Any

import torch
from torch import fx, nn

from pbkd.errors import ExportError
from pbkd.models.plain.operations import name_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["attribute_names", "forward_lines"]

_INFIX = {
    "add": "+", "sub": "-", "mul": "*", "truediv": "/", "floordiv": "//", "mod": "%", "pow": "**",
    "matmul": "@", "eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">=",
    "and_": "&", "or_": "|", "xor": "^",
}  # fmt: skip
_NAMES = ("x", "y", "z", "u", "v", "w")


def attribute_names(plain: fx.GraphModule) -> dict[str, str]:
    """Give every layer and tensor that the network uses a name without dots.

    Returns:
        By path in the network, such as `layer1.0.conv1`, a name such as `layer1_0_conv1`.

    Raises:
        ExportError: If two paths would get the same name.
    """
    named = [node for node in plain.graph.nodes if node.op in ("call_module", "get_attr")]
    paths = dict.fromkeys(str(node.target) for node in named)
    names = {path: _identifier(path) for path in paths}
    if len(set(names.values())) < len(names):
        raise ExportError("the network has layers whose names differ in dots and dashes alone.")
    return names


def _identifier(path: str) -> str:
    name = re.sub(r"\W", "_", path, flags=re.ASCII)
    reserved = keyword.iskeyword(name) or hasattr(nn.Module(), name) or not name[0].isalpha()
    return f"layer_{name}" if reserved else name


def forward_lines(plain: fx.GraphModule, names: Mapping[str, str]) -> Iterator[str]:
    """Write what the network computes, from `x` to the returned logits.

    Args:
        plain: What `trace_plain` returns.
        names: What `attribute_names` returns.

    Yields:
        One statement per operation; a variable that is not used any more is used again.
    """
    text: dict[fx.Node, str] = {}
    nodes = list(plain.graph.nodes)
    last_use = {used: step for step, node in enumerate(nodes) for used in node.all_input_nodes}
    for step, node in enumerate(nodes):
        if node.op == "placeholder":
            text[node] = "x"
        elif node.op == "get_attr":
            text[node] = f"self.{names[str(node.target)]}"
        elif node.op == "output":
            yield f"return {_argument(node.args[0], text)}"
        else:
            value = _expression(node, text, names)
            if node.users:
                later = {text[n] for n in text if last_use.get(n, 0) > step}
                text[node] = _variable([text[n] for n in node.all_input_nodes], later)
            yield _statement(node, value, text)


def _variable(inputs: list[str], later: set[str]) -> str:
    """Choose a variable: one of the inputs if it is not used later, else a new one."""
    candidates = (*(name for name in inputs if "." not in name), *_NAMES)
    free = next((name for name in candidates if name not in later), None)
    return free or next(n for i in range(1, len(later) + 2) if (n := f"x{i}") not in later)


def _statement(node: fx.Node, value: str, text: Mapping[fx.Node, str]) -> str:
    if not node.users:
        return value
    module, _, function = str(name_of(node.target)).rpartition(".")
    if module == "operator" and function[1:] in _INFIX and function[0] == "i":
        left, right = (_argument(part, text) for part in node.args)
        if left == text[node] and right != left:
            return f"{left} {_INFIX[function[1:]]}= {right}"
    return f"{text[node]} = {value}"


def _expression(node: fx.Node, text: Mapping[fx.Node, str], names: Mapping[str, str]) -> str:
    args = [_argument(value, text) for value in node.args]
    named = [f"{key}={_argument(value, text)}" for key, value in node.kwargs.items()]
    if node.op == "call_module":
        return f"self.{names[str(node.target)]}({', '.join([*args, *named])})"
    if node.op == "call_method":
        return f"{args[0]}.{node.target}({', '.join([*args[1:], *named])})"
    if node.target is getattr:
        return f"{args[0]}.{node.args[1]}"
    if node.target is operator.getitem:
        return f"{args[0]}[{_index(node.args[1], text)}]"
    name = str(name_of(node.target))
    module, _, function = name.rpartition(".")
    if module == "operator" and function in _INFIX:
        return f"{args[0]} {_INFIX[function]} {args[1]}"
    if module == "torch.nn.functional":
        name = f"F.{function}"
    return f"{name}({', '.join([*args, *named])})"


def _argument(value: Any, text: Mapping[fx.Node, str]) -> str:
    if isinstance(value, fx.Node):
        return text[value]
    if isinstance(value, list):
        return f"[{', '.join(_argument(item, text) for item in value)}]"
    if isinstance(value, tuple):
        return f"({', '.join(_argument(item, text) for item in value)}{',' * (len(value) == 1)})"
    if isinstance(value, slice):
        parts = (_argument(part, text) for part in (value.start, value.stop, value.step))
        return f"slice({', '.join(parts)})"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key!r}: {_argument(v, text)}' for key, v in value.items())}}}"
    if isinstance(value, float) and value - value != 0:
        return f'float("{value}")'
    if isinstance(value, (torch.dtype, torch.memory_format)):
        return str(value)
    if value is Ellipsis:
        return "..."
    return repr(value)


def _index(value: Any, text: Mapping[fx.Node, str]) -> str:
    if isinstance(value, tuple) and value:
        return ", ".join(_index(item, text) for item in value) + "," * (len(value) == 1)
    if isinstance(value, slice):
        start, stop, step = (
            "" if part is None else _argument(part, text)
            for part in (value.start, value.stop, value.step)
        )
        return f"{start}:{stop}:{step}".removesuffix(":") if not step else f"{start}:{stop}:{step}"
    return _argument(value, text)
