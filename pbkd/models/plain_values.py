"""What the names in a pickled file of tensors stand for: an exact list, with arguments checked."""

from __future__ import annotations

import collections
import math
import re
from dataclasses import dataclass
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import _utils as rebuilding

if TYPE_CHECKING:
    from collections.abc import Callable


__all__ = ["PLAIN_VALUES", "Array", "ArrayType", "check_key", "fill_array", "set_byte_order"]

_LARGEST_VIEW = 2**20
_LARGEST_KEY = 2**61 - 1  # integers from there on share the hashes of smaller ones
_KEY_DEPTH = 8
_ARRAY_TYPE = re.compile(r"[<>|=]?([biufc?]\d{0,2}|[SU]\d{1,9}|[mM]8(\[\w{1,8}\])?|O8?)")


def check_key(key: Any, depth: int = 0) -> Any:
    """Return a key of a mapping or set, whose hash takes no time and no stack.

    Raises:
        UnpicklingError: It is a number or a nest of tuples as only an attack has it.
    """
    if isinstance(key, int) and abs(key) >= _LARGEST_KEY:
        raise UnpicklingError("a key is too large a number")
    if isinstance(key, (tuple, frozenset)):
        if depth > _KEY_DEPTH or len(key) > 1000:
            raise UnpicklingError("a key is nested too deeply")
        for part in key:
            check_key(part, depth + 1)
    return key


class Array(np.ndarray[Any, Any]):
    """An array of a file, which is empty until `fill_array` has given it its content."""


@dataclass
class ArrayType:
    """The type of an array, whose byte order comes after it."""

    dtype: np.dtype[Any]


def set_byte_order(kind: ArrayType, state: Any) -> None:
    """Set the byte order of an array's type; raise `UnpicklingError` for a type with fields."""
    _, order, *rest = state
    if order not in ("<", ">", "|", "=") or any(part is not None for part in rest[:3]):
        raise UnpicklingError("an array has fields")
    kind.dtype = kind.dtype.newbyteorder(order)


def fill_array(array: Array, state: Any) -> None:
    """Give an array its content; raise `UnpicklingError` unless shape and content agree."""
    _, shape, kind, fortran, content = state
    if isinstance(content, str):  # bytes, as Python 2 wrote them
        content = content.encode("latin1")
    dtype = _dtype(kind)
    count = math.prod(shape)
    wanted = count if dtype.hasobject else count * dtype.itemsize
    if min(shape, default=0) < 0 or len(content) != wanted or dtype.hasobject != _is_list(content):
        raise UnpicklingError("an array's shape and content differ")
    restored: Any = (1, tuple(shape), dtype, bool(fortran), content)
    array.__setstate__(restored)


def _is_list(content: Any) -> bool:
    if not isinstance(content, (bytes, bytearray, list)):
        raise UnpicklingError("an array's content is none")
    return isinstance(content, list)


def _dtype(kind: Any) -> np.dtype[Any]:
    dtype = kind.dtype if isinstance(kind, ArrayType) else kind
    if not isinstance(dtype, np.dtype):
        raise UnpicklingError("an array has no type")
    return dtype


def _array_type(text: Any, *_flags: Any) -> ArrayType:
    if not isinstance(text, str) or not _ARRAY_TYPE.fullmatch(text):
        raise UnpicklingError("an array is of an unknown type")
    return ArrayType(np.dtype(text))


def _number(kind: Any, content: Any) -> Any:
    dtype = _dtype(kind)
    if isinstance(content, str):
        content = content.encode("latin1")
    if dtype.hasobject or len(content) != dtype.itemsize:
        raise UnpicklingError("a number's type and content differ")
    return np.frombuffer(content, dtype)[0]


def _view(function: Callable[..., Any]) -> Callable[..., Any]:
    """Let a function make no tensor that is much larger than what is stored of it."""

    def call(storage: Any, offset: int, size: Any, *rest: Any) -> Any:
        if math.prod(size) > max(_LARGEST_VIEW, storage._untyped_storage.nbytes()):
            raise UnpicklingError("a tensor is larger than what is stored of it")
        return function(storage, offset, size, *rest)

    return call


def _parameter(data: Any, requires_grad: Any = True, *_rest: Any) -> Any:
    if not isinstance(data, torch.Tensor):
        raise UnpicklingError("a parameter is no tensor")
    return torch.nn.Parameter(data, bool(requires_grad) and data.is_floating_point())


def _from_type(function: Any, _type: Any, given: Any, _state: Any) -> Any:
    if function not in _TENSORS.values():
        raise UnpicklingError("a tensor is made in an unknown way")
    return function(*given)


def _items(kind: Callable[..., Any]) -> Callable[..., Any]:
    """Let a container be made of what is in the file already."""

    def call(items: Any = (), *_rest: Any) -> Any:
        if not isinstance(items, (list, tuple, dict, set, frozenset)):
            raise UnpicklingError("a container has no items")
        if kind in (set, frozenset, collections.Counter):
            for key in items:
                check_key(key)
        if kind in (dict, collections.OrderedDict) and not isinstance(items, dict):
            return kind([(check_key(key), value) for key, value in items])
        return kind(items)

    return call


def _scalar(kind: Callable[..., Any]) -> Callable[..., Any]:
    def call(*given: Any) -> Any:
        if not all(isinstance(value, (bool, int, float, str)) for value in given):
            raise UnpicklingError("a number is made of something else")
        if any(isinstance(value, str) and len(value) > 1000 for value in given):
            raise UnpicklingError("a number is too long")
        return kind(*given)

    return call


def _bytes(kind: Callable[..., Any]) -> Callable[..., Any]:
    def call(content: Any = b"", encoding: str = "latin1") -> Any:
        if isinstance(content, str):
            content = _encoded(content, encoding)
        if not isinstance(content, (bytes, bytearray)):
            raise UnpicklingError("bytes are made of something else")
        return kind(content)

    return call


def _encoded(text: Any, encoding: Any = "latin1") -> bytes:
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1", "utf-8", "ascii"):
        raise UnpicklingError("bytes are encoded in an unknown way")
    return text.encode(encoding)


class Storage:
    """A type of storages: its dtype, and no behaviour."""

    def __init__(self, dtype: torch.dtype) -> None:
        """Set the dtype."""
        self.dtype = dtype


_DTYPES = {
    str(value).removeprefix("torch."): value
    for value in vars(torch).values()
    if isinstance(value, torch.dtype)
}
_STORAGES = {
    "Double": torch.float64, "Float": torch.float32, "Half": torch.float16,
    "BFloat16": torch.bfloat16, "Long": torch.int64, "Int": torch.int32, "Short": torch.int16,
    "Char": torch.int8, "Byte": torch.uint8, "Bool": torch.bool, "Untyped": torch.uint8,
    "ComplexDouble": torch.complex128, "ComplexFloat": torch.complex64,
}  # fmt: skip
_TENSORS: dict[tuple[str, str], Callable[..., Any]] = {
    **{
        ("torch._utils", name): _view(getattr(rebuilding, name))
        for name in ("_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_tensor_v3")
    },
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("torch._utils", "_rebuild_parameter_with_state"): _parameter,
    ("torch.nn.parameter", "Parameter"): _parameter,
}
_CONTAINERS = {
    "list": list, "tuple": tuple, "dict": dict, "set": set, "frozenset": frozenset,
}  # fmt: skip
_SCALARS = {
    "int": int, "float": float, "bool": bool, "str": str, "complex": complex, "slice": slice,
    "range": range,
}  # fmt: skip
_NUMPY = {
    "dtype": _array_type,
    "ndarray": "ndarray",
    "scalar": _number,
    "_reconstruct": lambda *_given: Array((0,)),
}
_NUMPY_MODULES = ("numpy", "numpy.core.multiarray", "numpy._core.multiarray")
_NUMPY_KINDS = (
    "Bool", "Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64", "Float16",
    "Float32", "Float64", "Complex64", "Complex128",
)  # fmt: skip

PLAIN_VALUES: dict[tuple[str, str], Any] = {
    **_TENSORS,
    ("torch._tensor", "_rebuild_from_type_v2"): _from_type,
    ("torch", "Size"): _items(torch.Size),
    ("torch", "device"): _scalar(torch.device),
    **{("torch", name): dtype for name, dtype in _DTYPES.items()},
    **{("torch", name): getattr(torch, name) for name in ("strided", "sparse_coo")},
    **{
        (module, f"{name}Storage"): Storage(dtype)
        for name, dtype in _STORAGES.items()
        for module in ("torch", "torch.storage")
    },
    ("collections", "OrderedDict"): _items(collections.OrderedDict),
    ("collections", "defaultdict"): lambda *_given: collections.OrderedDict(),
    ("collections", "Counter"): _items(collections.Counter),
    ("_codecs", "encode"): _encoded,
    **{("builtins", name): _items(kind) for name, kind in _CONTAINERS.items()},
    **{("builtins", name): _scalar(kind) for name, kind in _SCALARS.items()},
    ("builtins", "bytes"): _bytes(bytes),
    ("builtins", "bytearray"): _bytes(bytearray),
    ("builtins", "object"): lambda *_given: None,
    **{(module, name): value for module in _NUMPY_MODULES for name, value in _NUMPY.items()},
    **{
        ("numpy.dtypes", f"{kind}DType"): lambda *_given, kind=kind: np.dtype(kind.lower())
        for kind in _NUMPY_KINDS
    },
}
"""By module and name: a value, or a function in place of the one that is named."""
