"""An accelerator that is not there: tensors on `meta`, and the waits that a real one would cause.

An operation on a tensor of another device fails on `meta` as on an accelerator. What would make the
host wait for the device is counted, and gets a value that the device could have.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

__all__ = ["DEVICE", "PretendedDevice"]

DEVICE = torch.device("meta")
_aten = torch.ops.aten
_SIZED_BY_VALUES = (
    _aten.nonzero, _aten.masked_select, _aten._unique2, _aten.unique_dim, _aten.bincount,
)  # fmt: skip


class PretendedDevice(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the operations that wait for the device.

    Attributes:
        waits: The name of each operation that waited.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.waits: list[str] = []

    def __torch_dispatch__(
        self,
        func: Any,
        _types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        options = dict(kwargs or {})
        operation = func.overloadpacket
        answer: Callable[..., Any] = _ANSWERS.get(operation, _call)
        if operation is _aten._to_copy and _crosses(args[0].device, options.get("device")):
            answer = _copied
            if _is_here(options["device"]) or not options.get("non_blocking"):
                self.waits.append(str(func))
        elif operation is _aten.copy_ and _crosses(args[0].device, args[1].device):
            if _is_here(args[0].device) or not (args[2:] or options.get("non_blocking")):
                self.waits.append(str(func))
            return args[0]
        elif _reads(operation, args):
            self.waits.append(str(func))
        else:
            answer = _call
        return answer(func, args, options)


def _is_here(device: Any) -> bool:
    return torch.device(device).type == "cpu"


def _crosses(source: torch.device, target: Any) -> bool:
    return target is not None and _is_here(source) != _is_here(target)


def _reads(operation: Any, args: Sequence[Any]) -> bool:
    if not args or not isinstance(args[0], Tensor) or _is_here(args[0].device):
        return False
    if operation is _aten.index:
        return any(i is not None and i.dtype in (torch.bool, torch.uint8) for i in args[1])
    return operation in _ANSWERS or operation in _SIZED_BY_VALUES


def _call(func: Any, args: Sequence[Any], options: Mapping[str, Any]) -> Any:
    return func(*args, **options)


def _copied(_func: Any, args: Sequence[Any], options: Mapping[str, Any]) -> Tensor:
    dtype = options.get("dtype") or args[0].dtype
    return torch.zeros_like(args[0], device=options["device"], dtype=dtype)


def _number(_func: Any, args: Sequence[Any], _options: Mapping[str, Any]) -> Any:
    kind = args[0].dtype
    return True if kind == torch.bool else 0.5 if kind.is_floating_point else 0


_ANSWERS: dict[Any, Callable[..., Any]] = {
    _aten._local_scalar_dense: _number,
    _aten.equal: lambda *_: True,
    _aten.is_nonzero: lambda *_: True,
}
