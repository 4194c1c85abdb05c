"""Tracing of a network down to layers of `torch.nn`, functions of torch and tensor methods."""

from __future__ import annotations

import copy
import operator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, fx, nn

from pbkd.errors import ExportError, first_line
from pbkd.models.plain.layers import layer_options
from pbkd.models.plain.operations import ATTRIBUTES, is_method, name_of

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["trace_plain", "trace_segments"]

_TOLERANCE = 1e-4


@torch.no_grad()
def trace_plain(network: nn.Module, shape: tuple[int, ...]) -> fx.GraphModule:
    """Write a network in plain PyTorch terms, for inputs of one shape in batches of any size.

    It is traced with torch.fx (arXiv 2112.08429) while it computes an example, so that Python code
    that depends on the sizes of tensors is evaluated. Modules that are not torch's own are traced
    into, and become operations.

    Args:
        network: A network in evaluation mode, which stays unchanged.
        shape: The shape of one sample of its input, such as (C, H, W).

    Returns:
        A graph module with the network's own parameter names, in evaluation mode.

    Raises:
        ExportError: If the network does something that is not a layer or function of torch, or
            that depends on the values or the number of the samples.
    """
    root = copy.deepcopy(network).eval().cpu()
    if root._forward_hooks or root._forward_pre_hooks:
        raise _unwritable("it has hooks")
    tracer = _Tracer(torch.rand(2, *shape, generator=torch.Generator().manual_seed(0)))
    try:
        graph = tracer.trace(root)
        _clean(graph)
        plain = fx.GraphModule(root, graph, class_name="Student").eval()
        _check(plain, root, shape)
    except ExportError:
        raise
    except Exception as error:  # the network's own code raises anything on what stands for a tensor
        where = f" at its module '{tracer.path}'" if tracer.path else ""
        raise _unwritable(f"{first_line(error).rstrip('.')}{where}") from error
    return plain


@torch.no_grad()
def trace_segments(student: nn.Sequential, image_shape: tuple[int, ...]) -> dict[str, nn.Module]:
    """Write each segment of a student in plain PyTorch terms, see `trace_plain`.

    A segment that is one layer of torch stays as it is.

    Args:
        student: The student, in evaluation mode.
        image_shape: The shape of an image, (C, H, W).

    Returns:
        The segments by name, in their order.

    Raises:
        ExportError: If one cannot be written.
    """
    plain: dict[str, nn.Module] = {}
    x = torch.rand(1, *image_shape, generator=torch.Generator().manual_seed(0))
    for name, segment in student.named_children():
        if layer_options(segment) is None:
            plain[name] = trace_plain(segment, tuple(x.shape[1:]))
        else:
            plain[name] = copy.deepcopy(segment).cpu()
        x = plain[name](x)
    return plain


def _unwritable(reason: str) -> ExportError:
    return ExportError(f"the network cannot be written as plain PyTorch code ({reason}).")


def _check(plain: nn.Module, network: nn.Module, shape: tuple[int, ...]) -> None:
    """Compare the written network with the original on batches of other sizes."""
    for batch in (1, 3):
        inputs = torch.randn(batch, *shape, generator=torch.Generator().manual_seed(batch))
        expected, found = network(inputs), plain(inputs)
        if found.shape != expected.shape:
            raise _unwritable("what it computes depends on the number of images")
        if not (found - expected).abs().max() <= _TOLERANCE * expected.abs().max():
            raise _unwritable("what is written computes other outputs")


def _clean(graph: fx.Graph) -> None:
    """Remove assertions and sizes that nothing uses; an operation in place has no users either."""
    for node in reversed(list(graph.nodes)):
        reads = node.op == "get_attr" or node.target in ("size", getattr, operator.getitem)
        if not node.users and (reads or node.target is torch._assert):
            graph.erase_node(node)
        node.meta.clear()
    graph.lint()


class _Value(fx.Proxy):
    """Stands for a value while tracing; knows the sizes of its tensor, except that of the batch."""

    @property
    def _value(self) -> Any:
        return self.node.meta["value"]

    def __getattr__(self, name: str) -> Any:
        value = self.node.meta["value"]
        if isinstance(value, Tensor) and name == "shape":
            return self.size()
        if isinstance(value, Tensor) and name in _CONCRETE:
            return getattr(value, name)
        return super().__getattr__(name)

    def size(self, dim: int | None = None) -> Any:
        sizes = list(self._value.shape)
        if self.node.meta["varies"] and sizes:
            sizes[0] = self.tracer.create_proxy("call_method", "size", (self, 0), {})
        return tuple(sizes) if dim is None else sizes[dim]

    def dim(self) -> int:
        return int(self._value.dim())

    def __len__(self) -> int:
        return len(self._value)


_CONCRETE = ("ndim", "dtype", "device", "is_cuda", "requires_grad", "layout", "is_sparse")


class _Tracer(fx.Tracer):
    """Traces into all modules that are not torch's own, and computes every value on the way."""

    def __init__(self, images: Tensor) -> None:
        super().__init__()
        self._images = images
        self._computing = False
        self.path = ""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:  # noqa: ARG002
        if isinstance(m, nn.Identity):
            return False
        return layer_options(m) is not None

    def proxy(self, node: fx.Node) -> fx.Proxy:
        return _Value(node, self)

    def to_bool(self, obj: fx.Proxy) -> bool:
        if obj.node.meta["varies"]:
            return bool(super().to_bool(obj))
        return bool(obj.node.meta["value"])

    def iter(self, obj: fx.Proxy) -> Iterator[Any]:
        parts = range(len(obj.node.meta["value"]))
        return iter([operator.getitem(obj, index) for index in parts])

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Any]) -> Any:
        if self._computing:
            return attr_val
        return super().getattr(attr, attr_val, parameter_proxy_cache)

    def call_module(self, m: nn.Module, forward: Any, args: Any, kwargs: Any) -> Any:
        if self._computing:
            return forward(*args, **kwargs)
        before, self.path = self.path, self.path_of_module(m)
        result = super().call_module(m, forward, args, kwargs)
        self.path = before
        return result

    def create_proxy(
        self, kind: str, target: Any, args: Any, kwargs: Any, *rest: Any, **names: Any
    ) -> Any:
        if kind == "call_function" and target not in _ALWAYS and name_of(target) is None:
            if str(getattr(target, "__module__", "torch")).partition(".")[0] in _BELOW:
                raise TypeError(f"the function {target.__name__} cannot be written")
            return target(*args, **kwargs)  # a function of the network's own: trace into it
        if kind == "call_method" and not is_method(target) and not _is_special(target):
            raise TypeError(f"the method '{target}' of a tensor cannot be written")
        if kind in ("call_function", "call_method"):
            kwargs = {key: value for key, value in kwargs.items() if key != "device"}
            moved = [value for value in args if not isinstance(value, torch.device)]
            if target == "to" and len(moved) == 1 and not kwargs:
                return args[0]
            args = tuple(moved)
        return super().create_proxy(kind, target, args, kwargs, *rest, **names)

    def create_node(self, kind: str, *rest: Any, **names: Any) -> fx.Node:
        node = super().create_node(kind, *rest, **names)
        if kind != "output":
            inputs = [n.meta["varies"] for n in node.all_input_nodes]
            node.meta["varies"] = kind == "placeholder" or any(inputs)
            with self._values():
                node.meta["value"] = self._compute(node)
        return node

    @contextmanager
    def _values(self) -> Iterator[None]:
        before, self._computing = self._computing, True
        yield
        self._computing = before

    def _compute(self, node: fx.Node) -> Any:
        args, kwargs = fx.map_arg((node.args, node.kwargs), lambda n: n.meta["value"])
        target: Any = node.target
        if node.op == "placeholder":
            return self._images
        if node.op == "get_attr":
            value: Any = self.root
            for name in target.split("."):
                value = getattr(value, name)
            return value
        if node.op == "call_module":
            return self.root.get_submodule(target)(*args, **kwargs)
        if node.op == "call_method":
            return getattr(args[0], target)(*args[1:], **kwargs)
        return target(*args, **kwargs)


_ALWAYS = (getattr, torch._assert)
_BELOW = ("torch", "builtins", "_operator", "None")


def _is_special(name: str) -> bool:
    return name in ATTRIBUTES or name == "__getitem__"
